"""A step of a pipeline whose result is known is not run again, and says where it was taken from."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import subprocess
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.blobs import in_blob
from tests.acceptance.jobs import ContainerLab, Lab
from tests.azurite import Azurite

SCRIPT = """
import os
import re
from ledger import note

def init():
    note("score")

def run(mini_batch):
    return [open(path).read().strip() + os.environ.get("SUFFIX", "") for path in mini_batch]
"""
COMMAND = (
    'echo prepare >> "$LEDGER"; for file in ${{inputs.data}}/*; do tr a-z A-Z < "$file" > ${{outputs.made}}/"$(basename "$file")"; done'
)
LAST = 'echo last >> "$LEDGER"; wc -l < ${{inputs.rows}} > ${{outputs.count}}'
MADE = {"type": "uri_folder", "path": "${{parent.jobs.prepare.outputs.made}}"}


class Chain:
    """prepare (command) → score (parallel) → last (command); the ledger has a line for each that has run."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.number = lab, 0
        lab.files(3, content="abc\n")
        lab.script(SCRIPT)
        variables = {"LEDGER": str(lab.ledger_file)}
        lab.ledger_file.parent.mkdir(exist_ok=True)
        self.job: dict[str, Any] = {
            "type": "pipeline",
            "settings": {},
            "inputs": {"data": {"type": "uri_folder", "path": "input"}},
            "outputs": {"count": {"type": "uri_file"}},
            "jobs": {
                "prepare": {
                    "type": "command",
                    "command": COMMAND,
                    "environment_variables": dict(variables),
                    "inputs": {"data": "${{parent.inputs.data}}"},
                    "outputs": {"made": {"type": "uri_folder"}},
                },
                "score": {
                    "type": "parallel",
                    "environment_variables": dict(variables),
                    "inputs": {"files": "${{parent.jobs.prepare.outputs.made}}"},
                    "outputs": {"rows": {"type": "uri_file"}},
                    "input_data": "${{inputs.files}}",
                    "mini_batch_size": "2",
                    "max_concurrency_per_instance": 1,
                    "task": {"type": "run_function", "code": "code", "entry_script": "score.py", "append_row_to": "${{outputs.rows}}"},
                },
                "last": {
                    "type": "command",
                    "command": LAST,
                    "environment_variables": dict(variables),
                    "inputs": {"rows": "${{parent.jobs.score.outputs.rows}}"},
                    "outputs": {"count": "${{parent.outputs.count}}"},
                },
            },
        }

    def run(self, *words: str, status: int = 0) -> list[str]:
        """The steps that have run, in their order."""
        self.number += 1
        before = len(self.lab.ledger)
        done = self.lab.run("job", "create", "-f", self.write(), "-n", self.name, *self.lab.local, "--stream", "-o", "json", *words)
        assert done.status == status, done.stderr
        self.shown = json.loads(done.stdout)
        self.said = done.stderr
        return self.lab.ledger[before:]

    def write(self) -> str:
        job = copy.deepcopy(self.job)
        for step in job["jobs"].values():
            self.lab.place(step)
        return self.lab.write(job, file="pipeline.yml").name

    @property
    def name(self) -> str:
        return f"p{self.number}"

    @property
    def data(self) -> Path:
        """The first file of the input."""
        return self.lab.folder / "input" / "f00000.txt"

    def move_input(self, name: str) -> None:
        self.data.parent.rename(self.lab.folder / name)
        self.job["inputs"]["data"]["path"] = name

    @property
    def count(self) -> str:
        return Path(self.shown["outputs"]["count"]["path"]).read_text()


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    return Chain(Lab(tmp_path))


