"""Relative paths of steps that were made in another folder than their pipeline."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")


def rebased(mapping: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The settings of a step or component with the relative paths of its code and environment made absolute."""
    whole = dict(mapping)
    if isinstance(whole.get("component"), str):
        whole["component"] = absolute(whole["component"], folder)
    if isinstance(whole.get("component"), Mapping):
        whole["component"] = rebased(whole["component"], folder)
    if isinstance(whole.get("jobs"), Mapping):
        whole["jobs"] = {name: rebased(step, folder) if isinstance(step, Mapping) else step for name, step in whole["jobs"].items()}
    if isinstance(whole.get("task"), Mapping):
        whole["task"] = _with_paths(whole["task"], ("code", "model"), folder)
    return _with_paths(whole, ("code",), folder)


def _with_paths(mapping: Mapping[str, Any], keys: tuple[str, ...], folder: Path) -> dict[str, Any]:
    """With `keys` and the environment, which stand in `task` for a parallel step, on top for a command."""
    whole = dict(mapping)
    for key in keys:
        if isinstance(whole.get(key), str):
            whole[key] = absolute(whole[key], folder)
    environment = whole.get("environment")
    if isinstance(environment, str) and environment.endswith((".yml", ".yaml")):
        whole["environment"] = absolute(environment, folder)
    if isinstance(environment, Mapping):
        environment = whole["environment"] = dict(environment)
        if isinstance(environment.get("conda_file"), str):
            environment["conda_file"] = absolute(environment["conda_file"], folder)
        if isinstance(environment.get("build"), Mapping) and "path" in environment["build"]:
            environment["build"] = {**environment["build"], "path": absolute(str(environment["build"]["path"]), folder)}
    return whole


def absolute(path: str, folder: Path) -> str:
    path = path if path.startswith("file://") else path.removeprefix("file:")
    return path if _URI.match(path) or "${{" in path else os.path.normpath(folder / path)
