"""Row groups of Parquet files, read the fast way."""

from typing import Any, List

PLAIN_TEXT = 4  # bytes: what a text takes at least that is not written as a number of a dictionary


class RowGroups(object):
    """An open file. Texts that repeat are read as they are written, as numbers of a dictionary, and looked up afterwards all at once."""

    def __init__(self, path: str) -> None:
        from pyarrow.parquet import ParquetFile

        # Without a buffer for whole row groups, whose memory would have to be touched once more.
        self._plain = self._coded = ParquetFile(path, pre_buffer=False)
        self._texts = _repeating_texts(self._plain)
        if self._texts:
            self._coded = ParquetFile(path, pre_buffer=False, metadata=self._plain.metadata, read_dictionary=self._texts)

    def read(self, groups: List[int]) -> Any:
        """The table of row groups `groups[0]` to `groups[1] - 1`."""
        import pyarrow

        numbers = list(range(*groups))
        if self._texts:
            try:
                return _looked_up(self._coded.read_row_groups(numbers, use_threads=False), self._texts)
            except pyarrow.ArrowException:  # broken, as is said below; or more text than goes into one array
                pass
        return self._plain.read_row_groups(numbers, use_threads=False)


def _looked_up(table: Any, names: List[str]) -> Any:
    for name in names:
        column = table.column(name)
        table = table.set_column(table.schema.get_field_index(name), name, column.cast(column.type.value_type))
    return table


def _repeating_texts(file: Any) -> List[str]:
    """The columns of text that the first row group has in dictionaries, by their size; of files whose columns are not nested."""
    import pyarrow

    fields, metadata = list(file.schema_arrow), file.metadata
    if not metadata.num_row_groups or len(fields) != metadata.num_columns:
        return []
    columns = [(field.name, metadata.row_group(0).column(at)) for at, field in enumerate(fields) if field.type == pyarrow.string()]
    return [name for name, column in columns if column.total_uncompressed_size < PLAIN_TEXT * column.num_values]
