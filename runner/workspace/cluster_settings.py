"""Computes of type ray, `quotas:` and `administrators:` of workspace.yml.

computes:
  cluster: {type: ray, address: head.example:6380, token_file: submit.token, ca_file: certs/cluster.pem}
  other:   {type: ray, address: 10.0.0.7, token_env: OTHER_TOKEN}
quotas: {instances_per_user: 8, queued_jobs_per_user: 20}
administrators: ml-admins
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from runner.model.cluster import GATEWAY_PORT, Quotas, RayCompute
from runner.workspace.reading import Reading

if TYPE_CHECKING:
    from runner.spec.yaml_source import Node

RAY = "ray"
COMPUTE_KEYS = ("type", "address", "token_file", "token_env", "ca_file", "description")
_ADDRESS = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?))(?::(?P<port>\d{1,5}))?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_GROUP = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\$?")


class ClusterReading(Reading):
    """Reads what concerns clusters; mistakes go into `errors`. A token file need not exist: only who submits needs it."""

    def compute(self, name: str, node: Node) -> RayCompute:
        self._is_mapping(node, COMPUTE_KEYS)
        host, port = self._address(node)
        token_file, token_env = node.get("token_file"), node.get("token_env")
        if token_file and token_env:
            self._error("token_file and token_env exclude each other", token_env, todo="keep one of them")
        elif not token_file and not token_env:
            todo = "write token_file: and the path of a copy of the submit token that `runner cluster head` made"
            self._error("a compute of type ray needs the submit token", node, "token_file: PATH, token_env: NAME", todo)
        return RayCompute(
            name=name,
            host=host,
            port=port,
            token_file=self._path(token_file),
            token_env=self._word(token_env, _VARIABLE, "the name of an environment variable"),
            ca_file=self._file(node.get("ca_file")),
        )

    def quotas(self, node: Node | None) -> Quotas:
        if node is None or not self._is_mapping(node, ("instances_per_user", "queued_jobs_per_user")):
            return Quotas()
        read = {key: self._number(node.get(key), int, "a whole number, 0 or more", 0) for key in node.entries}
        return Quotas(**{key: int(value) for key, value in read.items() if value is not None and key in Quotas.__dataclass_fields__})

    def administrators(self, node: Node | None) -> str | None:
        return self._word(node, _GROUP, "the name of a group of users")

    def _address(self, node: Node) -> tuple[str, int]:
        written = node.get("address")
        allowed = f"HOST or HOST:PORT (without a port: {GATEWAY_PORT}), e.g. head.example:{GATEWAY_PORT}, [fd00::7]:{GATEWAY_PORT}"
        if written is None:
            self._error("`address` is missing", node, allowed, "write the address of the cluster's head")
            return "", GATEWAY_PORT
        if not self._is_scalar(written):
            return "", GATEWAY_PORT
        match = _ADDRESS.fullmatch(written.text)
        port = int(match["port"] or GATEWAY_PORT) if match else 0
        if match is None or not 0 < port < 65536:
            without = written.text.partition("://")[2].partition("/")[0]
            self._error(f"'{written.text}' is not an address of a cluster", written, allowed, f"write {without}" if without else "")
            return "", GATEWAY_PORT
        return match["six"] or match["host"], port

    def _path(self, node: Node | None) -> str | None:
        return str(node.base / Path(node.text).expanduser()) if node and self._is_scalar(node) else None

    def _word(self, node: Node | None, pattern: re.Pattern[str], what: str) -> str | None:
        if node is None or not self._is_scalar(node):
            return None
        if not pattern.fullmatch(node.text):
            self._error(f"'{node.text}' is not {what}", node)
            return None
        return node.text
