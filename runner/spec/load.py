"""Job files and mappings from Python, before anything is resolved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.errors import Place, UserError
from runner.spec.overrides import override
from runner.spec.python_source import from_python
from runner.spec.yaml_source import Node, read_yaml


@dataclass(frozen=True, kw_only=True)
class LoadedJob:
    """A job as it was written. `base` is the folder that relative paths start from."""

    root: Node
    base: Path
    file: Path | None = None

    @property
    def type(self) -> str:
        """`command`, `parallel`, `pipeline`, whatever else was written, or an empty string."""
        return written_type(self.root)

    @property
    def name(self) -> str | None:
        """The name that the file gives, unchecked; None where the caller is to make one up."""
        node = self.root.get("name")
        return node.text if node else None

    def mapping(self) -> dict[str, object]:
        """The job as plain Python values, `--set` applied."""
        plain = self.root.plain()
        assert isinstance(plain, dict)
        return plain


def written_type(node: Node) -> str:
    """The `type` of a job, a step or a component, in small letters; as on Azure, a command need not say that it is one."""
    written = node.get("type")
    if written is not None:
        return written.text.lower()
    return "command" if node.get("command") and not node.get("component") else ""


def read_job(path: str | Path, overrides: Sequence[str] = ()) -> LoadedJob:
    """Reads a job file and applies `--set` overrides. Raises a UserError with file:line when it isn't YAML."""
    root = override(read_yaml(Path(path)), overrides)
    return LoadedJob(root=root, base=root.base, file=Path(path))


def job_from_mapping(data: Mapping[str, object], base: Path) -> LoadedJob:
    """The same from Python: the mapping that a YAML file would give, its values typed as Python has them."""
    if not isinstance(data, Mapping):
        raise UserError(f"a job must be a mapping, not {type(data).__name__}", place=Place())
    base = Path(base).absolute()
    return LoadedJob(root=from_python(data, base=base), base=base)
