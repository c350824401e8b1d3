"""Registers components, data, environments and models under a name and a version, as Azure's `create` does.

What a component or an environment is made of is kept as it then was; data and models stay where they are, and are known by their path.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.errors import Place, UserError, without_secrets
from runner.spec import schema
from runner.spec.component import read_component
from runner.spec.context import ResolveContext, check_datastore, find_version, parse_at
from runner.spec.disk import is_file, is_folder, trouble
from runner.spec.environment import read_environment
from runner.spec.expressions import Scope
from runner.spec.problems import Problems
from runner.spec.values import check_keys, near_case
from runner.spec.yaml_source import Node
from runner.storage.uri import Uri, local_path
from runner.workspace.assets import AssetFiles, Kind, Plain, next_version
from runner.workspace.clusters import say_on_stderr
from runner.workspace.code import signature_of
from runner.workspace.config import CONFIG_FILE, Workspace
from runner.workspace.keeping import Keeper

if TYPE_CHECKING:
    Say = Callable[[str], None]

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")
_MUTABLE = ("description", "tags", "properties", "display_name", "stage")  # as on Azure
_TYPES = {"data": ("uri_folder", "uri_file", "mltable"), "model": ("custom_model", "mlflow_model", "triton_model")}
_ABOUT = ("$schema", "name", "version", "description", "tags", "properties", "type", "path", "datastore")
KEYS = {"data": _ABOUT, "model": (*_ABOUT, "flavors", "stage", "utc_time_created")}


def register(
    workspace: Workspace, kind: Kind, node: Node, *, skip_if_no_change: bool = False, say: Say = say_on_stderr
) -> tuple[str, Plain]:
    """`name:version` and what is now known by it. Without a version: the next number.

    `skip_if_no_change`: the latest version, if that is the same. Errors: UserError for mistakes in it, and for a version that is there
    already with another content.
    """
    _refuse_secrets(node)
    name, version = _name(kind, node), _version(node)
    described = _described(workspace, kind)
    if version is not None and f"{name}:{version}" in described:
        raise UserError(
            f"the {kind} {name}:{version} stands in {workspace.root / CONFIG_FILE}, and cannot be replaced",
            place=_place(node, "version"),
            todo="register another version, or change that file",
        )
    _check(workspace, kind, node)
    files = workspace.make_assets()
    keeper = Keeper(files.content, limit=workspace.settings.max_snapshot, known=workspace.components, say=say)
    try:
        key, asset = _published(files, kind, name, version, _kept(keeper, workspace, kind, node), described, skip_if_no_change, node)
    except BaseException:
        keeper.drop()
        raise
    if not keeper.is_named_in(asset):  # it is what is there already
        keeper.drop()
    return key, asset


def _published(
    files: AssetFiles,
    kind: Kind,
    name: str,
    version: str | None,
    asset: Plain,
    described: Mapping[str, object],
    skip: bool,
    node: Node,
) -> tuple[str, Plain]:
    latest = find_version(Uri(kind="asset", text="", name=name), files.files(kind)) if skip else None
    if version is None and latest is not None and _is_same(asset, files.read(kind, latest), files):
        return latest, files.read(kind, latest)
    while True:
        given = version or next_version(name, (*described, *files.files(kind)))
        asset = {**asset, "name": name, "version": given}
        if files.publish(kind, f"{name}:{given}", asset):
            return f"{name}:{given}", asset
        if version is not None:
            return f"{name}:{given}", _again(files, kind, f"{name}:{given}", asset, node)


def _again(files: AssetFiles, kind: Kind, key: str, asset: Plain, node: Node) -> Plain:
    """A version that is there: what may change is changed."""
    before = files.read(kind, key)
    if not _is_same(asset, before, files):
        raise UserError(
            f"the {kind} {key} is registered already, with another content",
            place=_place(node, "version"),
            todo=f"give it another version, or leave the version out: then it is {next_version(key.partition(':')[0], files.files(kind))}",
        )
    after = {
        **{name: value for name, value in before.items() if name not in _MUTABLE},
        **{name: asset[name] for name in _MUTABLE if name in asset},
    }
    if after != before:
        files.rewrite(kind, key, after)
    return after


def _is_same(one: Plain, other: Plain, files: AssetFiles) -> bool:
    return _essence(one, files) == _essence(other, files)


def _essence(asset: Plain, files: AssetFiles) -> object:
    """What must not change, with contents in the place of the paths of what was kept."""

    def contents(value: object) -> object:
        if isinstance(value, dict):
            return {key: contents(child) for key, child in value.items()}
        if isinstance(value, list):
            return [contents(child) for child in value]
        if isinstance(value, str) and value.startswith(f"{files.root}/"):
            path = Path(value)
            return signature_of(path) if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()
        return value

    return contents({key: value for key, value in asset.items() if key not in (*_MUTABLE, "$schema", "name", "version")})


def _refuse_secrets(node: Node) -> None:
    """Errors: UserError for a signature or a key: what is registered is a file of the workspace, and is shown."""
    for one in node.walk():
        if isinstance(one.value, str) and without_secrets(one.value) != one.value:
            raise UserError(
                "there is a credential in it, and what is registered is there for all to see",
                place=one.place,
                allowed="azureml://datastores/<datastore>/paths/<path>",
                todo="describe the container as a datastore in workspace.yml, with its credential",
            )


def _name(kind: Kind, node: Node) -> str:
    written = node.get("name")
    if written is None:
        raise UserError(f"the {kind} has no name", place=node.place, todo="what is registered is found by its name: give it one")
    return _word(written, "name")


def _version(node: Node) -> str | None:
    written = node.get("version")
    if written is None or written.text == "":
        return None
    return _word(written, "version")


def _word(node: Node, what: str) -> str:
    if not _WORD.fullmatch(node.text):
        allowed = "letters, digits, `_`, `.` and `-`, at most 255, the first a letter or digit"
        raise UserError(f"'{node.text}' cannot be the {what} of an asset", place=node.place, allowed=allowed)
    return node.text


def _place(node: Node, key: str) -> Place:
    return (node.get(key) or node).place


def _described(workspace: Workspace, kind: Kind) -> Mapping[str, object]:
    described: dict[str, Mapping[str, object]] = {"data": workspace.described_data, "environment": workspace.described_environments}
    return described.get(kind, {})


def _check(workspace: Workspace, kind: Kind, node: Node) -> None:
    """As far as it can be checked before it is used. Errors: UserError, or UserErrors with all mistakes at once."""
    problems = Problems()
    if kind == "component":
        with problems.catching():
            read_component(Node(value={"component": node}, place=node.place, base=node.base), problems, workspace.components)
    elif kind == "environment":
        known = Node(
            value={key: child for key, child in node.entries.items() if key not in schema.WRITTEN_BY_AZURE},
            place=node.place,
            base=node.base,
        )
        context = ResolveContext(name="", root=workspace.root, datastores=workspace.datastores)
        read_environment(known, Scope(), context, problems)
    else:
        check_keys(node, (*KEYS[kind], *schema.WRITTEN_BY_AZURE), f"of {'data' if kind == 'data' else 'a model'}", problems)
    problems.raise_if_any()


def _kept(keeper: Keeper, workspace: Workspace, kind: Kind, node: Node) -> Plain:
    if kind == "component":
        asset = keeper.component(node)
    elif kind == "environment":
        asset = keeper.environment(node)
    else:
        asset = _located(workspace, kind, node)
    return {key: value for key, value in asset.items() if key not in schema.WRITTEN_BY_AZURE and value not in (None, {})}


def _located(workspace: Workspace, kind: Kind, node: Node) -> Plain:
    """Data and models: an address, or an absolute path where something lies."""
    found: Any = node.plain()
    written, type_node = node.get("path"), node.get("type")
    if written is None:
        raise UserError(f"the {kind} has no path", place=node.place, todo="write where it lies: path: ./folder")
    known = _TYPES[kind]
    found["type"] = type_node.text.lower() if type_node else known[0]
    if found["type"] not in known:
        todo = near_case(found["type"], known)
        raise UserError(f"'{type_node.text}' is no type of {kind}", place=_place(node, "type"), allowed=", ".join(known), todo=todo)  # type: ignore[union-attr]
    uri = parse_at(written.text, written.place)
    if uri.kind == "asset":
        raise UserError(f"'{written.text}' is the name of an asset", place=written.place, todo="write where it lies: a path or an address")
    if uri.kind == "datastore":
        context = ResolveContext(name="", root=workspace.root, datastores=_datastores(workspace))
        check_datastore(uri.datastore, context, written.place)
    if uri.is_local:
        found["path"] = _local(local_path(uri, written.base), found["type"], written)
    return found  # type: ignore[no-any-return]


def _datastores(workspace: Workspace) -> dict[str, Path]:
    """All by name; those in blob storage have no folder."""
    return {**workspace.datastores, **dict.fromkeys(workspace.settings.blob_stores, Path())}


def _local(path: str, kind: str, node: Node) -> str:
    if problem := trouble(path):
        raise UserError(f"'{node.text}' {problem}", place=node.place, todo=f"looked for {path}; paths in a file begin at its folder")
    if (kind == "uri_file" and not is_file(path)) or (kind in ("uri_folder", "mltable") and not is_folder(path)):
        what = "a folder" if is_folder(path) else "a file"
        raise UserError(f"'{node.text}' is {what}, and of type {kind}", place=node.place, todo="write the type that it is of")
    return path
