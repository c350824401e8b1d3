"""A conda file → the Python version it asks for and the lines of a requirements file.

Syntax of the dependencies: conda's match specifications (`numpy`, `numpy=1.2`, `numpy==1.2.0=py38_0`, `numpy>=1.2,<2`,
`conda-forge::numpy 1.2.*`). Lines below `pip:` are lines of a requirements file, as they are for conda itself.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.errors import Place, UserError, UserErrors
from runner.launch.conda_names import LEFT_OUT, PYPI_NAMES, PYTHON_PACKAGES_NAMED_LIB, REFUSED, REFUSED_PREFIXES

KNOWN_KEYS = ("name", "channels", "dependencies", "prefix", "variables")
SPEC = re.compile(r"(?:[^\s:]+::)?(?P<name>[A-Za-z0-9_][A-Za-z0-9_.\-]*)\s*(?P<rest>.*)", re.DOTALL)
CLAUSE = re.compile(r"(?P<operator>==|>=|<=|!=|~=|=|>|<)?\s*(?P<version>[A-Za-z0-9_.*+!\-]+)")
# Options of a requirements file that name a file, which stands relative to the conda file.
FILE_OPTIONS = ("-r", "--requirement", "-c", "--constraint", "-e", "--editable")


class NeedsConda(UserError):
    """Something that conda can do and pip cannot: no mistake where there is a conda."""


@dataclass(frozen=True, kw_only=True)
class CondaNeeds:
    """What a conda file asks for, in pip's words."""

    python: str | None = None  # comma-separated clauses such as "==3.8.*" or ">=3.8,<3.11"; None: any
    packages: tuple[str, ...] = ()  # of conda, in pip's words
    pip: tuple[str, ...] = ()  # the lines below `pip:`
    files: tuple[str, ...] = ()  # absolute paths that these lines name: their content counts too
    notices: tuple[str, ...] = ()  # what the file says and is not followed

    @property
    def requirements(self) -> tuple[str, ...]:
        """The lines of a requirements file."""
        return self.packages + self.pip


def read_conda(conda: Mapping[str, object], path: str | None) -> CondaNeeds:
    """Reads a parsed conda file that came from `path`; None: it stood in the job file itself.

    Raises `UserError` (several at once as `UserErrors`) for what has no meaning in a virtual environment.
    """
    place = Place(file=path)
    dependencies = conda.get("dependencies") or []
    if not isinstance(dependencies, Sequence) or isinstance(dependencies, str):
        raise UserError("`dependencies` of the conda file is no list", place=place, allowed="a list of packages, such as `- numpy=1.26`")
    reader = Reader(path)
    errors: list[UserError] = []
    for entry in dependencies:
        try:
            reader.read(entry)
        except UserError as error:
            errors.append(type(error)(error.problem, place=place, allowed=error.allowed, todo=error.todo))
    if errors:
        raise errors[0] if len(errors) == 1 else UserErrors(errors)
    return CondaNeeds(
        python=reader.python,
        packages=tuple(reader.packages),
        pip=tuple(reader.pip),
        files=tuple(reader.files),
        notices=(*file_notices(conda), *reader.notices),
    )


class Reader:
    """Gathers the dependencies of one conda file."""

    def __init__(self, path: str | None) -> None:
        self.path = path
        self.python: str | None = None
        self.packages: list[str] = []
        self.pip: list[str] = []
        self.files: list[str] = []
        self.notices: list[str] = []

    def read(self, entry: object) -> None:
        if isinstance(entry, str):
            self.read_package(entry)
        elif isinstance(entry, Mapping) and set(entry) == {"pip"}:
            for line in entry["pip"] or []:
                text, named = absolute_line(str(line), self.path)
                self.pip.append(text)
                self.files += named
        else:
            raise UserError(f"no dependency: {entry!r}", allowed="a package such as `numpy=1.26`, or `pip:` with a list")

    def read_package(self, entry: str) -> None:
        name, versions, build = split_spec(entry)
        if name == "python":
            self.python = versions or None
        elif name in LEFT_OUT:
            if versions:
                self.notices.append(f"conda file: `{entry}` is left out: a virtual environment brings it or needs none")
        else:
            self.packages.append(pypi_name(name, entry) + versions)
            if build:
                self.notices.append(f"conda file: the build {build!r} of `{entry}` has no meaning on PyPI and is left out")


def file_notices(conda: Mapping[str, object]) -> list[str]:
    notices = []
    channels = conda.get("channels")
    if isinstance(channels, Sequence) and not isinstance(channels, str):
        others = [str(channel) for channel in channels if channel not in ("defaults", "nodefaults")]
        if others:
            notices.append(f"conda file: channels ({', '.join(others)}) are not asked: packages come from PyPI")
    if conda.get("variables"):
        notices.append("conda file: `variables` are not set; use `environment_variables` of the job")
    notices += [f"conda file: `{key}` has no effect" for key in conda if key not in KNOWN_KEYS]
    return notices


