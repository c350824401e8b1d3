"""Where the coordinator of a step listens: a file in the job's folder, replaced by each coordinator that takes over."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Address:
    host: str
    port: int
    coordinator: str  # a name that is never used again


def write_address(path: Path, address: Address) -> None:
    """In one step: a reader sees the old one or the new one."""
    temporary = path.with_name(f".{path.name}.{address.coordinator}")
    temporary.write_text(json.dumps(asdict(address)))
    temporary.replace(path)


def read_address(path: Path) -> Address | None:
    """None where no coordinator has been there yet. Errors: OSError."""
    try:
        return Address(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
