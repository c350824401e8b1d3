"""Ray's process on a machine: started, watched, ended."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from runner.cluster.ray_command import environment
from runner.worker.linux import signal_when_parent_dies

READY_SECONDS = 60.0
GRACE = 20.0  # seconds that Ray has to end
READY_SAYING = b"Ray runtime started"
# What Ray says at length, in a sentence; the first that it has said counts.
REASONS = {
    b"InvalidAuthToken": "the node token is not that of the head: copy it from there",
    b"timed out during startup": "the head does not hear of this node: see that its ports are open to the head",
    b"GCS returned an authentication error": "the head was started again",
    b"mistakenly been marked as dead": "the head had lost it",
    b"Failed to connect to GCS": "the head does not answer",
}
_RAYLET_PROBLEM = re.compile(rb" [EC] \d+ \d+\] ")  # as the raylet marks errors in its log
Say = Callable[[str], None]


class Ray:
    """`ray start --block` as a child, which ends with this process, also when that is killed."""

    def __init__(self, command: list[str], token_file: Path) -> None:
        self._environment = environment(os.environ, token_file.resolve())
        self._told, self._ready = threading.Event(), threading.Event()
        self._reasons: set[bytes] = set()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._command = command

    def __enter__(self) -> Ray:
        self._signals = {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
        self._ray = self._start(self._command, output=subprocess.PIPE)
        self._reader = threading.Thread(target=self._read, args=(self._ray,), daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._terminate()
        self._reader.join(1)
        for number, handler in self._signals.items():
            signal.signal(number, handler)

    @property
    def told_to_end(self) -> bool:
        return self._told.is_set()

    def wait_until_ready(self, address: tuple[str, int] | None = None, seconds: float = READY_SECONDS) -> bool:
        """Whether Ray says so and, of a head, the address answers. A node whose head cannot be reached gives up by itself."""
        end = time.monotonic() + seconds
        while self._ray.poll() is None and not self.told_to_end and time.monotonic() < end:
            if self._ready.is_set() and (address is None or answers(address)):
                return True
            self._told.wait(0.05)
        return False

    def wait(self, say: Say) -> int:
        """The exit status: 0 when we were told to end. `ray start --block` stays when its raylet ends while it still starts, or gently."""
        alone, seen = 0, False
        while self._ray.poll() is None and not self.told_to_end and alone < 4:
            raylet = _raylet(self._ray.pid)
            seen |= raylet
            alone = 0 if raylet or not seen else alone + 1
            self._told.wait(0.5)
        if alone:
            self._ray.kill()  # it would wait for what is gone; the kernel kills what it has started
        return self.end(say, "the Ray node has ended")

    def end(self, say: Say, problem: str) -> int:
        told = self.told_to_end
        if not told:
            status = self._ray.poll()
            if status is not None:
                self._reader.join(1)  # its last words
            reason = next((f": {text}" for saying, text in REASONS.items() if saying in self._reasons), "")
            say(problem + ("" if status is None else f" (exit status {status})") + reason)
        self._terminate()
        return 0 if told else 1

    def sleep(self, seconds: float) -> bool:
        """Whether we have been told to end meanwhile."""
        return self._told.wait(seconds)

    def run(self, command: list[str]) -> int:
        """The exit status of another child in Ray's environment."""
        process = self._start(command)
        while process.poll() is None and not self.told_to_end and self._ray.poll() is None:
            self._told.wait(0.05)
        if process.poll() is None:
            process.terminate()
        return process.wait()

    def _read(self, ray: subprocess.Popen[bytes]) -> None:
        """Passes on what Ray says, without the debug dumps that it quotes when its raylet has ended."""
        quoting = False
        assert ray.stdout is not None
        with ray.stdout as lines:
            for line in lines:
                if READY_SAYING in line:
                    self._ready.set()
                self._reasons |= {saying for saying in REASONS if saying in line}
                quoting = b"----- BEGIN" in line or (quoting and b"----- END" not in line)
                if not quoting or _RAYLET_PROBLEM.search(line):
                    print(line.decode(errors="replace"), end="", file=sys.stderr, flush=True)

    def _start(self, command: list[str], output: int | None = None) -> subprocess.Popen[bytes]:
        own = os.getpid()
        # In a session of its own: Ctrl-C reaches us, and we tell Ray, once.
        process = subprocess.Popen(
            command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output and subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: signal_when_parent_dies(signal.SIGKILL, own),
        )
        self._processes.append(process)
        return process

    def _terminate(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.terminate()
        for process in self._processes:
            try:
                process.wait(GRACE)
            except subprocess.TimeoutExpired:
                process.kill()  # the kernel then kills what it has started
                process.wait()

    def _on_signal(self, *_: object) -> None:
        self._told.set()


def answers(address: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(address, timeout=1):
            return True
    except OSError:
        return False


def _raylet(ray: int) -> bool:
    """Whether a child of the process is a running raylet."""
    try:
        children = Path(f"/proc/{ray}/task/{ray}/children").read_text().split()
    except OSError:
        return False
    return any(_is_raylet(child) for child in children)


def _is_raylet(pid: str) -> bool:
    try:
        head, _, rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
    except OSError:
        return False
    return head.endswith("(raylet") and rest.split()[0] != "Z"
