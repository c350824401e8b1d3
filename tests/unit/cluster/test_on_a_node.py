from __future__ import annotations

from pathlib import Path

from runner.cluster import node_code
from runner.cluster.node_code import on_this_node
from runner.cluster.node_jobs import LOCK, NodeJob
from runner.workspace.code import SIGNATURE, signature_of


def snapshot(folder: Path, text: str) -> Path:
    code = folder / "code"
    (code / "sub").mkdir(parents=True)
    (code / "sub" / "a.py").write_text(text)
    return code


def test_code_is_fetched_once(tmp_path: Path) -> None:
    code = snapshot(tmp_path / "one", "x")
    code.with_name(SIGNATURE).write_text(signature_of(code))
    copy = on_this_node(code, tmp_path / "cache")
    assert (copy / "sub" / "a.py").read_text() == "x"
    (code / "sub" / "a.py").unlink()  # not looked at again: its signature is known
    assert on_this_node(code, tmp_path / "cache") == copy


def test_the_same_code_of_another_job_is_not_fetched(tmp_path: Path) -> None:
    one, other = snapshot(tmp_path / "one", "x"), snapshot(tmp_path / "other", "x")
    assert on_this_node(one, tmp_path / "cache") == on_this_node(other, tmp_path / "cache")
    (other / "sub" / "a.py").chmod(0o755)
    assert on_this_node(one, tmp_path / "cache") != on_this_node(other, tmp_path / "cache")


def test_the_oldest_copies_make_room(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(node_code, "KEPT", 2)
    copies = [on_this_node(snapshot(tmp_path / str(number), str(number)), tmp_path / "cache") for number in range(5)]
    assert copies[-1].exists()
    assert sum(copy.exists() for copy in copies) == 3


def test_what_an_instance_had_is_removed_with_the_last_one(tmp_path: Path) -> None:
    first, second = NodeJob(tmp_path, "job"), NodeJob(tmp_path, "job")
    for name in ("node_0", "node_1"):
        (first.folder / "workers" / name).mkdir(parents=True)
    first.close(first.folder / "workers" / "node_0")
    assert not (tmp_path / "job" / "workers" / "node_0").exists()
    assert (tmp_path / "job" / "workers" / "node_1").exists()
    second.close(second.folder / "workers" / "node_1")
    assert not (tmp_path / "job").exists()


def test_what_killed_ones_have_left_is_removed_by_the_next(tmp_path: Path) -> None:
    dead = tmp_path / "dead"
    (dead / "workers").mkdir(parents=True)
    (dead / LOCK).touch()
    running = NodeJob(tmp_path, "running")
    assert not dead.exists()
    NodeJob(tmp_path, "next").close(tmp_path / "next" / "workers")
    assert running.folder.exists()
