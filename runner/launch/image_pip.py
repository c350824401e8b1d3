"""The pip that is brought into images: the wheel that comes with this machine's Python."""

from __future__ import annotations

import importlib.util
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path

from runner.launch.pythons import satisfies

DEBIAN = "/usr/share/python-wheels"  # where Debian keeps what ensurepip has elsewhere


def pip_wheel(version: tuple[int, int, int]) -> Path | None:
    """The newest wheel that works in this version of Python; None when the image's own pip has to do."""
    fitting = [path for path in wheels() if fits(path, version)]
    return max(fitting, key=lambda path: _release(path.name), default=None)


def wheels() -> Iterator[Path]:
    folders = [sysconfig.get_config_var("WHEEL_PKG_DIR"), DEBIAN]
    found = importlib.util.find_spec("ensurepip")
    if found is not None and found.origin:
        folders.append(str(Path(found.origin).with_name("_bundled")))
    for folder in folders:
        if folder:
            yield from sorted(Path(folder).glob("pip-*.whl"))


def fits(wheel: Path, version: tuple[int, int, int]) -> bool:
    """By what the wheel says itself."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
            head = archive.read(name).decode("utf-8", "replace").partition("\n\n")[0]
    except (OSError, zipfile.BadZipFile, StopIteration):
        return False
    wanted = [line.partition(":")[2].replace(" ", "") for line in head.splitlines() if line.startswith("Requires-Python:")]
    return all(satisfies(version, clauses) for clauses in wanted)


def _release(name: str) -> tuple[int, ...]:
    return tuple(int(part) for part in name.split("-")[1].split(".") if part.isdigit())
