"""What the supervisor of an instance, its keeper and its workers say to each other. Standard library only, Python >= 3.7.

This file is used on both sides: by `runner.engine` and by the agent inside the user's interpreter.

Processes. The supervisor (an `Instance` of the engine) listens on the Unix stream socket `SOCKETS/instance.sock`. It starts one
*keeper* (`python AGENT_DIR SOCKETS_DIR`), which connects, and which forks *workers* when told to. Every worker has a connection of its own.
When the supervisor's end closes, the keeper kills all it has started, and everything these have started, removes SOCKETS_DIR, and ends.

Frames. A prefix (kind, header length, payload length), a header, a payload. Kind J: the header is a JSON object.
Kind R: a result, header as RESULT below: there may be 100,000 a second, and JSON would cost more than the rest.

keeper → supervisor   {"t": "keeper", "pid"}
                      {"t": "exited", "worker", "status", "stacks", "oom", "limit"}
                                                                     status as subprocess gives it (negative: the signal);
                                                                     stacks: what a dump printed, or "";
                                                                     oom: killed for want of memory; limit: of the group, bytes, or 0
supervisor → keeper   {"t": "start", "worker", "config"}             config: see CONFIG; worker numbers are never used twice
                      {"t": "kill", "worker", "grace", "dump"}       dump the stacks first; SIGTERM; SIGKILL after grace seconds
                      {"t": "until", "seconds"}                      unless told again within so many seconds, as "end"
                      {"t": "end"}                                   kill everything, tidy up, exit

worker → supervisor   {"t": "hello", "worker", "pid", "pandas", "pyarrow", "python"}   versions, None where absent
                      {"t": "ready", "seconds"}                      init() has returned
                      {"t": "init_failed", "error"}                  then it exits; error: fields of runner.model.batch.ErrorRecord
                      RESULT + payload                               a mini-batch has succeeded; payload: its rows as bytes of the output
                      {"t": "failed", "index", "items", "ns", "error"}   this attempt has failed (items: how many were given)
                      {"t": "not_plain", "index"}                    a slice of delimited text that the worker cannot read as the loader
                                                                     would: it wants it from there, and this was no attempt
                      {"t": "unstarted", "index", "seq", "count"}    these were taken back before they started (see Slot.limit): all
                                                                     that is left of one "work"; seq: of the first of them
                      {"t": "header", "index", "text"}               the column names of a returned DataFrame; sent before its result,
                                                                     and again only when they change
                      {"t": "warning", "text"}
                      {"t": "bye"}                                   shutdown() has returned
supervisor → worker   {"t": "work", "first", "count", "seq"} + payload   `count` mini-batches first, first+1, …; payload: one line each,
                                                                     joined by newlines; the i-th has sequence number seq + i;
                                                                     "attempt" where it is not the first
                      {"t": "bye"}                                   call shutdown(), then exit

A line of a payload, JSON:
files    {"files": [[path, size, version], …]}       path relative to CONFIG["root"], or absolute
tables   {"table": path of an Arrow IPC file, "batch": number of the record batch in it, "rows": n,
          "keys": {…} or null, "dataset": [paths it came from]}
         with `"parquet": path, "groups": [first, behind the last]` in the place of table and batch: row groups that are wanted as they lie
         with `"delimited": path, "range": [first byte, behind the last], "names": [of its columns], "types": [Arrow's names of theirs],
         "delimiter": one character, "empty_as_string": whether an empty text is one, not a missing one`: text that is probably plain;
         its rows are not known
         with `"csv": path, "dtypes": {column: pandas dtype}` in the place of table and batch when the worker has no pyarrow

CONFIG   what a worker is told when it starts; all paths absolute
  job, node, process      names, as in the logs: process is "process000", …
  worker                  its number
  kind                    "files" or "table"
  root                    of relative file paths
  code                    the worker's own copy of the code folder: working directory and sys.path[0]
  entry_script            relative to code
  command                 text for a shell, which is run in the place of an entry script; "": there is a script
  arguments               sys.argv[1:], or what "${1}", "${2}", … stand for in the command
  environment             further environment variables of this worker ({"CUDA_VISIBLE_DEVICES": …}); null: taken out
  append_rows             whether rows are wanted; false: only counted
  to_csv                  keyword arguments of DataFrame.to_csv, complete ({"sep": " ", "header": false, "index": false, …});
                          header is always false in it
  header                  whether "header" messages are wanted
  logging_level           "WARNING", "INFO", "DEBUG"
  stdout, stderr, log     files of this process; log is that of EntryScript().logger
  log_cap                 bytes that each of these files may hold: head and tail are kept
  log_dir, output_dir, working_dir    as EntryScript shows them
  profile                 file for cProfile's result, or null
  stacks                  file that stack dumps are written to
  slot                    the worker's slot in SOCKETS/slots
"""

