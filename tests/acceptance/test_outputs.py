"""Rows and output folders: what stands in them, how, and when."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.jobs import NAMES, Lab

FRAMES = """
import os
import pandas

def run(mini_batch):
    numbers = [int(os.path.basename(path)[1:6]) for path in mini_batch]
    return pandas.DataFrame({"number": numbers, "half": [n / 2 for n in numbers], "text": ["n %d" % n for n in numbers]})
"""


@pytest.fixture
def lab(tmp_path: Path, anywhere: Callable[[Path], Lab]) -> Lab:
    lab = anywhere(tmp_path)
    lab.script(FRAMES)
    return lab


def settings(lab: Lab, **to_csv: Any) -> None:
    text = json.dumps({"append_row": {"pandas.DataFrame.to_csv": to_csv}})
    (lab.folder / "code" / "parallel_run_step.settings.json").write_text(text)


def score(lab: Lab, name: str = "job", **keys: Any) -> str:
    lab.job(**keys)
    done = lab.score(name=name)
    assert done.status == 0, done.stderr
    return lab.rows.read_text() if lab.rows.exists() else ""


@pytest.mark.image("pandas")
def test_frames_settings_and_one_header(lab: Lab) -> None:
    """With failures and several instances the header still stands once, at the top."""
    lab.files(9)
    expected = [f'{n} {n / 2} "n {n}"\n' for n in range(9)]
    assert score(lab, mini_batch_size=2) == "".join(expected)
    asked = {"task": {"program_arguments": "--append_row_dataframe_header True"}}
    assert score(lab, "header", resources={"instance_count": 2}, **asked) == "number half text\n" + "".join(expected)
    settings(lab, sep=",", header=True, float_format="%.2f", columns=["text", "half"])
    assert score(lab, "settings", mini_batch_size=4) == "text,half\n" + "".join(f"n {n},{n / 2:.2f}\n" for n in range(9))
    lab.script(FRAMES.replace("    return", "    if 0 in numbers: raise ValueError('the first one')\n    return"))
    text = score(lab, "first-fails", retry_settings={"max_retries": 1})
    assert text == "text,half\n" + "".join(f"n {n},{n / 2:.2f}\n" for n in range(1, 9))


@pytest.mark.parametrize(
    ("text", "says"),
    [("{", "JSON"), ('{"append_row": []}', "append_row"), ('{"append_row": {"pandas.DataFrame.to_csv": {"mode": "a"}}}', "mode")],
)
def test_a_settings_file_that_cannot_be_meant(lab: Lab, text: str, says: str) -> None:
    lab.files(1)
    (lab.folder / "code" / "parallel_run_step.settings.json").write_text(text)
    lab.job()
    for words in (["validate"], ["create", "--stream"]):
        done = lab.run("job", *words, "-f", "job.yml", "--local")
        assert done.status == 2
        assert says in done.stderr
        assert "parallel_run_step.settings.json" in done.stderr
        assert "Traceback" not in done.stderr
    assert not lab.rows.exists()


def test_a_folder_gets_the_usual_name(lab: Lab) -> None:
    lab.files(3)
    lab.script(NAMES)
    lab.job(outputs={"rows": {"type": "uri_folder", "path": "out"}, "unnamed": {"type": "uri_folder"}})
    done = lab.score()
    assert done.status == 0, done.stderr
    assert (lab.folder / "out" / "parallel_run_step.txt").read_text() == "f00000.txt\nf00001.txt\nf00002.txt\n"
    assert [path.name for path in (lab.folder / "out").iterdir()] == ["parallel_run_step.txt"]
    default = Path(done.job["outputs"]["unnamed"]["path"])
    assert default == lab.datastore / "azureml" / "job" / "unnamed"
    assert default.is_dir()


def test_without_append_row_to_there_is_only_a_summary(lab: Lab) -> None:
    lab.files(3)
    lab.script("def run(mini_batch):\n    return [object()]\n")
    lab.job(task={"append_row_to": None}, outputs=None, error_threshold=0)
    done = lab.score()
    assert done.status == 0, done.stderr
    assert done.counts == (3, 3, 0)
    assert not (lab.folder / "out").exists()
    plan = lab.run("job", "validate", "-f", "job.yml", "--local")
    assert "summary only" in plan.stdout


@pytest.mark.image("pandas")
@pytest.mark.parametrize("header", [False, True])
def test_rows_in_a_table_can_be_loaded(lab: Lab, header: bool) -> None:
    """By the next job, and by the mltable package where it is."""
    lab.files(5)
    settings(lab, sep=",", header=header)
    lab.job(mini_batch_size=2, outputs={"rows": {"type": "mltable", "path": "out"}})
    done = lab.score()
    assert done.status == 0, done.stderr
    names = ["number", "half", "text"] if header else ["Column1", "Column2", "Column3"]
    lab.script("def run(b):\n    return [list(b.columns), len(b)]\n")
    again = {"inputs": {"data": {"type": "mltable", "path": "out"}}, "outputs": {"rows": {"type": "uri_file", "path": "again.txt"}}}
    lab.job(mini_batch_size="1mb", **again)
    assert lab.score(name="again").status == 0
    assert (lab.folder / "again.txt").read_text() == f"{names}\n5\n"
    if importlib.util.find_spec("mltable"):
        import mltable

        frame = mltable.load(str(lab.folder / "out")).to_pandas_dataframe()
        assert list(frame.columns) == names
        assert frame.iloc[:, 2].tolist() == [f"n {n}" for n in range(5)]


LOOK = """
import os
from ledger import note

