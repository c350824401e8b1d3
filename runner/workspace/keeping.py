"""Components and environments as they are when they are registered: their code and files are copied, what they name is written out."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from runner.errors import UserError
from runner.spec.component import file_of, has_file, read_file
from runner.spec.context import parse_at
from runner.spec.disk import is_file, is_folder
from runner.spec.environment import names_file
from runner.spec.expressions import has_expression
from runner.spec.yaml_source import Node, read_yaml, scalar_text
from runner.storage.uri import local_path, looks_like_uri
from runner.workspace.snapshot import plan_snapshot

Plain = dict[str, Any]


class Keeper:
    """Copies go into a folder that `make` makes for the first of them. Errors: UserError for files and folders that are not there."""

    def __init__(self, make: Callable[[], Path], *, limit: int | None, known: Mapping[str, Path], say: Callable[[str], None]) -> None:
        self._make, self._limit, self._known, self._say = make, limit, known, say
        self._root: Path | None = None
        self._copies: dict[str, str] = {}  # what was copied already → where it is

    def drop(self) -> None:
        """Nobody needs the copies."""
        if self._root is not None:
            shutil.rmtree(self._root, ignore_errors=True)

    def is_named_in(self, asset: Plain) -> bool:
        """Whether that has copies of these."""
        return self._root is not None and self._root.name in repr(asset)

    def component(self, node: Node, above: tuple[Path, ...] = ()) -> Plain:
        """With its steps, if it is a pipeline; those of files stand in it afterwards."""
        found = self._settings(node)
        if jobs := node.get("jobs"):
            found["jobs"] = {name: self._step(step, above) for name, step in jobs.entries.items()}
        return found

    def environment(self, node: Node) -> Plain:
        found = _plain(node)
        conda, build = node.get("conda_file"), node.get("build")
        if conda and not conda.is_mapping:
            found["conda_file"] = self._copied(conda, is_file, "conda file")
        if build and (path := build.get("path")):
            found["build"] = {**_plain(build), "path": self._copied(path, is_folder, "folder")}
        return found

    def _step(self, node: Node, above: tuple[Path, ...]) -> Plain:
        found, component = self._settings(node), node.get("component")
        if component is None:
            return found
        if component.is_mapping:
            found["component"] = self.component(component, above)
        elif has_file(component):
            file = file_of(component, self._known).resolve()
            if file in above:
                raise UserError(f"the component contains itself: {file}", place=component.place, todo="name another component")
            found["component"] = self.component(read_file(component, self._known), (*above, file))
        return found

    def _settings(self, node: Node) -> Plain:
        """What a component, a step, or the `task` of either has of files."""
        found = _plain(node)
        if code := node.get("code"):
            found["code"] = self._copied(code, is_folder, "code folder")
        if environment := node.get("environment"):
            found["environment"] = self._environment(environment)
        if model := node.get("model"):
            found["model"] = _absolute(model)
        if task := node.get("task"):
            found["task"] = self._settings(task)
        if inputs := node.get("inputs"):
            found["inputs"] = {name: _input(one) for name, one in inputs.entries.items()}
        return found

    def _environment(self, node: Node) -> object:
        if node.is_mapping:
            return self.environment(node)
        if names_file(node.text):
            return self.environment(read_yaml(Path(_absolute(node)), todo=f"named by {node.place}"))
        return node.text

    def _copied(self, node: Node, fits: Callable[[str], bool], what: str) -> str:
        """The path of a copy; what lies elsewhere stays there."""
        path = _absolute(node)
        if path == node.text and not path.startswith("/"):
            return path
        if not fits(path):
            raise UserError(f"the {what} '{node.text}' does not exist", place=node.place, todo=f"looked for {path}")
        if path not in self._copies:
            self._root = self._root or self._make()
            target = self._root / f"{len(self._copies)}" / (Path(path).name or "content")
            target.parent.mkdir()
            self._copy(Path(path), target)
            self._copies[path] = str(target)
        return self._copies[path]

    def _copy(self, source: Path, target: Path) -> None:
        if source.is_file():
            shutil.copyfile(source, target)
            return
        plan = plan_snapshot(source, limit=self._limit)
        if plan.withheld:
            self._say(f"not kept, for a credential is in it: {', '.join(str(source / name) for name in plan.withheld)}")
        plan.copy_to(target)


def _plain(node: Node) -> Plain:
    return {key: _value(child) for key, child in node.entries.items()}


def _value(node: Node) -> object:
    """As it is written: 1.10 may be meant for a text."""
    if node.is_mapping:
        return _plain(node)
    if node.is_list:
        return [_value(one) for one in node.items]
    return node.text if isinstance(node.value, float) and scalar_text(node.value) != node.text else node.value


def _absolute(node: Node) -> str:
    """A local path, absolute; anything else as it is written."""
    text = node.text
    if not text or has_expression(text):
        return text
    uri = parse_at(text, node.place)
    return local_path(uri, node.base) if uri.is_local else text


def _input(node: Node) -> object:
    if node.is_mapping:
        path = node.get("path")
        return {**_plain(node), **({"path": _absolute(path)} if path and not path.is_mapping else {})}
    return _absolute(node) if isinstance(node.value, str) and looks_like_uri(node.text) else _value(node)
