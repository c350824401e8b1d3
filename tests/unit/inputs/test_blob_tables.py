"""Tables in blob storage: what is not the same as in a folder."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runner.errors import UserError
from runner.inputs import mltable, textfile
from runner.inputs.source import open_source
from runner.model.job import JobInput, Step
from runner.model.ports import Source
from runner.storage.blob import BlobContainer
from runner.storage.patience import Again
from runner.storage.problems import StorageRefused, StorageUnavailable
from runner.storage.stores import Stores
from tests.azurite import Azurite
from tests.mirror import Mirror, mirrored

pytestmark = pytest.mark.needs("azurite")

READ = "transformations: [{read_delimited: {delimiter: ','}}]\n"
ROWS = "a,b\n" + "".join(f"{number},{'x' * 50}\n" for number in range(20_000))  # 1.1 MB


@pytest.fixture
def blobs(azurite: Azurite, tmp_path: Path) -> Iterator[Mirror]:
    (tmp_path / "c").mkdir()
    with mirrored(tmp_path / "c", azurite) as mirror:
        yield mirror


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The path and the bytes of each answer to a read."""
    found: list[tuple[str, int]] = []
    read = BlobContainer._read

    def counted(self: BlobContainer, path: str, *rest: object) -> bytes:
        data = read(self, path, *rest)  # type: ignore[arg-type]
        found.append((path, len(data)))
        return data

    monkeypatch.setattr(BlobContainer, "_read", counted)
    return found


def write(blobs: Mirror, **files: str) -> None:
    for name, text in files.items():
        path = blobs.folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    blobs.sync()


def opened(path: str, stores: Stores, scratch: Path, **options: object) -> Source:
    given = {"t": JobInput(type="mltable", path=path)}
    step = Step(name="job", inputs=given, input_data="t", **options)  # type: ignore[arg-type]
    return open_source(step, stores=stores, scratch=scratch, warn=print)


def lines_of(source: Source) -> list[bytes]:
    return [line for chunk in source.chunks(iter(())) for line in chunk.lines]


def column(source: Source, lines: list[bytes], name: str, scratch: Path) -> list[object]:
    assert source.loader is not None
    loaded = source.loader.load(0, lines, scratch, "direct")
    assert not loaded.failed, loaded.failed
    reader = pa.ipc.open_file(loaded.scratch[0])
    return [value for number in range(reader.num_record_batches) for value in reader.get_batch(number).column(name).to_pylist()]


def test_a_table_names_what_lies_here_and_elsewhere(blobs: Mirror, azurite: Azurite, tmp_path: Path) -> None:
    write(blobs, t__x1="a\n1\n", t__sub__x2="a\n2\n", other__x3="a\n3\n")
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "x4").write_text("a\n4\n")
    container = blobs.stores.known[0].container
    paths = [
        "file: ./sub/../x1", "pattern: ./*/*", "file: ../other/x3", "folder: azureml://datastores/az/paths/t",
        f"file: {azurite.endpoint}/{container}/other/x3", f"file: wasbs://{container}@{azurite.account}.blob.core.windows.net/t/x1",
        "file: azureml://subscriptions/s/resourcegroups/g/workspaces/w/datastores/az/paths/t/x1",
    ]  # fmt: skip
    text = "paths:\n" + "".join(f"- {path}\n" for path in paths)
    write(blobs, t__MLTable=text + READ)
    source = opened(blobs.name(blobs.folder / "t"), blobs.stores, tmp_path)
    assert column(source, lines_of(source), "a", tmp_path) == [1, 2, 3, 2, 1, 3, 1, 1]
    # A local table may mix them.
    (tmp_path / "local" / "MLTable").write_text("paths:\n- file: x4\n- pattern: azureml://datastores/az/paths/t/**/x*\n" + READ)
    source = opened(str(tmp_path / "local"), blobs.stores, tmp_path)
    lines = lines_of(source)
    assert column(source, lines, "a", tmp_path) == [4, 2, 1]
    assert [type(json.loads(line)["m"]) for line in lines] == [int, str, str]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("file: azureml://datastores/azz/paths/x", "did you mean 'az'"),
        ("file: azureml://datastores/other/paths/x", "describe it as a datastore in workspace.yml"),
        ("file: https://elsewhere.blob.core.windows.net/c/x", "lies in no store"),
        ("file: ../../x", "leads out of the container"),
        ("file: azureml://datastores/az/paths/../x", "has '..' in it"),
        ("file: /etc/passwd", "a path of a machine"),
        ("file: '*.csv'", "write `pattern: *.csv`"),
        ("file: gone", "there is nothing at"),
        ("folder: gone", "there is no file in"),
        ("pattern: ./*.parquet", "no file matches"),
    ],
)
def test_mistakes_have_a_line(blobs: Mirror, path: str, message: str) -> None:
    write(blobs, t__x1="a\n1\n", t__MLTable=f"paths:\n- file: x1\n- {path}\n" + READ)
    with pytest.raises(UserError) as error:
        list(mltable.read(blobs.name(blobs.folder / "t"), blobs.stores).files())
    assert f"{blobs.name(blobs.folder / 't' / 'MLTable')}:3" in str(error.value)
    assert message in str(error.value)


