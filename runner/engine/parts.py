"""What an instance consists of: put together at its beginning, taken apart at its end."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from runner.engine.backlog import Backlog
from runner.engine.courier import Courier
from runner.engine.crew import Crew
from runner.engine.feeder import Feeder
from runner.engine.gateway import Gateway
from runner.engine.outlets import open_outlet
from runner.engine.results import Results
from runner.engine.scratch import make_scratch, remove_scratch
from runner.engine.settings import InstanceSettings
from runner.engine.switchboard import Subscriber, Switchboard
from runner.engine.workers import Frame
from runner.errors import RunnerError
from runner.model.batch import Lease, Loaded, Recall, Stop
from runner.model.events import Observer
from runner.model.ports import Clock, InstanceRequest, Loader, Room
from runner.model.ports import Instance as Keeper
from runner.storage.stores import Stores
from runner.worker.protocol import message

KEEPER_SECONDS = 10.0
WHOLE_ENDS = ("completed", "retired")  # words of the coordinator after which workers may say goodbye
PATIENT_ENDS = (*WHOLE_ENDS, "init", "")  # after which the job goes on, with others


class Owner(Subscriber, Protocol):
    """Whom the parts call: `answered` in the loop's thread, the others in any."""

    def answered(self, answer: Lease | Recall | Stop | None) -> None: ...
    def loaded(self, frame: Frame, loaded: Loaded | BaseException) -> None: ...
    def warn(self, text: str) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Parts:
    """`sockets`: the scratch folder; `fetched`: where the loader lays out files, if it does."""

    settings: InstanceSettings
    gateway: Gateway
    loader: Loader | None
    fetched: Path | None
    sockets: Path
    pool: ThreadPoolExecutor
    switchboard: Switchboard
    crew: Crew
    backlog: Backlog
    courier: Courier
    results: Results
    feeder: Feeder

    @property
    def request(self) -> InstanceRequest:
        return replace(self.settings.request, sockets=str(self.sockets))

    def end(self, stop: Stop | None, keeper: Keeper | None, *, lost: bool) -> None:
        """Hands in what is finished, and ends everything. `stop`: the coordinator's word; `lost`: the keeper has died."""
        fenced = stop is not None and stop.reason == "fenced"
        for worker in () if fenced else list(self.crew.workers.values()):  # what they have finished in the meantime counts
            self.switchboard.drain(worker)
        self.results.gather_all()
        self.switchboard.tell_keeper(message({"t": "end"}))
        if fenced:  # others begin with what runs here: its end must not wait for a disk
            self._end_keeper(keeper)
        reason = "lost" if lost else stop.reason if stop else ""
        self.courier.end(patiently=lost or reason in PATIENT_ENDS, whole=reason in WHOLE_ENDS)
        if isinstance(self.courier.error, (OSError, RunnerError)):
            self.gateway.fail("output", f"what mini-batches have written could not be made durable: {self.courier.error}")
        self.gateway.leave(self.courier.epoch, lost=lost)
        if not fenced:
            self._end_keeper(keeper)
        self._close()
        if self.courier.error and not isinstance(self.courier.error, (OSError, RunnerError)):
            raise self.courier.error

    def _end_keeper(self, keeper: Keeper | None) -> None:
        if keeper is not None:
            if self.switchboard.keeper_hangs_up(KEEPER_SECONDS):
                keeper.let_go()
            else:
                keeper.kill()

    def _close(self) -> None:
        self.switchboard.close()
        for worker in list(self.crew.workers.values()):
            self.crew.ended(worker)
        if self.loader:
            self.loader.end(self.fetched or self.sockets)
        self.pool.shutdown(wait=not self.backlog.is_loading, cancel_futures=True)
        self.crew.close()
        remove_scratch(self.sockets)
        if self.fetched:
            shutil.rmtree(self.fetched, ignore_errors=True)


def assemble(
    settings: InstanceSettings,
    *,
    gateway: Gateway,
    loader: Loader | None,
    publish: Observer,
    clock: Clock,
    stores: Stores,
    owner: Owner,
) -> Parts:
    """Joins the coordinator's instances; starts nothing."""
    node, processes, room = settings.worker.node, settings.worker.processes, loader.room if loader else Room()
    pool = ThreadPoolExecutor(max_workers=max(2, processes) + room.loads, thread_name_prefix=node)
    sockets, fetched = make_scratch(), settings.fetched if room.on_disk else None
    switchboard = Switchboard(sockets, owner)
    crew = Crew(
        settings.worker,
        sockets=sockets,
        pool=pool,
        post=switchboard.post,
        tell_keeper=switchboard.tell_keeper,
        now=clock.now,
        fail=partial(gateway.fail, "instance"),
    )
    backlog = Backlog(
        loader=loader,
        pool=pool,
        scratch=fetched or sockets,
        loaded=owner.loaded,
        now=clock.now,
        transport=None if settings.worker.kind == "table" else "files",
    )
    courier = Courier(
        exchange=gateway,
        name=node,
        workers=processes,
        outlet=partial(open_outlet, settings, stores, owner.warn),
        prefix=f"{settings.epoch:04d}-{node}",
        clock=clock,
        deliver=lambda answer: switchboard.post(partial(owner.answered, answer)),
        waiting=lambda: stores.calm_since == float("inf"),
    )
    results = Results(settings, courier=courier, backlog=backlog, crew=crew, publish=publish, clock=clock)
    feeder = Feeder(
        settings,
        crew=crew,
        backlog=backlog,
        courier=courier,
        results=results,
        switchboard=switchboard,
        clock=clock,
        calm_since=lambda: stores.calm_since,
    )
    return Parts(
        settings=settings,
        gateway=gateway,
        loader=loader,
        fetched=fetched,
        sockets=sockets,
        pool=pool,
        switchboard=switchboard,
        crew=crew,
        backlog=backlog,
        courier=courier,
        results=results,
        feeder=feeder,
    )
