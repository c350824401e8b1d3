"""What an image has: its Python, its users, its conda. Asked once of each image, in a short container without a network."""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import runner.launch.in_image
from runner.errors import UserError
from runner.launch.accounts import submitter
from runner.launch.image_leftovers import held_folder
from runner.launch.pythons import OLDEST
from runner.model.docker import LABEL_JOB, BindMount, ContainerRequest

if TYPE_CHECKING:
    from runner.launch.image import Engine

SCRIPTS = Path(runner.launch.in_image.__path__[0])
IN, OUT = "/runner-in", "/runner-out"  # where a short container finds what it is given, and puts its answer
COMMANDS = ("python", "python3")  # in the order tried: Azure's first
SECONDS = 180.0
FORMAT = 1  # of the cached facts: raised when probe.py tells something else


@dataclass(frozen=True, kw_only=True)
class ImageFacts:
    """What was found. `command` starts the Python; None: there is none that is new enough, and the rest may be empty."""

    command: tuple[str, ...] | None = None
    version: tuple[int, int, int] = (0, 0, 0)
    executable: str = ""
    path: str = ""  # PATH, as a container has it
    passwd: str = ""  # /etc/passwd, /etc/group: as text
    group: str = ""
    tools: Mapping[str, str] = field(default_factory=dict)  # of conda, mamba, micromamba those there are → absolute path
    seen: tuple[str, ...] = ()  # what the commands answered: for errors

    def python(self, name: str) -> tuple[str, ...]:
        """The command. Errors: UserError when the image `name` has no Python that a worker can run in."""
        if self.command is None:
            seen = f" (found: {', '.join(self.seen)})" if self.seen else ""
            raise UserError(
                f"the image {name} has no Python 3.7 or newer on its PATH{seen}",
                todo="take an image that has one, or install it in a Dockerfile (`build`)",
            )
        return self.command

    @property
    def version_text(self) -> str:
        return ".".join(map(str, self.version))


def probe_image(engine: Engine, image_id: str, *, cache: Path, mount_label: str | None = None) -> ImageFacts:
    """The facts of an image, from the cache where it has been asked before."""
    known = cached_facts(image_id, cache)
    if known is not None:
        return known
    facts = ask(engine, image_id, mount_label)
    folder = facts_file(image_id, cache).parent
    folder.mkdir(parents=True, exist_ok=True)
    new = folder / f".{uuid.uuid4().hex}.new"
    new.write_text(json.dumps({"format": FORMAT, **asdict(facts)}), encoding="utf-8")
    new.replace(facts_file(image_id, cache))
    return facts


def facts_file(image_id: str, cache: Path) -> Path:
    return cache / "images" / f"{image_id.removeprefix('sha256:')}.json"


def cached_facts(image_id: str, cache: Path) -> ImageFacts | None:
    """What an earlier probe found; None where there was none."""
    path = facts_file(image_id, cache)
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if stored.pop("format", None) != FORMAT:
        return None
    with suppress(OSError):
        os.utime(path)  # so that those least recently used can be told
    return facts_of(stored)


def facts_of(stored: Mapping[str, Any]) -> ImageFacts:
    """From JSON, where tuples are lists."""
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in stored.items()}
    return ImageFacts(**fields)


def ask(engine: Engine, image_id: str, mount_label: str | None) -> ImageFacts:
    """`python` counts where it is new enough, else `python3`."""
    seen: list[str] = []
    last: dict[str, Any] = {}
    for word in COMMANDS:
        answer = ask_one(engine, image_id, word, mount_label)
        if answer is None:
            continue
        last = answer
        version = tuple(answer["version"])
        if version >= OLDEST:
            return facts_of({**answer, "command": [word]})
        seen.append(f"{word} {'.'.join(map(str, version))}")
    return facts_of({**last, "seen": seen})


def ask_one(engine: Engine, image_id: str, word: str, mount_label: str | None) -> dict[str, Any] | None:
    """What this command answered; None where it is missing or no Python."""
    from runner.launch.image import NoSuchCommand

    with exchange_folder() as folder:
        shutil.copy(SCRIPTS / "probe.py", folder / "in" / "probe.py")
        request = ContainerRequest(
            image=image_id,
            command=(word, f"{IN}/probe.py", f"{OUT}/facts.json"),
            name=f"runner-probe-{uuid.uuid4().hex[:12]}",
            labels={LABEL_JOB: "probe"},
            mounts=mounts_of(folder),
            user=str(submitter(as_root=engine.kind().maps_users)),
            mount_label=mount_label,
        )
        try:
            with engine.container(request, network="none") as container:
                container.wait(until=time.monotonic() + SECONDS)
        except NoSuchCommand:
            return None
        try:
            return dict(json.loads((folder / "out" / "facts.json").read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return None


@contextmanager
def exchange_folder() -> Iterator[Path]:
    """A folder with `in` and `out` to mount. Nobody else on this machine gets at what is in it, though each container's user does."""
    with held_folder() as folder:
        for name, mode in (("in", 0o755), ("out", 0o777)):
            (folder / name).mkdir()
            (folder / name).chmod(mode)
        yield folder


def mounts_of(folder: Path) -> tuple[BindMount, ...]:
    return (
        BindMount(source=str(folder / "in"), target=IN),
        BindMount(source=str(folder / "out"), target=OUT, read_only=False),
    )
