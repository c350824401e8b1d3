"""A container of blobs: the few things we do with one, each tried again where that may help, each refusal in words."""

from __future__ import annotations

import mimetypes
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from functools import partial
from typing import IO, Any, TypeVar

from azure.core import MatchConditions
from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError
from azure.storage.blob import BlobBlock, ContentSettings

from runner.model.datastore import BlobInfo, BlobStore, Fetched
from runner.storage import addresses
from runner.storage.connections import Connections
from runner.storage.patience import PATIENCE, Again, Patience
from runner.storage.problems import BlobChanged, BlobMissing
from runner.storage.sdk import LARGEST_GET, container_client, meaning

T = TypeVar("T")

PAGE = 5000  # names in one answer: the most there can be
MARK = "runner_write"  # metadata that says which of our writes made a blob


class BlobContainer:
    """Threads may share it. Paths are whole names in the container. All methods raise StorageRefused and StorageUnavailable."""

    def __init__(
        self,
        store: BlobStore,
        *,
        say: Callable[[str], None] = lambda _text: None,
        over: Callable[[str], None] | None = None,
        patience: float = PATIENCE,
    ) -> None:
        """`patience`: seconds after which a storage that does not answer is given up; `say` and `over`: who is told (patience.py)."""
        self.store = store
        self.patience = Patience(name=store.title, say=say, over=over, seconds=patience)
        self._connections = Connections()
        self._client: Any = container_client(store, self._connections)

    @property
    def account(self) -> str:
        return self.store.account_name

    def address(self, path: str) -> str:
        return addresses.join(self.store.root, path) if path else self.store.root

    def stop_waiting(self) -> None:
        """What the storage does not answer at once fails from now on (StorageUnavailable)."""
        self.patience.stop()
        self._connections.stop()

    # Reading

    def pages(self, prefix: str, *, after: str = "") -> Iterator[list[BlobInfo]]:
        """All blobs whose names begin with `prefix` and come after `after`, in the order of names, a page at a time."""
        token: str | None = None
        while True:
            page, token = self._try("list", prefix, partial(self._page, prefix, token))
            found = [each for each in page if each.path > after] if after else page
            if found:
                yield found
            if not token:
                return

    def level(self, prefix: str) -> Iterator[tuple[list[BlobInfo], list[str]]]:
        """What lies directly below a prefix that ends in "/" (or is empty), by pages: blobs, and folders, whose names end in "/"."""
        token: str | None = None
        while True:
            blobs, folders, token = self._try("list", prefix, partial(self._level, prefix, token))
            if blobs or folders:
                yield blobs, folders
            if not token:
                return

    def folder(self, prefix: str) -> tuple[list[BlobInfo], list[str]]:
        """All that `level` gives."""
        blobs: list[BlobInfo] = []
        folders: list[str] = []
        for more_blobs, more_folders in self.level(prefix):
            blobs += more_blobs
            folders += more_folders
        return blobs, folders

    def holds(self, prefix: str) -> bool:
        """Whether there is a blob whose name begins so."""
        return self._try("list", prefix, lambda: next(iter(self._client.list_blobs(prefix or None, results_per_page=1)), None) is not None)

    def info(self, path: str) -> BlobInfo:
        """Errors: BlobMissing."""
        return self._try("read", path, lambda: _info(self._client.get_blob_client(path).get_blob_properties()))

    def read(self, path: str, offset: int = 0, length: int | None = None, *, etag: str = "") -> bytes:
        """Bytes of a blob; fewer where it ends. Errors: BlobMissing; BlobChanged where it has another ETag."""
        if length == 0:
            return b""
        return self._try("read", path, partial(self._read, path, offset, length, etag))

    def fetch(self, path: str) -> Fetched:
        """A small blob as a whole, and how long ago it was written. Errors: BlobMissing."""
        return self._try("read", path, partial(self._fetch, path))

    def read_into(self, path: str, out: IO[bytes], *, size: int, etag: str = "") -> None:
        """A whole blob of a known size and ETag, in pieces. Errors: as `read`."""
        for offset in range(0, size, LARGEST_GET):
            out.write(self.read(path, offset, min(LARGEST_GET, size - offset), etag=etag))

    # Writing

    def put(
        self,
        path: str,
        data: bytes | IO[bytes],
        *,
        etag: str | None = None,
        metadata: Mapping[str, str] | None = None,
        length: int | None = None,
    ) -> str:
        """Writes a whole blob; returns its ETag. `etag`: that of the blob it replaces, "" where there must be none, None for either.

        Errors: BlobChanged.
        """

        def upload(metadata: Mapping[str, str]) -> Any:
            if not isinstance(data, bytes):
                data.seek(0)
            return self._client.get_blob_client(path).upload_blob(
                data,
                length=length,
                overwrite=True,
                metadata=dict(metadata),
                content_settings=_content_of(path),
                max_concurrency=2,
                **_condition(etag),
            )

        return self._write(path, upload, etag, metadata)

    def stage(self, path: str, block: str, data: bytes) -> None:
        """A block, invisible until it is committed. `block`: its id, of the same length as all others of the blob."""
        self._try("write", path, lambda: self._client.get_blob_client(path).stage_block(block, data, length=len(data)))

    def staged(self, path: str) -> dict[str, int]:
        """Blocks that a commit may name, id → bytes: those that wait for one, and those of the blob as it is."""

        def ask() -> dict[str, int]:
            committed, waiting = self._client.get_blob_client(path).get_block_list("all")
            return {str(block.id): int(block.size) for block in (*committed, *waiting)}

        try:
            return self._try("read", path, ask)
        except BlobMissing:
            return {}

    def committed(self, path: str) -> list[tuple[str, int]]:
        """The blocks that a blob is made of, in their order: (id, bytes). None where it was put as a whole. Errors: BlobMissing."""

        def ask() -> list[tuple[str, int]]:
            blocks, _ = self._client.get_blob_client(path).get_block_list("committed")
            return [(str(block.id), int(block.size)) for block in blocks]

        return self._try("read", path, ask)

    def touch(self, path: str, *, etag: str) -> str:
        """Gives a blob another ETag, so that whoever knows only this one cannot write it any more. Errors: BlobChanged; BlobMissing."""

        def send() -> str:
            answer = self._client.get_blob_client(path).set_blob_metadata({}, **_condition(etag))
            return _etag(answer["etag"])

        return self._try("write", path, send)

    def commit(self, path: str, blocks: Sequence[str], *, etag: str | None = None, metadata: Mapping[str, str] | None = None) -> str:
        """Makes the blob of these blocks, in this order, at one moment; returns its ETag. Errors: BlobChanged; BlocksLost."""

        def send(metadata: Mapping[str, str]) -> Any:
            listed = [BlobBlock(block_id=block) for block in blocks]
            return self._client.get_blob_client(path).commit_block_list(
                listed, metadata=dict(metadata), content_settings=_content_of(path), **_condition(etag)
            )

        return self._write(path, send, etag, metadata)

    def create(self) -> bool:
        """Makes the container; False when it is there already."""

        def send() -> bool:
            try:
                self._client.create_container()
            except ResourceExistsError:
                return False
            return True

        return self._try("write", "", send)

    def delete(self, path: str, *, etag: str | None = None) -> None:
        """What is not there is deleted. `etag`: only a blob that has this one. Errors: BlobChanged."""
        try:
            self._try("write", path, lambda: self._client.delete_blob(path, **_condition(etag)))
        except BlobMissing:
            pass

    def check_writable(self, path: str) -> None:
        """Errors: StorageRefused. Leaves nothing that anybody sees: a block that is never committed."""
        self.stage(path, "A" * 44, b"\n")

    # Inside

    def _page(self, prefix: str, token: str | None) -> tuple[list[BlobInfo], str | None]:
        pager = self._client.list_blobs(name_starts_with=prefix or None, include=["metadata"], results_per_page=PAGE).by_page(token)
        page = [_info(each) for each in next(pager, ())]
        return page, pager.continuation_token

    def _level(self, prefix: str, token: str | None) -> tuple[list[BlobInfo], list[str], str | None]:
        walk = self._client.walk_blobs(name_starts_with=prefix or None, include=["metadata"], delimiter="/", results_per_page=PAGE)
        pager = walk.by_page(token)
        page = list(next(pager, ()))
        folders = [each.name for each in page if hasattr(each, "prefix")]
        return [_info(each) for each in page if not hasattr(each, "prefix")], folders, pager.continuation_token

    def _read(self, path: str, offset: int, length: int | None, etag: str) -> bytes:
        """As it lies there: the SDK would unpack what says that it is gzip."""
        condition = {"etag": f'"{etag}"', "match_condition": MatchConditions.IfNotModified} if etag else {}
        try:
            stream = self._client.download_blob(path, offset=offset, length=length, max_concurrency=1, decompress=False, **condition)
        except HttpResponseError as error:
            if error.status_code == 416:
                return b""  # it ends before
            raise
        wanted = stream.size
        data: bytes = stream.readall()
        if len(data) != wanted:
            raise Again(f"an answer had {len(data)} of {wanted} bytes")
        return data

    def _fetch(self, path: str) -> Fetched:
        clock: dict[str, str] = {}

        def note(answer: Any) -> None:
            clock.update(answer.http_response.headers)

        stream = self._client.download_blob(path, max_concurrency=1, decompress=False, raw_response_hook=note)
        data: bytes = stream.readall()
        written = stream.properties.last_modified
        here = next((parsedate_to_datetime(value) for key, value in clock.items() if key.lower() == "date"), None)
        age = (here - written).total_seconds() if here and written else 0.0
        return Fetched(data=data, etag=_etag(stream.properties.etag), age=max(0.0, age))

    def _write(self, path: str, send: Callable[[Mapping[str, str]], Any], etag: str | None, metadata: Mapping[str, str] | None) -> str:
        """`send(metadata)` writes a blob. Where an answer is lost, what stands in the way of the next attempt is the blob of the first."""
        mark = uuid.uuid4().hex
        marked = {**(metadata or {}), **({MARK: mark} if etag is not None else {})}
        try:
            return self._try("write", path, lambda: _etag(send(marked)["etag"]))
        except BlobChanged:
            own = self._made_by(path, mark) if etag is not None else None
            if own is None:
                raise
            return own

    def _made_by(self, path: str, mark: str) -> str | None:
        """The ETag of a blob that this write has made."""
        try:
            found = self._try("read", path, lambda: self._client.get_blob_client(path).get_blob_properties())
        except BlobMissing:
            return None
        return _etag(found.etag) if (found.metadata or {}).get(MARK) == mark else None

    def _try(self, doing: str, path: str, call: Callable[[], T]) -> T:
        return self.patience.attempt(partial(self._once, doing, path, call))

    def _once(self, doing: str, path: str, call: Callable[[], T]) -> T:
        try:
            return call()
        except AzureError as error:
            problem = meaning(self.store, doing, path, error)
        raise problem  # out here nothing of the SDK's error, which has addresses with signatures, hangs on to it


def _content_of(path: str) -> ContentSettings:
    """What browsers and the portal take it for, by its name."""
    return ContentSettings(content_type=mimetypes.guess_type(path, strict=False)[0] or "application/octet-stream")


def _condition(etag: str | None) -> dict[str, Any]:
    if etag is None:
        return {}
    if not etag:
        return {"match_condition": MatchConditions.IfMissing}
    return {"etag": f'"{etag}"', "match_condition": MatchConditions.IfNotModified}


def _info(blob: Any) -> BlobInfo:
    metadata = {name: value for name, value in (blob.metadata or {}).items() if name != MARK}
    return BlobInfo(path=blob.name, size=blob.size, etag=_etag(blob.etag), metadata=metadata)


def _etag(text: object) -> str:
    return str(text).strip('"')
