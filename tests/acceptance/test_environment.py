"""Which interpreter runs the script: the current one, one given with `--python`, or one made from a conda file."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.acceptance.jobs import Lab

VERSION = """
import os, sys

def run(mini_batch):
    return ["%s %s %s" % ("%d.%d" % sys.version_info[:2], sys.executable, os.path.basename(path)) for path in mini_batch]
"""

OLD = """
import os, sys, time
from azureml_user.parallel_run import EntryScript

def init():
    EntryScript().logger.info("ready")

def run(mini_batch, context):
    name = os.path.basename(mini_batch[0])
    if name == "f00001.txt":
        raise ValueError(name)
    if name == "f00002.txt":
        time.sleep(60)
    return ["%d.%d" % sys.version_info[:2] + " " + context.minibatch_index + " " + name]
"""


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    lab = Lab(tmp_path)
    lab.files(5)
    lab.script(VERSION)
    return lab


def conda(lab: Lab, *dependencies: object) -> dict[str, object]:
    return {"task": {"environment": {"image": "python:3", "conda_file": {"name": "x", "dependencies": list(dependencies)}}}}


@pytest.mark.needs("python3.7")
def test_an_old_python(lab: Lab, needs) -> None:
    """Python 3.7, which has nothing installed, with files, failures, a time-out and two instances."""
    lab.script(OLD)
    lab.job(retry_settings={"max_retries": 0, "timeout": 1}, resources={"instance_count": 2})
    done = lab.score("--python", needs("python3.7"))
    assert done.status == 0, done.stderr
    assert done.counts == (5, 3, 2)
    rows = [line.split() for line in lab.rows.read_text().splitlines()]
    assert [row[0] for row in rows] == ["3.7"] * 3
    assert [row[2] for row in rows] == ["f00000.txt", "f00003.txt", "f00004.txt"]
    errors = next(lab.logs().glob("job_error.*")).read_text()
    assert "ValueError: f00001.txt" in errors
    assert "longer than 1 s" in errors


@pytest.mark.needs("second-python")
def test_a_conda_file_becomes_an_environment_that_is_kept(lab: Lab, needs) -> None:
    other = needs("second-python")
    version = subprocess.run([other, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], capture_output=True, text=True, check=True)
    wanted = version.stdout.strip()
    lab.script(VERSION.replace("import os, sys", "import os, sys, iniconfig"))
    lab.job(**conda(lab, f"python={wanted}", "pip", {"pip": ["iniconfig<3"]}))
    done = lab.score(timeout=300)
    assert done.status == 0, done.stderr
    rows = [line.split() for line in lab.rows.read_text().splitlines()]
    assert [row[0] for row in rows] == [wanted] * 5
    assert Path(rows[0][1]).is_relative_to(lab.folder / ".runner")
    assert "image" in done.stderr  # which is not used with --local: said
    again = lab.score(name="again", PIP_NO_INDEX="1")
    assert again.status == 0, again.stderr
    assert lab.rows.read_text().splitlines()[0].split()[1] == rows[0][1]
    plan = lab.run("job", "validate", "-f", "job.yml", "--local", "-o", "json").job["steps"][0]
    assert rows[0][1] in plan["python"] or wanted in plan["python"]


def test_what_no_environment_can_be_made_of(lab: Lab) -> None:
    for dependencies, says in (
        (["python=3.99"], "3.99"),
        (["python", "cudatoolkit=11.8"], "cudatoolkit"),
        (["python", "gxx_linux-64"], "gxx"),
    ):
        lab.job(**conda(lab, *dependencies))
        done = lab.score(name="refused")
        assert done.status == 2, (dependencies, done)
        assert says in done.stderr
        assert "Traceback" not in done.stderr
        assert not list((lab.folder / ".runner").glob("jobs/*"))  # the name is still free
    done = lab.score("--python", str(lab.folder / "no-python"), name="refused")
    assert done.status == 2
    assert "no-python" in done.stderr
