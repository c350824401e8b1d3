from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from runner.cluster import hosts
from runner.cluster.requests import OwnerRequest, User


def test_a_user_whose_processes_cannot_be_run_gets_to_know_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise PermissionError(13, "Permission denied", "python")

    monkeypatch.setattr(hosts, "start_as", refused)
    monkeypatch.setattr(hosts.adapter, "own_address", lambda: "192.0.2.1")
    monkeypatch.setattr(hosts.OwnerHost, "_awaited", lambda _self: {})
    request = asdict(OwnerRequest(workspace="/w", job="job", host=""))
    host = hosts.OwnerHost({"user": asdict(User(uid=1, gid=1, name="alice")), "request": request})
    assert host.ended(None).startswith("the head cannot run processes of user alice: [Errno 13] Permission denied")
