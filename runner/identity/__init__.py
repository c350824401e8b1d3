"""Credentials of Azure's computes: the names of `azure.ai.ml.identity`, none of which is here; each says so when it is used."""

from __future__ import annotations

from runner.sdk.lazy import attributes

__all__: list[str] = []

_ABSENT = """
    AzureMLOnBehalfOfCredential CredentialUnavailableError
"""

__getattr__, __dir__ = attributes(__name__, {}, _ABSENT)
