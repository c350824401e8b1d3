"""Mini-batches as `run` gets them: lists of paths, or DataFrames made from what the supervisor has laid ready."""

import json
from typing import Any, Callable, Dict, List, Optional, Tuple

from .delimited import read_slice
from .frames import to_frame
from .parquet import RowGroups

NULL = "\\N"  # a missing string in the CSV of workers without pyarrow


class Context(object):
    """The second argument of `run`. `partition_key_value` is a dict when the input is split by keys."""

    __slots__ = ("dataset", "minibatch_index", "partition_key_value")

    def __init__(self, minibatch_index: str, partition_key_value: Optional[Dict[str, Any]], dataset: Any) -> None:
        self.minibatch_index = minibatch_index
        self.partition_key_value = partition_key_value
        self.dataset = dataset


class TableDataset(object):
    """`mini_batch_context.dataset` of a table: its rows afresh, and the files that they come from."""

    def __init__(self, paths: List[str], load: Callable[[], Any]) -> None:
        self.paths = paths
        self._load = load

    def to_pandas_dataframe(self) -> Any:
        return self._load()


def parse(payload: bytes) -> List[Dict[str, Any]]:
    """The lines of a work frame. JSON has no line break inside a value, so all of them are parsed at once."""
    return json.loads(b"[" + payload.replace(b"\n", b",") + b"]")  # type: ignore[no-any-return]


class FileBatches(object):
    """`root`: what relative paths stand below."""

    def __init__(self, root: str) -> None:
        self._prefix = root.rstrip("/") + "/" if root else ""

    def load(self, line: Dict[str, Any]) -> Tuple[List[str], int]:
        """(absolute paths, how many)."""
        prefix = self._prefix
        paths = [entry[0] if entry[0][0] == "/" else prefix + entry[0] for entry in line["files"]]
        return paths, len(paths)

    def context(self, index: int, line: Dict[str, Any]) -> Context:
        return Context(str(index), line.get("keys"), self.load(line)[0])


class UnreadableError(Exception):
    """The input is broken; nobody's code is."""

    def __init__(self, text: str, item: str) -> None:
        super().__init__(text)
        self.record = {"kind": "input", "type": "InputError", "message": text, "item": item}


class TableBatches(object):
    """Arrow IPC files are mapped, row groups of Parquet files and slices of delimited text read.

    The newest file is kept open: many mini-batches stand in it.
    """

    def __init__(self) -> None:
        self._path = ""
        self._reader: Any = None

    def load(self, line: Dict[str, Any]) -> Tuple[Any, int]:
        """(DataFrame with a fresh RangeIndex, rows). Errors: UnreadableError, NotPlainError."""
        if "parquet" in line:
            frame = self._read_parquet(line["parquet"], line["groups"])
        elif "delimited" in line:
            frame = to_frame(read_slice(line))
        elif "csv" in line:
            frame = _read_csv(line)
        else:
            frame = self._read_arrow(line["table"], line["batch"])
        return frame, len(frame)

    def context(self, index: int, line: Dict[str, Any]) -> Context:
        return Context(str(index), line.get("keys"), TableDataset(list(line.get("dataset") or ()), lambda: self.load(line)[0]))

    def _read_parquet(self, path: str, groups: List[int]) -> Any:
        if path != self._path:
            self._path, self._reader = path, RowGroups(path)
        try:
            table = self._reader.read(groups)
        except Exception as error:
            text = "%s: row groups %d to %d cannot be read: %s" % (path, groups[0], groups[1] - 1, error)
            raise UnreadableError(text.strip(), path) from None
        return to_frame(table)

    def _read_arrow(self, path: str, batch: int) -> Any:
        import pyarrow

        if path != self._path:
            self._path, self._reader = path, pyarrow.ipc.open_file(pyarrow.memory_map(path))
        table = pyarrow.Table.from_batches([self._reader.get_batch(batch)])
        return to_frame(table)


def _read_csv(line: Dict[str, Any]) -> Any:
    """Typed CSV: empty fields are missing, but in columns of text, where NULL is and an empty field is an empty text."""
    import pandas

    dtypes = line["dtypes"]
    times = {name: kind for name, kind in dtypes.items() if kind.startswith("datetime64")}  # not for read_csv, which wants to guess
    texts = [name for name, kind in dtypes.items() if kind in ("object", "str", "string")]
    frame = pandas.read_csv(
        line["csv"],
        dtype={name: "object" if name in times else kind for name, kind in dtypes.items()},
        na_values={name: [NULL] if name in texts else ["", NULL] for name in dtypes},
        keep_default_na=False,
        encoding="utf-8",
    )
    return frame.astype(times) if times else frame
