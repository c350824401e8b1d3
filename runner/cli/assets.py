"""`runner component …`, `runner environment …`, `runner model …`, and `runner data create`, as `az ml` has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from runner.cli.group import make_group
from runner.cli.options import Format, NameOption, Output, Workspace, one_name
from runner.cli.show import print_data, print_table
from runner.errors import Place, UserError

if TYPE_CHECKING:
    from runner.workspace.assets import Kind

_HELP: Mapping[str, str] = {
    "component": "Components that have a name and versions: azureml:NAME:VERSION in pipelines.",
    "environment": "Environments that have a name and versions: azureml:NAME:VERSION in job files.",
    "model": "Models that have a name and versions: azureml:NAME:VERSION in job files.",
}
AssetName = Annotated[Optional[str], typer.Argument(metavar="NAME", help="NAME, or NAME:VERSION.", show_default=False)]  # noqa: UP045
Version = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--version", "-v", metavar="VERSION", help="Default: the latest.", show_default=False),
]
NewVersion = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--version", "-v", metavar="VERSION", help="Default: that of the file, else the next number.", show_default=False),
]
NewName = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--name", "-n", metavar="NAME", help="Default: that of the file.", show_default=False),
]
File = Annotated[Optional[Path], typer.Option("--file", "-f", metavar="FILE", help="The file (YAML), as Azure has it.")]  # noqa: UP045
Sets = Annotated[Optional[list[str]], typer.Option("--set", metavar="PATH=VALUE", help="Change a value of the file. Repeatable.")]  # noqa: UP045


def group(kind: Kind) -> typer.Typer:
    app = make_group(_HELP[kind])
    app.command("create")(create_command(kind))
    app.command("list")(_list_command(kind))
    app.command("show")(_show_command(kind))
    return app


def create_command(kind: Kind) -> Callable[..., None]:
    def create(
        file: File = None,
        name: NewName = None,
        version: NewVersion = None,
        sets: Sets = None,
        output: Output = None,
        workspace: Workspace = None,
    ) -> None:
        from runner.spec.overrides import override
        from runner.spec.yaml_source import read_yaml
        from runner.workspace.config import find_workspace
        from runner.workspace.listing import load
        from runner.workspace.registration import register

        if file is None:
            raise UserError("no file is given", place=Place(field="--file"), todo=f"give one: -f {kind}.yml")
        given = {"name": name, "version": version}
        changes = [f'{key}="{value}"' for key, value in given.items() if value is not None]
        found = find_workspace(workspace)
        key, _ = register(found, kind, override(read_yaml(file), [*(sets or []), *changes]))
        _print(load(found, kind, key), output)

    create.__doc__ = f"Register {'data' if kind == 'data' else f'a version of a {kind}'} from a file."
    return create


def _list_command(kind: Kind) -> Callable[..., None]:
    def list_assets(name: AssetName = None, name_option: NameOption = None, output: Output = None, workspace: Workspace = None) -> None:
        from runner.workspace.config import find_workspace
        from runner.workspace.listing import all_of, keys, load

        found = find_workspace(workspace)
        one = one_name(name, name_option, noun=kind) if name or name_option else None
        there = keys(found, kind, one) if one else sorted(all_of(found, kind))
        assets = [load(found, kind, key) for key in there]
        if output in (Format.json, Format.yaml):
            print_data(assets, output)
        else:
            shown = ("name", "version", "image" if kind == "environment" else "type", "description")
            print_table(shown, [[asset.get(key) or "" for key in shown] for asset in assets])

    list_assets.__doc__ = f"List the {kind}s of the workspace, or the versions of one."
    return list_assets


def _show_command(kind: Kind) -> Callable[..., None]:
    def show(
        name: AssetName = None, name_option: NameOption = None, version: Version = None, output: Output = None, workspace: Workspace = None
    ) -> None:
        from runner.workspace.config import find_workspace
        from runner.workspace.listing import find, load

        found, reference = find_workspace(workspace), one_name(name, name_option, noun=kind)
        _print(load(found, kind, find(found, kind, f"{reference}:{version}" if version else reference)), output)

    show.__doc__ = f"Show one {kind}."
    return show


def _print(asset: Mapping[str, Any], output: Format | None) -> None:
    if output is Format.table:
        print_table(("field", "value"), [(key, value) for key, value in asset.items() if value not in ("", None)])
    else:
        print_data(dict(asset), output)
