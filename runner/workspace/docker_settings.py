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
  gpu: {cpus: 8, gpus: 1, memory: 32GB, labels: {zone: a}, max_nodes: 4}
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from runner.model.docker import ALLOWABLE, DockerPolicy, DockerSettings, InstanceType
from runner.workspace.reading import Reading
from runner.workspace.units import parse_age, parse_size

if TYPE_CHECKING:
    from runner.spec.yaml_source import Node

PROXIES = ("http_proxy", "https_proxy", "no_proxy", "ftp_proxy", "all_proxy")
KEYS = ("policy", "images", "proxy", "ca_bundle", "pull_timeout", "build_timeout", "mount_label")


class DockerReading(Reading):
    """Reads the two sections; mistakes go into `errors`."""

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
        if not self._is_mapping(node, ("cpus", "gpus", "memory", "labels", "max_nodes", "description")):
            return InstanceType()
        memory = node.get("memory")
        cpus = self._number(node.get("cpus"), float, "a number above 0: 4, 0.5", 1e-3)
        gpus = self._number(node.get("gpus"), int, "a whole number, 0 or more", 0)
        nodes = self._number(node.get("max_nodes"), int, "a whole number, 1 or more", 1)
        return InstanceType(
            cpus=cpus,
            gpus=int(gpus or 0),
            memory=self._parsed(memory, lambda one: parse_size(one.text, one.place)) if memory else None,
            labels=self._texts(node.get("labels"), None),
            max_nodes=None if nodes is None else int(nodes),
        )

    def _policy(self, node: Node | None) -> DockerPolicy:
        if node is None or not self._is_mapping(node, ("allow", "data_roots")):
            return DockerPolicy()
        allow = self._list(node.get("allow"))
        for one in allow:
            self._choice(one, ALLOWABLE)
        roots = tuple(str(one.base / Path(one.text).expanduser()) for one in self._list(node.get("data_roots")))
        return DockerPolicy(allow=frozenset(one.text for one in allow), data_roots=roots)

    def _seconds(self, node: Node | None, default: float) -> float:
        if node is None:
            return default
        return self._parsed(node, lambda one: float(one.text) if one.text.isdigit() else parse_age(one.text, one.place)) or default
