"""Labs whose inputs and outputs lie in blob storage, while their tests look at local files as ever.

Each relative path of a data input or output in a job file becomes an address in a container of the emulator. Before a command what is
there locally is copied to it, and after the command everything is copied back.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.acceptance.jobs import Lab, Outcome

if TYPE_CHECKING:
    from tests.azurite import Azurite

DATASTORE = "az"
ROOT = f"azureml://datastores/{DATASTORE}/paths"
STARTERS = ("create", "validate", "resume", "finish", "stream")


class InBlob(Lab):
    """A mixin: `in_blob(Lab, azurite)(folder)` is a lab of that kind."""

    azurite: Azurite
    has_blobs = True

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.container = self.azurite.container()
        self.prefix = uuid.uuid4().hex[:8]
        self._inputs: set[str] = set()
        self._outputs: set[str] = set()
        self._sent: dict[str, tuple[int, int]] = {}

    def write(self, job: dict[str, Any], *, file: str = "job.yml") -> Path:
        for one in (job, *(job.get("jobs") or {}).values()):
            self._move(one.get("inputs"), self._inputs)
            self._move(one.get("outputs"), self._outputs)
        return super().write(job, file=file)

    def needs_too(self, name: str) -> None:
        self._inputs.add(name)

    def settings(self, text: str) -> None:
        super().settings(text)
        self._add_datastore()

    def run(self, *words: str, **more: Any) -> Outcome:
        if words[0] == "job" and words[1] in STARTERS:
            self._add_datastore()
            self.send()
        done = super().run(*words, **more)
        if words[0] == "job":
            self.fetch()
        return done

    def start(self, *words: str, **more: Any) -> Any:
        self._add_datastore()
        self.send()
        return super().start(*words, **more)

    def address(self, local: str) -> str:
        return f"{ROOT}/{self.prefix}/{local}"

    def send(self) -> None:
        """What is new or changed here goes to the container; what is gone here goes there, too."""
        client = self.azurite.client(self.container)
        here = {name: path for known in self._inputs | self._outputs for name, path in _files(self.folder, known)}
        new = {name: path for name, path in here.items() if self._sent.get(name) != _stamp(path)}
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda name: client.upload_blob(self._blob(name), new[name].read_bytes(), overwrite=True), new))
        for name in self._sent.keys() - here.keys():
            client.delete_blob(self._blob(name))
        self._sent = {name: _stamp(path) for name, path in here.items()}

    def fetch(self) -> None:
        """What is in the outputs comes here."""
        client = self.azurite.client(self.container)
        for known in self._outputs:
            names = [blob.name for blob in client.list_blobs(name_starts_with=self._blob(known))]
            found = {name.removeprefix(f"{self.prefix}/") for name in names}
            for name in sorted(found):
                target = self.folder / name
                data = client.download_blob(self._blob(name)).readall()
                if not target.is_file() or target.read_bytes() != data:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(data)
                self._sent[name] = _stamp(target)

    def _blob(self, local: str) -> str:
        return f"{self.prefix}/{local}"

    def _move(self, ports: Any, known: set[str]) -> None:
        for name, port in (ports or {}).items():
            if isinstance(port, dict) and isinstance(port.get("path"), str) and _is_relative(port["path"]):
                local = port["path"].removeprefix("./").rstrip("/")
                known.add(local)
                ports[name] = {**port, "path": self.address(local)}

    def _add_datastore(self) -> None:
        path = self.folder / "workspace.yml"
        data = (yaml.safe_load(path.read_text()) if path.exists() else None) or {}
        entry = {
            "type": "azure_blob",
            "account_name": self.azurite.account,
            "container_name": self.container,
            "endpoint": self.azurite.endpoint,
            "credentials": {"account_key": self.azurite.key},
        }
        if data.setdefault("datastores", {}).get(DATASTORE) != entry:
            data["datastores"][DATASTORE] = entry
            path.write_text(yaml.safe_dump(data, sort_keys=False))
            path.chmod(0o600)


def in_blob(kind: type[Lab], azurite: Azurite) -> type[Lab]:
    return type(f"{kind.__name__}InBlob", (InBlob, kind), {"azurite": azurite})


def clear(folder: Path) -> None:
    """Removes what `fetch` has brought, so that the next one shows what is there now."""
    shutil.rmtree(folder, ignore_errors=True)


def _is_relative(path: str) -> bool:
    return "://" not in path and not path.startswith(("/", "azureml:", "..", "${{", "~"))


def _files(folder: Path, known: str) -> Iterator[tuple[str, Path]]:
    top = folder / known
    for path in [top] if top.is_file() else sorted(top.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
