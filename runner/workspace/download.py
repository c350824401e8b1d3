"""Copies of a job's outputs and logs, laid out as `az ml job download` does: `named-outputs/<name>/…` and `artifacts/…`."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from runner.errors import Place, UserError, did_you_mean
from runner.workspace.records import JobRecord


def download(record: JobRecord, target: Path, *, output_name: str | None = None, everything: bool = False) -> list[Path]:
    """Copies into `target`: the output of that name, or everything, or (neither given) the logs. Returns what it made.

    Files that are there already are replaced. An output or log that does not exist (yet) raises a `UserError` if it was asked for by name.
    """
    if output_name is not None and output_name not in record.outputs:
        raise UserError(
            f"job {record.name} has no output {output_name!r}",
            place=Place(field="--output-name"),
            allowed=", ".join(record.outputs) or "it has no outputs",
            todo=did_you_mean(output_name, record.outputs),
        )
    made: list[Path] = []
    if everything or output_name is None:
        made += _copy(Path(record.logs), target / "artifacts" / "logs", links=True)
    names = [output_name] if output_name is not None else list(record.outputs) if everything else []
    for name in names:
        source = Path(str(record.outputs[name]["path"]))
        copied = _copy(source, target / "named-outputs" / name / (source.name if source.is_file() else ""))
        if not copied and output_name is not None:
            raise UserError(f"the output {name!r} of job {record.name} does not exist: {source}", todo=f"the job is {record.status}")
        made += copied
    return made


def missing_outputs(record: JobRecord) -> list[str]:
    """The outputs that are not there: of a job that has not ended, or has failed."""
    return [name for name, port in record.outputs.items() if not Path(str(port["path"])).exists()]


def _copy(source: Path, target: Path, *, links: bool = False) -> list[Path]:
    try:
        if source.is_dir():
            if links:
                _make_way(source, target)
            shutil.copytree(source, target, symlinks=links, dirs_exist_ok=True)
        elif source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
        else:
            return []
    except (OSError, shutil.Error) as error:
        problem = f"{source} could not be copied to {target}: {_first(error)}"
        raise UserError(problem, place=Place(field="--download-path"), todo="choose another folder") from error
    return [target]


def _make_way(source: Path, target: Path) -> None:
    """Removes the links of an earlier copy, which copytree() would not replace."""
    for folder, folders, files in os.walk(source):
        for name in [*folders, *files]:
            old = target / Path(folder, name).relative_to(source)
            if Path(folder, name).is_symlink() and old.is_symlink():
                old.unlink()


def _first(error: OSError) -> str:
    """In words: copytree() collects what went wrong as tuples (source, target, reason)."""
    reasons = error.args[0] if isinstance(error, shutil.Error) and error.args else None
    if not isinstance(reasons, list) or not reasons:
        return str(error)
    more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    return f"{reasons[0][-1]}{more}"
