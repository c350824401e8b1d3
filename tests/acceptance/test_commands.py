"""Commands, alone and as steps of pipelines: what they are given, what becomes of them, and that independent ones run side by side."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.compute.local import cores
from tests.acceptance.blobs import InBlob
from tests.acceptance.jobs import ClusterLab, Lab, Outcome
from tests.cluster import Cluster

Eventually = Callable[..., Any]
NAMES = """
import os

def run(mini_batch):
    return [os.path.basename(path) + " " + open(path).read().strip() for path in mini_batch]
"""
NOTE = 'note() { echo "$@" >> "$LEDGER"; }; '
# Something that goes on by itself, as a daemon does: its signs of life stand beside the ledger.
BEAT = (
    '(setsid sh -c "while sleep 0.1; do echo >> $LEDGER.beat; done" > /dev/null 2>&1 &); until test -s "$LEDGER.beat"; do sleep 0.1; done; '
)
LEFT = "LEFT_BEHIND"  # in the environment of everything that a test's commands start


@pytest.fixture
def lab(tmp_path: Path, anywhere: Callable[[Path], Lab]) -> Lab:
    return prepared(anywhere(tmp_path))


@pytest.fixture
def here(tmp_path: Path) -> Lab:
    """In processes of this machine, where their being alive can be seen."""
    return prepared(Lab(tmp_path))


def prepared(lab: Lab) -> Lab:
    lab.script(NAMES)
    return lab


def command(text: str, **keys: Any) -> dict[str, Any]:
    return {"type": "command", "command": NOTE + text, **keys}


def scoring(items: str, **keys: Any) -> dict[str, Any]:
    task = {"type": "run_function", "code": "code", "entry_script": "score.py", "append_row_to": "${{outputs.rows}}"}
    return {
        "type": "parallel",
        "inputs": {"items": items},
        "outputs": {"rows": {"type": "uri_file"}},
        "input_data": "${{inputs.items}}",
        "mini_batch_size": 2,
        "max_concurrency_per_instance": 1,
        "task": task,
        **keys,
    }


def write(lab: Lab, steps: dict[str, Any], **keys: Any) -> None:
    for one in steps.values():
        one["environment_variables"] = {"LEDGER": str(lab.ledger_file), **one.get("environment_variables", {})}
        lab.place(one)
    lab.write({"type": "pipeline", **keys, "jobs": steps})


def write_one(lab: Lab, text: str, **keys: Any) -> None:
    """A command that is a job of its own."""
    job = command(text, environment_variables={"LEDGER": str(lab.ledger_file), "MINE": "a b"}, **keys)
    lab.place(job)
    lab.write(job)


def score(lab: Lab, *words: str, status: int = 0) -> Outcome:
    done = lab.score(*words)
    assert done.status == status, done.stderr
    return done


def statuses(job: dict[str, Any]) -> dict[str, str]:
    return {name: step["status"] for name, step in job["jobs"].items()}


def left_behind(mark: str) -> list[int]:
    """Processes that have the mark in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{LEFT}={mark}".encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def beats(lab: Lab) -> int:
    """How often the daemon has given a sign of life."""
    file = Path(f"{lab.ledger_file}.beat")
    return file.stat().st_size if file.exists() else 0


def check_nothing_lives(lab: Lab, eventually: Eventually) -> None:
    assert beats(lab), "the daemon has never run"

    def silent() -> bool:
        before = beats(lab)
        time.sleep(0.5)
        return beats(lab) == before

    eventually(silent, timeout=15, what="the daemon has ended")


NOT_OF_DATA = pytest.mark.not_in_blob("it reads and writes nothing")


@NOT_OF_DATA
@pytest.mark.on_cluster
def test_a_command_ends_with_all_it_has_started(lab: Lab, eventually: Eventually) -> None:
    """By itself, at its time-out, when it kills itself or what runs it: its daemons end with it, and the error says how it ended."""
    steps = {
        "daemon": command(BEAT + "note daemon"),
        "status": command(BEAT + "echo 'so it goes' >&2; exit 3"),
        "slow": command("echo 'warming up' >&2; " + BEAT + "sleep 1000", limits={"timeout": 3}),
        "itself": command(BEAT + "kill -9 $$"),
        "worker": command(BEAT + "kill -9 $PPID; sleep 1000"),
    }
    write(lab, steps)
    job = score(lab, status=1).job
    assert statuses(job) == {name: "Completed" if name == "daemon" else "Failed" for name in steps}
    says = {name: step["error"]["message"].split("; log: ")[0] for name, step in job["jobs"].items() if step["error"]}
    assert says == {
        "status": "the command ended with status 3: so it goes",
        "slow": "the command took longer than 3 s (limits.timeout)",
        "itself": "the command was killed by signal SIGKILL; it wrote nothing to stderr",
        "worker": "the process that ran the command has ended: signal SIGKILL",
    }
    assert job["jobs"]["slow"]["error"]["message"].splitlines()[-1] == "warming up"
    check_nothing_lives(lab, eventually)


