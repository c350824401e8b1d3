"""The entry script as a user writes it: its functions, its surroundings, and what it may return."""

from __future__ import annotations

import ast
import json
import os
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.jobs import Lab


@pytest.fixture
def lab(tmp_path: Path, anywhere: Callable[[Path], Lab]) -> Lab:
    return anywhere(tmp_path)


def score(lab: Lab, script: str, *words: str, files: int = 4, name: str = "job", **keys: Any) -> list[str]:
    """Runs the script over so many files and gives the rows."""
    lab.files(files)
    lab.script(textwrap.dedent(script))
    lab.job(**keys)
    done = lab.score(*words, name=name)
    assert done.status == 0, done.stderr
    return lab.rows.read_text().splitlines()


@pytest.mark.on_cluster
def test_init_and_shutdown_once_in_each_process(lab: Lab) -> None:
    rows = score(
        lab,
        """
        import os, time
        from ledger import meet, note

        def init():
            note("init %d" % os.getpid())

        def run(mini_batch, mini_batch_context):
            meet(2)
            time.sleep(0.05)
            context = mini_batch_context
            return [[os.getpid(), context.minibatch_index, context.partition_key_value, len(context.dataset)]]

        def shutdown():
            note("shutdown %d" % os.getpid())
        """,
        files=20,
        max_concurrency_per_instance=3,
    )
    parsed = [ast.literal_eval(row) for row in rows]
    assert [row[1:] for row in parsed] == [[str(number), None, 1] for number in range(20)]
    pids = {row[0] for row in parsed}
    assert len(pids) > 1
    for what in ("init", "shutdown"):
        noted = [line.split()[1] for line in lab.ledger if line.startswith(what + " ")]
        assert len(noted) == len(set(noted)) <= 3
        assert {int(pid) for pid in noted} >= pids


SURROUNDINGS = """
    import json, logging, os, sys
    import pathlib, argparse
    import beside
    from package.inner import DEPTH
    from azureml_user.parallel_run import EntryScript

    parser = argparse.ArgumentParser()
    parser.add_argument("--model")
    parser.add_argument("--error_threshold", type=int)
    ARGUMENTS, REST = parser.parse_known_args()

    def init():
        global FACTS
        script = EntryScript()
        assert script is EntryScript()
        script.logger.info("hello from init")
        FACTS = {
            "argv": sys.argv[1:], "model": ARGUMENTS.model, "threshold": ARGUMENTS.error_threshold, "rest": REST,
            "cwd": os.getcwd(), "path": sys.path[0], "file": os.path.realpath(__file__), "name": __name__,
            "beside": beside.NAME, "depth": DEPTH,
            "log_dir": script.log_dir, "output_dir": script.output_dir, "agent": script.agent_name, "working_dir": script.working_dir,
            "entry": script.config["entry_script"],
            "folders": {name: os.path.isdir(os.environ["AZURE_ML_OUTPUT_" + name]) for name in ("side", "More")},
            "model_folder": os.listdir(os.environ["AZUREML_MODEL_DIR"]),
            "env": dict(os.environ),
        }
        with open("own.txt", "x") as file:  # beside the script, in the copy that is this worker's alone
            file.write(str(os.getpid()))
        with open("template.txt", "a") as file:
            file.write("changed")

    def run(mini_batch):
        assert open("own.txt").read() == str(os.getpid()) and open("template.txt").read() == "a template\\nchanged"
        with open(os.path.join(os.environ["AZURE_ML_OUTPUT_side"], os.path.basename(mini_batch[0])), "w") as file:
            file.write("made by the script")
        return [json.dumps(FACTS)]
"""


