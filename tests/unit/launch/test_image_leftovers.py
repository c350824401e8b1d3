"""Folders that are shared with short containers, and what is left of them when their process was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile

import pytest

from runner.launch.image_leftovers import FOLDERS
from runner.launch.image_probe import exchange_folder

HOLDER = """
import time
from runner.launch.image_probe import exchange_folder
with exchange_folder() as folder:
    (folder / "in" / "token").write_text("secret")
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """Instead of the folder that all processes of this machine share."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def test_a_folder_is_for_us_alone_and_its_parts_for_the_containers_user(place):
    with exchange_folder() as folder:
        assert list(place.iterdir()) == [folder]
        assert [one.stat().st_mode & 0o777 for one in (folder, folder / "in", folder / "out")] == [0o700, 0o755, 0o777]
    assert list(place.iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_what_is_in_use_stays(place):
    with subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            left = holder.stdout.readline().strip()
            with exchange_folder() as one, exchange_folder() as other:
                assert {str(path) for path in place.iterdir()} == {left, str(one), str(other)}
        finally:
            holder.send_signal(signal.SIGKILL)
    assert os.path.exists(f"{left}/in/token"), "nobody was there to remove it"
    with exchange_folder() as folder:
        assert list(place.iterdir()) == [folder]


def test_what_is_not_ours_stays(place, monkeypatch):
    (place / "elsewhere").mkdir()
    (place / "elsewhere" / "file").touch()
    (place / f"{FOLDERS}link").symlink_to(place / "elsewhere")
    (place / f"{FOLDERS}file").touch()
    (place / f"{FOLDERS}other").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with exchange_folder():
        pass
    assert {path.name for path in place.iterdir()} == {"elsewhere", f"{FOLDERS}link", f"{FOLDERS}file", f"{FOLDERS}other"}
    monkeypatch.undo()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    with exchange_folder():
        pass
    assert {path.name for path in place.iterdir()} == {"elsewhere", f"{FOLDERS}link", f"{FOLDERS}file"}
    assert (place / "elsewhere" / "file").exists()
