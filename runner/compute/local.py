"""Instances on this machine: threads of this process, each with a keeper and workers of its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from runner.engine.gateway import InstanceLost
from runner.engine.instance import Instance

DRIVER = Path("/proc/driver/nvidia/gpus")  # a folder for each GPU
LOSSES = 5  # of the keeper of one instance while nothing ran in it, after which it is not replaced any more


def cores() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus() -> tuple[str, ...]:
    """The GPUs that this process may use, as CUDA names them: those of CUDA_VISIBLE_DEVICES where it is set, else all of the driver's."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return tuple(name.strip() for name in visible.split(",") if name.strip() not in ("", "-1", "NoDevFiles"))
    return tuple(str(number) for number in range(len(list(DRIVER.iterdir())))) if DRIVER.is_dir() else ()


def gpus_of(number: int, *, instances: int) -> tuple[str, ...]:
    """The GPUs of one of the instances that share this machine."""
    return gpus()[number::instances]


def processes_per_instance(*, asked: int | None, instances: int) -> int:
    """`max_concurrency_per_instance`: as asked, else one per GPU, else the cores that fall to one of the instances."""
    return asked or len(gpus_of(instances - 1, instances=instances)) or max(1, cores() // instances)


class LocalCompute:
    """Runs `count` instances until each has ended. `make(i)` gives the i-th; `bug(error)` is told of what nobody foresaw.

    `close` is called when all have.
    """

    def __init__(
        self,
        *,
        count: int,
        make: Callable[[int], Instance],
        bug: Callable[[BaseException], None],
        gone: Callable[[str], None],
        close: Callable[[], None],
    ) -> None:
        self._make, self._bug, self._gone, self._close = make, bug, gone, close
        self._left = count
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(number,), name=f"instance-{number}") for number in range(count)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()
        self._close()

    def _run(self, number: int) -> None:
        lost = ""
        try:
            lost = run_again(lambda: self._make(number))
        except BaseException as error:  # handed to the owner of the job, who shows it
            self._bug(error)
        with self._lock:
            self._left -= 1
            if not self._left:  # says nothing new where the job is decided
                self._gone(lost or "all instances have ended")


def run_again(make: Callable[[], Instance]) -> str:
    """Runs an instance, and another one in its place when its keeper has died. Returns why it was not replaced any more, or nothing."""
    losses = 0
    while True:
        try:
            make().run()
            return ""
        except InstanceLost as error:
            losses += not error.busy  # what was running is charged with the loss, and given up in the end
            if losses >= LOSSES:
                return f"{LOSSES} times: {error}"
