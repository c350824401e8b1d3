"""Decisions, as pure functions: how much work to hand out, when to give up. Times are seconds."""

from __future__ import annotations

from dataclasses import dataclass

from runner.model.batch import Tally
from runner.model.job import NO_LIMIT

LEASE_SECONDS = 0.25  # of work per worker in one lease
EXCHANGES_PER_SECOND = 500  # of all instances together
FRAME_SECONDS = 0.01  # of work in one frame to a worker
FRAME_LIMIT = 256  # mini-batches in one frame
LOSSES_FORGIVEN = 3  # from the next loss on, a mini-batch that was running counts a failed attempt
INIT_FAILURES_PER_PROCESS = 3
INIT_PATIENCE = 120.0


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What fails a job (parallel-job.md, "Counting failures")."""

    mini_batch_error_threshold: int = NO_LIMIT
    error_threshold: int = NO_LIMIT
    allowed_failed_percent: float = 100
    unit: str = "items"  # what an item is called: files or rows


def pace(instances: int) -> float:
    """Seconds between two exchanges of an instance, where there are so many that they have to hold back; otherwise 0."""
    seconds = instances / EXCHANGES_PER_SECOND
    return seconds if seconds > LEASE_SECONDS / 2 else 0.0


def lease_size(*, seconds_each: float, workers: int, pace: float) -> int:
    """Mini-batches that keep an instance busy for a quarter of a second, or longer where there are very many instances."""
    return max(workers, round(max(LEASE_SECONDS, pace) * workers / max(seconds_each, 1e-7)))


def fair_share(*, want: int, left: int, listed: bool, instances: int) -> int:
    """What of `want` to hand out when `left` mini-batches are known to be free: small pieces near the end, never less than one."""
    if not listed and left > want:
        return want
    return max(1, min(want, -(-left // (2 * instances))))


def frame_size(*, seconds_each: float, bytes_each: float, frame_bytes: int) -> int:
    """Mini-batches that go to a worker in one frame."""
    by_time = FRAME_SECONDS / max(seconds_each, 1e-7)
    by_size = frame_bytes / max(bytes_each, 1)
    return max(1, min(FRAME_LIMIT, int(by_time), int(by_size)))


def may_retry(*, failed_attempts: int, max_retries: int) -> bool:
    return failed_attempts <= max_retries


def fewer_beside(others: int) -> int:
    """How many workers may be beside one that has run out of memory with so many beside it."""
    return others // 2


def too_few(*, items: int, returned: int, error_threshold: int) -> bool:
    """Whether fewer elements came back than items went in, where that matters."""
    return error_threshold != NO_LIMIT and returned < items


def threshold_crossed(tally: Tally, limits: Limits) -> str:
    """The sentence that says which threshold is crossed, or an empty string."""
    if limits.mini_batch_error_threshold != NO_LIMIT and tally.failed > limits.mini_batch_error_threshold:
        failed = "1 mini-batch has" if tally.failed == 1 else f"{tally.failed} mini-batches have"
        return f"{failed} failed, mini_batch_error_threshold is {limits.mini_batch_error_threshold}"
    if limits.error_threshold != NO_LIMIT and tally.items_failed > limits.error_threshold:
        have = f"{limits.unit[:-1]} has" if tally.items_failed == 1 else f"{limits.unit} have"
        return f"{tally.items_failed} {have} failed, error_threshold is {limits.error_threshold}"
    return ""


def judged_at_end(tally: Tally, limits: Limits) -> str:
    """The sentence that says why a job whose mini-batches are all done has failed nevertheless, or an empty string."""
    total = tally.succeeded + tally.failed
    if total and not tally.succeeded:
        return f"none of the {total} mini-batches succeeded" if total > 1 else "the only mini-batch failed"
    percent = 100 * tally.failed / total if total else 0
    if percent > limits.allowed_failed_percent:
        return f"{percent:.3g} % of the mini-batches have failed, allowed_failed_percent is {limits.allowed_failed_percent:g}"
    return ""


def init_hopeless(*, failures: int, processes: int) -> bool:
    """Whether an instance is given up because its init() keeps failing."""
    return failures >= INIT_FAILURES_PER_PROCESS * processes


def init_hopeless_everywhere(*, failures: int, nodes: int, processes: int, elapsed: float) -> bool:
    """Whether the job fails because init() keeps failing: after two minutes, counted over all instances."""
    return elapsed > INIT_PATIENCE and failures >= 2 * nodes * processes
