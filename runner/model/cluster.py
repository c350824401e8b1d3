"""A cluster as `workspace.yml` describes it: where its gateway listens, and what its users may have of it."""

from __future__ import annotations

from dataclasses import dataclass

GATEWAY_PORT = 6380


@dataclass(frozen=True, kw_only=True)
class RayCompute:
    """A compute of type ray. The submit token is read where it is used, never kept: only where it stands is known here."""

    name: str
    host: str
    port: int = GATEWAY_PORT
    token_file: str | None = None  # absolute path
    token_env: str | None = None  # the name of an environment variable
    ca_file: str | None = None  # absolute path of a PEM file; with it, HTTPS

    @property
    def address(self) -> str:
        """`host:port`, as it is told to people."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, kw_only=True)
class Quotas:
    """What one user may have at a time; None: any number."""

    instances_per_user: int | None = None
    queued_jobs_per_user: int | None = None
