"""The context of a Docker build: which files belong to it, their hash, and the archive that the engine gets."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import stat
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from runner.errors import Place, UserError
from runner.launch.network import CA_PATH, CA_VARIABLES
from runner.model.docker import DockerSettings
from runner.model.image_reference import map_image

FORMAT = 1  # part of the hash: raised when images are built in another way
BUNDLE = ".runner-ca.pem"  # in the archive
PLACE = Place(field="task.environment.build")
FROM = re.compile(r"(?P<head>\s*FROM\s+(?:--\S+\s+)*)(?P<image>\S+)(?:\s+AS\s+(?P<stage>\S+))?", re.IGNORECASE)

FilesOf = Callable[[str, list[str], str], list[str]]


@dataclass(frozen=True, kw_only=True)
class BuildContext:
    """A folder to build from. `files` are relative to it, folders and links among them; `dockerfile` likewise."""

    folder: str
    dockerfile: str
    dockerfile_text: str  # as it is built: after the image map
    files: tuple[str, ...]
    bundle: str | None = None  # a CA bundle of this machine; like proxies, it does not count

    @property
    def content_hash(self) -> str:
        """Equal when names, modes and contents of all files and the Dockerfile are; times and owners do not count."""
        digest = hashlib.sha256(json.dumps([FORMAT, os.uname().machine, self.dockerfile, self.dockerfile_text]).encode())
        for name in self.files:
            if name == self.dockerfile:
                continue
            path = os.path.join(self.folder, name)
            status = os.lstat(path)
            digest.update(f"{name}\0{stat.S_IFMT(status.st_mode)}\0{status.st_mode & 0o777:o}\0".encode(errors="surrogateescape"))
            digest.update(content_digest(path, status.st_mode))
        return digest.hexdigest()[:20]

    def archive(self) -> IO[bytes]:
        """What the engine gets: owners are left out, as Docker's own client does."""
        file = tempfile.TemporaryFile(prefix="runner-context-")  # noqa: SIM115 (it is handed out)
        with tarfile.open(mode="w", fileobj=file) as archive:
            for name in self.files:
                if name != self.dockerfile:
                    add(archive, os.path.join(self.folder, name), name)
            if self.bundle:
                archive.add(self.bundle, BUNDLE, filter=readable_by_all)
            text = (with_bundle(self.dockerfile_text) if self.bundle else self.dockerfile_text).encode()
            entry = tarfile.TarInfo(self.dockerfile)
            entry.size, entry.mode = len(text), 0o644
            archive.addfile(entry, io.BytesIO(text))
        file.seek(0)
        return file


def add(archive: tarfile.TarFile, path: str, name: str) -> None:
    entry = archive.gettarinfo(path, arcname=name)
    if entry is None:  # a socket
        return
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    if entry.isfile():
        with open(path, "rb") as content:
            archive.addfile(entry, content)
    else:
        archive.addfile(entry)


def readable_by_all(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.mode = 0o644
    return entry


def content_digest(path: str, mode: int) -> bytes:
    """Of a file's bytes, or of where a link points to."""
    if stat.S_ISLNK(mode):
        return hashlib.sha256(os.fsencode(os.readlink(path))).digest()  # noqa: PTH115
    if not stat.S_ISREG(mode):
        return b""
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while piece := file.read(1 << 20):
            digest.update(piece)
        return digest.digest()


def read_context(folder: str, dockerfile: str, docker: DockerSettings, files_of: FilesOf) -> BuildContext:
    """The context below `folder`. Errors: UserError for a Dockerfile that is missing or lies outside, and for files one may not read."""
    name = dockerfile_name(folder, dockerfile)
    try:
        text = Path(folder, name).read_text(encoding="utf-8")
        files = files_of(folder, ignore_lines(folder, name), name)
        unreadable = next((one for one in files if not readable(os.path.join(folder, one))), None)
    except OSError as error:
        raise UserError(f"the build context cannot be read: {error}", place=PLACE, todo="mend its permissions") from error
    if unreadable is not None:
        todo = "mend its permissions, or let .dockerignore leave it out"
        raise UserError(f"the file {unreadable} of the build context {folder} cannot be read", place=PLACE, todo=todo)
    text = map_froms(text, docker.image_map)
    return BuildContext(folder=folder, dockerfile=name, dockerfile_text=text, files=tuple(files), bundle=docker.ca_bundle)


def readable(path: str) -> bool:
    return Path(path).is_symlink() or os.access(path, os.R_OK)


def dockerfile_name(folder: str, dockerfile: str) -> str:
    """Relative to the folder, in which it must lie; links in the way to it are followed to see that."""
    path = os.path.join(folder, dockerfile)
    name = os.path.relpath(os.path.normpath(path), folder)
    if name.startswith("../") or not os.path.realpath(path).startswith(os.path.realpath(folder) + os.sep):
        raise UserError(
            f"the Dockerfile '{dockerfile}' lies outside of its build context {folder}",
            place=Place(field="task.environment.build.dockerfile_path"),
            todo="move it into that folder; its path is relative to the folder",
        )
    if not Path(path).is_file():
        raise UserError(
            f"the build context {folder} has no file '{dockerfile}'",
            place=Place(field="task.environment.build.dockerfile_path"),
            todo="name the Dockerfile with dockerfile_path, relative to the folder",
        )
    return name


def ignore_lines(folder: str, dockerfile: str) -> list[str]:
    """The patterns of `<Dockerfile>.dockerignore` or of `.dockerignore`."""
    for name in (f"{dockerfile}.dockerignore", ".dockerignore"):
        path = Path(folder, name)
        if path.is_file():
            lines = path.read_text(encoding="utf-8-sig").splitlines()
            return [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    return []


def statements(dockerfile: str) -> Iterator[str]:
    """The Dockerfile's text in pieces: an instruction with its continued lines, a comment, an empty line."""
    piece = ""
    for line in dockerfile.splitlines(keepends=True):
        piece += line
        comment = line.lstrip().startswith("#")
        continued = line.rstrip().endswith("\\") and not comment
        if not continued and not (comment and piece != line):  # comments may stand between continued lines
            yield piece
            piece = ""
    if piece:
        yield piece


def map_froms(dockerfile: str, image_map: Mapping[str, str]) -> str:
    """The same Dockerfile with the image map applied to its FROM lines; stages, `scratch` and names with variables stay."""
    stages = {"scratch"}
    pieces = []
    for piece in statements(dockerfile):
        if found := FROM.match(piece):
            image = found["image"]
            if image_map and image.lower() not in stages and not set(image) & {"$", "\\"}:
                piece = piece[: found.start("image")] + map_image(image, image_map) + piece[found.end("image") :]
            if found["stage"]:
                stages.add(found["stage"].lower())
        pieces.append(piece)
    return "".join(pieces)


def with_bundle(dockerfile: str) -> str:
    """The same Dockerfile with the CA bundle in each stage: a file that RUN lines are pointed to by variables that no image keeps."""
    added = [f"COPY {BUNDLE} {CA_PATH}", *(f"ARG {name}={CA_PATH}" for name in CA_VARIABLES)]
    pieces = []
    for piece in statements(dockerfile):
        pieces.append(piece)
        if FROM.match(piece):
            pieces.append(("" if piece.endswith("\n") else "\n") + "\n".join(added) + "\n")
    return "".join(pieces)
