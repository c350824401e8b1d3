"""The blob of rows of a job: instances have staged its blocks; one commit, in input order, makes it appear."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from runner.errors import UserError
from runner.failpoints import failpoint
from runner.model.batch import Block, Segment
from runner.model.datastore import BlobInfo
from runner.outputs.aggregate import TABLE, Content, Records, RowsLost
from runner.outputs.block_ids import BlockIds, blocks_of
from runner.outputs.blocks import LARGEST_BLOCK
from runner.outputs.rows import copy_rows
from runner.storage import addresses
from runner.storage.problems import BlobChanged, BlobMissing, BlocksLost

MOST_BLOCKS = 50_000  # of one blob
JOB, COMMIT, INCOMPLETE = "runner_job", "runner_commit", "runner_incomplete"  # metadata of the blob


class Committing(Protocol):
    """What is needed of a container of blobs (storage.blob.BlobContainer)."""

    def address(self, path: str) -> str: ...
    def info(self, path: str) -> BlobInfo: ...
    def put(self, path: str, data: bytes) -> str: ...
    def stage(self, path: str, block: str, data: bytes) -> None: ...
    def staged(self, path: str) -> Mapping[str, int]: ...
    def commit(self, path: str, blocks: Sequence[str], *, etag: str | None, metadata: Mapping[str, str]) -> str: ...
    def check_writable(self, path: str) -> None: ...


@dataclass(frozen=True, kw_only=True)
class BlobAggregate:
    """`say` is told in a line what was lost."""

    container: Committing
    path: str
    parts: Path
    job: str
    records: Records
    say: Callable[[str], None]

    def begin(self, table: bytes) -> bool:
        """Errors: UserError where somebody else has written to the blob since the job began."""
        self.container.check_writable(self.path)
        now, restored = self._info(), self.records.restored
        ours = _is_ours(now, restored.commit)
        if now and ours and INCOMPLETE not in now.metadata:
            self._describe(table)
            return True
        etag = now.etag if now else ""
        if restored.target is None or ours:
            self.records.target(etag)
        elif restored.target != etag:
            raise self._written_by_others(now)
        self._forget_lost(restored.segments, restored.blocks)
        self.records.sync()
        return False

    def publish(self, content: Content) -> None:
        now = self._info()
        if (now.etag if now else "") != self.records.restored.target:
            raise self._written_by_others(now)
        if lost := self._forget_lost(content.segments, content.blocks):
            raise RowsLost(lost)
        blocks = list(self._all_staged(content))
        if len(blocks) > MOST_BLOCKS:
            raise UserError(f"the rows are in {len(blocks)} blocks, and a blob has {MOST_BLOCKS} at most", todo="use larger mini-batches")
        failpoint("blocks.ready")
        token = secrets.token_hex(8)
        self.records.commit(token)
        self.records.sync()
        self._commit(blocks, token, content)
        self._describe(content.table)  # a crash in between: `begin` does it

    def forget_lost(self) -> None:
        self._forget_lost(self.records.restored.segments, self.records.restored.blocks)

    def _commit(self, blocks: Sequence[str], token: str, content: Content) -> None:
        marks = {JOB: self.job, COMMIT: token, **content.marks}
        failpoint("commit.before")
        try:
            with self.records.owned():
                etag = self.container.commit(self.path, blocks, etag=self.records.restored.target, metadata=marks)
        except BlobChanged:
            now = self._info()
            if not _is_ours(now, token):  # else the answer to our own commit was lost
                raise self._written_by_others(now) from None
            etag = now.etag if now else ""
        except BlocksLost:
            raise RowsLost(self._forget_lost(content.segments, content.blocks) or "blocks were lost") from None
        failpoint("commit.done")
        self.records.target(etag)

    def _written_by_others(self, now: BlobInfo | None) -> UserError:
        self.records.target(now.etag if now else "")
        self.records.sync()
        return UserError(
            f"'{self.container.address(self.path)}' was written by somebody else since this job began, which also drops rows that this job "
            "had staged there: `job resume` does those mini-batches again, and then replaces what is there"
        )

    def _all_staged(self, content: Content) -> Iterator[str]:
        """The blocks of the whole blob in their order. What instances could not put together is staged here."""
        ids = BlockIds()
        if content.header:
            yield self._stage(ids, content.header.encode("utf-8", "surrogateescape"))
        for stretch in lay_out(content.segments, content.blocks):
            yield from stretch.ids
            data = bytearray()
            for segment in stretch.spilled:
                copy_rows(self.parts, segment, data.extend)
                if len(data) >= LARGEST_BLOCK:
                    yield self._stage(ids, bytes(data))
                    data.clear()
            if data:
                yield self._stage(ids, bytes(data))

    def _stage(self, ids: BlockIds, data: bytes) -> str:
        name = ids.many(1)[0]
        self.container.stage(self.path, name, data)
        failpoint("block.left_over")
        return name

    def _describe(self, table: bytes) -> None:
        if table:
            self.container.put(addresses.join(addresses.parent(self.path), TABLE).lstrip("/"), table)

    def _info(self) -> BlobInfo | None:
        try:
            return self.container.info(self.path)
        except BlobMissing:
            return None

    def _lost(self, segments: Sequence[Segment], blocks: Sequence[Block]) -> set[str]:
        needed = {name for segment in segments for name in blocks_of(segment)} | {block.id for block in blocks}
        return needed.difference(self.container.staged(self.path)) if needed else set()

    def _forget_lost(self, segments: Sequence[Segment], blocks: Sequence[Block]) -> str:
        """Takes mini-batches whose rows are gone out of what is done; returns what has happened in words, if anything has."""
        lost = self._lost(segments, blocks)
        if not lost:
            return ""
        again = _count(segments, lost)
        self.records.gone(sorted(lost))
        self.records.sync()
        text = f"rows staged for '{self.container.address(self.path)}' are gone (somebody has written to it, or a week has passed)"
        text += f": {again} mini-batch{'es are' if again != 1 else ' is'} done again" if again else "; they are still in the job's folder"
        self.say(text)
        return text


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Some rows in a row: in blocks, or still in parts."""

    ids: Sequence[str] = ()
    spilled: Sequence[Segment] = ()


