"""A folder with a code folder and data, and the real SDK to compare with."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from runner.model.job import PipelineJob, Step


@pytest.fixture(scope="session")
def azure() -> ModuleType:
    """`azure.ai.ml`, which warns of many things when it is imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("azure.ai.ml").setLevel(logging.CRITICAL)
        import azure.ai.ml
        import azure.ai.ml.constants
        import azure.ai.ml.dsl
        import azure.ai.ml.entities
        import azure.ai.ml.parallel
    return azure.ai.ml


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: `src/score.py`, `data/` with two files, `model.txt`."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "score.py").write_text("def run(mini_batch):\n    return mini_batch\n")
    (tmp_path / "data").mkdir()
    for name in ("a.txt", "b.txt"):
        (tmp_path / "data" / name).write_text(name)
    (tmp_path / "model.txt").write_text("model")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def resolved(folder: Path) -> Callable[[Any], Step | PipelineJob]:
    """What the spec makes of a Python job."""
    from runner.spec.resolve import ResolveContext, resolve

    def resolve_job(job: Any) -> Step | PipelineJob:
        context = ResolveContext(name="job", root=folder, datastores={"workspaceblobstore": folder / "store"}, experiment="e")
        return resolve(job._loaded(), context)

    return resolve_job
