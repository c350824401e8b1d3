"""Texts of table cells as values: what counts as a whole number, a truth value or a moment. The rules were measured with mltable.

Plain Python, one value at a time; `types.py` does the same for whole columns.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, timezone
from typing import Literal

from runner.worker.delimited import FALSE, TRUE

INT = re.compile(r"\s*[+-]?\d+\s*\Z", re.ASCII)
FLOAT = re.compile(r"\s*[+-]?(?:\d+\.?\d*(?:e[+-]?\d+)?|\.\d+(?:e[+-]?\d+)?|inf|infinity|nan)\s*\Z", re.ASCII | re.IGNORECASE)
INT64 = range(-(2**63), 2**63)
MOMENTS = range(-(2**63) + 1, 2**63)  # nanoseconds since 1970 that a timestamp can hold; the least stands for "none"

Order = Literal["", "mdy", "dmy"]  # of dates such as 3/4/2020

_MONTHS = {name: number for number, name in enumerate(("jan feb mar apr may jun jul aug sep oct nov dec").split(), 1)}  # noqa: SIM905
_ISO = re.compile(
    r"\s*(\d{4})([-/])(\d{1,2})\2(\d{1,2})(?:[T ](\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,9}))?\s*(Z|UTC|[+-]\d{2}:?\d{2})?)?\Z", re.ASCII
)
_NAMED = re.compile(r"\s*(\d{1,2})([-/])([a-z]{3})\2(\d{4}|\d{2})\Z", re.ASCII | re.IGNORECASE)
_SLASHED = re.compile(
    r"\s*(\d{1,2})([-/])(\d{1,2})\2(\d{4}|\d{2})(?: (\d{1,2}):(\d{2})(?::(\d{2}))?(?: ?([ap]m))?)?\Z", re.ASCII | re.IGNORECASE
)
_EPOCH = date(1970, 1, 1).toordinal()


def is_int(text: str) -> bool:
    # Python refuses to parse thousands of digits.
    return INT.match(text) is not None and len(text.strip().lstrip("+-0")) <= 19 and int(text.strip()) in INT64


def is_truth(text: str) -> bool:
    return text.strip().lower() in (*TRUE, *FALSE)


def slash_order(text: str) -> Order | None:
    """Which part of a date such as 13/1/2020 must be the day; "" if it could be either, None for all other texts."""
    match = _SLASHED.match(text)
    if not match:
        return None
    first, second = int(match[1]), int(match[3])
    return "dmy" if first > 12 else "mdy" if second > 12 else ""


def moment(text: str, order: Order) -> int | None:
    """Nanoseconds since 1970 (UTC), or None if the text is no date, or is none that a 64-bit timestamp can hold."""
    try:
        value = _parse(text, order)
    except ValueError:
        return None
    return value if value is not None and value in MOMENTS else None


def _parse(text: str, order: Order) -> int | None:
    if match := _ISO.match(text):
        year, _, month, day, hour, minute, second, fraction, zone = match.groups()
        clock = (int(hour or 0), int(minute or 0), int(second or 0))
        return _nanoseconds(int(year), int(month), int(day), clock, fraction or "") - _offset(zone)
    if match := _NAMED.match(text):
        number = _MONTHS.get(match[3].lower())
        return None if number is None else _nanoseconds(_year(match[4]), number, int(match[1]), (0, 0, 0), "")
    if match := _SLASHED.match(text):
        first, _, second, written, hour, minute, seconds, half = match.groups()
        at = slash_order(text) or order
        if not at:
            return None
        month, day = (first, second) if at == "mdy" else (second, first)
        return _nanoseconds(_year(written), int(month), int(day), (_hour(hour, half), int(minute or 0), int(seconds or 0)), "")
    return None


def _year(text: str) -> int:
    """Two digits: 70 to 99 are of the last century."""
    year = int(text)
    return year if len(text) == 4 else year + (1900 if year >= 70 else 2000)


def _hour(text: str | None, half: str | None) -> int:
    hour = int(text or 0)
    if not half:
        return hour
    if not 1 <= hour <= 12:
        raise ValueError("hour of AM or PM")
    return hour % 12 + (12 if half.lower() == "pm" else 0)


def _offset(zone: str | None) -> int:
    if not zone or zone in ("Z", "UTC"):
        return 0
    minutes = int(zone[1:3]) * 60 + int(zone[-2:])
    return (minutes if zone[0] == "+" else -minutes) * 60 * 10**9


def _nanoseconds(year: int, month: int, day: int, clock: tuple[int, int, int], fraction: str) -> int:
    hour, minute, second = clock
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError("time of day")
    seconds = (date(year, month, day).toordinal() - _EPOCH) * 86400 + hour * 3600 + minute * 60 + second
    return seconds * 10**9 + int(fraction.ljust(9, "0") or 0)


def formatted_moment(text: str, formats: tuple[str, ...]) -> int | None:
    """The moment by the first strptime format that fits; moments with an offset are turned to UTC."""
    for pattern in formats:
        try:
            value = datetime.strptime(text.strip(), pattern)
        except ValueError:
            continue
        zone = value.utcoffset() or timedelta()
        delta = value.replace(tzinfo=timezone.utc) - zone - datetime(1970, 1, 1, tzinfo=timezone.utc)
        nanoseconds = (delta.days * 86400 + delta.seconds) * 10**9 + delta.microseconds * 1000
        return nanoseconds if nanoseconds in MOMENTS else None
    return None
