"""What AZUREML_MODEL_DIR names: a folder with the model in it and nothing else, as on Azure. Scripts look for `*/*.pt` there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def lay_out_model(model: str, folder: Path) -> str:
    """Makes the folder: links to the model's files in folders like the model's, which `os.walk` goes into. Errors: OSError."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    source = Path(model)
    copy = folder / source.name
    if not source.is_dir():
        copy.symlink_to(source)
        return str(folder)
    for here, folders, files in os.walk(source):
        there = copy / os.path.relpath(here, source)
        there.mkdir()
        for name in (*files, *(one for one in folders if Path(here, one).is_symlink())):
            (there / name).symlink_to(Path(here, name))
    return str(folder)
