"""A file that grows at its end, as a blob that grows with it: its new bytes are further blocks of the same blob.

A group of new bytes costs two requests: stage and commit; a small file one, because it is put as a whole. A commit makes the group appear
at one moment, and only where the blob still is what we left there (its ETag): an owner that has been superseded writes nothing more.

A blob has at most 50,000 blocks, and a job may write for months. So small blocks are joined: with the new bytes, the last ones are staged
again as one as long as the last is less than twice as large as what comes behind it. Their sizes then halve from one to the next, there
are about twenty, and a byte is sent a few times before it lies in a block of 1 MiB, which stays. What is large is not joined, until there
are so many that it must. (An append blob would append with one request, but can join nothing: after 50,000 groups, two days and a half at
one in five seconds, a file would become several blobs, and Azure's own tools show one log as many.)
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from runner.storage.blob import BlobContainer
from runner.storage.problems import BlocksLost

SMALL = 64 << 10  # bytes of a file that is put as a whole
LARGEST = 4 << 20  # bytes of a block, unless there are very many
JOINED = 1 << 20  # bytes of a block that is not joined any more
MANY = 8192  # blocks after which both double, and again
TAIL = 256  # last bytes by which a file is known again

Read = Callable[[int, int], bytes]  # (offset, length) of the file


def group(sizes: Sequence[int], added: int) -> tuple[int, list[int]]:
    """How many of the blocks of these sizes stay as they are, and the sizes of the new ones behind them."""
    scale = len(sizes) // MANY
    kept, new = len(sizes), added
    while kept and sizes[kept - 1] < min(2 * new, JOINED << scale):
        kept -= 1
        new += sizes[kept]
    largest = LARGEST << scale
    return kept, [largest] * (new // largest) + ([new % largest] if new % largest else [])


@dataclass(kw_only=True)
class GrowingBlob:
    """`size` bytes of the file are in the blob. Used by one thread at a time. `known`: it may be there from an earlier owner."""

    container: BlobContainer
    path: str
    size: int = 0
    etag: str = ""  # "": there is no such blob
    known: bool = False
    _blocks: list[tuple[str, int]] = field(default_factory=list)
    _tail: bytes = b""
    _prefix: str = field(default_factory=lambda: secrets.token_hex(4))
    _made: int = 0

    def bring(self, read: Read, size: int, *, anew: bool = False) -> None:
        """Makes the blob the first `size` bytes of the file. One that was cut or written `anew` is sent as a whole.

        Errors: BlobChanged when somebody else has written the blob; what `read` raises, and then the blob is what it was.
        """
        if self.known and size > SMALL:
            self._adopt()
        self.known = False
        if anew or size < self.size or (self._tail and read(self.size - len(self._tail), len(self._tail)) != self._tail):
            self._forget()
        if size <= SMALL and not self._blocks:
            self.put(read(0, size))
            return
        if size == self.size and self._blocks:
            return
        try:
            self._append(read, size)
        except BlocksLost:  # they waited too long, or were dropped by somebody's commit
            self._forget()
            self._append(read, size)
        self.size = size
        self._tail = read(size - TAIL, TAIL)

    def put(self, data: bytes) -> None:
        """Makes the blob these bytes. Errors: BlobChanged."""
        self.etag = self.container.put(self.path, data, etag=self.etag)
        self._blocks, self._tail, self.size = [], data[-TAIL:], len(data)

    def _adopt(self) -> None:
        """Goes on with what an earlier owner has written; without its blocks, from the beginning."""
        blocks = self.container.committed(self.path)
        if sum(size for _, size in blocks) == self.size:
            self._blocks = blocks
            length = min(TAIL, self.size)
            self._tail = self.container.read(self.path, self.size - length, length, etag=self.etag)
        else:
            self._forget()

    def _forget(self) -> None:
        self._blocks, self._tail, self.size = [], b"", 0

    def _append(self, read: Read, size: int) -> None:
        sent = sum(length for _, length in self._blocks)  # what was put as a whole is in no block
        kept, sizes = group([length for _, length in self._blocks], size - sent)
        blocks = self._blocks[:kept]
        at = sum(length for _, length in blocks)
        for length in sizes:
            block = self._name()
            self.container.stage(self.path, block, read(at, length))
            blocks.append((block, length))
            at += length
        self._commit(blocks)

    def _commit(self, blocks: list[tuple[str, int]]) -> None:
        self.etag = self.container.commit(self.path, [block for block, _ in blocks], etag=self.etag)
        self._blocks = blocks

    def _name(self) -> str:
        self._made += 1
        return f"{self._prefix}{self._made:08d}"