def lay_out(segments: Sequence[Segment], blocks: Sequence[Block]) -> list[Stretch]:
    """Where all rows are, in input order. A block stands for the segments that it was made of; one that does not fit them is left out."""
    rows = [segment for segment in segments if segment.length]
    made = {block.first: block for block in blocks}
    found: list[Stretch] = []
    spilled: list[Segment] = []
    at = 0
    while at < len(rows):
        block = made.get(rows[at].first)
        end = _covered(rows, at, block) if block else 0
        ids = [block.id] if block and end else blocks_of(rows[at])
        if not ids:
            spilled.append(rows[at])
        else:
            found += [Stretch(spilled=spilled)] if spilled else []
            found.append(Stretch(ids=ids))
            spilled = []
        at = end or at + 1
    return found + ([Stretch(spilled=spilled)] if spilled else [])


def _covered(rows: Sequence[Segment], at: int, block: Block) -> int:
    """The end of the segments from `at` on that the block was made of; 0 if it does not fit them."""
    left = block.length
    while at < len(rows) and rows[at].last <= block.last and not blocks_of(rows[at]):
        left -= rows[at].length
        at += 1
    return at if not left and (at == len(rows) or rows[at].first > block.last) else 0


def _count(segments: Sequence[Segment], lost: Collection[str]) -> int:
    return sum(one.last + 1 - one.first for one in segments if any(name in lost for name in blocks_of(one)))


def _is_ours(info: BlobInfo | None, token: str) -> bool:
    return bool(token) and info is not None and info.metadata.get(COMMIT) == token