def normal_name(name: str) -> str:
    """PyPI's normal form of a name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pypi_name(name: str, entry: str) -> str:
    """PyPI's name of the conda package with this normal name; `UserError` where PyPI has none."""
    todo = REFUSED.get(name)
    if todo is None and name not in PYTHON_PACKAGES_NAMED_LIB and name not in PYPI_NAMES:
        todo = next((todo for prefix, todo in REFUSED_PREFIXES.items() if name.startswith(prefix)), None)
    if todo is None and name.startswith("-"):
        todo = "leave it out: it only steers conda's choice of packages"
    if todo is not None:
        raise NeedsConda(f"conda package `{entry}` is no Python package of PyPI", todo=todo)
    return PYPI_NAMES.get(name, name)


def split_spec(entry: str) -> tuple[str, str, str]:
    """(normal name, pip's version clauses, the build that is dropped) of a match specification."""
    match = SPEC.fullmatch(entry.strip())
    if not match:
        raise UserError(f"no conda package: `{entry}`", allowed="a name and a version, such as `numpy=1.26`")
    name, rest = normal_name(match["name"]), match["rest"].strip()
    if bracket := re.fullmatch(r"\[(.*)\]", rest):
        fields = dict(re.findall(r"(\w+)\s*=\s*['\"]?([^'\"]*)['\"]?\s*(?:,|$)", bracket[1]))
        if not fields or not fields.keys() <= {"version", "build", "channel", "subdir"}:
            raise UserError(f"conda package `{entry}`: conda has no such field", allowed="version, build", todo="write extras below `pip:`")
        rest, build = fields.get("version", ""), fields.get("build", "")
    else:
        rest, build = split_build(rest)
    return name, version_clauses(rest, entry), "" if build == "*" else build


def split_build(rest: str) -> tuple[str, str]:
    """`=1.2=py38_0`, `==1.2=py38_0` or `1.2 py38_0` → version part and build."""
    if match := re.fullmatch(r"(==?)\s*([^=<>!~,|\s]+)(?:=|\s+)([^=,|\s]+)", rest):
        # A build pins the version too: `=1.2=build` is exact.
        return f"=={match[2]}", match[3]
    if match := re.fullmatch(r"([\w.*+!]+)\s+([\w.*]+)", rest):
        return match[1], match[2]
    return rest, ""


def version_clauses(text: str, entry: str) -> str:
    """conda's `=1.2` → pip's `==1.2.*`; `1.2` → `==1.2`; comparisons stay; `*` → nothing."""
    if not text or text in ("*", "=*"):
        return ""
    if "|" in text:
        raise NeedsConda(f"conda package `{entry}`: pip has no `|` (or) between versions", todo="name one range, such as `>=1.2,<2`")
    clauses = []
    for part in text.split(","):
        match = CLAUSE.fullmatch(part.strip())
        if not match:
            raise UserError(f"conda package `{entry}`: no version: `{part}`", allowed="`=1.2`, `==1.2.0`, `>=1.2`, `<2`, `!=1.3`, `~=1.2`")
        operator, version = match["operator"] or "==", match["version"]
        if operator == "=":
            operator, version = "==", version if version.endswith("*") else f"{version}.*"
        if version.endswith("*") and not version.endswith(".*"):
            version = version[:-1] + ".*"
        if operator not in ("==", "!="):
            version = version.removesuffix(".*")
        clauses.append(operator + version)
    return ",".join(clauses)


@dataclass(frozen=True, kw_only=True)
class NamedPath:
    """What a line of a requirements file names on this machine."""

    option: str  # of FILE_OPTIONS, or empty
    target: str  # as it is written
    extras: str  # `[extra]`

    def line(self, path: str) -> str:
        """The same line with another path. pip undoes the quoting of its options, and takes a bare path as it is."""
        quoted = shlex.quote(path) if self.option else path
        return f"{self.option} {quoted}{self.extras}".strip()


def named_path(line: str) -> NamedPath | None:
    """The file or folder that a line names, if it names one."""
    text = line.strip()
    option, value = next(
        ((option, text[len(option) :].lstrip("= \t")) for option in FILE_OPTIONS if re.match(rf"{option}(=|\s)", text)),
        ("", text),
    )
    is_path = option[1:2] in ("r", "c") or option[2:3] in ("r", "c") or re.match(r"\.{0,2}/", value) or value == "."
    if not is_path or "://" in value:
        return None
    words = shlex.split(value, comments=True)
    if len(words) != 1:
        return None
    target, bracket, extras = words[0].partition("[")
    return NamedPath(option=option, target=target, extras=bracket + extras)


def absolute_line(line: str, path: str | None) -> tuple[str, list[str]]:
    """A line below `pip:` with the file it names, if any, made absolute; and that file in a list of its own."""
    text = line.strip()
    named = named_path(text)
    if named is None:
        return text, []
    if path is None and not Path(named.target).is_absolute():
        raise UserError(f"`{text}` below `pip:` of an inline conda file is relative to no folder", todo="write an absolute path")
    file = Path(os.path.dirname(path or "/"), named.target).resolve()
    if not file.exists():
        raise UserError(f"`{text}` below `pip:`: there is no {file}", todo="mend the path; it is relative to the conda file")
    return named.line(str(file)), [str(file)]