def test_a_whole_pipeline_that_has_run_before(chain):
    assert chain.run() == ["prepare", "score", "last"]
    first = chain.count
    assert chain.run() == []
    assert chain.count == first == "3\n"
    assert chain.shown["jobs"]["score"]["reused_from"] == "p1.score"
    assert chain.shown["jobs"]["score"]["status"] == "Completed"
    assert "score: Completed: taken from p1.score" in chain.said
    shown = chain.lab.run("job", "show", "p2.score", "-o", "json").job
    assert shown["reused_from"] == "p1.score"
    assert shown["progress"] == chain.lab.run("job", "show", "p1.score", "-o", "json").job["progress"], "the counts are those of the run"
    assert chain.shown["progress"]["mini_batches"]["succeeded"] == 2
    rows = Path(shown["outputs"]["rows"]["path"])
    assert "p2.score" in str(rows), "the outputs are the job's own"
    assert rows.read_text() == "ABC\n" * 3
    page = (chain.lab.logs("p2") / "job_result.txt").read_text()
    assert re.search(r"^  score +Completed +(\d+) of \1 mini-batches succeeded, taken from p1\.score$", page, re.MULTILINE)
    earlier = chain.lab.run("job", "show", "p1", "-o", "json").job
    assert shown["progress"] == earlier["jobs"]["score"]["progress"], "what was counted there"
    assert chain.shown["progress"] == earlier["progress"]
    done = earlier["progress"]["mini_batches"]["succeeded"]
    assert f"  {done}/{done}, {done} reused  " in chain.lab.run("job", "list").stdout


CHANGES: dict[str, tuple[Callable[[Chain], object], list[str]]] = {
    "a byte of the input": (lambda c: (c.lab.folder / "input" / "f00000.txt").write_text("abd\n"), ["prepare", "score", "last"]),
    "the command": (lambda c: c.job["jobs"]["prepare"].update(command=COMMAND + " "), ["prepare"]),  # its output has the same bytes
    "the last command": (lambda c: c.job["jobs"]["last"].update(command=LAST + "; true"), ["last"]),
    "the script": (lambda c: c.lab.script(SCRIPT + "# changed\n"), ["score"]),
    "the script, and its rows": (lambda c: c.lab.script(SCRIPT.replace("strip()", "strip() * 2")), ["score", "last"]),
    "another file of the code": (lambda c: (c.lab.folder / "code" / "more.py").touch(), ["score"]),
    "a variable": (lambda c: c.job["jobs"]["score"]["environment_variables"].update(SUFFIX="!"), ["score", "last"]),
    "an argument": (lambda c: c.job["jobs"]["score"]["task"].update(program_arguments="--x 1"), ["score"]),
    "mini_batch_size": (lambda c: c.job["jobs"]["score"].update(mini_batch_size="1"), ["score"]),
    "the name of an input file": (lambda c: c.data.rename(c.data.with_name("g.txt")), ["prepare", "score"]),
    "error_threshold": (lambda c: c.job["jobs"]["score"].update(error_threshold=3), ["score"]),
    "mini_batch_error_threshold": (lambda c: c.job["jobs"]["score"].update(mini_batch_error_threshold=3), ["score"]),
    "--allowed_failed_percent": (
        lambda c: c.job["jobs"]["score"]["task"].update(program_arguments="--allowed_failed_percent 50"),
        ["score"],
    ),
    "the mode of an input": (lambda c: c.job["jobs"]["score"]["inputs"].update(files={**MADE, "mode": "download"}), ["score"]),
    "a literal": (lambda c: c.job["jobs"]["score"]["inputs"].update(n=1), ["score"]),
    "another output": (lambda c: c.job["jobs"]["score"]["outputs"].update(more={"type": "uri_folder"}), ["score"]),
    "the whole pipeline": (lambda c: c.job["settings"].update(force_rerun=True), ["prepare", "score", "last"]),
    "one step": (lambda c: c.job["jobs"]["score"].update(is_deterministic=False), ["score"]),
    # These change no result.
    "tags, description, name": (lambda c: c.job["jobs"]["score"].update(tags={"a": "b"}, description="x", display_name="y"), []),
    "concurrency": (lambda c: c.job["jobs"]["score"].update(max_concurrency_per_instance=2), []),
    "instances": (lambda c: c.job["jobs"]["score"].update(resources={"instance_count": 2}), []),
    "retries and time-outs": (lambda c: c.job["jobs"]["score"].update(retry_settings={"max_retries": 1, "timeout": 50}), []),
    "time-outs among the arguments": (
        lambda c: c.job["jobs"]["score"]["task"].update(program_arguments="--task_overhead_timeout 300 --progress_update_timeout 700"),
        [],
    ),
    "properties, experiment": (lambda c: c.job.update(properties={"a": "b"}, experiment_name="other"), []),
    "shm_size": (lambda c: c.job["jobs"]["score"].update(resources={"shm_size": "1g"}), []),
    "the name of a step": (lambda c: c.job["jobs"].update(final=c.job["jobs"].pop("last")), []),
    "the place of the input": (lambda c: c.move_input("elsewhere"), []),
    "the level of logs": (lambda c: c.job["jobs"]["score"].update(logging_level="DEBUG"), []),
    "the time of an input": (lambda c: os.utime(c.lab.folder / "input" / "f00000.txt"), []),
}


