"""Copies of a job's outputs and logs, laid out as `az ml job download` does: `named-outputs/<name>/…` and `artifacts/…`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from runner.errors import Place, UserError, did_you_mean
from runner.storage.addresses import base_name, is_address
from runner.storage.stores import Stores
from runner.workspace.records import JobRecord
from runner.workspace.transfer import Moved, Watch, silence_told, transfer

Opener = Callable[[str], Stores]


def _opens_none(address: str) -> Stores:
    raise UserError(f"no credential is known for '{address}'")


def _untold(_moved: Moved) -> None:
    pass


def download(
    record: JobRecord,
    target: Path,
    *,
    output_name: str | None = None,
    everything: bool = False,
    stores_of: Opener = _opens_none,
    watch: Watch = _untold,
) -> list[Path]:
    """Copies into `target`: the output of that name, or everything, or (neither given) the logs. Returns what it made.

    `stores_of` opens the addresses of outputs in blob storage; `watch` is told how their copies get on. Files that are there already are
    replaced. An output or log that does not exist (yet) raises a `UserError` if it was asked for by name.
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
        logs = target / "artifacts" / "logs"
        away = is_address(record.logs)
        made += _fetch(record.logs, logs, stores_of(record.logs), watch) if away else _copy(Path(record.logs), logs, links=True)
    names = [output_name] if output_name is not None else list(record.outputs) if everything else []
    for name in names:
        source, place = str(record.outputs[name]["path"]), target / "named-outputs" / name
        copied = _fetch(source, place, stores_of(source), watch) if is_address(source) else _copy_output(Path(source), place)
        if not copied and output_name is not None:
            raise UserError(f"the output {name!r} of job {record.name} does not exist: {source}", todo=f"the job is {record.status}")
        made += copied
    return made


def missing_outputs(record: JobRecord, made: Iterable[Path], target: Path) -> list[str]:
    """The outputs that were not there to be copied: of a job that has not ended, or has failed. `made`: what `download` gave."""
    there = {folder for path in made for folder in (path, *path.parents)}
    return [name for name in record.outputs if target / "named-outputs" / name not in there]


def _copy_output(source: Path, place: Path) -> list[Path]:
    return _copy(source, place / (source.name if source.is_file() else ""))


def _fetch(address: str, place: Path, stores: Stores, watch: Watch) -> list[Path]:
    with silence_told():
        kind = stores.kind(address)
    if kind == "nothing":
        return []
    place = place / base_name(address) if kind == "file" else place
    transfer(address, str(place), stores, watch=watch)
    return [place]


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
