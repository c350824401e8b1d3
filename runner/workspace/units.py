"""Sizes and ages as people write them: `50GB`, `30d`."""

from __future__ import annotations

import re

from runner.errors import Place, UserError

_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgt]?)i?b?", re.IGNORECASE)
_AGE = re.compile(r"(\d+(?:\.\d+)?) ?([smhdw])", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def parse_size(text: str, place: Place) -> int:
    """Bytes; units are powers of 1024."""
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise UserError(f"{text!r} is not a size", place=place, allowed="a number and a unit: 500MB, 50GB")
    return int(float(match[1]) * 1024 ** _POWERS[match[2].lower()])


def parse_age(text: str, place: Place) -> float:
    """Seconds."""
    match = _AGE.fullmatch(text.strip())
    if not match:
        raise UserError(f"{text!r} is not a length of time", place=place, allowed="a number and a unit: 12h, 30d, 4w")
    return float(match[1]) * _SECONDS[match[2].lower()]


def show_size(size: float) -> str:
    """`1.5 GB`; powers of 1024."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if size < 1024 or unit == "GB":
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "bytes" or size >= 100 else f"{size:.1f} {unit}"
