"""Which source reads an input, and MLTable files that are lists of files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.errors import UserError
from runner.inputs.files import lay_out
from runner.inputs.mltable import read
from runner.inputs.source import open_source
from runner.inputs.split import files_of
from runner.model.job import JobInput, Step


def grow(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")


def listed(kind: str, path: Path, said: list[str] | None = None, **settings: object) -> list[list[str]]:
    step = Step(name="s", inputs={"i": JobInput(type=kind, path=str(path), uri=path.name)}, input_data="i", **settings)  # type: ignore[arg-type]
    source = open_source(step, scratch=path.parent, warn=(said if said is not None else []).append)
    root = source.summary.root
    return [[os.path.join(root, file.path) for file in files_of(line)[0]] for chunk in source.chunks(iter(())) for line in chunk.lines]


def table(folder: Path, text: str) -> Path:
    (folder / "MLTable").write_text(text)
    return folder


def test_one_file(tmp_path: Path) -> None:
    grow(tmp_path, ".one")
    assert listed("uri_file", tmp_path / ".one") == [[str(tmp_path / ".one")]]


def test_a_folder(tmp_path: Path) -> None:
    grow(tmp_path, "in/b", "in/a/x", "in/.hidden")
    assert listed("uri_folder", tmp_path / "in") == [[str(tmp_path / "in/a/x"), str(tmp_path / "in/b")]]


def test_a_list_of_files(tmp_path: Path) -> None:
    grow(tmp_path, "in/b", "in/.h", "in/sub/1.csv", "in/sub/2.txt", "out [x]/z")
    text = "paths:\n  - file: ./b\n  - folder: .\n  - pattern: ./**/*.csv\n  - pattern: ../out*/?\n  - file: ./b\n"
    want = ["in/b", "in/.h", "in/b", "in/sub/1.csv", "in/sub/2.txt", "in/sub/1.csv", "out [x]/z", "in/b"]
    assert listed("mltable", table(tmp_path / "in", text)) == [[str(tmp_path / path) for path in want]]


def test_wildcards_in_the_name_of_the_tables_own_folder(tmp_path: Path) -> None:
    grow(tmp_path, "in [1]*/a.csv")
    assert listed("mltable", table(tmp_path / "in [1]*", "paths:\n  - pattern: ./*.csv\n")) == [[str(tmp_path / "in [1]*/a.csv")]]


def test_keys_of_a_list_of_files(tmp_path: Path) -> None:
    grow(tmp_path, "in/b/1.csv", "in/a/1.csv", "in/b/0.csv")
    folder = table(
        tmp_path / "in",
        "paths:\n  - pattern: ./**/*.csv\ntransformations:\n"
        "  - extract_columns_from_partition_format: {partition_format: '/{store}/{name}.csv'}\n  - drop_columns: name\n",
    )
    want = [["in/a/1.csv"], ["in/b/0.csv", "in/b/1.csv"]]
    assert listed("mltable", folder, partition_keys=("store",)) == [[str(tmp_path / path) for path in batch] for batch in want]
    with pytest.raises(UserError, match=r"(?s)no key 'brand'.*allowed: store, name"):
        listed("mltable", folder, partition_keys=("brand",))


def test_an_mltable_without_its_file(tmp_path: Path) -> None:
    grow(tmp_path, "in/a")
    said: list[str] = []
    assert listed("mltable", tmp_path / "in", said) == [[str(tmp_path / "in/a")]]
    assert said == [f"inputs.i is an mltable, but '{tmp_path / 'in'}' has no MLTable file: read as a folder of files"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("paths:\n  - file: ./a\n  - file: ./gone\n", "MLTable:3 .*gone' cannot be read: No such file"),
        ("paths:\n  - folder: ./gone\n", "MLTable:2 .*gone' cannot be listed: No such file"),
        ("paths:\n  - pattern: ./*.csv\n", r"MLTable:2 .*: no file matches '.*/in/\*.csv'"),
        ("paths:\n  - folder: .\ntransformations:\n  - take: 3\n", "MLTable:4 .*without a read step"),
    ],
)
def test_mistakes_in_a_list_of_files(tmp_path: Path, text: str, message: str) -> None:
    grow(tmp_path, "in/a")
    with pytest.raises(UserError, match=message):
        listed("mltable", table(tmp_path / "in", text))


@pytest.mark.parametrize(
    ("kind", "path", "message"),
    [
        ("uri_file", "gone", "`inputs.i`: there is nothing at 'gone'"),
        ("uri_folder", "gone", "`inputs.i`: there is nothing at 'gone'"),
        ("uri_file", "in", "(?s)is a folder, not a file.*uri_folder"),
        ("uri_folder", "in/a", "(?s)is a file, not a folder.*uri_file"),
        ("custom_model", "in", "(?s)of type custom_model cannot be split.*allowed: uri_file, uri_folder, mltable"),
        ("uri_folder", "empty", "`inputs.i`: there is no file in"),
    ],
)
def test_mistakes(tmp_path: Path, kind: str, path: str, message: str) -> None:
    grow(tmp_path, "in/a")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=message):
        listed(kind, tmp_path / path)


def test_a_name_that_is_no_input(tmp_path: Path) -> None:
    step = Step(name="s", inputs={"images": JobInput(type="uri_folder", path=str(tmp_path))}, input_data="image")
    with pytest.raises(UserError, match=r"(?s)'image', which is no input.*allowed: images.*did you mean 'images'"):
        open_source(step, scratch=tmp_path, warn=print)


def test_laid_out_as_links(tmp_path: Path) -> None:
    grow(tmp_path, "in/a", "in/sub/b", "other/c")
    resolved = read(table(tmp_path / "in", "paths:\n  - file: ./a\n  - folder: ./sub\n  - file: ../other\n  - file: ../other/c\n"))
    for _ in range(2):  # the second time all is there
        lay_out(resolved.files(), tmp_path / "out")
    made = tmp_path / "out/local" / str(tmp_path).lstrip("/")
    assert sorted(str(path.relative_to(made)) for path in made.rglob("*") if path.is_symlink()) == ["in/a", "in/sub/b", "other"]
    assert (made / "in/sub/b").resolve() == tmp_path / "in/sub/b"
    assert [path.is_symlink() for path in (tmp_path / "other/c", tmp_path / "in/a")] == [False, False]
    (made / "in/a").unlink()
    (made / "in/a").symlink_to("elsewhere")
    lay_out(resolved.files(), tmp_path / "out")
    assert (made / "in/a").read_bytes() == b"x"


def test_a_folder_named_as_a_file_beside_files_in_it(tmp_path: Path) -> None:
    grow(tmp_path, "in/d/x")
    with pytest.raises(UserError, match="name it as `folder:`"):
        lay_out(read(table(tmp_path / "in", "paths:\n  - file: ./d/x\n  - file: ./d\n")).files(), tmp_path / "out")
