"""Mini-batches as the engine sees them: numbers in a row, each with one line of text in the manifest.

The line is JSON made by `inputs` and understood by its loader and by the worker; the engine never looks inside:
files    {"files": [["relative/path.png", size, version], …]}   paths relative to the input's root, or absolute
tables   whatever the table's loader needs to find the slice again (file, byte range, row groups, rows of a spill file)
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Some further mini-batches, in input order, as a source yields them. `lines` have no line ends."""

    lines: list[bytes]
    items: int  # files in them; 0 for tables, whose rows are known when they are read
    bytes: int  # size of the input they stand for
    largest: int = 0  # bytes of the largest mini-batch in the chunk


INPUT_CHANGED = "InputChanged"  # the `type` of an error about an input that is no longer what was listed


@dataclass(frozen=True, kw_only=True)
class ErrorRecord:
    """What went wrong in user code or in an input, in words; made in the worker or by a loader."""

    kind: str  # exception, command, timeout, exit, killed, out_of_memory, return_type, short, input, init
    type: str = ""  # the exception's class name
    message: str = ""
    traceback: str = ""  # the user's, in full, without the runner's own frames
    file: str = ""  # of the user's frame nearest to the error, relative to the code folder where it lies in it
    line: int = 0
    item: str = ""  # the file or row, where known
    log: str = ""  # the worker's log file, absolute


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """Mini-batches made ready for a worker.

    `lines[i]` is what the worker gets for the i-th of them (see worker/protocol.py); `failed[i]` says why the i-th could not be
    read, in which case its line is empty. `scratch` are files that the loader frees once all are done; `bytes` what they hold.
    """

    lines: list[bytes]
    failed: dict[int, ErrorRecord] = field(default_factory=dict)
    scratch: tuple[str, ...] = ()
    bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Counts over some mini-batches."""

    succeeded: int = 0
    failed: int = 0
    items: int = 0  # that went in
    items_failed: int = 0
    returned: int = 0  # elements that came back
    retries: int = 0  # further attempts that were made

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            succeeded=self.succeeded + other.succeeded,
            failed=self.failed + other.failed,
            items=self.items + other.items,
            items_failed=self.items_failed + other.items_failed,
            returned=self.returned + other.returned,
            retries=self.retries + other.retries,
        )

    def __sub__(self, other: Tally) -> Tally:
        return Tally(
            succeeded=self.succeeded - other.succeeded,
            failed=self.failed - other.failed,
            items=self.items - other.items,
            items_failed=self.items_failed - other.items_failed,
            returned=self.returned - other.returned,
            retries=self.retries - other.retries,
        )


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A contiguous run of finished mini-batches and where their rows lie: made by an instance, kept in the journal.

    All of a run have succeeded, or all have failed for good; one that failed but keeps rows (too few came back) stands alone.
    A later run of the job can thus do the failed ones afresh without cutting rows apart.
    """

    first: int
    last: int  # inclusive
    tally: Tally
    part: str = ""  # file name below the job's parts folder, or what block_ids.part_of says of staged blocks; "" when there are no rows
    offset: int = 0
    length: int = 0
    crc: int = 0  # zlib.crc32 of the rows


@dataclass(frozen=True, kw_only=True)
class Block:
    """Rows that were in parts and now also lie together in a staged block of the final blob: those of all mini-batches first … last."""

    first: int
    last: int  # inclusive
    id: str
    length: int


@dataclass(frozen=True, kw_only=True)
class Lease:
    """Work handed to an instance: mini-batches first … first + count − 1, their manifest lines joined by newlines."""

    first: int
    count: int
    lines: bytes
    pace: float = 0.0  # seconds that the instance should let pass between two exchanges; 0: as it likes
    written: int = 0  # bytes of rows that the job has so far


@dataclass(frozen=True, kw_only=True)
class Wait:
    """Nothing to do at the moment; the instance is woken when there is."""

    pace: float = 0.0  # as in Lease
    written: int = 0


@dataclass(frozen=True, kw_only=True)
class Recall:
    """Others are idle: hand back what has not started."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What an instance hands in at an exchange."""

    segments: tuple[Segment, ...] = ()  # durable now
    blocks: tuple[Block, ...] = ()  # staged now, of segments that were reported before
    volatile: Tally = Tally()  # of all that is finished but not durable yet; replaces the one reported before
    returned: tuple[tuple[int, int], ...] = ()  # first, last of mini-batches given back unstarted
    failures: tuple[tuple[int, ErrorRecord], ...] = ()  # mini-batches that failed for good since the last report, a few of them
    header: tuple[int, str] | None = None  # column names of the rows and the mini-batch they were seen at
    ready: int = 0  # workers whose init() has returned
    running: tuple[int, ...] = ()  # mini-batches that workers are busy with
    attempts: int = 0  # finished attempts and init()s so far, of any result: the sign of life that progress_update_timeout looks at
    waiting: bool = False  # for a storage that does not answer, which is told to people and is no standstill of the job


@dataclass(frozen=True, kw_only=True)
class Stop:
    """No more work: `reason` is `done`, `failed`, `cancelled` or `fenced`."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Counts of a job at one moment. `total` grows until `listed`."""

    total: int = 0
    listed: bool = False
    succeeded: int = 0
    failed: int = 0
    retries: int = 0
    items: int = 0  # of finished mini-batches
    items_listed: int = 0  # of all that are listed; 0 where that is not known (rows of tables)
    items_failed: int = 0
    workers: int = 0  # ready
    running: int = 0

    @property
    def all_items(self) -> int:
        """How many items there are, as far as is known."""
        return max(self.items_listed, self.items)
