"""What runs in Ray's places: each host starts one process of ours as the submitter's user, and says what becomes of it.

A process ends with its host, whatever ends that: its standard input closes then.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner.cluster.owner import FAILED_OWNER, SUPERSEDED
from runner.cluster.requests import ENDS, LOST, PLAIN, STARTED, OwnerRequest, User, instance_request, to_json, user_of
from runner.compute import ray as adapter
from runner.engine.coordinator import ANYBODY

SCHEDULER = "scheduler"
NODE_FOLDER = "RUNNER_NODE_DIR"  # the variable that names the folder for what only a node needs
UMASK = 0o027  # several users have their jobs in one folder: what belongs to a job is for its user, and perhaps the user's group
ENGINE_SOCKET = "/var/run/docker.sock"
END_SECONDS = 20.0  # that a process gets to hand in what it has, before it is killed
QUICK_SECONDS = 30.0  # an owner that lives for less has died quickly
QUICK_DEATHS = 4  # one after another, after which the job is given up
AGAIN_SECONDS = 1.0
RECORD_SECONDS = 60.0  # for a process that writes down how a job has ended
LAST_WORDS_SECONDS = 5.0  # for what a process has said to arrive, when it has ended
LONGEST_LINE = 1 << 20
LONGEST_TEXT = 4000
NOT_STARTED = -1  # the status of a process that could not be started
FAILED_TEXT = "a bug in the runner: see owner.log in the job's folder"


def start_as(user: User, module: str, *, engine: bool = False) -> subprocess.Popen[str]:
    """A process of the runner's with a user's rights and none of our secrets. It opens its log itself: what root opened in a folder
    of the user's could lead anywhere. `engine`: it may speak to the Docker engine, and so must start nothing of the user's beside
    containers: a process cannot give up its groups. Errors: OSError.
    """
    switch: dict[str, Any] = {}
    if os.geteuid() == 0:
        groups = {*user.groups, *(_engine_groups() if engine else ())}
        switch = {"user": user.uid, "group": user.gid, "extra_groups": sorted(groups)}
    home = _home(user)
    environment = adapter.environment_without_ray() | {"HOME": home, "USER": user.name, "LOGNAME": user.name}
    return subprocess.Popen(
        [sys.executable, "-s", "-m", module],  # -s: nothing of the user's is run with the group of the Docker engine
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        env=environment,
        cwd="/",
        start_new_session=True,
        umask=UMASK,
        **switch,
    )


def attend(process: subprocess.Popen[str], heard: Callable[[dict[str, Any]], None]) -> int:
    """Passes on what a process says, one JSON object a line, until it has ended; its exit status.

    It is a user's: it may say anything, which stops nobody from hearing of its end, and leave children that hold its output for ever.
    """
    reader = threading.Thread(target=_pass_on, args=(process, heard), daemon=True)
    reader.start()
    status = process.wait()
    reader.join(LAST_WORDS_SECONDS)
    return status


def _pass_on(process: subprocess.Popen[str], heard: Callable[[dict[str, Any]], None]) -> None:
    assert process.stdout is not None
    while line := process.stdout.readline(LONGEST_LINE):
        try:
            words = json.loads(line)
            if isinstance(words, dict):
                heard(words)
        except (ValueError, KeyError, TypeError, RecursionError):
            pass  # no words of ours
        except Exception:  # Ray's trouble
            traceback.print_exc()


def _home(user: User) -> str:
    try:
        return pwd.getpwuid(user.uid).pw_dir
    except KeyError:
        return "/"


def _engine_groups() -> set[int]:
    """The group that may speak to the Docker engine: a process that starts containers may, the user's script has no such right."""
    socket = os.environ.get("DOCKER_HOST", ENGINE_SOCKET).removeprefix("unix://")
    with contextlib.suppress(OSError):
        status = Path(socket).stat()
        if stat.S_ISSOCK(status.st_mode) and status.st_gid:
            return {status.st_gid}
    return set()


