"""What is about containers alone: what a script finds in one, whose it is, and that nothing of it stays behind."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.jobs import ContainerLab, Outcome, UserLab, folder_for_all

pytestmark = pytest.mark.needs("docker")

Make = Callable[..., ContainerLab]


@pytest.fixture
def lab(tmp_path: Path, test_image: Callable[[str], str]) -> ContainerLab:
    return ContainerLab(tmp_path, image=test_image("bare"))


@pytest.fixture
def user_lab(test_image: Callable[[str], str], needs: Callable[[str], str]) -> Iterator[UserLab]:
    needs("docker-user")
    with folder_for_all() as folder:
        yield UserLab(folder, image=test_image("bare"))


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=True).stdout


def name_of(lab: ContainerLab) -> str:
    """Of its job: other tests run beside this one."""
    return f"job{zlib.crc32(os.fsencode(lab.folder))}"


def containers(lab: ContainerLab, *, running: bool = False) -> list[str]:
    """Those of the lab's job, by their label."""
    return docker("ps", "-q", *([] if running else ["-a"]), "--filter", f"label=runner.job={name_of(lab)}").split()


def score(lab: ContainerLab, **environment: str) -> Outcome:
    done = lab.score(name=name_of(lab), **environment)
    assert "Traceback" not in done.stderr
    until(lambda: not containers(lab), seconds=5)
    return done


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


LOOK = """
import getpass, json, os, pwd, sys, tempfile

def run(mini_batch):
    open(os.path.join(os.environ["HOME"], "x"), "w").close()
    with tempfile.NamedTemporaryFile(dir=os.environ["TMPDIR"]):
        pass
    try:
        open(mini_batch[0], "a")
        readonly = False
    except OSError:
        readonly = True
    os.makedirs(os.environ["AZURE_ML_OUTPUT_more"], exist_ok=True)
    open(os.environ["AZURE_ML_OUTPUT_more"] + "/made", "w").close()
    status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
    return [json.dumps({
        "user": getpass.getuser(), "uid": os.getuid(), "gid": os.getgid(), "name": pwd.getpwuid(os.getuid()).pw_name,
        "readonly": readonly, "socket": os.path.exists("/var/run/docker.sock"), "environment": dict(os.environ),
        "privileges": status["NoNewPrivs"].strip(), "python": sys.version.split()[0],
        "shm": os.statvfs("/dev/shm").f_blocks * os.statvfs("/dev/shm").f_frsize,
    })]
"""
OUTPUTS = {"rows": {"type": "uri_file", "path": "out/rows.txt"}, "more": {"type": "uri_folder", "path": "out/more"}}


def look(lab: ContainerLab, **keys: object) -> dict[str, object]:
    """What a script finds in its container."""
    lab.files(1)
    lab.script(LOOK)
    lab.job(outputs=OUTPUTS, **keys)
    done = score(lab, SECRET_OF_THE_SUBMITTER="dont-tell")
    assert done.status == 0, done.stderr
    return json.loads(lab.rows.read_text())


def owners(folder: Path) -> set[int]:
    return {path.lstat().st_uid for path in [folder, *folder.rglob("*")]}


@pytest.mark.parametrize("who", ["root", "ordinary"])
def test_a_script_finds_the_submitters_account_and_nothing_of_the_machine(request: pytest.FixtureRequest, who: str) -> None:
    lab = request.getfixturevalue("lab" if who == "root" else "user_lab")
    found = look(lab)
    uid = (lab.folder / "out" / "more" / "made").stat().st_uid
    assert found["uid"] == uid == (os.getuid() if who == "root" else uid)
    assert bool(found["uid"]) == (who == "ordinary")
    assert found["user"] == found["name"]
    assert (found["readonly"] or found["uid"] == 0) == (found["socket"] is False) is True
    assert found["privileges"] == "1"
    assert found["shm"] == 2 << 30
    assert "dont-tell" not in str(found["environment"])
    assert not [name for name in found["environment"] if name.startswith("DOCKER") or "SECRET" in name]
    assert owners(lab.folder / "out") == {uid}


