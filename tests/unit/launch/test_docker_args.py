"""`docker_args` into the create body: words, values, files, the merge. No engine."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runner.errors import UserError, UserErrors
from runner.launch.docker_args import parse_docker_args
from runner.launch.docker_body import create_body
from runner.launch.docker_draft import DockerArguments, Mount
from runner.launch.docker_flags import FLAGS, NO_EFFECT, REFUSED, RESERVED, SUPPORTED
from runner.model.docker import BindMount, ContainerRequest

Parse = Callable[..., DockerArguments]
CLIENT = {"HERE": "of the client", "EMPTY": ""}
REQUEST = ContainerRequest(image="sha256:1", command=("python", "-m", "keeper"), name="j-0")

# What docker's own command line refuses, too.
WRONG = """
--cpus x
--cpus 1e-12
--memory 1x
--memory -1
--shm-size 99999999999g
--pids-limit 1.5
--pids-limit 99999999999999999999
--blkio-weight 70000
--memory-swappiness 101
--ulimit nofile
--ulimit nosuch=1
--ulimit core=2:1
--ulimit core=1:2:3
--health-interval 5
--health-interval -1s
--health-retries -1
--no-healthcheck --health-cmd x
--dns x
--dns-search 1.2
--ip ::1
--ip6 1.2.3.4
--mac-address x
--add-host x
--add-host a:b
-p x
-p 80:81:82:83
-p 1-2:1-3
-p 80/xyz
-p 70000
--expose 9-8
-p published=80
--device relative
--device /a:/b:x
--device /a*:/b
--device-cgroup-rule 'x 1:2 r'
--device-read-bps /a:1
--gpus ''
--gpus count=x
--gpus nosuch=1
--gpus all,count=1
--sysctl kernel.panic=1
--sysctl net.x
--storage-opt size
--pid x
--ipc x
--uts x
--userns x
--cgroupns x
--isolation hyperv
--pid container:
--security-opt x
--security-opt seccomp=gone.json
--security-opt credentialspec=file://x
--log-driver none --log-opt a=b
-v ''
-v a:b:c:d
-v /a:relative
-v a:/b
-v /a:/
-v :/a
--tmpfs relative
--tmpfs ''
--mount ''
--mount type=bind,src=/a
--mount type=npipe,src=/a,dst=/b
--mount type=image,src=a,dst=/b
--mount dst=/a,nosuch=1
--mount dst=/a,readonly=perhaps
--mount dst=/a,bind-propagation=rslave
--mount type=bind,src=/a,dst=/b,tmpfs-size=1
--mount type=bind,src=/a,dst=/b,bind-recursive=writable
--mount type=bind,src=/a,dst=/b,ro,bind-recursive=readonly
--mount type=tmpfs,dst=/b,tmpfs-mode=9
--mount 'type="tmpfs",dst=/b'
--network ''
--network nosuch=1
--network a --network a
--network a --network host
--network-alias a
--network name=a,ip=1.2.3.4 --ip 1.2.3.5
-e =1
-l ''
-l 'a b=1'
-e ''
""".strip().splitlines()

OURS = """
-e RUNNER_X=1
-e RUNNER_X
-e runner_x=1
-e PYTHONHOME=/x
--env-file own
-l runner.job=x
-l Runner.x
--label-file own-labels
""".strip().splitlines()


@pytest.fixture
def parse(tmp_path: Path) -> Parse:
    def run(row: str | list[str], **changes: Any) -> DockerArguments:
        words = shlex.split(row) if isinstance(row, str) else row
        return parse_docker_args(words, **{"environment": CLIENT, "directory": tmp_path, **changes})

    return run


@pytest.fixture
def refuse(parse: Parse) -> Callable[..., str]:
    def run(row: str | list[str], **changes: Any) -> str:
        with pytest.raises(UserErrors) as caught:
            parse(row, **changes)
        for error in caught.value.errors:
            assert error.allowed or error.todo, error
        return str(caught.value)

    return run


Refuse = Callable[..., str]


class TestWords:
    @pytest.mark.parametrize("row", ["-e A=1", "-eA=1", "-e=A=1", "--env A=1", "--env=A=1", "-e A=0 -e A=1", "-itde A=1", "-ite=A=1"])
    def test_ways_to_write_a_value(self, parse: Parse, row: str) -> None:
        assert parse(row).environment == {"A": "1"}

    @pytest.mark.parametrize(
        ("row", "want"),
        [
            ("--init", True),
            ("--init=false", False),
            ("--init=0", False),
            ("--init --init=F", False),
            ("--init=false --init", True),
        ],
    )
    def test_switches(self, parse: Parse, row: str, want: bool) -> None:
        assert parse(row).host == {"Init": want}

    def test_the_last_of_a_scalar_counts_and_lists_add_up(self, parse: Parse) -> None:
        assert parse("--cpus 1 --cpus=2 -m 1g --memory 2g").host == {"NanoCpus": 2 * 10**9, "Memory": 2 << 30}
        assert parse("--dns 10.0.0.1 --dns 10.0.0.2").host == {"Dns": ["10.0.0.1", "10.0.0.2"]}

    def test_two_dashes_end_the_flags(self, parse: Parse) -> None:
        assert parse("--init --").host == {"Init": True}

    def test_a_value_may_look_like_a_flag(self, parse: Parse) -> None:
        assert parse("--hostname --init").config == {"Hostname": "--init"}

    @pytest.mark.parametrize(
        ("row", "says"),
        [
            ("ubuntu", "'ubuntu' is no flag"),
            ("--init ubuntu echo", "'ubuntu' is no flag"),
            ("-- echo", "'echo' is no flag"),
            ("--init -", "'-' is no flag"),
            ("--init false", "'false' is no flag"),
            ("--shm-sise 1g", "did you mean '--shm-size'?"),
            ("--Memory 1g", "no flag --Memory"),
            ("-z", "no flag -z"),
            ("-itz", "no flag -z (in -itz)"),
            ("--memory", "--memory has no value"),
            ("-ie", "-e has no value"),
            ("'--cpus 2'", "'--cpus' and '2', or as --cpus=2"),
            ("--=x", "no flag --"),
            ("---init", "no flag ---init"),
            ("--init=perhaps", "'perhaps' is no value of --init"),
        ],
    )
    def test_what_is_no_flag(self, refuse: Refuse, row: str, says: str) -> None:
        assert says in refuse(row)

    def test_a_nul_character(self, refuse: Refuse) -> None:
        for words in (["--init\0"], ["-e", "A=\0"]):
            assert "NUL" in refuse(words)

    def test_all_mistakes_at_once(self, refuse: Refuse) -> None:
        said = refuse("--cpus many --name x --memory 1x --unknown 3")
        for part in ("'many' is no value of --cpus", "--name is reserved", "'1x' is no value of --memory", "no flag --unknown"):
            assert part in said


class TestFates:
    @pytest.mark.parametrize("flag", [flag for flag in FLAGS if flag.fate in (RESERVED, REFUSED)], ids=lambda flag: flag.name)
    def test_reserved_and_refused_by_name(self, refuse: Refuse, flag: Any) -> None:
        for form in [flag.name, f"-{flag.short}"][: 1 + bool(flag.short)]:
            said = refuse([form] if flag.is_switch else [form, "x"])
            assert flag.name in said
            assert flag.reason in said

    def test_what_is_reserved(self) -> None:
        reserved = {flag.name for flag in FLAGS if flag.fate == RESERVED}
        assert reserved == {"--entrypoint", "--name", "--workdir", "--restart", "--cidfile"}

    def test_without_effect_and_with_a_notice(self, parse: Parse) -> None:
        found = parse("-d -it --rm --rm")
        assert [notice.split(" has no effect: ")[0] for notice in found.notices] == [
            "docker_args: --detach",
            "docker_args: --interactive",
            "docker_args: --tty",
            "docker_args: --rm",
        ]
        assert replace(found, notices=()) == DockerArguments()

    def test_each_flag_is_told_apart(self) -> None:
        assert len({flag.name for flag in FLAGS}) == len(FLAGS)
        letters = [flag.short for flag in FLAGS if flag.short]
        assert len(set(letters)) == len(letters)
        assert all(bool(flag.reason) == (flag.fate != SUPPORTED) for flag in FLAGS)
        assert {flag.fate for flag in FLAGS} == {SUPPORTED, NO_EFFECT, RESERVED, REFUSED}


class TestValues:
    @pytest.mark.parametrize(
        ("row", "want"),
        [
            ("--shm-size 1g", {"ShmSize": 1 << 30}),
            ("--shm-size 1.5kb", {"ShmSize": 1536}),
            ("--memory-swap -1", {"MemorySwap": -1}),
            ("--cpus 3/2", {"NanoCpus": 1_500_000_000}),
            ("--pids-limit 010", {"PidsLimit": 8}),
            ("--pids-limit 0x10", {"PidsLimit": 16}),
            ("--oom-score-adj -5", {"OomScoreAdj": -5}),
            ("--ulimit nproc=1 --ulimit core=1:-1 --ulimit nproc=2", {"Ulimits": [
                {"Name": "core", "Soft": 1, "Hard": -1}, {"Name": "nproc", "Soft": 2, "Hard": 2}]}),
            ("--cap-add sys_ptrace --cap-drop ALL", {"CapAdd": ["CAP_SYS_PTRACE"], "CapDrop": ["ALL"]}),
            ("--cap-add A --cap-drop a", {"CapAdd": ["CAP_A"]}),
            ("--sysctl net.core.somaxconn=9", {"Sysctls": {"net.core.somaxconn": "9"}}),
            ("--device /dev/a:r", {"Devices": [{"PathOnHost": "/dev/a", "PathInContainer": "/dev/a", "CgroupPermissions": "r"}]}),
            ("--gpus 2", {"DeviceRequests": [{"Count": 2, "DeviceIDs": None, "Capabilities": [["gpu"]], "Options": {}}]}),
            ("""--gpus '"device=0,GPU-1"'""", {"DeviceRequests": [
                {"Count": 0, "DeviceIDs": ["0", "GPU-1"], "Capabilities": [["gpu"]], "Options": {}}]}),
            ("--add-host a=::1", {"ExtraHosts": ["a:::1"]}),
            ("--annotation a=b --annotation c", {"Annotations": {"a": "b", "c": ""}}),
            ("--log-opt max-size=1m", {"LogConfig": {"Type": "", "Config": {"max-size": "1m"}}}),
            ("--security-opt systempaths=unconfined", {"MaskedPaths": [], "ReadonlyPaths": []}),
            ("-p 80:81", {"PortBindings": {"81/tcp": [{"HostIp": "", "HostPort": "80"}]}}),
        ],
    )  # fmt: skip
    def test_of_the_host(self, parse: Parse, row: str, want: object) -> None:
        assert parse(row).host == want

    @pytest.mark.parametrize(
        ("row", "want"),
        [
            ("-u 1:2 -h box --domainname d", {"User": "1:2", "Hostname": "box", "Domainname": "d"}),
            ("--mac-address 92:d0:c6:0a:29:33", {"MacAddress": "92:d0:c6:0a:29:33"}),
            (
                "--health-cmd x --health-start-interval 1m1.5s",
                {"Healthcheck": {"StartInterval": 61_500_000_000, "Test": ["CMD-SHELL", "x"]}},
            ),
            ("--no-healthcheck", {"Healthcheck": {"Test": ["NONE"]}}),
            ("--expose 80-81/udp", {"ExposedPorts": {"80/udp": {}, "81/udp": {}}}),
            ("--stop-timeout 5 --stop-signal INT", {"StopTimeout": 5, "StopSignal": "INT"}),
        ],
    )
    def test_of_the_container(self, parse: Parse, row: str, want: object) -> None:
        assert parse(row).config == want

    @pytest.mark.parametrize("row", WRONG)
    def test_wrong_ones_are_refused_by_the_flag(self, refuse: Refuse, row: str) -> None:
        word = shlex.split(row)[0]
        long = {"-p": "--publish", "-v": "--volume", "-e": "--env", "-l": "--label"}.get(word, word)
        assert long in refuse(row)


class TestNetworks:
    def test_a_name_alone_is_a_mode(self, parse: Parse) -> None:
        found = parse("--network n")
        assert (found.host, found.endpoints) == ({"NetworkMode": "n"}, {})

    def test_several_and_what_belongs_to_the_first(self, parse: Parse) -> None:
        found = parse("--network n --net name=m,alias=x,driver-opt=a=b --network-alias y --ip 10.0.0.9 --link-local-ip 169.254.0.1")
        assert found.host == {"NetworkMode": "n"}
        assert found.endpoints == {
            "n": {"Aliases": ["y"], "IPAMConfig": {"IPv4Address": "10.0.0.9", "LinkLocalIPs": ["169.254.0.1"]}},
            "m": {"Aliases": ["x"], "DriverOpts": {"a": "b"}},
        }


class TestFiles:
    def test_variables(self, parse: Parse, tmp_path: Path) -> None:
        (tmp_path / "a.env").write_bytes("\ufeff# no\n\nA=1\n  B= x \nHERE\nNOWHERE\nEMPTY\r\nC='q'=\r\nD=1".encode())
        found = parse("-e D=2 -e HERE -e GONE --env-file a.env").environment
        assert found == {"A": "1", "B": " x ", "HERE": "of the client", "EMPTY": "", "C": "'q'=", "D": "2", "GONE": None}

    def test_json(self, parse: Parse) -> None:
        assert parse("""-e 'A={"x": [1, "two"]}'""").environment == {"A": '{"x": [1, "two"]}'}

    def test_labels(self, parse: Parse, tmp_path: Path) -> None:
        (tmp_path / "labels").write_text("a=1\nb\n")
        assert parse("-l a=2 -l c --label-file ./labels").labels == {"a": "2", "b": "", "c": ""}

    @pytest.mark.parametrize(
        "row",
        [
            "-e RUNNER_X=1",
            "-e RUNNER_X",
            "-e runner_x=1",
            "-e PYTHONHOME=/x",
            "--env-file own",
            "-l runner.job=x",
            "-l Runner.x",
            "--label-file own-labels",
        ],
    )
    def test_names_of_the_runner(self, refuse: Refuse, tmp_path: Path, row: str) -> None:
        (tmp_path / "own").write_text("RUNNER_X=1\n")
        (tmp_path / "own-labels").write_text("runner.instance=1\n")
        assert "runner's own" in refuse(row) or "break" in refuse(row)

    @pytest.mark.parametrize(
        ("text", "says"),
        [(b"A B=1", "line 1: 'A B' is not a name"), (b"A=1\n=2", "line 2"), (b"A=\xff", "no text in UTF-8"), (b"A=\0", "line 1")],
    )
    def test_wrong_files(self, refuse: Refuse, tmp_path: Path, text: bytes, says: str) -> None:
        (tmp_path / "x").write_bytes(text)
        assert says in refuse("--env-file x")
        assert says in refuse("--label-file x")

    def test_what_is_no_file(self, refuse: Refuse, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "large").write_bytes(b"#" * (1 << 20) + b"\n")
        (tmp_path / "loop").symlink_to("loop")
        for name in (".", "pipe", "large", "gone", "loop", "/dev/zero", "/proc/self/environ"):
            assert f"--env-file {name}" in refuse(["--env-file", name])

    def test_seccomp_profiles_are_sent_as_text(self, parse: Parse, tmp_path: Path, refuse: Refuse) -> None:
        (tmp_path / "p.json").write_text('{ "a": [1,\n 2] }')
        assert parse("--security-opt seccomp=p.json").security == ('seccomp={"a":[1,2]}',)
        (tmp_path / "p.json").write_text("{")
        assert "is not JSON" in refuse("--security-opt seccomp=p.json")


class TestMounts:
    def test_sources_with_a_dot_are_relative_to_the_job_file(self, parse: Parse, tmp_path: Path) -> None:
        found = parse("-v ./a:/a -v ../b:/b:ro --mount type=bind,src=./c,dst=/c -v name:/d -v /anonymous --tmpfs /e:size=1m")
        assert found.mounts == (
            Mount(flag="--volume", kind="bind", source=f"{tmp_path}/a", target="/a"),
            Mount(flag="--volume", kind="bind", source=f"{tmp_path.parent}/b", target="/b", options="ro"),
            Mount(
                flag="--mount",
                kind="bind",
                source=f"{tmp_path}/c",
                target="/c",
                value={"Type": "bind", "Source": f"{tmp_path}/c", "Target": "/c"},
            ),
            Mount(flag="--volume", kind="volume", source="name", target="/d"),
            Mount(flag="--volume", kind="volume", source="", target="/anonymous"),
            Mount(flag="--tmpfs", kind="tmpfs", source="", target="/e", options="size=1m"),
        )

    def test_of_several_at_one_place_the_last_counts(self, parse: Parse) -> None:
        found = parse("-v /a:/x --tmpfs /x/ --mount type=volume,dst=/y -v /b:/./x/../x")
        assert [(mount.source, mount.target) for mount in found.mounts] == [("/b", "/./x/../x"), ("", "/y")]


class TestBody:
    def test_of_a_plain_request(self) -> None:
        assert create_body(REQUEST, DockerArguments()) == {
            "Image": "sha256:1",
            "Cmd": ["python", "-m", "keeper"],
            "Entrypoint": [],
            "User": "",
            "WorkingDir": "/",
            "AttachStdout": True,
            "AttachStderr": True,
            "Env": [],
            "Labels": {},
            "HostConfig": {
                "AutoRemove": True,
                "Init": False,
                "RestartPolicy": {"Name": "no"},
                "ShmSize": 2 << 30,
                "NetworkMode": "default",
                "SecurityOpt": ["no-new-privileges"],
            },
            "NetworkingConfig": {"EndpointsConfig": {}},
        }

    def test_scalars_of_docker_args_win(self, parse: Parse) -> None:
        request = replace(REQUEST, user="1:1", cpus=1.5, memory=1 << 30, gpus=("0",), shm_size=1)
        body: Any = create_body(request, parse("-u 0 --cpus 3 -m 2g --gpus all --shm-size 4g --init --network none"))
        host = body["HostConfig"]
        assert (body["User"], host["NanoCpus"], host["Memory"], host["ShmSize"]) == ("0", 3 * 10**9, 2 << 30, 4 << 30)
        assert (host["Init"], host["NetworkMode"], [one["Count"] for one in host["DeviceRequests"]]) == (True, "none", [-1])

    def test_times_of_the_scheduler_replace_a_number_of_cpus(self, parse: Parse) -> None:
        body: Any = create_body(replace(REQUEST, cpus=2), parse("--cpu-quota 5000"))
        assert "NanoCpus" not in body["HostConfig"]

    def test_environment_and_labels_by_name(self, parse: Parse) -> None:
        request = replace(REQUEST, environment={"A": "1", "B": "1"}, labels={"runner.job": "j"})
        body = create_body(request, parse("-e B=2 -e C -l team=blue"))
        assert body["Env"] == ["A=1", "B=2", "C"]
        assert body["Labels"] == {"runner.job": "j", "team": "blue"}

    @pytest.mark.parametrize(
        ("row", "want"),
        [
            ("--security-opt seccomp=unconfined", ["no-new-privileges", "seccomp=unconfined"]),
            ("--security-opt no-new-privileges=false", ["no-new-privileges=false"]),
            ("--security-opt no-new-privileges:false --security-opt no-new-privileges", ["no-new-privileges"]),
        ],
    )
    def test_no_new_privileges_unless_said_otherwise(self, parse: Parse, row: str, want: list[str]) -> None:
        body: Any = create_body(REQUEST, parse(row))
        assert body["HostConfig"]["SecurityOpt"] == want

    def test_mounts(self, parse: Parse) -> None:
        request = replace(REQUEST, mounts=(BindMount(source="/s", target="/t"),))
        theirs = parse("-v /a:/b:ro --mount type=bind,src=/c,dst=/d -v name:/e -v /f --tmpfs /g:size=1m")
        body: Any = create_body(request, theirs)
        host = body["HostConfig"]
        assert host["Mounts"] == [
            {"Type": "bind", "Source": "/s", "Target": "/t", "ReadOnly": True},
            {"Type": "bind", "Source": "/c", "Target": "/d"},
        ]
        assert host["Binds"] == ["/a:/b:ro", "name:/e"]
        assert (body["Volumes"], host["Tmpfs"]) == ({"/f": {}}, {"/g": "size=1m"})

    def test_labels_of_selinux_need_binds(self) -> None:
        mounts = (BindMount(source="/s", target="/t"), BindMount(source="/u", target="/v", read_only=False))
        body: Any = create_body(replace(REQUEST, mounts=mounts, mount_label="Z"), DockerArguments())
        assert body["HostConfig"]["Binds"] == ["/s:/t:ro,Z", "/u:/v:Z"]
        with pytest.raises(UserError, match="a colon"):
            create_body(replace(REQUEST, mounts=(BindMount(source="/a:b", target="/t"),), mount_label="z"), DockerArguments())
