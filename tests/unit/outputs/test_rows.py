from __future__ import annotations

import errno
from pathlib import Path

import pytest

from runner.errors import RunnerError
from runner.model.batch import Segment, Tally
from runner.outputs.rows import PartWriter, discard_unrecorded, publish


def write(writer: PartWriter, index: int, text: bytes) -> Segment:
    part, offset, length, crc = writer.append([text])
    return Segment(first=index, last=index, tally=Tally(succeeded=1), part=part, offset=offset, length=length, crc=crc)


def test_rows_stand_in_input_order_whatever_the_parts(tmp_path: Path) -> None:
    one, two = PartWriter(tmp_path / "parts", "a"), PartWriter(tmp_path / "parts", "b")
    segments = [write(one, 2, b"two\n"), write(two, 0, b"zero\n"), write(one, 1, b"one\n"), write(two, 3, b"")]
    one.sync()
    two.sync()
    target = tmp_path / "out" / "rows.txt"
    size = publish(tmp_path / "parts", sorted(segments, key=lambda s: s.first), target, job="j", header="h\n")
    assert target.read_bytes() == b"h\nzero\none\ntwo\n"
    assert size == target.stat().st_size
    assert [path.name for path in target.parent.iterdir()] == ["rows.txt"]


def test_a_damaged_part_is_not_published(tmp_path: Path) -> None:
    writer = PartWriter(tmp_path / "parts", "a")
    segment = write(writer, 0, b"rows\n")
    (tmp_path / "parts" / segment.part).write_bytes(b"ROWS\n")
    target = tmp_path / "rows.txt"
    target.write_text("the earlier result")
    with pytest.raises(RunnerError, match=r"is damaged.*mini-batches 0 to 0"):
        publish(tmp_path / "parts", [segment], target, job="j")
    assert target.read_text() == "the earlier result"


def test_what_the_disk_does_not_take_is_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = PartWriter(tmp_path / "parts", "a")
    segment = write(writer, 0, b"rows\n")
    target = tmp_path / "out" / "rows.txt"
    target.parent.mkdir()
    target.write_text("the earlier result")

    def refuse(_file: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", refuse)
        with pytest.raises(OSError, match="Input/output error"):
            writer.sync()
        with pytest.raises(OSError, match="Input/output error"):
            publish(tmp_path / "parts", [segment], target, job="j")
    assert target.read_text() == "the earlier result"
    assert [path.name for path in target.parent.iterdir()] == ["rows.txt"]
    publish(tmp_path / "parts", [segment], target, job="j")
    assert target.read_bytes() == b"rows\n"


def test_parts_without_a_record_are_deleted(tmp_path: Path) -> None:
    writer, other = PartWriter(tmp_path, "a"), PartWriter(tmp_path, "b")
    kept = write(writer, 0, b"x")
    write(other, 1, b"y")
    discard_unrecorded(tmp_path, [kept])
    assert [path.name for path in tmp_path.iterdir()] == [kept.part]
