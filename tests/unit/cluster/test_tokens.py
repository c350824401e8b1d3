from __future__ import annotations

import re

import pytest

from runner.cluster.tokens import check_token, make_token
from runner.errors import UserError


def test_a_missing_token_is_made_and_then_kept(tmp_path):
    file = tmp_path / "etc" / "node.token"
    assert make_token(file, 0o600, "--node-token-file")
    first = file.read_text()
    assert re.fullmatch(r"[0-9a-f]{64}\n", first)
    assert file.stat().st_mode & 0o777 == 0o600
    assert not make_token(file, 0o600, "--node-token-file")
    assert file.read_text() == first
    assert [path.name for path in file.parent.iterdir()] == ["node.token"]


def test_the_submit_token_is_for_its_group_too(tmp_path):
    make_token(tmp_path / "submit.token", 0o640, "--submit-token-file")
    assert (tmp_path / "submit.token").stat().st_mode & 0o777 == 0o640


def test_where_nothing_can_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be made"):
        make_token(tmp_path / "file" / "node.token", 0o600, "--node-token-file")


def test_a_missing_token(tmp_path):
    with pytest.raises(UserError, match="there is no token") as error:
        check_token(tmp_path / "node.token", "--node-token-file")
    assert "copy the file" in error.value.todo


@pytest.mark.parametrize("text", ["", "short", "a" * 31, "a" * 20 + " " + "b" * 20])
def test_a_file_that_holds_no_token(tmp_path, text):
    (tmp_path / "node.token").write_text(text)
    with pytest.raises(UserError, match="holds no token"):
        check_token(tmp_path / "node.token", "--node-token-file")


def test_a_node_token_that_others_may_read(tmp_path):
    file = tmp_path / "node.token"
    file.write_text("a" * 64)
    file.chmod(0o644)
    with pytest.raises(UserError, match="others than its owner") as error:
        check_token(file, "--node-token-file")
    assert error.value.todo == f"chmod 600 {file}"
    check_token(file, "--submit-token-file")
