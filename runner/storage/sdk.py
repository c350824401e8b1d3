"""The SDK's client of a container, as we want it, and what its errors mean.

Measured (docs/architecture.md): the SDK's retries do not know 429 and Retry-After and count connection, read and status apart,
so they are switched off; `patience.py` tries again instead. A redirect is an error: it would carry a signature to another host.
"""

from __future__ import annotations

import logging
import re
from typing import Any

import requests
from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import ContainerClient

from runner.model.datastore import BlobStore
from runner.storage.causes import no_answer, passing
from runner.storage.connections import Connections
from runner.storage.credentials import advice, describe, sdk_credential, what_is_wrong
from runner.storage.datastores import OF_TOKENS
from runner.storage.problems import BlobChanged, BlobMissing, BlocksLost, StorageRefused

CONNECT_SECONDS, READ_SECONDS = 20, 60
CONNECTIONS = 64  # kept for the next request; what requests' default of 10 does not keep is made anew each time
LARGEST_GET = 64 << 20  # bytes asked for in one request
CHANGED = ("BlobAlreadyExists", "ConditionNotMet", "TargetConditionNotMet")
_RETRY_NOTHING: dict[str, Any] = {"retry_total": 0, "retry_connect": 0, "retry_read": 0, "retry_status": 0}


class _NoQueries(logging.Filter):
    """Takes the queries out of URLs: a SAS token is one."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = re.sub(r"\?[^\s\"']+", "?…", record.getMessage()), ()
        return True


def keep_secrets_out_of_logs() -> None:
    """Whatever levels somebody sets: these packages log addresses with their signatures."""
    for name in ("azure", "msal"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    connections = logging.getLogger("urllib3.connectionpool")
    if not any(isinstance(each, _NoQueries) for each in connections.filters):
        connections.addFilter(_NoQueries())


def container_client(store: BlobStore, connections: Connections) -> ContainerClient:
    """Its `connections` can be cut. Errors: StorageRefused for a credential that cannot be right."""
    keep_secrets_out_of_logs()
    return ContainerClient(
        store.endpoint,
        store.container,
        credential=sdk_credential(store),
        transport=_transport(store.endpoint, connections),
        max_single_get_size=LARGEST_GET,
        max_chunk_get_size=LARGEST_GET,
        permit_redirects=False,
        logging_enable=False,
        **_RETRY_NOTHING,
    )


def _transport(endpoint: str, connections: Connections) -> RequestsTransport:
    """With the proxies and certificates that the environment names, looked up once: for each request it takes a sixth of its time.

    Nor is there a look into ~/.netrc, whose password would take the place of a signature.
    """
    with requests.Session() as session:
        environment = session.merge_environment_settings(endpoint, {}, None, None, None)
    transport = RequestsTransport(
        connection_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        connection_data_block_size=1 << 20,
        connection_verify=environment["verify"],
        use_env_settings=False,
    )
    transport.open()
    transport.session.proxies = environment["proxies"]
    connections.watch(transport.session, CONNECTIONS)
    return transport


def meaning(store: BlobStore, doing: str, path: str, error: AzureError) -> Exception:
    """What is to be raised for it: Again where it may pass, else something in words. `doing`: list, read or write."""
    if isinstance(error, HttpResponseError) and error.response is not None:
        return _of_answer(store, doing, path, error)
    if isinstance(error, ClientAuthenticationError):  # nothing was sent: it could not be signed
        return StorageRefused(f"{store.where}: its account key is not a key: keys are base64", todo="copy it again from the account")
    return no_answer(store.where, error)


def _of_answer(store: BlobStore, doing: str, path: str, error: HttpResponseError) -> Exception:
    code, status = _code(error), error.status_code or 0
    reason = f"{status} {code or error.reason or ''}".strip()
    address = f"{store.root}/{path}" if path else store.root
    if again := passing(status, error.response, reason):
        return again
    if code == "InvalidBlockList":
        return BlocksLost(f"blocks of '{address}' are no longer there")
    if code == "InvalidBlobOrBlock":
        problem = f"blocks of somebody else, with ids of another length, wait at '{address}' to become a blob"
        return StorageRefused(problem, todo="write elsewhere; or upload anything there, which drops them, and delete it")
    if code in CHANGED or (status == 412 and not code.startswith("Lease")):
        return BlobChanged(f"'{address}' was written by somebody else ({reason})")
    if code == "ContainerNotFound" or (status == 404 and not path):
        made = f"make it (runner datastore create {store.name}), or mend the datastore in workspace.yml"
        todo = made if store.described else "make it, or check the address"
        return StorageRefused(f"{store.where}: there is no such container", todo=todo)
    if status == 404:
        return BlobMissing(f"there is nothing at '{address}'", todo="check the path")
    if status in (401, 403) or isinstance(error, ClientAuthenticationError):
        return _refusal(store, doing, reason, code)
    return StorageRefused(f"{store.where} refused to {doing} '{path}' ({reason})")


def _refusal(store: BlobStore, doing: str, reason: str, code: str) -> StorageRefused:
    words = {"list": "list blobs", "read": "read", "write": "write"}[doing]
    wrong = what_is_wrong(store, doing, code)
    tried = f"{describe(store.credential)}: {wrong}" if wrong else describe(store.credential)
    role = ", or give this identity the role Storage Blob Data Contributor" if store.credential.kind in OF_TOKENS else ""
    return StorageRefused(f"{store.where} does not let us {words} ({reason}); tried: {tried}", todo=advice(store) + role)


def _code(error: HttpResponseError) -> str:
    code = getattr(error, "error_code", None) or ""
    return str(getattr(code, "value", code))
