"""Pipelines whose steps are parallel steps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.acceptance.conftest import IN_PROCESSES_OR_ON_A_CLUSTER
from tests.acceptance.jobs import Lab, Outcome

SCORE = """
import json, os, sys, time
from ledger import meet, note

def init():
    if os.environ["AZUREML_RUN_ID"].endswith(".second"):
        meet(2)  # of two instances: one might have done all the work when the other starts

def status_of(step):
    with open(sys.argv[sys.argv.index("--outlast") + 1]) as file:
        return json.load(file)["jobs"][step]["status"]

def shutdown():
    time.sleep("--outlast" in sys.argv)

def run(mini_batch):
    note("%s %d" % (os.environ["AZUREML_RUN_ID"], len(mini_batch)))
    if "--fail" in sys.argv and mini_batch[0].endswith("f00001.txt") and not os.path.exists(os.environ["LEDGER"] + ".mended"):
        raise ValueError("a bad one")
    while "--outlast" in sys.argv and status_of("bad") not in ("Failed", "Completed"):
        time.sleep(0.1)
    side = os.environ.get("AZURE_ML_OUTPUT_copies")
    for path in mini_batch:
        if side:
            with open(os.path.join(side, os.path.basename(path) + ".copy"), "w") as file:
                file.write(open(path).read())
    return [os.path.basename(path) + " " + " ".join(sys.argv[1:]) for path in mini_batch]
