"""A coordinator and an instance at the two ends of real connections, with a relay in between that breaks them or swallows everything."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runner.engine.coordinator import Coordinator
from runner.engine.journal import Journal
from runner.engine.manifest import Manifest
from runner.engine.remote import line as line_module
from runner.engine.remote import server as server_module
from runner.engine.remote.address import Address, write_address
from runner.engine.remote.line import Line, Refused
from runner.engine.remote.server import ExchangeServer
from runner.engine.remote.wire import report_from_header, report_to_header
from runner.engine.session import CoordinatorSettings
from runner.errors import SetupError
from runner.model.batch import Block, Chunk, ErrorRecord, Lease, Report, Segment, Stop, Tally, Wait
from runner.model.events import AttemptFailed, BatchesFinished, Event

SECRET = "s" * 64


class RealClock:
    def now(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()


class Relay:
    """Passes bytes on between instances and a coordinator, until it is told otherwise."""

    def __init__(self, target: int) -> None:
        self.target = target
        self._pairs: list[socket.socket] = []
        self._swallow = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self.target))
                self._pairs += [near, far]
                for a, b in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(a, b), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not self._swallow.is_set():
                    sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)
        source.close()  # the other thread closes the other

    def break_all(self) -> None:
        pairs, self._pairs = self._pairs, []
        for one in pairs:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        self._swallow.set()

    def heal(self) -> None:
        self._swallow.clear()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        self.break_all()


class Lab:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.where = folder / "coordinator.json"
        self.events: list[Event] = []
        self.servers: list[ExchangeServer] = []
        self.lines: list[Line] = []
        self.fenced: list[float] = []
        self.coordinator, self.server = self.start()
        self.relay = Relay(self.server.port)
        self.tell(self.relay.port)

    def start(self, *awaited: str) -> tuple[Coordinator, ExchangeServer]:
        journal = Journal(self.folder / "journal")
        coordinator = Coordinator(
            settings=CoordinatorSettings(session=8.0, awaited=frozenset(awaited)),
            manifest=Manifest(self.folder / "manifest", owned=journal.owned),
            journal=journal,
            clock=RealClock(),
        )
        server = ExchangeServer(coordinator, secret=SECRET, version="1", publish=self.events.append, host="127.0.0.1")
        server.start()
        self.servers.append(server)
        return coordinator, server

    def tell(self, port: int, server: ExchangeServer | None = None) -> None:
        write_address(self.where, Address(host="127.0.0.1", port=port, coordinator=(server or self.server).id))

    def line(self, name: str = "node_0", wake: Callable[[], None] = lambda: None, secret: str = SECRET, version: str = "1") -> Line:
        line = Line(self.where, secret=lambda: secret, version=version, on_fenced=lambda: self.fenced.append(time.monotonic()))
        self.lines.append(line)
        line.join(name, workers=2, wake=wake)
        return line

    def feed(self, count: int) -> None:
        self.coordinator.feed(Chunk(lines=[b"%d" % i for i in range(count)], items=count, bytes=count))
        self.coordinator.feed_done()

    def close(self) -> None:
        for line in self.lines:
            line.close(0.0)
        for server in self.servers:
            server.close()
        self.relay.close()


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    lab.close()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of the line's times a tenth."""
    for name in ("PING_SECONDS", "FENCED_AFTER", "BROKEN_SECONDS", "PAUSE_SECONDS"):
        monkeypatch.setattr(line_module, name, getattr(line_module, name) / 10)


def lease_of(line: Line, want: int = 10) -> Lease:
    answer = line.exchange(0, Report(), want)
    assert isinstance(answer, Lease)
    return answer


def done(first: int, last: int) -> Segment:
    count = last + 1 - first
    return Segment(first=first, last=last, tally=Tally(succeeded=count, items=count))


