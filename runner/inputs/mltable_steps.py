"""The `transformations` of an MLTable file as records: one reader and the steps after it, in listed order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from runner.errors import NotSupportedHere, Place, UserError, did_you_mean
from runner.inputs.column_types import Conversion, Selector, read_conversion, read_selector
from runner.inputs.keys import PartitionFormat
from runner.inputs.nodes import check_keys, read_bool, read_choice, read_int, read_text, require_list, require_text
from runner.spec.yaml_source import Node

SAMPLE_ROWS = 200  # of the head of the table, by which types are inferred; measured with the mltable package
HEADERS = ("no_header", "from_first_file", "all_files_different_headers", "all_files_same_headers")
PATH_COLUMN = "Path"

_ENCODINGS = {
    "utf8": "utf-8", "utf-8": "utf-8", "utf8 bom": "utf-8", "utf8bom": "utf-8", "utf-8-bom": "utf-8", "ascii": "utf-8",
    "iso88591": "latin-1", "iso-8859-1": "latin-1", "latin1": "latin-1", "latin-1": "latin-1",
    "windows1252": "cp1252", "windows-1252": "cp1252", "utf16": "utf-16", "utf-16": "utf-16", "utf32": "utf-32", "utf-32": "utf-32",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Delimited:
    delimiter: str = ","
    header: str = "all_files_same_headers"
    multi_line: bool = False
    empty_as_string: bool = False
    encoding: str = "utf-8"
    path_column: str | None = None
    infer: bool = True
    sample_rows: int = SAMPLE_ROWS
    overrides: tuple[Conversion, ...] = ()
    place: Place


@dataclass(frozen=True, kw_only=True)
class Parquet:
    path_column: str | None = None
    place: Place


@dataclass(frozen=True, kw_only=True)
class JsonLines:
    drop_invalid: bool = False
    encoding: str = "utf-8"
    path_column: str | None = None
    place: Place


@dataclass(frozen=True, kw_only=True)
class ConvertTypes:
    conversions: tuple[Conversion, ...]
    place: Place


@dataclass(frozen=True, kw_only=True)
class PartitionColumns:
    format: PartitionFormat
    place: Place


@dataclass(frozen=True, kw_only=True)
class SelectColumns:
    columns: Selector
    keep: bool  # or drop
    place: Place


@dataclass(frozen=True, kw_only=True)
class FilterRows:
    text: str
    place: Place


@dataclass(frozen=True, kw_only=True)
class TakeRows:
    count: int
    place: Place


@dataclass(frozen=True, kw_only=True)
class SkipRows:
    count: int
    place: Place


@dataclass(frozen=True, kw_only=True)
class SampleRows:
    probability: float
    seed: int
    place: Place


Reader = Delimited | Parquet | JsonLines
READERS = (Delimited, Parquet, JsonLines)
Step = ConvertTypes | PartitionColumns | SelectColumns | FilterRows | TakeRows | SkipRows | SampleRows


def read_transformations(node: Node | None) -> list[Reader | Step]:
    """Every step, in order; raises a UserError where one is unknown, misspelled, or stands in the wrong place."""
    steps = [_read_step(item) for item in require_list(node)] if node is not None else []
    readers = [step for step in steps if isinstance(step, READERS)]
    if len(readers) > 1:
        raise UserError("a table has one read step, and this is a second", place=readers[1].place, todo="keep one of them")
    if readers and steps[0] is not readers[0]:
        raise UserError("the read step must be the first transformation", place=readers[0].place, todo="move it to the top")
    return steps


def _read_step(node: Node) -> Reader | Step:
    if isinstance(node.value, str):
        name, body = node.value, Node(value={}, place=node.place, base=node.base)
    elif node.is_mapping and len(node.entries) == 1:
        name, body = next(iter(node.entries.items()))
        if body.is_unset and name.startswith("read_"):
            body = Node(value={}, place=body.place, base=body.base)
    else:
        raise UserError("a transformation is one name, with its settings below it", place=node.place, allowed=", ".join(_STEPS))
    if name in _UNSUPPORTED:
        raise NotSupportedHere(f"`{name}` is not supported: {_UNSUPPORTED[name]}", place=body.place)
    if name not in _STEPS:
        raise UserError(
            f"'{name}' is not a transformation", place=body.place, allowed=", ".join(_STEPS), todo=did_you_mean(name.lower(), _STEPS)
        )
    return _STEPS[name](body)


_UNSUPPORTED = {
    "read_delta_lake": "this build reads delimited text, Parquet and JSON lines",
    "select_partitions": "partitions are the mini-batches here, and the job decides their size",
    "sample": "write take_random_sample",
}


def _read_delimited(node: Node) -> Delimited:
    allowed = (
        "delimiter", "header", "support_multi_line", "empty_as_string", "encoding",
        "include_path_column", "path_column", "infer_column_types", "partition_size",
    )  # fmt: skip
    check_keys(node, allowed, "of read_delimited")
    infer, sample, overrides = _read_inference(node.get("infer_column_types"))
    return Delimited(
        delimiter=_read_delimiter(node),
        header=read_choice(node, "header", HEADERS, "all_files_same_headers"),
        multi_line=read_bool(node, "support_multi_line", False),
        empty_as_string=read_bool(node, "empty_as_string", False),
        encoding=_read_encoding(node),
        path_column=_read_path_column(node),
        infer=infer,
        sample_rows=sample,
        overrides=overrides,
        place=node.place,
    )


def _read_delimiter(node: Node) -> str:
    child = node.get("delimiter")
    text = read_text(node, "delimiter", ",")
    if text == "\\t" and child is not None:
        raise UserError("'\\t' in single quotes is a backslash and a t", place=child.place, todo='write "\\t" in double quotes')
    if child is not None and (len(text) > 2 or text[0] in '"\r\n'):
        raise UserError(f"{text!r} cannot be a delimiter", place=child.place, allowed="one character, not a quote or line break")
    return text[0]  # of two characters mltable uses the first


def _read_encoding(node: Node) -> str:
    return _ENCODINGS[read_choice(node, "encoding", tuple(_ENCODINGS), "utf8")]


def _read_path_column(node: Node) -> str | None:
    name = read_text(node, "path_column", PATH_COLUMN)
    return name if read_bool(node, "include_path_column", False) else None


def _read_inference(node: Node | None) -> tuple[bool, int, tuple[Conversion, ...]]:
    if node is None:
        return True, SAMPLE_ROWS, ()
    if isinstance(node.value, bool):
        return node.value, SAMPLE_ROWS, ()
    check_keys(node, ("sample_size", "column_type_overrides"), "of infer_column_types")
    sample, overrides = node.get("sample_size"), node.get("column_type_overrides")
    rows = SAMPLE_ROWS if sample is None else read_int(sample, low=1)
    return True, rows, tuple(read_conversion(item) for item in require_list(overrides)) if overrides is not None else ()


def _read_parquet(node: Node) -> Parquet:
    check_keys(node, ("include_path_column", "path_column"), "of read_parquet")
    return Parquet(path_column=_read_path_column(node), place=node.place)


def _read_json_lines(node: Node) -> JsonLines:
    check_keys(node, ("invalid_lines", "encoding", "include_path_column", "path_column", "partition_size"), "of read_json_lines")
    drop = read_choice(node, "invalid_lines", ("error", "drop"), "error") == "drop"
    return JsonLines(drop_invalid=drop, encoding=_read_encoding(node), path_column=_read_path_column(node), place=node.place)


def _read_convert(node: Node) -> ConvertTypes:
    return ConvertTypes(conversions=tuple(read_conversion(item) for item in require_list(node)), place=node.place)


def _read_partition_format(node: Node) -> PartitionColumns:
    """Both forms: the mapping, and the bare text that Azure's documentation shows."""
    inner = node
    if node.is_mapping:
        check_keys(node, ("partition_format",), "of extract_columns_from_partition_format")
        found = node.get("partition_format")
        if found is None:
            raise UserError("`partition_format` is missing", place=node.place)
        inner = found
    return PartitionColumns(format=PartitionFormat.parse(require_text(inner), place=inner.place), place=node.place)


def _read_sample(node: Node) -> SampleRows:
    check_keys(node, ("probability", "seed"), "of take_random_sample")
    probability, seed = node.get("probability"), node.get("seed")
    value = probability.value if probability is not None else None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        place = node.place if probability is None else probability.place
        raise UserError("`probability` must be a number from 0 to 1", place=place)
    return SampleRows(probability=float(value), seed=0 if seed is None else read_int(seed, low=-(2**63)), place=node.place)


_STEPS: dict[str, Callable[[Node], Reader | Step]] = {
    "read_delimited": _read_delimited,
    "read_parquet": _read_parquet,
    "read_json_lines": _read_json_lines,
    "convert_column_types": _read_convert,
    "extract_columns_from_partition_format": _read_partition_format,
    "keep_columns": lambda node: SelectColumns(columns=read_selector(node), keep=True, place=node.place),
    "drop_columns": lambda node: SelectColumns(columns=read_selector(node), keep=False, place=node.place),
    "filter": lambda node: FilterRows(text=require_text(node), place=node.place),
    "take": lambda node: TakeRows(count=read_int(node), place=node.place),
    "skip": lambda node: SkipRows(count=read_int(node), place=node.place),
    "take_random_sample": _read_sample,
}
