"""Data transfer jobs: the names of `azure.ai.ml.data_transfer`, none of which is here; each says so when it is used."""

from __future__ import annotations

from runner.sdk.lazy import attributes

__all__: list[str] = []

_ABSENT = """
    DataTransferCopy DataTransferCopyComponent DataTransferExport DataTransferExportComponent DataTransferImport
    DataTransferImportComponent Database FileSystem copy_data export_data import_data
"""

__getattr__, __dir__ = attributes(__name__, {}, _ABSENT)
