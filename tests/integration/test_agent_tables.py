"""Tables on their way through a worker: Arrow or CSV in, rows of CSV out."""

from __future__ import annotations

import pstats
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pytest

from tests.integration.agent_driver import Driver, bye, number_in, work

SCRIPT = """
    import sys
    import numpy, pandas
    LOADED = "pyarrow" in sys.modules

    def run(mini_batch, mini_batch_context):
        assert LOADED and isinstance(mini_batch, pandas.DataFrame) and list(mini_batch.index) == list(range(len(mini_batch)))
        what = mini_batch_context.minibatch_index
        mini_batch["x"] += 1  # a user may change it
        again = mini_batch_context.dataset.to_pandas_dataframe()
        assert list(again["x"] + 1) == list(mini_batch["x"]), "the dataset shows the rows afresh"
        return {
            "0": mini_batch,
            "1": mini_batch["x"],
            "2": numpy.arange(3, dtype="float32") / 10,
            "3": numpy.zeros((2, 30)),
            "4": [mini_batch_context.partition_key_value, mini_batch_context.dataset.paths],
            "5": mini_batch.rename(columns={"x": "y"}),
            "6": mini_batch.iloc[:0],
        }[what]
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Two record batches: x = 0.5, 1.5 and x = 2.5; a column of texts with a missing one."""
    path = tmp_path / "table.arrow"
    schema = pa.schema([("x", pa.float64()), ("name", pa.string())])
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        writer.write_batch(pa.record_batch([pa.array([0.5, 1.5]), pa.array(["a b", None])], schema=schema))
        writer.write_batch(pa.record_batch([pa.array([2.5]), pa.array(["c"])], schema=schema))
    return path


def lines(table: Path, *batches: int) -> list[dict[str, object]]:
    return [{"table": str(table), "batch": batch, "rows": 2 - batch, "keys": {"k": "v"}, "dataset": ["/data/t.csv"]} for batch in batches]


def test_arrow_in_and_rows_out(tmp_path, table):
    with Driver(tmp_path, script=SCRIPT) as agent:
        worker = agent.ready(kind="table", header=True)
        work(worker, *lines(table, 0, 1, 0, 0, 1, 0, 0))
        assert worker.expect("header") == {"t": "header", "index": 0, "text": "x name\n"}
        (index, items, returned, _), rows = worker.result()
        assert (index, items, returned, rows) == (0, 2, 2, b'1.5 "a b"\n2.5 \n')
        assert worker.result()[1] == b"3.5\n"
        assert worker.result()[1] == b"0.0\n0.1\n0.2\n"
        zeros = "[" + " ".join(["0."] * 30) + "]\n"
        assert worker.result()[1] == (zeros * 2).encode()
        assert worker.result()[1] == b"{'k': 'v'}\n['/data/t.csv']\n"
        assert worker.expect("header") == {"t": "header", "index": 5, "text": "y name\n"}
        assert worker.result()[0][1:3] == (2, 2)
        assert worker.expect("header")["text"] == "x name\n"
        assert worker.result()[0][1:3] == (2, 0)


def test_what_was_imported_before_the_script_is_frozen(tmp_path, table):
    script = "import gc\nFROZEN = gc.get_freeze_count()\ndef run(b):\n    return [FROZEN > 10_000]\n"
    with Driver(tmp_path, script=script) as agent:
        worker = agent.ready(kind="table")
        work(worker, *lines(table, 0))
        assert worker.result()[1] == b"True\n"


def test_settings_of_to_csv(tmp_path, table):
    with Driver(tmp_path, script="def run(b):\n    return b\n") as agent:
        worker = agent.ready(kind="table", to_csv={"sep": ",", "header": False, "index": True, "na_rep": "-", "float_format": "%.2f"})
        work(worker, *lines(table, 0))
        assert worker.result()[1] == b"0,0.50,a b\n1,1.50,-\n"


def test_rows_that_are_only_counted(tmp_path, table):
    with Driver(tmp_path, script=SCRIPT) as agent:
        worker = agent.ready(kind="table", append_rows=False)
        work(worker, *lines(table, 0, 1, 0))
        results = [worker.result() for _ in range(3)]
        assert [(result[0][2], result[1]) for result in results] == [(2, b""), (1, b""), (3, b"")]


