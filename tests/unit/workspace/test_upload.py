from __future__ import annotations

import os
import shutil

import pytest

from runner.errors import UserError
from runner.model.job import Environment, JobInput, Step
from runner.storage.stores import Stores
from runner.workspace import upload
from runner.workspace.config import Workspace
from runner.workspace.jobs import JobStore
from runner.workspace.prune import plan_prune
from runner.workspace.settings import Settings


@pytest.fixture
def workspace(tmp_path):
    (tmp_path / "data").mkdir()
    settings = Settings(
        datastores={"data": tmp_path / "data"}, shared=frozenset({"data"}), default_datastore="data", free_space_floor=1 << 20
    )
    made = Workspace(root=tmp_path, settings=settings)
    made.make()
    return made


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    (folder / "sub" / ".hidden").write_text("b")
    return folder


def _job(path, **fields):
    return Step(name="j", inputs={"data": JobInput(type="uri_folder", path=str(path))}, **fields)


def _place(workspace, path, said=None):
    return upload.place_inputs(_job(path), workspace, (said if said is not None else []).append).get(str(path))


def test_the_content_decides(workspace, source, tmp_path):
    first = _place(workspace, source)
    assert sorted(os.listdir(first)) == ["a.txt", "sub"]
    os.utime(source / "a.txt", (1, 1))
    assert _place(workspace, source) == first
    shutil.copytree(source, tmp_path / "elsewhere" / "in")
    assert _place(workspace, tmp_path / "elsewhere" / "in") == first
    (source / "a.txt").rename(source / "b.txt")
    assert _place(workspace, source) != first
    assert _place(workspace, source / "b.txt").endswith("/b.txt")
    assert not [name for name in os.listdir(workspace.uploads) if name.startswith(".")]


def test_names_and_contents_cannot_be_mistaken_for_one_another(workspace, tmp_path):
    for number, files in enumerate([{"a": "1b", "c": ""}, {"a": "1", "bc": ""}, {"a": "", "1bc": ""}]):
        for name, text in files.items():
            (tmp_path / str(number) / "in").mkdir(parents=True, exist_ok=True)
            (tmp_path / str(number) / "in" / name).write_text(text)
    assert len({_place(workspace, tmp_path / str(number) / "in") for number in range(3)}) == 3


def test_links_are_followed_and_circles_are_not(workspace, source, tmp_path):
    (tmp_path / "more.txt").write_text("m")
    (source / "link").symlink_to(tmp_path / "more.txt")
    (source / "round").symlink_to(source)
    placed = _place(workspace, source)
    assert os.path.exists(os.path.join(placed, "link"))
    assert not os.path.islink(os.path.join(placed, "link"))
    assert not os.path.exists(os.path.join(placed, "round", "round"))


def test_a_killed_copy_leaves_nothing_half(workspace, source, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(upload.shutil, "copystat", killed)
    with pytest.raises(KeyboardInterrupt):
        _place(workspace, source)
    assert os.listdir(workspace.uploads) == []
    left = workspace.uploads / ".abc.def"
    left.mkdir()
    os.utime(left, (1, 1))
    monkeypatch.undo()
    assert _place(workspace, source)
    assert not left.exists()


def test_what_changes_meanwhile_is_found(workspace, source, monkeypatch):
    place = upload._check_room

    def change(*arguments):
        (source / "a.txt").write_text("changed")
        place(*arguments)

    monkeypatch.setattr(upload, "_check_room", change)
    with pytest.raises(UserError, match="changed while it was copied"):
        _place(workspace, source)
    assert os.listdir(workspace.uploads) == []


def test_another_users_copy_is_not_trusted(workspace, source, monkeypatch):
    first = _place(workspace, source)
    monkeypatch.setattr(upload.os, "geteuid", lambda: 4711)
    second = _place(workspace, source)
    assert "-4711/" in second
    assert second != first


def test_no_room(workspace, source, monkeypatch):
    usage = shutil.disk_usage(workspace.uploads)
    monkeypatch.setattr(upload.shutil, "disk_usage", lambda _path: usage._replace(free=1000))
    with pytest.raises(UserError, match=r"`inputs\.data`: the input 'data' has 2 bytes, and only 1000 bytes are free"):
        _place(workspace, source)


def test_large_ones_are_told_of(workspace, source, monkeypatch):
    monkeypatch.setattr(upload, "LARGE", 1)
    monkeypatch.setattr(upload, "_TOLD", 1)
    monkeypatch.setattr(upload, "_EVERY", 0.0)
    said = []
    _place(workspace, source, said)
    assert any("put it into a shared datastore" in text for text in said)
    assert any(text.startswith("copying the input 'data'") and text.endswith("2 bytes of 2 bytes") for text in said)


def test_prune_removes_what_no_job_names(workspace, source):
    placed = _place(workspace, source)
    entry = os.path.dirname(placed)
    store = JobStore(workspace)
    os.utime(entry, (1, 1))
    with store.draft("one") as (draft, lock):
        draft.spec.write_text(f'{{"path": "{placed}"}}')
        draft.record.write_text('{"name": "one", "type": "parallel", "status": "Completed"}')
        store.publish(draft, "one")
    lock.release()
    names = [one.name for one in plan_prune(store, keep=3600, max_size=None)]
    assert names == []
    workspace.job_paths("one").spec.write_text("{}")
    assert [one.name for one in plan_prune(store, keep=3600, max_size=None)] == [f"LocalUpload/{os.path.basename(entry)}"]
    _place(workspace, source)
    assert plan_prune(store, keep=3600, max_size=None) == []


@pytest.mark.parametrize("line", ["-r more.txt", "--constraint=c.txt", "./wheel.whl", "-e ."])
def test_conda_files_that_name_local_files(workspace, source, tmp_path, line):
    conda = {"dependencies": ["python=3.10", {"pip": ["pandas", line]}]}
    job = _job(source, environment=Environment(conda=conda, conda_path=str(tmp_path / "conda.yml")))
    with pytest.raises(UserError, match=r"conda.yml `dependencies`: '.*' in the conda file names a file of this machine"):
        upload.check_reachable(job, workspace, Stores())
    upload.check_reachable(
        _job(source, environment=Environment(conda=conda, conda_path=str(tmp_path / "data/conda.yml"))), workspace, Stores()
    )
