from __future__ import annotations

from runner.cli.options import Format
from runner.cli.show import print_job, print_table
from runner.workspace.records import JobRecord


def _record(**fields) -> JobRecord:
    return JobRecord(name="one", type="parallel", status="Failed", logs="/logs", **fields)


def test_a_long_cell_does_not_draw_a_long_line(capsys):
    print_table(("field", "value"), [("a", "x" * 300), ("b", "first\nsecond"), ("c", "")])
    head, rule, *rows = capsys.readouterr().out.splitlines()
    assert (head, len(rule)) == ("field  value", 107)
    assert rows == ["a      " + "x" * 300, "b      first …", "c"]


def test_zero_and_false_are_values(capsys):
    inputs = {"alpha": {"type": "number", "value": 0}, "flip": {"type": "boolean", "value": False}, "note": {"type": "string", "value": ""}}
    print_job(_record(inputs=inputs), Format.table)
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert rows["inputs.alpha.value"] == "0"
    assert rows["inputs.flip.value"] == "False"
    assert rows["progress.items.failed"] == "0"
    assert "inputs.note.value" not in rows
    assert "incomplete" not in rows


def test_cells_hold_no_control_characters(capsys):
    print_table(("a",), [("x\x1b[2Jy\nz",)])
    assert capsys.readouterr().out.splitlines()[-1] == "x\\x1b[2Jy …"
