"""What the images of the tests are made of. The hash of a recipe is the image's label: one that stands in the engine is not made again."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

# As in constraints.txt: what a table test sees in the image is what it sees on the machine. python38 has the old ones.
PANDAS = ("numpy==2.4.6", "pandas==3.1.1")
PYARROW = ("pyarrow==25.0.1",)
OLD_PANDAS = ("numpy==1.24.4", "pandas==2.0.3", "pyarrow==17.0.0")

# /bin, /sbin and the like are links to these since Debian 12.
PROGRAM_FOLDERS = ("usr/bin", "usr/sbin")
REMOVE_ALL_BUT_PYTHON = f"""
import os
for folder in {PROGRAM_FOLDERS!r}:
    for name in os.listdir("/" + folder):
        if not name.startswith("python3"):
            os.unlink(os.path.join("/", folder, name))
"""


@dataclass(frozen=True)
class Debian:
    """A whole file system: the essential packages of Debian, and these."""

    packages: tuple[str, ...]
    suite: str = "bookworm"


@dataclass(frozen=True)
class Excerpt:
    """A whole file system: those files of another one that match a pattern."""

    of: Debian
    patterns: tuple[str, ...]


@dataclass(frozen=True)
class Wheels:
    """A layer: packages from PyPI, for a Python that need not be the one that runs this."""

    requirements: tuple[str, ...]
    python: str
    folder: str
    form: int = 2  # raised when the files are made in another way


@dataclass(frozen=True)
class Interpreter:
    """A layer: an interpreter from pyenv's folder, below /usr/local."""

    version: str


@dataclass(frozen=True)
class Recipe:
    """An image: a file system, or layers on top of another image and lines of a Dockerfile after them."""

    start: Debian | Excerpt | str
    layers: tuple[Wheels | Interpreter, ...] = ()
    lines: tuple[str, ...] = ()


def run(*words: str) -> str:
    """A RUN without a shell, which not every image has."""
    return "RUN [" + ", ".join('"' + word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"' for word in words) + "]"


def wheels(*requirements: str) -> Wheels:
    return Wheels(requirements, "3.11", "usr/local/lib/python3.11/dist-packages")


def pinned(*names: str) -> tuple[str, ...]:
    """The requirements for these packages as constraints.txt has them for Python 3.11."""
    lines = (Path(__file__).parents[2] / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if re.match("[a-z]", line) and 'version < "3.11"' not in line]
    versions = {pin.partition("==")[0]: pin.partition(";")[0].strip() for pin in pins}
    return tuple(versions[name] for name in names)


# What the runner and Ray need on a node of a cluster; the runner itself is mounted by tests/cluster.py, and no pip is there.
NODE_PACKAGES = (
    *("ray", "filelock", "msgpack", "protobuf", "packaging", "attrs", "jsonschema", "jsonschema-specifications", "referencing", "rpds-py"),
    *("docker", "pathspec", "pyarrow", "pyyaml", "requests", "certifi", "charset-normalizer", "idna", "urllib3"),
    *("azure-identity", "azure-storage-blob", "azure-core", "isodate"),
    *("msal", "msal-extensions", "pyjwt", "cryptography", "cffi", "pycparser"),
    *("rich", "markdown-it-py", "mdurl", "pygments", "typer", "annotated-doc", "click", "shellingham", "typing-extensions"),
)
# Each container starts with a fresh file system: without this, each would compile pandas again, for seconds.
COMPILE = run("python3", "-m", "compileall", "-q", "-j", "2", "/usr/local/lib")
# The linker has to be told of libpython in /usr/local/lib, and no other Python may be found.
SETTLE = (run("ldconfig"), run("rm", "/usr/bin/python3", "/usr/bin/python3.11"))
# libstdc++ is what the wheels link to, passwd has useradd; Debian's smallest usual image has both.
BARE = Debian(("python3", "libstdc++6", "passwd"))
TINY = (
    *("bin", "lib", "lib64", "tmp", "etc/passwd", "etc/group"),
    *("usr/bin/sh", "usr/bin/dash", "usr/bin/cat", "usr/bin/sleep"),
    *("usr/lib*/ld-linux-*", "usr/lib/*-linux-gnu/libc.so.6"),
)

RECIPES = {
    "bare": Recipe(BARE),
    "pandas-only": Recipe("bare", (wheels(*PANDAS),), (COMPILE,)),
    "pandas": Recipe("pandas-only", (wheels(*PYARROW),), (COMPILE,)),
    # As most images have it, `python` is a command there.
    "examples": Recipe("pandas", (wheels(*pinned("pillow")),), (run("ln", "-s", "python3", "/usr/bin/python"),)),
    "python37": Recipe("bare", (Interpreter("3.7"),), SETTLE),
    "python38": Recipe(
        "bare", (Interpreter("3.8"), Wheels(OLD_PANDAS, "3.8", "usr/local/lib/python3.8/site-packages")), (*SETTLE, COMPILE)
    ),
    "oldpython": Recipe("bare", (Interpreter("3.6"),), SETTLE),
    "user": Recipe("bare", lines=(run("useradd", "--uid", "1234", "--create-home", "app"), "USER 1234", "WORKDIR /home/app")),
    "entrypoint": Recipe("bare", lines=('ENTRYPOINT ["/bin/echo", "not-me"]', 'CMD ["nor-me"]')),
    "noshell": Recipe("bare", lines=(run("python3", "-c", REMOVE_ALL_BUT_PYTHON), 'CMD ["python3"]')),
    "node": Recipe("pandas-only", (wheels(*pinned(*NODE_PACKAGES)),), (COMPILE,)),  # pandas: for Ray Data, which benchmarks compare
    "mlflow": Recipe("bare", (wheels(*pinned("mlflow-skinny")),), (COMPILE,)),
    "nopython": Recipe(Excerpt(BARE, TINY)),
}


def digest(value: object) -> str:
    """Names a recipe, or the files that are made by a part of it."""
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


def recipe_digest(name: str) -> str:
    """Changes when the recipe does, or the one of an image below it."""
    recipe = RECIPES[name]
    return digest((recipe, recipe_digest(recipe.start) if isinstance(recipe.start, str) else ""))


def with_parents(names: list[str]) -> list[str]:
    """The images to make for these, each after the one that it starts from."""
    ordered: list[str] = []
    for name in names:
        start = RECIPES[name].start
        below = with_parents([start]) if isinstance(start, str) else []
        ordered += [one for one in [*below, name] if one not in ordered]
    return ordered
