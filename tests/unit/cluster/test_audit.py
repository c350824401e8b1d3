from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from runner.cluster import audit as audit_of
from runner.cluster.audit import AuditLog, without_values


def records(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_it_only_grows(tmp_path: Path) -> None:
    log = AuditLog(tmp_path)
    log.write("submit", job="a\nb", user="ä", address=None, note="")
    AuditLog(tmp_path).write("end", job="x")
    first, second = records(tmp_path / "audit.log")
    assert first == {"at": first["at"], "event": "submit", "job": "a\nb", "user": "ä"}
    assert second["event"] == "end"
    assert (tmp_path / "audit.log").stat().st_mode & 0o777 == 0o640


def test_it_follows_when_the_file_is_renamed(tmp_path: Path) -> None:
    log = AuditLog(tmp_path)
    log.write("one")
    (tmp_path / "audit.log").rename(tmp_path / "audit.log.1")
    log.write("two")
    (tmp_path / "audit.log").rename(tmp_path / "audit.log.2")
    (tmp_path / "audit.log").touch(0o600)  # as logrotate's `create` does
    log.write("three")
    assert [one["event"] for name in (".1", ".2", "") for one in records(tmp_path / f"audit.log{name}")] == ["one", "two", "three"]
    assert (tmp_path / "audit.log").stat().st_mode & 0o777 == 0o640


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "audit.log").symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match="symbolic link"):
        AuditLog(tmp_path)


def test_a_full_disk_is_told_before_and_does_not_stop_what_has_happened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, real = AuditLog(tmp_path), os.write
    monkeypatch.setattr(audit_of.os, "write", lambda file, data: real(file, data[:10]))
    with pytest.raises(OSError, match="No space left"):
        log.write("submit", job="a")
    log.note("end", job="a")
    monkeypatch.undo()
    log.write("later")
    assert json.loads((tmp_path / "audit.log").read_text().splitlines()[-1])["event"] == "later"


def test_values_of_variables_are_left_out() -> None:
    words = ["-e", "KEY=secret1", "--env", "NAME", "-eKEY=secret2", "--env=KEY=secret3", "--label", "a=secret4", "--label=b=secret5"]
    words += ["--log-opt", "splunk-token=secret6", "--health-cmd", "curl -u me:secret7", "--health-cmd=secret8", "-lx=secret9"]
    words += ["--mount", "type=bind,source=/a,target=/b", "-v", "/c:/d:ro", "--network=host", "--dns", "https://me:secret10@host/"]
    shown = without_values(words)
    assert "secret" not in " ".join(shown)
    assert shown[:6] == ["-e", "KEY=…", "--env", "NAME", "-eKEY=…", "--env=KEY=…"]
    assert shown[-7:] == ["--mount", "type=bind,source=/a,target=/b", "-v", "/c:/d:ro", "--network=host", "--dns", "https://****@host/"]
