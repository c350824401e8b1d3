"""The Python interpreters of this machine: the running one, `pythonX.Y` on the path, and those of pyenv."""

from __future__ import annotations

import operator
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from runner.errors import UserError

OLDEST = (3, 7)  # that the worker runs in
NEWEST_MINOR = 25  # how far up the path is searched
PROBE = "import sys; print('%d.%d.%d' % sys.version_info[:3])"
PROBE_SECONDS = 20
COMPARE = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}


@dataclass(frozen=True, kw_only=True)
class Interpreter:
    path: str
    version: tuple[int, int, int]

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.version))} ({self.path})"


def running() -> Interpreter:
    return Interpreter(path=sys.executable, version=sys.version_info[:3])


def probe(path: str) -> Interpreter | None:
    """The interpreter at `path`; None when it does not run, as a pyenv shim on the path may not."""
    try:
        done = subprocess.run([path, "-I", "-S", "-c", PROBE], capture_output=True, text=True, timeout=PROBE_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", done.stdout.strip())
    if done.returncode or not version:
        return None
    return Interpreter(path=path, version=(int(version[1]), int(version[2]), int(version[3])))


def named(name: str) -> Interpreter:
    """The interpreter of `--python`: a path, a command, or a version such as `3.8`. `UserError` unless it runs and is new enough."""
    if re.fullmatch(r"3(\.\d+){1,2}", name):
        clause = f"=={name}" if name.count(".") == 2 else f"=={name}.*"
        found = next((each for each in candidates(clause) if satisfies(each.version, clause)), None)
    else:
        path = shutil.which(str(Path(name).expanduser()))
        found = probe(os.path.abspath(path)) if path else None  # noqa: PTH100 (a venv's python is a link that must not be followed)
    if found is None:
        raise UserError(f"--python: `{name}` is no Python that runs on this machine", todo="name the path of an interpreter")
    if found.version < OLDEST:
        raise UserError(f"--python: {found} is too old", allowed="Python 3.7 or newer")
    return found


def choose(clauses: str | None) -> Interpreter:
    """The interpreter for the version clauses of a conda file, such as `==3.8.*`.

    The running one where it fits. For `==3.8.5` another 3.8 will do when there is no 3.8.5. `UserError` that lists those found
    when none fits.
    """
    own = running()
    if clauses is None or satisfies(own.version, clauses):
        return own
    found = list(candidates(clauses))
    for wanted in dict.fromkeys((clauses, any_micro(clauses))):
        fitting = [each for each in found if each.version >= OLDEST and satisfies(each.version, wanted)]
        if fitting:
            return max(fitting, key=lambda each: each.version)
        if wanted != clauses and satisfies(own.version, wanted):
            return own
    raise nothing_fits(clauses)


def nothing_fits(clauses: str) -> UserError:
    if not any(satisfies((3, minor, micro), any_micro(clauses)) for minor in range(OLDEST[1], 100) for micro in (0, 9)):
        return UserError(f"the conda file asks for python{clauses}, which is too old for a worker", allowed="Python 3.7 or newer")
    there = sorted({each.version: each for each in (running(), *candidates(None))}.values(), key=lambda each: each.version)
    return UserError(
        f"the conda file asks for python{clauses}, and this machine has none",
        allowed="found are " + ", ".join(str(each) for each in there if each.version >= OLDEST),
        todo="install that Python (pyenv's are found), or name an interpreter that has the packages with --python",
    )


def candidates(clauses: str | None) -> Iterator[Interpreter]:
    """The interpreters of the path and of pyenv whose minor version can satisfy the clauses (None: all)."""
    wanted = any_micro(clauses) if clauses else ">=3"
    minors = [minor for minor in range(NEWEST_MINOR, -1, -1) if any(satisfies((3, minor, micro), wanted) for micro in (0, 99))]
    seen: set[str] = set()
    for path in paths_of(minors):
        real = str(Path(path).resolve())
        if real not in seen and (found := probe(path)) is not None:
            seen.add(real)
            yield found


def paths_of(minors: Iterable[int]) -> Iterator[str]:
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for minor in minors:
        for folder in os.get_exec_path():
            path = os.path.join(folder, f"python3.{minor}")
            if os.access(path, os.X_OK):
                yield path
        if os.access(pyenv, os.R_OK | os.X_OK):  # it may be another user's
            yield from (str(path) for path in sorted(pyenv.glob(f"3.{minor}.*/bin/python3"), reverse=True))


def any_micro(clauses: str) -> str:
    """`==3.8.5` → `==3.8.*`; other clauses stay."""
    return ",".join(re.sub(r"^==(\d+\.\d+)\.\d+(\.\*)?$", r"==\1.*", clause) for clause in clauses.split(","))


def satisfies(version: tuple[int, int, int], clauses: str) -> bool:
    """Whether a version meets comma-separated clauses of PEP 440 on its release numbers."""
    return all(satisfies_one(version, clause) for clause in clauses.split(","))


def satisfies_one(version: tuple[int, int, int], clause: str) -> bool:
    match = re.fullmatch(r"(==|!=|>=|<=|~=|>|<)(\d+(?:\.\d+){0,2})(\.\*)?", clause)
    if not match:
        raise UserError(f"the conda file asks for python{clause}, which is no version", allowed="`python=3.10`, `python>=3.8,<3.12`")
    comparison, numbers = match[1], tuple(int(number) for number in match[2].split("."))
    # conda users write `python==3.8` for any 3.8, and there is no 3.8 without a third number but 3.8.0.
    head = version[: len(numbers)]
    if comparison in ("==", "!="):
        return (head == numbers) is (comparison == "==")
    if comparison == "~=":
        return version >= numbers and version[: max(1, len(numbers) - 1)] == numbers[:-1]
    if comparison in (">", "<="):
        return bool(COMPARE[comparison](version, numbers + (0,) * (3 - len(numbers))))
    return bool(COMPARE[comparison](version, numbers))
