"""A local folder and its mirror in a container of blobs, so that one test says of both what it says of one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from runner.inputs.files import FileEntry, status_of
from runner.inputs.opener import Opener
from runner.storage.stores import Stores

if TYPE_CHECKING:
    from tests.azurite import Azurite


class Mirror:
    """`azurite`: None where the folder itself is what is tested."""

    def __init__(self, folder: Path, azurite: Azurite | None) -> None:
        self.folder = folder
        self._seen: dict[str, tuple[int, int]] = {}
        self._client = None
        self.stores = Stores()
        if azurite is not None:
            container = azurite.container()
            store = azurite.store(container)
            self._client = azurite.client(container)
            self._root = store.root
            self.stores = Stores([store])
        self.opener = Opener(self.stores)

    def name(self, path: Path) -> str:
        """Of a file or folder, as the runner names it."""
        if self._client is None:
            return str(path)
        return f"{self._root}/{path.relative_to(self.folder)}".removesuffix("/.")

    def sync(self) -> None:
        """Makes the container as the folder is now."""
        if self._client is None:
            return
        there: dict[str, tuple[int, int]] = {}
        for path in self.folder.rglob("*"):
            if path.is_file():
                status = path.stat()
                name = str(path.relative_to(self.folder))
                there[name] = status.st_size, status.st_mtime_ns
                if self._seen.get(name) != there[name]:
                    self._client.upload_blob(name, path.read_bytes(), overwrite=True)
        for name in self._seen.keys() - there.keys():
            self._client.delete_blob(name)
        self._seen = there

    def entry(self, path: Path) -> FileEntry:
        """As it is listed."""
        if self._client is None:
            return status_of(str(path))
        self.sync()
        found = self._client.get_blob_client(str(path.relative_to(self.folder))).get_blob_properties()
        return FileEntry(self.name(path), found.size, found.etag.strip('"'))

    def close(self) -> None:
        if self._client is not None:
            self._client.close()


@contextmanager
def mirrored(folder: Path, azurite: Azurite | None) -> Iterator[Mirror]:
    mirror = Mirror(folder, azurite)
    try:
        yield mirror
    finally:
        mirror.close()
