"""`docker:` and `instance_types:` of workspace.yml.

    docker:
      policy: {allow: [devices], data_roots: [/srv/data, ./shared]}
      images: {registry.example/azureml/: mine.example/mirror/}
      proxy: {http_proxy: …, https_proxy: …, no_proxy: …}
      ca_bundle: certs/company.pem
      pull_timeout: 1h
      build_timeout: 1h
      mount_label: z
    instance_types:
      gpu: {cpus: 8, gpus: 1, memory: 32GB, labels: {zone: a}}
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from runner.errors import UserError, did_you_mean
from runner.model.docker import ALLOWABLE, DockerPolicy, DockerSettings, InstanceType
from runner.workspace.units import parse_age, parse_size

if TYPE_CHECKING:
    from runner.spec.yaml_source import Node

PROXIES = ("http_proxy", "https_proxy", "no_proxy", "ftp_proxy", "all_proxy")
KEYS = ("policy", "images", "proxy", "ca_bundle", "pull_timeout", "build_timeout", "mount_label")

Errors = list[UserError]


class DockerReading:
    """Reads the two sections; mistakes go into `errors`."""

    def __init__(self, errors: Errors) -> None:
        self._errors = errors

    def docker(self, node: Node | None) -> DockerSettings:
        if node is None or not self._is_mapping(node, KEYS):
            return DockerSettings()
        label = self._choice(node.get("mount_label"), ("z", "Z"))
        return DockerSettings(
            policy=self._policy(node.get("policy")),
            image_map=self._texts(node.get("images"), None),
            proxy=self._texts(node.get("proxy"), PROXIES),
            ca_bundle=self._file(node.get("ca_bundle")),
            pull_timeout=self._seconds(node.get("pull_timeout"), DockerSettings.pull_timeout),
            build_timeout=self._seconds(node.get("build_timeout"), DockerSettings.build_timeout),
            mount_label=label,
        )

    def instance_type(self, node: Node) -> InstanceType:
        if not self._is_mapping(node, ("cpus", "gpus", "memory", "labels", "description")):
            return InstanceType()
        memory = node.get("memory")
        cpus = self._number(node.get("cpus"), float, "a number above 0: 4, 0.5", 1e-3)
        gpus = self._number(node.get("gpus"), int, "a whole number, 0 or more", 0)
        return InstanceType(
            cpus=cpus,
            gpus=int(gpus or 0),
            memory=self._parsed(memory, lambda one: parse_size(one.text, one.place)) if memory else None,
            labels=self._texts(node.get("labels"), None),
        )

    def _policy(self, node: Node | None) -> DockerPolicy:
        if node is None or not self._is_mapping(node, ("allow", "data_roots")):
            return DockerPolicy()
        allow = self._list(node.get("allow"))
        for one in allow:
            self._choice(one, ALLOWABLE)
        roots = tuple(str(one.base / Path(one.text).expanduser()) for one in self._list(node.get("data_roots")))
        return DockerPolicy(allow=frozenset(one.text for one in allow), data_roots=roots)

    def _is_mapping(self, node: Node, known: tuple[str, ...] | None) -> bool:
        if node.is_unset:
            return False
        if not node.is_mapping:
            self._errors.append(UserError(f"must be a mapping, not {node.kind}", place=node.place))
            return False
        for key, child in node.entries.items():
            if known is not None and key not in known:
                problem = UserError(f"unknown key '{key}'", place=child.place, allowed=", ".join(known), todo=did_you_mean(key, known))
                self._errors.append(problem)
        return True

    def _texts(self, node: Node | None, known: tuple[str, ...] | None) -> dict[str, str]:
        if node is None or not self._is_mapping(node, known):
            return {}
        return {key: child.text for key, child in node.entries.items() if self._is_scalar(child)}

    def _list(self, node: Node | None) -> list[Node]:
        if node is None or node.is_unset:
            return []
        if not node.is_list:
            self._errors.append(UserError(f"must be a list, not {node.kind}", place=node.place))
            return []
        return [one for one in node.items if self._is_scalar(one)]

    def _is_scalar(self, node: Node) -> bool:
        if node.is_mapping or node.is_list:
            self._errors.append(UserError(f"must be one value, not {node.kind}", place=node.place))
            return False
        return True

    def _choice(self, node: Node | None, known: tuple[str, ...]) -> str | None:
        if node is None or not self._is_scalar(node):
            return None
        if node.text not in known:
            todo = did_you_mean(node.text, known)
            self._errors.append(UserError(f"'{node.text}' is not known here", place=node.place, allowed=", ".join(known), todo=todo))
            return None
        return node.text

    def _file(self, node: Node | None) -> str | None:
        if node is None or not self._is_scalar(node):
            return None
        path = node.base / Path(node.text).expanduser()
        if not path.is_file():
            self._errors.append(UserError(f"the file '{node.text}' does not exist", place=node.place, todo=f"looked for {path}"))
        return str(path)

    def _seconds(self, node: Node | None, default: float) -> float:
        if node is None:
            return default
        return self._parsed(node, lambda one: float(one.text) if one.text.isdigit() else parse_age(one.text, one.place)) or default

    def _number(self, node: Node | None, kind: type[float], allowed: str, low: float) -> float | None:
        if node is None or not self._is_scalar(node):
            return None
        try:
            value = kind(node.text)
        except ValueError:
            value = low - 1
        if not low <= value < float("inf"):
            self._errors.append(UserError(f"'{node.text}' is not a number that fits here", place=node.place, allowed=allowed))
            return None
        return value

    def _parsed(self, node: Node, parse: Callable[[Node], float | int]) -> int | None:
        """What `parse` makes of one value, in whole bytes or seconds."""
        if not self._is_scalar(node):
            return None
        try:
            return int(parse(node))
        except UserError as error:
            self._errors.append(error)
            return None