def test_inputs_are_read_only_for_root_too(lab: ContainerLab) -> None:
    assert look(lab)["readonly"]


@pytest.mark.parametrize(("user", "uid"), [("0", 0), ("1234:5", 1234), ("nobody", 65534)])
def test_another_user_gets_in_and_what_it_made_is_given_back(user_lab: UserLab, user: str, uid: int) -> None:
    found = look(user_lab, resources={"docker_args": ["--user", user]})
    assert found["uid"] == uid
    assert found["user"] == found["name"]
    submitter = user_lab.folder.stat().st_uid
    assert submitter != uid
    assert owners(user_lab.folder / "out") == owners(user_lab.folder / ".runner") == {submitter}
    assert (user_lab.folder / "out" / "more").stat().st_mode & 0o777 == 0o755
    again = user_lab.score(name="again")  # over what is there
    assert again.status == 0, again.stderr


def world_writable(folder: Path) -> list[Path]:
    return [path for path in [folder, *folder.rglob("*")] if not path.is_symlink() and path.stat().st_mode & 0o002]


def test_nothing_stays_open_to_everybody(user_lab: UserLab) -> None:
    look(user_lab, resources={"docker_args": ["--user", "1234"]})
    assert not world_writable(user_lab.folder / ".runner")
    assert not world_writable(user_lab.folder / "out")


@pytest.mark.parametrize("user", ["0", "1234"])
def test_what_others_have_in_an_output_stays_theirs(user_lab: UserLab, user: str) -> None:
    """Of an output that is a file the folder is mounted, and it may be everybody's."""
    with folder_for_all() as shared:
        shared.chmod(0o1777)
        (shared / "of-root").write_text("x")
        (shared / "of-root").chmod(0o600)
        (shared / "daemons").mkdir()
        os.chown(shared / "daemons", 1, 1)
        time.sleep(3)  # longer than the clock of a file system may be behind
        user_lab.files(1)
        user_lab.script()
        user_lab.job(outputs={"rows": {"type": "uri_file", "path": str(shared / "rows.txt")}}, resources={"docker_args": ["--user", user]})
        done = score(user_lab)
        assert done.status == 0, done.stderr
        assert [(shared / name).stat().st_uid for name in (".", "of-root", "daemons")] == [0, 0, 1]
        assert stat.S_IMODE((shared / "of-root").stat().st_mode) == 0o600


LEAVE = """
import os, time

def run(mini_batch):
    path = os.path.join(os.environ["AZURE_ML_OUTPUT_more"], "deep")
    os.makedirs(path, exist_ok=True)
    with open(os.path.join(path, "suid"), "w"):
        pass
    os.chmod(os.path.join(path, "suid"), 0o4755)
    time.sleep(0.3)
    return [os.path.basename(mini_batch[0])]
"""


@pytest.mark.parametrize("then", ["resume", "delete"])
def test_what_a_killed_driver_could_not_give_back_is_given_back_later(user_lab: UserLab, then: str) -> None:
    user_lab.files(20)
    user_lab.script(LEAVE)
    user_lab.job(outputs=OUTPUTS, resources={"docker_args": ["--user", "0"]}, max_concurrency_per_instance=1)
    process = user_lab.start("job", "create", "-f", "job.yml", "-n", name_of(user_lab), "--stream")
    left = user_lab.folder / "out" / "more" / "deep" / "suid"
    try:
        until(left.exists)
        # the ordinary user's process is a child of ours through setpriv and env, which become it
        process.kill()
    finally:
        process.communicate()
    until(lambda: not containers(user_lab), seconds=15)
    user_lab.keep_owners = True  # the test's own chown would hide what is tested
    assert left.stat().st_uid == 0
    if then == "resume":
        done = user_lab.run("job", "resume", "-n", name_of(user_lab), "--stream", "-o", "json")
        assert done.status == 0, done.stderr
        assert len(user_lab.rows.read_text().split()) == 20
    else:
        done = user_lab.run("job", "delete", "-n", name_of(user_lab), "--yes")
        assert done.status == 0, done.stderr
        assert not list((user_lab.folder / ".runner" / "jobs").iterdir())
    assert 0 not in owners(user_lab.folder / "out") | owners(user_lab.folder / ".runner")
    assert then == "resume" or not left.stat().st_mode & 0o4000  # it is the submitter's now, and must not do as if it were


