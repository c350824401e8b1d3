"""Scripts written against `azure.ai.ml`: with that name replaced by `runner`, and as they are, their objects handed to our client."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.jobs import Lab

SCRIPTS = Path(__file__).parent / "azure_scripts"
# Their images are not to be had here: everything runs in processes of this machine.
PRELUDE = """
import runner, runpy, sys
class Local(runner.MLClient):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs, local=True)
{target}.MLClient = Local
runpy.run_path(sys.argv[1], run_name="__main__")
"""
REAL = "import azure.ai.ml, warnings\nwarnings.simplefilter('ignore')\n"
ENVIRONMENTS = "environments: {AzureML-words: {'1': {image: 'mcr.example/words:1'}}}\n"

ABC = {"a.txt": "A\n", "b.txt": "B\n", "c.txt": "C\n"}
EXPECTED: dict[str, dict[str, str | dict[str, str]]] = {
    "hello_command": {"greeting": "Hello, the whole world!\n"},
    "data_modes": {"copies": {"a.txt": "AAA\n", "b.txt": "BBB\n", "c.txt": "CCC\n"}},
    "components_from_yaml": {
        "prepared": {"a.txt": "AA\n", "b.txt": "BB\n", "c.txt": "CC\n"},
        "model": {"model.txt": "AA+BB+CC@0.1\n"},
        "result": {"scores.txt": "AA+BB+CC@0.1:3\n"},
    },
    "parallel_nodes": {"rows": "a.txt AA a+b+c@0.01\nb.txt BB a+b+c@0.01\nc.txt CC a+b+c@0.01\n"},
    "nested_pipelines": {
        "slow": {"scores.txt": "A+B+C@0.25:3\n"},
        "fast": {"scores.txt": "A+B+C@4.5:3\n"},
        "last": {"scores.txt": "A+B+C@4.5:3\n"},
    },
    "pipeline_component": {"result": {"scores.txt": "A!+B!+C!@2:3\n"}, "standard": {"scores.txt": "a+b+c@0.5:3\n"}},
    "optional_inputs": {
        **{f"with_it{suffix}": {"a.txt": "A?\n", "b.txt": "B?\n", "c.txt": "C?\n"} for suffix in (None, "#")},
        **{f"without_it{suffix}": ABC for suffix in (None, "#")},
        "passed_onNone": ABC,
        "passed_on#": {"a.txt": "A#\n", "b.txt": "B#\n", "c.txt": "C#\n"},
    },
    "grouped_inputs": {"result": {"scores.txt": "AA!+BB!+CC!@4.5:3\n"}, "again": {"model.txt": "AA!+BB!+CC!@0.5\n"}},
    "load_job_yaml": {"model": {"model.txt": "AA+BB+CC@8\n"}},
    "loop_of_steps": {"all": "a+b+c@0.5\na+b+c@2.5\n"},
    "parallel_alone": {"rows": "a.txt a -\nb.txt b -\nc.txt c -\n"},
    "registered_components": {
        "prepared": {"a.txt": "AA\n", "b.txt": "BB\n", "c.txt": "CC\n"},
        "model": {"model.txt": "AA+BB+CC@0.05\n"},
    },
    "assets_from_yaml": {
        "model": {"model.txt": "AA+BB+CC@0.5\n"},
        "result": {"scores.txt": "AA+BB+CC@0.5:3\n"},
        "alone": {"scores.txt": "m@1:3\n"},
    },
    "kept_as_registered": {"result": {"scores.txt": "A!+B!+C!@2:3\n"}},
    "made_of_entities": {"prepared": {"a.txt": "A!?\n", "b.txt": "B!?\n", "c.txt": "C!?\n"}},
}
# What our client returns is called in a pipeline function: the real package takes components of its own only.
REPLACED_ONLY = {"registered_components", "kept_as_registered"}


def ran(lab: Lab, text: str, prelude: str) -> dict[str, str | dict[str, str]]:
    shutil.copytree(SCRIPTS / "files", lab.folder, dirs_exist_ok=True)
    lab.settings(ENVIRONMENTS)
    (lab.folder / "submit.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", prelude, "submit.py"],
        cwd=lab.folder, env=lab.environment(), capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {name: content(Path(path)) for name, _, path in (line.partition(" ") for line in done.stdout.splitlines())}


def content(path: Path) -> str | dict[str, str]:
    return path.read_text() if path.is_file() else {one.name: one.read_text() for one in sorted(path.iterdir())}


def test_every_script_is_run() -> None:
    assert {path.stem for path in SCRIPTS.glob("*.py")} == set(EXPECTED)


@pytest.mark.parametrize("script", EXPECTED)
def test_with_the_name_replaced(tmp_path: Path, script: str) -> None:
    text = (SCRIPTS / f"{script}.py").read_text().replace("azure.ai.ml", "runner")
    assert ran(Lab(tmp_path), text, PRELUDE.format(target="runner")) == EXPECTED[script]


@pytest.mark.parametrize("script", sorted(EXPECTED.keys() - REPLACED_ONLY))
def test_objects_of_azures_package(tmp_path: Path, script: str) -> None:
    text = (SCRIPTS / f"{script}.py").read_text()
    assert ran(Lab(tmp_path), text, REAL + PRELUDE.format(target="azure.ai.ml")) == EXPECTED[script]
