"""The input that is split, when it consists of files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from runner.errors import Place, UserError, did_you_mean
from runner.inputs.fetch import FileLoader, whole_path
from runner.inputs.file_list import NO_STORES, START, Root, blocks_of
from runner.inputs.files import FileEntry, Strays, entries_of
from runner.inputs.keys import EXAMPLE, PartitionFormat, pick
from runner.inputs.known import verify, verify_groups
from runner.inputs.lister import count_chunks
from runner.inputs.split import FILES_EACH, by_keys, group_chunks
from runner.model.batch import Chunk
from runner.model.job import Step
from runner.model.ports import Loader, SourceSummary
from runner.storage.stores import Stores


class FileSource:
    """Mini-batches of files, by count or by keys (a `runner.model.ports.Source`)."""

    def __init__(
        self,
        step: Step,
        roots: Sequence[Root],
        *,
        root: str,
        what: str,
        partition_format: PartitionFormat | None = None,
        stores: Stores = NO_STORES,
        scratch: Path,
        warn: Callable[[str], None],
    ) -> None:
        """`root`: what relative manifest paths are below; `what`: the kind of input, for messages. Checks the step's settings."""
        self._roots, self._stores, self._scratch, self._warn = roots, stores, scratch, warn
        self._keys = step.partition_keys
        self._format = partition_format
        if self._keys:
            _check_keys(step, partition_format, what)
        elif step.mini_batch_size_has_unit:
            raise UserError(
                f"mini_batch_size has a unit of bytes, but '{step.input_data}' is {what}, which is split by number of files",
                place=Place(field="mini_batch_size"),
                allowed="a whole number of files, such as 10",
            )
        self._files_each = FILES_EACH if step.mini_batch_size is None else step.mini_batch_size
        how = f"by {', '.join(self._keys)}" if self._keys else f"{self._files_each} per mini-batch"
        self.summary = SourceSummary(kind="files", root=root, description=f"{what}, {how}")
        remote = any(each.is_remote for each in roots)
        self.loader: Loader | None = FileLoader(stores, root=root) if remote else None

    def chunks(self, known: Iterator[bytes]) -> Iterator[Chunk]:
        """See `Source.chunks`. Split by keys, all files are listed before the first mini-batch."""
        earlier = next(known, None)
        lines = None if earlier is None else chain([earlier], known)
        yield from self._by_keys(lines) if self._keys else self._by_count(lines)

    def _by_count(self, known: Iterator[bytes] | None) -> Iterator[Chunk]:
        start = START if known is None else verify(known, self._roots, self._warn, self._stores)
        return count_chunks(self._roots, self._files_each, self._warn, start, self._stores)

    def _by_keys(self, known: Iterator[bytes] | None) -> Iterator[Chunk]:
        assert self._format is not None
        match, root = self._format.match, self.summary.root
        groups = by_keys(self._files(), lambda path: pick(match(whole_path(path, root)), self._keys), self._scratch)
        return group_chunks(groups if known is None else verify_groups(known, groups, self._keys, self._warn), self._keys)

    def _files(self) -> Iterator[FileEntry]:
        strays = Strays()
        yield from entries_of(block for _, block in blocks_of(self._roots, strays, stores=self._stores))
        strays.tell(self._warn)


def _check_keys(step: Step, partition_format: PartitionFormat | None, what: str) -> None:
    place = Place(field="partition_keys")
    if partition_format is None:
        raise UserError(
            f"'{step.input_data}' is {what}, whose files have no keys to split by",
            place=place,
            todo="make it an mltable whose MLTable file says where the keys stand in the paths: "
            f'`transformations: [extract_columns_from_partition_format: {{partition_format: "{EXAMPLE}"}}]`',
        )
    for key in step.partition_keys:
        if key not in partition_format.names:
            raise UserError(
                f"'{step.input_data}' has no key '{key}'",
                place=place,
                allowed=", ".join(partition_format.names),
                todo=did_you_mean(key, partition_format.names),
            )