def test_a_paused_container_of_a_killed_driver_is_removed_by_the_next_job(lab: ContainerLab, long_job: subprocess.Popen[str]) -> None:
    (paused,) = containers(lab)
    docker("pause", paused)
    long_job.kill()
    long_job.wait()
    open_gate(lab)
    lab.job(max_concurrency_per_instance=2, mini_batch_size=60)
    assert lab.score(name="next").status == 0
    assert paused not in containers(lab)


@pytest.mark.parametrize("how", ["input", "link", "folder", "model"])
def test_the_engines_socket_is_no_input(lab: ContainerLab, how: str) -> None:
    lab.files(1)
    lab.script()
    os.symlink("/var/run/docker.sock", lab.folder / "link")
    os.symlink("/var/run", lab.folder / "folder")
    paths = {"input": "/var/run/docker.sock", "link": "link", "folder": "folder", "model": "/var/run/docker.sock"}
    kind = "uri_folder" if how == "folder" else "uri_file"
    side = {} if how == "model" else {"side": {"type": kind, "path": paths[how]}}
    lab.job(
        inputs={"data": {"type": "uri_folder", "path": "input"}, **side}, task={"model": paths[how]} if how == "model" else None
    )  # fmt: skip
    done = score(lab)
    assert done.status == 2, done.stderr
    assert "cannot be given to a container" in done.stderr


@pytest.mark.parametrize("target", ["/run/runner/agent", "/run/runner/home/x", "{folder}/input"])
def test_mounts_over_the_runners_own_are_found_by_validate(lab: ContainerLab, target: str) -> None:
    lab.files(1)
    lab.script()
    mount = f"{lab.ledger_file.parent}:{target.format(folder=lab.folder)}"
    lab.job(resources={"docker_args": ["-v", mount]})
    done = lab.run("job", "validate", "-f", "job.yml")
    assert done.status == 2, done.stdout
    assert "is reserved: the runner mounts" in done.stderr


def test_a_user_that_the_image_lacks(lab: ContainerLab) -> None:
    lab.files(1)
    lab.script()
    lab.job(resources={"docker_args": ["--user", "nobdy"]})
    done = score(lab)
    assert done.status == 2, done.stderr
    assert "the image has no user 'nobdy'" in done.stderr
    assert "did you mean 'nobody'?" in done.stderr


@pytest.mark.parametrize("image", ["user", "entrypoint", "noshell", "python37", "python38"])
def test_images_of_all_kinds(lab: ContainerLab, test_image: Callable[[str], str], image: str) -> None:
    lab.image = test_image(image)
    found = look(lab)
    if image.startswith("python"):
        assert str(found["python"]).startswith(f"3.{image[-1]}.")


@pytest.mark.parametrize(("image", "says"), [("nopython", "has no Python 3.7 or newer on its PATH"), ("oldpython", "3.6")])
def test_images_that_cannot_run_a_script(lab: ContainerLab, test_image: Callable[[str], str], image: str, says: str) -> None:
    lab.image = test_image(image)
    lab.files(1)
    lab.script()
    lab.job()
    done = score(lab)
    assert done.status == 2, done.stderr
    assert says in done.stderr


def test_docker_args_win_and_reach_the_script(lab: ContainerLab) -> None:
    arguments = "--shm-size 64m -e GIVEN -e 'TEXT=a b' --env AZUREML_RUN_ID=mine --memory 300m --hostname there"
    lab.files(1)
    lab.script(LOOK)
    lab.job(outputs=OUTPUTS, resources={"shm_size": "1g", "docker_args": arguments})
    done = score(lab, GIVEN="from the client")
    assert done.status == 0, done.stderr
    found = json.loads(lab.rows.read_text())
    assert found["shm"] == 64 << 20
    environment = found["environment"]
    assert (environment["GIVEN"], environment["TEXT"], environment["AZUREML_RUN_ID"]) == ("from the client", "a b", "mine")
    assert environment["HOSTNAME"] == "there"


