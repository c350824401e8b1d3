"""What the policy refuses, and ways round it. No engine."""

from __future__ import annotations

import os
import shlex
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from runner.errors import UserErrors
from runner.launch import docker_files, docker_paths
from runner.launch.docker_args import parse_docker_args
from runner.launch.docker_policy import check_policy, checked_docker_args, pinned
from runner.model.docker import ALLOWABLE, DockerPolicy

ALL = frozenset(ALLOWABLE)


@dataclass(frozen=True)
class Site:
    """A data root, a folder beside it with somebody else's secret, and a socket where an engine might listen."""

    root: Path
    data: Path
    secret: Path
    socket: Path

    def check(self, row: str, *allow: str, roots: tuple[str, ...] | None = None, reserved: tuple[str, ...] = ()) -> str:
        """What is said against a row: nothing, or the errors."""
        policy = DockerPolicy(allow=frozenset(allow), data_roots=(str(self.data),) if roots is None else roots)
        filled = row.format(data=self.data, root=self.root, secret=self.secret, socket=self.socket)
        found = parse_docker_args(shlex.split(filled), environment={}, directory=self.root)
        return "\n".join(map(str, check_policy(found, policy, reserved=[BindMount(source="/x", target=one) for one in reserved], sockets=(str(self.socket),))))


@pytest.fixture
def site() -> Iterator[Site]:
    """In a folder with a short name: a socket's path has at most 108 characters."""
    import shutil
    import tempfile

    root = Path(tempfile.mkdtemp(prefix="policy-")).resolve()
    found = Site(root=root, data=root / "data", secret=root / "secret", socket=root / "run" / "engine.sock")
    for folder in (found.data / "set", found.secret, found.socket.parent):
        folder.mkdir(parents=True)
    (found.secret / "key").write_text("TOKEN=1\n")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(found.socket))
        yield found
    shutil.rmtree(root)


# flag → the word that allows it
FORBIDDEN = {
    "--privileged": "privileged",
    "--privileged=true": "privileged",
    "--runtime crazy": "privileged",
    "--annotation a=b": "privileged",
    "--link other:x": "privileged",
    "--log-driver syslog": "privileged",
    "--log-opt syslog-address=unix:///x": "privileged",
    "--oom-score-adj -1": "privileged",
    "--network host": "host-network",
    "--net=host": "host-network",
    "--network name=host": "host-network",
    "--network ' host'": "host-network",
    "--network container:other": "host-network",
    "--network 0123456789abcdef": "host-network",
    "--network mine --network name=0ab,alias=x": "host-network",
    "--pid host": "host-pid",
    "--pid container:other": "host-pid",
    "--ipc host": "host-ipc",
    "--ipc container:other": "host-ipc",
    "--uts host": "host-uts",
    "--userns host": "host-userns",
    "--cgroupns host": "host-cgroupns",
    "--volumes-from other": "volumes-from",
    "--volumes-from other:ro": "volumes-from",
    "--device /dev/null": "devices",
    "--device vendor.example/gpu=0:/x": "devices",
    "--device-cgroup-rule 'c 1:1 rwm'": "devices",
    "--gpus driver=cdi,device=x": "devices",
    "--cgroup-parent /": "cgroup-parent",
    "--security-opt seccomp=unconfined": "unconfined",
    "--security-opt seccomp:unconfined": "unconfined",
    "--security-opt seccomp=profile.json": "unconfined",
    "--security-opt apparmor=unconfined": "unconfined",
    "--security-opt apparmor:mine": "unconfined",
    "--security-opt label=disable": "unconfined",
    "--security-opt label:type:spc_t": "unconfined",
    "--security-opt systempaths=unconfined": "unconfined",
    "--security-opt no-new-privileges=false": "unconfined",
    "--security-opt no-new-privileges:0": "unconfined",
    "--security-opt nosuch=1": "unconfined",
    "--cap-add SYS_ADMIN": "capabilities",
    "--cap-add cap_sys_ptrace": "capabilities",
    "--cap-add all": "capabilities",
    "--cap-drop ALL --cap-add NET_ADMIN": "capabilities",
    "--volume-driver nosuch": "any-mount",
    "--mount src=v,dst=/x,volume-driver=nosuch": "any-mount",
    "--mount src=v,dst=/x,volume-opt=type=none,volume-opt=o=bind,volume-opt=device=/": "any-mount",
    "--mount type=volume,dst=/x,volume-driver=local,volume-opt=o=addr=10.0.0.1": "any-mount",
    "-v {data}:/x:rshared": "any-mount",
    "-v {data}:/x:ro,shared": "any-mount",
    "--mount type=bind,src={data},dst=/x,bind-propagation=rshared": "any-mount",
    "-v {secret}:/x": "any-mount",
    "-v {socket}:/x": "docker-socket",
}
HARMLESS = (
    *("", "--privileged=false", "--privileged --privileged=false", "--pid ''", "--ipc private --uts ''", "--cgroupns private"),
    *("--network none", "--network bridge", "--network mine", "--gpus all", "--cap-drop ALL", "--cap-add chown --cap-add NET_RAW"),
    *("--security-opt no-new-privileges", "--security-opt no-new-privileges=true", "--security-opt seccomp=builtin", "--oom-score-adj 5"),
    *("--runtime nvidia", "-p 80:80", "--sysctl net.core.somaxconn=9", "--health-cmd true", "--log-driver json-file --log-opt max-size=1m"),
    *("-v name:/x", "-v /anonymous", "--mount src=v,dst=/x,volume-nocopy", "--tmpfs /x", "--mount type=tmpfs,dst=/x", "--user 0"),
    *("-v {data}:/x", "-v {data}/set:/x:ro,z", "-v {data}/set/../set:/x", "-v ./data/set:/x", "--mount type=bind,src={data}/set,dst=/x"),
)


