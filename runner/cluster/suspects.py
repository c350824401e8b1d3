"""Which nodes are to blame when instances cannot be started: only evidence counts, so that a broken job costs no node its place.

A failure on a node is held against it when an instance of the same step has started on another node. Where the reason has nothing to do
with the job (the node does not see a datastore, or has no Docker engine), an instance of any job on another node will do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from runner.errors import one_line

ENOUGH_JOBS = 2  # whose failures are held against a node, after which it is set aside
SHOWN = 300  # characters of the last error
Step = tuple[str, str]  # job, and its step


@dataclass
class _Record:
    """Of one node. `open`: failures that may still be the job's own."""

    open: dict[Step, tuple[str, bool]] = field(default_factory=dict)  # text, and whether any other job proves it
    proven: dict[Step, str] = field(default_factory=dict)


class Suspects:
    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}
        self._runs_on: dict[Step, set[str]] = {}  # of the steps that an open failure is about
        self._good: dict[str, None] = {}  # nodes on which the last thing that was tried has started, the latest last

    def started(self, node: str, step: Step) -> Mapping[str, str]:
        """Node → why it is set aside now."""
        self._records.pop(node, None)
        self._good.pop(node, None)
        self._good[node] = None
        self._runs_on.setdefault(step, set()).add(node)
        return self._judged()

    def failed(self, node: str, step: Step, text: str, *, unfit: bool) -> Mapping[str, str]:
        """Node → why it is set aside now."""
        self._good.pop(node, None)
        self._records.setdefault(node, _Record()).open[step] = text, unfit
        return self._judged()

    def forget(self, node: str) -> None:
        self._records.pop(node, None)

    def ended(self, job: str) -> None:
        """Nothing that could prove anything comes of this job any more."""
        for step in [step for step in self._runs_on if step[0] == job]:
            del self._runs_on[step]

    def _judged(self) -> dict[str, str]:
        found = {}
        for node, record in self._records.items():
            for step, (text, unfit) in list(record.open.items()):
                witnesses = (self._runs_on.get(step) or set()) | (set(self._good) if unfit else set())
                if witnesses - {node}:
                    record.proven[step] = text
                    del record.open[step]
            if len(record.proven) >= ENOUGH_JOBS:
                found[node] = _reason(record.proven)
        return found


def _reason(proven: Mapping[Step, str]) -> str:
    jobs = list(dict.fromkeys(job for job, _ in proven))
    last = one_line(list(proven.values())[-1].replace("\n", " "))
    last = last if len(last) <= SHOWN else f"{last[:SHOWN]}…"
    return f"instances of {' and '.join(jobs[-ENOUGH_JOBS:])} could not be started here and could elsewhere; the last error: {last}"
