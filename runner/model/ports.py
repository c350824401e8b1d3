"""The places where parts are plugged in: sources and loaders of mini-batches, launchers of instances, the clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from runner.model.batch import Chunk, Loaded
from runner.model.docker import BindMount


class Clock(Protocol):
    def now(self) -> float:
        """Seconds, monotonic."""

    def wall(self) -> float:
        """Seconds since the epoch."""


# How tables come to a worker: as Arrow IPC files in memory; the same, but what needs no change (row groups of Parquet files, slices of
# delimited text) is left to the worker to read; or as typed CSV, for workers without pyarrow. Files come as files.
Transport = Literal["arrow", "direct", "csv", "files"]


@dataclass(frozen=True, kw_only=True)
class Room:
    """Where a loader puts what it has made ready, and how much of it at once.

    What lies on a disk is there for further attempts too, and however long it takes to come, it is waited for.
    """

    on_disk: bool = False  # or else in memory
    ahead: int = 256 << 20  # bytes that may lie ready; on a disk, those on their way included and those with a worker left out
    frame: int = 32 << 20  # bytes in one frame
    loads: int = 0  # frames made ready at once, however few workers there are


class Loader(Protocol):
    """Runs beside the workers, shared by the instances of a process and called from several threads: manifest lines → what workers read."""

    @property
    def room(self) -> Room: ...

    def weight(self, line: bytes) -> int:
        """Bytes that a mini-batch will take, as far as it is known before it is loaded."""

    def load(self, first: int, lines: Sequence[bytes], scratch: Path, transport: Transport) -> Loaded:
        """Reads the mini-batches first, first+1, … into new files below `scratch`, the instance's own.

        Errors: UserError and OSError for what no other mini-batch would be spared.
        """

    def free(self, scratch: Sequence[str]) -> None:
        """What was loaded is no longer needed: `scratch` of a Loaded."""

    def end(self, scratch: Path) -> None:
        """The instance whose folder that is has ended: what is still to come for it is wanted no more."""


@dataclass(frozen=True, kw_only=True)
class SourceSummary:
    """What is known of an input before it is listed, for the plan and for workers."""

    kind: Literal["files", "table"]
    root: str  # relative manifest paths of files stand below it; "" for tables
    description: str = ""  # one line for the plan: "uri_folder of files, 10 per mini-batch"


class Source(Protocol):
    """The split input: `inputs.open_source(step, …)` makes one."""

    @property
    def summary(self) -> SourceSummary: ...

    @property
    def loader(self) -> Loader | None:
        """None for local files: their manifest lines go to the worker as they are."""

    def chunks(self, known: Iterator[bytes]) -> Iterator[Chunk]:
        """All further mini-batches in input order, lazily.

        `known` yields the manifest lines of an earlier run of the same job (empty on a first run): they are verified (changed or
        missing items raise a `UserError` that names them), not yielded again; items that are new since then and sort before the last
        known one are left out, with a warning. Stops when the generator is closed.
        """


@dataclass(frozen=True, kw_only=True)
class InstanceRequest:
    """Everything a launcher needs to start the keeper of one instance: data, so that tests can compare it."""

    job: str
    node: str
    python: str  # the user's interpreter (a path on the machine, or in the image)
    agent: str  # the worker folder
    sockets: str  # folder with the instance's socket, mapped page and scratch; short, because of the limit of socket paths
    environment: Mapping[str, str] = field(default_factory=dict)
    working_dir: str = "/"
    log: str = ""  # where the keeper's own stderr goes
    gpus: tuple[str, ...] = ()  # devices of this machine that are the instance's
    mounts: tuple[BindMount, ...] = ()  # what keeper and workers must see of this machine, where they see nothing else of it


class Instance(Protocol):
    """A started keeper."""

    def kill(self) -> None:
        """Ends it and everything in it at once; idempotent."""

    def wait(self, timeout: float | None = None) -> int | None:
        """Its exit status, or None after `timeout` seconds."""

    def let_go(self) -> None:
        """It has killed all that was its own and hung up: only what the system does by itself is left."""


class Launcher(Protocol):
    def start(self, request: InstanceRequest) -> Instance:
        """Errors: UserError when it cannot be started as the job asks."""

    def close(self, warn: Callable[[str], None]) -> None:
        """After the last instance has ended."""
