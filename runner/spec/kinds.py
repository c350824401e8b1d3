"""What a job or step was meant to be whose file does not say its `type`."""

from __future__ import annotations

from runner.errors import did_you_mean
from runner.spec import schema
from runner.spec.yaml_source import Node

# Keys that only this kind has.
_SIGNS = {
    "pipeline": ("jobs",),
    "parallel": tuple(key for key in schema.PARALLEL if key not in {*schema.COMMAND, *schema.PIPELINE}),
    "command": tuple(key for key in schema.COMMAND if key not in {*schema.PARALLEL, *schema.PIPELINE}),
}
_KNOWN = {*schema.PARALLEL, *schema.COMMAND, *schema.PIPELINE}
_OTHER_WORDS = {"steps": "jobs", "script": "command", "cmd": "command", "run": "command"}


def advice(node: Node) -> str:
    """What to write, or which key was misspelt."""
    for kind, of_kind in _SIGNS.items():
        if any(key in node.entries for key in of_kind):
            return f"write type: {kind}"
    signs = [sign for of_kind in _SIGNS.values() for sign in of_kind]
    for key in node.entries:
        if key not in _KNOWN and (guess := did_you_mean(_OTHER_WORDS.get(key, key), signs)):
            return f"{guess[:-1]} in the place of '{key}'?"
    return "write " + ", ".join(f"type: {kind}" for kind in _SIGNS)