def eventually(condition: Callable[[], object], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_leases_come_and_results_go(lab: Lab) -> None:
    lab.feed(20)
    line = lab.line()
    lease = lease_of(line)
    assert lease.lines.split(b"\n") == [b"%d" % i for i in range(lease.first, lease.first + lease.count)]
    answer = line.exchange(0, Report(segments=(done(lease.first, lease.first + lease.count - 1),), ready=2, header=(0, "a,b\n")), 0)
    assert answer == Wait()
    assert lab.coordinator.progress().succeeded == lease.count
    assert lab.coordinator.progress().workers == 2
    assert lab.coordinator.header == "a,b\n"


def test_reports_arrive_as_they_were() -> None:
    segment = Segment(first=0, last=1, tally=Tally(succeeded=2), part="p", length=7)
    report = Report(segments=(segment,), blocks=(Block(first=0, last=1, id="b", length=7),), running=(3,), waiting=True)
    assert report_from_header(json.loads(json.dumps(report_to_header(report)))) == report


def test_events_arrive_as_they_were(lab: Lab) -> None:
    line = lab.line()
    error = ErrorRecord(kind="exception", type="ValueError", message="…", line=3)
    sent = [
        BatchesFinished(at=1.5, node="node_0", process="process000", rows=[(0, 1, 2, 3), (4, 5, 6, 7)]),
        BatchesFinished(at=1.5, node="node_0", process="process000", rows=[]),
        AttemptFailed(at=2, node="n", process="p", index=3, attempt=1, attempts=3, final=False, seconds=0.5, error=error),
    ]
    for event in sent:
        line.publish(event)
    eventually(lambda: len(lab.events) == len(sent))
    assert lab.events == sent


def test_is_woken_when_there_is_work(lab: Lab) -> None:
    woken = threading.Event()
    line = lab.line(wake=woken.set)
    assert isinstance(line.exchange(0, Report(), 5), Wait)
    woken.clear()
    lab.feed(5)
    assert woken.wait(5)


def test_nothing_is_lost_or_done_twice_when_connections_break(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_module, "BROKEN_SECONDS", 60.0)  # on a busy machine many may break one after another
    monkeypatch.setattr(server_module, "RETURN_SECONDS", 60.0)
    lab.feed(400)
    line, over = lab.line(), threading.Event()

    def breaks() -> None:
        while not over.wait(0.02):
            lab.relay.break_all()

    saboteur = threading.Thread(target=breaks)
    saboteur.start()
    try:
        seen: list[int] = []
        answer = line.exchange(0, Report(), 7)
        while not isinstance(answer, Stop):
            segments = ()
            if isinstance(answer, Lease):
                seen += range(answer.first, answer.first + answer.count)
                segments = (done(answer.first, answer.first + answer.count - 1),)
            answer = line.exchange(0, Report(segments=segments), 7)
    finally:
        over.set()
        saboteur.join()
    assert answer.reason == "completed"
    assert seen == list(range(400))
    assert not lab.fenced


def test_one_that_is_cut_off_is_fenced_before_others_get_its_work(lab: Lab, hasty: None) -> None:
    lab.feed(4)
    line = lab.line()
    lease_of(line)
    lab.relay.cut()
    began = time.monotonic()
    assert line.exchange(0, Report(), 0) == Stop(reason="fenced")
    assert 0.3 < lab.fenced[0] - began < 1.5
    assert line.exchange(0, Report(), 0) == Stop(reason="fenced")  # at once


def test_its_late_results_are_refused_when_it_comes_back(lab: Lab) -> None:
    lab.feed(4)
    line = lab.line()
    lease = lease_of(line)
    lab.coordinator.leave(1, lost=True)  # as at the end of its session
    assert line.exchange(0, Report(segments=(done(lease.first, lease.first),)), 1) == Stop(reason="fenced")
    assert lab.coordinator.progress().succeeded == 0


def test_a_connection_that_stays_broken_ends_the_session_soon(lab: Lab) -> None:
    lab.feed(4)
    lease_of(lab.line())
    lab.tell(lab.server.port)
    other = lab.line("node_1")
    assert sum(lease_of(other).count for _ in range(2)) == 2
    lab.tell(1 << 10)  # nobody comes through any more
    began = time.monotonic()
    lab.relay.break_all()
    eventually(lambda: lab.coordinator.look_after() and isinstance(other.exchange(0, Report(), 1), Lease))
    assert time.monotonic() - began < 4


def test_a_successor_finds_what_the_instance_has(lab: Lab) -> None:
    lab.feed(40)
    lab.tell(lab.server.port)
    line = lab.line()
    lease = lease_of(line)
    answers: list[object] = []
    lab.server.close()
    half = lease.first + lease.count // 2
    report = Report(segments=(done(lease.first, half),))
    waiting = threading.Thread(target=lambda: answers.append(line.exchange(0, report, 0)))
    waiting.start()
    time.sleep(0.5)
    assert not answers
    successor, server = lab.start("node_0")
    successor.feed_done()
    lab.tell(server.port, server)
    waiting.join(10)
    assert answers == [Wait()]
    assert successor.progress().succeeded == half + 1 - lease.first
    line.exchange(0, Report(segments=(done(half + 1, lease.first + lease.count - 1),)), 0)
    assert successor.progress().succeeded == lease.count
    assert not lab.fenced


@pytest.mark.parametrize(("given", "why"), [({"secret": "x"}, "secret"), ({"version": "0"}, "its runner is 0, that of the coordinator 1")])
def test_strangers_and_other_versions_are_refused(lab: Lab, given: dict[str, str], why: str) -> None:
    with pytest.raises(Refused, match=why):
        lab.line(**given)


def test_what_is_no_instance_is_thrown_out(lab: Lab) -> None:
    for garbage in (b"GET / HTTP/1.1\r\n\r\n" * 10, b"J" * 200_000, b"J\x02\0\0\0\0\0\0\0[]"):
        with socket.create_connection(("127.0.0.1", lab.server.port), 5) as stranger, contextlib.suppress(OSError):
            stranger.sendall(garbage)
            stranger.settimeout(5)
            while stranger.recv(4096):
                pass
    lab.feed(3)
    lease_of(lab.line())


def test_a_full_disk_under_the_journal_ends_the_job_and_keeps_no_instance_waiting(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.feed(20)
    line = lab.line()
    lease = lease_of(line)

    def full() -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(lab.coordinator._journal, "sync", full)
        answers: list[object] = []
        report = Report(segments=(done(lease.first, lease.first),))
        asking = threading.Thread(target=lambda: answers.append(line.exchange(0, report, 0)), daemon=True)
        asking.start()
        asking.join(5)
    assert answers == [Stop(reason="output")]
    verdict = lab.coordinator.wait(1)
    assert verdict is not None
    assert verdict.code == "output"


def test_a_range_of_ports_that_others_have_taken(lab: Lab) -> None:
    """That is no bug, and the sentence says what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SetupError) as caught:
            ExchangeServer(lab.coordinator, secret=SECRET, version="1", publish=lambda _event: None, host="127.0.0.1", ports=(port, port))
    assert caught.value.problem.startswith(f"no port is free for the job: others listen on all of {port}-{port} of the head")
    assert "runner job resume" in (caught.value.todo or "")
