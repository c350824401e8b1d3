"""Content of files by hash: each is read once, as long as it stays as it is."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.pipeline import content
from runner.pipeline.content import Contents
from runner.storage.stores import Stores


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were read."""
    read: list[str] = []
    original = content._hash

    def hash_(path: Path, stop: Callable[[], bool]) -> str:
        read.append(path.name)
        return original(path, stop)

    monkeypatch.setattr(content, "_hash", hash_)
    return read


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    (data / "sub").mkdir(parents=True)
    for name in ("a", "b", "sub/c"):
        (data / name).write_text(name)
        os.utime(data / name, (1_000_000, 1_000_000))
    return data


def of(folder: Path) -> str:
    return Contents(folder.parent / "cache", Stores()).of(str(folder))


def test_what_is_as_it_was_is_not_read_again(folder, hashed):
    first = of(folder)
    assert sorted(hashed) == ["a", "b", "c"]
    hashed.clear()
    assert of(folder) == first
    assert not hashed


def test_only_what_has_changed_is_read_again(folder, hashed):
    first = of(folder)
    hashed.clear()
    (folder / "b").write_text("B")
    assert of(folder) != first
    assert hashed == ["b"]


def test_a_file_that_has_just_changed_is_read_again(folder, hashed):
    (folder / "a").write_text("x")
    of(folder)
    hashed.clear()
    of(folder)
    assert hashed == ["a"]


def test_the_place_does_not_matter(folder, tmp_path):
    os.rename(folder, tmp_path / "other")
    first = of(tmp_path / "other")
    os.rename(tmp_path / "other", folder)
    assert of(folder) == first


def test_a_damaged_cache_is_no_harm(folder, hashed):
    first = of(folder)
    for file in (folder.parent / "cache").iterdir():
        file.write_text('["a", "1')
    assert of(folder) == first


def test_nothing_and_a_link_to_nothing(folder):
    assert of(folder / "none") == ""
    (folder / "link").symlink_to("nowhere")
    assert of(folder)


def test_what_lies_behind_a_link_to_a_folder_counts(folder, tmp_path):
    """As it does where the input is listed."""
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "d").write_text("d")
    (folder / "linked").symlink_to(tmp_path / "far")
    (folder / "sub" / "round").symlink_to(folder)
    first = of(folder)
    (tmp_path / "far" / "d").write_text("D")
    assert of(folder) != first


def test_a_pipe_is_not_waited_for(folder):
    first = of(folder)
    os.mkfifo(folder / "pipe")
    assert of(folder) == first


def test_whoever_does_not_want_to_know_any_more_is_not_kept_waiting(folder):
    with pytest.raises(InterruptedError):
        Contents(folder.parent / "cache", Stores(), stop=lambda: True).of(str(folder))


def test_a_table_counts_with_what_it_names(folder):
    table = folder.parent / "table"
    table.mkdir()
    (table / "MLTable").write_text("type: mltable\npaths: [{folder: ../data}]\n")
    contents = Contents(folder.parent / "cache", Stores())
    first = contents.of_table(str(table))
    (folder / "a").write_text("changed")
    assert contents.of_table(str(table)) != first