@NOT_OF_DATA
@pytest.mark.on_cluster
def test_a_command_that_is_cancelled_ends_with_all_it_has_started(lab: Lab, eventually: Eventually) -> None:
    gate = lab.ledger_file.with_suffix(".open")
    needs = {"x": "${{parent.jobs.first.outputs.x}}"}
    first = command("note first", outputs={"x": {"type": "uri_folder"}})
    write(lab, {"first": first, "stuck": command(f"test -e {gate} || {{ {BEAT}note stuck; sleep 1000; }}; note done", inputs=needs)})
    assert lab.run("job", "create", "-f", "job.yml", "-n", "job", *lab.local).status == 0
    eventually(lambda: "stuck" in lab.ledger, timeout=90, what="the second step runs")
    assert lab.run("job", "cancel", "job").status == 0
    assert lab.run("job", "stream", "job").status != 0
    assert statuses(lab.run("job", "show", "job", "-o", "json").job) == {"first": "Completed", "stuck": "Canceled"}
    check_nothing_lives(lab, eventually)
    gate.touch()
    again = lab.run("job", "resume", "-n", "job", "--stream", "-o", "json")
    assert again.status == 0, again.stderr
    assert lab.ledger == ["first", "stuck", "done"]


@pytest.mark.on_cluster
@pytest.mark.in_blob
def test_what_is_uploaded_appears_whole_or_not_at_all(lab: Lab) -> None:
    """What is mounted is seen as it is written, also after a failure; a command that goes on finds that, and nothing else."""
    text = (
        "set -e; note $(ls ${{outputs.mounted}} | wc -l) $(ls ${{outputs.folder}} | wc -l); test ! -e ${{outputs.file}}; "
        "echo half > ${{outputs.mounted}}/$(ls ${{outputs.mounted}} | wc -l); echo half > ${{outputs.file}}; "
        "mkdir ${{outputs.folder}}/deep; echo half > ${{outputs.folder}}/deep/x; test -e $LEDGER.mended; "
        "echo whole > ${{outputs.file}}; echo whole > ${{outputs.folder}}/deep/x"
    )
    outputs = {
        "file": {"type": "uri_file", "path": "out/rows.txt", "mode": "upload"},
        "folder": {"type": "uri_folder", "path": "folder", "mode": "upload"},
        "mounted": {"type": "uri_folder", "path": "mounted"},
    }
    write_one(lab, text, outputs=outputs)
    score(lab, status=1)
    assert not lab.rows.exists()
    assert not list((lab.folder / "folder").glob("*"))
    assert {path.name: path.read_text() for path in (lab.folder / "mounted").iterdir()} == {"0": "half\n"}
    Path(f"{lab.ledger_file}.mended").touch()
    again = lab.run("job", "resume", "-n", "job", "--stream", "-o", "json")
    assert again.status == 0, again.stderr
    assert lab.rows.read_text() == (lab.folder / "folder" / "deep" / "x").read_text() == "whole\n"
    assert sorted(path.name for path in (lab.folder / "mounted").iterdir()) == ["0", "1"]
    assert lab.ledger == ["0 0", "1 0"]


