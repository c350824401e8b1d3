"""Where what of a job lies in the container. The same tree as in a shared local datastore:

.runner/jobs/<job>/…    what the job's folder has: the record, who owns it, the journal, …
azureml/<job>/logs/…    its logs, in Azure's layout; beside them its outputs, as far as they have no path of their own
"""

from __future__ import annotations

from dataclasses import dataclass

JOBS, DATA = ".runner/jobs/", "azureml/"


@dataclass(frozen=True)
class Places:
    """Names of blobs of one job, or of the step of a pipeline. `root` and `logs` end in a slash."""

    root: str
    logs: str

    @property
    def owner(self) -> str:
        """Who runs it (`ownership.py`); the first blob that is made of a job, and the last that goes."""
        return self.root + "owner.json"

    @property
    def record(self) -> str:
        """As `job.json` of the folder, with the newest counts."""
        return self.root + "job.json"

    @property
    def spec(self) -> str:
        return self.root + "spec.json"

    @property
    def stores(self) -> str:
        """Which containers the job uses, without their credentials."""
        return self.root + "stores.json"

    @property
    def code(self) -> str:
        """The snapshot of the code, in one file."""
        return self.root + "code.tar"

    @property
    def manifest(self) -> str:
        return self.root + "manifest.jsonl"

    @property
    def journal(self) -> str:
        return self.root + "journal.log"

    @property
    def parts(self) -> str:
        return self.root + "parts/"

    @property
    def owner_log(self) -> str:
        return self.root + "owner.log"

    def step(self, name: str) -> Places:
        return Places(f"{self.root}steps/{name}/", f"{self.logs}{name}/")


def places_of(job: str) -> Places:
    return Places(f"{JOBS}{job}/", f"{DATA}{job}/logs/")


def data_of(job: str) -> str:
    """Begins the names of a job's logs and of its outputs without a path of their own."""
    return f"{DATA}{job}/"
