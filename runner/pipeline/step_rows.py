"""The rows of a step on their way to its output: in a file or a blob, in the order of the input, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from runner.engine.journal import Journal, Restored, read_journal
from runner.model.job import Step
from runner.model.paths import JobPaths
from runner.outputs import append_row
from runner.outputs.aggregate import Aggregate, Content, FileAggregate, NoRows
from runner.outputs.blob_aggregate import INCOMPLETE, BlobAggregate
from runner.storage import addresses
from runner.storage.stores import Stores


class StepRows:
    """Of one run of a step. `open` comes first."""

    def __init__(self, step: Step, paths: JobPaths, stores: Stores, warn: Callable[[str], None]) -> None:
        self._step, self._paths, self._stores, self._warn = step, paths, stores, warn
        self.format = append_row.format_of(step, paths.code)
        self._aggregate: Aggregate = NoRows()
        self._table = b""  # the description that makes a table of them, for an output of that type

    def open(self, journal: Journal) -> bool:
        """Whether they stand at their place already, of a run that could not say so. Errors: UserError, address without credential."""
        self._aggregate = self._open(journal)
        return self._aggregate.begin(self._table)

    def publish(self, header: str) -> None:
        """All of them. Errors: those of `Aggregate.publish`."""
        self._aggregate.publish(self._content(read_journal(self._paths.journal), header))

    def publish_incomplete(self, journal: Journal) -> Restored:
        """What there is of a job that has ended; returns what of its journal that was. Errors: as `publish`."""
        restored = journal.restored
        self._aggregate = self._open(journal)
        self._aggregate.forget_lost()
        marks = {INCOMPLETE: "true", "runner_mini_batches": str(sum(one.last + 1 - one.first for one in restored.segments))}
        self._aggregate.publish(self._content(restored, restored.header[1] if restored.header else "", marks))
        journal.sync()
        return restored

    def _open(self, journal: Journal) -> Aggregate:
        step, parts = self._step, self._paths.parts
        if step.append_row_to is None:
            return NoRows()
        output = step.outputs[step.append_row_to]
        self._table = append_row.table_description(self.format) if output.type == "mltable" else b""
        rows = append_row.row_file(output)
        if not addresses.is_address(rows):
            return FileAggregate(target=Path(rows), parts=parts, job=step.name, records=journal)
        container, path = self._stores.at(rows)
        return BlobAggregate(container=container, path=path, parts=parts, job=step.name, records=journal, say=self._warn)

    def _content(self, restored: Restored, header: str, marks: Mapping[str, str] | None = None) -> Content:
        header = header if self.format.header else ""
        return Content(segments=restored.segments, blocks=restored.blocks, header=header, table=self._table, marks=marks or {})
