"""The files that go into the images: made once, and kept by content in TEST_CACHE or ~/.cache/runner-tests."""

from __future__ import annotations

import fnmatch
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from tests.images.recipes import Debian, Excerpt, Interpreter, Wheels, digest

# Parts of an interpreter that no test runs; site-packages holds what the machine's owner put there.
LEFT_OUT = ("test", "tests", "site-packages", "idlelib", "lib2to3", "tkinter", "turtledemo", "ensurepip")
BULKY = ("usr/share/doc", "usr/share/man", "usr/share/locale")


class CannotBuild(Exception):
    """Says which command failed and how."""


class Lacking(CannotBuild):
    """Says what this machine lacks."""


def cache_folder() -> Path:
    folder = Path(os.environ.get("TEST_CACHE") or Path.home() / ".cache" / "runner-tests")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def call(*words: str) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise Lacking(f"the command {words[0]} on the path") from error
    if done.returncode:
        raise CannotBuild(f"`{' '.join(words)}` failed with {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


def archive(source: Debian | Excerpt | Wheels | Interpreter) -> Path:
    """The source's files as a tar file, from the cache where it has them."""
    path = cache_folder() / f"{type(source).__name__.lower()}-{digest((source, platform.machine()))}.tar"
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=path.parent, prefix="making-") as folder:
            made = Path(folder) / path.name
            MAKERS[type(source)](source, made)
            made.replace(path)
    return path


def debian_mirror() -> list[str]:
    """The machine's own mirror, or nothing, for the default one, where the machine does not run Debian."""
    targets = call("apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(REPO_URI)", "Created-By: Packages")
    return [line.split("|")[2] for line in targets.splitlines() if line.startswith("Debian|Debian|")][:1]


def make_debian(source: Debian, target: Path) -> None:
    # Documentation goes at the end: to keep dpkg from unpacking it takes three times as long.
    tidy = "rm -rf " + " ".join(f'"$1/{folder}"' for folder in BULKY)
    options = ["--variant=essential", "--dpkgopt=force-unsafe-io", f"--customize-hook={tidy}"]
    call("mmdebstrap", *options, f"--include={','.join(source.packages)}", source.suite, str(target), *debian_mirror())


def make_excerpt(source: Excerpt, target: Path) -> None:
    with tarfile.open(archive(source.of)) as whole, tarfile.open(target, "w") as part:
        for member in whole:
            if any(fnmatch.fnmatchcase(member.name.removeprefix("./"), pattern) for pattern in source.patterns):
                part.addfile(member, whole.extractfile(member) if member.isreg() else None)


def make_wheels(source: Wheels, target: Path) -> None:
    machine = platform.machine()
    platforms = [f"--platform=manylinux_2_28_{machine}", f"--platform=manylinux2014_{machine}"]
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        options = [f"--target={folder}", "--no-compile", "--only-binary=:all:", "--quiet", "--disable-pip-version-check"]
        call(sys.executable, "-m", "pip", "install", *options, *platforms, f"--python-version={source.python}", *source.requirements)
        with tarfile.open(target, "w") as tar:
            tar.add(folder, source.folder, filter=lambda member: None if Path(member.name).name == "tests" else of_root(member))


def make_interpreter(source: Interpreter, target: Path) -> None:
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    found = sorted((root / "versions").glob(f"{source.version}.*/bin/python{source.version}"))
    if not found:
        raise Lacking(f"Python {source.version} below {root / 'versions'} (`pyenv install {source.version}`)")
    prefix = found[-1].parent.parent
    with tarfile.open(target, "w") as tar:
        for name in ("bin", "lib"):
            tar.add(prefix / name, f"usr/local/{name}", filter=part_of_interpreter)


def part_of_interpreter(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    path = Path(member.name)
    unwanted = path.name in LEFT_OUT or path.suffix == ".a" or path.name.startswith("config-")
    foreign = path.parent.name == "bin" and not path.name.startswith("python")
    return None if unwanted or foreign else of_root(member)


def of_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Root's, and readable for everybody: a temporary folder is not."""
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    member.mode |= 0o755 if member.isdir() else 0o644
    return member


MAKERS = {Debian: make_debian, Excerpt: make_excerpt, Wheels: make_wheels, Interpreter: make_interpreter}
