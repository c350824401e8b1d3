"""The interpreter that runs the user's script on this machine.

Without an environment it is the runner's own. A conda file whose needs are Python packages gets a virtual environment, made by
the interpreter it asks for and kept below the workspace's cache under a hash of what is in it:

    environments/<hash>/           the virtual environment, built in place: its scripts name their own folder
    environments/<hash>/complete   written last; what lacks it is an aborted build
    environments/<hash>.lock       held while it is built, by pip as well, so that two jobs at once build one

The folder is touched at each use, so that those least recently used can be told.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from runner.errors import Place, UserError
from runner.launch.conda_file import CondaNeeds, read_conda
from runner.launch.pythons import Interpreter, choose, named, running, satisfies
from runner.model.job import Environment

FORMAT = 1  # part of the hash: raised when environments are made in another way
COMPLETE = "complete"
LINES_IN_ERROR = 15
MADE_BY_BUILDS = ("__pycache__", "build", "dist", ".egg-info")  # ends of names of folders that are no part of a package's content
# What would make the interpreter of an environment import from elsewhere.
FOREIGN_VARIABLES = (
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONSTARTUP",
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_USER",
    "VIRTUAL_ENV",
    "__PYVENV_LAUNCHER__",
)

Say = Callable[[str], None]
OnCancel = Callable[[Callable[[], None]], None]


def find_python(
    environment: Environment | None,
    *,
    cache: Path,
    override: str | None,
    say: Say,
    warn: Say | None = None,
    on_cancel: OnCancel = lambda _stop: None,
) -> str:
    """The path of the interpreter for a job with this environment; builds its virtual environment where there is none yet.

    `override` is `--python`: a path, a command or a version; it wins, and nothing is built. `say` gets pip's output, line by line;
    `warn` what the file says and is not followed (None: `say` gets it). `on_cancel` is handed a function that stops a running build,
    which then ends with a `UserError`.
    Raises `UserError` when the machine lacks the Python, for packages that PyPI does not have, and with pip's last lines when it fails.
    """
    if override:
        return named(override).path
    if environment is None or environment.conda is None:
        return running().path
    needs = read_conda(environment.conda, environment.conda_path)
    base = base_python(needs, environment.conda_path)
    for notice in needs.notices + version_notice(needs, base):
        (warn or say)(notice)
    return environment_python(needs, base, cache, environment.conda_path, say, on_cancel)


def describe_python(environment: Environment | None, *, cache: Path, override: str | None) -> tuple[str, tuple[str, ...]]:
    """What `find_python` would give, in one line, and its notices; makes nothing. Raises the same `UserError`s, but for those of pip."""
    if override:
        return str(named(override)), ()
    if environment is None or environment.conda is None:
        return str(running()), ()
    needs = read_conda(environment.conda, environment.conda_path)
    base = base_python(needs, environment.conda_path)
    folder = environment_folder(cache, needs, base)
    state = "a virtual environment made before" if reuse(folder) else f"a virtual environment to be made, with {_count(needs)}"
    return f"{base}, in {state}", needs.notices + version_notice(needs, base)


def base_python(needs: CondaNeeds, conda_path: str | None) -> Interpreter:
    """The interpreter that a conda file asks for; `UserError` with its name when there is none."""
    try:
        return choose(needs.python)
    except UserError as error:
        place = Place(file=conda_path) if conda_path else Place(field="task.environment.conda_file")
        raise UserError(error.problem, place=place, allowed=error.allowed, todo=error.todo) from None


def _count(needs: CondaNeeds) -> str:
    number = len(needs.requirements)
    return f"{number} requirement{'s' if number != 1 else ''}"


def version_notice(needs: CondaNeeds, base: Interpreter) -> tuple[str, ...]:
    if needs.python is None or satisfies(base.version, needs.python):
        return ()
    return (f"conda file: python{needs.python} is not on this machine; taken is {base}",)


def environment_folder(cache: Path, needs: CondaNeeds, base: Interpreter) -> Path:
    return cache / "environments" / content_hash(needs, base.version)


def environment_python(needs: CondaNeeds, base: Interpreter, cache: Path, conda_path: str | None, say: Say, on_cancel: OnCancel) -> str:
    """The interpreter of the cached environment with these needs, which is built first where it is missing."""
    folder = environment_folder(cache, needs, base)
    if (ready := reuse(folder)) is not None:
        return ready
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_name(folder.name + ".lock"), say) as lock:
        if (ready := reuse(folder)) is not None:
            return ready
        say(f"making a virtual environment with Python {base} for {_count(needs)} in {folder}")
        shutil.rmtree(folder, ignore_errors=True)
        build(folder, needs, base, Path(conda_path).parent if conda_path else folder.parent, lock, say, on_cancel)
        made = {"python": str(base), "requirements": [line.partition("://")[0] for line in needs.requirements]}
        unfinished = folder / f"{COMPLETE}.new"
        unfinished.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
        unfinished.replace(folder / COMPLETE)
    return str(interpreter_of(folder))


def content_hash(needs: CondaNeeds, version: tuple[int, ...]) -> str:
    """Equal when the Python version, the requirements and the files that they name are equal; the order of conda packages counts not."""
    content = {
        "format": FORMAT,
        "python": version,
        "machine": os.uname().machine,
        "requirements": sorted(needs.packages),
        "pip": [" ".join(line.split()) for line in needs.pip],
        "files": [hash_path(Path(path)) for path in needs.files],
    }
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:20]


def hash_path(path: Path) -> str:
    """Of a file's content, and of what requirements files name in turn; of a folder's files, caches and version control left out."""
    digest = hashlib.sha256()
    if path.is_dir():
        for root, folders, files in os.walk(path):
            folders[:] = sorted(each for each in folders if not each.startswith(".") and not each.endswith(MADE_BY_BUILDS))
            for name in sorted(files):
                file = Path(root, name)
                digest.update(f"{file.relative_to(path)}\0".encode(errors="surrogateescape") + file.read_bytes())
    else:
        content = path.read_bytes()
        digest.update(content)
        for line in content.decode("utf-8", "replace").splitlines() if path.suffix in (".txt", ".in") else ():
            words = line.replace("=", " ", 1).split()
            if len(words) == 2 and words[0] in ("-r", "--requirement", "-c", "--constraint") and (path.parent / words[1]).is_file():
                digest.update(hash_path(path.parent / words[1]).encode())
    return digest.hexdigest()


def interpreter_of(folder: Path) -> Path:
    return folder / "bin" / "python"


def reuse(folder: Path) -> str | None:
    """The environment's interpreter, if it is whole and the Python it was made with is still there."""
    complete, python = folder / COMPLETE, interpreter_of(folder)
    if not complete.exists() or not os.access(python, os.X_OK):
        return None
    with suppress(OSError):
        os.utime(folder)
    return str(python)


