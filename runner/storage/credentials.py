"""From a `Credential` to what the SDK wants. The packages are imported when one is needed."""

from __future__ import annotations

from typing import Any

from runner.model.datastore import Credential
from runner.storage.problems import StorageRefused

_WORDS = {
    "account_key": "its account key",
    "sas": "its SAS token",
    "service_principal": "the service principal {client_id}",
    "managed_identity": "the managed identity of this machine",
    "default": "azure-identity's DefaultAzureCredential (environment variables, workload and managed identity, Azure CLI)",
    "anonymous": "no credential",
}


def describe(credential: Credential) -> str:
    """What was tried, for messages: never the secret."""
    return _WORDS[credential.kind].format(client_id=credential.client_id)


def sdk_credential(credential: Credential) -> Any:
    """What ContainerClient takes. Errors: StorageRefused for one that cannot be right."""
    if credential.kind in ("account_key", "sas"):
        return credential.secret
    if credential.kind == "anonymous":
        return None
    from azure import identity

    if credential.kind == "default":
        return identity.DefaultAzureCredential(exclude_interactive_browser_credential=True)
    if credential.kind == "managed_identity":
        return identity.ManagedIdentityCredential(**({"client_id": credential.client_id} if credential.client_id else {}))
    options = {"authority": credential.authority, "disable_instance_discovery": True} if credential.authority else {}
    try:
        return identity.ClientSecretCredential(credential.tenant_id, credential.client_id, credential.secret, **options)
    except ValueError as error:
        raise StorageRefused(f"the service principal is not complete: {error}") from None