class TestWords:
    @pytest.mark.parametrize(("row", "word"), FORBIDDEN.items())
    def test_forbidden_by_name_and_allowed_by_one_word(self, site: Site, row: str, word: str) -> None:
        (site.root / "profile.json").write_text("{}")
        said = site.check(row)
        assert said.startswith("docker_args: --")
        assert "next: " in said
        assert site.check(row, *(ALL - {word})) != ""
        also = {"any-mount"} if word == "docker-socket" else set()
        assert site.check(row, word, *also) == ""

    @pytest.mark.parametrize("row", HARMLESS)
    def test_harmless(self, site: Site, row: str) -> None:
        assert site.check(row) == ""

    def test_all_at_once(self, site: Site) -> None:
        said = site.check("--privileged --pid host -v {secret}:/x")
        assert said.count("not allowed in this workspace") == 3


class TestWaysToTheHost:
    """Paths that look as if they were below a data root, and are not."""

    @pytest.mark.parametrize("path", ["/", "/etc", "/var/run", "/proc", "/sys", "/dev", "/root", "{root}", "{data}x", "{data}/.."])
    @pytest.mark.parametrize("form", ["-v %s:/x", "--mount type=bind,src=%s,dst=/x"])
    def test_plainly_outside(self, site: Site, path: str, form: str) -> None:
        Path(f"{site.data}x").mkdir()
        assert site.check(form % path) != ""

    @pytest.mark.parametrize("path", ["{data}/set/../../secret", "{data}/./../secret", "./data/../secret", "{data}//..//secret"])
    def test_dots(self, site: Site, path: str) -> None:
        assert "outside the data roots" in site.check(f"-v {path}:/x")

    @pytest.mark.parametrize("target", ["{secret}", "../secret", "../../{root}/secret", "/", "/etc"])
    @pytest.mark.parametrize("below", ["", "/.", "/key", "/../link"])
    def test_links_in_a_data_root(self, site: Site, target: str, below: str) -> None:
        (site.data / "link").symlink_to(target.format(secret=site.secret, root=site.root.name))
        assert site.check(f"-v {{data}}/link{below}:/x") != ""

    def test_links_to_links(self, site: Site) -> None:
        (site.data / "one").symlink_to("set/two")
        (site.data / "set" / "two").symlink_to("../../secret")
        assert f"it leads to {site.secret}" in site.check("-v {data}/one:/x")
        (site.data / "loop").symlink_to("loop")
        assert "circle" in site.check("-v {data}/loop:/x")

    def test_links_within_the_data_roots_are_good(self, site: Site) -> None:
        (site.data / "link").symlink_to("set")
        assert site.check("-v {data}/link:/x") == ""

    def test_dots_behind_a_link_are_those_of_the_text(self, site: Site) -> None:
        """The engine cleans `link/..` away before it looks: what is checked is what it mounts."""
        (site.data / "link").symlink_to(site.secret)
        assert site.check("-v {data}/link/../set:/x") == ""
        assert "outside" in site.check("-v {data}/link/../../secret:/x")

    @pytest.mark.parametrize("way", ["/proc/self/root", "/proc/1/root", "/proc/thread-self/cwd", "/proc/self/fd/0", "/dev/fd", "/sys/fs"])
    def test_through_the_kernels_file_systems(self, site: Site, way: str) -> None:
        assert "leads through /" in site.check(f"-v {way}:/x")
        assert "leads through /" in site.check(f"-v {way}{{data}}:/x")
        (site.data / "link").symlink_to(way)
        assert "leads through /" in site.check("-v {data}/link:/x")
        assert "leads through /" in site.check("-v {data}/link{data}:/x")

    def test_even_where_such_a_link_says_a_data_root(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(site.data)
        assert "leads through /proc" in site.check("-v /proc/self/cwd:/x")

    def test_a_data_root_that_is_a_link(self, site: Site) -> None:
        (site.root / "alias").symlink_to("data")
        assert site.check("-v {data}/set:/x", roots=(str(site.root / "alias"),)) == ""
        assert site.check("-v {root}/alias/set:/x", roots=(str(site.data),)) == ""

    def test_without_data_roots_nothing_is_mounted(self, site: Site) -> None:
        assert "outside the data roots" in site.check("-v {data}:/x", roots=())

    def test_what_is_not_there_is_not_made(self, site: Site) -> None:
        assert "does not exist" in site.check("-v {data}/gone:/x")
        (site.data / "dangling").symlink_to("gone")
        assert "does not exist" in site.check("-v {data}/dangling:/x")

    @pytest.mark.parametrize("source", ["~/x", "a/b", "'\\\\server'"])
    def test_what_is_no_absolute_path(self, site: Site, source: str) -> None:
        assert "is not an absolute path" in site.check(f"-v {source}:/x")

    def test_a_volume_whose_name_is_a_path(self, site: Site) -> None:
        assert "outside the data roots" in site.check("--mount type=volume,src=/etc,dst=/x")
        assert "outside the data roots" in site.check("--mount type=tmpfs,src=/etc,dst=/x")


class TestTheEnginesSocket:
    @pytest.mark.parametrize("path", ["{socket}", "{root}/run", "{root}", "/", "{root}/run/../run"])
    def test_itself_and_all_folders_above(self, site: Site, path: str) -> None:
        assert "the Docker engine's socket" in site.check(f"-v {path}:/x", "any-mount")

    def test_under_another_name(self, site: Site) -> None:
        os.link(site.socket, site.data / "innocent")
        (site.data / "link").symlink_to("../run")
        for name in ("innocent", "link", "link/engine.sock"):
            assert "the Docker engine's socket" in site.check(f"-v {{data}}/{name}:/x", "any-mount")
            assert site.check(f"-v {{data}}/{name}:/x") != ""

    def test_through_proc(self, site: Site) -> None:
        assert "the Docker engine's socket" in site.check("-v /proc/self/root:/x", "any-mount")

    def test_the_usual_places_are_known(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DOCKER_HOST", "unix:///elsewhere/docker.sock")
        monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/me")
        expected = {"/var/run/docker.sock", "/elsewhere/docker.sock", "/run/me/docker.sock", "/run/me/podman/podman.sock"}
        assert expected <= set(docker_paths.engine_sockets())

    def test_data_beside_it_may_be_mounted(self, site: Site) -> None:
        assert site.check("-v {data}:/x", "any-mount") == ""


class TestOurPlaces:
    @pytest.mark.parametrize(
        "row",
        [
            *("-v {data}:/run/job", "-v {data}:/run/job/", "-v {data}:/run/./job", "-v {data}:/x/../run/job", "-v {data}://run//job"),
            *("-v {data}:/run/job/agent", "-v name:/run/job", "-v /run/job", "--tmpfs /run/job", "--tmpfs /run/job/x:size=1m"),
            *("--mount type=bind,src={data},dst=/run/job", "--mount type=tmpfs,dst=/run/job", "--mount dst=/run/job"),
            "--device /dev/null:/run/job/x",
        ],
    )
    def test_mounts_over_ours_are_refused(self, site: Site, row: str) -> None:
        assert "is reserved: the runner mounts /run/job there" in site.check(row, *ALL, reserved=("/run/job/",))

    @pytest.mark.parametrize("row", ["-v {data}:/run/jobs", "-v {data}:/run", "-v {data}:/job"])
    def test_beside_and_above_is_free(self, site: Site, row: str) -> None:
        assert site.check(row, reserved=("/run/job",)) == ""


class TestPinned:
    def test_sources_are_where_they_lead(self, site: Site) -> None:
        (site.data / "link").symlink_to("set")
        policy = DockerPolicy(data_roots=(str(site.data),))
        row = "-v ./data/link:/a:ro --mount type=bind,src=./data/link,dst=/b -v name:/c"
        found = pinned(parse_docker_args(shlex.split(row), environment={}, directory=site.root), policy)
        assert [mount.source for mount in found.mounts] == [f"{site.data}/set", f"{site.data}/set", "name"]
        assert found.mounts[1].value["Source"] == f"{site.data}/set"

    def test_a_link_that_is_bent_in_between(self, site: Site) -> None:
        link = site.data / "link"
        link.symlink_to("set")
        policy = DockerPolicy(data_roots=(str(site.data),))

        def check() -> object:
            return checked_docker_args(["-v", f"{link}:/x"], policy, environment={}, directory=site.root)

        check()
        link.unlink()
        link.symlink_to("../secret")
        with pytest.raises(UserErrors, match="outside the data roots"):
            check()

    def test_a_colon_where_a_link_leads(self, site: Site) -> None:
        (site.data / "a:b").mkdir()
        (site.data / "link").symlink_to("a:b")
        assert "has a colon" in site.check("-v {data}/link:/x")
        assert site.check("--mount type=bind,src={data}/link,dst=/x") == ""


class TestFilesOfOthers:
    """A runner that may read more than the one who submits: files are read with the submitter's permission."""

    STRANGER = 54321

    @pytest.fixture
    def read(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
        def run(row: str) -> str:
            try:
                found = parse_docker_args(shlex.split(row), environment={}, directory=site.root, reader_uid=self.STRANGER)
            except UserErrors as errors:
                return str(errors)
            return str(dict(found.environment) or dict(found.labels) or found.security)

        return run

    def test_by_mode(self, site: Site, read: Callable[[str], str]) -> None:
        key = site.secret / "key"
        key.chmod(0o600)
        for row in ("--env-file secret/key", "--label-file secret/key", "--security-opt seccomp=secret/key"):
            assert "may not read this file" in read(row)
        key.chmod(0o644)
        assert read("--env-file secret/key") == "{'TOKEN': '1'}"

    def test_by_link(self, site: Site, read: Callable[[str], str]) -> None:
        (site.secret / "key").chmod(0o600)
        (site.root / "mine").symlink_to("secret/key")
        os.link(site.secret / "key", site.root / "also")
        for name in ("mine", "also", "data/../mine"):
            assert "may not read this file" in read(f"--env-file {name}")

    def test_by_owner_and_group(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        file = tmp_path / "x"
        file.write_text("")
        file.chmod(0o640)
        status = file.stat()
        monkeypatch.setattr(docker_paths, "_groups", lambda _uid: [status.st_gid])
        assert docker_paths.may_read(status, self.STRANGER)
        monkeypatch.setattr(docker_paths, "_groups", lambda _uid: [])
        assert not docker_paths.may_read(status, self.STRANGER)
        assert docker_paths.may_read(status, os.geteuid())

    def test_a_link_that_is_bent_while_we_look(self, site: Site, read: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
        """What was opened is what is judged: the path alone says nothing."""
        (site.secret / "key").chmod(0o600)
        monkeypatch.setattr(docker_files, "real_path", lambda _path: str(site.secret / "key"))
        assert "may not read this file" in read("--env-file innocent")
