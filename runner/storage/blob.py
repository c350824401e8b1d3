"""A container of blobs: the few things we do with one, each tried again where that may help, each refusal in words.

Measured (docs/architecture.md): the SDK's retries do not know 429 and Retry-After and count connection, read and status apart,
so they are switched off; `patience.py` tries again instead.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import IO, Any, TypeVar
from urllib.request import getproxies

from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    IncompleteReadError,
    ResourceModifiedError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.storage.blob import BlobBlock, ContainerClient

from runner.model.datastore import BlobInfo, BlobStore
from runner.storage import addresses
from runner.storage.credentials import describe, sdk_credential
from runner.storage.patience import Again, Patience
from runner.storage.problems import BlobChanged, BlobMissing, BlocksLost, StorageRefused

T = TypeVar("T")

CONNECT_SECONDS, READ_SECONDS = 20, 60
PAGE = 5000  # names in one answer: the most there can be
PASSING = (408, 429, 500, 502, 503, 504)
LARGEST_GET = 64 << 20  # bytes asked for in one request
_RETRY_NOTHING: dict[str, Any] = {"retry_total": 0, "retry_connect": 0, "retry_read": 0, "retry_status": 0}

logging.getLogger("azure").setLevel(logging.CRITICAL)  # it would log addresses, some with a signature


class BlobContainer:
    """Threads may share it. Paths are whole names in the container. All methods raise StorageRefused and StorageUnavailable."""

    def __init__(self, store: BlobStore, *, say: Callable[[str], None] = lambda _text: None) -> None:
        self.store = store
        self.patience = Patience(name=f"datastore '{store.name}'", say=say)
        self._client: Any = ContainerClient(
            store.endpoint,
            store.container,
            credential=sdk_credential(store.credential),
            connection_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            connection_data_block_size=1 << 20,
            max_single_get_size=LARGEST_GET,
            max_chunk_get_size=LARGEST_GET,
            logging_enable=False,
            use_env_settings=_has_network_settings(),
            **_RETRY_NOTHING,
        )

    @property
    def account(self) -> str:
        """The name of the account, as it stands in its URL."""
        host, _, path = self.store.endpoint.partition("://")[2].partition("/")
        return path.strip("/") or host.partition(".")[0]

    def address(self, path: str) -> str:
        return addresses.join(self.store.root, path) if path else self.store.root

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

    def exists(self, path: str) -> bool:
        try:
            return bool(path) and bool(self.info(path).etag)
        except BlobMissing:
            return False

    def info(self, path: str) -> BlobInfo:
        """Errors: BlobMissing."""
        return self._try("read", path, lambda: _info(self._client.get_blob_client(path).get_blob_properties()))

    def read(self, path: str, offset: int = 0, length: int | None = None, *, etag: str = "") -> bytes:
        """Bytes of a blob; fewer where it ends. Errors: BlobMissing; BlobChanged where it has another ETag."""
        if length == 0:
            return b""
        return self._try("read", path, partial(self._read, path, offset, length, etag))

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

        def upload() -> str:
            if not isinstance(data, bytes):
                data.seek(0)
            answer = self._client.get_blob_client(path).upload_blob(
                data, length=length, overwrite=True, metadata=dict(metadata or {}), max_concurrency=2, **_condition(etag)
            )
            return _etag(answer["etag"])

        return self._try("write", path, upload)

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

    def commit(self, path: str, blocks: Sequence[str], *, etag: str | None = None, metadata: Mapping[str, str] | None = None) -> str:
        """Makes the blob of these blocks, in this order, at one moment; returns its ETag. Errors: BlobChanged; BlocksLost."""

        def send() -> str:
            answer = self._client.get_blob_client(path).commit_block_list(
                [BlobBlock(block_id=block) for block in blocks], metadata=dict(metadata or {}), **_condition(etag)
            )
            return _etag(answer["etag"])

        return self._try("write", path, send)

    def delete(self, path: str) -> None:
        """What is not there is deleted."""
        try:
            self._try("write", path, lambda: self._client.delete_blob(path))
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
        condition = {"etag": f'"{etag}"', "match_condition": MatchConditions.IfNotModified} if etag else {}
        start = None if length is None and not offset else offset
        stream = self._client.download_blob(path, offset=start, length=length, max_concurrency=1, decompress=False, **condition)
        wanted = stream.size
        data: bytes = stream.readall()
        if len(data) != wanted:
            raise Again(f"an answer had {len(data)} of {wanted} bytes")
        return data

    def _try(self, doing: str, path: str, call: Callable[[], T]) -> T:
        return self.patience.attempt(partial(self._once, doing, path, call))

    def _once(self, doing: str, path: str, call: Callable[[], T]) -> T:
        try:
            return call()
        except (ServiceRequestError, ServiceResponseError, IncompleteReadError) as error:
            raise Again(_short(error)) from None
        except ResourceModifiedError:
            raise BlobChanged(f"'{self.address(path)}' was written by somebody else") from None
        except HttpResponseError as error:
            raise self._meaning(doing, path, error) from None
        except AzureError as error:
            raise Again(_short(error)) from None

    def _meaning(self, doing: str, path: str, error: HttpResponseError) -> Exception:
        code, status = _code(error), error.status_code or 0
        if status in PASSING:
            return Again(f"{status} {code or error.reason or ''}".strip(), _asked(error))
        if code in ("InvalidBlockList", "InvalidBlobOrBlock"):
            return BlocksLost(f"blocks of '{self.address(path)}' are no longer there")
        if status in (409, 412):
            return BlobChanged(f"'{self.address(path)}' was written by somebody else ({status} {code})")
        store = self.store
        where = f"datastore '{store.name}' ({store.endpoint}/{store.container})"
        if code == "ContainerNotFound" or (status == 404 and not path):
            return StorageRefused(f"{where}: there is no such container", todo="make it, or mend the datastore in workspace.yml")
        if status == 404:
            return BlobMissing(f"there is nothing at '{self.address(path)}'", todo="check the path")
        if status in (401, 403) or isinstance(error, ClientAuthenticationError):
            words = {"list": "list blobs", "read": "read", "write": "write"}[doing]
            return StorageRefused(
                f"{where} does not let us {words} ({status or 'no token'} {code}); tried: {describe(store.credential)}",
                todo="mend its credentials in workspace.yml, or give this identity the role Storage Blob Data Contributor",
            )
        return StorageRefused(f"{where} refused to {doing} '{path}' ({status} {code or _short(error)})")


def _has_network_settings() -> bool:
    """Whether the environment says how one gets into the network. To look for it costs a tenth of a small request, at each of them."""
    return bool(getproxies()) or any(os.environ.get(name) for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"))


def _condition(etag: str | None) -> dict[str, Any]:
    if etag is None:
        return {}
    if not etag:
        return {"match_condition": MatchConditions.IfMissing}
    return {"etag": f'"{etag}"', "match_condition": MatchConditions.IfNotModified}


def _info(blob: Any) -> BlobInfo:
    return BlobInfo(path=blob.name, size=blob.size, etag=_etag(blob.etag), metadata=blob.metadata or {})


def _etag(text: object) -> str:
    return str(text).strip('"')


def _code(error: HttpResponseError) -> str:
    code = getattr(error, "error_code", None) or ""
    return str(getattr(code, "value", code))


def _asked(error: HttpResponseError) -> float:
    """Seconds of a Retry-After header; dates, which storage does not send, count as nothing."""
    headers: Mapping[str, str] = getattr(error.response, "headers", {})
    try:
        return max(0.0, float(headers.get("Retry-After") or 0))
    except ValueError:
        return 0.0


def _short(error: Exception) -> str:
    """One line without an address, which may have a signature in it."""
    inner = getattr(error, "inner_exception", None) or error
    return type(inner).__name__