def test_names_with_wildcards_in_them(blobs: Mirror) -> None:
    write(blobs, **{"t__a[1]": "a\n1\n", "t__d*__x": "a\n2\n", "t__MLTable": "paths: [{file: 'a[1]'}, {folder: 'd*'}]\n" + READ})
    table = mltable.read(blobs.name(blobs.folder / "t"), blobs.stores)
    assert [Path(file.path).name for file in table.files()] == ["a[1]", "x"]


def test_a_folder_without_an_mltable_file(blobs: Mirror) -> None:
    write(blobs, t__mltable="")
    address = blobs.name(blobs.folder / "t")
    assert mltable.find(address, blobs.stores) is None
    with pytest.raises(UserError, match="rename 'mltable'"):
        mltable.read(address, blobs.stores)
    write(blobs, u__MLTable="")
    with pytest.raises(UserError, match="names the folder"):
        mltable.read(f"{blobs.name(blobs.folder / 'u')}/MLTable", blobs.stores)


def test_a_blob_that_is_overwritten_fails_what_is_not_read_yet(blobs: Mirror, tmp_path: Path) -> None:
    write(blobs, **{"1.csv": ROWS, "MLTable": "paths: [{file: 1.csv}]\n" + READ})
    lines = lines_of(opened(blobs.name(blobs.folder), blobs.stores, tmp_path, mini_batch_size=150_000))
    source = opened(blobs.name(blobs.folder), blobs.stores, tmp_path, mini_batch_size=150_000)
    assert source.loader is not None
    assert not source.loader.load(0, lines[:1], tmp_path, "arrow").failed
    write(blobs, **{"1.csv": ROWS.replace("x", "y")})
    loaded = source.loader.load(5, lines[5:], tmp_path, "arrow")
    assert set(loaded.failed) == set(range(len(lines) - 5))
    assert all("has changed since it was listed" in error.message and error.kind == "input" for error in loaded.failed.values())
    blobs.folder.joinpath("1.csv").unlink()
    blobs.sync()
    assert source.loader.load(5, lines[5:6], tmp_path, "arrow").failed[0].kind == "input"


def test_a_storage_that_refuses_fails_more_than_a_mini_batch(blobs: Mirror, azurite: Azurite, tmp_path: Path) -> None:
    write(blobs, **{"1.csv": ROWS, "MLTable": "paths: [{file: 1.csv}]\n" + READ})
    source = opened(blobs.name(blobs.folder), blobs.stores, tmp_path, mini_batch_size=150_000)
    lines = lines_of(source)
    azurite.client(blobs.stores.known[0].container).delete_container()
    assert source.loader is not None
    with pytest.raises(StorageRefused, match="no such container"):
        source.loader.load(5, lines[5:], tmp_path, "arrow")
    blobs._seen.clear()


@pytest.mark.parametrize("name", ["1.parquet", "1.csv.gz", "1.jsonl"])
def test_what_goes_wrong_inside_of_arrow(blobs: Mirror, azurite: Azurite, tmp_path: Path, name: str) -> None:
    """It is told as what it is: a changed blob fails a mini-batch, a storage that refuses or is silent fails more."""
    chance = random.Random(1)
    numbers = [chance.random() for _ in range(60_000)]
    data = {
        "1.parquet": lambda: pq.write_table(pa.table({"a": numbers}), blobs.folder / name),
        "1.csv.gz": lambda: (blobs.folder / name).write_bytes(gzip.compress("\n".join(["a", *map(str, numbers)]).encode())),
        "1.jsonl": lambda: (blobs.folder / name).write_text("".join(f'{{"a": {number}}}\n' for number in numbers)),
    }  # fmt: skip
    step = {"1.parquet": "read_parquet", "1.jsonl": "read_json_lines"}.get(name, "read_delimited")
    data[name]()
    write(blobs, MLTable=f"paths: [{{file: {name}}}]\ntransformations: [{step}]\n")

    def freshly() -> Source:
        return opened(blobs.name(blobs.folder), blobs.stores, tmp_path, mini_batch_size=1 << 30)

    (line,) = lines_of(freshly())
    sources = [freshly() for _ in range(3)]
    silent, changed, refused = [source.loader for source in sources if source.loader]
    container, _ = blobs.stores.at(blobs.name(blobs.folder))
    container.patience.seconds = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BlobContainer, "_read", _never)
        with pytest.raises(StorageUnavailable, match="did not answer"):
            silent.load(0, [line], tmp_path, "arrow")
        with pytest.raises(UserError, match=r"`inputs\.t`: the input cannot be read: datastore 'az' did not answer"):
            freshly()
    numbers.reverse()
    data[name]()
    blobs.sync()
    loaded = changed.load(0, [line], tmp_path, "arrow")
    assert "has changed since it was listed" in loaded.failed[0].message
    azurite.client(blobs.stores.known[0].container).delete_container()
    blobs._seen.clear()
    with pytest.raises(StorageRefused, match="no such container"):
        refused.load(0, [line], tmp_path, "arrow")


