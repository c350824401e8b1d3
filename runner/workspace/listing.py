"""The assets of a workspace by name and version: those that workspace.yml describes, and the registered ones."""

from __future__ import annotations

from collections.abc import Mapping

from runner.errors import UserError, did_you_mean
from runner.spec.context import find_version, known_versions, latest_of, listed, names, version_order
from runner.storage.uri import parse_uri
from runner.workspace.assets import Kind, Plain
from runner.workspace.config import CONFIG_FILE, Workspace

_PLURALS: Mapping[str, str] = {"component": "components", "data": "data assets", "environment": "environments", "model": "models"}


def all_of(workspace: Workspace, kind: Kind) -> Mapping[str, object]:
    """By `name:version`."""
    known: dict[str, Mapping[str, object]] = {
        "component": workspace.components,
        "data": workspace.data,
        "environment": workspace.environments,
        "model": workspace.models,
    }
    return known[kind]


def find(workspace: Workspace, kind: Kind, reference: str) -> str:
    """`name:version` of what is written as in a job file, with or without `azureml:`. Errors: UserError that lists the known ones."""
    known = all_of(workspace, kind)
    uri = parse_uri(f"azureml:{reference.removeprefix('azureml:')}")
    key = find_version(uri, known) if uri.kind == "asset" else None
    if key is not None:
        return key
    raise UserError(
        f"the workspace has no {'data asset' if kind == 'data' else kind} '{reference}'",
        allowed=listed(known_versions(uri, known), _PLURALS[kind]),
        todo=did_you_mean(uri.name, names(known) - {uri.name}) or _how_to_have(workspace, kind),
    )


def _how_to_have(workspace: Workspace, kind: Kind) -> str:
    described = f"; or describe it in {workspace.root / CONFIG_FILE}" if kind in ("data", "environment") else ""
    return f"register it: runner {kind} create -f {kind}.yml{described}"


def load(workspace: Workspace, kind: Kind, key: str) -> Plain:
    """What is known of it, as Azure's own file of such an asset."""
    name, _, version = key.partition(":")
    about = {"name": name, "version": version}
    if kind == "data" and key in workspace.described_data:
        entry = workspace.described_data[key]
        return {**about, "type": entry.type or "uri_folder", "path": entry.path, "description": entry.description or None}
    if kind == "environment" and key in workspace.described_environments:
        return {**about, **workspace.described_environments[key]}
    return {**workspace.assets.read(kind, key), **about}


def keys(workspace: Workspace, kind: Kind, name: str | None) -> list[str]:
    """The versions of that name, the latest first; without one the latest of each name. Errors: UserError for an unknown name."""
    known = all_of(workspace, kind)
    if name is None:
        return [key for _, key in sorted(latest_of(known).items())]
    find(workspace, kind, name)
    own = [key for key in known if key.partition(":")[0] == name]
    return sorted(own, key=lambda key: version_order(key.partition(":")[2]), reverse=True)
