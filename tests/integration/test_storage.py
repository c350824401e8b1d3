"""Containers of blobs, in Azurite."""

from __future__ import annotations

from runner.storage.blob import BlobContainer
from tests.azurite import Azurite


def test_what_was_put_is_read(azurite: Azurite) -> None:
    container = BlobContainer(azurite.store(azurite.container()))
    etag = container.put("a/ü b.txt", b"12345")
    assert container.read("a/ü b.txt", 1, 3, etag=etag) == b"234"
    with azurite.client(container.store.container) as client:
        assert [blob.name for blob in client.list_blobs()] == ["a/ü b.txt"]
