"""The keeper of an instance: starts workers by forking, writes what they print to files, and ends them and all that is theirs.

One thread and no user code, so that forking is safe and nothing can hold it up. It ends when its supervisor does.
"""

import gc
import heapq
import os
import selectors
import signal
import socket
import time
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from . import agent, descendants, linux, memory
from .capped import Pump
from .channel import Channel, Disconnected
from .protocol import DUMP_SIGNAL_OFFSET, NO_WORKER

DUMP_SIGNAL = signal.SIGRTMAX - DUMP_SIGNAL_OFFSET
CAUGHT = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
DUMP_SECONDS = 0.5  # that a worker gets to write its stacks
DUMP_LOOK = 0.02  # between two looks at whether it has
DUMP_SIZE = 1 << 18  # bytes of stacks passed on
CLEAN_SECONDS = 0.5  # for killing what a dead worker has left, before the supervisor is told
CLEAN_AGAIN = 0.2  # seconds until the next try, where that was not enough
END_SECONDS = 30.0  # for killing everything; it takes milliseconds, but for user code that multiplies or hangs in the kernel
LINGER_SECONDS = 1.0  # that a pipe is listened to after its worker's death, when something holds it open


def main(sockets: str) -> int:
    """The process's life: that of the keeper or, after a fork, that of a worker. Returns the exit status."""
    work = Keeper(sockets).run()
    return work() if work else 0


class Forked(BaseException):
    """Raised in a new worker, to leave the keeper's loop: `work` is what it does instead."""

    def __init__(self, work: Callable[[], int]) -> None:
        super(Forked, self).__init__()
        self.work = work


class Charge(object):
    """A worker as its keeper knows it."""

    def __init__(self, number: int, stacks: str, pumps: List[Pump]) -> None:
        self.number, self.stacks, self.pumps = number, stacks, pumps
        self.mark = str(number).rjust(len(NO_WORKER), "0")
        self.pid = -1