@pytest.mark.on_cluster
@pytest.mark.not_in_blob("scripts get inputs at other paths: test_blob_inputs.py")
def test_the_surroundings_of_a_script(lab: Lab) -> None:
    code = lab.folder / "code"
    (code / "package").mkdir(parents=True)
    (code / "package" / "__init__.py").touch()
    (code / "package" / "inner.py").write_text("DEPTH = 2\n")
    (code / "beside.py").write_text("NAME = 'a sibling'\n")
    (code / "template.txt").write_text("a template\n")
    (lab.folder / "models").mkdir()
    (lab.folder / "models" / "net.bin").write_text("weights")
    rows = score(
        lab,
        SURROUNDINGS,
        inputs={
            "data": {"type": "uri_folder", "path": "input"},
            "Weights": {"type": "custom_model", "path": "models/net.bin"},
            "limit": 7,
        },
        outputs={
            "rows": {"type": "uri_file", "path": "out/rows.txt"},
            "side": {"type": "uri_folder", "path": "a side"},
            "More": {"type": "uri_folder"},
        },
        experiment_name="trial",
        environment_variables={"LEDGER": "x", "COUNT": 3, "FLAG": True, "EMPTY": ""},
        max_concurrency_per_instance=2,
        task={
            "model": "models/net.bin",
            "program_arguments": "--model ${{inputs.Weights}} --error_threshold ${{inputs.limit}} --side ${{outputs.side}} -v 'two words'",
        },
    )
    facts = json.loads(rows[0])
    side = str(lab.folder / "a side")
    model = str(lab.folder / "models" / "net.bin")
    assert facts["argv"] == ["--model", model, "--error_threshold", "7", "--side", side, "-v", "two words"]
    assert (facts["model"], facts["threshold"], facts["rest"]) == (model, 7, ["--side", side, "-v", "two words"])
    assert facts["cwd"] == facts["path"] == os.path.dirname(facts["file"])
    assert (os.path.basename(facts["file"]), facts["name"], facts["beside"], facts["depth"]) == ("score.py", "score", "a sibling", 2)
    assert facts["cwd"] != str(lab.folder / "code")
    assert facts["output_dir"] == str(lab.folder / "out")
    assert facts["working_dir"] == facts["cwd"]
    assert Path(facts["log_dir"]).is_relative_to(lab.logs())
    assert facts["agent"].startswith("node_0-process00")
    assert facts["entry"] == "score.py"
    assert facts["folders"] == {"side": True, "More": True}
    assert facts["model_folder"] == ["net.bin"]
    environment = facts["env"]
    expected = {
        "AZUREML_RUN_ID": "job", "AZUREML_EXPERIMENT_ID": "trial", "MLFLOW_EXPERIMENT_NAME": "trial",
        "AZURE_ML_INPUT_Weights": model, "AZUREML_DATAREFERENCE_Weights": model, "AZURE_ML_INPUT_data": str(lab.folder / "input"),
        "AZURE_ML_OUTPUT_side": side, "AZUREML_BI_OUTPUT_PATH": facts["output_dir"],
        "AZ_BATCHAI_GPU_COUNT_FOUND": "0", "COUNT": "3", "FLAG": "true", "EMPTY": "",
    }  # fmt: skip
    assert {key: environment.get(key) for key in expected} == expected
    assert json.loads(environment["AZUREML_CR_COMPUTE_CONTEXT"])["gpu_count"] == 0
    assert environment["MLFLOW_TRACKING_URI"].startswith("file://")
    assert not environment["MLFLOW_TRACKING_URI"].startswith(f"file://{facts['cwd']}")
    assert "CUDA_VISIBLE_DEVICES" not in environment
    for name in ("ARM_SUBSCRIPTION", "ARM_RESOURCEGROUP", "ARM_WORKSPACE_NAME", "ARM_PROJECT_NAME"):
        assert environment["AZUREML_" + name]
    assert sorted(path.name for path in (lab.folder / "a side").iterdir()) == [f"f{number:05d}.txt" for number in range(4)]
    assert (lab.folder / "code" / "template.txt").read_text() == "a template\n"
    assert not (lab.folder / "code" / "own.txt").exists()
    assert list(lab.logs().rglob("own.txt"))  # small files that a script leaves beside itself are kept with the logs
    log = "".join(path.read_text() for path in (lab.logs() / "user" / "entry_script_log").rglob("*.txt"))
    assert "hello from init" in log


def test_a_script_in_a_folder_of_the_code(lab: Lab) -> None:
    (lab.folder / "code" / "deep" / "er").mkdir(parents=True)
    (lab.folder / "code" / "top.py").write_text("WHERE = 'top'\n")
    (lab.folder / "code" / "deep" / "er" / "near.py").write_text("WHERE = 'near'\n")
    rows = score(
        lab,
        "unused = 1\n",
        files=1,
        task={
            "entry_script": write(
                lab,
                "deep/er/main.py",
                "import os, near, top\n\ndef run(b):\n    return [near.WHERE, top.WHERE, os.path.relpath(__file__)]\n",
            )
        },
    )
    assert rows == ["near", "top", "deep/er/main.py"]