"""


pytestmark = IN_PROCESSES_OR_ON_A_CLUSTER


@pytest.fixture
def lab(tmp_path: Path, anywhere: Callable[[Path], Lab]) -> Lab:
    lab = anywhere(tmp_path)
    lab.script(SCORE)
    lab.files(6)
    return lab


def step(**keys: Any) -> dict[str, Any]:
    task = {
        "type": "run_function",
        "code": "code",
        "entry_script": "score.py",
        "append_row_to": "${{outputs.rows}}",
        **keys.pop("task", {}),
    }
    step = {
        "type": "parallel",
        "inputs": {"data": "${{parent.inputs.images}}"},
        "outputs": {"rows": {"type": "uri_file"}},
        "input_data": "${{inputs.data}}",
        "mini_batch_size": 2,
        "max_concurrency_per_instance": 1,
        "retry_settings": {"max_retries": 0},
        "task": task,
        **keys,
    }
    return {key: value for key, value in step.items() if value is not None}


def write(lab: Lab, steps: dict[str, Any], **keys: Any) -> None:
    job = {"type": "pipeline", "inputs": {"images": {"type": "uri_folder", "path": "input"}}, **keys, "jobs": steps}
    for one in steps.values():
        if one.get("type") == "pipeline":
            continue
        one["environment_variables"] = {"LEDGER": str(lab.ledger_file)}
        if "task" in one:
            lab.place(one)
    (lab.folder / "job.yml").write_text(yaml.safe_dump(job, sort_keys=False))


def score(lab: Lab, *words: str, status: int = 0) -> Outcome:
    done = lab.score(*words)
    assert done.status == status, done.stderr
    return done


def show(lab: Lab, step: str) -> dict[str, Any]:
    return lab.run("job", "show", "-n", f"job.{step}", "-o", "json").job


BINDINGS = {
    "mini_batch_size": "${{parent.inputs.size}}",
    "max_concurrency_per_instance": "${{parent.inputs.processes}}",
    "error_threshold": "${{parent.inputs.none}}",
    "mini_batch_error_threshold": "${{parent.inputs.none}}",
    "retry_settings": {"max_retries": "${{parent.inputs.none}}", "timeout": "${{parent.inputs.seconds}}"},
    "logging_level": "${{parent.inputs.level}}",
    "resources": {"instance_count": "${{parent.inputs.instances}}"},
}


@pytest.mark.on_cluster
@pytest.mark.in_blob
def test_bindings_expressions_and_outputs_of_steps(lab: Lab) -> None:
    """Steps run in the order of what they need; settings come from inputs of the pipeline; the last output is where it says."""
    second = step(
        inputs={
            "data": "${{parent.jobs.first.outputs.copies}}",
            "rows": "${{parent.jobs.first.outputs.rows}}",
            "limit": "${{parent.inputs.limit}}",
            "words": "${{parent.inputs.words}}",
        },
        outputs={"rows": "${{parent.outputs.result}}"},
        task={"program_arguments": "--limit=${{inputs.limit}} --rows ${{inputs.rows}} --words ${{inputs.words}}"},
        **BINDINGS,
    )
    path = "azureml://datastores/${{default_datastore}}/paths/kept/${{name}}/${{output_name}}.txt"
    first = step(outputs={"rows": {"type": "uri_file", "path": path}, "copies": {"type": "uri_folder"}})
    inputs = {
        "images": {"type": "uri_folder", "path": "input"}, "size": 3, "processes": 1, "none": 0, "seconds": 20, "level": "DEBUG",
        "instances": "2", "limit": 0.5, "words": "two words",
    }  # fmt: skip
    write(lab, {"second": second, "first": first}, inputs=inputs, outputs={"result": {"type": "uri_file", "path": "out/rows.txt"}})
    job = score(lab).job
    assert (job["type"], job["status"]) == ("pipeline", "Completed")
    assert lab.ledger[:3] == ["job.first 2"] * 3
    assert lab.ledger[3:] == ["job.second 3"] * 2
    kept = Path(show(lab, "first")["outputs"]["rows"]["path"])
    assert kept == lab.datastore / "kept" / "job.first" / "rows.txt"
    assert lab.rows.read_text().splitlines() == [f"f{n:05d}.txt.copy --limit=0.5 --rows {kept} --words two words" for n in range(6)]
    assert kept.read_text().splitlines() == [f"f{n:05d}.txt " for n in range(6)]
    assert Path(job["outputs"]["result"]["path"]) == lab.rows
    assert job["progress"]["mini_batches"]["total"] == 5
    assert show(lab, "second")["status"] == "Completed"
    instances = {path.name for path in Path(show(lab, "second")["logs"]).glob("sys/node/*")}
    assert instances == {"node_0", "node_1"}
    listed = lab.run("job", "list", "-o", "json").job
    assert [one["name"] for one in listed] == ["job"]


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("size", 0, "mini_batch_size"),
        ("seconds", "soon", "timeout"),
        ("level", "LOUD", "logging_level"),
        ("instances", 0, "instance_count"),
    ],
)
def test_values_behind_bindings_are_checked_before_anything_starts(lab: Lab, key: str, value: object, says: str) -> None:
    inputs = {
        "images": {"type": "uri_folder", "path": "input"}, "size": 3, "processes": 1, "none": 0, "seconds": 20, "level": "DEBUG",
        "instances": "2", key: value,
    }  # fmt: skip
    write(lab, {"one": step(), "two": step(**BINDINGS)}, inputs=inputs)
    done = score(lab, status=2)
    assert says in done.stderr
    assert "job.yml:" in done.stderr
    assert lab.ledger == []
    assert not lab.jobs


@pytest.mark.parametrize("go_on", [pytest.param(True, marks=pytest.mark.on_cluster), False])
def test_a_step_that_fails(lab: Lab, go_on: bool) -> None:
    """Those that need it do not run; the others do, if the pipeline goes on. Resumed, only what is missing runs."""
    steps = {
        "good": step(outputs={"rows": {"type": "uri_file"}, "copies": {"type": "uri_folder"}}),
        "bad": step(mini_batch_size=1, mini_batch_error_threshold=0, task={"program_arguments": "${{inputs.flag}}"}),
        # It would do what `other` has done, and be taken from there.
        "needs_bad": step(inputs={"data": "${{parent.jobs.bad.outputs.copies}}"}, is_deterministic=False),
        "other": step(inputs={"data": "${{parent.jobs.good.outputs.copies}}"}),
    }
    steps["bad"]["inputs"]["flag"] = "--fail"
    if not go_on:  # that which `other` needs ends when `bad` has failed
        steps["good"]["task"]["program_arguments"] = f"--outlast {lab.state}/jobs/job/job.json"
    steps["bad"]["outputs"]["copies"] = {"type": "uri_folder"}
    write(lab, steps, settings={"continue_on_step_failure": go_on})
    done = score(lab, status=1)
    assert "step 'bad'" in done.job["error"]["message"]
    assert "ValueError: a bad one" in done.job["error"]["message"]
    found = {name: show(lab, name)["status"] for name in steps}
    assert found == {"good": "Completed", "bad": "Failed", "needs_bad": "NotRun", "other": "Completed" if go_on else "NotRun"}
    if lab.where == "process":  # elsewhere it is the same code
        assert "name a step: runner job finish --partial -n job.bad\n" in lab.run("job", "finish", "--partial", "-n", "job").stderr
    before = lab.ledger
    Path(f"{lab.ledger_file}.mended").touch()
    again = lab.run("job", "resume", "-n", "job", "--stream", "-o", "json")
    assert again.status == 0, again.stderr
    assert {show(lab, name)["status"] for name in steps} == {"Completed"}
    ran = {line.split()[0] for line in lab.ledger[len(before) :]}
    assert ran == {"job.bad", "job.needs_bad"} | (set() if go_on else {"job.other"})


def test_the_plan_of_a_pipeline(lab: Lab) -> None:
    steps = {
        "first": step(outputs={"rows": {"type": "uri_file"}, "copies": {"type": "uri_folder"}}),
        "second": step(inputs={"data": "${{parent.jobs.first.outputs.copies}}"}),
    }
    write(lab, steps)
    done = lab.run("job", "validate", "-f", "job.yml", "--local", "-o", "json")
    assert done.status == 0, done.stderr
    first, second = done.job["steps"]
    assert (first["step"], first["mini_batches"], first["items"]) == ("first", 3, 6)
    assert "first" in json.dumps(second) or "another step" in second["input"]
    assert lab.untouched


def test_the_plan_of_commands_and_of_a_pipeline_in_a_pipeline(lab: Lab) -> None:
    """What each command would get, as values and not as text; nothing is made, not even the folder that it would start in."""
    inner = {
        "type": "pipeline",
        "name": "inner",
        "inputs": {"images": {"type": "uri_folder"}, "word": {"type": "string", "default": "two words"}},
        "outputs": {"made": {"type": "uri_folder"}},
        "jobs": {
            "make": {
                "type": "command",
                "inputs": {"images": "${{parent.inputs.images}}", "word": "${{parent.inputs.word}}"},
                "outputs": {"made": "${{parent.outputs.made}}"},
                "command": "cp ${{inputs.images}}/* '${{outputs.made}}'; echo ${{inputs.word}} $X $[[--more ${{inputs.word}}]]",
            }
        },
    }
    (lab.folder / "inner.yml").write_text(yaml.safe_dump(inner))
    steps: dict[str, Any] = {
        "outer": {"type": "pipeline", "component": "./inner.yml", "inputs": {"images": "${{parent.inputs.images}}"}},
        "score": step(inputs={"data": "${{parent.jobs.outer.outputs.made}}"}),
        "last": {"inputs": {"rows": "${{parent.jobs.score.outputs.rows}}"}, "command": "wc -l ${{inputs.rows}}", "limits": {"timeout": 5}},
    }
    write(lab, steps)
    done = lab.run("job", "validate", "-f", "job.yml", "--local", "-o", "json")
    assert done.status == 0, done.stderr
    make, scored, last = done.job["steps"]
    assert [one["step"] for one in done.job["steps"]] == ["outer_make", "score", "last"]
    assert make["command"].startswith(f"cp {lab.folder / 'input'}/* ")
    assert make["arguments"][::2] == [str(lab.folder / "input"), "two words"]
    assert "another step" in scored["input"]
    assert last["arguments"][0].endswith(".score/rows")
    assert lab.untouched


def test_optional_inputs_and_a_component(lab: Lab) -> None:
    """A component in a file of its own, in a folder of its own; 0 and false on the node win over it."""
    (lab.folder / "component").mkdir()
    component = step(
        inputs={
            "data": {"type": "uri_folder"},
            "size": {"type": "integer", "default": 3, "min": 0},
            "word": {"type": "string", "optional": True},
            "flag": {"type": "boolean", "default": True},
        },
        error_threshold=5,
        task={"code": "../code", "program_arguments": "--size ${{inputs.size}} $[[--word ${{inputs.word}}]] --flag ${{inputs.flag}}"},
    )
    lab.place(component)
    component |= {"name": "scorer", "version": "1"}
    (lab.folder / "component" / "scorer.yml").write_text(yaml.safe_dump(component))
    node = {"type": "parallel", "component": "file:component/scorer.yml", "inputs": {"data": "${{parent.inputs.images}}", "flag": False}}
    other = {
        "type": "parallel",
        "component": "./component/scorer.yml",
        "inputs": {"data": "${{parent.inputs.images}}", "size": 0, "word": "a b"},
    }
    write(lab, {"one": dict(node), "two": dict(other, error_threshold=0)})
    score(lab)
    one, two = (Path(show(lab, name)["outputs"]["rows"]["path"]).read_text().splitlines()[0] for name in ("one", "two"))
    assert one.lower() == "f00000.txt --size 3 --flag false"
    assert two.lower() == "f00000.txt --size 0 --word a b --flag true"
