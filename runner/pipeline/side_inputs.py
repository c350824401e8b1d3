"""Inputs that scripts get in another place than where they lie: `eval_mount` and `eval_download` of an MLTable of files."""

from __future__ import annotations

from pathlib import Path

from runner.model.job import ParallelStep

EVALUATED = ("eval_mount", "eval_download")


def lay_out_inputs(step: ParallelStep, scratch: Path) -> dict[str, str]:
    """Path of the input → folder with the files that its MLTable resolves to."""
    moved = {}
    for name, given in step.inputs.items():
        if name != step.input_data and given.mode in EVALUATED and given.path:
            from runner.inputs.files import lay_out
            from runner.inputs.mltable import read

            target = scratch / "eval" / name
            target.mkdir(parents=True, exist_ok=True)
            lay_out(read(Path(given.path)), target)
            moved[given.path] = str(target)
    return moved
