from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from runner.cluster import probes as probes_of
from runner.cluster.checks import judge_clock
from runner.cluster.probes import Unfit, check_reading, datastore_of, verify, within, write_probes
from runner.errors import UserError


def test_what_was_written_is_found(tmp_path: Path) -> None:
    made = write_probes({"shared": tmp_path})
    ((path, content),) = made.files.items()
    assert Path(path).parent == tmp_path / ".runner/probe"
    assert Path(path).stat().st_mode & 0o777 == 0o644
    assert datastore_of(content) == "shared"
    check_reading(path, content)


def test_each_scheduler_writes_its_own_and_old_ones_go(tmp_path: Path) -> None:
    (first,) = write_probes({"shared": tmp_path}).files
    (second,) = write_probes({"shared": tmp_path}).files
    assert Path(first).exists()
    os.utime(first, (1, 1))
    write_probes({"shared": tmp_path})
    assert not Path(first).exists()
    assert Path(second).exists()


def test_a_datastore_that_the_head_cannot_write_to(tmp_path: Path) -> None:
    made = write_probes({"lost": tmp_path / "none"})
    assert not made.files
    assert "the head cannot write to" in made.broken["lost"]


def test_nothing_that_users_have_put_there_is_followed(tmp_path: Path) -> None:
    """A scheduler that is root would remove old files wherever a link leads."""
    victim = tmp_path / "victim" / "probe"
    victim.mkdir(parents=True)
    old = victim / ("0" * 16)
    old.touch()
    os.utime(old, (1, 1))
    for link, target in ((".runner", "victim"), (".runner/probe", "../../victim/probe")):
        datastore = tmp_path / link.replace("/", "-")
        (datastore / link).parent.mkdir(parents=True)
        (datastore / link).symlink_to(target if "/" in link else f"../{target}")
        assert "cannot write" in write_probes({"shared": datastore}).broken["shared"]
    assert [one.name for one in victim.iterdir()] == ["0" * 16]


@pytest.mark.needs("root")
def test_a_folder_of_somebody_else_is_not_taken_for_ours(tmp_path: Path) -> None:
    (tmp_path / ".runner/probe").mkdir(parents=True)
    os.chown(tmp_path / ".runner", 12345, 12345)
    assert "another user's" in write_probes({"shared": tmp_path}).broken["shared"]


@pytest.mark.parametrize(
    ("found", "words"), [(None, "No such file"), ("other 2026 x\n", "in the place of 'shared "), ("", "holds nothing in the place of")]
)
def test_a_node_that_sees_something_else(tmp_path: Path, found: str | None, words: str) -> None:
    ((path, content),) = write_probes({"shared": tmp_path}).files.items()
    Path(path).unlink() if found is None else Path(path).write_text(found)
    with pytest.raises(UserError) as caught:
        check_reading(path, content, patience=0)
    text = caught.value.describe()
    assert words in text
    assert path in text
    assert "does not see the datastore shared" in text
    assert "mount it on the node at the same path" in text


def test_a_file_system_that_does_not_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(probes_of, "SILENCE_SECONDS", 0.05)
    monkeypatch.setattr(probes_of, "_read", lambda *_: time.sleep(5))
    with pytest.raises(UserError, match="has not been read within"):
        check_reading(str(tmp_path), "shared 2026 x\n")
    with pytest.raises(ZeroDivisionError):
        within(1, lambda: 1 / 0)


def test_later_jobs_do_not_pay(tmp_path: Path) -> None:
    asked: list[str] = []
    for content in ("shared 2026 a\n", "shared 2026 a\n", "shared 2026 b\n"):
        for what in ("read", "engine"):
            verify({"/data/p": content}, tmp_path, check=lambda path, content: asked.append(content), what=what)
    assert asked == ["shared 2026 a\n"] * 2 + ["shared 2026 b\n"] * 2


def test_a_failure_is_asked_again(tmp_path: Path) -> None:
    def check(path: str, content: str) -> None:
        raise UserError("not there", todo="mount it")

    for _ in range(2):
        with pytest.raises(Unfit, match="not there"):
            verify({"/data/p": "shared 2026 a\n"}, tmp_path, check=check, what="read")


def test_clocks() -> None:
    assert judge_clock(100.0, 100.1, 100.2).ok
    assert judge_clock(100.0, 104.0, 103.0).ok
    late = judge_clock(100.0, 90.0, 100.2)
    assert not late.ok
    assert late.text.startswith("-10.0 s off")
    assert not judge_clock(100.0, 103.0, 100.5).ok
