"""Snapshot, download, delete, prune."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from runner.errors import JobConflict, UserError
from runner.workspace.download import download, missing_outputs
from runner.workspace.prune import delete_job, plan_prune, prune
from runner.workspace.snapshot import plan_snapshot
from runner.workspace.units import parse_age, parse_size, show_size

DAY = 86400.0


def _tree(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def test_snapshot_honours_ignore_files(tmp_path):
    never = (".git/x", "__pycache__/y", ".runner/z")
    source = _tree(tmp_path / "src", "score.py", "lib/a.py", "lib/b.log", "data/big.bin", "data/keep.txt", *never)
    (source / ".gitignore").write_text("*\n")
    (source / ".amlignore").write_text("*.log\ndata/*\n!data/keep.txt\n")
    snapshot = plan_snapshot(source, limit=None)
    assert snapshot.files == (".amlignore", ".gitignore", "data/keep.txt", "lib/a.py", "score.py")
    snapshot.copy_to(tmp_path / "copy")
    assert (tmp_path / "copy" / "lib" / "a.py").read_text() == "lib/a.py"


def test_snapshot_follows_links_but_not_in_circles(tmp_path):
    source = _tree(tmp_path / "src", "score.py", "lib/a.py")
    (source / "lib" / "round").symlink_to(source)
    (source / "shared").symlink_to(_tree(tmp_path / "other", "s.py"))
    (source / "dangling").symlink_to(tmp_path / "nowhere")
    snapshot = plan_snapshot(source, limit=None)
    assert snapshot.files == ("lib/a.py", "score.py", "shared/s.py")
    snapshot.copy_to(tmp_path / "copy")
    assert not (tmp_path / "copy" / "shared").is_symlink()


def test_snapshot_too_large(tmp_path):
    source = _tree(tmp_path / "src", "score.py")
    (source / "model.bin").write_bytes(b"x" * 2000)
    with pytest.raises(UserError, match=r"largest files are model.bin \(2.0 KB\)(.|\n)*--allow-large-snapshot"):
        plan_snapshot(source, limit=1000)


def test_download(store, make_job, tmp_path):
    make_job("one")
    record = store.get("one")
    _tree(Path(record.logs), "job_result.txt")
    _tree(store.workspace.data_folder("one"), "rows/rows.txt")
    download(record, tmp_path / "a")
    assert (tmp_path / "a/artifacts/logs/job_result.txt").is_file()
    assert not (tmp_path / "a/named-outputs").exists()
    download(record, tmp_path / "b", output_name="rows")
    assert (tmp_path / "b/named-outputs/rows/rows.txt").read_text() == "rows/rows.txt"
    download(record, tmp_path / "c", everything=True)
    download(record, tmp_path / "c", everything=True)
    assert (tmp_path / "c/named-outputs/rows/rows.txt").is_file()
    with pytest.raises(UserError, match=r"no output 'row'(.|\n)*did you mean 'rows'"):
        download(record, tmp_path, output_name="row")


def test_download_again_replaces_links_and_says_in_words_what_hinders(store, make_job, tmp_path):
    make_job("one")
    record = store.get("one")
    logs = _tree(Path(record.logs), "sys/perf/node.csv")
    (logs / "perf").symlink_to("sys/perf")
    for _ in range(2):
        made = download(record, tmp_path / "a")
    assert (tmp_path / "a/artifacts/logs/perf").readlink() == Path("sys/perf")
    assert missing_outputs(record, made, tmp_path / "a") == ["rows"]
    (tmp_path / "b/artifacts/logs/perf").mkdir(parents=True)
    with pytest.raises(UserError, match=r"could not be copied to \S+: \[Errno 17\] File exists: [^()\[]*\n  next: choose another folder$"):
        download(record, tmp_path / "b")


def test_delete_refuses_a_running_job(store, make_job):
    paths = make_job("one", "Running")
    lock = store.take("one")
    with pytest.raises(JobConflict):
        delete_job(store, "one")
    lock.release()
    _tree(store.workspace.data_folder("one"), "logs/a", "rows/rows.txt")
    delete_job(store, "one")
    assert not paths.root.exists()
    assert not store.workspace.data_folder("one").exists()
    assert list(store.workspace.jobs.iterdir()) == []


def test_prune_by_age_and_size(store, make_job):
    make_job("old", created="2026-01-01T00:00:00.000Z")
    make_job("new", created="2026-02-01T00:00:00.000Z")
    make_job("busy", "Running", created="2025-01-01T00:00:00.000Z")
    lock = store.take("busy")
    now = 1_769_904_000 + DAY  # 2026-02-02
    assert [one.name for one in plan_prune(store, keep=10 * DAY, max_size=None, now=now)] == ["old"]
    assert [one.name for one in plan_prune(store, keep=None, max_size=0, now=now)] == ["old", "new"]
    assert plan_prune(store, keep=None, max_size=10**12, now=now) == []
    lock.release()


def test_prune_caches_and_drafts(store, make_job):
    make_job("old", created="2026-01-01T00:00:00.000Z")
    entry = _tree(store.workspace.cache / "environments" / "abc", "x").resolve()
    draft = _tree(store.workspace.drafts / "left", "x")
    for path in (entry, draft):
        os.utime(path, (0, 0))
    chosen = plan_prune(store, keep=DAY, max_size=None, now=time.time())
    assert {(one.kind, one.name) for one in chosen} >= {("cache", "environments/abc"), ("draft", "left")}
    assert list(prune(store, chosen, print)) == chosen
    assert not entry.exists()
    assert not draft.exists()


def test_units():
    from runner.errors import Place

    assert parse_size("50GB", Place()) == 50 * 2**30
    assert parse_size("1.5 kb", Place()) == 1536
    assert parse_age("30d", Place()) == 30 * DAY
    assert (show_size(3), show_size(1536), show_size(3 * 2**40)) == ("3 bytes", "1.5 KB", "3072 GB")
    with pytest.raises(UserError, match="12h, 30d"):
        parse_age("soon", Place())
