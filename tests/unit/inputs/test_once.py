"""What a command works on."""

from __future__ import annotations

from pathlib import Path

from runner.inputs.once import LINE
from runner.inputs.source import open_source
from runner.model.job import Step
from runner.worker.batches import FileBatches, parse


def test_a_command_is_one_mini_batch_and_no_file(tmp_path: Path) -> None:
    source = open_source(Step(name="job", command="true"), scratch=tmp_path, warn=print)
    (chunk,) = source.chunks(iter(()))
    assert chunk.lines == [LINE]
    assert (chunk.items, chunk.bytes, source.loader) == (0, 0, None)
    (line,) = parse(LINE)
    assert FileBatches("").load(line) == ([], 0)


def test_it_stays_one_when_the_job_goes_on(tmp_path: Path) -> None:
    source = open_source(Step(name="job", command="true"), scratch=tmp_path, warn=print)
    assert list(source.chunks(iter([LINE]))) == []