@contextmanager
def locked(path: Path, say: Say) -> Iterator[int]:
    """Holds the lock file; waits while another process builds. Yields its descriptor."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another job is making this virtual environment: waiting for it")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def build(folder: Path, needs: CondaNeeds, base: Interpreter, directory: Path, lock: int, say: Say, on_cancel: OnCancel) -> None:
    """Makes the environment and installs the requirements, relative paths of which start at `directory`."""
    advice = "see that this Python has its `venv` module (Debian: apt install python3-venv), or name another one with --python"
    run([base.path, "-m", "venv", "--clear", str(folder)], "making a virtual environment", advice, directory, lock, say, on_cancel)
    if not needs.requirements:
        return
    requirements = folder / "requirements.txt"
    requirements.touch(0o600)  # index addresses may hold a token
    requirements.write_text("\n".join(needs.requirements) + "\n", encoding="utf-8")
    command = [str(interpreter_of(folder)), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar", "off"]
    try:
        run([*command, "-r", str(requirements)], "pip install", pip_advice(needs), directory, lock, say, on_cancel)
    finally:
        requirements.unlink()


def pip_advice(needs: CondaNeeds) -> str:
    todo = "mend the conda file, or name an interpreter that has the packages with --python"
    if any(line.lower().startswith(("azureml-", "mltable")) for line in needs.requirements):
        todo += "; azureml-* packages want an old Python, and on this machine only a script that imports azureml.core needs them"
    return todo


def run(command: Sequence[str], what: str, todo: str, directory: Path, lock: int, say: Say, on_cancel: OnCancel) -> None:
    """Runs a command and hands its output on; `UserError` with the last lines when it fails.

    It inherits the lock: should this process be killed, nobody else builds before it has ended. It has a process group of its own,
    so that what it has started ends with it.
    """
    environment = {key: value for key, value in os.environ.items() if key not in FOREIGN_VARIABLES}
    last: deque[str] = deque(maxlen=LINES_IN_ERROR)
    process = subprocess.Popen(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=directory,
        env=environment,
        pass_fds=(lock,),
        start_new_session=True,
    )

    def stop() -> None:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    on_cancel(stop)
    with process:
        try:
            for raw in process.stdout or ():
                line = raw.decode("utf-8", "replace").rstrip()
                if line:
                    last.append(line)
                    say(line)
        except BaseException:
            stop()
            raise
    if process.returncode:
        lines = "".join(f"\n    {line}" for line in last)
        raise UserError(f"{what} failed with exit status {process.returncode}:{lines}", todo=todo)