@pytest.mark.on_cluster
@pytest.mark.in_blob
def test_data_goes_from_a_command_through_a_parallel_step_to_a_command(lab: Lab) -> None:
    """Folders, files and rows of one are inputs of the next, whatever they run in."""
    side = lab.folder / "side"
    side.mkdir()
    (side / "word.txt").write_text("über\n")
    make = command(
        'for n in 1 2 3; do printf "%s %s\\n" "$n" "$(cat ${{inputs.side}}/word.txt)" > ${{outputs.items}}/$n.txt; done; '
        "cat ${{inputs.file}} ${{inputs.file}} > ${{outputs.doubled}}; note make",
        inputs={"side": "${{parent.inputs.side}}", "file": "${{parent.inputs.file}}"},
        outputs={"items": {"type": "uri_folder"}, "doubled": {"type": "uri_file"}},
    )
    report = command(
        "cat ${{inputs.rows}} ${{inputs.doubled}} > ${{outputs.text}}; mkdir ${{outputs.more}}/deep; "
        "ls ${{inputs.items}} > ${{outputs.more}}/deep/names; note report",
        inputs={
            "rows": "${{parent.jobs.score.outputs.rows}}",
            "doubled": "${{parent.jobs.make.outputs.doubled}}",
            "items": "${{parent.jobs.make.outputs.items}}",
        },
        outputs={"text": "${{parent.outputs.text}}", "more": "${{parent.outputs.more}}"},
    )
    inputs = {"side": {"type": "uri_folder", "path": "side"}, "file": {"type": "uri_file", "path": "side/word.txt"}}
    outputs = {"text": {"type": "uri_file", "path": "out/rows.txt"}, "more": {"type": "uri_folder", "path": "more"}}
    made = {"report": report, "score": scoring("${{parent.jobs.make.outputs.items}}"), "make": make}
    write(lab, made, inputs=inputs, outputs=outputs)
    job = score(lab).job
    assert statuses(job) == dict.fromkeys(("report", "score", "make"), "Completed")
    assert lab.ledger == ["make", "report"]
    assert lab.rows.read_bytes() == "".join([*(f"{n}.txt {n} über\n" for n in (1, 2, 3)), "über\nüber\n"]).encode()
    assert (lab.folder / "more" / "deep" / "names").read_bytes() == b"1.txt\n2.txt\n3.txt\n"
    assert job["progress"]["mini_batches"] == {"total": 2, "succeeded": 2, "failed": 0, "retries": 0, "listed": True}


@pytest.mark.on_cluster
@pytest.mark.skipif(cores() < 2, reason="a machine with one core runs one step at a time")
def test_independent_steps_run_side_by_side(lab: Lab) -> None:
    """Each waits for the other, which it could not, were they run one after the other."""
    meet = "note {own}; for i in $(seq 300); do grep -q {other} $LEDGER && exit 0; sleep 0.1; done; exit 1"
    steps = {own: command(meet.format(own=own, other=other)) for own, other in (("one", "two"), ("two", "one"))}
    last = command(
        "note last",
        inputs={name: {"type": "uri_folder", "path": f"${{{{parent.jobs.{name}.outputs.out}}}}"} for name in steps},
    )
    for step in steps.values():
        step["outputs"] = {"out": {"type": "uri_folder"}}
    write(lab, {**steps, "last": last})
    job = score(lab).job
    assert statuses(job) == dict.fromkeys(("one", "two", "last"), "Completed")
    assert sorted(lab.ledger[:2]) == ["one", "two"]
    assert lab.ledger[2:] == ["last"]
    begin = max(job["jobs"][name]["started_at"] for name in steps)
    end = min(job["jobs"][name]["ended_at"] for name in steps)
    assert begin < end <= job["jobs"]["last"]["ended_at"]


