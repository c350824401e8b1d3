"""Addresses: how everything but the user's own files names what lies in blob storage.

    azureml://datastores/<datastore>/paths/<path>    in a datastore of the workspace
    https://<account>.blob.core.windows.net/<container>/<path>   elsewhere (http:// and other hosts: those of emulators)

An address has no credential in it, and nothing in it is percent-encoded: what follows the root is the name of a blob, or the beginning
of names.
They stand where a job otherwise has local paths, which are absolute.
"""

from __future__ import annotations

_SCHEMES = ("azureml://", "https://", "http://")


def is_address(path: str) -> bool:
    """Whether it is an address, and not a local path."""
    return path.startswith(_SCHEMES)


def datastore_root(name: str) -> str:
    return f"azureml://datastores/{name}/paths"


def container_root(endpoint: str, container: str) -> str:
    return f"{endpoint}/{container}"


def join(address: str, *names: str) -> str:
    """Below an address (or a local path)."""
    return "/".join([address.rstrip("/"), *(name.strip("/") for name in names if name)])


def base_name(address: str) -> str:
    return address.rstrip("/").rpartition("/")[2]


def parent(address: str) -> str:
    return address.rstrip("/").rpartition("/")[0]


def relative(path: str, root: str) -> str | None:
    """What comes behind a root; "" for the root itself, None for what does not lie below it."""
    if path.rstrip("/") == root.rstrip("/"):
        return ""
    prefix = root.rstrip("/") + "/"
    return path[len(prefix) :] if path.startswith(prefix) else None