def test_what_the_engine_refuses_is_said_in_its_words(lab: ContainerLab) -> None:
    lab.files(1)
    lab.script()
    lab.job(resources={"docker_args": "--gpus all"})
    done = score(lab)
    assert done.status == 1, done.stderr
    assert "could not select device driver" in done.job["error"]["message"]
    assert "next: install the NVIDIA container toolkit" in done.job["error"]["message"]


def test_gpus_of_an_instance_type_are_asked_for(lab: ContainerLab) -> None:
    """The engine of a machine without one refuses, which shows that it was asked."""
    lab.files(1)
    lab.script()
    (lab.folder / "workspace.yml").write_text("instance_types: {gpu: {gpus: 1}}\n")
    lab.job(resources={"instance_type": "gpu"})
    done = score(lab)
    assert done.status == 1, done.stderr
    assert "could not select device driver" in done.job["error"]["message"]


NUMBERS = "import time\n\ndef run(b):\n    time.sleep(0.3)\n    return [p[-9:-4] for p in b]\n"
GATE = """
import os

_run = run

def run(b):
    while b[-1][-9:-4] >= "00010" and not os.path.exists(os.environ["LEDGER"] + ".gate"):
        time.sleep(0.02)
    return _run(b)
"""


def open_gate(lab: ContainerLab) -> None:
    Path(f"{lab.ledger_file}.gate").touch()


@pytest.fixture
def long_job(lab: ContainerLab) -> Iterator[subprocess.Popen[str]]:
    """It does not end before its gate is opened."""
    lab.files(60)
    lab.script(NUMBERS + GATE)
    lab.job(max_concurrency_per_instance=2)
    process = lab.start("job", "create", "-f", "job.yml", "-n", name_of(lab), "--stream")
    try:
        until(lambda: containers(lab, running=True))
        time.sleep(0.7)
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_killed_driver_leaves_no_container(lab: ContainerLab, long_job: subprocess.Popen[str]) -> None:
    """Nothing else is run: the keeper goes by itself, and the engine removes what has ended."""
    long_job.kill()
    long_job.wait()
    until(lambda: not containers(lab), seconds=15)
    open_gate(lab)
    done = lab.run("job", "resume", "-n", name_of(lab), "--stream", "-o", "json")
    assert done.status == 0, done.stderr
    assert lab.rows.read_text() == "".join(f"{number:05d}\n" for number in range(60))


def test_a_killed_container_is_replaced(lab: ContainerLab, long_job: subprocess.Popen[str]) -> None:
    (first,) = containers(lab)
    docker("kill", first)
    until(lambda: [one for one in containers(lab, running=True) if one != first])
    open_gate(lab)
    long_job.communicate(timeout=120)
    assert long_job.returncode == 0
    assert lab.rows.read_text() == "".join(f"{number:05d}\n" for number in range(60))


def test_names_and_labels(lab: ContainerLab, long_job: subprocess.Popen[str]) -> None:
    (one,) = containers(lab)
    found = json.loads(docker("inspect", one))[0]
    assert found["Config"]["Labels"]["runner.instance"] == "node_0"
    assert found["Name"].startswith(f"/runner-{name_of(lab)}-node_0-")
    assert found["HostConfig"]["AutoRemove"]
    assert "no-new-privileges" in found["HostConfig"]["SecurityOpt"]


def test_a_container_that_was_made_and_never_started_is_removed_by_the_next_job(lab: ContainerLab) -> None:
    """The driver is killed between the engine's two steps."""
    lab.files(1)
    lab.script()
    lab.job()
    since = time.time()
    lab.start("job", "create", "-f", "job.yml", "-n", name_of(lab), "--stream", RUNNER_FAILPOINT="container.created:1").communicate()
    # Not from `docker ps`: a job of another test may already have removed it.
    period, label = ["--since", f"{since:.6f}", "--until", f"{time.time():.6f}"], f"label=runner.job={name_of(lab)}"
    events = [line.split() for line in docker("events", *period, "--filter", label, "--format", "{{.Action}} {{.ID}}").splitlines()]
    (left,) = (one[:12] for action, one in events if action == "create")
    assert "start" not in [action for action, _ in events]
    assert lab.score(name="next").status == 0
    assert left not in containers(lab)


