"""What a job or step was meant to be whose file does not say its `type`."""

from __future__ import annotations

from runner.errors import UserError, did_you_mean
from runner.spec import schema
from runner.spec.yaml_source import Node

# Keys that only this kind has.
_SIGNS = {
    "pipeline": ("jobs",),
    "parallel": tuple(key for key in schema.PARALLEL if key not in {*schema.COMMAND, *schema.PIPELINE}),
    "command": tuple(key for key in schema.COMMAND if key not in {*schema.PARALLEL, *schema.PIPELINE}),
}
# What a file describes that is no job, by the word of its `$schema`; and what to do with it.
_NO_JOBS = {
    "environment": ("an environment", "register it: runner environment create -f FILE"),
    "data": ("a data asset", "register it: runner data create -f FILE"),
    "model": ("a model", "register it: runner model create -f FILE"),
    "schedule": ("a schedule", "run its job with `runner job create -f FILE`; let cron or a timer repeat that"),
    "batchEndpoint": ("a batch endpoint", "it needs none: `runner batch invoke -f FILE --input PATH` runs the file of a deployment"),
    "compute": ("a compute", "describe it below `computes` in workspace.yml"),
    "amlCompute": ("a compute", "describe it below `computes` in workspace.yml"),
    "azureBlob": ("a datastore", "describe it below `datastores` in workspace.yml"),
    "managedOnlineEndpoint": ("an online endpoint", "online endpoints cannot run here"),
    "managedOnlineDeployment": ("an online deployment", "online endpoints cannot run here"),
}
_KNOWN = {*schema.PARALLEL, *schema.COMMAND, *schema.PIPELINE}
_OTHER_WORDS = {"steps": "jobs", "script": "command", "cmd": "command", "run": "command"}


def check_is_job(root: Node) -> None:
    """Errors: UserError for a file that says that it describes something else."""
    schema_of = root.get("$schema")
    word = schema_of.text.rpartition("/")[2].partition(".")[0] if schema_of else ""
    if schema_of and word in _NO_JOBS:
        what, todo = _NO_JOBS[word]
        raise UserError(f"this is {what}, not a job", place=schema_of.place, todo=todo)


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
