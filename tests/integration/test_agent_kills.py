"""Nothing that user code starts outlives its worker, its keeper or its supervisor, whatever it does to get away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runner.launch.process import marked
from runner.worker.protocol import INSTANCE_MARK
from tests.integration.agent_driver import Driver, alive, bye, gone_within, number_in, work

ROOT = Path(__file__).resolve().parents[2]

# What user code may do. `note(name)` writes the process's number, so that a test can see whether it is gone.
TRICKS = """
    import ctypes, os, signal, subprocess, sys, threading, time

    def note(name):
        with open(os.path.join(os.path.dirname(__file__), "..", name + ".tmp"), "w") as file:
            file.write(str(os.getpid()))
        os.rename(file.name, file.name[:-4])

    def ignore_terminate():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def daemon(name, environment=None):
        '''A double fork with a session of its own, which ignores whatever can be ignored, and holds no pipe of ours if it is executed.'''
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                for number in range(1, 32):
                    if number not in (signal.SIGKILL, signal.SIGSTOP):
                        signal.signal(number, signal.SIG_IGN)
                if environment is not None:
                    note(name)
                    os.execve("/bin/sleep", ["sleep", "1000"], environment)
                note(name)
                time.sleep(1000)
            os._exit(0)
        os.wait()

    def multiply():
        '''A mild fork bomb: each process is replaced by another over and over.'''
        if os.fork() == 0:
            os.setsid()
            note("bomb")
            end = time.time() + 60
            while time.time() < end:
                if os.fork():
                    os._exit(0)
                os.setsid()
                time.sleep(0.001)
            os._exit(0)

    def block():
        signal.pthread_sigmask(signal.SIG_BLOCK, set(range(1, 32)))
        lock = threading.Lock()
        lock.acquire()
        threading.Thread(target=lambda: ctypes.CDLL(None).sleep(1000)).start()
        note("block")
        ctypes.PyDLL(None).sleep(1000)  # in C, and holding the GIL

    def run(mini_batch):
        for path in mini_batch:
            name = os.path.basename(path)
            if name == "daemon":
                daemon("daemon")
            elif name == "bare":
                daemon("bare", {})
            elif name == "executed":
                daemon("executed", dict(os.environ))
            elif name == "multiply":
                multiply()
            elif name == "ignore":
                ignore_terminate()
            elif name == "block":
                block()
            elif name == "child":
                subprocess.Popen(["sh", "-c", "trap '' TERM; echo $$ > %s/../child; while :; do sleep 1; done" % os.path.dirname(__file__)])
            elif name == "sleep":
                note("sleep")
                time.sleep(1000)
        return mini_batch
