"""Jobs that the cluster has accepted: a file for each in the service's own folder, so that a restarted scheduler knows them.

Whose a job is, is nobody's to say: it is the owner of the job's folder, as the file system has it.
"""

from __future__ import annotations

import errno
import grp
import hmac
import json
import os
import pwd
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from runner.cluster.requests import User, user_of
from runner.errors import UserError
from runner.model.job import Job, PipelineJob, Step
from runner.model.paths import JobPaths
from runner.pipeline.steps import in_order
from runner.spec.stored import load
from runner.workspace.config import Workspace
from runner.workspace.names import check_name
from runner.workspace.records import write_json

KEY_SIZE = 256  # bytes at most
FILE_SIZE = 8 << 20  # likewise, of a job and of its record: the scheduler reads them for everybody


@dataclass(frozen=True, kw_only=True)
class Accepted:
    name: str
    user: User
    number: int  # in the order of arrival
    priority: int = 0
    resume: bool = False
    retry_failed: bool = False
    began: bool = False  # an owner has been started


class AcceptedJobs:
    """`folder` is the service's own."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._folder = workspace.state / "queue"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.jobs = {one.name: one for one in sorted(self._read(), key=lambda one: one.number)}

    def put(self, job: Accepted) -> None:
        write_json(self._file(job.name), asdict(job))
        self.jobs[job.name] = job

    def remove(self, name: str) -> None:
        self.jobs.pop(name, None)
        self._file(name).unlink(missing_ok=True)

    def next_number(self) -> int:
        return max((one.number for one in self.jobs.values()), default=0) + 1

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _read(self) -> Iterator[Accepted]:
        for path in self._folder.glob("*.json"):
            fields = json.loads(path.read_text())
            yield Accepted(**{**fields, "user": user_of(fields["user"])})


def paths_of(workspace: Workspace, name: str) -> JobPaths:
    """Errors: UserError for a name that is none, or of no job here."""
    paths = workspace.job_paths(check_name(name))
    if not stat.S_ISDIR(_status(paths.root, name, workspace).st_mode):
        raise _unknown(name, workspace)
    return paths


def owner_of(paths: JobPaths) -> User:
    """Whose the job's folder is, with all groups of that user. Errors: OSError."""
    status = os.lstat(paths.root)
    try:
        entry = pwd.getpwuid(status.st_uid)
    except KeyError:
        return User(uid=status.st_uid, gid=status.st_gid, name=str(status.st_uid))
    return User(uid=entry.pw_uid, gid=entry.pw_gid, groups=tuple(os.getgrouplist(entry.pw_name, entry.pw_gid)), name=entry.pw_name)


def check_key(paths: JobPaths, given: object) -> None:
    """Errors: UserError where the key is not the job's, so that whoever asks cannot read it."""
    if not hmac.compare_digest(str(given).encode(), _own_file(paths.access_key, KEY_SIZE).strip()):
        raise UserError(
            f"the key of job {paths.root.name} is another one",
            todo="only the user who has created the job, and the administrators, may do that",
        )


def read_job(paths: JobPaths) -> Job:
    """Errors: UserError for a job that cannot be one."""
    try:
        return load(json.loads(_own_file(paths.spec, FILE_SIZE)))
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise UserError(f"the job in {paths.root} cannot be read: {error}", todo="submit it again") from None


def steps_of(job: Job) -> list[Step]:
    """In the order in which they run."""
    return [job.steps[name] for name in in_order(job)] if isinstance(job, PipelineJob) else [job]


def read_record(paths: JobPaths) -> dict[str, Any]:
    """The job's record, as far as it can be read and is one."""
    try:
        found = json.loads(_own_file(paths.record, FILE_SIZE))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _own_file(path: Path, limit: int) -> bytes:
    """A plain file of the user whose folder it lies in: a link could lead to what only the service may read. Errors: OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != path.parent.stat().st_uid:
            raise PermissionError(f"{path} is not a file of the job's user")
        with open(handle, "rb", closefd=False) as file:
            data = file.read(limit + 1)
    finally:
        os.close(handle)  # `open` leaves it open where it refuses it, a folder for one
    if len(data) > limit:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return data


def _status(root: Path, name: str, workspace: Workspace) -> os.stat_result:
    try:
        return os.lstat(root)
    except OSError:
        raise _unknown(name, workspace) from None


def _unknown(name: str, workspace: Workspace) -> UserError:
    return UserError(
        f"there is no job '{name}' in {workspace.jobs} on the head of the cluster",
        todo="see that the shared datastore of the workspace is the cluster's, mounted at the same path",
    )
