"""Files that keep the head and the tail."""

from __future__ import annotations

import random
import re

import pytest

from runner.worker.capped import CappedFile, Pump

MARKER = re.compile(rb"\n\[\.\.\. +(\d+) bytes left out here \.\.\.\]\n")


def written(tmp_path, cap, pieces):
    path = tmp_path / "log.txt"
    file = CappedFile(str(path), cap)
    for piece in pieces:
        file.write(piece)
    file.close()
    return path.read_bytes()


def test_what_fits_stays_as_it_is(tmp_path):
    assert written(tmp_path, 100, [b"x" * 60, b"\xff" * 40]) == b"x" * 60 + b"\xff" * 40


@pytest.mark.parametrize("size", [1, 7, 100, 5000, 100_000])
def test_head_and_tail_stay_and_the_rest_is_counted(tmp_path, size):
    data = b"".join(b"line %d\n" % number for number in range(30_000))
    text = written(tmp_path, 4000, [data[at : at + size] for at in range(0, len(data), size)])
    head, left_out, tail = MARKER.split(text)
    assert len(text) <= 4000
    assert data.startswith(head)
    assert data.endswith(tail)
    assert head.endswith(b"\n")
    assert tail.startswith(b"line")
    assert len(head) >= 1900
    assert len(tail) >= 900
    assert len(head) + int(left_out) + len(tail) == len(data)


def test_pieces_of_any_size_without_line_ends(tmp_path):
    chance = random.Random(7)
    for round_ in range(50):
        data = bytes(chance.randrange(256) for _ in range(chance.randrange(5000))).replace(b"[", b"")
        pieces, at = [], 0
        while at < len(data):
            size = chance.randrange(1, 700)
            pieces.append(data[at : at + size])
            at += size
        folder = tmp_path / str(round_)
        folder.mkdir()
        text = written(folder, 600, pieces)
        parts = MARKER.split(text)
        assert len(text) <= 600
        if len(parts) == 1:
            assert text == data
        else:
            assert data.startswith(parts[0])
            assert data.endswith(parts[2])
            assert len(parts[0]) + int(parts[1]) + len(parts[2]) == len(data)


def test_an_earlier_processes_text_is_kept(tmp_path):
    written(tmp_path, 100, [b"before\n"])
    assert written(tmp_path, 100, [b"after\n"]) == b"before\nafter\n"


def test_a_file_that_cannot_be_opened_loses_text_and_nothing_else(tmp_path, capfd):
    file = CappedFile(str(tmp_path / "none" / "log.txt"), 100)
    file.write(b"lost")
    file.close()
    assert "none/log.txt" in capfd.readouterr().err


def test_a_pump_tells_its_end(tmp_path):
    import os

    pump = Pump(str(tmp_path / "log.txt"), 100)
    assert not pump.move()
    assert not pump.ended
    os.write(pump.write_end, b"text")
    pump.close_write_end()
    pump.drain()
    assert pump.ended
    pump.close()
    assert (tmp_path / "log.txt").read_bytes() == b"text"
