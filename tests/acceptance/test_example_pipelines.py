"""The three pipelines of the examples: on processes, in containers and on a cluster, with the same outputs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.acceptance.jobs import Lab

ROOT = Path(__file__).resolve().parents[2]
DATA = {
    "many_models": ("many_models/make_data.py", "many_models"),
    "table_scoring": ("iris/train.py", "iris"),
    "pictures": ("digits/train.py", "digits"),
}
SECONDS = 240
EXAMPLES = pytest.mark.parametrize("example", list(DATA))

pytestmark = [pytest.mark.image("examples"), pytest.mark.on_cluster]


def copy_examples(folder: Path, example: str) -> None:
    """With the data that this one needs."""
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("data", ".runner", "__pycache__"))
    script, data = DATA[example]
    subprocess.run([sys.executable, f"examples/{script}", f"examples/data/{data}"], cwd=folder, check=True, timeout=SECONDS)


def run(lab: Lab, example: str, name: str) -> dict[str, dict[str, bytes]]:
    """Each output of the pipeline as path → bytes."""
    where = (
        ["--local"] if lab.where == "process" else ["--set", f"settings.default_compute={'cluster' if lab.where == 'cluster' else 'local'}"]
    )
    words = ["-f", f"examples/{example}/pipeline.yml", "-n", name, *where, "--stream", "-o", "json"]
    done = lab.run("job", "create", *words, timeout=SECONDS)
    assert done.status == 0, done.stderr
    return {output: files(Path(one["path"])) for output, one in json.loads(done.stdout)["outputs"].items()}


def files(path: Path) -> dict[str, bytes]:
    found = [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())
    return {str(one.relative_to(path)): one.read_bytes() for one in found}


@pytest.fixture(scope="module")
def in_processes(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, dict[str, bytes]]]:
    """The outputs of an example's pipeline in processes of this machine; each runs once."""
    known: dict[str, dict[str, dict[str, bytes]]] = {}

    def outputs(example: str) -> dict[str, dict[str, bytes]]:
        if example not in known:
            lab = Lab(tmp_path_factory.mktemp(example))
            copy_examples(lab.folder, example)
            known[example] = run(lab, example, example.replace("_", "-"))
        return known[example]

    return outputs


@EXAMPLES
@pytest.mark.not_in_blob("the examples' data lies in a folder")
def test_outputs_are_the_same_anywhere(example, anywhere, tmp_path, in_processes):
    wanted = in_processes(example)
    lab = anywhere(tmp_path)
    if lab.where == "process":
        return  # that is what the others are compared with
    copy_examples(lab.folder, example)
    environment = lab.folder / "examples" / "environment.yml"
    environment.write_text(yaml.safe_dump({**yaml.safe_load(environment.read_text()), "image": lab.image}))
    assert run(lab, example, f"{example}-{lab.where}".replace("_", "-")) == wanted


def test_many_models(in_processes):
    report = in_processes("many_models")["report"]["."].decode()
    assert report.startswith("# 24 models")
    errors = [float(line.split("|")[2].strip(" %")) for line in report.splitlines() if line.startswith("|") and "%" in line]
    assert len(errors) == 3 + 5
    assert max(errors) < 5


def test_table_scoring(in_processes):
    outputs = in_processes("table_scoring")
    assert len(outputs["predictions"]["."].splitlines()) == 151
    metrics = json.loads(outputs["metrics"]["."])
    assert metrics["flowers"] == 150
    assert metrics["right_unseen"] > 0.9


def test_pictures(in_processes):
    outputs = in_processes("pictures")
    assert [line.split(b",")[0] for line in outputs["predictions"]["."].splitlines()] == [
        b"digit-%04d.png" % number for number in range(200)
    ]
    assert len(outputs["page"]) == 200 + len(["index.html", "all.png"])
