"""The agent in every Python from 3.7 on that this machine has, over the real socket."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.integration.agent_driver import Driver, bye, work

SUPPORTED = (3, 7)


@cache
def pythons() -> dict[str, str]:
    """One interpreter per version, "3.8" → its path: those on the path and those of pyenv. The running one stands for its version."""
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    folders += sorted((Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions").glob("*/bin"), reverse=True)
    found = {"{}.{}".format(*sys.version_info[:2]): sys.executable}
    readable = [folder for folder in folders if os.path.isdir(folder) and os.access(folder, os.R_OK | os.X_OK)]
    for path in [path for folder in readable for path in folder.glob("python3*") if re.fullmatch(r"python3(\.\d+)?", path.name)]:
        if version := version_of(str(path)):
            found.setdefault(version, str(path))
    return found


def version_of(path: str) -> str:
    """ "3.8", or nothing when it does not run (a shim of pyenv's may not) or is too old."""
    code = "import sys; print('%d.%d' % sys.version_info[:2] if sys.version_info >= (3, 7) else '')"
    done = subprocess.run([path, "-S", "-c", code], capture_output=True, text=True, timeout=30, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


@pytest.fixture(params=sorted(pythons(), key=lambda version: int(version.partition(".")[2])))
def python(request: pytest.FixtureRequest) -> str:
    return pythons()[request.param]


def test_a_command_in_the_place_of_a_script(tmp_path, python):
    """In its working copy, with its arguments, variables and logs; how it failed is told without a line of ours."""
    text = 'cat; pwd; printf "%s|" "$@"; echo "$GREETING"; echo to stderr >&2; test -e mended || exit 3'
    with Driver(tmp_path, python) as agent:
        worker = agent.ready(command=text, append_rows=False)
        work(worker, [])
        failed = worker.expect("failed")
        assert failed["error"] == {
            "kind": "command", "type": "", "message": "the command ended with status 3: to stderr", "traceback": "", "file": "", "line": 0,
            "item": "", "log": agent.config(0)["stderr"],
        }  # fmt: skip
        agent.write("mended", "")
        work(worker, [], first=1, seq=1)
        (index, items, returned, _), rows = worker.result()
        assert (index, items, returned, rows) == (1, 0, 0, b"")
        bye(worker)
    lines = f"{agent.code}\n--alpha|a b|hello\n"
    assert Path(agent.config(0)["stdout"]).read_text() == 2 * lines
    assert Path(agent.config(0)["stderr"]).read_text() == 2 * "to stderr\n"


def test_a_worker_from_hello_to_goodbye(tmp_path, python):
    script = """
        import logging, os, sys
        from azureml_user.parallel_run import EntryScript
        import helper

        def init():
            print(sys.argv[1:], os.getcwd() == sys.path[0] == os.path.dirname(__file__), os.environ["GREETING"], __name__)
            sys.stdout.write("no line end")
            logging.warning("to stderr")
            script = EntryScript()
            assert script is EntryScript() and script.output_dir and script.agent_name and script.config
            script.logger.info("initialised in %s", script.working_dir)
            script.logger.debug("too fine")

        def run(mini_batch):
            return [helper.name(path) for path in mini_batch]

        def shutdown():
            print(" shut down")
    """
    with Driver(tmp_path, python, script=script) as agent:
        agent.write("helper.py", "import os\ndef name(path): return os.path.basename(path)\n")
        worker = agent.ready()
        assert sys.version_info[:2] != version_of(python) or agent.hello["pandas"]
        work(worker, ["a", "ü"], ["/elsewhere/c"], first=7)
        (index, items, returned, nanoseconds), rows = worker.result()
        assert (index, items, returned, rows) == (7, 2, 2, "a\nü\n".encode())
        assert 0 < nanoseconds < 10**9
        assert worker.result()[1] == b"c\n"
        bye(worker)
        worker.expect("bye")
        assert agent.slot(0).running == 9
        assert agent.keeper.expect("exited") == {"t": "exited", "worker": 0, "status": 0, "stacks": "", "oom": False, "limit": 0}
        assert agent.text("stdout") == "['--alpha', 'a b'] True hello score\nno line end shut down\n"
        assert agent.text("stderr") == "WARNING:root:to stderr\n"
        assert re.fullmatch(rf".*\|INFO\|\d+\|initialised in {agent.code}\n", agent.text("log"))
        assert (tmp_path / "keeper.txt").read_text() == ""


def test_every_way_to_fail_fails_the_mini_batch_only(tmp_path, python):
    script = """
        import sys

        class Unprintable(Exception):
            def __str__(self): raise ValueError("no text")
            __repr__ = __str__

        def deep(n):
            return deep(n + 1)

        def inner(path):
            if "unprintable" in path: raise Unprintable(Unprintable())
            if "exit" in path: sys.exit(3)
            if "deep" in path: deep(0)
            if "memory" in path: raise MemoryError
            if "missing" in path: open(path)
            try:
                return {}["lost"]
            except KeyError as error:
                raise RuntimeError("bad pixel") from error

        def run(mini_batch):
            for path in mini_batch:
                if "fine" not in path:
                    inner(path)
            return mini_batch
    """
    names = ["chained", "unprintable", "exit", "deep", "memory", "missing", "fine"]
    with Driver(tmp_path, python, script=script) as agent:
        for name in names:
            if name != "missing":
                (tmp_path / name).touch()
        worker = agent.ready()
        work(worker, *[[name, "fine"] for name in names])
        errors = {}
        for index, name in enumerate(names[:-1]):
            failed = worker.expect("failed")
            assert (failed["index"], failed["items"]) == (index, 2)
            errors[name] = failed["error"]
        assert worker.result()[0][:3] == (6, 2, 2)
    chained = errors["chained"]
    assert {key: chained[key] for key in ("kind", "type", "message", "file", "item", "log")} == {
        "kind": "exception",
        "type": "RuntimeError",
        "message": "bad pixel",
        "file": "score.py",
        "item": "chained",
        "log": str(tmp_path / "process000.stderr.txt"),
    }
    lines = (tmp_path / "code" / "score.py").read_text().splitlines()
    assert "raise RuntimeError" in lines[chained["line"] - 1]
    assert "KeyError: 'lost'" in chained["traceback"]
    assert "direct cause" in chained["traceback"]
    assert "runner/worker" not in chained["traceback"]
    assert chained["traceback"].count('score.py", line') == 3
    assert (errors["unprintable"]["type"], errors["exit"]["type"]) == ("Unprintable", "SystemExit")
    assert errors["exit"]["message"] == "sys.exit(3) was called"
    assert (errors["deep"]["type"], errors["memory"]["type"]) == ("RecursionError", "MemoryError")
    assert len(errors["deep"]["traceback"]) < 50000
    assert (errors["missing"]["kind"], errors["missing"]["type"], errors["missing"]["item"]) == ("input", "FileNotFoundError", "missing")
    assert errors["missing"]["message"].endswith("(the input file is not there any more)")


def test_results_that_are_no_rows(tmp_path, python):
    script = """
        import os
        VALUES = {"none": None, "str": "abc", "dict": {}, "number": 1.5, "set": {1}, "tuple": (1, None), "generator": (i for i in range(3)),
                  "empty": [], "lines": ["a\\nb"], "bytes": ["\\udcff"], "unwritable": ["\\ud800"], "broken": (1 // 0 for _ in range(2))}
        def run(mini_batch):
            return VALUES[os.path.basename(mini_batch[0])]
    """
    names = ["none", "str", "dict", "number", "set", "unwritable", "broken"]
    with Driver(tmp_path, python, script=script) as agent:
        for name in names:
            (tmp_path / name).touch()
        worker = agent.ready()
        work(worker, *[[name] for name in names])
        errors = [worker.expect("failed")["error"] for _ in names]
        assert [error["kind"] for error in errors] == ["return_type"] * 6 + ["exception"]
        allowed = "a pandas DataFrame or Series, a list, a tuple, a numpy array, or a generator"
        assert errors[0]["message"] == f"run() returned None; allowed: {allowed}"
        assert [error["message"].split(";")[0].split()[-1] for error in errors[1:5]] == ["str", "dict", "float", "set"]
        assert r"\ud800" in errors[5]["message"]
        assert errors[6]["type"] == "ZeroDivisionError"
        work(worker, ["tuple"], ["generator"], ["empty"], ["bytes"], first=10)
        assert [worker.result()[1] for _ in range(4)] == [b"1\nNone\n", b"0\n1\n2\n", b"", b"\xff\n"]
        work(worker, ["lines"], ["lines"], first=20)
        assert "line break" in worker.expect("warning")["text"]
        assert [worker.result()[1] for _ in range(2)] == [b"a\nb\n"] * 2  # warned of once


@pytest.mark.parametrize(
    ("script", "kind", "message", "line"),
    [
        ("def run(b):\n    return b\nif True print(1)\n", "SyntaxError", "invalid syntax", 3),
        ("import no_such_module\n", "ModuleNotFoundError", "no_such_module", 1),
        ("def process(b):\n    return b\n", "EntryScriptError", "no function `run`", 0),
        ("def run(a, b, c):\n    return b\n", "EntryScriptError", "(a, b, c)", 0),
        ("def run(b):\n    return b\ndef init():\n    raise OSError('no model')\n", "OSError", "no model", 4),
        ("import sys\ndef init():\n    sys.exit()\ndef run(b):\n    return b\n", "SystemExit", "sys.exit() was called", 3),
    ],
)
def test_scripts_that_cannot_start(tmp_path, python, script, kind, message, line):
    with Driver(tmp_path, python, script=script) as agent:
        worker = agent.start()
        error = worker.expect("init_failed")["error"]
        assert (error["kind"], error["type"], error["line"]) == ("init", kind, line)
        assert message in error["message"]
        assert error["file"] == ("score.py" if line else "")
        assert "runner/worker" not in error["traceback"]
        assert agent.keeper.expect("exited")["status"] == 1


def test_what_is_taken_back_is_not_started(tmp_path, python):
    script = f"""
        import os, time
        def run(b):
            while not os.path.exists({str(tmp_path / "taken")!r}):
                time.sleep(0.01)
            return b
    """
    with Driver(tmp_path, python, script=script) as agent:
        worker = agent.ready()
        work(worker, ["a"], ["b"], ["c"])
        work(worker, ["d"], ["e"], first=3)
        while not agent.slot(0).running:
            pass
        agent.slot(0).limit = 1
        (tmp_path / "taken").touch()
        assert worker.result()[0][0] == 0
        assert worker.expect("unstarted") == {"t": "unstarted", "index": 1, "seq": 1, "count": 2}
        assert worker.expect("unstarted") == {"t": "unstarted", "index": 3, "seq": 3, "count": 2}
        agent.slot(0).limit = 2**63
        work(worker, ["c"], first=2, seq=5)
        assert worker.result()[0][0] == 2


def test_user_code_may_start_threads_and_processes(tmp_path, python):
    script = """
        import multiprocessing, os, subprocess, sys, threading
        from azureml_user.parallel_run import EntryScript

        def square(n):
            return n * n, EntryScript().agent_name

        def run(mini_batch):
            kind = os.path.basename(mini_batch[0])
            if kind in ("fork", "spawn"):
                with multiprocessing.get_context(kind).Pool(2) as pool:
                    return pool.map(square, range(3))
            if kind == "thread":
                seen = []
                thread = threading.Thread(target=lambda: seen.append("seen"))
                thread.start()
                thread.join()
                return seen
            if kind == "child":
                subprocess.check_call(["sh", "-c", "echo from a child; echo oops >&2"])
                os.write(1, b"from C\\n")
                return ["done"]
            child = os.fork()  # returns in both: the child must not speak for the worker
            if child:
                os.waitpid(child, 0)
            return [str(bool(child))]
    """
    with Driver(tmp_path, python, script=script) as agent:
        worker = agent.ready()
        work(worker, ["fork"], ["spawn"], ["thread"], ["child"], ["return"], ["thread"])
        squares = b"(0, 'node_0-process000')\n(1, 'node_0-process000')\n(4, 'node_0-process000')\n"
        assert [worker.result()[1] for _ in range(6)] == [squares, squares, b"seen\n", b"done\n", b"True\n", b"seen\n"]
        bye(worker)
        worker.expect("bye")
        assert agent.keeper.expect("exited")["status"] == 0
        assert agent.text("stdout") == "from a child\nfrom C\n"
        assert "oops" in agent.stderr()


def test_modules_named_like_the_agents_are_the_users(tmp_path, python):
    names = ["protocol", "rows", "agent", "keeper", "loop", "channel"]
    script = f"import {', '.join(names)}\ndef run(b):\n    return [{', '.join(name + '.X' for name in names)}]\n"
    with Driver(tmp_path, python, script=script) as agent:
        for name in names:
            agent.write(f"{name}.py", f"X = 'my {name}'\n")
        worker = agent.ready()
        work(worker, ["a"])
        assert worker.result()[1] == b"my protocol\nmy rows\nmy agent\nmy keeper\nmy loop\nmy channel\n"


def test_a_stuck_worker_shows_its_stacks_before_it_dies(tmp_path, python):
    script = "import time\ndef wait():\n    time.sleep(100)  # here\ndef run(b):\n    wait()\n"
    with Driver(tmp_path, python, script=script) as agent:
        worker = agent.ready()
        work(worker, ["a"])
        while not agent.slot(0).running:
            pass
        exited = agent.kill(dump=True)
        assert exited["status"] == -signal.SIGTERM
        assert f'File "{agent.code}/score.py", line 3 in wait' in exited["stacks"]


@pytest.mark.parametrize(
    ("do", "status"), [("os._exit(3)", 3), ("os.kill(os.getpid(), 9)", -9), ("import ctypes; ctypes.string_at(0)", -signal.SIGSEGV)]
)
def test_results_before_a_crash_are_there(tmp_path, python, do, status):
    script = f"import os\ndef run(b):\n    if 'bad' in b[0]:\n        print('last words')\n        {do}\n    return b\n"
    with Driver(tmp_path, python, script=script) as agent:
        worker = agent.ready()
        work(worker, ["a"], ["b"], ["bad"], ["c"])
        exited = agent.keeper.expect("exited")
        assert exited["status"] == status
        assert [worker.result()[0][0] for _ in range(2)] == [0, 1]
        with pytest.raises((EOFError, ConnectionResetError)):
            worker.next()
        assert agent.slot(0).running == 3
        assert agent.text("stdout") == "last words\n"
        if status == -signal.SIGSEGV:
            assert 'score.py", line 5 in run' in agent.stderr()
