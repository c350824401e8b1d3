"""What the result of a step depends on, as one text: steps with equal ones have equal results (`is_deterministic`)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from runner.launch.conda_file import read_conda
from runner.launch.image_way import pip_part
from runner.launch.python_env import base_python, hash_path
from runner.launch.pythons import named, running
from runner.model.job import Environment, JobInput, Step
from runner.pipeline.content import Contents
from runner.pipeline.options import RunOptions
from runner.pipeline.site import in_container, on_cluster
from runner.pipeline.variables import replace_path
from runner.storage import addresses
from runner.workspace.code import signature_of

FORM = 1  # raised when results come about in another way than before

# Every field of a Step stands in one of these: it counts as it is, it counts in a way of its own (below), or it does not.
COUNTED = (
    *("entry_script", "command", "input_data", "append_row_to", "mini_batch_size", "mini_batch_size_has_unit", "partition_keys"),
    *("mini_batch_error_threshold", "error_threshold"),
)
COUNTED_OTHERWISE = {
    "code": "the snapshot: names, modes and contents of its files",
    "program_arguments": "with the names of inputs and outputs in the place of their paths, without FOR_THE_RUN",
    "environment_variables": "likewise",
    "model": "its content",
    "environment": "the image by its id or else its name; what a build or a conda file holds and names; the interpreter",
    "inputs": "types, modes, values; data by content, a file with its name",
    "outputs": "names, types and modes, not paths",
    "resources": "docker_args",
    "arguments": "allowed_failed_percent, append_row_dataframe_header",
}
NOT_COUNTED = (
    *("name", "step", "display_name", "experiment_name", "description", "tags", "properties", "notices"),
    *("compute", "max_concurrency_per_instance", "retry", "logging_level", "identity", "is_deterministic"),
)
# Predefined arguments with these names say how the step is run; scripts get them, too, but what they make does not come from them.
FOR_THE_RUN = (
    *("task_overhead_timeout", "progress_update_timeout", "first_task_creation_timeout", "resource_monitor_interval"),
    *("copy_logs_to_parent", "push_metrics_to_parent", "metrics_name_prefix", "profiling_module"),
)

Facts = Mapping[str, object]


def facts_of(step: Step, code: Path, contents: Contents, options: RunOptions) -> Facts:
    """What counts, as plain values. `code`: the snapshot. Errors: OSError, and those of `Contents`."""
    places = {one.path: f"<input {name}>" for name, one in step.inputs.items() if one.path}
    places |= {one.path: f"<output {name}>" for name, one in step.outputs.items()}
    return {
        "form": FORM,
        **{name: getattr(step, name) for name in COUNTED},
        "code": signature_of(code),
        "program_arguments": [replace_path(word, places) for word in _words(step)],
        "environment_variables": {key: replace_path(text, places) for key, text in step.environment_variables.items()},
        "model": contents.of(step.model) if step.model else None,
        "environment": _environment(step, contents, options),
        "inputs": {name: _input(one, contents) for name, one in step.inputs.items()},
        "outputs": {name: [one.type, one.mode] for name, one in step.outputs.items()},
        "docker_args": step.resources.docker_args,
        "arguments": [step.arguments.allowed_failed_percent, step.arguments.append_row_dataframe_header],
    }


def _words(step: Step) -> Sequence[str]:
    """The arguments without those of FOR_THE_RUN and their values; those of a command are values only."""
    if step.command:
        return step.program_arguments
    kept, rest = list[str](), iter(step.program_arguments)
    for word in rest:
        if word == "--":
            return [*kept, word, *rest]
        name, equals, _ = word[2:].partition("=")
        if not word.startswith("--") or name not in FOR_THE_RUN:
            kept.append(word)
        elif not equals:
            next(rest, None)
    return kept


def without_image(facts: Facts) -> Facts:
    """Of an image that had to be pulled or built, more is known afterwards than before."""
    environment = facts["environment"]
    assert isinstance(environment, Mapping)
    return {**facts, "environment": {**environment, "image": None}}


def fingerprint(facts: Facts) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _input(given: JobInput, contents: Contents) -> list[object]:
    if not given.is_data or not given.path:
        return [given.type, given.value, given.optional_unset]
    content = contents.of_table(given.path) if given.type == "mltable" else contents.of(given.path)
    name = addresses.base_name(given.path) if given.type == "uri_file" else ""  # scripts read `.csv` and `.csv.gz` in different ways
    return [given.type, given.mode, name, content]


def _environment(step: Step, contents: Contents, options: RunOptions) -> Facts:
    environment = step.environment or Environment()
    named = pip_part(environment).files if environment.conda else ()
    kept: dict[str, object] = {"conda": environment.conda, "files": [hash_path(Path(file)) for file in named]}
    if not in_container(step, options):
        return kept | {"python": _interpreter(environment, options)}
    kept |= {"dockerfile": environment.dockerfile, "build": contents.of(environment.build_context) if environment.build_context else None}
    return kept | {"image": _image_id(step, options) or environment.image}


def _interpreter(environment: Environment, options: RunOptions) -> object:
    """Its version; of one that is taken as it is, also where it is and what is installed in it. Errors: UserError where there is none."""
    if environment.conda is not None and not options.python:
        return base_python(read_conda(environment.conda, environment.conda_path), environment.conda_path).version
    python = named(options.python) if options.python else running()
    packages = Path(python.path).parent.parent.glob("lib/python3*/site-packages/*.dist-info")
    return [python.version, python.path, sorted(path.name for path in packages)]


def _image_id(step: Step, options: RunOptions) -> str:
    """Empty where the image is not on this machine, or is made of others that change by themselves."""
    if on_cluster(step, options) or step.environment is None or not step.environment.image:
        return ""
    from runner.launch.image_find import present_id  # loads the Docker SDK

    return present_id(step.environment.image, docker=options.docker)


def decided() -> set[str]:
    """The fields about which it is known whether they count."""
    return {*COUNTED, *COUNTED_OTHERWISE, *NOT_COUNTED}