# Input → type, mode, path below `given`; what the command finds there: a file's text, a folder's files, or a text.
IN_FOLDER, IN_TABLE, EVALUATED = "folder a.txt deep/b.txt", "folder MLTable", "files a.txt b.txt"
INPUTS = {
    "file_mounted": ("uri_file", "ro_mount", "one.txt", "file 1"),
    "file_downloaded": ("uri_file", "download", "one.txt", "file 1"),
    "folder_mounted": ("uri_folder", "ro_mount", "folder", IN_FOLDER),
    "folder_downloaded": ("uri_folder", "download", "folder", IN_FOLDER),
    "table_mounted": ("mltable", "ro_mount", "table", IN_TABLE),
    "table_downloaded": ("mltable", "download", "table", IN_TABLE),
    "table_evaluated": ("mltable", "eval_mount", "evaluated/table", EVALUATED),
    "table_evaluated_here": ("mltable", "eval_download", "evaluated/table", EVALUATED),
    "model_file": ("custom_model", "ro_mount", "one.txt", "file 1"),
    "model_folder": ("custom_model", "download", "folder", IN_FOLDER),
    "mlflow": ("mlflow_model", "ro_mount", "folder", IN_FOLDER),
    "triton": ("triton_model", "download", "folder", IN_FOLDER),
    "file_direct": ("uri_file", "direct", "direct/one.txt", "file 1"),
    "folder_direct": ("uri_folder", "direct", "direct/folder", IN_FOLDER),
    "table_direct": ("mltable", "direct", "direct/table", IN_TABLE),
}
LITERALS = {
    "text": ("string", "a b", "a b"),
    "number": ("number", 0.5, "0.5"),
    "integer": ("integer", 7, "7"),
    "flag": ("boolean", True, "True"),
}
SHOW = """
found() {
  case "$1" in *evaluated*) echo "files" $(find -L "$2" -name '*.txt' -exec basename {} \\; | sort); return;; esac
  if test -f "$2"; then echo "file" $(cat "$2")
  elif test -d "$2"; then echo "folder" $(cd "$2" && find -L . -type f | cut -c3- | sort)
  else echo "text $2"; fi
}
show() { echo "$1: $(found "$1" "$2")" >> ${{outputs.report}}; }
"""


@pytest.mark.on_cluster
@pytest.mark.in_blob
def test_inputs_of_all_types_in_all_modes(lab: Lab) -> None:
    table = "paths: [pattern: ../folder/**/*.txt]"
    for place in ("given", "given/direct", "given/evaluated"):
        for name, text in (("one.txt", "1"), ("folder/a.txt", "a"), ("folder/deep/b.txt", "b"), ("table/MLTable", table)):
            path = lab.folder / place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
    lab.needs_too("given")
    inputs: dict[str, Any] = {name: {"type": kind, "mode": mode, "path": f"given/{path}"} for name, (kind, mode, path, _) in INPUTS.items()}
    inputs |= {name: {"type": kind, "value": value} for name, (kind, value, _) in LITERALS.items()}
    shown = "\n".join(f"show {name} ${{{{inputs.{name}}}}}" for name in inputs)
    write_one(lab, SHOW + shown, inputs=inputs, outputs={"report": {"type": "uri_file", "path": "out/rows.txt"}})
    score(lab)
    wanted = {name: says for name, (*_, says) in INPUTS.items()} | {name: f"text {says}" for name, (*_, says) in LITERALS.items()}
    if isinstance(lab, InBlob):  # to read it is the command's task
        wanted |= {name: f"text {lab.address(f'given/{path}')}" for name, (_, mode, path, _) in INPUTS.items() if mode == "direct"}
    assert dict(line.split(": ", 1) for line in lab.rows.read_text().splitlines()) == wanted


OUTPUTS = {
    "file": ("uri_file", "rw_mount"),
    "file_sent": ("uri_file", "upload"),
    "folder": ("uri_folder", "mount"),
    "folder_sent": ("uri_folder", "upload"),
    "table": ("mltable", "rw_mount"),
    "table_sent": ("mltable", "upload"),
    "table_direct": ("mltable", "direct"),
    "custom": ("custom_model", "upload"),
    "mlflow": ("mlflow_model", "rw_mount"),
    "triton": ("triton_model", "upload"),
}


@pytest.mark.on_cluster
@pytest.mark.in_blob
def test_outputs_of_all_types_in_all_modes_are_inputs_of_the_next(lab: Lab) -> None:
    files = [name for name, (kind, _) in OUTPUTS.items() if kind == "uri_file"]
    writes = [f"echo {name} > ${{{{outputs.{name}}}}}{'' if name in files else f'/{name}.txt'}" for name in OUTPUTS]
    outputs = {name: {"type": kind, "mode": mode, "path": f"made/{name}"} for name, (kind, mode) in OUTPUTS.items()}
    inputs = {name: {"type": kind, "path": f"${{{{parent.jobs.make.outputs.{name}}}}}"} for name, (kind, _) in OUTPUTS.items()}
    shown = "\n".join(f"show {name} ${{{{inputs.{name}}}}}" for name in OUTPUTS)
    report = {"report": {"type": "uri_file", "path": "out/rows.txt"}}
    write(lab, {"make": command("; ".join(writes), outputs=outputs), "read": command(SHOW + shown, inputs=inputs, outputs=report)})
    score(lab)
    wanted = {name: f"file {name}" if name in files else f"folder {name}.txt" for name in OUTPUTS}
    assert dict(line.split(": ", 1) for line in lab.rows.read_text().splitlines()) == wanted


