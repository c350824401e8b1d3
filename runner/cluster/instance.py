"""An instance of a job on a node of a cluster: a process of its own, of the submitter's user. Its request is a line on standard input.

It ends when the coordinator says so, when it is fenced, or when standard input ends: then the actor that has started it is gone, and Ray
may give this node's place to others. Its last words on standard output, a line of JSON, say how it ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from runner.cluster.audit import used_by
from runner.cluster.node_code import on_this_node
from runner.cluster.node_jobs import NodeJob
from runner.cluster.probes import Unfit, check_engine, check_reading, verify
from runner.cluster.requests import (
    DONE,
    FAILED,
    FENCED,
    LOST,
    NODE,
    PLAIN,
    REFUSED,
    RETIRED,
    STARTED,
    InstanceRequest,
    check_owner,
    instance_request,
)
from runner.compute.local import run_again
from runner.engine.instance import Instance
from runner.engine.remote.line import Line, Refused
from runner.errors import UserError
from runner.inputs.source import open_source
from runner.model.events import Event, InstanceStarted, Message
from runner.model.job import PipelineJob, Step
from runner.model.paths import JobPaths
from runner.model.ports import Source
from runner.outputs.append_row import format_of
from runner.pipeline.instances import AGENT, InstancePlan, instance_settings
from runner.pipeline.options import RunOptions
from runner.pipeline.side_inputs import SideInputs, lay_out_inputs
from runner.pipeline.site import Site, in_container, prepare_site
from runner.pipeline.step_run import SystemClock
from runner.pipeline.tracking import variables_on_node
from runner.report.resources import ResourceMonitor
from runner.spec.stored import load
from runner.version import VERSION
from runner.workspace.access import read_access

PR_SET_DUMPABLE = 4
FAREWELL_SECONDS = 10.0  # for the last events to arrive


class NodeLine(Line):
    """What only this node cannot do, such as starting a container, is no failure of the job: another node may be able to."""

    problem = ""

    def fail(self, code: str, text: str) -> None:
        if code == "launch":
            self.problem = text
        else:
            super().fail(code, text)


class NodeInstance:
    """From the request to the end. `end_now` may be called from any thread, at any time."""

    def __init__(self, request: InstanceRequest) -> None:
        self._request = request
        self._here = NodeJob(Path(request.folder) / "jobs", request.job)
        paths = JobPaths(Path(request.root), Path(request.logs), self._here.folder)
        job = load(json.loads(paths.spec.read_text(encoding="utf-8")))
        self._step: Step = job.steps[request.step] if isinstance(job, PipelineJob) else job
        self._paths = paths.step(request.step) if isinstance(job, PipelineJob) else paths
        self._stores = read_access(paths, say=partial(self._say, "WARNING"))
        self._line = self._new_line()
        disks = {"logs": self._paths.logs, "node": Path(request.folder)}
        self._monitor = ResourceMonitor(self._paths.logs, interval=self._step.arguments.resource_monitor_interval, disks=disks)
        self._instance: Instance | None = None
        self._used: Mapping[str, object] = {}
        self._ended = threading.Event()
        self._wakers: list[Callable[[], None]] = []
        self._number = int(request.node.rpartition("_")[2])

    def run(self) -> dict[str, str]:
        """How it ended. Errors: Unfit; those of the runner itself."""
        if in_container(self._step, self._options()):
            verify(self._request.probes, Path(self._request.folder), check=check_engine, what="engine")
        elif self._request.engine:
            return {"how": PLAIN}  # its children would have the right to speak to the engine, which is that to be root
        self._line.join(self._request.node, workers=self._processes, wake=lambda: None)
        try:
            site = self._site()
            self._side_inputs = self._lay_out_inputs()
            # The owner has warned.
            source = open_source(self._step, stores=self._options().stores, scratch=self._paths.scratch, warn=lambda _text: None)
            lost = run_again(partial(self._make, self._plan(site, source), source))
            site.launcher.close(partial(self._say, "WARNING"))
        except UserError as error:
            return self._not_started(error)
        except OSError as error:  # of this node's disk, or of the shared one: both are no bugs
            return self._not_started(_of_a_disk(error))
        if lost or self._line.problem:
            return self._not_started(UserError(lost or self._line.problem))
        reason = self._instance.stopped if self._instance else LOST
        return {"how": reason if reason in (RETIRED, FENCED, LOST) else DONE}

    def _not_started(self, error: UserError) -> dict[str, str]:
        """The job is told at once, and goes on elsewhere where it can."""
        if self._ended.is_set():
            return {"how": LOST}
        text = error.describe()
        self._say("WARNING", f"{self._request.node} could not be started on {os.uname().nodename}: {text.splitlines()[0]}")
        self._line.leave(0, lost=False)
        return {"how": FAILED, "text": text}

    def close(self) -> None:
        self._monitor.close()
        self._here.close(self._paths.workers / self._request.node)
        self._line.close(FAREWELL_SECONDS)

    def end_now(self) -> None:
        """Workers are killed; what is finished is still handed in."""
        self._ended.set()
        self._stores.stop_waiting()
        for wake in list(self._wakers):
            wake()
        if self._instance is not None:
            self._instance.send_away()

    @property
    def _processes(self) -> int:
        return self._step.max_concurrency_per_instance or len(self._request.gpus) or max(1, int(self._request.cpus))

    def _new_line(self) -> NodeLine:
        return NodeLine(self._paths.coordinator, secret=self._paths.secret.read_text, version=VERSION, on_fenced=self._fenced)

    def _fenced(self) -> None:
        if self._instance is not None:
            self._instance.fence()

    def _options(self) -> RunOptions:
        request = self._request
        types = {request.type_name: request.kind} if request.type_name else {}
        return RunOptions(
            cache=Path(request.folder) / "cache",
            docker=request.docker,
            python=request.python,
            instance_types=types,
            stores=self._stores,
        )

    def _site(self) -> Site:
        say, warn, began = partial(self._say, "INFO"), partial(self._say, "WARNING"), time.monotonic()
        site = prepare_site(self._step, self._paths, self._options(), say=say, warn=warn, on_cancel=self._on_cancel)
        self._used = used_by(self._step, site, time.monotonic() - began)
        return site

    def _lay_out_inputs(self) -> SideInputs:
        """They stay locked until this process ends."""
        options, say, warn = self._options(), partial(self._say, "INFO"), partial(self._say, "WARNING")
        scratch = self._paths.scratch / self._request.node
        return lay_out_inputs(self._step, scratch, cache=options.cache, stores=options.stores, say=say, warn=warn)

    def _on_cancel(self, wake: Callable[[], None]) -> None:
        self._wakers.append(wake)
        if self._ended.is_set():
            wake()

    def _plan(self, site: Site, source: Source) -> InstancePlan:
        step, resources = self._step, self._step.resources
        return InstancePlan(
            step=step,
            paths=self._paths,
            summary=source.summary,
            row_format=format_of(step, self._paths.code),
            site=site,
            processes=self._processes,
            gpus=self._request.gpus,
            instances=max(resources.max_instance_count or 0, resources.instance_count),
            epoch=time.time_ns() // 1_000_000,  # of each run of an instance another: names of parts are never used again
            tracking=variables_on_node(self._paths),
            moved=self._side_inputs.moved,
            stores=self._stores,
            beside=tuple(self._request.beside),
            agent=self._agent() if site.container else AGENT,
            code=on_this_node(self._paths.code, Path(self._request.folder) / "code"),
        )

    def _agent(self) -> str:
        """A copy of the worker folder: where this node is a container itself, the engine cannot see what is installed in it."""
        files = sorted(path for path in Path(AGENT).rglob("*") if path.is_file() and path.parent.name != "__pycache__")
        digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]
        copy = Path(self._request.folder) / "agents" / digest
        if not copy.exists():
            own = copy.with_name(f"{digest}.{self._request.job}.{self._request.node}")
            try:
                shutil.copytree(AGENT, own, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
                with contextlib.suppress(OSError):  # another instance was faster
                    own.rename(copy)
            finally:
                shutil.rmtree(own, ignore_errors=True)
        return str(copy)

    def _make(self, plan: InstancePlan, source: Source) -> Instance:
        if self._instance is not None:  # another keeper: another session
            self._line.close(FAREWELL_SECONDS)
            self._line = self._new_line()
        line = self._line
        self._instance = Instance(
            instance_settings(plan, self._number),
            gateway=line,
            launcher=plan.site.launcher,
            loader=source.loader,
            publish=partial(self._publish, line),
            clock=SystemClock(),
            may_run=lambda: line.deadline - time.monotonic(),
            stores=self._stores,
        )
        if self._ended.is_set():
            self._instance.send_away()
        return self._instance

    def _publish(self, line: Line, event: Event) -> None:
        if isinstance(event, InstanceStarted):
            tell({"how": STARTED, **self._used})
        self._monitor(event)
        line.publish(event)

    def _say(self, level: str, text: str) -> None:
        self._line.publish(Message(at=time.time(), level=level, text=text, source=self._request.node))


def _of_a_disk(error: OSError) -> UserError:
    """`shutil.Error` has a list of all that could not be copied; one of them says it all."""
    first = error.args[0][0][2] if isinstance(error, shutil.Error) and isinstance(error.args[0], list) else error
    todo = "see that the disks of the node are there and have space: runner doctor"
    return UserError(f"what the job needs there cannot be written or read: {first}", todo=todo)


def main() -> int:
    """The process."""
    keep_others_out()
    request = instance_request(sys.stdin.readline())
    words: dict[str, str] = {"how": FAILED}
    try:
        verify(request.probes, Path(request.folder), check=check_reading, what="read")  # before anything is written there
        check_owner(Path(request.root))
        if (data := Path(request.logs).parent).exists():
            check_owner(data)  # or else its owner has not made it yet
        log_to(Path(request.logs, request.step, "sys", "node", request.node, "_instance.txt"))
        instance = NodeInstance(request)
        threading.Thread(target=_watch, args=(instance,), daemon=True).start()
        words = instance.run()
        instance.close()
    except Refused as refusal:
        words = {"how": REFUSED, "text": str(refusal)}
    except Unfit as unfit:
        words = {"how": FAILED, "text": unfit.describe(), "blame": NODE}
    except TimeoutError:
        words = {"how": LOST, "text": "no coordinator was found"}
    except Exception as error:
        traceback.print_exc()
        words = {"how": FAILED, "text": f"a bug in the runner: {type(error).__name__}: {error}"}
    tell(words)
    return 0


def keep_others_out() -> None:
    """No other process of this user may look into this one, or drive it: it may be able to speak to the Docker engine, and they are not."""
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def log_to(path: Path) -> None:
    """What this process writes to stderr: bugs of the runner's. It was started without a place for that."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), 2)


def tell(words: Mapping[str, object]) -> None:
    """The actor that has started this process."""
    print(json.dumps(words), flush=True)


def _watch(instance: NodeInstance) -> None:
    """Standard input ends with the actor that has started this process."""
    while sys.stdin.readline():
        pass
    instance.end_now()


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # threads that hang on a disk or an engine must not hold the node
