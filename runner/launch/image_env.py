"""The image for a conda file: its base with an environment in it, made once for each content.

It is made in a container that is then committed, and not by a Dockerfile: what may be secret (index addresses with tokens in
requirements, proxies with passwords) and what the image should not keep (the CA bundle, pip itself where it is this machine's) is
mounted or handed over in a file, so that no layer, no history and no label holds it. The classic builder would keep each COPY in a
layer and each argument in the history, and engines without BuildKit have no `RUN --mount`. No shell is needed in the image.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.errors import UserError
from runner.launch.conda_file import CondaNeeds
from runner.launch.image_base import after_image, made_before, stopped
from runner.launch.image_cache import locked, touch
from runner.launch.image_files import Staging
from runner.launch.image_leftovers import container_name, sweep
from runner.launch.image_pip import pip_wheel
from runner.launch.image_probe import IN, OUT, SCRIPTS, ImageFacts, exchange_folder, mounts_of
from runner.launch.image_stream import LastLines, OnCancel, Say, Stopped
from runner.launch.image_way import Way
from runner.launch.network import install_environment
from runner.launch.python_env import hash_path, pip_advice
from runner.model.docker import ContainerRequest, DockerSettings
from runner.model.job import Environment

if TYPE_CHECKING:
    from runner.launch.image import Container, Engine
    from runner.launch.image_record import Image

FORMAT = 1  # part of the hash: raised when images are made in another way
PREFIX, WORK = "/opt/runner-environment", "/opt/runner-work"
CA_IN = f"{IN}/ca.pem"
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that decides what will be in the image, as data; `files` is the hash of the local files."""

    base: str
    way: Way
    lines: tuple[str, ...]  # below `pip:`, with paths in the image
    files: str

    @property
    def content_hash(self) -> str:
        content: dict[str, object] = {"format": FORMAT, "base": self.base, "machine": os.uname().machine, "files": self.files}
        content["pip"] = [" ".join(line.split()) for line in self.lines]
        if self.way.tool:
            content["conda"] = self.way.conda
        else:
            content["requirements"] = sorted(self.way.needs.packages)
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:20]


def write_recipe(folder: Path, base: str, way: Way, conda_path: str | None) -> Recipe:
    """Puts what the container needs into `folder`, and says what it makes."""
    files = folder / "files"
    files.mkdir()
    staging = Staging(files, WORK)
    lines = tuple(staging.line(line, conda_path or "/") for line in way.needs.pip)
    recipe = Recipe(base=base, way=way, lines=lines, files=hash_path(files))
    if way.tool:
        write_conda_file(folder / "environment.yml", way.conda, lines)
    else:
        (folder / "requirements.txt").write_text("\n".join((*way.needs.packages, *lines)) + "\n", encoding="utf-8")
    return recipe


def write_conda_file(path: Path, conda: Mapping[str, Any], lines: tuple[str, ...]) -> None:
    import yaml

    dependencies = [entry for entry in conda["dependencies"] if not isinstance(entry, Mapping)]
    if lines:
        dependencies.append({"pip": list(lines)})
    kept = {"channels": conda["channels"]} if conda.get("channels") else {}
    path.write_text(yaml.safe_dump({**kept, "dependencies": dependencies}, sort_keys=False), encoding="utf-8")


def derived_image(
    engine: Engine,
    base: Image,
    way: Way,
    *,
    name: str,
    facts: ImageFacts,
    environment: Environment,
    docker: DockerSettings,
    cache: Path,
    say: Say,
    on_cancel: OnCancel,
) -> Image:
    """The image with the environment in it; made first where there is none yet. Errors: UserError with the last lines of pip or conda."""
    with exchange_folder() as folder:
        recipe = write_recipe(folder / "in", base.id, way, environment.conda_path)
        hash_ = recipe.content_hash
        with locked(cache, hash_, say, on_cancel):
            found = made_before(engine, hash_)
            if found is None:
                sweep(engine, cache)
                say(f"making an image with the packages of the conda file on {name}, with {way.maker}")
                (folder / "in" / "plan.json").write_text(json.dumps(plan(way, facts, docker, folder / "in")), encoding="utf-8")
                install = Install(engine=engine, base=base, recipe=recipe, docker=docker, folder=folder, say=say)
                install.run(facts.python(name), container_name(hash_, cache), name, on_cancel)
                found = made_before(engine, hash_)
    if found is None:
        raise UserError("the engine says that it has made the image, and does not know it", todo="see the engine's own log")
    touch(cache, hash_, f"{name} with {environment.conda_path or 'a conda file'}")
    return found


def plan(way: Way, facts: ImageFacts, docker: DockerSettings, folder: Path) -> dict[str, object]:
    """What in_image/install.py is told."""
    settings = install_environment(docker, CA_IN)
    common: dict[str, object] = {"prefix": PREFIX, "work": WORK, "files": f"{IN}/files"}
    if way.tool:
        # Downloads would stay in the image; nobody is there to say yes.
        settings |= {"CONDA_PKGS_DIRS": f"{WORK}-packages", "CONDA_ALWAYS_YES": "true", "MAMBA_ALWAYS_YES": "true", "PIP_NO_CACHE_DIR": "1"}
        return {**common, "environment": settings, "conda": conda_command(way.tool), "packages": f"{WORK}-packages"}
    wheel = pip_wheel(facts.version)
    if wheel is not None:
        (folder / wheel.name).write_bytes(wheel.read_bytes())
    needed = bool(way.needs.requirements)
    return {
        **common,
        "environment": {**settings, "PIP_ROOT_USER_ACTION": "ignore"},
        "requirements": f"{IN}/requirements.txt" if needed else None,
        "wheel": f"{IN}/{wheel.name}" if wheel else None,
    }