def node_root() -> Path:
    """For what only this node needs."""
    default = "/var/lib/runner" if os.geteuid() == 0 else os.path.expanduser("~/.local/share/runner")  # noqa: PTH111
    return Path(os.environ.get(NODE_FOLDER, default))


def node_folder(user: User) -> Path:
    """For what only this node needs of a user's jobs: caches, copies of code."""
    folder = node_root() / f"user-{user.uid}"
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        folder.chmod(0o700)
        os.chown(folder, user.uid, user.gid)
    return folder


class InstanceHost:
    """Of one instance; in its place on a node."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = dict(fields)
        user = user_of(fields["user"])
        self._user = user
        self._request = replace(instance_request(json.dumps(fields["request"])), folder=str(node_folder(user)), gpus=adapter.own_gpus())
        self._ending, self._starting = False, threading.Lock()
        self._words: dict[str, str] = {"how": LOST, "text": "its process has died"}
        self._first_words: dict[str, Any] = {}
        self._started, self._ended = threading.Event(), threading.Event()
        self._process = self._start(engine=os.geteuid() == 0 and bool(_engine_groups()))
        threading.Thread(target=self._attend, daemon=True).start()

    def _start(self, *, engine: bool) -> subprocess.Popen[str]:
        process = start_as(self._user, "runner.cluster.instance", engine=engine)
        assert process.stdin is not None
        process.stdin.write(to_json(replace(self._request, engine=engine)) + "\n")
        process.stdin.flush()
        return process

    def _heard(self, words: dict[str, Any]) -> None:
        if words["how"] == STARTED:
            self._first_words = words
            self._started.set()
        elif words["how"] in ENDS:
            self._words = {name: str(words[name])[:LONGEST_TEXT] for name in ("how", "text", "blame") if name in words}

    def _attend(self) -> None:
        attend(self._process, self._heard)
        if self._words["how"] == PLAIN and self._start_plainly():
            attend(self._process, self._heard)
        self._ended.set()
        self._started.set()

    def _start_plainly(self) -> bool:
        """Again, without the right to speak to the engine: it runs the user's script as a child of its own."""
        self._words = {"how": LOST, "text": "its process has died"}
        with self._starting, contextlib.suppress(OSError):
            if not self._ending:
                self._process = self._start(engine=False)
                return True
        return False

    def describe(self, _nothing: None) -> dict[str, Any]:
        """What it was started with."""
        return self._fields

    def started(self, _nothing: None) -> dict[str, Any] | None:
        """Waits until its workers are being started, and says with what; None when it has ended without that, or since."""
        self._started.wait()
        return None if self._ended.is_set() else {**self._first_words, "free": self.free(None)}

    def free(self, _nothing: None) -> int:
        """Bytes on the disk of the node's folder."""
        return shutil.disk_usage(node_root()).free

    def ended(self, _nothing: None) -> dict[str, str]:
        """Waits for its end, and says how it was."""
        self._ended.wait()
        return self._words

    def end(self, _nothing: None) -> None:
        """Has it hand in what it has, and end."""
        with self._starting, contextlib.suppress(OSError):
            self._ending = True
            assert self._process.stdin is not None
            self._process.stdin.close()
        if not self._ended.wait(END_SECONDS):
            self.kill(None)

    def kill(self, _nothing: None) -> None:
        """At once: the keeper ends when its socket closes, and with it all workers."""
        with self._starting, contextlib.suppress(ProcessLookupError):
            self._ending = True
            os.killpg(self._process.pid, signal.SIGKILL)