@pytest.mark.parametrize(("change", "runs"), CHANGES.values(), ids=CHANGES)
def test_what_runs_again_after_a_change(chain, change, runs):
    chain.run()
    change(chain)
    assert chain.run() == runs


def test_force_rerun(chain):
    chain.run()
    assert chain.run("--force-rerun") == ["prepare", "score", "last"]
    assert chain.run() == []
    assert chain.shown["jobs"]["last"]["reused_from"] == "p2.last", "results of a forced run are known, too"


def test_results_that_are_not_there_any_more(chain):
    chain.run()
    rows = Path(chain.shown["jobs"]["score"]["outputs"]["rows"]["path"])
    rows.write_text("changed\n")
    assert chain.run() == ["score"], "its bytes are as before, so that the last one need not run"
    outputs = chain.lab.datastore / "azureml"
    shutil.rmtree(outputs / "p1.prepare")
    assert chain.run() == [], "the second has a copy"
    for name in ("p2.prepare", "p3.prepare"):
        shutil.rmtree(outputs / name)
    assert chain.run() == ["prepare"]


def test_results_of_a_deleted_job(chain):
    chain.run()
    assert chain.lab.run("job", "delete", "p1", "--yes").status == 0
    assert chain.run() == ["prepare", "score", "last"]


def test_the_source_may_go_afterwards(chain):
    chain.run()
    chain.run()
    chain.lab.run("job", "delete", "p1", "--yes")
    assert chain.count == "3\n"
    assert (chain.run(), chain.count) == ([], "3\n"), "copies are as good as what they were made from"
    assert [job["reused_from"] for job in chain.shown["jobs"].values()] == ["p1.prepare", "p1.score", "p1.last"], "they have run"
    chain.lab.run("job", "delete", "p2", "--yes")
    rows = Path(chain.shown["jobs"]["score"]["outputs"]["rows"]["path"])
    rows.write_text("changed\n")
    assert chain.run() == ["score"], "a copy that was changed is none"
    assert chain.shown["jobs"]["prepare"]["reused_from"] == "p1.prepare"
    chain.number = 0
    assert chain.run("--force-rerun") == ["prepare", "score", "last"]
    assert chain.lab.run("job", "show", "p4", "-o", "json").job["jobs"]["last"]["reused_from"] == "p1.last"


def test_equal_steps_of_one_pipeline_all_run(chain):
    """Or else it would depend on which of them is faster; those of the next pipeline are known."""
    chain.job["jobs"]["again"] = copy.deepcopy(chain.job["jobs"]["prepare"])
    late = chain.job["jobs"]["late"] = copy.deepcopy(chain.job["jobs"]["prepare"])
    late["inputs"]["after"] = "${{parent.jobs.last.outputs.count}}"
    later = chain.job["jobs"]["later"] = copy.deepcopy(late)
    later["inputs"]["after"] = "${{parent.jobs.last.outputs.count}}"
    assert sorted(chain.run()) == ["last", *["prepare"] * 4, "score"]
    assert chain.run() == []
    taken = {name: job["reused_from"] for name, job in chain.shown["jobs"].items()}
    assert (taken["prepare"], taken["again"], taken["late"], taken["later"]) == ("p1.again", "p1.again", "p1.late", "p1.late")


