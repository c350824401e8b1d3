"""Whether a node sees the shared datastores: files that the scheduler writes into each, and that a node must find with the same content.

Where a step runs in containers the node's engine must see the same, too: it may have other mounts than the node's processes, above all
where the node is a container itself.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from runner.errors import UserError
from runner.model.moments import utc

log = logging.getLogger(__name__)
T = TypeVar("T")
FOLDER = Path(".runner", "probe")
KEPT_SECONDS = 86400.0  # that files of earlier schedulers stay: instances that these have started may still look for them
PATIENCE_SECONDS = 5.0  # until a new file must be seen: network file systems remember for a while that there was none
SILENCE_SECONDS = 20.0  # after which a file system that does not answer is broken
PROBE = re.compile(r"\.?[0-9a-f]{16}")
STAMPS = "probes"
SAME_PATH = "mount it on the node at the same path as on the head"


class Unfit(UserError):
    """The node is to blame, whatever job it was to run."""


@dataclass(frozen=True, kw_only=True)
class Probes:
    """`files`: path → what stands in it; `broken`: datastore → why the head could not write one."""

    files: Mapping[str, str] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)


def write_probes(datastores: Mapping[str, Path]) -> Probes:
    """New ones, one in each of the shared datastores."""
    files, broken = {}, {}
    for name, folder in datastores.items():
        try:
            path, content = _write(name, folder)
        except OSError as error:
            log.warning("no probe could be written into the datastore %s: %s", name, error)
            broken[name] = f"the head cannot write to {folder}: {error.strerror}"
        else:
            files[str(path)] = content
    return Probes(files=files, broken=broken)


def _write(name: str, datastore: Path) -> tuple[Path, str]:
    token = secrets.token_hex(8)
    content = f"{name} {utc(time.time())} {token}\n"
    with _opened(datastore) as folders:
        folder = folders[-1]
        file = os.open(f".{token}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=folder)
        with open(file, "w") as stream:
            us = os.fstat(file).st_uid  # nobody, where a file server does not believe in root
            if any(os.fstat(one).st_uid != us for one in folders):
                os.unlink(f".{token}", dir_fd=folder)
                raise PermissionError(errno.EPERM, f"{FOLDER} in it is another user's")
            os.fchmod(file, 0o644)
            stream.write(content)
        _remove_old(folder)
        os.rename(f".{token}", token, src_dir_fd=folder, dst_dir_fd=folder)
    return datastore / FOLDER / token, content


@contextlib.contextmanager
def _opened(datastore: Path) -> Iterator[list[int]]:
    """The folder of probes and the one above, made where there are none. Users may write to the datastore: no link of theirs is followed.

    Errors: OSError.
    """
    with contextlib.ExitStack() as stack:
        folders = [os.open(datastore, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)]
        stack.callback(os.close, folders[0])
        for name in FOLDER.parts:
            made = _made(name, folders[-1])
            folders.append(os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folders[-1]))
            stack.callback(os.close, folders[-1])
            if made:
                os.fchmod(folders[-1], 0o755)  # whatever the umask
        yield folders[1:]


def _made(name: str, folder: int) -> bool:
    try:
        os.mkdir(name, 0o755, dir_fd=folder)
    except FileExistsError:
        return False
    return True


def _remove_old(folder: int) -> None:
    for name in os.listdir(folder):
        with contextlib.suppress(OSError):
            if PROBE.fullmatch(name) and time.time() - os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime > KEPT_SECONDS:
                os.unlink(name, dir_fd=folder)


def datastore_of(content: str) -> str:
    return content.rpartition(" ")[0].rpartition(" ")[0]


def check_reading(path: str, content: str, *, patience: float = PATIENCE_SECONDS) -> None:
    """Errors: UserError where this process does not find the content at the path. A user who may not read there at all is none."""
    try:
        found = within(SILENCE_SECONDS, lambda: _read(path, time.monotonic() + patience))
    except PermissionError:
        return
    except TimeoutError:
        problem = f"{path} has not been read within {SILENCE_SECONDS:g} s"
        raise _unseen(content, problem, "see to the file server, or to its mount on the node") from None
    except OSError as error:
        raise _unseen(content, f"{path}: {error.strerror}", SAME_PATH) from None
    if found != content:
        raise _unseen(content, f"{path} holds {_shown(found)} in the place of {_shown(content)}", SAME_PATH)


def check_engine(path: str, content: str) -> None:
    """Errors: UserError where the Docker engine does not find the content at the path, or where there is no engine."""
    from runner.launch.docker_client import EngineError
    from runner.launch.engine_view import read_through  # loads the Docker SDK
    from runner.launch.image import connect

    engine = connect()
    todo = "where the node is a container, mount the datastore at the same path on the machine of its Docker engine"
    try:
        found = read_through(engine, path).decode(errors="replace")
    except EngineError as error:
        raise _unseen(content, f"its Docker engine at {engine.address} does not see {path}: {error}", todo) from None
    finally:
        engine.close()
    if found != content:
        problem = f"its Docker engine at {engine.address} sees {_shown(found)} at {path} in the place of {_shown(content)}"
        raise _unseen(content, problem, todo)


def verify(probes: Mapping[str, str], folder: Path, *, check: Callable[[str, str], None], what: str) -> None:
    """Checks those that have not been found good here yet: `folder` keeps a stamp for each, so that later jobs do not pay.

    Errors: Unfit.
    """
    for path, content in probes.items():
        stamp = folder / STAMPS / f"{hashlib.sha256(f'{path} {content}'.encode()).hexdigest()[:24]}.{what}"
        if not stamp.exists():
            try:
                check(path, content)
            except UserError as error:
                raise Unfit(error.problem, todo=error.todo) from error
            _stamp(stamp)


def _stamp(stamp: Path) -> None:
    with contextlib.suppress(OSError):  # a full disk: then it is checked again
        stamp.parent.mkdir(exist_ok=True)
        stamp.touch()
        for old in stamp.parent.iterdir():
            if time.time() - old.stat().st_mtime > 30 * KEPT_SECONDS:
                old.unlink(missing_ok=True)


def within(seconds: float, call: Callable[[], T]) -> T:
    """Its result. Errors: TimeoutError when it hangs, as what touches a dead file server does; the thread is then left behind."""
    result: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            result.append(call())
        except BaseException as error:  # raised below
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not result:
        raise TimeoutError
    return result[0]


def _read(path: str, until: float) -> str:
    while True:
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            if time.monotonic() >= until:
                raise
            time.sleep(0.2)
        else:
            with open(handle, encoding="utf-8", errors="replace") as file:
                return file.read(1 << 16)


def _unseen(content: str, problem: str, todo: str) -> UserError:
    return UserError(f"the node {os.uname().nodename} does not see the datastore {datastore_of(content)}: {problem}", todo=todo)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:80]}…") if text else "nothing"
