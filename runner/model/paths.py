"""Every file name of a job folder, in one place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class JobPaths:
    """`root` is `.runner/jobs/<name>` of the workspace; `logs` lies in the datastore, in Azure's layout.

    `node` is where a node of a cluster keeps what only its own processes need; without it, that lies in `root`, too.
    """

    root: Path
    logs: Path
    node: Path | None = None

    @property
    def record(self) -> Path:
        """The job as `job show` prints it; replaced as a whole at each change."""
        return self.root / "job.json"

    @property
    def spec(self) -> Path:
        """The resolved job (`runner.model.job`) as JSON."""
        return self.root / "spec.json"

    @property
    def progress(self) -> Path:
        return self.root / "progress.json"

    @property
    def lock(self) -> Path:
        """Held by the owner process for its whole life."""
        return self.root / "owner.lock"

    @property
    def cancel(self) -> Path:
        """Its existence asks the owner to cancel."""
        return self.root / "cancel.request"

    @property
    def access_key(self) -> Path:
        """Of a job on a cluster, for its user's eyes only: who presents it to the gateway may cancel and follow the job."""
        return self.root / "access.key"

    @property
    def control(self) -> Path:
        """Unix socket of the owner process: it is woken and listened to there."""
        return self.root / "control.sock"

    @property
    def owner_log(self) -> Path:
        """stdout and stderr of an owner that runs in the background."""
        return self.root / "owner.log"

    @property
    def code(self) -> Path:
        """The snapshot of the code folder."""
        return self.root / "code"

    @property
    def coordinator(self) -> Path:
        """Where the coordinator listens, of a job on a cluster."""
        return self.root / "coordinator.json"

    @property
    def secret(self) -> Path:
        """What the instances of a step on a cluster and its coordinator prove to each other that they know."""
        return self.root / "secret"

    @property
    def access(self) -> Path:
        """The containers of blobs that the job uses, with their credentials: for its user's eyes only, and gone when it has ended."""
        return self.root / "access.json"

    @property
    def ownership(self) -> Path:
        """As which owner in the datastore's archive (`workspace/archive`) this folder's job was last run here."""
        return self.root / "ownership.json"

    @property
    def stores(self) -> Path:
        """The same without their credentials; it stays."""
        return self.root / "stores.json"

    @property
    def tracking(self) -> Path:
        """The job's run of MLflow; for its user's eyes only."""
        return self.root / "tracking.json"

    @property
    def owners(self) -> Path:
        """A line for each process that has owned the job; the last one does."""
        return self.root / "owners.log"

    @property
    def manifest(self) -> Path:
        return self.root / "manifest.jsonl"

    @property
    def journal(self) -> Path:
        return self.root / "journal.log"

    @property
    def parts(self) -> Path:
        return self.root / "parts"

    @property
    def scratch(self) -> Path:
        """Spill files of group-by-key and the like; deleted at the end."""
        return self.root / "scratch"

    @property
    def workers(self) -> Path:
        """Private working copies of the code, one per worker."""
        return (self.node or self.root) / "workers"

    @property
    def instance_outputs(self) -> Path:
        """Output folders of the instances of a job with several, until they are merged."""
        return self.root / "outputs"

    @property
    def lent(self) -> Path:
        """What containers of another user were let in to, until it is given back."""
        return (self.node or self.root) / "lent.json"

    def step(self, name: str) -> JobPaths:
        """The folder of a pipeline's step."""
        return JobPaths(self.root / "steps" / name, self.logs / name, self.node and self.node / "steps" / name)
