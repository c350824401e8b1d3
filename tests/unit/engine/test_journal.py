from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from runner.engine.journal import Journal, read_journal, read_segments
from runner.engine.manifest import Manifest
from runner.engine.sole_file import Superseded
from runner.model.batch import Block, Segment, Tally
from runner.outputs.block_ids import BlockIds, part_of


def segment(first: int, last: int, *, failed: bool = False) -> Segment:
    count = last + 1 - first
    tally = Tally(succeeded=0 if failed else count, failed=count if failed else 0, items=2 * count)
    return Segment(first=first, last=last, tally=tally, part="p", offset=first, length=count, crc=7)


def write(path: Path, *segments: Segment) -> None:
    journal = Journal(path)
    for one in segments:
        journal.segment(one)
    journal.sync()
    journal.close()


def test_says_what_was_recorded_in_input_order(tmp_path: Path) -> None:
    path = tmp_path / "j"
    write(path, segment(5, 9), segment(0, 4))
    journal = Journal(path)
    assert journal.restored.segments == [segment(0, 4), segment(5, 9)]
    assert journal.restored.epoch == 2
    assert read_segments(path) == [segment(0, 4), segment(5, 9)]


def test_nothing_is_written_before_sync(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    journal.segment(segment(0, 1))
    assert read_segments(tmp_path / "j") == []
    journal.sync()
    assert read_segments(tmp_path / "j") == [segment(0, 1)]


@pytest.mark.parametrize("lost", range(1, 40, 3))
def test_a_torn_last_record_is_cut_off(tmp_path: Path, lost: int) -> None:
    path = tmp_path / "j"
    write(path, segment(0, 4))
    whole = path.read_bytes()
    write(path, segment(5, 9))
    path.write_bytes(path.read_bytes()[:-lost])
    journal = Journal(path)
    assert journal.restored.segments == [segment(0, 4)]
    assert path.read_bytes().startswith(whole)


def test_a_damaged_record_ends_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "j"
    write(path, segment(0, 4), segment(5, 9))
    path.write_bytes(path.read_bytes().replace(b"[5,9", b"[5,8"))
    assert Journal(path).restored.segments == [segment(0, 4)]


def test_failed_ones_are_forgotten_when_they_are_to_be_tried_afresh(tmp_path: Path) -> None:
    path = tmp_path / "j"
    write(path, segment(0, 4), segment(5, 5, failed=True))
    journal = Journal(path)
    journal.retry_failed()
    assert journal.restored.segments == [segment(0, 4)]
    journal.segment(segment(5, 9))
    journal.sync()
    assert read_segments(path) == [segment(0, 4), segment(5, 9)]


def test_who_opens_it_later_takes_it_over(tmp_path: Path) -> None:
    older = Journal(tmp_path / "j")
    older.segment(segment(0, 4))
    older.sync()
    newer = Journal(tmp_path / "j")
    assert newer.restored.segments == [segment(0, 4)]
    older.segment(segment(5, 9))
    with pytest.raises(Superseded):
        older.sync()
    with pytest.raises(Superseded), older.owned():
        raise AssertionError("it is not its any more")
    newer.segment(segment(5, 5))
    newer.sync()
    assert read_segments(tmp_path / "j") == [segment(0, 4), segment(5, 5)]


def test_the_list_of_mini_batches_belongs_to_who_owns_the_journal(tmp_path: Path) -> None:
    older = Journal(tmp_path / "j")
    manifest = Manifest(tmp_path / "m", owned=older.owned)
    manifest.append([b"a"])
    newer = Journal(tmp_path / "j")
    with pytest.raises(Superseded):
        manifest.append([b"b"])
    assert list(Manifest(tmp_path / "m", owned=newer.owned).lines()) == [b"a"]


def test_threads_of_its_owner_do_not_take_one_another_for_a_successor(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    manifest = Manifest(tmp_path / "m", owned=journal.owned)
    over, problems = threading.Event(), []

    def lists() -> None:
        try:
            while not over.is_set():
                manifest.append([b"x"])
        except Superseded as problem:
            problems.append(problem)

    lister = threading.Thread(target=lists)
    lister.start()
    for number in range(300):
        journal.segment(segment(number, number))
        journal.sync()
    over.set()
    lister.join()
    assert not problems


def test_reading_it_takes_nothing_over(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    assert read_journal(tmp_path / "j").epoch == 2
    journal.segment(segment(0, 1))
    journal.sync()


def test_blocks_that_are_lost_or_cut_apart(tmp_path: Path) -> None:
    names = BlockIds().many(3)
    staged = replace(segment(0, 1), part=part_of(names[:2]))
    path = tmp_path / "j"
    journal = Journal(path)
    for one in (staged, segment(2, 4), segment(5, 5, failed=True), segment(6, 6), segment(7, 8)):
        journal.segment(one)
    for first, last, name in ((2, 6, "around a failed one"), (7, 8, names[2])):
        journal.block(Block(first=first, last=last, id=name, length=last + 1 - first))
    journal.target("etag")
    journal.commit("token")
    journal.sync()
    journal.retry_failed()
    journal.gone([names[1]])
    journal.sync()
    for restored in (journal.restored, read_journal(path)):
        assert (restored.target, restored.commit) == ("etag", "token")
    again = read_journal(path)
    assert again.segments == [segment(2, 4), segment(6, 6), segment(7, 8)]
    assert [block.id for block in again.blocks] == [names[2]]
    journal.gone([names[2]])
    journal.sync()
    assert read_journal(path).segments == again.segments  # they are in parts
    assert not read_journal(path).blocks