SMALL = {"docker_args": "--memory 200m --memory-swap 200m"}
HUNGRY = """
import os, time
from ledger import note

def run(mini_batch):
    name = os.path.basename(mini_batch[0])
    size = {"f00001.txt": 120, "f00002.txt": 120}.get(name, 5)
    memory = bytearray(size << 20)
    memory[::4096] = b"x" * len(memory[::4096])
    time.sleep(0.3)
    note(name)
    return [name]
"""
# The two meet before they allocate: one after the other would fit.
HUNGRY_TOGETHER = (
    HUNGRY.replace("import note", "import meet, note")
    .replace("    memory = ", "    if size > 5:\n        meet(2)\n    memory = ")
    .replace("time.sleep(0.3)", "time.sleep(1 if size > 5 else 0.3)")
)


def test_a_worker_out_of_memory_is_tried_again_with_fewer_beside_it(lab: ContainerLab) -> None:
    """Two that do not fit together, both succeed in the end, though no further attempt is allowed."""
    lab.files(8)
    lab.script(HUNGRY_TOGETHER)
    lab.job(max_concurrency_per_instance=4, retry_settings={"max_retries": 0}, resources=SMALL)
    done = score(lab)
    assert done.status == 0, done.stderr
    assert done.counts == (8, 8, 0), done.stderr
    assert lab.rows.read_text() == "".join(f"f{number:05d}.txt\n" for number in range(8))
    assert "ran out of memory (limit 200 MB)" in done.stderr
    assert "other worker" in done.stderr


def test_what_never_fits_fails_its_mini_batch_only_and_says_why(lab: ContainerLab) -> None:
    lab.files(8)
    lab.script(HUNGRY.replace('"f00002.txt": 120', '"f00003.txt": 400').replace("120", "5"))
    lab.job(max_concurrency_per_instance=3, retry_settings={"max_retries": 1}, resources=SMALL)
    done = score(lab)
    assert done.status == 0, done.stderr
    assert done.counts == (8, 7, 1), done.stderr
    text = "".join(path.read_text() for path in (lab.logs(name_of(lab)) / "sys").rglob("*.txt"))
    assert "mini-batch 3, attempt 2 of 2 failed" in text
    assert "out of memory (limit 200 MB) while it ran this mini-batch, though no other worker was beside it" in text


def test_two_instances_are_two_containers_with_outputs_of_their_own(lab: ContainerLab) -> None:
    lab.files(12)
    lab.script(
        "import os, time\nfrom ledger import meet\n\ndef run(b):\n    meet(2)\n    time.sleep(0.2)\n    name = os.path.basename(b[0])\n"
        "    open(os.path.join(os.environ['AZURE_ML_OUTPUT_more'], name), 'w').close()\n    return [os.uname().nodename]\n"
    )
    lab.job(outputs=OUTPUTS, resources={"instance_count": 2}, max_concurrency_per_instance=1)
    done = score(lab)
    assert done.status == 0, done.stderr
    assert len(set(lab.rows.read_text().split())) == 2
    assert len(list((lab.folder / "out" / "more").iterdir())) == 12


def test_inputs_where_images_keep_their_files_are_refused(lab: ContainerLab) -> None:
    lab.files(1)
    lab.script()
    lab.job(inputs={"data": {"type": "uri_folder", "path": "input"}, "libraries": {"type": "uri_folder", "path": "/usr/lib"}})
    done = score(lab)
    assert done.status == 2, done.stderr
    assert "'/usr/lib' cannot be given to a container" in done.stderr


def test_python_of_this_machine_is_refused(lab: ContainerLab) -> None:
    lab.files(1)
    lab.script()
    lab.job()
    done = lab.score("--python", "3.11")
    assert done.status == 2
    assert "--python names an interpreter of this machine" in done.stderr


