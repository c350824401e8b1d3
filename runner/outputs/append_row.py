"""`append_row_to`: where the rows go, and how DataFrames become text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from runner.errors import Place, UserError
from runner.model.job import JobOutput, Step
from runner.storage import addresses

DEFAULT_NAME = "parallel_run_step.txt"
SETTINGS_NAME = "parallel_run_step.settings.json"
TO_CSV = "pandas.DataFrame.to_csv"
REFUSED = ("path_or_buf", "mode", "compression", "chunksize", "storage_options")  # they are about the file, which is ours


@dataclass(frozen=True, kw_only=True)
class RowFormat:
    """`to_csv` are the keyword arguments of DataFrame.to_csv, complete but for the header, which stands once at the top when `header`."""

    to_csv: Mapping[str, object] = field(default_factory=dict)
    header: bool = False


def row_file(output: JobOutput) -> str:
    """The path or address of what gets the rows: the output itself, or a file in it."""
    return output.path if output.type == "uri_file" else addresses.join(output.path, DEFAULT_NAME)


def format_of(step: Step, code: Path) -> RowFormat:
    """How the rows of a step are written whose code folder lies there. Errors: as `read_format`."""
    if step.command:
        return RowFormat()
    return read_format((code / step.entry_script).parent, header=step.arguments.append_row_dataframe_header)


def read_format(script_folder: Path, *, header: bool) -> RowFormat:
    """Azure's defaults, overridden by the settings file beside the script. Errors: UserError that names the file and the key."""
    to_csv: dict[str, object] = {"sep": " ", "header": False, "index": False}
    path = script_folder / SETTINGS_NAME
    if path.is_file():
        to_csv.update(_read_settings(path))
    asked = to_csv.get("header")
    to_csv["header"] = False
    return RowFormat(to_csv=to_csv, header=header or bool(asked))


def _read_settings(path: Path) -> dict[str, object]:
    form = '{"append_row": {"pandas.DataFrame.to_csv": {"sep": ","}}}'
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        line = getattr(error, "lineno", None)
        raise UserError(f"cannot be read as JSON: {error}", place=Place(file=str(path), line=line), allowed=form) from None
    settings = data.get("append_row", {}) if isinstance(data, dict) else None
    arguments = settings.get(TO_CSV, {}) if isinstance(settings, dict) else None
    if not isinstance(arguments, dict):
        raise UserError("the settings have another form", place=Place(file=str(path)), allowed=form)
    for key in arguments:
        if key in REFUSED:
            place = Place(file=str(path), field=f"append_row.{TO_CSV}.{key}")
            raise UserError("is about the file, which the runner writes", place=place, todo=f"remove `{key}`")
    return arguments


def table_description(row_format: RowFormat) -> bytes:
    """The `MLTable` file beside the rows of an `mltable` output."""
    delimiter = json.dumps(row_format.to_csv.get("sep", " "))
    header = "all_files_same_headers" if row_format.header else "no_header"
    return (
        f"type: mltable\npaths:\n  - file: ./{DEFAULT_NAME}\ntransformations:\n  - read_delimited:\n"
        f"      delimiter: {delimiter}\n      header: {header}\n      encoding: utf8\n      support_multi_line: true\n"
    ).encode()
