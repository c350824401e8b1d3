"""`--mount`, `--volume` and `--tmpfs`, as docker's own command line reads them (docker/cli `opts/mount.go`, `compose/loader/volume.go`)."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from pathlib import Path

from runner.launch.docker_draft import Body, Draft, Mount
from runner.launch.docker_values import boolean, csv_fields, size

_PLACES = {"source": "Source", "src": "Source", "target": "Target", "dst": "Target", "destination": "Target"}
_MOUNT = "type=bind|volume|tmpfs,source=…,target=…[,readonly] and the options of bind-*, volume-*, tmpfs-*"
_VOLUME = "[HOST_PATH|NAME:]CONTAINER_PATH[:ro,z,…]"


def normal(path: str) -> str:
    """A path in a container without `.`, `..` and doubled slashes: as text, as the engine does it."""
    return "/" + posixpath.normpath("/" + path).lstrip("/")


def from_here(source: str, directory: Path) -> str:
    """A source that begins with a dot is relative to the job file's folder; cleaned as text, as docker's command line does it."""
    if source.startswith("."):
        return posixpath.normpath(f"{directory}/{source}")
    return source


def volume(draft: Draft, value: str) -> None:
    """`-v`: a source that is a path is mounted from the host, another one is the name of a volume, none is an anonymous volume."""
    parts = value.split(":")
    if not all(parts) or len(parts) > 3 or (len(parts) > 1 and re.fullmatch("[A-Za-z]", parts[0])):
        raise ValueError(_VOLUME)
    if len(parts) == 1:
        draft.mounts.append(Mount(flag="--volume", kind="volume", source="", target=_absolute(value)))
        return
    source = from_here(parts[0], draft.directory)
    kind = "bind" if is_path(source) else "volume"
    options = parts[2] if len(parts) == 3 else ""
    draft.mounts.append(Mount(flag="--volume", kind=kind, source=source, target=_absolute(parts[1]), options=options))


def is_path(source: str) -> bool:
    return "/" in source or source.startswith((".", "~", "\\"))


def tmpfs(draft: Draft, value: str) -> None:
    target, _, options = value.partition(":")
    draft.mounts.append(Mount(flag="--tmpfs", kind="tmpfs", source="", target=_absolute(target), options=options))


def _absolute(target: str) -> str:
    if not target.startswith("/") or normal(target) == "/":
        raise ValueError(f"an absolute path below / in the container; in all: {_VOLUME}")
    return target


def mount(draft: Draft, value: str) -> None:
    """`--mount type=…,source=…,target=…`."""
    entry: Body = {"Type": "volume"}
    for part in csv_fields(value):
        key, sign, found = part.partition("=")
        _field(entry, key, found if sign else None, draft.directory)
    kind, target = str(entry["Type"]), str(entry.get("Target", ""))
    if kind not in ("bind", "volume", "tmpfs"):
        raise ValueError(f"the types bind, volume, tmpfs; in all: {_MOUNT}")
    _absolute(target)
    _check_options(entry, kind)
    draft.mounts.append(Mount(flag="--mount", kind=kind, source=str(entry.get("Source", "")), target=target, value=entry))


def _check_options(entry: Body, kind: str) -> None:
    """Options of one type only, and read-only mounts where an option asks for it."""
    for other in ("bind", "volume", "tmpfs"):
        if other != kind and f"{other.title()}Options" in entry:
            raise ValueError(f"no option {other}-* with the type {kind}")
    options = entry.get("BindOptions")
    recursive = isinstance(options, dict) and options.keys() & {"ReadOnlyNonRecursive", "ReadOnlyForceRecursive"}
    if recursive and not entry.get("ReadOnly"):
        raise ValueError("bind-recursive=writable and bind-recursive=readonly only with readonly")
    if isinstance(options, dict) and options.get("ReadOnlyForceRecursive") and options.get("Propagation") != "rprivate":
        raise ValueError("bind-recursive=readonly only with bind-propagation=rprivate")


def _field(entry: Body, key: str, value: str | None, directory: Path) -> None:
    if value is None and key not in ("readonly", "ro", "volume-nocopy", "bind-nonrecursive"):
        raise ValueError(_MOUNT)
    found = "true" if value is None else value
    if key == "type":
        entry["Type"] = found.lower()
    elif key in _PLACES:
        entry[_PLACES[key]] = from_here(found, directory) if _PLACES[key] == "Source" else found
    elif key in ("readonly", "ro"):
        entry["ReadOnly"] = boolean(found)
    elif key == "consistency":
        entry["Consistency"] = found.lower()
    elif key in _OPTIONS:
        _OPTIONS[key](entry, found)
    else:
        raise ValueError(_MOUNT)


def _options(entry: Body, name: str) -> Body:
    found = entry.setdefault(name, {"Labels": {}, "DriverConfig": {}} if name == "VolumeOptions" else {})
    assert isinstance(found, dict)
    return found


def _put(name: str, key: str, parse: Callable[[str], object] = str) -> Callable[[Body, str], None]:
    def put(entry: Body, value: str) -> None:
        _options(entry, name)[key] = parse(value)

    return put


def _recursive(entry: Body, value: str) -> None:
    fields = {"enabled": "", "disabled": "NonRecursive", "writable": "ReadOnlyNonRecursive", "readonly": "ReadOnlyForceRecursive"}
    if value not in fields:
        raise ValueError("bind-recursive=enabled, disabled, writable or readonly")
    options = _options(entry, "BindOptions")
    if fields[value]:
        options[fields[value]] = True


def _label(entry: Body, value: str) -> None:
    key, _, found = value.partition("=")
    labels = _options(entry, "VolumeOptions")["Labels"]
    assert isinstance(labels, dict)
    if key:
        labels[key] = found


def _driver(entry: Body) -> Body:
    found = _options(entry, "VolumeOptions")["DriverConfig"]
    assert isinstance(found, dict)
    return found


def _driver_name(entry: Body, value: str) -> None:
    _driver(entry)["Name"] = value


def _driver_option(entry: Body, value: str) -> None:
    key, _, found = value.partition("=")
    options = _driver(entry).setdefault("Options", {})
    assert isinstance(options, dict)
    if key:
        options[key] = found


def _mode(value: str) -> int:
    if not re.fullmatch("[0-7]{1,10}", value):
        raise ValueError("tmpfs-mode=OCTAL, e.g. 1770")
    return int(value, 8)


_OPTIONS: dict[str, Callable[[Body, str], None]] = {
    "bind-propagation": _put("BindOptions", "Propagation", str.lower),
    "bind-nonrecursive": _put("BindOptions", "NonRecursive", boolean),
    "bind-recursive": _recursive,
    "volume-nocopy": _put("VolumeOptions", "NoCopy", boolean),
    "volume-label": _label,
    "volume-driver": _driver_name,
    "volume-opt": _driver_option,
    "volume-subpath": _put("VolumeOptions", "Subpath"),
    "tmpfs-size": _put("TmpfsOptions", "SizeBytes", size),
    "tmpfs-mode": _put("TmpfsOptions", "Mode", _mode),
}
