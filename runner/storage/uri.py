"""Where data lies, as users write it: `azureml://…`, `azureml:name:version`, `wasbs://`, `abfss://`, `https://…`, `file://`, plain paths.

Only parsing: nothing here looks at a disk or a network.
"""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit

from runner.errors import UserError, did_you_mean

ALLOWED = (
    "a local path, file:///…, azureml://datastores/<datastore>/paths/<path>, azureml:<name>:<version>, "
    "wasbs://<container>@<account>.blob.core.windows.net/<path>, abfss://<container>@<account>.dfs.core.windows.net/<path>, https://…"
)

Kind = Literal["local", "datastore", "asset", "registry", "blob", "web"]

_DATASTORE = re.compile(r"datastores/(?P<store>[^/]+)/paths(?:/(?P<path>.*))?$", re.DOTALL)
_WORKSPACE = re.compile(
    r"subscriptions/(?P<sub>[^/]+)/resource[gG]roups/(?P<group>[^/]+)/(?:providers/Microsoft\.MachineLearningServices/)?workspaces/(?P<workspace>[^/]+)/(?P<rest>.*)$",
    re.DOTALL,
)
_REGISTRY = re.compile(
    r"registries/(?P<registry>[^/]+)/(?P<kind>[^/]+)/(?P<name>[^/]+)/(?:versions/(?P<version>[^/]+)|labels/(?P<label>[^/]+))$", re.DOTALL
)
_ASSET = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9_.-]*)(?::(?P<version>[A-Za-z0-9_.-]+)|@(?P<label>[A-Za-z0-9_.-]+))?$")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(?=//|.)", re.DOTALL)
_WITH_QUERY = re.compile(r"\s*(?:azureml:)?(?:(?P<web>https?)|wasbs?|abfss?)://", re.IGNORECASE)
_KNOWN_SCHEMES = ("azureml", "wasbs", "wasb", "abfss", "abfs", "https", "http", "file")


@dataclass(frozen=True, kw_only=True)
class Uri:
    """A parsed location. Which fields are set depends on `kind`:

    local      path (as written, without `file:`; may be relative)
    datastore  datastore, path (below its root); workspace where the long form was written
    asset      name and version or label
    registry   registry, asset_kind, name and version or label
    blob       account, container, path; endpoint is the blob endpoint's host, of an emulator with the account's name behind it
    web        any other http(s):// address: endpoint is its host, path what follows

    The SAS behind an address is in `sas`, and nowhere else: it is a secret.
    """

    kind: Kind
    text: str  # as the user wrote it
    sas: str = field(default="", repr=False)
    path: str = ""
    datastore: str = ""
    workspace: str = ""
    account: str = ""
    container: str = ""
    endpoint: str = ""
    registry: str = ""
    asset_kind: str = ""
    name: str = ""
    version: str | None = None
    label: str | None = None

    @property
    def is_local(self) -> bool:
        return self.kind == "local"


def looks_like_uri(text: str) -> bool:
    """Whether a bare string is meant as a location rather than as a word: it has a known scheme, or begins with `./` or `../`."""
    match = _SCHEME.match(text)
    return bool(match and match[1].lower() in _KNOWN_SCHEMES) or text in (".", "..") or text.startswith(("./", "../"))


def without_query(text: str) -> str:
    """An address as it may be shown and kept: what follows `?` may be a signature."""
    return _split_query(text)[0]


def _split_query(text: str) -> tuple[str, str]:
    """Nothing is percent-encoded in wasbs:// and abfss://: there only what looks like a query (`?name=`) is one."""
    if not (match := _WITH_QUERY.match(text)):
        return text, ""
    begin = re.search(r"\?" if match["web"] else r"\?(?=[A-Za-z]+=)", text)
    return (text[: begin.start()], text[begin.end() :]) if begin else (text, "")


def _check_sas(query: str, text: str) -> None:
    if query and "sig" not in parse_qs(query):
        raise UserError(f"what follows the ? of '{text}' is not a SAS: it has no signature (sig=)", todo="write the whole SAS, or none")


def parse_uri(text: str) -> Uri:
    """Parses a location; whatever cannot be one is a UserError without a place (the caller knows it)."""
    if not text.strip():
        raise UserError("the path is empty", allowed=ALLOWED)
    if "\0" in text:
        raise UserError("a path cannot hold a NUL character")
    _refuse_windows(text)
    match = _SCHEME.match(text)
    if not match or (len(match[1]) > 1 and not _is_scheme(match[1], text)):
        return Uri(kind="local", text=text, path=text)
    scheme, rest = match[1].lower(), text[match.end(1) + 1 :]
    if scheme == "file":
        return Uri(kind="local", text=text, path=_file_path(text, rest))
    if scheme == "azureml":
        return _azureml(text, rest)
    if scheme in ("wasbs", "wasb", "abfss", "abfs"):
        return _at_account(text, scheme)
    return _web(text)


def _is_scheme(word: str, text: str) -> bool:
    """Tells `wasbs://…` and `azureml:x:1` from a local file whose name has a colon in it; refuses unknown `xyz://`."""
    if word.lower() in _KNOWN_SCHEMES:
        return True
    if text[len(word) + 1 :].startswith("//"):
        raise UserError(f"'{word}://' is not a kind of path known here", allowed=ALLOWED, todo=did_you_mean(word.lower(), _KNOWN_SCHEMES))
    return False