BOUNDARIES = [  # of the first run, in which the outputs are there and nobody knows of them, or of the second; and what the next one runs
    ("reuse.written", 1, ["prepare", "score", "last"]),
    ("reuse.noted", 1, ["score", "last"]),
    ("output.renamed", 1, ["score", "last"]),
    ("reuse.drafted", 1, []),
    ("reuse.copied", 1, []),
    ("reuse.written", 2, []),
    ("reuse.noted", 3, []),
    ("reuse.taken", 2, []),
    ("reuse.ended", 2, []),
]


@pytest.mark.parametrize(("name", "passage", "runs"), BOUNDARIES)
def test_killed_between_outputs_and_what_is_known_of_them(chain, name, passage, runs):
    """Neither the job that goes on nor the next one takes half of anything, or is stuck."""
    if not runs:
        chain.run()
    words = ("job", "create", "-f", chain.write(), "-n", "killed", "--local", "--stream")
    assert chain.lab.run(*words, RUNNER_FAILPOINT=f"{name}:{passage}").status == -9
    assert chain.run() == runs
    assert chain.count == "3\n"
    before = len(chain.lab.ledger)
    again = chain.lab.run("job", "resume", "-n", "killed", "--stream", "-o", "json")
    assert again.status == 0, again.stderr
    assert Path(again.job["outputs"]["count"]["path"]).read_text() == "3\n"
    assert chain.lab.ledger[before:] == [], "what is missing is known from the other job"


def test_a_written_path_gets_the_results(chain):
    chain.run()
    chain.job["jobs"]["prepare"]["outputs"]["made"] = {"type": "uri_folder", "path": "made"}
    made = chain.lab.folder / "made"
    made.mkdir()
    (made / "mine.txt").write_text("mine\n")
    chain.job["outputs"]["count"]["path"] = "count.txt"
    assert chain.run() == ["score", "last"], "there is one more file"
    assert sorted(path.name for path in made.iterdir()) == ["f00000.txt", "f00001.txt", "f00002.txt", "mine.txt"]
    assert (chain.lab.folder / "count.txt").read_text() == "4\n"
    shutil.rmtree(made)
    assert chain.run() == []
    assert len(list(made.iterdir())) == 3


def test_results_with_failures_in_them_are_not_passed_on(chain):
    chain.lab.script(SCRIPT.replace("    return", "    if '00001' in str(mini_batch): raise ValueError\n    return"))
    chain.job["jobs"]["score"].update(mini_batch_size="1", retry_settings={"max_retries": 0})
    assert chain.run() == ["prepare", "score", "last"]
    assert chain.run() == ["score"]


def test_a_failed_step_runs_again_and_those_before_it_do_not(chain):
    chain.job["jobs"]["last"]["command"] = LAST + "; exit 3"
    assert chain.run(status=1) == ["prepare", "score", "last"]
    chain.job["jobs"]["last"]["command"] = LAST
    assert chain.run() == ["last"]


def test_results_at_written_paths_go_with_their_job(chain):
    """They are there and as they were, but the job is not that they would be said to be taken from; nor is another of its name."""
    chain.job["jobs"]["prepare"]["outputs"]["made"]["path"] = "made"
    chain.job["outputs"]["count"]["path"] = "count.txt"
    chain.run()
    assert chain.lab.run("job", "delete", "p1", "--yes").status == 0
    assert (chain.lab.folder / "count.txt").exists()
    chain.number = 0
    assert chain.run() == ["prepare", "score", "last"]
    assert chain.run() == []
    chain.lab.run("job", "prune", "--keep", "0s", "--yes")
    assert chain.run() == ["prepare", "score", "last"]