"""


def test_a_kill_takes_what_the_worker_has_started(tmp_path):
    with Driver(tmp_path, script=TRICKS) as agent:
        worker = agent.ready()
        work(worker, ["ignore", "daemon", "executed", "bare", "child", "sleep"])
        pids = [number_in(tmp_path / name) for name in ("daemon", "executed", "bare", "child", "sleep")]
        began = time.monotonic()
        exited = agent.kill(grace=0.3)
        assert exited["status"] == -signal.SIGKILL
        assert 0.3 <= time.monotonic() - began < 2
        named = [pids[index] for index in (0, 1, 3, 4)]
        assert not [pid for pid in named if alive(pid)], "they were there although the keeper had said that the worker was gone"
        agent.keeper.send({"t": "end"})  # nothing tells whose the daemon without an environment was: it goes with the instance
        assert agent.instance.wait(5) == 0
        assert not alive(pids[2])


def test_other_workers_are_left_alone(tmp_path):
    with Driver(tmp_path, script=TRICKS) as agent:
        first, second = agent.ready(0), agent.ready(1)
        work(first, ["executed", "sleep"])
        doomed = [number_in(tmp_path / name) for name in ("executed", "sleep")]
        work(second, ["daemon"], ["child"])
        mine = [number_in(tmp_path / name) for name in ("daemon", "child")]
        agent.kill(0)
        assert not any(map(alive, doomed))
        assert all(map(alive, mine))
        assert [second.result()[0][0] for _ in range(2)] == [0, 1]
        bye(second)
        assert agent.keeper.expect("exited")["status"] == 0
        assert not any(map(alive, mine)), "they outlived a worker that ended in order"


def test_processes_that_replace_themselves_all_the_time(tmp_path):
    with Driver(tmp_path, script=TRICKS) as agent:
        worker = agent.ready()
        work(worker, ["multiply"] * 5)
        assert worker.result()[0][0] == 0
        mark = f"{INSTANCE_MARK}={agent.sockets}"
        agent.kill()
        seen = {pid for _ in range(20) for pid in marked(mark)}
        assert seen == {agent.keeper_pid}


def test_a_worker_that_blocks_in_c_is_killed(tmp_path):
    with Driver(tmp_path, script=TRICKS) as agent:
        worker = agent.ready()
        work(worker, ["block"])
        pid = number_in(tmp_path / "block")
        time.sleep(0.1)
        assert agent.kill(dump=True)["status"] == -signal.SIGKILL
        assert not alive(pid)


def test_the_end_of_the_supervisors_socket_ends_everything(tmp_path):
    with Driver(tmp_path, script=TRICKS) as agent:
        for number in range(2):
            worker = agent.ready(number)
        work(worker, ["ignore", "daemon", "bare", "executed", "multiply", "block"])
        pids = [number_in(tmp_path / name) for name in ("daemon", "bare", "executed", "block")]
        agent.keeper.socket.close()
        gone_within([*pids, agent.keeper_pid], 3)
        assert agent.instance.wait(3) == 0
        assert not agent.sockets.exists()


def test_a_keeper_that_is_killed_leaves_nothing_behind_for_long(tmp_path):
    with Driver(tmp_path, script=TRICKS) as agent:
        worker = agent.ready()
        work(worker, ["ignore", "daemon", "executed", "child", "block"])
        pids = [number_in(tmp_path / name) for name in ("daemon", "executed", "child", "block")]
        os.kill(agent.keeper_pid, signal.SIGKILL)
        assert agent.instance.wait(5) == -signal.SIGKILL
        gone_within(pids, 2)


def test_kill_of_an_instance_is_idempotent(tmp_path):
    with Driver(tmp_path, script=TRICKS) as agent:
        worker = agent.ready()
        work(worker, ["ignore", "daemon", "bare", "sleep"])
        pids = [number_in(tmp_path / name) for name in ("daemon", "bare", "sleep")]
        assert agent.instance.wait(0.01) is None
        agent.instance.kill()
        agent.instance.kill()
        assert not any(map(alive, [*pids, agent.keeper_pid]))


SUPERVISOR = """
import sys, time
from pathlib import Path
from tests.integration.agent_driver import Driver, work
from tests.integration.test_agent_kills import TRICKS

agent = Driver(Path(sys.argv[1]), script=TRICKS)
first, second = agent.ready(0), agent.ready(1)
work(first, ["ignore", "daemon", "executed", "child", "multiply", "sleep"])
work(second, ["ignore", "bare", "block"])
print(agent.sockets, flush=True)
time.sleep(1000)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_supervisor_that_is_killed_takes_everything_with_it(tmp_path, number):
    supervisor = subprocess.Popen([sys.executable, "-c", SUPERVISOR, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert supervisor.stdout is not None
    sockets = supervisor.stdout.readline().strip()
    names = ("daemon", "executed", "child", "bomb", "sleep", "bare", "block")
    pids = [number_in(tmp_path / name) for name in names]
    mark = f"{INSTANCE_MARK}={sockets}"
    assert marked(mark)
    supervisor.send_signal(number)
    supervisor.wait()
    supervisor.stdout.close()
    gone_within(pids, 5)
    began = time.monotonic()
    while left := marked(mark):
        assert time.monotonic() - began < 5, left
        time.sleep(0.02)
    assert not Path(sockets).exists()
