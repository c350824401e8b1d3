"""Text as JSON writes it."""

from __future__ import annotations

from pathlib import Path

from runner.spec.yaml_source import parse_yaml


def test_a_character_that_json_writes_as_two() -> None:
    assert parse_yaml(r'{"display_name": "\ud83d\ude00"}', file="job.yml", base=Path()).plain() == {"display_name": "😀"}