def _refuse_windows(text: str) -> None:
    if re.match(r"(file:/*)?[A-Za-z]:[\\/]", text) or text.startswith("\\\\"):
        raise UserError(
            f"'{text}' is a Windows path", allowed=ALLOWED, todo="the runner works on Linux: write the path with / as this machine has it"
        )
    if "\\" in text and "/" not in text and text.startswith((".\\", "..\\")):
        raise UserError(f"'{text}' has backslashes", todo=f"write {text.replace(chr(92), '/')}")


def _file_path(text: str, rest: str) -> str:
    if not rest.startswith("//"):  # file:relative or file:/absolute, as Azure's own files have it
        return unquote(rest)
    host, slash, path = rest[2:].partition("/")
    if host not in ("", "localhost") or not slash:
        raise UserError(
            f"'{text}' names another machine, '{host}'", allowed="file:///absolute/path", todo="write three slashes, or a plain path"
        )
    return "/" + unquote(path)


def _azureml(text: str, rest: str) -> Uri:
    if not rest.startswith("//"):
        if _SCHEME.match(rest) and rest.partition(":")[2].startswith("//"):
            return parse_uri(rest)  # some samples write azureml:wasbs://…
        match = _ASSET.match(rest)
        if not match:
            raise UserError(f"'{text}' is not the name of an asset", allowed="azureml:<name>:<version>, azureml:<name>@latest")
        return Uri(kind="asset", text=text, name=match["name"], version=match["version"], label=match["label"])
    body, workspace = rest[2:], ""
    if match := _WORKSPACE.match(body):
        body, workspace = match["rest"], match["workspace"]
    if match := _DATASTORE.match(body):
        path = match["path"] or ""
        if ".." in path.split("/"):
            raise UserError(f"'{text}' has '..' in it, which could leave the datastore", todo="write the path without '..'")
        return Uri(kind="datastore", text=text, datastore=match["store"], path=path, workspace=workspace)
    if match := _REGISTRY.match(body):
        return Uri(
            kind="registry",
            text=text,
            registry=match["registry"],
            asset_kind=match["kind"],
            name=match["name"],
            version=match["version"],
            label=match["label"],
        )
    if workspace and (match := re.match(r"(?P<kind>[^/]+)/(?P<name>[^/]+)/versions/(?P<version>[^/]+)$", body)):
        return Uri(kind="asset", text=text, asset_kind=match["kind"], name=match["name"], version=match["version"], workspace=workspace)
    if body.startswith("jobs/"):
        todo = f"write the path of that output: `runner job show -n {body.split('/')[1] or 'NAME'}` tells it"
        raise UserError(f"'{text}': outputs of other jobs have no address here", allowed=ALLOWED, todo=todo)
    raise UserError(
        f"'{text}' is not a complete azureml:// path",
        allowed="azureml://datastores/<datastore>/paths/<path>, azureml://registries/<registry>/<kind>/<name>/versions/<version>",
        todo=_misspelt(body.split("/")),
    )


def _misspelt(words: list[str]) -> str:
    """Which word of an azureml:// path may be meant otherwise."""
    if words[0] == "datastores":
        return did_you_mean(words[2], ["paths"]) if len(words) > 2 else ""
    return did_you_mean(words[0], ["datastores", "registries", "subscriptions"])


def _at_account(text: str, scheme: str) -> Uri:
    text, query = _split_query(text)
    rest = text.partition(":")[2]
    match = re.match(r"//(?P<container>[^@/]+)@(?P<host>(?P<account>[^./]+)[^/]*)(?:/(?P<path>.*))?$", rest, re.DOTALL)
    if not match:
        suffix = "dfs" if scheme.startswith("abfs") else "blob"
        raise UserError(f"'{text}' is not complete", allowed=f"{scheme}://<container>@<account>.{suffix}.core.windows.net/<path>")
    _check_sas(query, text)
    host = match["host"].replace(".dfs.", ".blob.", 1)  # the same account's blob endpoint: Azurite has no dfs endpoint
    where = {"account": match["account"], "container": match["container"], "endpoint": host, "path": match["path"] or ""}
    return Uri(kind="blob", text=text, sas=query, **where)


def _web(text: str) -> Uri:
    text, query = _split_query(text)
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
    except ValueError as error:
        raise UserError(f"'{text}' is not a web address: {error}") from None
    if not host:
        raise UserError(f"'{text}' names no machine", allowed="https://<host>/<path>")
    if "@" in parts.netloc:
        raise UserError(f"'https://…@{host}' has the name of a user in it", allowed="https://<host>/<path>, with or without ?<SAS>")
    _check_sas(query, text)
    if ".blob." in host or ".dfs." in host:
        container, _, path = parts.path.lstrip("/").partition("/")
        account = host.split(".")[0]
        return Uri(
            kind="blob",
            text=text,
            sas=query,
            account=account,
            container=container,
            endpoint=parts.netloc.replace(".dfs.", ".blob.", 1),
            path=unquote(path),
        )
    account, _, rest = parts.path.lstrip("/").partition("/")
    if rest and is_emulator(host):  # whose addresses begin with the account's name, there as in the SDK
        container, _, path = rest.partition("/")
        endpoint = f"{parts.netloc}/{account}"
        return Uri(kind="blob", text=text, sas=query, account=account, container=container, endpoint=endpoint, path=unquote(path))
    return Uri(kind="web", text=text, sas=query, endpoint=parts.netloc, path=unquote(parts.path.lstrip("/")))


def is_emulator(host: str) -> bool:
    """Whether the path of its addresses begins with the name of the account: no account has such a host."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return True


def local_path(uri: Uri, base: str | os.PathLike[str]) -> str:
    """The absolute path of a local URI, relative ones taken from `base`; without a trailing slash."""
    return os.path.normpath(os.path.join(base, uri.path))
