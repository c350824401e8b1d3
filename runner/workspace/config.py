"""The workspace: the folder with `workspace.yml` (optional) and `.runner/` (jobs, default datastore, caches)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from runner.errors import Place, UserError
from runner.model.docker import DockerPolicy
from runner.model.paths import JobPaths
from runner.workspace.settings import DEFAULT_DATASTORE, LOCAL, Settings, read_settings

CONFIG_FILE = "workspace.yml"
STATE_FOLDER = ".runner"
VARIABLE = "RUNNER_WORKSPACE"


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """Paths and settings. Nothing is made on disk before `make()`."""

    root: Path
    settings: Settings = field(default_factory=Settings)

    @property
    def state(self) -> Path:
        return self.root / STATE_FOLDER

    @property
    def jobs(self) -> Path:
        return self.state / "jobs"

    @property
    def drafts(self) -> Path:
        """Job folders that are being put together; renamed into `jobs` when they are complete."""
        return self.state / "drafts"

    @property
    def locks(self) -> Path:
        return self.state / "locks"

    @property
    def cache(self) -> Path:
        return self.state / "cache"

    @property
    def datastores(self) -> dict[str, Path]:
        """All datastores by name, the built-in one included."""
        return {DEFAULT_DATASTORE: self.state / "datastore", **self.settings.datastores}

    @property
    def docker_policy(self) -> DockerPolicy:
        """What `docker_args` may ask for; the datastores' folders are data roots, too."""
        policy = self.settings.docker.policy
        return replace(policy, data_roots=(*policy.data_roots, *map(str, self.datastores.values())))

    @property
    def computes(self) -> dict[str, str]:
        """All computes: name → type, `local` included."""
        return {LOCAL: LOCAL, **self.settings.computes}

    @property
    def environments(self) -> dict[str, Mapping[str, object]]:
        """As `task.environment` has them, by `name:version`; paths are absolute."""
        found: dict[str, Mapping[str, object]] = {}
        for name, versions in self.settings.environments.items():
            for version, entry in versions.items():
                build = {"path": entry.build_context, "dockerfile_path": entry.dockerfile} if entry.build_context else None
                fields = {"image": entry.image, "conda_file": entry.conda_file, "build": build}
                found[f"{name}:{version}"] = {key: _plain(value) for key, value in fields.items() if value is not None}
        return found

    def data_folder(self, job: str) -> Path:
        """`azureml/<job>/` of the default datastore: logs and outputs without a path of their own."""
        return self.datastores[self.settings.default_datastore] / "azureml" / job

    def job_paths(self, name: str) -> JobPaths:
        return JobPaths(self.jobs / name, self.data_folder(name) / "logs")

    def check_output(self, path: Path) -> None:
        """Errors: UserError for an output among the workspace's own records; datastores may lie there."""
        stores = [folder for folder in self.datastores.values() if path.is_relative_to(folder) and path != folder]
        if path.is_relative_to(self.state) and not stores:
            raise UserError(
                f"the output '{path}' lies in the workspace's own folder, {self.state}",
                place=Place(field="outputs"),
                todo="give it another path, or none: then it lies in the default datastore",
            )

    def make(self) -> None:
        """Makes the folders, on the first job. Idempotent."""
        try:
            for folder in (self.jobs, self.drafts, self.locks, self.cache, self.datastores[DEFAULT_DATASTORE]):
                folder.mkdir(parents=True, exist_ok=True)
            ignore = self.state / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n")  # jobs and caches do not belong into a repository
        except OSError as error:
            raise UserError(
                f"the workspace {self.root} cannot be written to: {error.strerror}",
                todo=f"run the command in another folder, or name a workspace with --workspace or {VARIABLE}",
            ) from error


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: _plain(child) for key, child in value.items() if child is not None}
    return str(value) if isinstance(value, Path) else value


def find_workspace(explicit: str | Path | None = None, *, cwd: Path | None = None, must_exist: bool = False) -> Workspace:
    """`explicit` (--workspace), else RUNNER_WORKSPACE, else the nearest folder from `cwd` upwards that has `workspace.yml` or `.runner/`.

    Without any: the current folder, which becomes a workspace with its first job, or a `UserError` if it `must_exist`.
    """
    named = explicit or os.environ.get(VARIABLE)
    start = (cwd or Path.cwd()).absolute()
    if named:
        root = Path(os.path.normpath(start / Path(named).expanduser()))
        _check_named(root, "--workspace" if explicit else VARIABLE, must_exist)
    else:
        found = next((folder for folder in (start, *start.parents) if _is_workspace(folder)), None)
        if found is None and must_exist:
            raise UserError(
                f"no workspace in {start} or above: no job has been created here",
                todo=f"create one with `runner job create -f job.yml`, or name the workspace with --workspace or {VARIABLE}",
            )
        root = found or start
    return Workspace(root=root, settings=read_settings(root / CONFIG_FILE))


def _is_workspace(folder: Path) -> bool:
    return (folder / CONFIG_FILE).is_file() or (folder / STATE_FOLDER).is_dir()


def _check_named(root: Path, option: str, must_exist: bool) -> None:
    if root.exists() and not root.is_dir():
        raise UserError(f"{root} is not a folder", place=Place(field=option), todo="name the folder of a workspace")
    if must_exist and not _is_workspace(root):
        raise UserError(
            f"{root} is not a workspace: it has neither {CONFIG_FILE} nor {STATE_FOLDER}/",
            place=Place(field=option),
            todo="name another folder, or create a job there first",
        )
