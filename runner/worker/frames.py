"""Arrow tables → DataFrames, as `Table.to_pandas` makes them, but that numbers and moments keep the memory they were read into.

`to_pandas` copies all columns of a type into one block, which is a third of what reading a row group costs; told to leave them where
they are (`split_blocks`), it makes blocks that user code cannot write to.
"""

from typing import Any

MOST_COLUMNS = 64  # each is a block of its own: pandas warns its user of a hundred
COPY_ON_WRITE_FROM = 3  # pandas' major version: before, `frame.values` of a single block could be written through, of several not


def to_frame(table: Any) -> Any:
    """Equal to `table.to_pandas(ignore_metadata=True)`, and as writable."""
    import pandas

    version = pandas.__version__.partition(".")[0]
    names = table.column_names
    if not version.isdigit() or int(version) < COPY_ON_WRITE_FROM or len(names) > MOST_COLUMNS or len(set(names)) < len(names):
        return table.to_pandas(ignore_metadata=True)
    columns = {name: _as_it_lies(column) for name, column in zip(names, table.columns)}
    others = [name for name, array in columns.items() if array is None]
    if len(others) == len(names):
        return table.to_pandas(ignore_metadata=True)
    if others:
        rest = table.select(others).to_pandas(ignore_metadata=True)
        for name in others:
            columns[name] = rest[name]
    return pandas.DataFrame(columns, copy=False)


def _as_it_lies(column: Any) -> Any:
    """A numpy array in the memory of an Arrow column that nobody else has; None for columns that it cannot be made of."""
    import numpy
    import pyarrow

    types = pyarrow.types
    is_moment = types.is_timestamp(column.type) and column.type.tz is None
    if not (is_moment or types.is_integer(column.type) or types.is_floating(column.type)) or column.num_chunks != 1 or column.null_count:
        return None
    chunk = column.chunk(0)
    memory = chunk.buffers()[1]
    if memory is None or not memory.is_mutable or not len(chunk):
        return None
    kind = numpy.dtype("datetime64[%s]" % column.type.unit if is_moment else column.type.to_pandas_dtype())
    return numpy.frombuffer(memory, dtype=kind, count=len(chunk), offset=chunk.offset * kind.itemsize)
