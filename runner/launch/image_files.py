"""Local files that the `pip:` lines of a conda file name, copied for an image: there is nothing of this machine in it."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from runner.errors import Place, UserError
from runner.launch.conda_file import named_path
from runner.launch.python_env import MADE_BY_BUILDS

FIND_LINKS = re.compile(r"(?P<option>-f|--find-links)(?:\s+|=)(?P<target>\S+)")


class Staging:
    """Copies into `folder`, which will be `inside` in the image; gives lines with the copies' paths.

    Copies are numbered in the order in which they are named, so that the same needs give the same lines.
    """

    def __init__(self, folder: Path, inside: str) -> None:
        self._folder, self._inside = folder, inside
        self._places: dict[Path, str] = {}

    def line(self, text: str, origin: str) -> str:
        """The line for the image; `origin` is the file in which it stands. An editable package is installed as it is now."""
        named = named_path(text)
        if named is not None:
            path = self._place(self._source(named.target, text, origin), nested=named.option.lstrip("-")[:1] in ("r", "c"))
            return named.line(path).removeprefix("-e ").removeprefix("--editable ").strip("'" if named.option[1:2] == "e" else "")
        links = FIND_LINKS.fullmatch(text.strip())
        if links and "://" not in links["target"]:
            return f"{links['option']} {self._place(self._source(links['target'], text, origin))}"
        return text

    def _source(self, target: str, text: str, origin: str) -> Path:
        source = Path(os.path.dirname(origin), target).resolve()
        if not source.exists():
            raise UserError(f"`{text.strip()}`: there is no {source}", place=Place(file=origin), todo="mend the path")
        return source

    def _place(self, source: Path, *, nested: bool = False) -> str:
        """The path of the copy in the image; it is made where it has not been made before."""
        if source not in self._places:
            number = str(len(self._places))
            self._places[source] = f"{self._inside}/{number}/{source.name}"
            copy = self._folder / number / source.name
            copy.parent.mkdir(parents=True)
            self._copy(source, copy, nested)
        return self._places[source]

    def _copy(self, source: Path, copy: Path, nested: bool) -> None:
        if source.is_dir():
            shutil.copytree(source, copy, symlinks=True, ignore=left_out)
        elif nested:
            lines = source.read_text(encoding="utf-8-sig").splitlines()
            copy.write_text("".join(f"{self.line(line, str(source))}\n" for line in lines), encoding="utf-8")
        else:
            shutil.copyfile(source, copy)


def left_out(folder: str, names: list[str]) -> set[str]:
    """Folders that are no part of a package's content: those that its hash leaves out."""
    folders = (name for name in names if Path(folder, name).is_dir())
    return {name for name in folders if name.startswith(".") or name.endswith(MADE_BY_BUILDS)}
