"""What the kernel's control groups tell of memory, both versions, from files as they look."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.worker import memory


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """The folder of this process's group; `version` is the test's parameter."""
    folder = tmp_path / "docker" / "abc"
    folder.mkdir(parents=True)
    version = request.getfixturevalue("version")
    names = memory.VERSION_1[2:] if version == 1 else memory.VERSION_2[2:]
    mounts = {1: ("memory", str(tmp_path), *memory.VERSION_1[2:]), 2: ("", str(tmp_path), *memory.VERSION_2[2:])}
    monkeypatch.setattr(memory, "VERSION_1", mounts[1])
    monkeypatch.setattr(memory, "VERSION_2", mounts[2])
    line = "5:cpu,memory:/docker/abc\n" if version == 1 else "0::/docker/abc\n"
    read = memory._read
    monkeypatch.setattr(memory, "_read", lambda path: line if path == "/proc/self/cgroup" else read(path))
    (folder / names[0]).write_text("209715200\n")
    (folder / names[1]).write_text("low 0\noom 3\noom_kill 1\n")
    return folder


@pytest.mark.parametrize("version", [1, 2])
def test_each_kill_is_told_once(group: Path, version: int) -> None:
    watch = memory.OutOfMemory()
    assert watch.limit == 200 << 20
    assert not watch.killed_one()  # what was before is nobody's here
    kills = group / (memory.VERSION_1 if version == 1 else memory.VERSION_2)[3]
    kills.write_text("oom_kill 3\n")
    assert [watch.killed_one() for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("text", ["max", "9223372036854771712", "", "x"])
def test_no_limit(group: Path, version: int, text: str) -> None:
    (group / (memory.VERSION_1 if version == 1 else memory.VERSION_2)[2]).write_text(text)
    assert memory.OutOfMemory().limit == 0


@pytest.mark.parametrize("version", [1, 2])
def test_in_a_container_the_group_is_the_root(group: Path, version: int) -> None:
    """Where the path that the kernel tells is not there."""
    names = (memory.VERSION_1 if version == 1 else memory.VERSION_2)[2:]
    root = group.parents[1]
    for name in names:
        (group / name).rename(root / name)
    assert memory.OutOfMemory().limit == 200 << 20


def test_without_control_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_read", lambda path: "")
    watch = memory.OutOfMemory()
    assert (watch.limit, watch.killed_one()) == (0, False)
