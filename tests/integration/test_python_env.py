"""A virtual environment made from a conda file: with another Python, from PyPI, and used again without it."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import pytest

from runner.errors import UserError
from runner.launch.python_env import find_python
from runner.model.job import Environment


def version_of(python: str) -> str:
    return subprocess.run(
        [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], capture_output=True, text=True, check=True
    ).stdout.strip()


def conda_environment(folder: Path, *dependencies: object) -> Environment:
    return Environment(conda={"name": "test", "dependencies": list(dependencies)}, conda_path=str(folder / "conda.yml"))


def test_an_environment_is_built_once_and_used_again_offline(tmp_path, needs, monkeypatch):
    other = needs("second-python")
    version = version_of(other)
    (tmp_path / "requirements.txt").write_text("iniconfig<3\n")
    environment = conda_environment(tmp_path, f"python={version}", "pip", {"pip": ["-r requirements.txt"]})
    said: list[str] = []
    found: list[str] = []

    def find() -> None:
        found.append(find_python(environment, cache=tmp_path / "cache", override=None, say=said.append))

    both = [threading.Thread(target=find) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join(300)
    assert len(found) == 2
    assert len(set(found)) == 1
    assert sum("making a virtual environment" in line for line in said) == 1
    assert any("iniconfig" in line for line in said)
    assert version_of(found[0]) == version
    subprocess.run([found[0], "-c", "import iniconfig"], check=True)
    assert not list(Path(found[0]).parents[1].glob("requirements.txt")), "it may hold a token"

    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setattr("runner.launch.python_env.build", lambda *_rest: pytest.fail("built again"))
    said.clear()
    find()
    assert found[2] == found[0]
    assert said == []


def test_pips_own_words_stand_in_the_error(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    environment = conda_environment(tmp_path, {"pip": ["no-such-package-of-the-tests==1"]})
    with pytest.raises(UserError) as caught:
        find_python(environment, cache=tmp_path / "cache", override=None, say=lambda _line: None)
    assert "No matching distribution found for no-such-package-of-the-tests==1" in caught.value.problem
    assert not list((tmp_path / "cache" / "environments").glob("*/complete"))