def test_csv_where_there_is_no_pyarrow(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text('x,n,name,when\n0.5,1,a,2020-01-02 03:04:05\n,,"",\n2.5,3,\\N,2021-01-01 00:00:00.5\n')
    script = """
        import pandas
        def run(b):
            return [str(list(map(str, b.dtypes)))] + [str([None if pandas.isna(v) else str(v) for v in row]) for row in b.values]
    """
    dtypes = {"x": "float64", "n": "Int64", "name": "object", "when": "datetime64[ns]"}
    line = {"csv": str(path), "dtypes": dtypes, "rows": 3, "keys": None, "dataset": []}
    with Driver(tmp_path, script=script) as agent:
        worker = agent.ready(kind="table")
        work(worker, line)
        rows = worker.result()[1].decode().splitlines()
        assert "datetime64[ns]" in rows[0]
        assert rows[1:] == [
            "['0.5', '1', 'a', '2020-01-02 03:04:05']",
            "[None, None, '', None]",
            "['2.5', '3', None, '2021-01-01 00:00:00.500000']",
        ]


def test_a_table_that_cannot_be_read_is_the_inputs_fault(tmp_path, table):
    with Driver(tmp_path, script="def run(b):\n    return b\n") as agent:
        worker = agent.ready(kind="table")
        work(worker, {"table": str(tmp_path / "gone.arrow"), "batch": 0, "rows": 7}, *lines(table, 1))
        failed = worker.expect("failed")
        assert (failed["items"], failed["ns"], failed["error"]["kind"]) == (7, 0, "input")
        assert worker.result()[0][0] == 1


def test_both_readers_are_loaded_only_where_tables_are_read(tmp_path):
    script = "import sys\ndef run(b):\n    return [str('pandas' in sys.modules), str('pyarrow' in sys.modules)]\n"
    with Driver(tmp_path, script=script) as agent:
        worker = agent.ready()
        work(worker, ["a"])
        assert worker.result()[1] == b"False\nFalse\n"


def test_the_profile_shows_the_users_functions(tmp_path):
    script = "def slow(): return sum(range(1000))\ndef run(b):\n    return (slow() for _ in b)\n"
    profile = tmp_path / "deep" / "process000.profile"
    with Driver(tmp_path, script=script) as agent:
        worker = agent.ready(profile=str(profile))
        work(worker, ["a", "b"])
        assert worker.result()[0][2] == 2
        bye(worker)
        worker.expect("bye")
    calls = {name: stats[0] for (_, _, name), stats in pstats.Stats(str(profile)).stats.items()}  # type: ignore[attr-defined]
    assert (calls["run"], calls["slow"]) == (1, 2)


def test_shutdown_that_raises_is_told_of(tmp_path):
    with Driver(tmp_path, script="def run(b):\n    return b\ndef shutdown():\n    raise OSError('full')\n") as agent:
        worker = agent.ready()
        bye(worker)
        assert worker.expect("warning")["text"] == "shutdown() raised OSError: full (score.py:4)"
        worker.expect("bye")
        assert agent.keeper.expect("exited")["status"] == 0
        assert "OSError: full" in agent.stderr()


def test_logs_keep_their_head_and_their_tail(tmp_path):
    script = """
        import os, subprocess, sys
        from azureml_user.parallel_run import EntryScript
        def run(b):
            for number in range(20000):
                print("line", number)
                EntryScript().logger.info("entry %d", number)
            os.write(2, b"no line end" * 3000)
            subprocess.Popen(["sh", "-c", "exec setsid env -i sleep 5"])  # holds stdout open when the worker is gone
            return b
    """
    with Driver(tmp_path, script=script) as agent:
        worker = agent.ready(log_cap=10000)
        work(worker, ["a"])
        worker.result()
        bye(worker)
        worker.expect("bye")
        agent.keeper.expect("exited")
        ends = {"stdout": ("line 0\n", "line 19999\n"), "log": ("entry 0\n", "entry 19999\n"), "stderr": ("no line", "no line end")}
        for stream, (first, last) in ends.items():
            text = agent.text(stream)
            assert first in text[:100]
            assert text.endswith(last)
            assert len(text) <= 10000
            assert text.count("bytes left out here") == 1
        stdout = agent.text("stdout").splitlines()
        gap = next(index for index, line in enumerate(stdout) if "left out" in line)
        left_out = int(stdout[gap].split()[1])
        written = sum(len(f"line {number}\n") for number in range(20000))
        assert len(agent.text("stdout")) - len(stdout[gap]) - 2 + left_out == written


def test_a_folder_whose_path_is_too_long_for_a_socket(tmp_path):
    sockets = Path(tempfile.mkdtemp(prefix="agent-test-" + "x" * 150))
    with Driver(tmp_path, script="def run(b):\n    return b\n", sockets=sockets) as agent:
        worker = agent.ready()
        work(worker, ["a"])
        assert worker.result()[0][0] == 0


def test_entry_script_in_a_folder_below_and_names_of_pythons_own(tmp_path):
    with Driver(tmp_path) as agent:
        agent.write("steps/json.py", "import beside, top\ndef run(b):\n    return [__name__, beside.X, top.X]\n")
        agent.write("steps/beside.py", "X = 1\n")
        agent.write("top.py", "X = 2\n")
        worker = agent.ready(entry_script="steps/json.py")
        work(worker, ["a"])
        assert worker.result()[1] == b"entry_script_json\n1\n2\n"


def test_azureml_user_on_a_laptop(tmp_path):
    importable = Path(__file__).resolve().parents[2] / "runner" / "worker" / "importable"
    code = (
        "import os\nfrom azureml_user.parallel_run import EntryScript\ne = EntryScript()\ne.logger.info('seen')\n"
        "assert e.working_dir == e.log_dir == e.output_dir == os.getcwd() and e.agent_name == 'local' and e.config == {}\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(importable)},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stderr.endswith("|seen\n")


def text_line(path: Path, start: int, end: int) -> dict[str, object]:
    options = {"names": ["n", "word"], "types": ["int64", "string"], "delimiter": ",", "empty_as_string": False}
    return {"delimited": str(path), "range": [start, end], "keys": None, "dataset": [str(path)], **options}


def test_slices_of_text_are_read_or_given_back(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('1,a\n2,\n3,"b"\n4,c\noops,d\n')
    script = """
        def run(b):
            if b["n"][0] == 4:
                raise ValueError("four")
            return b
    """
    with Driver(tmp_path, script=script) as agent:
        worker = agent.ready(kind="table")
        slices = ((0, 7), (7, 13), (13, 17), (17, 24), (17, 99), (0, 4))
        work(worker, *[text_line(path, *ends) for ends in slices], text_line(tmp_path / "gone.csv", 0, 4), first=10, seq=0)
        assert worker.result()[0][:3] == (10, 2, 2)
        assert worker.expect("not_plain") == {"t": "not_plain", "index": 11}  # a quote
        failed = worker.expect("failed")
        assert (failed["index"], failed["items"], failed["error"]["message"]) == (12, 1, "four")
        assert [worker.expect("not_plain")["index"] for _ in range(2)] == [13, 14]  # no number; beyond the file's end
        assert worker.result()[0][:2] == (15, 1)
        assert worker.expect("not_plain")["index"] == 16
        assert agent.slot(0).running == 7


def test_the_supervisor_sees_how_many_rows_are_being_worked_on(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("1,a\n2,b\n3,c\n")
    with Driver(tmp_path, script="import os\ndef run(b):\n    os._exit(3)\n") as agent:
        worker = agent.ready(kind="table")
        work(worker, text_line(path, 0, 12))
        assert agent.keeper.expect("exited")["status"] == 3
        assert (agent.slot(0).running, agent.slot(0).items) == (1, 3)


def test_what_was_taken_back_while_it_was_read_is_not_given_back_twice(tmp_path):
    """Whatever reading it would have come to."""
    path = tmp_path / "t.csv"
    path.write_text("1,a\n")
    # A pipe would hold the agent while it opens it, but whoever saw that it is there would have let it go on.
    script = f"""
        import os, time
        def pread(*_):
            with open({str(tmp_path / "reading")!r}, "w") as file:
                file.write(str(os.getpid()))
            while not os.path.exists({str(tmp_path / "taken")!r}):
                time.sleep(0.01)
            raise OSError("it cannot be read")
        os.pread = pread
        def run(b):
            return b
    """
    with Driver(tmp_path, script=script) as agent:
        worker = agent.ready(kind="table")
        work(worker, text_line(path, 0, 4))
        number_in(tmp_path / "reading")
        agent.slot(0).limit = 0
        (tmp_path / "taken").touch()
        assert worker.expect("unstarted") == {"t": "unstarted", "index": 0, "seq": 0, "count": 1}
        assert agent.slot(0).running == 1
