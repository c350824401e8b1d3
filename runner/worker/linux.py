"""What Python's standard library lacks of Linux. Each call does without where the machine does."""

import os
import signal
from typing import Any, Optional

from .protocol import WORKER_MARK

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST_THRESHOLD = 32 << 20  # bytes; glibc takes no more
KEPT_FREE = 64 << 20  # bytes


def _open_libc() -> Optional[Any]:
    try:
        import ctypes
    except ImportError:  # a Python built without it
        return None
    libc = ctypes.CDLL(None)
    libc.getenv.restype, libc.getenv.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
    return libc


_libc = _open_libc()


def adopt_orphans() -> bool:
    """Descendants whose parent has died become children of this process, not of init; False where that is impossible."""
    return _libc is not None and _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


def signal_when_parent_dies(number: int, parent: int) -> None:
    """The kernel sends this process a signal when its parent, process `parent`, ends; at once when it already has."""
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def mark_worker(value: str) -> None:
    """Writes the number of a worker into the environment that /proc shows of this process.

    Programs that it executes inherit the variable as ever. Processes that it only forks show the environment their ancestor was
    started with: the memory of that is overwritten in place, so that these too can be told from those of other workers.
    """
    if _libc is not None:
        import ctypes

        address = _libc.getenv(WORKER_MARK.encode("ascii"))
        if address and len(ctypes.string_at(address)) == len(value):
            ctypes.memmove(address, value.encode("ascii"), len(value))
    os.environ[WORKER_MARK] = value


def keep_freed_memory() -> bool:
    """malloc gives memory that was freed back to the kernel a little later; False where it is not to be told (not glibc).

    The columns of one mini-batch after the other are as large as those before. Given back in between, each page of them is cleared
    and mapped anew by the kernel, which takes as long as filling it does.
    """
    mallopt = getattr(_libc, "mallopt", None)
    return mallopt is not None and bool(mallopt(M_MMAP_THRESHOLD, LARGEST_THRESHOLD) and mallopt(M_TRIM_THRESHOLD, KEPT_FREE))


def reset_signals() -> None:
    """Handlers as a fresh Python has them, in a process forked from one with handlers of its own."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
