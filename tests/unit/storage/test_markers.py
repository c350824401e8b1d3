"""Which blobs are folders, and which are data."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.errors import UserError
from runner.model.datastore import BlobInfo
from runner.storage.markers import is_folder_marker
from runner.storage.stores import Stores
from runner.workspace.transfer import transfer
from tests.azurite import Azurite


@pytest.mark.parametrize(
    ("path", "size", "metadata", "folder"),
    [
        ("a", 0, {}, False),
        ("a/", 0, {}, True),
        ("a/", 1, {}, False),
        ("a", 0, {"hdi_isfolder": "true"}, True),
        ("a", 0, {"hdi_isfolder": "false"}, False),
    ],
)
def test_what_is_a_folder(path: str, size: int, metadata: dict[str, str], folder: bool) -> None:
    assert is_folder_marker(BlobInfo(path=path, size=size, etag="0x", metadata=metadata)) is folder


def test_a_folder_is_fetched_without_markers_and_data_is_never_left_out(azurite: Azurite, tmp_path: Path) -> None:
    store = azurite.store(azurite.container())
    stores = Stores([store])
    container, _ = stores.at(store.root)
    container.put("in/a/x.txt", b"1")
    container.put("in/a", b"", metadata={"hdi_isfolder": "true"})
    container.put("in/b/", b"")
    transfer(f"{store.root}/in", str(tmp_path / "out"), stores)
    assert [path.relative_to(tmp_path).as_posix() for path in sorted((tmp_path / "out").rglob("*"))] == ["out/a", "out/a/x.txt"]
    container.put("in/c/", b"data")
    with pytest.raises(UserError, match="the blob 'in/c/' cannot be a file"):
        transfer(f"{store.root}/in", str(tmp_path / "out"), stores)