AWKWARD = "a  b'c\"d\\ $(touch pwned) `touch pwned` $HOME *\n; touch pwned #é"


def test_values_are_data(lab: Lab) -> None:
    """Whatever stands in them: they are whole words, in quotes and outside, and nothing of them is run."""
    text = (
        'show() { printf "%s\\n" "$#" "$@" > ${{outputs.out}}; }; '
        "show ${{inputs.words}} --x=${{inputs.words}} \"in ${{inputs.words}}\" '${{inputs.words}}' $[[--left-out ${{inputs.none}}]] "
        "$[[--given ${{inputs.some}}]]; test ! -e pwned"
    )
    inputs: dict[str, Any] = {"words": {"type": "string"}, "none": {"type": "integer", "optional": True}}
    inputs["some"] = {"type": "integer", "optional": True, "default": 7}
    component = {"type": "command", "inputs": inputs, "outputs": {"out": {"type": "uri_file"}}, "command": text}
    lab.place(component)
    component.pop("resources", None)
    step = {"type": "command", "component": component, "inputs": {"words": "${{parent.inputs.words}}"}}
    step |= {"outputs": {"out": "${{parent.outputs.out}}"}}
    output = {"type": "uri_file", "path": "out/rows.txt"}
    lab.write({"type": "pipeline", "inputs": {"words": AWKWARD}, "outputs": {"out": output}, "jobs": {"only": step}})
    score(lab)
    values = [AWKWARD, f"--x={AWKWARD}", f"in {AWKWARD}", AWKWARD, "--given", "7"]
    assert lab.rows.read_text() == "\n".join([str(len(values)), *values]) + "\n"


def test_a_command_finds_what_a_script_finds(lab: Lab) -> None:
    """Its folder, python, variables, an empty standard input; and its output folders are there."""
    (lab.folder / "code" / "tool.py").write_text("import os, sys\nprint(os.getcwd() != sys.argv[1], sys.stdin.read() == '')\n")
    given = lab.folder / "data"
    given.mkdir()
    (given / "one.txt").write_text("1\n")
    write_one(
        lab,
        "set -e; $(command -v python || command -v python3) tool.py /nowhere; "
        'echo "$AZUREML_RUN_ID $MINE $PYTHONUNBUFFERED"; test -d ${{outputs.folder}}; '
        'test -d "$(dirname ${{outputs.file}})"; test "$AZURE_ML_INPUT_data" = ${{inputs.data}}; test "$AZURE_ML_OUTPUT_folder" = '
        "${{outputs.folder}}; exec 1>&2; cat; note done",
        code="code",
        inputs={"data": {"type": "uri_folder", "path": "data"}},
        outputs={"folder": {"type": "uri_folder", "path": "deep/er/folder"}, "file": {"type": "uri_file", "path": "deep/file/x.txt"}},
    )
    assert score(lab).job["type"] == "command"
    assert lab.ledger == ["done"]
    out = next(lab.logs().glob("user/stdout/*/*.txt")).read_text()
    assert out == "True True\njob a b 1\n"


FAILING = "note failing; echo all well; for n in $(seq 30); do echo \"line $n\" >&2; done; echo 'no such model: für' >&2; (exit 3)"