def test_an_input_that_has_changed_before_the_step_read_it(chain):
    """The results are not those of what was there when the step began."""
    chain.job["jobs"]["prepare"]["command"] = f"echo late > {chain.data}; {COMMAND}"
    assert chain.run() == ["prepare", "score", "last"]
    chain.data.write_text("abc\n")
    assert chain.run() == ["prepare"]


def test_a_pipeline_with_reused_steps_goes_on(chain):
    gate = chain.lab.folder / "open"
    chain.job["jobs"]["last"]["command"] = f"{LAST}; test -e {gate}"
    assert chain.run(status=1) == ["prepare", "score", "last"]
    assert chain.run(status=1) == ["last"]
    gate.touch()
    before = len(chain.lab.ledger)
    again = chain.lab.run("job", "resume", "-n", "p2", "--stream", "-o", "json")
    assert again.status == 0, again.stderr
    assert chain.lab.ledger[before:] == ["last"]
    assert [job["reused_from"] for job in again.job["jobs"].values()] == ["p1.prepare", "p1.score", None]
    assert chain.run() == [], "what a resumed command has made is known, too"


def test_two_pipelines_at_once(chain):
    file = chain.write()
    both = [chain.lab.start("job", "create", "-f", file, "-n", name, "--local", "--stream") for name in ("one", "two")]
    for process in both:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    assert chain.run() == []
    assert chain.shown["jobs"]["last"]["reused_from"] in ("one.last", "two.last")
    assert chain.count == "3\n"


@pytest.mark.on_cluster
@pytest.mark.in_blob
def test_in_every_place(anywhere, tmp_path):
    """With results at written paths, which are others the next time; in blob storage they are blobs."""
    chain = Chain(anywhere(tmp_path))

    def into(made: str, count: str) -> None:
        chain.job["jobs"]["prepare"]["outputs"]["made"]["path"] = made
        chain.job["outputs"]["count"]["path"] = count

    into("made", "count.txt")
    assert chain.run() == ["prepare", "score", "last"]
    into("made-again", "again.txt")
    assert chain.run() == []
    assert [job["reused_from"] for job in chain.shown["jobs"].values()] == ["p1.prepare", "p1.score", "p1.last"]
    assert (tmp_path / "again.txt").read_text() == "3\n"
    assert [path.read_text() for path in sorted((tmp_path / "made-again").iterdir())] == ["ABC\n"] * 3
    chain.data.write_text("abd\n")
    assert chain.run() == ["prepare", "score", "last"]


@pytest.mark.needs("docker")
def test_an_image_counts_by_what_it_is_and_not_by_its_name(test_image, tmp_path):
    lab = ContainerLab(tmp_path)
    chain, names = Chain(lab), [f"runner-reuse-{uuid.uuid4().hex[:8]}:{number}" for number in range(2)]

    def tag(image: str, name: str) -> None:
        subprocess.run(["docker", "tag", test_image(image), name], check=True)
        lab.image = name

    try:
        tag("bare", names[0])
        assert chain.run() == ["prepare", "score", "last"]
        tag("bare", names[1])
        assert chain.run() == []
        tag("pandas", names[1])
        assert chain.run() == ["prepare", "score", "last"]
    finally:
        subprocess.run(["docker", "rmi", "--no-prune", *names], check=False, capture_output=True)  # the names only


@pytest.mark.needs("azurite")
def test_blobs_count_by_their_etags(azurite, tmp_path):
    lab = in_blob(Lab, azurite)(tmp_path)
    chain = Chain(lab)
    chain.run()
    assert chain.run() == []
    azurite.client(lab.container).upload_blob(f"{lab.prefix}/input/f00000.txt", b"abc\n", overwrite=True)
    assert chain.run() == ["prepare"], "equal bytes, but written anew; those of its output are compared"
    chain.job["jobs"]["prepare"]["outputs"]["made"]["path"] = "made"
    assert chain.run() == ["prepare", "score"], "files do not become blobs by being copied; what is made of blobs counts by those"
    assert chain.run() == []
    (lab.folder / "made" / "f00000.txt").unlink()  # and so the blob
    assert chain.run() == ["prepare", "score"]