def test_no_engine(lab: ContainerLab) -> None:
    lab.files(1)
    lab.script()
    lab.job()
    done = score(lab, DOCKER_HOST="unix:///nowhere/docker.sock")
    assert done.status == 2
    assert "no Docker engine answers" in done.stderr
    assert "--local" in done.stderr


def test_nothing_of_an_input_but_what_the_table_names(lab: ContainerLab, tmp_path: Path) -> None:
    """Files of an MLTable may lie anywhere; those beside them are not in the container."""
    for name in ("a.txt", "b.txt", "secret.txt"):
        (tmp_path / "elsewhere").mkdir(exist_ok=True)
        (tmp_path / "elsewhere" / name).write_text(name)
    (tmp_path / "table").mkdir()
    (tmp_path / "table" / "MLTable").write_text("paths:\n  - file: ../elsewhere/a.txt\n  - file: ../elsewhere/b.txt\n")
    beside = "' '.join(sorted(os.listdir(os.path.dirname(p))))"
    lab.script(f"import os\n\ndef run(b):\n    return [open(p).read() + ' ' + {beside} for p in b]\n")
    lab.job(inputs={"data": {"type": "mltable", "path": "table"}}, mini_batch_size=2)
    done = score(lab)
    assert done.status == 0, done.stderr
    assert lab.rows.read_text() == "a.txt a.txt b.txt\nb.txt a.txt b.txt\n"


def test_proxies_and_certificates_of_the_workspace_reach_the_script(lab: ContainerLab) -> None:
    (lab.folder / "company.pem").write_text("certificates\n")
    proxy = "http://proxy.example:3128"
    (lab.folder / "workspace.yml").write_text(f"docker:\n  ca_bundle: company.pem\n  proxy: {{https_proxy: '{proxy}'}}\n")
    lab.files(1)
    lab.script("import os\n\ndef run(b):\n    return [os.environ['HTTPS_PROXY'], open(os.environ['SSL_CERT_FILE']).read().strip()]\n")
    lab.place = lambda job: None  # type: ignore[method-assign]  # the ledger would want a policy
    lab.job(task={"environment": {"image": lab.image}}, environment_variables=None)
    done = score(lab)
    assert done.status == 0, done.stderr
    assert lab.rows.read_text() == f"{proxy}\ncertificates\n"


def test_a_job_in_the_background_is_cancelled_with_its_containers(lab: ContainerLab) -> None:
    lab.files(60)
    lab.script(NUMBERS)
    lab.job(max_concurrency_per_instance=2)
    assert lab.run("job", "create", "-f", "job.yml", "-n", name_of(lab)).status == 0
    until(lambda: containers(lab, running=True))
    assert lab.run("job", "cancel", "-n", name_of(lab)).status == 0
    until(lambda: not containers(lab), seconds=5)
    until(lambda: lab.run("job", "show", "-n", name_of(lab), "-o", "json").job["status"] == "Canceled")
    assert lab.run("job", "delete", "-n", name_of(lab), "--yes").status == 0


def test_steps_of_a_pipeline_in_images_of_their_own(lab: ContainerLab, test_image: Callable[[str], str]) -> None:
    lab.files(3)
    lab.script("import os, sys\n\ndef run(b):\n    return ['%d.%d %s' % (*sys.version_info[:2], os.path.basename(p)) for p in b]\n")

    def step(image: str, data: str) -> dict[str, object]:
        return {
            "type": "parallel",
            "inputs": {"data": {"type": "uri_folder", "path": data}},
            "outputs": {"rows": {"type": "uri_folder"}},
            "input_data": "${{inputs.data}}",
            "task": {
                "type": "run_function",
                "code": "code",
                "entry_script": "score.py",
                "append_row_to": "${{outputs.rows}}",
                "environment": {"image": test_image(image)},
            },
        }

    jobs = {"old": step("python38", "${{parent.inputs.data}}"), "new": step("bare", "${{parent.jobs.old.outputs.rows}}")}
    pipeline = {"type": "pipeline", "inputs": {"data": {"type": "uri_folder", "path": "input"}}, "jobs": jobs}
    (lab.folder / "pipeline.yml").write_text(json.dumps(pipeline))
    done = lab.run("job", "create", "-f", "pipeline.yml", "-n", name_of(lab), "--stream", "-o", "json")
    assert done.status == 0, done.stderr
    rows = {name: Path(one["outputs"]["rows"]["path"], "parallel_run_step.txt").read_text() for name, one in done.job["jobs"].items()}
    assert rows == {"old": "".join(f"3.8 f{number:05d}.txt\n" for number in range(3)), "new": "3.11 parallel_run_step.txt\n"}