def test_a_command_that_fails(lab: Lab) -> None:
    """Its status and its last words are the job's error; what needs it is not run, what does not is; then only what is missing is run."""
    gate = lab.ledger_file.with_suffix(".mended")
    needs = command("note needs", inputs={"x": "${{parent.jobs.bad.outputs.x}}"})
    bad = command(f"test -e {gate} && exit 0; {FAILING}", outputs={"x": {"type": "uri_folder"}})
    write(lab, {"bad": bad, "needs": needs, "other": command("sleep 1; note other")})
    done = score(lab, status=1)
    job = done.job
    assert statuses(job) == {"bad": "Failed", "needs": "NotRun", "other": "Completed"}
    first, *rest = job["error"]["message"].splitlines()
    assert first.startswith("step 'bad': the command ended with status 3: no such model: für; log: ")
    assert rest[1:] == [f"line {n}" for n in range(12, 31)] + ["no such model: für"]
    assert job["jobs"]["bad"]["error"]["code"] == job["error"]["code"] == "command"
    log = Path(job["error"]["log"])
    assert log.read_text().splitlines()[0] == "line 1"
    assert "all well" in Path(str(log).replace("stderr", "stdout")).read_text()
    for text in (done.stderr, job["error"]["message"], (lab.logs() / "bad" / "job_result.txt").read_text()):
        assert "Traceback" not in text
        assert "mini-batch" not in text
    assert sorted(lab.ledger) == ["failing", "other"]
    gate.touch()
    again = lab.run("job", "resume", "-n", "job", "--stream", "-o", "json")
    assert again.status == 0, again.stderr
    assert statuses(again.job) == dict.fromkeys(("bad", "needs", "other"), "Completed")
    assert sorted(lab.ledger) == ["failing", "needs", "other"]
    assert again.job["jobs"]["other"]["ended_at"] == job["jobs"]["other"]["ended_at"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("exit 1", "the command ended with status 1; it wrote nothing to stderr"),
        ("kill -9 $$", "the command was killed by signal SIGKILL; it wrote nothing to stderr"),
        ("nosuchprogram", "the command ended with status 127: bash: line 1: nosuchprogram: command not found"),
        ("exec sh -c 'kill -15 $$'", "the command was killed by signal SIGTERM; it wrote nothing to stderr"),
        ("(sleep 100 >&2 &) ; exit 4", "the command ended with status 4; it wrote nothing to stderr"),
    ],
)
def test_how_a_command_failed_is_said(here: Lab, text: str, says: str) -> None:
    write_one(here, text)
    began = time.monotonic()
    done = score(here, status=1)
    assert done.job["error"]["message"].startswith(f"{says}; log: ")
    assert says in done.stderr
    assert time.monotonic() - began < 50
    page = (here.logs() / "job_result.txt").read_text()
    assert says in page
    assert "mini-batch" not in page


@pytest.mark.parametrize(("lost", "status"), [(3, 0), (4, 1)])
def test_a_command_whose_keeper_is_lost_is_run_again(here: Lab, lost: int, status: int) -> None:
    """Three times; the command may be to blame."""
    keeper = "$(cut -d' ' -f4 /proc/$PPID/stat)"
    write_one(here, f'note run; sleep 1; test "$(wc -l < "$LEDGER")" -gt {lost} || {{ kill -9 {keeper}; sleep 1000; }}')
    done = score(here, status=status)
    assert here.ledger == ["run"] * 4
    if status:
        says = "the command was running each time when one of 4 instances was lost; log: "
        assert done.job["error"]["message"].startswith(says)
        assert "mini-batch" not in (here.logs() / "job_result.txt").read_text()


def test_without_continuing_nothing_new_is_started_after_a_failure(here: Lab) -> None:
    """What runs is finished."""
    record = here.state / "jobs" / "job" / "job.json"
    failed = f"import json, sys; sys.exit(json.load(open('{record}'))['jobs']['bad']['status'] != 'Failed')"
    wait = f'until {sys.executable} -c "{failed}"; do sleep 0.1; done; sleep 1; note running'
    steps = {
        "bad": command("note bad; exit 2"),
        "running": command(wait, outputs={"x": {"type": "uri_folder"}}),
        "later": command("note later", inputs={"x": "${{parent.jobs.running.outputs.x}}"}),
    }
    write(here, steps, settings={"continue_on_step_failure": False})
    assert statuses(score(here, status=1).job) == {"bad": "Failed", "running": "Completed", "later": "NotRun"}
    assert here.ledger == ["bad", "running"]


