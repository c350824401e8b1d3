"""How transfers are shown."""

from __future__ import annotations

import io

from runner.cli import transfers
from runner.workspace.transfer import Moved


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_lines(monkeypatch) -> None:
    monkeypatch.setattr(transfers, "_EVERY", 0.0)
    stream = io.StringIO()
    with transfers.shown("uploading", "uploaded", stream) as watch:
        watch(Moved(files=2000, bytes=4 << 20, done_files=1000, done_bytes=1 << 20))
        moved = Moved(files=1, bytes=10)
        watch(moved)
        moved.done_files, moved.done_bytes = 1, 10
    lines = stream.getvalue().splitlines()
    assert lines[0] == "uploading: 1,000 of 2,000 files, 1.0 MB of 4.0 MB"
    assert lines[-1].startswith("uploaded 1,001 files, 1.0 MB, in ")


def test_a_bar_on_a_terminal(monkeypatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with transfers.shown("downloading", "downloaded", stream) as watch:
        watch(Moved(files=1, bytes=10, done_files=1, done_bytes=10))
    assert "downloading" in stream.getvalue()
    assert stream.getvalue().splitlines()[-1].strip("\x1b[2K\r").endswith("s")
