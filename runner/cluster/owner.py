"""The owner of a job on a cluster: a process on the head, of the submitter's user. Its request is a line on standard input.

Behind it, both ways, come the lines of `runner.compute.cluster.LineBroker`, and {"t": "cancel"}. When standard input ends, so does this
process, at once and whatever it does: the actor that has started it is gone, and Ray starts another, whose process takes the job over.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from runner.cluster.requests import OwnerRequest, check_owner, owner_request
from runner.compute.cluster import ClusterLink, LineBroker
from runner.engine.sole_file import SoleFile, Superseded
from runner.model.job import Job, PipelineJob
from runner.model.moments import utc
from runner.model.paths import JobPaths
from runner.owner import Held, Owner, with_stores
from runner.pipeline.options import options_for
from runner.pipeline.run import run_job
from runner.spec.stored import load
from runner.version import VERSION
from runner.workspace.access import drop_access
from runner.workspace.config import Workspace, find_workspace
from runner.workspace.jobs import output_paths
from runner.workspace.keeper import RecordKeeper
from runner.workspace.locks import FileLock, hold_outputs, take_lock
from runner.workspace.records import JobRecord, read_json

FAILED_OWNER, SUPERSEDED, DISCONNECTED = 1, 4, 5  # exit statuses: a bug of ours; another process owns the job; the actor is gone


class Ownership:
    """Of a job: the process that has written the last line of `owners.log`."""

    def __init__(self, path: Path) -> None:
        self._file = SoleFile(path, _sign)

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Ends the process when another one owns the job: nothing that this one could still do counts."""
        try:
            with self._file.owned():
                yield
        except Superseded:
            os._exit(SUPERSEDED)


def _sign(file: BinaryIO) -> tuple[int, bytes]:
    return len(file.read()), f"{utc(time.time())} {os.uname().nodename} {os.getpid()}\n".encode()


def run_owner(request: OwnerRequest) -> None:
    workspace = find_workspace(request.workspace)
    paths = workspace.job_paths(request.job)
    check_owner(paths.root)
    if request.end:
        end_job(paths, request.end)
        return
    os.dup2(os.open(paths.owner_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), 2)
    job = load(json.loads(paths.spec.read_text(encoding="utf-8")))
    for name in (request.job, *(step.name for step in (job.steps.values() if isinstance(job, PipelineJob) else ()))):
        workspace.claim_data_folder(name)
    ownership = Ownership(paths.owners)
    broker = LineBroker(lambda line: print(line, flush=True))
    awaited = {step: frozenset(names) for step, names in request.awaited.items()}
    link = ClusterLink(broker=broker, host=request.host, version=VERSION, ports=tuple(request.ports), awaited=awaited)
    owner = Owner(workspace, job, _held(workspace, job), owned=ownership.owned, monitored=False)
    threading.Thread(target=_listen, args=(broker, owner), daemon=True).start()
    record = owner.record
    options = options_for(
        workspace, local=False, python=record.python, resume=request.resume or paths.journal.exists(), retry_failed=request.retry_failed
    )
    options = replace(options, cluster=link)
    owner.run(lambda observe, cancel: run_job(job, paths, with_stores(options, paths, observe, cancel), observe, cancel))


def end_job(paths: JobPaths, end: Mapping[str, str]) -> None:
    """Writes down how a job has ended that nobody owns: one that was cancelled while it waited, or whose owner dies again and again."""
    record = JobRecord.from_json(read_json(paths.record) or {})
    if record.finished:
        return
    keeper = RecordKeeper(paths, record, owned=Ownership(paths.owners).owned)
    error = {"message": end["message"], "code": end["code"], "log": str(paths.logs)}
    drop_access(paths)
    keeper.finish(end["status"], progress=None, error=error, incomplete=False)


def _held(workspace: Workspace, job: Job) -> Held:
    """The locks of a job. One that hangs may still hold them: `Ownership` keeps it from doing harm."""
    path = workspace.job_paths(job.name).lock
    lock = take_lock(path) or FileLock(path=path, handle=os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    return Held(name=job.name, lock=lock, outputs=hold_outputs(output_paths(job), job=job.name, registry=workspace.locks, again=True))


def _listen(broker: LineBroker, owner: Owner) -> None:
    for line in sys.stdin:
        if json.loads(line)["t"] == "cancel":
            owner.cancel()
        else:
            broker.take(line)
    os._exit(DISCONNECTED)


def main() -> int:
    """The process."""
    request = owner_request(sys.stdin.readline())
    try:
        run_owner(request)
    except Superseded:
        return SUPERSEDED
    except Exception:
        traceback.print_exc()
        return FAILED_OWNER
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)
