"""What is shown of a command before it runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.model.job import JobInput, JobOutput, Step
from runner.pipeline.options import RunOptions
from runner.pipeline.plan import plan_job
from runner.spec.command_text import with_values


@pytest.mark.parametrize(
    ("text", "values", "shown"),
    [
        ("ls", (), "ls"),
        ('RUNNER_1=${1}; set --; ls "${RUNNER_1}"', ("/a b",), "ls '/a b'"),
        ('RUNNER_1=${1}; set --; echo "in ${RUNNER_1}" "${RUNNER_1}"', ("x",), 'echo "in x" x'),
        (
            "; ".join([" ".join(f"RUNNER_{n}=${{{n}}}" for n in range(1, 12)), "set --", '"${RUNNER_1}" "${RUNNER_11}"']),
            tuple("abcdefghijk"),
            "a k",
        ),
    ],
)
def test_a_command_is_shown_as_somebody_would_have_written_it(text: str, values: tuple[str, ...], shown: str) -> None:
    assert with_values(text, values) == shown


def test_the_plan_of_a_command(tmp_path: Path) -> None:
    step = Step(
        name="job",
        command='RUNNER_1=${1}; set --; echo "${RUNNER_1}"',
        program_arguments=("a b",),
        inputs={
            "word": JobInput(type="string", value="a b"),
            "data": JobInput(type="uri_folder", path="/d"),
            "none": JobInput(type="integer", optional_unset=True),
        },
        outputs={"out": JobOutput(type="uri_folder", path="/o")},
    )
    (plan,) = plan_job(step, RunOptions(cache=tmp_path))
    assert (plan.command, plan.input, plan.output) == ("echo 'a b'", "word: 'a b', data: /d", "out: /o")
    assert (plan.instances, plan.workers) == (1, 1)
