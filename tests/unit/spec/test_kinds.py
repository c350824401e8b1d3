from pathlib import Path

import pytest

from runner.spec.kinds import advice
from runner.spec.yaml_source import read_yaml


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("comand: echo", "did you mean 'command' in the place of 'comand'?"),
        ("script: ls", "did you mean 'command' in the place of 'script'?"),
        ("steps: {a: {}}", "did you mean 'jobs' in the place of 'steps'?"),
        ("jbos: {a: {}}", "did you mean 'jobs' in the place of 'jbos'?"),
        ("tsk: {code: .}", "did you mean 'task' in the place of 'tsk'?"),
        ("jobs: {a: {}}", "write type: pipeline"),
        ("task: {}", "write type: parallel"),
        ("mini_batch_size: 3", "write type: parallel"),
        ("limits: {timeout: 3}", "write type: command"),
        ("environment_variables: {A: 1}", "write type: pipeline, type: parallel, type: command"),
    ],
)
def test_what_was_meant(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "job.yml").write_text(text)
    assert advice(read_yaml(tmp_path / "job.yml")) == says