def _never(self: BlobContainer, *rest: object) -> bytes:
    raise Again("silence")


def test_requests_of_text(blobs: Mirror, tmp_path: Path, asked: list[tuple[str, int]]) -> None:
    """A small one for each place to cut at, and large ones for the rest; nothing twice but what the cuts and the head are."""
    text = "a,b\n" + ("1," + "x" * 97 + "\n") * 200_000  # 20 MB
    write(blobs, **{"1.csv": text, "MLTable": "paths: [{file: 1.csv}]\n" + READ})
    source = opened(blobs.name(blobs.folder), blobs.stores, tmp_path, mini_batch_size=1 << 20)
    lines = lines_of(source)
    assert len(lines) == 20
    assert len(asked) < 25
    assert sum(size for _, size in asked) < 500_000
    asked.clear()
    rows = 0
    for number, line in enumerate(lines):
        rows += len(column(source, [line], "a", tmp_path / _made(tmp_path, str(number))))
    assert rows == 200_000
    assert len(asked) <= 8
    assert sum(size for _, size in asked) <= len(text) * 1.01
    asked.clear()
    again = opened(blobs.name(blobs.folder), blobs.stores, tmp_path, mini_batch_size=1 << 20)
    asked.clear()
    assert len(column(again, lines[5:11], "a", tmp_path / _made(tmp_path, "again"))) == sum(size_of(line) for line in lines[5:11]) // 100
    assert ("1.csv", sum(size_of(line) for line in lines[5:11])) in asked, "neighbours are fetched together"


def test_requests_of_parquet(blobs: Mirror, tmp_path: Path, asked: list[tuple[str, int]]) -> None:
    """The footer once, and of a row group only the wanted columns, together."""
    count = 50_000
    table = pa.table({name: pa.array(range(count)) for name in "abcdef"})
    blobs.folder.mkdir(exist_ok=True)
    pq.write_table(table, blobs.folder / "1.parquet", row_group_size=count // 5, compression="none", use_dictionary=False)
    write(blobs, MLTable="paths: [{file: 1.parquet}]\ntransformations: [read_parquet, {keep_columns: [b, c]}]\n")
    size = blobs.folder.joinpath("1.parquet").stat().st_size
    source = opened(blobs.name(blobs.folder), blobs.stores, tmp_path, mini_batch_size=size // 5)
    lines = lines_of(source)
    assert len(lines) == 5
    assert len(asked) <= 3
    asked.clear()
    assert column(source, lines, "b", tmp_path) == list(range(count))
    assert len(asked) == 5
    assert sum(size for _, size in asked) < count * 8 * 2 * 1.1


@pytest.mark.parametrize("keys", [(), ("b",)])
def test_a_storage_that_is_silent_while_it_is_listed(
    blobs: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: tuple[str, ...]
) -> None:
    write(blobs, **{"1.csv": ROWS, "MLTable": "paths: [{file: 1.csv}]\n" + READ})
    source = opened(blobs.name(blobs.folder), blobs.stores, tmp_path, mini_batch_size=150_000, partition_keys=keys)
    blobs.stores.at(blobs.name(blobs.folder))[0].patience.seconds = 0
    monkeypatch.setattr(BlobContainer, "_read", _never)
    with pytest.raises(UserError, match="the table cannot be listed: datastore 'az' did not answer"):
        lines_of(source)


def test_many_small_files_are_looked_at_side_by_side(blobs: Mirror, tmp_path: Path, asked: list[tuple[str, int]]) -> None:
    write(blobs, **{f"{number:03}.csv": f"a\n{number}\n" for number in range(100)}, MLTable="paths: [{pattern: ./*.csv}]\n" + READ)
    source = opened(blobs.name(blobs.folder), blobs.stores, tmp_path)
    lines = lines_of(source)
    assert column(source, lines, "a", tmp_path) == list(range(100))
    assert len(asked) < 110


def test_the_number_of_a_line_that_is_too_far(
    blobs: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[tuple[str, int]]
) -> None:
    monkeypatch.setattr(textfile, "COUNTED", 500_000)
    write(blobs, **{"1.csv": ROWS + "oops,x\n", "MLTable": "paths: [{file: 1.csv}]\n" + READ})
    source = opened(blobs.name(blobs.folder), blobs.stores, tmp_path, mini_batch_size=200_000)
    lines = lines_of(source)
    assert source.loader is not None
    (error,) = source.loader.load(0, lines, tmp_path, "arrow").failed.values()
    start = json.loads(lines[-1])["p"][0]
    assert f"1.csv (line {ROWS.encode()[start:].count(10) + 1} behind byte {start}): column 'a': 'oops'" in error.message


def size_of(line: bytes) -> int:
    start, end = json.loads(line)["p"]
    return int(end - start)


def _made(folder: Path, name: str) -> str:
    (folder / name).mkdir()
    return name
