"""The summary at the end of a job: the text of `job_result.txt`, which the command line prints as well."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

from runner.model.batch import ErrorRecord
from runner.model.events import JobEnded
from runner.report.summary import ErrorGroup, Summary

_SHOWN_GROUPS = 10
_SHOWN_HOSTS = 8
_TRACEBACK_LINES = 40
_WORTH_SHOWING = 10_000_000  # nanoseconds of the slowest mini-batch


def render(
    name: str,
    summary: Summary,
    *,
    outputs: Mapping[str, str],
    logs: Path,
    steps: Mapping[str, Summary] | None = None,
    command: bool = False,
) -> str:
    """The page, with its final line end. `outputs`: name → path; `steps`: those of a pipeline; `command`: nothing of it is counted."""
    counted: tuple[Iterator[str], ...] = (_counts(summary), _failures(summary), _slowest(summary))
    if steps or command:
        counted = (_steps(steps, summary.end.message if summary.end else ""),) if steps else (_time_of(summary),)
    parts = (_head(name, summary), *counted, _places(summary, outputs, logs))
    return "\n".join(line for part in parts for line in part) + "\n"


def _steps(steps: Mapping[str, Summary], told: str) -> Iterator[str]:
    """`told`: the message of the pipeline, which is that of one of the steps that have failed."""
    yield ""
    width = max(len(name) for name in steps)
    for name, summary in steps.items():
        progress = summary.progress
        done = f"{progress.succeeded:,} of {progress.total:,} mini-batches succeeded" if progress.total else _took(summary)
        failed = f", {progress.failed:,} failed" if progress.failed else ""
        items = f", {progress.items_failed:,} items failed" if progress.items_failed else ""
        reason = f", {summary.reason}" if progress.total and summary.reason else ""
        yield f"  {name:<{width}}  {summary.status:<10}  {done}{failed}{items}{reason}".rstrip()
        if summary.status == "Failed" and summary.end is not None and not told.startswith(f"step '{name}': "):
            yield from (f"  {'':<{width}}  {line}" for line in _brief(summary.end))


def _brief(end: JobEnded) -> Iterator[str]:
    """What has failed, in two lines."""
    if end.error is None:
        yield end.message.split("\n", 1)[0]
        return
    yield where(end.error)
    if end.error.log:
        yield f"log: {end.error.log}"


def _took(summary: Summary) -> str:
    if summary.reason:
        return summary.reason
    return "" if summary.running is None or summary.ended is None else duration(summary.ended - summary.running)


def _time_of(summary: Summary) -> Iterator[str]:
    if summary.started is not None and summary.ended is not None:
        yield ""
        yield f"  time          {duration(summary.ended - summary.started)}"


def elsewhere(*hosts: str) -> bool:
    """Whether any of these is another machine: what runs on this one needs no name."""
    return any(host not in ("", socket.gethostname()) for host in hosts)


def duration(seconds: float) -> str:
    """`0.8 s`, `2 min 5 s`, `3 h 20 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def rate(count: float, seconds: float) -> str:
    """A number per second, with as many digits as make sense."""
    value = count / seconds if seconds > 0 else 0.0
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def where(error: ErrorRecord) -> str:
    """`ValueError: bad pixel (score.py:12)`."""
    text = f"{error.type}: {error.message}" if error.type else error.message or error.kind
    first = text.strip().split("\n", 1)[0]
    place = f"{error.file}:{error.line}"
    return f"{first} ({place})" if error.file and place not in first else first


def advice(error: ErrorRecord) -> list[str]:
    """What to do about a broken input, as the loader put it: the lines of its message after the first."""
    return error.message.strip().split("\n")[1:] if error.kind == "input" else []


def _head(name: str, summary: Summary) -> Iterator[str]:
    yield f"Job {name}: {summary.status}"
    end = summary.end
    if end is not None and end.status != "Completed" and end.message:
        yield ""
        yield from end.message.rstrip().split("\n")
    if end is not None and end.status == "Failed" and end.error is not None and end.error.traceback.rstrip() not in end.message:
        yield ""
        yield from (f"  {line}" for line in end.error.traceback.rstrip().split("\n")[-_TRACEBACK_LINES:])
    if summary.status == "Completed" and (summary.progress.failed or summary.progress.items_failed):
        yield ""
        yield f"ATTENTION: {_tolerated(summary)} failed, and the job's thresholds let that pass."
        yield "           Set mini_batch_error_threshold or error_threshold to have such a job fail."


def _tolerated(summary: Summary) -> str:
    progress = summary.progress
    parts = []
    if progress.failed:
        parts.append(f"{progress.failed:,} of {progress.total:,} mini-batches")
    if progress.items_failed:
        parts.append(f"{progress.items_failed:,} of {progress.all_items:,} items")
    return " and ".join(parts)


def _counts(summary: Summary) -> Iterator[str]:
    progress = summary.progress
    began = summary.started if summary.started is not None else summary.running
    yield ""
    left = progress.total - progress.succeeded - progress.failed
    rest = f", {left:,} not processed" if left > 0 else ""
    total = f"{progress.total:,}" if progress.listed else f"at least {progress.total:,} (listing had not ended)"
    retries = f"; {progress.retries:,} further attempts" if progress.retries else ""
    yield f"  mini-batches  {total}: {progress.succeeded:,} succeeded, {progress.failed:,} failed{rest}{retries}"
    succeeded, missing = progress.items - progress.items_failed, progress.all_items - progress.items
    rest = f", {missing:,} not processed" if missing > 0 else ""
    yield f"  items         {progress.all_items:,}: {succeeded:,} succeeded, {progress.items_failed:,} failed{rest}"
    if began is not None and summary.ended is not None:
        took = summary.ended - began
        scoring = summary.ended - (summary.running or began)
        yield f"  time          {duration(took)}" + (f", of which running {duration(scoring)}" if scoring < took - 0.05 else "")
        if summary.finished_here:
            yield f"  throughput    {rate(summary.finished_here, scoring)} mini-batches/s, {rate(_items_here(summary), scoring)} items/s"
    if summary.workers:
        nodes = f"{summary.nodes} node{'s' if summary.nodes != 1 else ''}"
        yield f"  workers       {summary.workers} on {nodes}, longest init() {duration(summary.init_seconds)}"
    if elsewhere(*summary.hosts.values()):
        shown = [f"{node} on {host}" for node, host in sorted(summary.hosts.items(), key=_number)[:_SHOWN_HOSTS]]
        more = len(summary.hosts) - len(shown)
        yield f"  nodes         {', '.join(shown)}" + (f", and {more} more" if more else "")


def _number(instance: tuple[str, str]) -> tuple[int, str]:
    return len(instance[0]), instance[0]


def _items_here(summary: Summary) -> float:
    done = summary.progress.succeeded + summary.progress.failed
    return summary.progress.items * min(1.0, summary.finished_here / done) if done else 0.0


def _failures(summary: Summary) -> Iterator[str]:
    groups = sorted(summary.failures.values(), key=lambda group: -group.count)
    if not groups:
        return
    yield ""
    yield "Failed mini-batches by error"
    for group in groups[:_SHOWN_GROUPS]:
        yield from _group(group)
    others = sum(group.count for group in groups[_SHOWN_GROUPS:]) + summary.other_failures
    if others:
        yield f"  {others:>6,}  other errors: see sys/job_report/processed_mini-batches.csv"


def _group(group: ErrorGroup) -> Iterator[str]:
    yield f"  {group.count:>6,}  {where(group.error)}"
    yield from (f"          {line.strip()}" for line in advice(group.error))
    item = f", item {group.error.item}" if group.error.item else ""
    yield f"          first: mini-batch {group.index}{item}" + (f", log {group.log}" if group.log else "")


def _slowest(summary: Summary) -> Iterator[str]:
    if len(summary.slowest) < 2 or summary.slowest[0][0] < _WORTH_SHOWING:
        return
    yield ""
    yield "Slowest mini-batches"
    for ns, index, node, process in summary.slowest:
        yield f"  {ns / 1e9:>9.3f} s  mini-batch {index} ({node} {process})"


def _places(summary: Summary, outputs: Mapping[str, str], logs: Path) -> Iterator[str]:
    yield ""
    if summary.warnings:
        yield f"Warnings ({len(summary.warnings) + summary.more_warnings})"
        yield from (f"  {text}" for text in summary.warnings[:_SHOWN_GROUPS])
        if len(summary.warnings) + summary.more_warnings > _SHOWN_GROUPS:
            yield "  … the others stand in sys/master_role.txt"
        yield ""
    if summary.status == "Completed":
        for name, path in outputs.items():
            yield f"Output {name}: {path}"
    yield f"Logs: {logs}"