class Keeper(object):
    def __init__(self, sockets: str) -> None:
        self._sockets = os.path.abspath(sockets)
        self._pid, self._parent = os.getpid(), os.getppid()
        self._charges: Dict[int, Charge] = {}  # by pid
        self._timers: List[Tuple[float, int, Callable[[], None]]] = []
        self._timer_count = 0
        self._over = False
        self._until = float("inf")  # nothing may run any longer, if the supervisor says nothing more
        self._gone: List[Tuple[Charge, int]] = []  # workers that have ended, and how
        self._memory = memory.OutOfMemory()
        linux.adopt_orphans()
        self._wake_read, self._wake_write = socket.socketpair()
        self._catch_signals()
        linux.signal_when_parent_dies(signal.SIGHUP, self._parent)
        self._channel = Channel(self._sockets)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._channel.socket, selectors.EVENT_READ, self._listen)
        self._selector.register(self._wake_read, selectors.EVENT_READ, self._signalled)

    def run(self) -> Optional[Callable[[], int]]:
        """Until the supervisor says so or is gone. In a forked worker: returns what that has to do."""
        try:
            self._channel.send({"t": "keeper", "pid": self._pid})
            gc.collect()
            gc.freeze()  # pages that are not written to stay shared with the workers
            while not self._over:
                for key, _ in self._selector.select(self._seconds()):
                    key.data()
                self._ring()
        except Forked as forked:
            return forked.work
        except Disconnected:
            return None
        finally:
            if os.getpid() == self._pid:
                self._end()
        return None

    # What arrives

    def _listen(self) -> None:
        for header, _ in self._channel.receive_waiting():
            if header["t"] == "start":
                self._start(header["worker"], header["config"])
            elif header["t"] == "kill":
                self._kill(header["worker"], float(header.get("grace") or 0), bool(header.get("dump")))
            elif header["t"] == "until":
                self._until = time.monotonic() + float(header["seconds"])
            elif header["t"] == "end":
                self._over = True

    def _catch_signals(self) -> None:
        for end in (self._wake_read, self._wake_write):
            end.setblocking(False)
        signal.set_wakeup_fd(self._wake_write.fileno())
        for number in CAUGHT:
            signal.signal(number, lambda *_: None)  # the wake-up is what matters

    def _signalled(self) -> None:
        numbers = self._wake_read.recv(4096)
        if signal.SIGTERM in numbers or signal.SIGINT in numbers:
            self._over = True
        if signal.SIGHUP in numbers and os.getppid() != self._parent:  # not only the thread that started us has ended
            self._over = True
        self._reap()
        while self._gone:
            self._ended(*self._gone.pop(0))

    def _reap(self) -> None:
        """Collects children that have ended: workers, and orphans of theirs, of which nobody wants to know more."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if pid in self._charges:
                how = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
                self._gone.append((self._charges.pop(pid), how))

    # Workers

    def _start(self, number: int, config: Dict[str, Any]) -> None:
        pumps = [Pump(config[name], config["log_cap"]) for name in ("stdout", "stderr", "log")]
        charge = Charge(number, config["stacks"], pumps)
        signal.pthread_sigmask(signal.SIG_BLOCK, CAUGHT)  # the worker must not answer a signal with the keeper's handlers
        try:
            pid = os.fork()
            if not pid:
                self._become_worker(charge)
                raise Forked(lambda: agent.main(self._sockets, config, pumps[2].write_end))
            charge.pid = pid
        except OSError as error:
            os.write(pumps[1].write_end, ("cannot start a worker: %s\n" % error).encode("utf-8", "replace"))
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, CAUGHT)
        for pump in pumps:
            pump.close_write_end()
            self._selector.register(pump, selectors.EVENT_READ, lambda pump=pump: self._pump(pump))
        if charge.pid > 0:
            self._charges[charge.pid] = charge
        else:
            self._ended(charge, os.EX_OSERR)

    def _become_worker(self, charge: Charge) -> None:
        """In the new process: gets rid of all that is the keeper's."""
        linux.reset_signals()
        os.setsid()
        linux.signal_when_parent_dies(signal.SIGKILL, self._pid)
        linux.mark_worker(charge.mark)
        memory.be_first_choice()
        self._selector.close()
        for connection in (self._channel.socket, self._wake_read, self._wake_write):
            connection.close()
        for other in [*self._charges.values(), charge]:
            for pump in other.pumps:
                pump.close()
        for pump, descriptor in zip(charge.pumps, (1, 2)):
            os.dup2(pump.write_end, descriptor)
            os.close(pump.write_end)

    def _pump(self, pump: Pump) -> None:
        if not pump.closed:  # by something else that happened in this turn
            pump.move()
            if pump.ended:
                self._selector.unregister(pump)

    def _ended(self, charge: Charge, status: int) -> None:
        """Its process is gone: what it has left goes too, what it wrote goes to the files, then the supervisor is told."""
        self._clean(charge)
        for pump in charge.pumps:
            pump.drain()
        short = status == -signal.SIGKILL and self._memory.killed_one()
        limit = self._memory.limit if short else 0
        stacks = _read_stacks(charge.stacks)
        self._channel.send({"t": "exited", "worker": charge.number, "status": status, "stacks": stacks, "oom": short, "limit": limit})
        if all(pump.ended for pump in charge.pumps):
            self._let_go(charge)
        else:
            self._after(LINGER_SECONDS, lambda: self._let_go(charge))

    def _clean(self, charge: Charge) -> None:
        """Kills what a dead worker has left."""
        if not descendants.kill_all(lambda: self._orphans_of(charge), CLEAN_SECONDS, self._reap):
            self._after(CLEAN_AGAIN, lambda: self._clean(charge))

    def _orphans_of(self, charge: Charge) -> Iterator[int]:
        for pid in descendants.children(self._pid):
            if pid not in self._charges and descendants.belongs(pid, charge.pid, charge.mark):
                yield pid

    def _let_go(self, charge: Charge) -> None:
        for pump in charge.pumps:
            if pump.read_end in self._selector.get_map():
                self._selector.unregister(pump)
            pump.close()

    # Killing

    def _kill(self, number: int, grace: float, dump: bool) -> None:
        charge = next((one for one in self._charges.values() if one.number == number), None)
        if charge is None:
            return
        if dump:
            os.kill(charge.pid, DUMP_SIGNAL)
            self._await_dump(charge, grace, time.monotonic() + DUMP_SECONDS, 0)
        else:
            self._terminate(charge, grace)

    def _await_dump(self, charge: Charge, grace: float, until: float, size: int) -> None:
        """Its stacks are there when the file has grown and does not grow any more."""
        now = _size(charge.stacks)
        if charge.pid not in self._charges:
            return
        if (now and now == size) or time.monotonic() >= until:
            self._terminate(charge, grace)
        else:
            self._after(DUMP_LOOK, lambda: self._await_dump(charge, grace, until, now))

    def _terminate(self, charge: Charge, grace: float) -> None:
        try:
            os.killpg(charge.pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
        self._after(grace, lambda: self._finish(charge))

    def _finish(self, charge: Charge) -> None:
        if charge.pid in self._charges:
            descendants.kill_all(lambda: [charge.pid] if charge.pid in self._charges else [], CLEAN_SECONDS, self._reap)

    def _end(self) -> None:
        """Kills everything, tidies up. SIGCHLD or not: what has ended is nobody's concern now."""
        import shutil

        charges = list(self._charges.values())
        for charge in charges:
            try:
                os.killpg(charge.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        descendants.kill_all(lambda: descendants.children(self._pid), END_SECONDS, self._reap)
        for charge in charges:
            for pump in charge.pumps:
                pump.drain()
        shutil.rmtree(self._sockets, ignore_errors=True)

    # Time

    def _after(self, seconds: float, call: Callable[[], None]) -> None:
        self._timer_count += 1  # orders calls of the same time
        heapq.heappush(self._timers, (time.monotonic() + seconds, self._timer_count, call))

    def _seconds(self) -> Optional[float]:
        next_time = min(self._until, self._timers[0][0] if self._timers else self._until)
        return max(0.0, next_time - time.monotonic()) if next_time < float("inf") else None

    def _ring(self) -> None:
        if time.monotonic() >= self._until:
            self._over = True
        while self._timers and self._timers[0][0] <= time.monotonic():
            heapq.heappop(self._timers)[2]()


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _read_stacks(path: str) -> str:
    try:
        with open(path, "rb") as file:
            text = file.read(DUMP_SIZE).decode("utf-8", "replace")
        os.unlink(path)
        return text
    except OSError:
        return ""
