"""Blobs that only say that there is a folder: what portals, drivers and copying programs leave where folders are."""

from __future__ import annotations

from runner.model.datastore import BlobInfo


def is_folder_marker(blob: BlobInfo) -> bool:
    """Marked by its metadata, or empty and named like a folder. What has content is data, whatever its name."""
    return is_marked(blob) or (not blob.size and blob.path.endswith("/"))


def is_marked(blob: BlobInfo) -> bool:
    return blob.metadata.get("hdi_isfolder") == "true"