def test_from_python(lab: ContainerLab, monkeypatch: pytest.MonkeyPatch) -> None:
    from runner import Input, MLClient, Output
    from runner.entities import Environment
    from runner.parallel import RunFunction, parallel_run_function

    lab.files(2)
    lab.script("import os\n\ndef run(b):\n    return [os.environ['HOME'] + ' ' + os.path.basename(p) for p in b]\n")
    monkeypatch.chdir(lab.folder)
    monkeypatch.setenv("RUNNER_WORKSPACE", str(lab.folder))
    score = parallel_run_function(
        name=name_of(lab),
        inputs={"data": Input(type="uri_folder", path="input")},
        outputs={"rows": Output(type="uri_file")},
        input_data="${{inputs.data}}",
        shm_size="1g",
        docker_args="--cpus 1",
        task=RunFunction(code="code", entry_script="score.py", append_row_to="${{outputs.rows}}", environment=Environment(image=lab.image)),
    )
    client = MLClient("a credential", "subscription", "group", "workspace")
    client.jobs.create_or_update(score)
    client.jobs.stream(name_of(lab))
    path = client.jobs.get(name_of(lab)).outputs["rows"].path
    assert Path(path).read_text() == "".join(f"/run/runner/home f{number:05d}.txt\n" for number in range(2))


@pytest.mark.parametrize(
    ("image", "arguments", "says"),
    [("nopython", [], "has no Python 3.7 or newer"), ("oldpython", [], "3.6"), ("bare", ["--user", "nosuch"], "no user 'nosuch'")],
)
def test_validate_looks_at_an_image_that_is_here(
    lab: ContainerLab, test_image: Callable[[str], str], image: str, arguments: list[str], says: str
) -> None:
    lab.image = test_image(image)
    lab.files(1)
    lab.script()
    lab.job(resources={"docker_args": arguments})
    done = lab.run("job", "validate", "-f", "job.yml")
    assert done.status == 2, done.stdout
    assert says in done.stderr


@pytest.fixture
def slow_build(lab: ContainerLab) -> ContainerLab:
    lab.files(1)
    lab.script()
    (lab.folder / "context").mkdir()
    lines = f"FROM {lab.image}\nRUN echo {lab.folder.name}\nRUN sleep 60\n"
    (lab.folder / "context" / "Dockerfile").write_text(lines)
    lab.job(task={"environment": {"build": {"path": "context"}}})
    return lab


def test_a_job_that_is_cancelled_while_it_builds_is_cancelled(slow_build: ContainerLab) -> None:
    lab = slow_build
    assert lab.run("job", "create", "-f", "job.yml", "-n", name_of(lab)).status == 0
    log = lab.logs(name_of(lab)) / "sys" / "master_role.txt"
    until(lambda: log.exists() and "sleep 60" in log.read_text())
    assert lab.run("job", "cancel", "-n", name_of(lab)).status == 0
    until(lambda: lab.run("job", "show", "-n", name_of(lab), "-o", "json").job["status"] == "Canceled", seconds=20)


def test_a_failed_build_is_a_failed_job_with_a_log(slow_build: ContainerLab) -> None:
    lab = slow_build
    (lab.folder / "context" / "Dockerfile").write_text(f"FROM {lab.image}\nRUN echo some words && exit 3\n")
    done = lab.score(name=name_of(lab))
    assert done.status == 1, done.stderr
    assert "building an image from" in done.stderr
    assert "some words" in done.job["error"]["message"]
    assert "some words" in (lab.logs(name_of(lab)) / "sys" / "master_role.txt").read_text()