def test_a_pipeline_is_cancelled_in_the_middle_and_goes_on(here: Lab, eventually: Eventually) -> None:
    mark, gate = here.folder.name, here.ledger_file.with_suffix(".open")
    wait = f"setsid sleep 1000 & test -e {gate} || (note $AZUREML_RUN_ID; sleep 1000)"
    steps = {
        "first": command("note first", outputs={"x": {"type": "uri_folder"}}),
        "left": command(wait, inputs={"x": "${{parent.jobs.first.outputs.x}}"}, outputs={"x": {"type": "uri_folder"}}),
        "right": command(wait, inputs={"x": "${{parent.jobs.first.outputs.x}}"}),
        "last": command("note last", inputs={"x": "${{parent.jobs.left.outputs.x}}"}),
    }
    for one in steps.values():
        one["environment_variables"] = {LEFT: mark}
    write(here, steps)
    assert here.run("job", "create", "-f", "job.yml", "-n", "job", *here.local).status == 0
    eventually(lambda: {"job.left", "job.right"} <= set(here.ledger), what="both steps run")
    assert left_behind(mark)
    assert here.run("job", "cancel", "job").status == 0
    assert here.run("job", "stream", "job").status != 0
    job = here.run("job", "show", "job", "-o", "json").job
    assert job["status"] == "Canceled"
    assert statuses(job) == {"first": "Completed", "left": "Canceled", "right": "Canceled", "last": "NotRun"}
    eventually(lambda: not left_behind(mark), what="nothing is left")
    gate.touch()
    again = here.run("job", "resume", "-n", "job", "--stream", "-o", "json")
    assert again.status == 0, again.stderr
    assert set(statuses(again.job).values()) == {"Completed"}
    assert sorted(here.ledger) == ["first", "job.left", "job.right", "last"]


@NOT_OF_DATA
@pytest.mark.on_this_machine("on a cluster another owner takes its place")
def test_the_owner_is_killed_and_the_job_goes_on(lab: Lab, eventually: Eventually) -> None:
    """What was finished is not run again; what ran is ended with the owner, and run afresh."""
    here, gate = lab, lab.ledger_file.with_suffix(".open")
    slow = command(f"note slow; test -e {gate} || {{ {BEAT}sleep 1000; }}", inputs={"x": "${{parent.jobs.first.outputs.x}}"})
    first = command("note first; echo 1 > ${{outputs.x}}/1.txt; echo 2 > ${{outputs.x}}/2.txt", outputs={"x": {"type": "uri_folder"}})
    rows = scoring("${{parent.jobs.first.outputs.x}}", outputs={"rows": "${{parent.outputs.rows}}"})
    write(here, {"first": first, "slow": slow, "rows": rows}, outputs={"rows": {"type": "uri_file", "path": "out/rows.txt"}})
    owner = here.start("job", "create", "-f", "job.yml", "-n", "job", *here.local, "--stream")
    eventually(lambda: "slow" in here.ledger and here.rows.exists(), what="the command runs, and the parallel step has ended")
    eventually(lambda: show(here, "rows")["status"] == "Completed", what="the parallel step has ended")
    eventually(lambda: beats(here), what="the daemon runs")
    owner.kill()
    owner.communicate()
    check_nothing_lives(here, eventually)
    before = here.rows.stat().st_mtime_ns
    gate.touch()
    again = here.run("job", "resume", "-n", "job", "--stream", "-o", "json")
    assert again.status == 0, again.stderr
    assert set(statuses(again.job).values()) == {"Completed"}
    assert here.ledger == ["first", "slow", "slow"]
    assert here.rows.stat().st_mtime_ns == before
    assert here.rows.read_text() == "1.txt 1\n2.txt 2\n"


def show(lab: Lab, step: str) -> dict[str, Any]:
    return lab.run("job", "show", "-n", f"job.{step}", "-o", "json").job


def test_what_is_shown_of_a_command(here: Lab) -> None:
    """Nothing of mini-batches, neither before nor afterwards; and there are no rows that could be published."""
    write_one(here, "echo ${{inputs.word}}; exit 5", inputs={"word": "a b"})
    plan = here.run("job", "validate", "-f", "job.yml", *here.local)
    assert plan.status == 0, plan.stderr
    assert "echo 'a b'; exit 5" in plan.stdout
    assert "word: 'a b'" in plan.stdout
    score(here, status=1)
    shown = here.run("job", "show", "-n", "job", "-o", "table").stdout
    listed = here.run("job", "list").stdout.splitlines()[-1]
    assert listed.split()[:4] == ["job", "command", "Failed", "-"]
    assert "the command ended with status 5" in shown
    for text in (plan.stdout, shown, *(path.read_text() for path in here.logs().glob("*.txt"))):
        assert "mini_batch" not in text
        assert "mini-batch" not in text
    done = here.run("job", "finish", "--partial", "-n", "job")
    assert done.status == 2
    assert "'job' is a command: it has no rows" in done.stderr
    assert here.run("job", "show", "-n", "job", "-o", "json").job["status"] == "Failed"