import json
import struct
from typing import Any, Dict, Iterator, Tuple, Union

SOCKET_NAME = "instance.sock"
SLOTS_NAME = "slots"

PREFIX = struct.Struct("<cII")  # kind, header length, payload length
JSON = b"J"
RESULT_KIND = b"R"
RESULT = struct.Struct("<QIIQ")  # index, items given, elements returned, nanoseconds in run() and in making bytes of its result

RESULT_PREFIX_SIZE = PREFIX.size + RESULT.size

# The signal on which a worker writes the stacks of its threads to CONFIG["stacks"]: not one that user code is likely to use.
DUMP_SIGNAL_OFFSET = 3  # SIGRTMAX - 3

# Environment variables by which processes that outlive their parents are attributed. The launcher sets both:
INSTANCE_MARK = "RUNNER_INSTANCE"  # SOCKETS_DIR
WORKER_MARK = "RUNNER_WORKER"  # NO_WORKER for the keeper; a worker overwrites it by its number, in as many characters
NO_WORKER = "-" * 10

STARTED, RUNNING, LIMIT, ITEMS = range(4)  # words of a slot


class Slot(object):
    """Sixty-four bytes of a mapped file that one worker and its supervisor share.

    The worker writes `started` (CLOCK_MONOTONIC nanoseconds) and then `running` (sequence number + 1, 0 before the first)
    when a mini-batch starts, and reads `limit` afterwards: at a sequence number of `limit` or more it does not start it.
    The supervisor enforces time-outs by `started`, and takes back what has not started by lowering `limit`, then reading
    `running`. Should both look at the same instant, the worker may not start what the supervisor takes for running: it says so.
    `items` is how many files or rows the running one has, written before `running`.
    """

    SIZE = 64
    NO_LIMIT = 2**63

    def __init__(self, memory: Any, number: int) -> None:
        """`memory`: of all slots, a buffer that can be written to."""
        # Whole words, each read and written at once: `struct` would first make a 0 of what it then writes byte by byte.
        self.words = memoryview(memory)[number * self.SIZE : (number + 1) * self.SIZE].cast("Q")

    def release(self) -> None:
        """Lets go of the memory: nothing can be read or written any more."""
        self.words.release()

    @property
    def started(self) -> int:
        return self.words[STARTED]

    @property
    def running(self) -> int:
        return self.words[RUNNING]

    @property
    def limit(self) -> int:
        return self.words[LIMIT]

    @limit.setter
    def limit(self, value: int) -> None:
        self.words[LIMIT] = value

    @property
    def items(self) -> int:
        return self.words[ITEMS]

    def clear(self) -> None:
        """For the next worker."""
        for word in STARTED, RUNNING, ITEMS:
            self.words[word] = 0
        self.limit = self.NO_LIMIT


def message(header: Dict[str, Any], payload: bytes = b"") -> bytes:
    """The bytes of a J frame."""
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    return b"".join((PREFIX.pack(JSON, len(text), len(payload)), text, payload))


class Reader(object):
    """Cuts a stream of bytes into frames.

    `feed(data)`, then iterate: yields (header, payload); the header is the packed RESULT of a result and a dict otherwise.
    Incomplete frames stay.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def rest(self) -> bytes:
        """What has been fed and not been cut off yet."""
        return bytes(self._buffer)

    def __iter__(self) -> Iterator[Tuple[Union[bytes, Dict[str, Any]], bytes]]:
        buffer, at = self._buffer, 0
        view = memoryview(buffer)
        try:
            while len(buffer) - at >= PREFIX.size:
                kind, header_size, payload_size = PREFIX.unpack_from(buffer, at)
                start = at + PREFIX.size
                end = start + header_size + payload_size
                if len(buffer) < end:
                    break
                header = bytes(view[start : start + header_size])
                payload = bytes(view[start + header_size : end])
                at = end
                yield (header if kind == RESULT_KIND else json.loads(header.decode("ascii"))), payload
        finally:
            view.release()
            del buffer[:at]


def item_of(line: bytes) -> Tuple[int, str]:
    """(number of items, the item if there is exactly one, else "") of a payload line, for messages about what went wrong with it."""
    record = json.loads(line)
    files = record.get("files")
    if files is None:
        return int(record.get("rows") or 0), ""
    return len(files), files[0][0] if len(files) == 1 else ""