def run(mini_batch):
    rows = os.environ["ROWS"]
    seen = sorted(name for name in os.listdir(os.path.dirname(rows)) if not name.startswith("."))
    note("%s %s" % (open(rows).read().strip(), seen))
    if "FAIL" in os.environ:
        raise ValueError("x")
    return [os.path.basename(mini_batch[0])]
"""


@pytest.mark.not_in_blob("the script looks at the folder of the output: test_outputs_in_blob.py")
def test_an_existing_output_is_replaced_at_the_end_only(lab: Lab) -> None:
    lab.files(4)
    lab.rows.parent.mkdir()
    lab.rows.write_text("of last week\n")
    (lab.rows.parent / "another.txt").write_text("not ours\n")
    (lab.rows.parent / "rows.txt.1").write_text("not ours\n")
    lab.script(LOOK)
    variables = {"ROWS": str(lab.rows), "LEDGER": str(lab.ledger_file)}
    lab.job(environment_variables={**variables, "FAIL": "1"})
    assert lab.score(name="fails").status == 1
    assert lab.rows.read_text() == "of last week\n"
    assert score(lab, environment_variables=variables) == "".join(f"f{n:05d}.txt\n" for n in range(4))
    assert set(lab.ledger) == {"of last week ['another.txt', 'rows.txt', 'rows.txt.1']"}  # nothing half-written beside it either
    assert sorted(path.name for path in lab.rows.parent.iterdir()) == ["another.txt", "rows.txt", "rows.txt.1"]


WRITE = """
import os, sys
from ledger import meet

def init():
    assert os.path.isdir(sys.argv[1]) and sys.argv[1] == os.environ["AZURE_ML_OUTPUT_side"]

def run(mini_batch):
    meet(2)
    name = os.path.basename(mini_batch[0])
    os.makedirs(os.path.join(sys.argv[1], "deep"), exist_ok=True)
    with open(os.path.join(sys.argv[1], "deep", name), "w") as file:
        file.write(name)
    with open(os.path.join(sys.argv[1], "same.txt"), "a") as file:
        file.write(name)
    return [sys.argv[1]]
"""


@pytest.mark.on_cluster
@pytest.mark.in_blob
def test_files_that_scripts_write(lab: Lab) -> None:
    """Two instances have a folder each while they run; in the end all files are in the one."""
    lab.files(12)
    lab.script(WRITE)
    outputs = {"rows": {"type": "uri_file", "path": "out/rows.txt"}, "side": {"type": "uri_folder", "path": "side"}}
    lab.job(
        outputs=outputs, resources={"instance_count": 2}, max_concurrency_per_instance=1, task={"program_arguments": "${{outputs.side}}"}
    )
    done = lab.score()
    assert done.status == 0, done.stderr
    places = set(lab.rows.read_text().splitlines())
    assert len(places) == 2
    assert str(lab.folder / "side") not in places
    assert sorted(path.name for path in (lab.folder / "side" / "deep").iterdir()) == [f"f{n:05d}.txt" for n in range(12)]
    if lab.has_blobs:  # each uploads its own, and nobody looks at those of others
        return
    assert "node_0" in done.stderr
    assert "node_1" in done.stderr
    assert "same.txt" in done.stderr  # one of the two was kept, and the warning names both


TROUBLE = """
import os, random

def run(mini_batch):
    names = [os.path.basename(path) for path in mini_batch]
    mark = os.environ["MARK"] + "." + names[0]
    if os.environ["TROUBLE"] == "yes" and names[0][5] == "4" and not os.path.exists(mark):
        open(mark, "w").close()
        os._exit(1) if names[0][4] in "0123" else 1 / 0
    return [name + " ü" for name in names] * random.Random(names[0]).randrange(4)
"""


@pytest.mark.on_cluster
@pytest.mark.in_blob
def test_the_same_bytes_whatever_happens(lab: Lab) -> None:
    """1, 2 and 8 workers, two instances, failures that are mended by trying again, and workers that die."""
    lab.files(120)
    lab.script(TROUBLE)
    found = {}
    for workers, instances, trouble in ((1, 1, "no"), (2, 1, "yes"), (8, 1, "no"), (2, 2, "yes")):
        name = f"w{workers}-{instances}-{trouble}"
        variables = {"TROUBLE": trouble, "MARK": str(lab.ledger_file.parent / name)}
        keys = {"max_concurrency_per_instance": workers, "resources": {"instance_count": instances}}
        found[name] = score(lab, name, mini_batch_size=2, environment_variables=variables, **keys)
        if trouble == "yes":
            assert len(list(lab.ledger_file.parent.glob(name + ".*"))) == 12
    assert len(set(found.values())) == 1
    lines = next(iter(found.values())).splitlines()
    assert len(lines) > 100
    assert [line for index, line in enumerate(lines) if line not in lines[:index]] == sorted(set(lines))