def write(lab: Lab, name: str, text: str) -> str:
    (lab.folder / "code" / name).write_text(text)
    return name


@pytest.mark.parametrize(
    ("script", "row"),
    [
        ("def run(mini_batch, context):\n    return [context.minibatch_index]\n", "0"),
        ("def run(*args):\n    return [len(args)]\n", "2"),
        ("def run(mini_batch, mini_batch_context=None):\n    return [mini_batch_context.minibatch_index]\n", "0"),
        ("def run(mini_batch, threshold=0.5):\n    return [threshold]\n", "0.5"),
    ],
)
def test_run_is_told_apart_by_its_signature(lab: Lab, script: str, row: str) -> None:
    assert score(lab, script, files=1) == [row]


RETURNS = """
    import os
    import numpy, pandas

    class Row:
        def __str__(self):
            return "a row's own text"

    VALUES = [
        pandas.DataFrame({"a": [1, 2], "b": [0.5, None], "c": ["x y", 'q"']}),
        pandas.Series([1.5, 2.0]),
        [1, "text", None, True, (1, "a"), {"k": [1]}, Row(), 0.1 + 0.2],
        (b"bytes", "\\u00fc\\u4e2d"),
        numpy.array([1, 2, 3]),
        numpy.array([[1, 2], [3, 4]]),
        (str(n) for n in range(3)),
        map(str, "ab"),
        [],
        pandas.DataFrame({"a": []}),
    ]

    def run(mini_batch):
        return VALUES[int(os.path.basename(mini_batch[0])[1:6])]
"""
# What stands in the file for each.
WRITTEN = [
    '1 0.5 "x y"\n2  "q"""\n',
    "1.5\n2.0\n",
    "1\ntext\nNone\nTrue\n(1, 'a')\n{'k': [1]}\na row's own text\n0.30000000000000004\n",
    "b'bytes'\nü中\n",
    "1\n2\n3\n",
    "[1 2]\n[3 4]\n",
    "0\n1\n2\n",
    "a\nb\n",
    "",
    "",
]


@pytest.mark.image("pandas")
def test_what_may_be_returned_byte_for_byte(lab: Lab) -> None:
    score(lab, RETURNS, files=len(WRITTEN), max_concurrency_per_instance=2)
    assert lab.rows.read_bytes() == "".join(WRITTEN).encode()


def test_entry_script_works_without_a_runner() -> None:
    """In a unit test on a laptop."""
    from azureml_user.parallel_run import EntryScript

    script = EntryScript()
    assert script is EntryScript()
    script.logger.info("works")
    assert script.output_dir
    assert script.log_dir
    assert script.agent_name
    assert script.working_dir
    assert script.config is not None


@pytest.mark.in_processes  # a container is refused GPUs that the engine does not have
def test_each_worker_gets_a_gpu_of_its_own_while_there_are_some_left(lab: Lab) -> None:
    """By what is set: no GPU is needed. A replacement takes over the GPU of the worker it replaces."""
    lab.files(40)
    lab.script(
        "import os, time\nfrom ledger import note\n\n"
        "def init():\n    note(os.environ.get('CUDA_VISIBLE_DEVICES', 'unset'))\n\n"
        "def have_begun():\n    lines = open(os.environ['LEDGER']).read().split()\n"
        "    return len(lines) >= 6 and len(set(lines)) == 2\n\n"
        "def run(b):\n    time.sleep(0.05)\n    if b[0].endswith('7.txt'): os._exit(1)\n"
        # Otherwise the job may be over before those have begun that take the places of the four.
        "    while b[0].endswith('39.txt') and not have_begun(): time.sleep(0.05)\n    return [1]\n"
    )
    lab.job(retry_settings={"max_retries": 0})
    assert lab.score(CUDA_VISIBLE_DEVICES="4,6").status == 0  # two workers by default: one per GPU
    assert set(lab.ledger) == {"4", "6"}
    assert len(lab.ledger) >= 6
    lab.job(max_concurrency_per_instance=3, file="more.yml")
    lab.ledger_file.unlink()
    assert lab.run("job", "create", "-f", "more.yml", "-n", "more", *lab.local, "--stream", CUDA_VISIBLE_DEVICES="5").status == 0
    assert set(lab.ledger) == {"5", "unset"}