class OwnerHost:
    """Of the owner of one job; on the head. It starts the owner again when that dies."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = dict(fields)
        self._user = user_of(fields["user"])
        self._request = OwnerRequest(**fields["request"])
        self._wants: dict[str, dict[str, Any]] = {}
        self._status = ""
        self._ended = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._cancelled = False
        threading.Thread(target=self._run, daemon=True).start()

    def describe(self, _nothing: None) -> dict[str, Any]:
        """What it was started with, and what its job wants at the moment."""
        return {**self._fields, "wants": list(self._wants.values())}

    def tell(self, line: str) -> None:
        """Passes a line on to the owner."""
        self._cancelled = self._cancelled or json.loads(line)["t"] == "cancel"
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError, ValueError):
                self._process.stdin.write(line + "\n")
                self._process.stdin.flush()

    def ended(self, _nothing: None) -> str:
        """Waits for the end of the job. Why no owner could be run as its user, or nothing: then the job's record says how it ended."""
        self._ended.wait()
        return self._status

    def _run(self) -> None:
        try:
            self._run_until_it_ends()
        finally:
            self._ended.set()

    def _run_until_it_ends(self) -> None:
        deaths, request = 0, replace(self._request, host=adapter.own_address(), awaited=self._awaited())
        while deaths < QUICK_DEATHS:
            began = time.monotonic()
            status = self._run_once(request)
            if status in (0, SUPERSEDED):
                break
            if status == FAILED_OWNER:  # it has mostly said so itself
                self._run_once(replace(request, end={"status": "Failed", "code": "internal", "message": FAILED_TEXT}))
                break
            deaths = deaths + 1 if time.monotonic() - began < QUICK_SECONDS else 1
            time.sleep(AGAIN_SECONDS)
            request = replace(request, resume=True, retry_failed=False, awaited=self._awaited())
        else:
            message = f"the process that owns the job has died {QUICK_DEATHS} times; see owner.log in the job's folder"
            self._run_once(replace(request, end={"status": "Failed", "code": "internal", "message": message}))

    def _run_once(self, request: OwnerRequest) -> int:
        try:
            self._process = process = start_as(self._user, "runner.cluster.owner")
        except OSError as error:  # no memory, too many processes: it is tried again as after a death
            self._status = f"the head cannot run processes of user {self._user.name}: {error}"
            return NOT_STARTED
        self._status = ""
        assert process.stdin is not None
        with contextlib.suppress(OSError):
            process.stdin.write(to_json(request) + "\n")
            process.stdin.flush()
        if self._cancelled:
            self.tell(json.dumps({"t": "cancel"}))
        return attend(process, self._heard)

    def _heard(self, words: dict[str, Any]) -> None:
        if words["t"] == "want":
            self._wants[words["step"]] = words
        elif words["t"] == "done":
            self._wants.pop(words["step"], None)
        scheduler = adapter.HostHandle.find(SCHEDULER)
        if scheduler is not None:  # otherwise it asks when it is there again
            scheduler.tell("heard", {"job": self._request.job, "words": words})

    def _awaited(self) -> dict[str, list[str]]:
        """Instances that may be at work. Where nobody knows, one that never comes: the coordinator then waits for a while."""
        try:
            scheduler = adapter.HostHandle.find(SCHEDULER)
            assert scheduler is not None
            found: dict[str, list[str]] = scheduler.call("instances", self._request.job)
            return found
        except (AssertionError, *adapter.Gone):
            return {step: [ANYBODY] for step in self._wants}


def run_end(workspace: str, user: User, job: str, end: Mapping[str, str]) -> None:
    """Writes down the end of a job that has no owner, as its user. What lies in the job's folder may hang it: then it is killed.

    Errors: OSError where nothing can be run as that user.
    """
    process = start_as(user, "runner.cluster.owner")
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:  # which nobody reads: it says nothing
        with contextlib.suppress(OSError):
            process.stdin.write(to_json(OwnerRequest(workspace=workspace, job=job, host="", end=end)) + "\n")
            process.stdin.flush()
        try:
            process.wait(RECORD_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):  # it may hang in the kernel
                process.wait(LAST_WORDS_SECONDS)
