"""Handles that a network file system knows no longer (ESTALE): in a folder that is listed, and in a table that is read."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runner.errors import UserError
from runner.inputs import columnar
from runner.inputs.bytes_of import LocalBytes
from runner.inputs.files import FileEntry, list_folder
from runner.inputs.tabular import BadInputError


def stale(call: Callable[..., Any], times: int) -> Callable[..., Any]:
    """Fails so often, and works then."""
    left = [times]

    def wrapped(*given: Any, **named: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return call(*given, **named)

    return wrapped


def entry(path: Path) -> FileEntry:
    status = path.stat()
    return FileEntry(str(path), status.st_size, status.st_mtime_ns)


@pytest.mark.parametrize("name", ["scandir", "open", "stat"])
@pytest.mark.parametrize("times", [1, 2])
def test_a_folder_is_listed_again(tmp_path: Path, name: str, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("a")

    def names() -> list[str]:
        return [Path(file.path).name for file in list_folder(tmp_path, hidden=False)]

    monkeypatch.setattr(os, name, stale(getattr(os, name), times))
    if times == 1:
        assert names() == ["a.txt"]
    else:
        with pytest.raises(UserError, match="cannot be listed: Stale file handle"):
            names()


def test_a_file_is_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.csv"
    path.write_text("0123456789")
    with LocalBytes(entry(path)) as source:
        assert source.pread(2, 0) == b"01"
        with monkeypatch.context() as patched:
            patched.setattr(os, "pread", stale(os.pread, 1))
            assert source.pread(3, 2) == b"234"
        with monkeypatch.context() as patched:
            patched.setattr(os, "pread", stale(os.pread, 2))
            with pytest.raises(BadInputError) as raised:
                source.pread(3, 2)
            assert "cannot be read: Stale file handle" in raised.value.problem


def test_another_version_of_a_file_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.csv"
    path.write_text("0123456789")
    with LocalBytes(entry(path)) as source:
        source.pread(2, 0)
        (tmp_path / "new").write_text("abcdefghijk")
        (tmp_path / "new").rename(path)
        monkeypatch.setattr(os, "pread", stale(os.pread, 1))
        with pytest.raises(BadInputError) as raised:
            source.pread(3, 2)
    assert raised.value.changed


def test_row_groups_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": list(range(10))}), path)
    source = LocalBytes(entry(path))
    monkeypatch.setattr(pq, "read_metadata", stale(pq.read_metadata, 1))
    footer = columnar._footer(source)
    monkeypatch.setattr(pq, "ParquetFile", stale(pq.ParquetFile, 1))
    assert columnar._read_groups(source, footer, range(1), ["a"]).column("a").to_pylist() == list(range(10))
