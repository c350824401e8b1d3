"""Values of flags, each as docker's own command line reads it (docker/cli `opts`, docker/go-units, Go's strconv and time).

A function gives what the Engine API takes, or raises `ValueError` with what is allowed.
"""

from __future__ import annotations

import csv
import glob
import ipaddress
import re
from collections.abc import Callable
from fractions import Fraction

Pair = tuple[str, str]
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(?:([kmgtp])i?)?b?", re.IGNORECASE | re.ASCII)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_DURATION = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_NANOSECONDS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_DOMAIN = re.compile(r"((?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*)\.?\s*")
_MAC = re.compile(r"(?:[0-9a-fA-F]{2}([:-])(?:[0-9a-fA-F]{2}\1){4}[0-9a-fA-F]{2}|(?:[0-9a-fA-F]{4}\.){2}[0-9a-fA-F]{4})")
_RULE = re.compile(r"[acb] (\d+|\*):(\d+|\*) [rwm]{1,3}", re.ASCII)
_ULIMITS = (
    *("core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice"),
    *("nofile", "nproc", "rss", "rtprio", "rttime", "sigpending", "stack"),
)
_SYSCTLS = {f"kernel.{name}" for name in ("msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced")}
_SYSCTLS_ALLOWED = "kernel.msg*, kernel.sem, kernel.shm*, net.*, fs.mqueue.*, each as NAME=VALUE"
INT64 = 2**63


def boolean(value: str) -> bool:
    """As Go's strconv.ParseBool."""
    if value in ("1", "t", "T", "TRUE", "true", "True"):
        return True
    if value in ("0", "f", "F", "FALSE", "false", "False"):
        return False
    raise ValueError("true, false")


def whole(value: str) -> int:
    """As Go's strconv.ParseInt with base 0: `010` is octal."""
    sign, digits = (value[:1], value[1:]) if value[:1] in ("+", "-") else ("", value)
    octal = re.fullmatch("0[0-7]+", digits)
    try:
        number = int(sign + ("0o" + digits[1:] if octal else digits), 0) if re.fullmatch(r"\w+", digits, re.ASCII) else INT64
    except ValueError:
        number = INT64
    if not -INT64 <= number < INT64:
        raise ValueError("a whole number")
    return number


def decimal(value: str) -> int:
    if not re.fullmatch(r"[+-]?\d{1,18}", value, re.ASCII):
        raise ValueError("a whole number")
    return int(value)


def weight(value: str) -> int:
    number = whole(value)
    if not 0 <= number < 2**16:
        raise ValueError("a whole number from 10 to 1000, or 0")
    return number


def swappiness(value: str) -> int:
    number = whole(value)
    if not -1 <= number <= 100:
        raise ValueError("a whole number from 0 to 100, or -1")
    return number


def size(value: str) -> int:
    """Bytes; units are powers of 1024."""
    match = _SIZE.fullmatch(value)
    found = int(float(match[1]) * 1024 ** _POWERS[(match[2] or "").lower()]) if match else INT64
    if found >= INT64:
        raise ValueError("bytes, or a number with a unit: 512m, 2g, 1.5gb")
    return found


def swap_size(value: str) -> int:
    return -1 if value == "-1" else size(value)


def nano_cpus(value: str) -> int:
    try:
        nano = Fraction(value) * 10**9
    except (ValueError, ZeroDivisionError):
        nano = Fraction(1, 2)
    if nano.denominator != 1 or abs(nano) >= INT64:
        raise ValueError("a number of CPUs with at most nine decimals: 2, 0.5")
    return int(nano)


def duration(value: str) -> int:
    """Nanoseconds, as Go's time.ParseDuration; none is negative here."""
    parts = _DURATION.findall(value)
    if value != "0" and (not parts or "".join(map("".join, parts)) != value):
        raise ValueError("a time with units, 0 or more: 30s, 1m30s, 500ms")
    return int(sum(Fraction(number.rstrip(".")) * _NANOSECONDS[unit] for number, unit in parts))


def not_negative(value: str) -> int:
    number = whole(value)
    if number < 0:
        raise ValueError("a whole number, 0 or more")
    return number


def one_of(*known: str, prefix: str = "") -> Callable[[str], str]:
    """A function that lets only the known words pass, and those that begin with `prefix`."""

    def check(value: str) -> str:
        if value in known or (prefix and value.startswith(prefix) and value != prefix):
            return value
        raise ValueError(", ".join([one for one in known if one] + [f"{prefix}NAME"] * bool(prefix)))

    return check


def ip_address(value: str) -> str:
    try:
        return str(ipaddress.ip_address(value.strip()))
    except ValueError:
        raise ValueError("an IP address: 10.0.0.1, 2001:db8::33") from None


def ipv4(value: str) -> str:
    try:
        return str(ipaddress.IPv4Address(value))
    except ValueError:
        raise ValueError("an IPv4 address: 172.30.100.104") from None


def ipv6(value: str) -> str:
    try:
        return str(ipaddress.IPv6Address(value))
    except ValueError:
        raise ValueError("an IPv6 address: 2001:db8::33") from None


def mac_address(value: str) -> str:
    if not _MAC.fullmatch(value.strip()):
        raise ValueError("a MAC address: 92:d0:c6:0a:29:33")
    return value


def domain(value: str) -> str:
    name = value.strip(" ")
    match = _DOMAIN.fullmatch(name)
    if name == ".":
        return name
    if match is None or len(match[1]) >= 255 or not re.search("[a-zA-Z]", name):
        raise ValueError("the name of a domain, or a dot for none")
    return match[1]


def extra_host(value: str) -> str:
    """`host:ip` or `host=ip`; also `host-gateway` in place of an address."""
    name, sign, address = value.partition("=" if "=" in value else ":")
    if not sign or not name:
        raise ValueError("HOST:IP, e.g. db:10.0.0.7")
    if address != "host-gateway":
        if address.startswith("[") and address.endswith("]"):
            address = address[1:-1]
        ip_address(address)
    return f"{name}:{address}"


def key_value(value: str) -> Pair:
    key, sign, rest = value.partition("=")
    if not sign:
        raise ValueError("NAME=VALUE")
    return key, rest


def option(value: str) -> Pair:
    """`NAME=VALUE`, or `NAME` alone for an empty value."""
    key, _, rest = value.partition("=")
    return key, rest


def sysctl(value: str) -> Pair:
    key, sign, rest = value.partition("=")
    if not sign or not (key in _SYSCTLS or key.startswith(("net.", "fs.mqueue."))):
        raise ValueError(_SYSCTLS_ALLOWED)
    return key, rest


def ulimit(value: str) -> dict[str, object]:
    """`NAME=SOFT[:HARD]`; -1 is no limit."""
    allowed = f"NAME=SOFT[:HARD], SOFT not above HARD, of {', '.join(_ULIMITS)}"
    name, _, limits = value.partition("=")
    numbers = [-1 if one == "infinity" else decimal(one) if re.fullmatch(r"[+-]?\d{1,18}", one) else None for one in limits.split(":")]
    soft, hard = numbers[0], numbers[-1]
    if name not in _ULIMITS or soft is None or hard is None or len(numbers) > 2:
        raise ValueError(allowed)
    if hard != -1 and (soft == -1 or soft > hard):
        raise ValueError(allowed)
    return {"Name": name, "Soft": soft, "Hard": hard}


def _device_path(value: str, allowed: str) -> Pair:
    path, sign, rest = value.partition(":")
    if not sign or not path.startswith("/dev/"):
        raise ValueError(allowed)
    return path, rest


def throttled_bytes(value: str) -> dict[str, object]:
    allowed = "/dev/DEVICE:BYTES, with a unit if wanted: /dev/sda:1mb"
    path, rate = _device_path(value, allowed)
    try:
        return {"Path": path, "Rate": size(rate)}
    except ValueError:
        raise ValueError(allowed) from None


def throttled_rate(value: str) -> dict[str, object]:
    allowed = "/dev/DEVICE:OPERATIONS per second: /dev/sda:1000"
    path, rate = _device_path(value, allowed)
    if not re.fullmatch(r"\d{1,18}", rate, re.ASCII):
        raise ValueError(allowed)
    return {"Path": path, "Rate": int(rate)}


def weighted_device(value: str) -> dict[str, object]:
    allowed = "/dev/DEVICE:WEIGHT from 10 to 1000, or 0: /dev/sda:500"
    path, found = _device_path(value, allowed)
    if not re.fullmatch(r"\d{1,4}", found, re.ASCII) or not (10 <= int(found) <= 1000 or int(found) == 0):
        raise ValueError(allowed)
    return {"Path": path, "Weight": int(found)}


def _is_device_mode(value: str) -> bool:
    return bool(value) and set(value) <= set("rwm") and len(set(value)) == len(value)


def devices(value: str) -> list[dict[str, object]]:
    """`HOST[:CONTAINER][:rwm]`; a `*` at the end of HOST stands for all files that match."""
    source, *rest = value.split(":")
    mode = rest.pop() if rest and (len(rest) == 2 or _is_device_mode(rest[-1])) else "rwm"
    target = rest[0] if rest else ""
    if len(rest) > 1 or not _is_device_mode(mode) or not (target or source).startswith("/") or (target and source.endswith("*")):
        raise ValueError("HOST_PATH[:CONTAINER_PATH][:rwm], absolute paths; behind a host path with * no other path")
    sources = sorted(glob.glob(source)) if source.endswith("*") else [source]  # noqa: PTH207
    return [{"PathOnHost": one, "PathInContainer": target or one, "CgroupPermissions": mode} for one in sources]


def device_rule(value: str) -> str:
    if not _RULE.fullmatch(value):
        raise ValueError("TYPE MAJOR:MINOR MODE, e.g. 'c 42:* rmw'")
    return value


def csv_fields(value: str) -> list[str]:
    """The fields of one line of comma-separated values, in which a field may be quoted."""
    try:
        return next(csv.reader([value], strict=True), [])
    except csv.Error:
        raise ValueError("fields with commas between them, quotes around a field as a whole") from None


def gpus(value: str) -> dict[str, object]:
    """`all`, a number, or fields: `device=0`, `"device=0,1"`, `count=2,capabilities=utility`, `driver=nvidia`, `options=…`."""
    allowed = "all, a number, or fields of count, device, capabilities, driver, options: '\"device=0,1\",capabilities=utility'"
    found: dict[str, object] = {}
    for part in csv_fields(value):
        key, sign, rest = part.partition("=")
        key, rest = (key, rest) if sign else ("count", key)
        if key in found or key not in ("count", "device", "capabilities", "driver", "options"):
            raise ValueError(allowed)
        found[key] = _gpu_count(rest, allowed) if key == "count" else rest
    if not found:
        raise ValueError(allowed)
    device, driver, wanted = found.get("device"), found.get("driver"), found.get("capabilities")
    return {
        **({"Driver": driver} if driver else {}),
        "Count": found.get("count", 0 if device is not None else 1),
        "DeviceIDs": None if device is None else str(device).split(","),
        "Capabilities": [["gpu"] if wanted is None else [*str(wanted).split(","), "gpu"]],
        "Options": dict(map(option, csv_fields(str(found["options"])))) if "options" in found else {},
    }


def _gpu_count(value: str, allowed: str) -> int:
    if value == "all":
        return -1
    try:
        return decimal(value)
    except ValueError:
        raise ValueError(allowed) from None
