"""Where the steps of a pipeline write: no two at one place, nor one in the folder of another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

Port = tuple[str, str]  # step, output


@dataclass(kw_only=True)
class Places:
    """Paths and addresses of outputs, each with whose it is."""

    taken: dict[str, Port] = field(default_factory=dict)
    _within: dict[str, Port] = field(default_factory=dict)  # folder above one of these → the first output in it

    def clash(self, path: str) -> str:
        """What an output at this path would be in conflict with, in words that follow its name; empty for nothing."""
        if path in self.taken:
            return f"has the path of '{'.'.join(self.taken[path])}': {path}"
        for folder in _above(path):
            if folder in self.taken:
                return f"lies in that of '{'.'.join(self.taken[folder])}', which is {folder}"
        return f"has that of '{'.'.join(self._within[path])}' in it" if path in self._within else ""

    def take(self, path: str, port: Port) -> None:
        self.taken[path] = port
        for folder in _above(path):
            self._within.setdefault(folder, port)


def _above(path: str) -> Iterator[str]:
    end = path.rfind("/")
    while end > 0:
        yield path[:end]
        end = path.rfind("/", 0, end)
