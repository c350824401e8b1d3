"""Mini-batches one after the other. What it costs here is paid for each, however cheap `run` is: at most a few microseconds."""

import struct
import threading
import time
from typing import Any, Dict, List

from .batches import UnreadableError, parse
from .channel import Channel, Disconnected
from .command import Command
from .delimited import NotPlainError
from .entry_script import EntryScript
from .failures import Failures
from .protocol import ITEMS, LIMIT, RESULT, RESULT_KIND, RESULT_PREFIX_SIZE, RUNNING, STARTED
from .rows import Rows

RESULT_FRAME = struct.Struct("<cIIQIIQ")  # PREFIX and RESULT in one

assert RESULT_FRAME.size == RESULT_PREFIX_SIZE


class Loop(object):
    """`slot`: the words of the mapped slot, as unsigned 64-bit numbers."""

    def __init__(
        self, config: Dict[str, Any], script: "EntryScript | Command", batches: Any, channel: Channel, slot: memoryview, failures: Failures
    ) -> None:
        self._script, self._batches, self._channel, self._slot, self._failures = script, batches, channel, slot, failures
        self._rows = Rows(config["append_rows"], config["to_csv"], lambda text: channel.send({"t": "warning", "text": text}))
        self._only_count = not config["append_rows"]
        self._header_wanted = config["header"]
        self._header = ""

    def run(self) -> None:
        """Until the supervisor says goodbye. Errors: Disconnected."""
        for header, payload in self._channel.receive():
            if header["t"] == "bye":
                return
            self._work(header["first"], header["seq"], parse(payload))

    def _work(self, first: int, seq: int, lines: List[Dict[str, Any]]) -> None:
        slot, load, run, now = self._slot, self._batches.load, self._script.run, time.monotonic_ns
        pack, send_bytes, header_size = RESULT_FRAME.pack, self._channel.send_bytes, RESULT.size
        convert, only_count, wants_context = self._rows.convert, self._only_count, self._script.wants_context
        fence = threading.Lock()  # an atomic operation: what was written to the slot is seen by others before `limit` is read
        index = first
        for line in lines:
            started = items = 0
            try:
                if seq >= slot[LIMIT]:
                    break
                batch, items = load(line)
                arguments = (batch, self._batches.context(index, line)) if wants_context else (batch,)
                slot[ITEMS] = items
                slot[STARTED] = started = now()
                slot[RUNNING] = seq + 1
                with fence:
                    pass
                if seq >= slot[LIMIT]:
                    break
                result = run(*arguments)
                if only_count and type(result) is list:
                    count, rows = len(result), b""
                else:
                    count, rows = convert(result)
                spent = now() - started
                if self._header_wanted:
                    self._tell_header(index, result)
            except Disconnected:
                raise
            except BaseException as error:  # SystemExit and KeyboardInterrupt too: this attempt has failed, the worker goes on
                if not started:  # it could not even be read, which counts unless it was taken back meanwhile
                    slot[ITEMS], slot[STARTED], slot[RUNNING] = 0, now(), seq + 1
                    with fence:
                        pass
                    if seq >= slot[LIMIT]:
                        break
                self._failed(index, line, items, started, error)
            else:
                send_bytes(pack(RESULT_KIND, header_size, len(rows), index, items, count, spent) + rows)
            batch = arguments = result = None  # a table is not kept while the next one is read
            index += 1
            seq += 1
        if index < first + len(lines):
            self._channel.send({"t": "unstarted", "index": index, "seq": seq, "count": first + len(lines) - index})

    def _failed(self, index: int, line: Dict[str, Any], items: int, started: int, error: BaseException) -> None:
        """`started` is 0 when the mini-batch could not even be read."""
        if isinstance(error, NotPlainError) and not started:
            self._channel.send({"t": "not_plain", "index": index})
            return
        items = items or int(line.get("rows") or 0) or len(line.get("files") or ())
        spent = time.monotonic_ns() - started if started else 0
        if isinstance(error, UnreadableError):
            record = error.record
        else:
            record = self._failures.record(error, line, kind="exception" if started else "input")
        self._channel.send({"t": "failed", "index": index, "items": items, "ns": spent, "error": record})

    def _tell_header(self, index: int, result: Any) -> None:
        text = self._rows.header(result)
        if text and text != self._header:
            self._header = text
            self._channel.send({"t": "header", "index": index, "text": text})
