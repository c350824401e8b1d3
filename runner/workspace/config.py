"""The workspace: the folder with `workspace.yml` (optional) and `.runner/` (jobs, default datastore, caches)."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from runner.errors import Place, UserError, did_you_mean
from runner.model.cluster import RayCompute
from runner.model.datastore import DataAsset
from runner.model.docker import DockerPolicy
from runner.model.paths import JobPaths
from runner.storage.addresses import is_address
from runner.storage.datastores import BlobDatastore
from runner.workspace.assets import AssetFiles, Known, as_data, as_environment
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
    def is_shared(self) -> bool:
        """Whether jobs lie in a datastore that the machines of a cluster share, and several users have theirs there."""
        return self.settings.default_datastore in self.settings.shared

    @property
    def state(self) -> Path:
        """`.runner` in the workspace; in the default datastore where that is shared, so that every machine sees the same jobs."""
        if self.is_shared:
            return self.settings.datastores[self.settings.default_datastore] / STATE_FOLDER
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
        """In a shared workspace each user has one: what is made there is run, and nobody should run what another user put there."""
        return self.state / "cache" / f"user-{os.geteuid()}" if self.is_shared else self.state / "cache"

    @property
    def datastores(self) -> dict[str, Path]:
        """All datastores by name, the built-in one included."""
        return {DEFAULT_DATASTORE: self.state / "datastore", **self.settings.datastores}

    @property
    def assets(self) -> AssetFiles:
        """What has been registered."""
        return AssetFiles(root=self.state / "assets")

    @property
    def described_data(self) -> dict[str, DataAsset]:
        """The data assets of workspace.yml, by `name:version`."""
        named = self.settings.data.items()
        return {f"{name}:{version}": entry for name, versions in named for version, entry in versions.items()}

    @property
    def data(self) -> Mapping[str, DataAsset]:
        """All data assets, by `name:version`; so with the next ones."""
        return Known(self.described_data, self.assets.files("data"), as_data)

    @property
    def models(self) -> Mapping[str, DataAsset]:
        return Known({}, self.assets.files("model"), as_data)

    @property
    def components(self) -> Mapping[str, Path]:
        """The files that hold them."""
        return self.assets.files("component")

    @property
    def shared_datastores(self) -> dict[str, Path]:
        """Those that all machines of a cluster have at the same path."""
        return {name: folder for name, folder in self.settings.datastores.items() if name in self.settings.shared}

    @property
    def docker_policy(self) -> DockerPolicy:
        """What `docker_args` may ask for; the datastores' folders are data roots, too."""
        policy = self.settings.docker.policy
        return replace(policy, data_roots=(*policy.data_roots, *map(str, self.datastores.values())))

    @property
    def computes(self) -> dict[str, str]:
        """All computes: name → type, `local` included."""
        return {LOCAL: LOCAL, **self.settings.computes}

    def ray_compute(self, name: str) -> RayCompute:
        """The compute of type ray of this name. Errors: UserError for another one."""
        clusters = self.settings.ray_computes
        if name in clusters:
            return clusters[name]
        if name in self.computes:
            raise UserError(
                f"the compute '{name}' is no cluster: it is this machine", allowed=", ".join(clusters) or "(the workspace has no cluster)"
            )
        known = ", ".join(self.computes)
        raise UserError(f"there is no compute '{name}' in {self.root / CONFIG_FILE}", allowed=known, todo=did_you_mean(name, self.computes))

    def only_cluster(self) -> RayCompute:
        """The one cluster that the workspace has. Errors: UserError where it has none, or several."""
        clusters = self.settings.ray_computes
        if len(clusters) == 1:
            return next(iter(clusters.values()))
        if clusters:
            raise UserError("the workspace has several clusters", allowed=", ".join(clusters), todo="name one of them")
        todo = f"describe it in {self.root / CONFIG_FILE}: computes: {{NAME: {{type: ray, address: HOST, token_file: PATH}}}}"
        raise UserError("the workspace has no cluster", todo=todo)

    @property
    def environments(self) -> Mapping[str, Mapping[str, object]]:
        """As `task.environment` has them, by `name:version`; paths are absolute."""
        return Known(self.described_environments, self.assets.files("environment"), as_environment)

    @property
    def described_environments(self) -> dict[str, Mapping[str, object]]:
        """Those of workspace.yml."""
        found: dict[str, Mapping[str, object]] = {}
        for name, versions in self.settings.environments.items():
            for version, entry in versions.items():
                build = {"path": entry.build_context, "dockerfile_path": entry.dockerfile} if entry.build_context else None
                fields = {"image": entry.image, "conda_file": entry.conda_file, "build": build}
                found[f"{name}:{version}"] = {key: _plain(value) for key, value in fields.items() if value is not None}
        return found

    @property
    def archive_store(self) -> BlobDatastore | None:
        """The default datastore where that is in blob storage: jobs of this machine are copied there (`workspace/archive`)."""
        return self.settings.blob_stores.get(self.settings.default_datastore)

    @property
    def default_folder(self) -> Path:
        """The default datastore, or the folder of this machine that has what goes to it."""
        return self.datastores[DEFAULT_DATASTORE if self.archive_store else self.settings.default_datastore]

    def data_folder(self, job: str) -> Path:
        """`azureml/<job>/` of the default datastore: logs and outputs without a path of their own."""
        return self.default_folder / "azureml" / job

    def claim_data_folder(self, job: str) -> None:
        """Makes it where the datastore is shared. Anybody could have made it first, with links in it to what only this user may write.

        Errors: UserError where it is not this user's.
        """
        if not self.is_shared:
            return
        folder = self.data_folder(job)
        try:
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
            status = folder.lstat()
        except OSError as error:
            raise UserError(f"{folder} cannot be made: {error.strerror}", todo="have an administrator see to its permissions") from error
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            raise UserError(f"{folder}, where logs and outputs of the job would lie, is another user's", todo="choose another name")

    def job_paths(self, name: str) -> JobPaths:
        return JobPaths(self.jobs / name, self.data_folder(name) / "logs")

    def check_output(self, output: str | Path) -> None:
        """Errors: UserError for an output among the workspace's own records; datastores may lie there."""
        if is_address(str(output)):
            return
        path = Path(output)
        inside = [folder for folder in self.datastores.values() if folder.is_relative_to(self.state)]
        stores = [folder for folder in inside if path.is_relative_to(folder) and path != folder]
        if path.is_relative_to(self.state) and not stores:
            raise UserError(
                f"the output '{path}' lies in the workspace's own folder, {self.state}",
                place=Place(field="outputs"),
                todo="give it another path, or none: then it lies in the default datastore",
            )

    @property
    def uploads(self) -> Path:
        """Local inputs of jobs that run elsewhere, by their content, as Azure lays them out."""
        return self.default_folder / "LocalUpload"

    def make(self) -> None:
        """Makes the folders, on the first job. Idempotent. In a shared workspace every user may make jobs, and remove only their own."""
        try:
            if self.is_shared:
                self._make_shared()
            for folder in (self.jobs, self.drafts, self.locks, self.cache, self.datastores[DEFAULT_DATASTORE]):
                folder.mkdir(parents=True, exist_ok=True)
            ignore = self.state / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n")  # jobs and caches do not belong into a repository
        except OSError as error:
            if self.is_shared:
                todo = "start `runner cluster head` once, which makes it for everybody, or have an administrator see to its permissions"
                raise UserError(f"{error.filename} cannot be made: {error.strerror}", todo=todo) from error
            raise UserError(
                f"the workspace {self.root} cannot be written to: {error.strerror}",
                todo=f"run the command in another folder, or name a workspace with --workspace or {VARIABLE}",
            ) from error

    def make_assets(self) -> AssetFiles:
        """Makes the folders of what is registered, on the first registration. Idempotent."""
        self.make()
        try:
            self.assets.make(_make_for_all if self.is_shared else None)
        except OSError as error:
            raise UserError(f"{error.filename} cannot be made: {error.strerror}") from error
        return self.assets

    def _make_shared(self) -> None:
        base = self.datastores[self.settings.default_datastore]
        if not base.is_dir():
            raise UserError(
                f"the shared datastore '{self.settings.default_datastore}' is not there: {base} is no folder of this machine",
                todo="mount it at that path, as the machines of the cluster have it, or make the folder on the first of them",
            )
        self.state.mkdir(mode=0o755, exist_ok=True)
        for folder in (self.jobs, self.drafts, self.locks, self.cache.parent, base / "azureml", self.uploads):
            _make_for_all(folder)
        self.cache.mkdir(mode=0o700, exist_ok=True)
        owner = self.cache.stat().st_uid
        if owner != os.geteuid():
            raise UserError(f"{self.cache} belongs to another user (uid {owner})", todo="have an administrator of the cluster remove it")


def _make_for_all(folder: Path) -> None:
    """A folder in which everybody may make things, and remove their own only."""
    try:
        folder.mkdir()
    except FileExistsError:
        return
    folder.chmod(0o1777)  # whatever the umask


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
