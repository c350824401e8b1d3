"""The search for secrets finds them however they are written."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest

from tests.canary import search, spellings

SECRET = "Zm9v/YmFy+canary=="


@pytest.mark.parametrize(
    "text",
    [
        f"key: {SECRET}",
        quote(SECRET, safe=""),
        quote(SECRET, safe="").replace("%2B", "%2b").replace("%2F", "%2f").replace("%3D", "%3d"),
        *(base64.b64encode(f"{before}AccountKey={SECRET};x".encode()).decode() for before in ("", "a", "ab")),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
        base64.b64encode(f"sig={quote(SECRET, safe='')}".encode()).decode(),
    ],
)
def test_found(text: str) -> None:
    assert search(SECRET, [("here", text.encode())]) == ["here"]


def test_nothing_else_is_found() -> None:
    assert search(SECRET, [("here", b"Zm9v YmFy canary"), ("there", base64.b64encode(b"AccountKey=other"))]) == []
    assert all(len(one) >= 12 for one in spellings(SECRET))
