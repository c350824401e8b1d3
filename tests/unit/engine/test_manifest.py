from __future__ import annotations

from pathlib import Path

import pytest

from runner.engine.manifest import STRIDE, Manifest


def lines(first: int, count: int) -> list[bytes]:
    return [b"line %d " % i + b"x" * (i % 7) for i in range(first, first + count)]


@pytest.mark.parametrize("chunks", [[1], [1, 63, 64, 65], [STRIDE], [STRIDE * 3 + 1, 5], [200, 1, 1, 1, 300]])
def test_reads_any_range_while_it_grows_and_after_it_is_opened_again(tmp_path: Path, chunks: list[int]) -> None:
    manifest = Manifest(tmp_path / "m")
    total = 0
    for count in chunks:
        manifest.append(lines(total, count))
        total += count
        check(manifest, total)
    manifest.sync()
    manifest.close()
    again = Manifest(tmp_path / "m")
    assert list(again.lines()) == lines(0, total)
    check(again, total)
    again.append(lines(total, 10))
    check(again, total + 10)


def check(manifest: Manifest, total: int) -> None:
    assert manifest.count == total
    for first in range(0, total, 17):
        for count in (1, 2, STRIDE, total - first):
            if 0 < count <= total - first:
                assert manifest.read(first, count).split(b"\n") == lines(first, count)


def test_a_torn_last_line_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(b"one\ntwo\nthr")
    manifest = Manifest(path)
    assert list(manifest.lines()) == [b"one", b"two"]
    manifest.append([b"three"])
    assert path.read_bytes() == b"one\ntwo\nthree\n"
