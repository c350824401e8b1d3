"""From a `Credential` to what the SDK wants, and to tokens. azure-identity is imported when it is needed."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from datetime import datetime, timezone
from textwrap import shorten
from typing import Any
from urllib.parse import parse_qs, quote

from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential
from azure.core.exceptions import AzureError, ServiceRequestError, ServiceResponseError

from runner.model.datastore import BlobStore, Credential
from runner.storage.causes import causes_of, no_answer, passing
from runner.storage.patience import Again
from runner.storage.problems import StorageRefused

_WORDS = {
    "account_key": "its account key",
    "sas": "its SAS token",
    "service_principal": "the service principal {client_id}",
    "managed_identity": "the managed identity of this machine",
    "default": "azure-identity's DefaultAzureCredential (environment variables, workload and managed identity, Azure CLI)",
    "anonymous": "no credential",
}

_PERMISSIONS = {"list": "l", "read": "r", "write": "wc"}  # of a SAS; one of them is enough
_OF_KEYS = {
    "KeyBasedAuthenticationNotPermitted": "the account lets nobody in by key",
    "AuthorizationFailure": "the key is wrong, or that of another account, or the account's firewall keeps this machine out",
}


def describe(credential: Credential) -> str:
    """What was tried, for messages: never the secret. Of a SAS token what it allows, and until when."""
    words = _WORDS[credential.kind].format(client_id=credential.client_id)
    if credential.kind == "sas":
        fields = parse_qs(credential.secret)
        if "sig" not in fields:
            return f"{words} (which is not a SAS: it has no sig=)"
        known = [f"{name} {fields[key][0]}" for key, name in (("sp", "permissions"), ("se", "valid until")) if key in fields]
        return f"{words} ({', '.join(known)})" if known else words
    return words


def advice(store: BlobStore) -> str:
    """What to do about a credential that is refused."""
    if store.described:
        return "mend its credentials in workspace.yml"
    public = "credentials: anonymous"
    return f"make a new SAS, or describe the container as a datastore in workspace.yml ({public} for a public one)"


def what_is_wrong(store: BlobStore, doing: str, code: str) -> str:
    """As far as one can tell, of a key or a SAS that was refused; `doing`: list, read or write; else an empty string."""
    credential = store.credential
    if credential.kind == "account_key":
        return _OF_KEYS.get(code, "the key is wrong, or that of another account")
    return _wrong_with_sas(parse_qs(credential.secret), doing) if credential.kind == "sas" else ""


def _wrong_with_sas(fields: Mapping[str, list[str]], doing: str) -> str:
    ends = _moment(fields.get("se", [""])[0])
    if ends is not None and ends <= datetime.now(timezone.utc):
        return "it has expired"
    if "sp" in fields and not set(_PERMISSIONS[doing]) & set(fields["sp"][0]):
        return f"it lacks the permission to {doing} ({' or '.join(_PERMISSIONS[doing])})"
    return ""


def _moment(text: str) -> datetime | None:
    """A date, or a date and a time, of UTC."""
    try:
        found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


def hide(credential: Credential, text: str) -> str:
    """A text of somebody else's without the secret."""
    for secret in (credential.secret, quote(credential.secret, safe="")):
        text = text.replace(secret, "***") if secret else text
    return text


def sdk_credential(store: BlobStore) -> Any:
    """What ContainerClient takes. Errors: StorageRefused for one that cannot be right."""
    credential = store.credential
    if credential.kind == "account_key":
        return AzureNamedKeyCredential(store.account_name, credential.secret)
    if credential.kind == "sas":
        return AzureSasCredential(credential.secret)
    return None if credential.kind == "anonymous" else Tokens(store)


class Tokens:
    """A credential of the SDK's of which one thread at a time asks for a token: the others find it in its cache."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._credential = _token_credential(store)
        self._lock = threading.Lock()

    def get_token(self, *scopes: str, **options: Any) -> Any:
        """Errors: Again; StorageRefused."""
        try:
            with self._lock:
                return self._credential.get_token(*scopes, **options)
        except AzureError as error:
            problem = self._meaning(error)
        raise problem  # out here nothing of the SDK's error hangs on to it

    def _meaning(self, error: AzureError) -> Exception:
        """Entra ID may be out of reach for a while; where a machine has no identity, nobody ever answers."""
        credential = self._store.credential
        whom = f"{self._store.where}: {describe(credential)}"
        causes = list(causes_of(error))
        for cause in causes:
            if isinstance(cause, Again):
                return cause
            if isinstance(cause, ServiceRequestError | ServiceResponseError) and credential.kind == "service_principal":
                return no_answer(f"{whom}, or rather who gives it tokens", cause)
        said = shorten(hide(credential, str(error.message)), 400, placeholder=" …")
        todo = f"log in with az login, or {advice(self._store)}" if credential.kind == "default" else advice(self._store)
        refusal = StorageRefused(f"{whom} gets no token: {said}", todo=todo)
        return refusal if credential.kind == "service_principal" else Again("no token", refusal=refusal)


def _not_now(answer: Any) -> None:
    """Sees the answers of Entra ID before a package throws their status away. Errors: Again."""
    response = answer.http_response
    if again := passing(response.status_code, response, f"no token ({response.status_code})"):
        raise again


def _token_credential(store: BlobStore) -> Any:
    from azure import identity

    options: dict[str, Any]
    credential = store.credential
    if credential.kind == "default":
        options = {"disable_instance_discovery": "AZURE_AUTHORITY_HOST" in os.environ}  # as for `authority` below
        return identity.DefaultAzureCredential(exclude_interactive_browser_credential=True, retry_total=0, **options)
    if credential.kind == "managed_identity":
        # With its own retries: it knows which answers of a machine that has just started may pass.
        return identity.ManagedIdentityCredential(**({"client_id": credential.client_id} if credential.client_id else {}))
    options = {"retry_total": 0, "raw_response_hook": _not_now}  # `patience.py` tries again
    if credential.authority:  # one of a cloud of one's own, which Azure's public one need not know
        options |= {"authority": credential.authority, "disable_instance_discovery": True}
    try:
        return identity.ClientSecretCredential(credential.tenant_id, credential.client_id, credential.secret, **options)
    except ValueError as error:
        problem = f"{store.title}: its service principal is not complete: {hide(credential, str(error))}"
    raise StorageRefused(problem, todo=advice(store))
