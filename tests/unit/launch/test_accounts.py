"""Accounts in images that know nothing of the submitter."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.errors import UserError
from runner.launch.accounts import HOME, Account, account_files, account_of, submitter
from runner.model.docker import BindMount

PASSWD = "root:x:0:0:root:/root:/bin/bash\n# a comment\napp:x:1234:50:an app:/app:/bin/sh\nbroken\nnobody:x:65534:65534::/:/bin/false"
GROUP = "root:x:0:\nstaff:x:50:app\n"


@pytest.mark.parametrize(
    ("user", "uid", "gid", "name"),
    [
        ("app", 1234, 50, "app"),
        ("1234", 1234, 50, "app"),
        ("app:root", 1234, 0, "app"),
        ("app:7", 1234, 7, "app"),
        ("0", 0, 0, "root"),
        ("999", 999, 0, "runner"),  # unknown numbers are good, as docker has it: their group is 0
        ("999:staff", 999, 50, "runner"),
    ],
)
def test_what_user_means(user: str, uid: int, gid: int, name: str) -> None:
    assert account_of(user, PASSWD, GROUP) == Account(uid=uid, gid=gid, name=name)


@pytest.mark.parametrize(("user", "says"), [("ap", "no user 'ap'"), ("app:staf", "no group 'staf'"), ("", "no user ''")])
def test_names_that_the_image_lacks(user: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        account_of(user, PASSWD, GROUP)


def test_entries_are_added_where_there_are_none(tmp_path: Path) -> None:
    account = Account(uid=2000, gid=2001, name="ann")
    mounts = account_files(account, PASSWD, GROUP, folder=tmp_path)
    assert mounts == tuple(BindMount(source=str(tmp_path / name), target=f"/etc/{name}") for name in ("passwd", "group"))
    assert (tmp_path / "passwd").read_text() == f"{PASSWD}\nann:x:2000:2001::{HOME}:/bin/sh\n"
    assert (tmp_path / "group").read_text() == f"{GROUP}ann:x:2001:\n"


def test_a_name_that_is_somebody_elses_there(tmp_path: Path) -> None:
    account_files(Account(uid=2000, gid=50, name="app"), PASSWD, GROUP, folder=tmp_path)
    assert "runner:x:2000:50:" in (tmp_path / "passwd").read_text()
    assert not (tmp_path / "group").exists()  # the group is there


def test_nothing_is_added_twice(tmp_path: Path) -> None:
    assert account_files(Account(uid=0, gid=0, name="root"), PASSWD, GROUP, folder=tmp_path) == ()


def test_an_image_without_such_files(tmp_path: Path) -> None:
    account_files(Account(uid=7, gid=8, name="ann"), "", "", folder=tmp_path)
    assert (tmp_path / "passwd").read_text() == f"ann:x:7:8::{HOME}:/bin/sh\n"


def test_the_submitter() -> None:
    assert str(submitter()) == f"{os.getuid()}:{os.getgid()}"
    assert str(submitter(as_root=True)) == "0:0"
    assert submitter().variables["HOME"] == HOME
