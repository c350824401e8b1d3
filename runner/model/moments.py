"""Moments as texts, the one way: UTC in ISO 8601 with milliseconds."""

from __future__ import annotations

from datetime import datetime, timezone


def utc(at: float) -> str:
    """Seconds since the epoch → `2026-01-31T12:00:00.123Z`."""
    return datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds_of(text: str) -> float:
    """The inverse of `utc`."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
