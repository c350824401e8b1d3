"""MLTable files: what they name, and what is said about those that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.errors import NotSupportedHere, UserError
from runner.inputs.mltable import find, read
from runner.inputs.mltable_steps import Delimited, FilterRows, TakeRows

STEPS = "paths: [{file: a}]\ntransformations:\n- "


def write(folder: Path, text: str, **files: str) -> Path:
    for name, content in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (folder / "MLTable").write_text(text)
    return folder


def test_a_table_with_steps(tmp_path: Path) -> None:
    table = read(
        write(tmp_path, "type: mltable\npaths: [{file: ./a.csv}]\ntransformations: [read_delimited, {filter: a > 1}, {take: 3}]\n")
    )
    assert isinstance(table.reader, Delimited)
    assert table.reader.delimiter == ","
    assert [type(step) for step in table.steps] == [FilterRows, TakeRows]
    assert table.entries[0].location == str(tmp_path / "a.csv")


def test_files_come_by_entry_then_by_name(tmp_path: Path) -> None:
    for name in ("d/10.csv", "d/2.csv", "d/.x", "d/sub/_a.txt", "d/z", "one"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("a\n1\n")
    table = read(write(tmp_path, "paths:\n- file: one\n- folder: ./d\n- pattern: ./**/*.csv\n- file: one\n"))
    names = [str(Path(file.path).relative_to(tmp_path)) for file in table.files()]
    assert names == ["one", "d/.x", "d/10.csv", "d/2.csv", "d/sub/_a.txt", "d/z", "d/10.csv", "d/2.csv", "one"]


def test_the_mltable_file_itself_is_no_item(tmp_path: Path) -> None:
    table = read(write(tmp_path, "paths:\n- folder: .\n", a="x"))
    assert [Path(file.path).name for file in table.files()] == ["a"]


def test_a_table_folder_with_wildcard_characters_in_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "data [1]"
    folder.mkdir()
    table = read(write(folder, "paths:\n- pattern: ./*.csv\n", **{"a.csv": "x"}))
    assert [Path(file.path).name for file in table.files()] == ["a.csv"]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("paths:\n- file: a\nerror_mode: x\n", 3, "'error_mode' is not a key of an MLTable file"),
        ("path:\n- file: a\n", 1, "did you mean 'paths'"),
        ("type: table\npaths: [{file: a}]\n", 1, "allowed: mltable"),
        ("type: mltable\n", None, "`paths` is missing"),
        ("paths: []\n", 1, "`paths` is empty"),
        ("paths:\n- fil: a\n", 2, "did you mean 'file'"),
        ("paths:\n- {file: a, folder: b}\n", 2, "exactly one key"),
        ("paths:\n- file: '*.csv'\n", 2, "write `pattern: *.csv`"),
        ("paths:\n- file: data/\n", 2, "write `folder: data/`"),
        ("paths:\n- file: azureml://datastores/x/paths/y\n", 2, "describe it as a datastore in workspace.yml"),
        (STEPS + "read_csv\n", 3, "'read_csv' is not a transformation"),
        (STEPS + "read_delimited:\n    delimeter: ','\n", 4, "did you mean 'delimiter'"),
        (STEPS + "read_delimited:\n    delimiter: '\\t'\n", 4, 'write "\\t" in double quotes'),
        (STEPS + "read_delimited:\n    header: some\n", 4, "all_files_same_headers"),
        (STEPS + "read_delimited:\n    encoding: utf-9\n", 4, "did you mean 'utf-8'"),
        (STEPS + "read_delimited:\n    support_multi_line: maybe\n", 4, "true or false"),
        (STEPS + "take: 3\n- read_parquet\n", 4, "must be the first"),
        (STEPS + "read_parquet\n- read_delimited\n", 4, "keep one"),
        (STEPS + "read_parquet\n- take: -1\n", 4, "whole number of at least 0"),
        (STEPS + "read_parquet\n- take_random_sample: {probability: 2}\n", 4, "from 0 to 1"),
        (STEPS + "read_parquet\n- keep_columns: {pattern: '('}\n", 4, "regular expression"),
        (STEPS + "read_parquet\n- convert_column_types: [{columns: a, column_type: datetime}]\n", 4, "formats"),
        (STEPS + "read_parquet\n- convert_column_types: [{columns: a, column_type: number}]\n", 4, "allowed: int"),
        (STEPS + "read_parquet\n- extract_columns_from_partition_format: '{a'\n", 4, "without its partner"),
        ("paths: [{file: a}\n", None, "YAML syntax"),
    ],
)  # fmt: skip
def test_mistakes_have_a_line(tmp_path: Path, text: str, line: int | None, message: str) -> None:
    with pytest.raises(UserError) as error:
        read(write(tmp_path, text))
    assert message in str(error.value)
    if line:
        assert f"MLTable:{line}" in str(error.value)


@pytest.mark.parametrize("step", ["read_delta_lake: {version_as_of: 1}", "select_partitions: [1]", "sample: {}"])
def test_what_is_not_supported_says_so(tmp_path: Path, step: str) -> None:
    with pytest.raises(NotSupportedHere, match="is not supported"):
        read(write(tmp_path, STEPS + f"{step}\n"))


def test_a_query_is_not_supported(tmp_path: Path) -> None:
    with pytest.raises(NotSupportedHere, match="query_source"):
        read(write(tmp_path, "query_source: {query: select 1}\n"))


def test_the_bare_form_of_a_partition_format(tmp_path: Path) -> None:
    table = read(write(tmp_path, STEPS + "read_parquet\n- extract_columns_from_partition_format: '/{a}/{b}.csv'\n"))
    assert table.steps[0].format.names == ("a", "b")  # type: ignore[union-attr]


def test_missing_things_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no file 'MLTable'"):
        read(tmp_path)
    (tmp_path / "mltable").write_text("")
    with pytest.raises(UserError, match="rename 'mltable'"):
        read(tmp_path)
    assert find(tmp_path) is None
    write(tmp_path, "paths:\n- file: data.csv\n", **{"dat.csv": "x"})
    with pytest.raises(UserError, match=r"did you mean 'dat\.csv'"):
        list(read(tmp_path).files())
    with pytest.raises(UserError, match="no file matches"):
        list(read(write(tmp_path, "paths:\n- pattern: ./*.parquet\n")).files())
    with pytest.raises(UserError, match="names the folder"):
        read(tmp_path / "MLTable")