def conda_command(tool: str) -> list[str]:
    """micromamba makes environments from files with `create`, the others with `env create`."""
    verb = ["create", "-y"] if os.path.basename(tool) == "micromamba" else ["env", "create"]
    return [tool, *verb, "-p", PREFIX, "-f", f"{IN}/environment.yml"]


def image_config(base: Image, recipe: Recipe) -> dict[str, Any]:
    """The configuration of the new image: the base's, with the environment first on its PATH."""
    from runner.launch.image_record import LABEL_IMAGE

    variables = base.environment
    variables["PATH"] = f"{PREFIX}/bin:{variables.get('PATH') or DEFAULT_PATH}"
    if recipe.way.tool:
        variables |= {"CONDA_PREFIX": PREFIX, "CONDA_DEFAULT_ENV": PREFIX, **recipe.way.variables}
    else:
        variables["VIRTUAL_ENV"] = PREFIX
    config = dict(base.config)
    config["Env"] = [f"{name}={value}" for name, value in variables.items()]
    config["Labels"] = {**base.labels, LABEL_IMAGE: recipe.content_hash}
    # Empty ones would be filled with what the container was started with.
    config["Cmd"] = config.get("Cmd") or ["python"]
    config["User"] = config.get("User") or "0:0"
    return config


@dataclass(frozen=True, kw_only=True)
class Install:
    """One container that makes an environment, and becomes an image."""

    engine: Engine
    base: Image
    recipe: Recipe
    docker: DockerSettings
    folder: Path
    say: Say

    def run(self, python: tuple[str, ...], container: str, name: str, on_cancel: OnCancel) -> None:
        """Errors: UserError."""
        from runner.launch.docker_client import EngineError

        shutil.copyfile(SCRIPTS / "install.py", self.folder / "in" / "install.py")
        if self.docker.ca_bundle:
            shutil.copyfile(self.docker.ca_bundle, self.folder / "in" / Path(CA_IN).name)
        cancelled = threading.Event()
        on_cancel(cancelled.set)
        seconds = self.docker.build_timeout
        request = ContainerRequest(
            image=self.base.id,
            command=(*python, f"{IN}/install.py", f"{IN}/plan.json", OUT),
            name=container,
            mounts=mounts_of(self.folder),
            user="0:0",
            mount_label=self.docker.mount_label,
        )
        try:
            self.engine.remove_container(container)  # of a process that was killed
            with self.engine.container(request) as running:
                self._finish(running, name, time.monotonic() + seconds, cancelled)
        except Stopped as stop:
            raise stopped(f"making the image on {name}", stop, seconds, "docker.build_timeout") from None
        except EngineError as error:
            raise UserError(f"the image on {name} cannot be made: {error}", todo="see what the engine says of it") from error

    def _finish(self, container: Container, name: str, until: float, cancelled: threading.Event) -> None:
        lines = LastLines(self.say)
        tail = Tail(self.folder / "out" / "output.log", lines.feed)

        def meanwhile() -> None:
            tail.read()
            if cancelled.is_set():
                raise Stopped(cancelled=True)

        status = container.wait(until=until, meanwhile=meanwhile)
        tail.read(all_of_it=True)
        if status is None:
            raise Stopped(cancelled=False)
        if status:
            step = self._step()
            failed = f"{step} in the image {after_image(name)} failed with exit status {status}"
            raise lines.error(failed, advice(self.recipe.way.needs, step, lines.text))
        self.say("keeping the image")
        container.commit(hash_=self.recipe.content_hash, config=image_config(self.base, self.recipe))

    def _step(self) -> str:
        with suppress(OSError):
            return (self.folder / "out" / "step").read_text(encoding="utf-8")
        return "the installation"


def advice(needs: CondaNeeds, step: str, said: str = "") -> str:
    """`said`: the last lines of what has failed."""
    if re.search(r"ssl|certificate", said, re.IGNORECASE):
        return "if a proxy between here and the packages has certificates of its own, name them with `docker.ca_bundle` in workspace.yml"
    if step == "making a virtual environment":
        return "the image's Python lacks parts of its library (Debian: python3, not python3-minimal): take another image, or use `build`"
    if step == "pip install":
        return pip_advice(needs).replace(
            "or name an interpreter that has the packages with --python", "or install what it needs with `build`"
        )
    return "mend the conda file, or install what it needs with `build`"


class Tail:
    """Hands on what a file has gained, in whole lines."""

    def __init__(self, path: Path, feed: Callable[[str], None]) -> None:
        self._path, self._feed = path, feed
        self._offset = 0

    def read(self, *, all_of_it: bool = False) -> None:
        try:
            with open(self._path, "rb") as file:
                file.seek(self._offset)
                new = file.read()
        except OSError:
            return
        if not all_of_it:
            new = new[: new.rfind(b"\n") + 1]
        self._offset += len(new)
        if new:
            self._feed(new.decode("utf-8", "replace"))
