"""`config.json`, as Azure's portal writes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from runner.errors import Place, UserError


def find_config(start: Path, names: list[str]) -> Path | None:
    """In Azure's order: the folder of that name nearest upwards, for each folder name in turn."""
    for folder in (".azureml", "aml_config", "."):
        for name in names:
            for above in (start, *start.parents)[:20]:
                if (above / folder / name).is_file():
                    return above / folder / name
    return None


def read_config(file: Path) -> dict[str, str | None]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"is not a workspace configuration: {error}", place=Place(file=str(file)), todo="it is JSON, as Azure's portal gives it"
        ) from None
    if not isinstance(data, Mapping):
        raise UserError(
            "is not a workspace configuration", place=Place(file=str(file)), allowed="subscription_id, resource_group, workspace_name"
        )
    return {
        "subscription_id": data.get("subscription_id"),
        "resource_group_name": data.get("resource_group"),
        "workspace_name": data.get("workspace_name"),
    }
