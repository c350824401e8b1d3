"""Long lists are made in a process of their own.

Listing asks the system about each file, and each time a thread of a busy process would have to win back the interpreter: beside
one other thread that computes, a call of two microseconds was measured to take 370. So the first files are listed at home, where
they are there at once, and the rest in a child, which sends finished lines. It ends when its input does, so it never outlives
who started it.

To the child: one line of JSON (`_order`), then nothing until the end. From it: lines of JSON, one of `chunk` (followed by `size` bytes),
`warn`, `error`, `end`.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO

import runner
from runner.errors import Place, RunnerError, UserError
from runner.inputs.file_list import NO_STORES, START, Position, Root, blocks_of
from runner.inputs.files import Block, Strays
from runner.inputs.split import Held, by_count, remainder
from runner.model.batch import Chunk
from runner.storage.stores import Stores

AT_HOME = 4_000  # files after which a child goes on
PIPE_SIZE = 1 << 20
_PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from runner.inputs.lister import main; main()"


def count_chunks(
    roots: Sequence[Root],
    files_each: int,
    warn: Callable[[str], None],
    start: Position = START,
    stores: Stores = NO_STORES,
    *,
    at_home: int = AT_HOME,
) -> Iterator[Chunk]:
    """All mini-batches of `files_each` files behind `start`, lazily; what is left out is told to `warn` at the end.

    Blobs are listed at home: there is one call to wait for in thousands of names, and no credential need go to a child.
    """
    remote = any(root.is_remote for root in roots)
    held, strays, front = Held(), Strays(), _Front(sys.maxsize if remote else at_home)
    yield from by_count(front.blocks(roots, strays, start, stores), files_each, held)
    if front.stopped:
        yield from _from_child(_order(roots, files_each, front.stopped, held, strays), warn)
    else:
        yield from remainder(held, files_each)
        strays.tell(warn)


class _Front:
    """The first blocks of a listing, up to about `limit` files; `stopped` says where they ended, unless that was the end."""

    def __init__(self, limit: int) -> None:
        self._left = limit
        self.stopped: Position | None = None

    def blocks(self, roots: Sequence[Root], strays: Strays, start: Position, stores: Stores) -> Iterator[Block]:
        for number, block in blocks_of(roots, strays, start, stores):
            yield block
            self._left -= len(block.names)
            if self._left <= 0 and block.names:
                self.stopped = Position(number, os.fsdecode(block.folder + block.names[-1]))
                return


def _order(roots: Sequence[Root], files_each: int, start: Position, held: Held, strays: Strays) -> bytes:
    order = {
        "roots": [asdict(root) for root in roots],
        "files_each": files_each,
        "start": start,
        "held": [held.texts, held.sizes],
        "strays": strays.state,
    }
    return json.dumps(order).encode("ascii") + b"\n"


def _from_child(order: bytes, warn: Callable[[str], None]) -> Iterator[Chunk]:
    home = str(Path(runner.__file__).resolve().parents[1])
    command = [sys.executable, "-I", "-S", "-X", f"utf8={sys.flags.utf8_mode}", "-c", _PROGRAM, home]
    # File names are decoded as here. A session of its own: Ctrl-C is for the parent, whose end it notices.
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=PIPE_SIZE, start_new_session=True)
    assert child.stdin
    assert child.stdout
    try:
        _widen(child.stdout)
        child.stdin.write(order)
        child.stdin.flush()
        yield from _received(child.stdout, warn)
    finally:
        child.kill()
        for pipe in (child.stdin, child.stdout):
            try:
                pipe.close()
            except BrokenPipeError:
                pass
        child.wait()


def _widen(pipe: IO[bytes]) -> None:
    try:
        fcntl.fcntl(pipe, getattr(fcntl, "F_SETPIPE_SZ", 1031), PIPE_SIZE)
    except OSError:  # the user's share of large pipes is used up: it works without
        pass


def _received(stream: IO[bytes], warn: Callable[[str], None]) -> Iterator[Chunk]:
    for line in stream:
        message = json.loads(line)
        if "chunk" in message:
            items, size, largest = message["chunk"]
            yield Chunk(lines=stream.read(message["size"]).split(b"\n"), items=items, bytes=size, largest=largest)
        elif "warn" in message:
            warn(message["warn"])
        elif "error" in message:
            error = message["error"]
            raise UserError(error["problem"], place=Place(**error["place"]), allowed=error["allowed"], todo=error["todo"])
        else:
            return
    raise RunnerError("the process that lists the input has ended too early; its own words are in the error output")


def main() -> None:
    """The child."""
    order = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    out = sys.stdout.buffer

    def say(header: dict[str, object], payload: bytes = b"") -> None:
        out.write(json.dumps(header).encode("ascii") + b"\n" + payload)
        out.flush()

    try:
        for chunk in _ordered_chunks(order, lambda text: say({"warn": text})):
            payload = b"\n".join(chunk.lines)
            say({"chunk": [chunk.items, chunk.bytes, chunk.largest], "size": len(payload)}, payload)
        say({"end": True})
    except UserError as error:
        place = asdict(error.place) if error.place else {}
        say({"error": {"problem": error.problem, "place": place, "allowed": error.allowed, "todo": error.todo}})
    except BrokenPipeError:
        os._exit(1)


def _ordered_chunks(order: dict[str, object], warn: Callable[[str], None]) -> Iterator[Chunk]:
    roots = [Root(**root) for root in order["roots"]]  # type: ignore[attr-defined]
    held, strays = Held(*order["held"]), Strays(order["strays"])  # type: ignore[misc, arg-type]
    files_each: int = order["files_each"]  # type: ignore[assignment]
    blocks = (block for _, block in blocks_of(roots, strays, Position(*order["start"])))  # type: ignore[misc]
    yield from by_count(blocks, files_each, held)
    yield from remainder(held, files_each)
    strays.tell(warn)


def _end_with_parent() -> None:
    os.read(0, 1)
    os._exit(1)