@pytest.mark.needs("azurite")
def test_killed_in_the_midst_of_copying_blobs(azurite, tmp_path):
    chain = Chain(in_blob(Lab, azurite)(tmp_path))
    chain.run()
    chain.job["jobs"]["prepare"]["outputs"]["made"]["path"] = "made"  # from files to blobs: it runs
    chain.run()
    chain.job["jobs"]["prepare"]["outputs"]["made"]["path"] = "again"
    words = ("job", "create", "-f", chain.write(), "-n", "killed", "--local", "--stream")
    assert chain.lab.run(*words, RUNNER_FAILPOINT="reuse.blob:2").status == -9
    chain.job["jobs"]["prepare"]["outputs"]["made"]["path"] = "third"
    assert chain.run() == []
    assert [job["reused_from"] for job in chain.shown["jobs"].values()] == ["p2.prepare", "p2.score", "p1.last"]
    resumed = chain.lab.run("job", "resume", "-n", "killed", "--stream", "-o", "json")
    assert resumed.status == 0, resumed.stderr
    for folder in ("again", "third"):
        assert [path.read_text() for path in sorted((tmp_path / folder).iterdir())] == ["ABC\n"] * 3


@pytest.mark.needs("azurite")
def test_no_credential_is_kept_and_none_counts(azurite, tmp_path):
    chain = Chain(Lab(tmp_path))
    container = azurite.container()
    azurite.client(container).upload_blob("input/f00000.txt", b"abc\n")
    for number, runs in enumerate((["prepare", "score", "last"], [])):
        signature = _signature(azurite, container, hours=number + 1)
        chain.job["inputs"]["data"]["path"] = f"{azurite.endpoint}/{container}/input?{signature}"
        assert chain.run() == runs
        secret = signature.partition("sig=")[2].partition("&")[0]
        kept = [file for name in ("results", "contents") for file in (tmp_path / ".runner" / "cache" / name).rglob("*")]
        kept = [file for file in kept if file.is_file()]
        assert kept
        assert not [file for file in kept if secret in file.read_text() or "sig=" in file.read_text()]


def _signature(azurite: Azurite, container: str, *, hours: int) -> str:
    from azure.storage.blob import generate_container_sas

    until = datetime.now(timezone.utc) + timedelta(hours=hours)
    return generate_container_sas(azurite.account, container, account_key=azurite.key, permission="rl", expiry=until)


def test_a_job_of_its_own_always_runs(tmp_path):
    lab = Lab(tmp_path)
    lab.files(1)
    lab.script(SCRIPT)
    lab.job(max_concurrency_per_instance=1)
    assert [lab.score(name=name).status for name in ("a", "b")] == [0, 0]
    assert lab.ledger == ["score", "score"]


def test_a_step_that_writes_to_its_input_is_never_known(tmp_path):
    lab = Lab(tmp_path)
    lab.ledger_file.parent.mkdir(exist_ok=True)
    step = {"type": "command", "environment_variables": {"LEDGER": str(lab.ledger_file)}, "outputs": {"o": {"type": "uri_folder"}}}
    first = {**step, "command": 'echo first >> "$LEDGER"; echo good > ${{outputs.o}}/x'}
    command = 'echo second >> "$LEDGER"; echo bad > ${{inputs.i}}/x; echo > ${{outputs.o}}/y'
    given = {"i": {"type": "uri_folder", "path": "${{parent.jobs.first.outputs.o}}"}}
    lab.write({"type": "pipeline", "jobs": {"first": first, "second": {**step, "command": command, "inputs": given}}}, file="job.yml")
    for number in (1, 2):
        done = lab.run("job", "create", "-f", "job.yml", "-n", f"j{number}", "--local", "--stream")
        assert done.status == 0, done.stderr
        assert lab.ledger == ["first", "second"] * number