@pytest.fixture
def on_cluster(cluster: Cluster) -> Iterator[ClusterLab]:
    lab = ClusterLab.on(cluster, "commands")
    prepared(lab)
    yield lab
    lab.clear()


@pytest.mark.needs("cluster")
@pytest.mark.parametrize("killed", ["owner", "scheduler"])
def test_steps_side_by_side_go_on_when_what_leads_them_is_killed(on_cluster: ClusterLab, eventually: Eventually, killed: str) -> None:
    """On a cluster: no command is begun a second time."""
    lab, gate = on_cluster, on_cluster.ledger_file.with_suffix(".open")
    wait = f"note $AZUREML_RUN_ID; while ! test -e {gate}; do sleep 0.1; done"
    left, right = (command(wait, outputs={"x": {"type": "uri_folder"}}, resources={"instance_type": "small"}) for _ in range(2))
    needs = {name: f"${{{{parent.jobs.{name}.outputs.x}}}}" for name in ("left", "right")}
    write(lab, {"left": left, "right": right, "last": command("note last", inputs=needs)})
    assert lab.run("job", "create", "-f", "job.yml", "-n", killed).status == 0
    both = {f"{killed}.left", f"{killed}.right"}
    eventually(lambda: both <= set(lab.ledger), timeout=120, what="both steps run")
    if killed == "owner":
        assert lab.cluster.kill_process(lab.cluster.head, "runner.cluster.owner")
    else:
        assert lab.cluster.kill_actor("scheduler")
    time.sleep(5)  # for whoever comes in its place
    eventually(lambda: lab.run("compute", "show", "cluster").status == 0, timeout=60, what="the gateway is there")
    gate.touch()
    done = lab.run("job", "stream", killed, "-o", "json", timeout=180)
    assert done.status == 0, done.stderr
    assert statuses(done.job) == dict.fromkeys(("left", "right", "last"), "Completed")
    assert sorted(lab.ledger) == ["last", *sorted(both)]


@pytest.mark.needs("cluster")
def test_a_command_whose_node_is_lost_is_run_again_on_another(on_cluster: ClusterLab, eventually: Eventually) -> None:
    """Nothing of what the first one had written to its upload is found."""
    lab, gate = on_cluster, on_cluster.ledger_file.with_suffix(".open")
    text = f"touch ${{{{outputs.up}}}}/$$.$(date +%N); note $(ls ${{{{outputs.up}}}} | wc -l); while ! test -e {gate}; do sleep 0.1; done"
    up = {"type": "uri_folder", "mode": "upload", "path": str(lab.folder / "up")}
    write_one(lab, text, outputs={"up": up}, resources={"instance_type": "small"})
    assert lab.run("job", "create", "-f", "job.yml", "-n", "moved").status == 0
    eventually(lambda: len(lab.ledger) == 1, timeout=60, what="the command runs")
    log = lab.logs("moved") / "sys" / "master_role.txt"
    where = re.compile(r"node_0 started with .* on (\S+)")
    started = eventually(lambda: log.exists() and where.search(log.read_text()), what="the log says where")
    lab.cluster.kill_container(lab.cluster.node(started[1]))
    eventually(lambda: len(lab.ledger) == 2, timeout=60, what="it runs again")
    gate.touch()
    done = lab.run("job", "stream", "moved", "-o", "json", timeout=120)
    assert done.status == 0, done.stderr
    assert lab.ledger == ["1", "1"]
    assert len(list((lab.folder / "up").iterdir())) == 1


def test_python_is_that_of_the_conda_file_which_steps_at_once_share(here: Lab) -> None:
    environment = {
        "image": "python:3",
        "conda_file": {"name": "x", "dependencies": ["python={}.{}".format(*sys.version_info[:2])]},
    }
    text = 'python -c "import sys; print(sys.prefix)"; command -v python; sh -c "command -v python3" # {}'
    write(here, {name: command(text.format(name), environment=environment) for name in ("one", "two")})
    score(here)
    one, two = (next((here.logs() / name).glob("user/stdout/*/*.txt")).read_text().splitlines() for name in ("one", "two"))
    assert one == two
    folder = Path(one[0])
    assert folder.is_relative_to(here.state)
    assert one[1:] == [str(folder / "bin" / "python"), str(folder / "bin" / "python3")]
    assert len([path for path in folder.parent.iterdir() if path.is_dir()]) == 1
