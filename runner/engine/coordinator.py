"""The truth about each mini-batch of a job: who has it, and whether it is done.

Plain Python, no I/O but the journal's; used by several threads. Instances join, then call `exchange` again and again; `feed` adds
what the listing finds; `wait` returns when the job is decided. What is handed out next, `supply.py` says.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from typing import Literal

from runner.engine.journal import Journal
from runner.engine.manifest import Manifest
from runner.engine.policy import LOSSES_FORGIVEN, fair_share, init_hopeless_everywhere, judged_at_end, may_retry, pace, threshold_crossed
from runner.engine.session import CoordinatorSettings, Session, Verdict
from runner.engine.sole_file import Superseded
from runner.engine.supply import Supply
from runner.model.batch import Chunk, ErrorRecord, Lease, Progress, Recall, Report, Segment, Stop, Tally, Wait
from runner.model.ports import Clock
from runner.worker.protocol import item_of

FAILURES_KEPT = 20
ANYBODY = "?"  # awaited, where nobody knows who may be at work


class Coordinator:
    """One per job. Runs that the journal tells of count as done; their mini-batches must already stand in the manifest.

    `lost` is told of a mini-batch that is given up because instances were lost with it again and again, and the name of the last;
    `silent` of an instance that was not heard of for too long, by its name. Neither may call back. `calm_since`: when the
    storage that this process may wait for last began to answer again; inf: it does not now.
    """

    def __init__(
        self,
        *,
        settings: CoordinatorSettings,
        manifest: Manifest,
        journal: Journal,
        clock: Clock,
        lost: Callable[[str, int, ErrorRecord], None] = lambda _name, _index, _error: None,
        silent: Callable[[str], None] = lambda _name: None,
        calm_since: Callable[[], float] = lambda: float("-inf"),
    ) -> None:
        self._lost, self._silent, self._calm_since = lost, silent, calm_since
        self.problem = ""  # what came up with the outputs after all mini-batches were done
        self._settings, self._manifest, self._journal, self._clock = settings, manifest, journal, clock
        self._lock = threading.Condition()
        self._sessions: dict[int, Session] = {}
        self._epochs = 0
        self._supply = Supply()
        self._done = 0
        self._written = 0  # bytes of rows
        self._listed = False
        self._durable = Tally()
        self._volatile = Tally()  # of all sessions' reports
        self._hungry_ones: dict[Session, None] = {}  # sessions that had nothing; in order
        self._items = journal.restored.items
        self._items_known = not manifest.count or journal.restored.listed is not None  # not when an earlier run ended while it listed
        self._header = journal.restored.header
        self._failures: list[tuple[int, ErrorRecord]] = []
        self._init_errors: list[ErrorRecord] = []
        self._losses: dict[int, int] = {}
        self._began = self._alive = self._looked = clock.now()
        self._awaited = set(settings.awaited)
        self._verdict: Verdict | None = None
        self._committing = threading.Lock()
        self._restore()

    # What the listing says

    def feed(self, chunk: Chunk) -> bool:
        """Further mini-batches at the end. False when the job is decided and listing may stop."""
        first = self._manifest.count
        self._manifest.append(chunk.lines)
        with self._lock:
            self._supply.add(first, first + len(chunk.lines))
            self._items += chunk.items
            wakers = self._hungry()
        _call(wakers)
        return self._verdict is None

    def feed_done(self) -> None:
        self._manifest.sync()  # before the journal says how long it is
        with self._lock:
            self._listed = True
            self._journal.listed(self._manifest.count, self._items if self._items_known else 0)
            self._decide()
            wakers = self._hungry()
        _call(wakers)

    # What instances say

    def join(self, name: str, *, workers: int, wake: Callable[[], None], held: Sequence[tuple[int, int]] = ()) -> int:
        """A new instance; returns its epoch, which its exchanges carry. `wake` is called when an exchange would bring something.

        `held`: first, last of what it has from an earlier coordinator of this job; as far as it is not done, the instance keeps it. 0 when
        it was not awaited, or not any more: what it has may be others' by now, and it must end.
        """
        with self._lock:
            if held and not self._awaited & {name, ANYBODY}:
                return 0
            self._epochs += 1
            session = self._sessions[self._epochs] = Session(name=name, workers=workers, wake=wake, expires=self._expiry())
            for first, last in held:
                for start, end in self._supply.cut(first, last + 1):
                    session.outstanding.add(start, end)
            self._awaited.discard(name)
            wakers, epoch = self._hungry(), self._epochs
        _call(wakers)
        return epoch

    def silent(self, epoch: int, seconds: float) -> None:
        """The connection to an instance has broken: it has so long to come back."""
        with self._lock:
            if session := self._sessions.get(epoch):
                session.expires = min(session.expires, self._clock.now() + seconds)
                self._lock.notify_all()

    def is_member(self, epoch: int) -> bool:
        """Whether the instance's session lasts; it then does for longer."""
        with self._lock:
            session = self._sessions.get(epoch)
            if session is not None:
                session.expires = self._expiry()
            return session is not None

    def send_away(self, name: str, why: Literal["retired", "lost"]) -> None:
        """Has an instance end: `retired` when what runs there has finished, `lost` at once."""
        with self._lock:
            found = [one for one in self._sessions.values() if one.name == name]
            for session in found:
                session.leaving = session.leaving if session.leaving == "lost" else why
                session.recall = why == "retired"
                self._supply.give_up(session)
        _call([session.wake for session in found])

    def exchange(self, epoch: int, report: Report, want: int) -> Lease | Wait | Recall | Stop:
        """Takes over what is finished, then hands out up to `want` mini-batches. A lease lasts as long as its instance keeps exchanging.

        Stop("fenced") when the epoch is over: nothing of the report was accepted. Errors: OSError when the journal cannot be written.
        """
        session = self._sessions.get(epoch)
        if session is None:
            return Stop(reason="fenced")
        with self._lock:  # before their counts, which may bring about the verdict that names them
            self._failures.extend(report.failures)
            del self._failures[FAILURES_KEPT:]
        if report.segments or report.blocks:
            try:
                self._commit(epoch, session, report)
            except Superseded:
                self.supersede()
        with self._lock:
            if epoch not in self._sessions:
                return Stop(reason="fenced")
            self._take_over(session, report)
            if self._verdict is not None:
                return Stop(reason=self._verdict.code)
            answer, wakers = self._hand_out(session, want)
        _call(wakers)
        return answer

    def init_failed(self, epoch: int, error: ErrorRecord) -> None:
        """An init() has failed in this instance."""
        with self._lock:
            self._init_errors.append(error)
            del self._init_errors[FAILURES_KEPT:]
            if session := self._sessions.get(epoch):
                session.init_failures += 1
            failures = sum(one.init_failures for one in self._sessions.values())
            processes = max((one.workers for one in self._sessions.values()), default=1)
            elapsed = self._clock.now() - self._began
            if init_hopeless_everywhere(failures=failures, nodes=len(self._sessions), processes=processes, elapsed=elapsed):
                self._fail("init", f"init() has failed {failures} times")

    def leave(self, epoch: int, *, gave_up: str = "", lost: bool = False) -> None:
        """An instance ends; what it had is free again. `gave_up`: why it could not go on; `lost`: it died, perhaps of what was running."""
        with self._lock:
            session = self._sessions.pop(epoch, None)
            if session:
                self._give_back(session, lost=lost)
                self._lock.notify_all()
            if gave_up and not self._sessions and self._verdict is None:
                self._fail("init", gave_up)
            wakers = self._hungry()
        _call(wakers)

    # What the owner of the job asks

    def cancel(self) -> None:
        with self._lock:
            self._set(Verdict(status="Canceled", code="cancelled", message="cancelled"))

    def fail(self, code: str, message: str) -> None:
        with self._lock:
            if code == "output" and self._verdict is not None and self._verdict.status == "Completed":
                self.problem = self.problem or message
            self._fail(code, message)

    def supersede(self) -> None:
        """Another coordinator has taken the job over: this one says nothing of it any more, and its instances are the other's."""
        with self._lock:
            self._sessions.clear()
            self._volatile = Tally()
            self._set(Verdict(status="Superseded", code="superseded", message="another coordinator has taken the job over"))

    def all_have_left(self, seconds: float) -> bool:
        """Waits until no instance is left, for so long at most."""
        deadline = self._clock.now() + seconds
        with self._lock:
            while self._sessions and (left := deadline - self._clock.now()) > 0:
                self._lock.wait(min(left, self._look_after()))
            return not self._sessions

    def progress(self) -> Progress:
        """What counts as finished is in the journal, and will never run again."""
        with self._lock:
            tally = self._durable
            return Progress(
                total=self._manifest.count,
                listed=self._listed,
                succeeded=tally.succeeded,
                failed=tally.failed,
                retries=tally.retries,
                items=tally.items,
                items_listed=self._items if self._items_known else 0,
                items_failed=tally.items_failed,
                workers=sum(one.report.ready for one in self._sessions.values()),
                running=sum(len(one.report.running) for one in self._sessions.values()),
            )

    @property
    def syncs(self) -> int:
        """Of the journal."""
        return self._journal.syncs

    @property
    def tally(self) -> Tally:
        with self._lock:
            return self._tally()

    @property
    def header(self) -> str:
        """The column names of the rows as one line, or an empty string."""
        return self._header[1] if self._header else ""

    def wait(self, seconds: float) -> Verdict | None:
        """The verdict, as soon as there is one; None after `seconds`. Looks after expired sessions and the progress time-out."""
        deadline = self._clock.now() + seconds
        with self._lock:
            while self._verdict is None and (left := deadline - self._clock.now()) > 0:
                self._lock.wait(min(left, self._look_after()))
            return self._verdict

    def look_after(self) -> float:
        """Ends what has been silent for too long; returns the seconds until the next look."""
        with self._lock:
            return self._look_after()

    def close(self) -> None:
        """Writes what the journal still has in memory."""
        with self._committing:
            self._manifest.sync()
            self._journal.sync()

    # Inside; the lock is held

    def _restore(self) -> None:
        restored = self._journal.restored
        self._supply.add(0, self._manifest.count)
        for segment in restored.segments:
            self._supply.cut(segment.first, segment.last + 1)
            self._written += segment.length
            self._durable += segment.tally
            self._done += segment.last + 1 - segment.first
        self._listed = False

    def _commit(self, epoch: int, session: Session, report: Report) -> None:
        # Not under the lock: others go on while the disk works. A segment is accepted once; its epoch is checked before and after.
        # Records of several instances that come while the disk works become durable together, with the next of them.
        with self._lock:
            accepted: list[Segment] = []
            for segment in report.segments if epoch in self._sessions else ():
                if segment.first <= segment.last and session.outstanding.contains(segment.first, segment.last + 1):
                    session.outstanding.remove(segment.first, segment.last + 1)  # at once: it may stand in the report twice
                    self._journal.segment(segment)
                    accepted.append(segment)
            for block in report.blocks if epoch in self._sessions else ():
                self._journal.block(block)
            if report.header and (self._header is None or report.header[0] < self._header[0]):
                self._header = report.header
                self._journal.header(*report.header)
        with self._committing:
            self._manifest.sync(max((one.last + 1 for one in accepted), default=0))
            self._journal.sync()
        with self._lock:
            for segment in accepted:
                self._written += segment.length
                self._durable += segment.tally
                self._done += segment.last + 1 - segment.first
            if epoch in self._sessions:
                self._heard(session, replace(session.report, volatile=report.volatile))

    def _take_over(self, session: Session, report: Report) -> None:
        now = self._clock.now()
        self._forgive_own_absence(now)
        session.expires, session.begun = self._expiry(), True
        if report.attempts != session.report.attempts or report.waiting:
            self._alive = now
        for first, last in report.returned:
            if session.outstanding.contains(first, last + 1):
                session.outstanding.remove(first, last + 1)
                self._supply.add(first, last + 1)
        self._heard(session, replace(report, segments=(), failures=(), returned=()))
        self._decide()

    def _heard(self, session: Session, report: Report) -> None:
        if report.volatile != session.report.volatile:
            self._volatile += report.volatile - session.report.volatile
        session.report = report

    def _hand_out(self, session: Session, want: int) -> tuple[Lease | Wait | Recall | Stop, list[Callable[[], None]]]:
        if session.leaving == "lost" or (session.leaving and not session.outstanding):
            return Stop(reason=session.leaving), []
        if session.recall:
            session.recall = False
            return Recall(), self._hungry()
        if session.leaving:
            return Wait(written=self._written), self._hungry()
        wait = Wait(pace=pace(len(self._sessions)), written=self._written)
        if self._awaited:
            self._hungry_ones[session] = None
            return wait, []
        if want <= 0:
            return wait, self._hungry()
        left = self._supply.left
        share = fair_share(want=want, left=left, listed=self._listed, instances=len(self._sessions)) if left else 0
        taken = self._supply.take(session, share, self._sessions.values()) if share else None
        if taken is None:
            self._hungry_ones[session] = None
            return wait, self._recall_from_others(session)
        self._hungry_ones.pop(session, None)
        session.outstanding.add(*taken)
        first, end = taken
        return Lease(
            first=first, count=end - first, lines=self._manifest.read(first, end - first), pace=wait.pace, written=self._written
        ), self._hungry()

    def _recall_from_others(self, session: Session) -> list[Callable[[], None]]:
        """Nothing is free: whoever holds more than its workers are busy with is asked to hand it back."""
        wakers = []
        for other in self._sessions.values():
            if other is not session and not other.recall and other.spare > 0:
                other.recall = True
                wakers.append(other.wake)
        return wakers if self._listed else []

    def _hungry(self) -> list[Callable[[], None]]:
        if self._awaited or not self._supply.left:
            return []
        waiting = list(islice(self._hungry_ones, self._supply.left))  # no more than can get something
        for one in waiting:
            del self._hungry_ones[one]
        return [one.wake for one in waiting]

    def _give_back(self, session: Session, *, lost: bool) -> None:
        self._hungry_ones.pop(session, None)
        self._volatile -= session.report.volatile
        for index in session.report.running if lost else ():
            if session.outstanding.contains(index, index + 1):
                self._count_loss(session, index)
        self._supply.give_up(session)
        for start, end in session.outstanding:
            self._supply.add(start, end, urgent=True)

    def _count_loss(self, session: Session, index: int) -> None:
        """A lost instance costs its mini-batches no attempt, but one that was running at loss after loss may have caused them."""
        losses = self._losses[index] = self._losses.get(index, 0) + 1
        if may_retry(failed_attempts=losses - LOSSES_FORGIVEN, max_retries=self._settings.max_retries):
            return
        session.outstanding.remove(index, index + 1)
        message = f"was running each time when one of {losses} instances was lost"
        error = ErrorRecord(kind="lost", message=message)
        self._failures.append((index, error))
        self._lost(session.name, index, error)
        items = item_of(self._manifest.read(index, 1))[0]
        segment = Segment(first=index, last=index, tally=Tally(failed=1, items=items, items_failed=items))
        self._journal.segment(segment)
        self._durable += segment.tally
        self._done += 1
        self._decide()

    def _tally(self) -> Tally:
        return self._durable + self._volatile

    def _decide(self) -> None:
        if self._verdict is not None:
            return
        tally = self._tally()
        if crossed := threshold_crossed(tally, self._settings.limits):
            self._fail("threshold", crossed)
        elif self._listed and self._done == self._manifest.count:
            if late := judged_at_end(tally, self._settings.limits):
                self._fail("threshold", late)
            else:
                self._set(Verdict(status="Completed", failures=tuple(self._failures)))

    def _fail(self, code: str, message: str) -> None:
        errors = [(-1, error) for error in self._init_errors] if code == "init" else self._failures
        self._set(Verdict(status="Failed", code=code, message=message, failures=tuple(errors)))

    def _set(self, verdict: Verdict) -> None:
        if self._verdict is None:
            self._verdict = verdict
            self._lock.notify_all()
            for session in self._sessions.values():
                session.wake()

    def _look_after(self) -> float:
        now = self._clock.now()
        self._forgive_own_absence(now)
        if self._awaited and self._settings.session is not None and now >= self._began + self._settings.session:
            self._awaited.clear()
            _call(self._hungry())
        for epoch, session in list(self._sessions.items()):
            if session.expires <= now:
                del self._sessions[epoch]
                self._give_back(session, lost=True)
                self._silent(session.name)
                session.wake()
                _call(self._hungry())
        if self._settings.session is not None and not any(one.begun for one in self._sessions.values()):
            self._alive = now  # instances are waited for, or get their images
        self._alive = max(self._alive, min(now, self._calm_since()))  # whoever waited for a storage has the whole time-out afterwards
        silent = now - self._alive
        timeout = self._settings.progress_update_timeout
        if silent >= timeout:
            self._fail("progress", f"no mini-batch and no init() has ended for {timeout:g} s (progress_update_timeout)")
        ends = [session.expires - now for session in self._sessions.values()]
        longest = 3600.0 if self._settings.session is None else self._settings.session / 8
        return max(0.001, min([timeout - silent, *ends, longest]))

    def _forgive_own_absence(self, now: float) -> None:
        """While this process was stopped, or its machine was, nobody could renew anything: that time does not count against them."""
        session = self._settings.session
        absent = now - self._looked
        self._looked = now
        if session is not None and absent > session / 2:
            for one in self._sessions.values():
                one.expires += absent
            self._began += absent

    def _expiry(self) -> float:
        return self._clock.now() + (self._settings.session if self._settings.session is not None else float("inf"))


def _call(wakers: Sequence[Callable[[], None]]) -> None:
    for wake in wakers:
        wake()
