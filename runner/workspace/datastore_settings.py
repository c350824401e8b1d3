"""`datastores:` of type azure_blob, with Azure's own fields, and `data:` of workspace.yml.

datastores:
  lake:
    type: azure_blob
    account_name: mylake
    container_name: images
    protocol: https                 # the default
    endpoint: core.windows.net      # the default; or a whole URL: http://127.0.0.1:10000/devstoreaccount1
    credentials:                    # one kind; left out: the job's `identity`, else azure-identity's default credential
      account_key: …                # each secret as text, {file: PATH} or {env: NAME}
      sas_token: …
      connection_string: …
      tenant_id: …, client_id: …, client_secret: …, authority_url: …
      managed_identity: true, client_id: …
data:
  digits: {"1": {type: uri_folder, path: azureml://datastores/lake/paths/digits}}
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from runner.errors import UserError
from runner.model.datastore import DataAsset
from runner.model.job import DATA_TYPES
from runner.storage.datastores import BlobDatastore, Secret, connection_parts
from runner.storage.uri import is_emulator, parse_uri
from runner.workspace.reading import Reading

if TYPE_CHECKING:
    from runner.spec.yaml_source import Node

AZURE_BLOB = "azure_blob"
KEYS = ("type", "name", "account_name", "container_name", "protocol", "endpoint", "credentials", "description", "tags")
_SECRETS = ("account_key", "sas_token", "connection_string", "client_secret")
_OTHERS = ("tenant_id", "client_id", "authority_url", "resource_url", "managed_identity")
_KINDS = "account_key | sas_token | connection_string | tenant_id, client_id, client_secret | managed_identity: true | nothing"
_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")
_CONTAINER = re.compile(r"[a-z0-9](?:-?[a-z0-9]){2,62}|\$root|\$web")
_SUFFIX = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_VERSION = re.compile(r"[A-Za-z0-9_.-]+")


class DatastoreReading(Reading):
    """Reads datastores in blob storage, and data assets; mistakes go into `errors`."""

    def blob(self, name: str, node: Node) -> BlobDatastore:
        self._is_mapping(node, KEYS)
        account = self._matching(node, "account_name", _ACCOUNT, "3 to 24 lower-case letters and digits")
        container = self._matching(node, "container_name", _CONTAINER, "3 to 63 lower-case letters, digits and single hyphens")
        if not container and node.get("container_name") is None:
            self._error("`container_name` is missing", node, todo="write the container's name")
        written = node.get("credentials")
        store = BlobDatastore(name=name, container=container, account=account, place=node.place)
        if written is not None:
            store = self._credentials(store, written)
        if not account and node.get("account_name") is None and store.kind != "connection_string":
            self._error("`account_name` is missing", node, todo="write the name of the storage account")
        return self._with_url(store, node)

    def data(self, node: Node) -> DataAsset:
        if not self._is_mapping(node, ("type", "path", "description", "tags", "name", "version")):
            return DataAsset(path="")
        path, kind, description = node.get("path"), node.get("type"), node.get("description")
        if path is None:
            self._error("`path` is missing", node, todo="write where the data lies")
        elif self._is_scalar(path):
            self._check_path(path)
        return DataAsset(
            path=path.text if path else "",
            type=self._choice(kind, DATA_TYPES) or "",
            description=description.text if description and self._is_scalar(description) else "",
        )

    def version(self, name: str, node: Node) -> None:
        if not _VERSION.fullmatch(name):
            self._error(f"'{name}' is not a version", node, "letters, digits, _, . and -")

    def _check_path(self, node: Node) -> None:
        try:
            uri = parse_uri(node.text)
        except UserError as error:
            self._errors.append(UserError(error.problem, place=node.place, allowed=error.allowed, todo=error.todo))
            return
        if uri.kind == "asset":
            self._error("a data asset cannot name another one", node, todo="write the path")
        elif uri.sas:
            self._error(
                "the path has a SAS in it", node, todo="describe its container as a datastore, and put the SAS into its credentials"
            )

    def _with_url(self, store: BlobDatastore, node: Node) -> BlobDatastore:
        protocol = self._choice(node.get("protocol"), ("https", "http")) or "https"
        endpoint = node.get("endpoint")
        suffix = endpoint.text.strip().rstrip("/") if endpoint is not None and self._is_scalar(endpoint) else ""
        if endpoint is not None and suffix.startswith(("https://", "http://")):
            self._check_emulator(suffix, store.account, endpoint)
            return replace(store, url=suffix)
        if suffix and not _SUFFIX.fullmatch(suffix) and endpoint is not None:
            allowed = "core.windows.net and the like, or a whole URL: http://127.0.0.1:10000/devstoreaccount1"
            self._error(f"'{endpoint.text}' is not an endpoint", endpoint, allowed)
        if not store.account:
            return store
        return replace(store, url=f"{protocol}://{store.account}.blob.{suffix or 'core.windows.net'}")

    def _check_emulator(self, url: str, account: str, node: Node) -> None:
        parts = urlsplit(url)
        if is_emulator(parts.hostname or "") and not parts.path:
            todo = f"write {url}/{account or 'ACCOUNT'}"
            self._error(f"'{url}' lacks the account: at an IP address or localhost its name is part of the URL", node, todo=todo)

    def _credentials(self, store: BlobDatastore, node: Node) -> BlobDatastore:
        if not self._is_mapping(node, (*_SECRETS, *_OTHERS)):
            return store
        secrets = {key: self._secret(child) for key in _SECRETS if (child := node.get(key)) is not None}
        texts: dict[str, Any] = {}
        for key in ("tenant_id", "client_id", "authority_url"):
            child = node.get(key)
            if child is not None and self._is_scalar(child):
                texts["authority" if key == "authority_url" else key] = child.text
        managed = node.get("managed_identity")
        if managed is not None and not isinstance(managed.value, bool):
            self._error(f"must be true or false, not {managed.kind}", managed)
        is_managed = managed is not None and managed.value is True
        if len(secrets) + is_managed > 1:
            self._error("several kinds of credentials exclude each other", node, _KINDS, "keep one of them")
            return store
        if "client_secret" in secrets:
            for key in ("tenant_id", "client_id"):
                if key not in texts:
                    self._error(f"`{key}` is missing: a service principal has tenant_id, client_id and client_secret", node)
            return replace(store, kind="service_principal", secret=secrets["client_secret"], **texts)
        if is_managed:
            return replace(store, kind="managed_identity", client_id=texts.get("client_id", ""))
        if texts:
            self._error("these credentials are not complete", node, _KINDS)
        if "connection_string" in secrets:
            self._check_connection(secrets["connection_string"], store)
            return replace(store, kind="connection_string", secret=secrets["connection_string"])
        if "sas_token" in secrets:
            return replace(store, kind="sas", secret=secrets["sas_token"])
        return replace(store, kind="account_key", secret=secrets["account_key"]) if secrets else store

    def _check_connection(self, secret: Secret, store: BlobDatastore) -> None:
        """As far as it is written here."""
        parts = connection_parts(secret.text)
        if secret.text and not (parts.get("accountkey") or parts.get("sharedaccesssignature")):
            allowed = "DefaultEndpointsProtocol=https;AccountName=…;AccountKey=…;EndpointSuffix=core.windows.net"
            self._errors.append(UserError("this is no connection string with a credential", place=secret.place, allowed=allowed))
        elif secret.text and not (parts.get("accountname") or parts.get("blobendpoint") or store.account):
            self._errors.append(UserError("the connection string names no account", place=secret.place, todo="write account_name: as well"))

    def _secret(self, node: Node) -> Secret:
        """No message quotes it."""
        if not node.is_mapping:
            if node.is_list or node.is_unset or not node.text.strip():
                self._errors.append(UserError("must be a text", place=node.place, allowed="the secret, {file: PATH}, {env: NAME}"))
                return Secret(place=node.place)
            return Secret(text=node.text.strip(), place=node.place)
        file, env = node.get("file"), node.get("env")
        if set(node.entries) - {"file", "env"} or (file is None) == (env is None):
            self._errors.append(
                UserError("is written in a way unknown here", place=node.place, allowed="the secret, {file: PATH}, {env: NAME}")
            )
            return Secret(place=node.place)
        if env is not None:
            if not self._is_scalar(env) or not _VARIABLE.fullmatch(env.text):
                self._errors.append(UserError("must be the name of an environment variable", place=env.place))
            return Secret(env=env.text, place=env.place)
        assert file is not None
        return Secret(file=str(node.base / Path(file.text).expanduser()) if self._is_scalar(file) else "", place=file.place)

    def _matching(self, node: Node, key: str, pattern: re.Pattern[str], allowed: str) -> str:
        child = node.get(key)
        if child is None or not self._is_scalar(child):
            return ""
        if not pattern.fullmatch(child.text):
            self._error(f"'{child.text}' cannot be right", child, allowed)
        return child.text


def open_secrets(file: Path, stores: Iterable[BlobDatastore], tracking_uri: str = "") -> Iterator[str]:
    """A sentence for each file that has secrets in it, a workspace.yml or one that it names, and that other users can read."""
    places: dict[str, list[str]] = {}
    if urlsplit(tracking_uri).password:
        places[str(file)] = ["mlflow.tracking_uri"]
    for store in stores:
        if store.secret.text or store.secret.file:
            places.setdefault(store.secret.file or str(file), []).append(store.name)
    for path, names in places.items():
        if _is_open(Path(path)):
            yield f"other users can read {path}, which has the credentials of {', '.join(names)} in it: chmod 600 {path}"


def _is_open(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
    except OSError:
        return False
