"""Commands, as jobs and as steps, and what is bound to what between steps."""

from __future__ import annotations

from tests.acceptance.bad_jobs.row import BadJob, set_row

_LINE = "command: python score.py --images ${{inputs.images}} --limit ${{inputs.limit}} > ${{outputs.rows}}"


def command_row(id_: str, old: str, new: str, *says: str, at: str | None = None, mistakes: int = 1) -> BadJob:
    return set_row(f"command-{id_}", old, new, *says, at=at, edits="command.yml", mistakes=mistakes)


def text_row(id_: str, text: str, *says: str) -> BadJob:
    """Another command line."""
    return command_row(id_, _LINE, f"command: {text}", *says, at="command:")


def typed_row(id_: str, old: str, new: str, *says: str, at: str | None = None, edits: str = "steps.yml", mistakes: int = 1) -> BadJob:
    return set_row(f"types-{id_}", old, new, *says, at=at, edits=edits, mistakes=mistakes)


_SPLIT_LITERAL = """\
  third:
    type: parallel
    inputs: {x: "${{parent.inputs.size}}"}
    input_data: ${{inputs.x}}
    task: {type: run_function, code: ./src, entry_script: score.py}
  second:
"""

COMMANDS = (
    BadJob(id="command-missing", edits="command.yml", changes=((f"{_LINE}\n", ""),), says=("'command' is missing", "command: python")),
    text_row("empty", "''", "the command is empty"),
    text_row("nothing-left", "$[[ ]]", "nothing is left of the command"),
    text_row("unset", "", "the command is empty"),
    text_row("list", "[python, train.py]", "must be one text, not a list", "command: |"),
    text_row("unknown-input", "python score.py ${{inputs.image}}", "this job has no input 'image'", "did you mean 'images'"),
    text_row("unknown-output", "python score.py ${{outputs.row}}", "this job has no output 'row'", "did you mean 'rows'"),
    text_row("misspelled", "python score.py ${{input.images}}", "did you mean '${{inputs.images}}'"),
    text_row("few-braces", "python score.py ${inputs.images}", "too few braces", "write ${{inputs.images}}"),
    text_row("open", "python score.py ${{inputs.images}", "is not closed"),
    text_row("optional-open", "python score.py $[[--x ${{inputs.images}}", "'$[[' is not closed"),
    text_row("parent", "python score.py ${{parent.inputs.images}}", "has no parent", "leave 'parent.' out"),
    text_row("search-space", "python score.py ${{search_space.rate}}", "sweep jobs"),
    command_row(
        "one-input-in-two-modes",
        "  limit: 3",
        "  limit: 3\n  table: {type: mltable, path: ./images, mode: eval_mount}",
        "the inputs 'images' and 'table' are the same data, in the modes ro_mount and eval_mount",
        at="table:",
    ),
    command_row("code", "code: ./src", "code: ./scr", "the folder './scr' does not exist"),
    command_row("code-file", "code: ./src", "code: ./src/score.py", "is a file", "write code: ./src"),
    command_row("code-address", "code: ./src", "code: azureml:code:1", "is not a local folder"),
    command_row("environment", "  conda_file: ./conda.yml", "  conda_file: ./cond.yml", "the conda file './cond.yml' does not exist"),
    command_row(
        "environment-name",
        "environment:\n  conda_file: ./conda.yml",
        "environment: azureml:sklearn@latest",
        "the environment 'azureml:sklearn@latest' is not known",
        "leave `environment` out",
    ),
    command_row("timeout", "  timeout: 90", "  timeout: 0", "0 is out of range", "leave it out for no limit"),
    command_row("timeout-text", "  timeout: 90", "  timeout: 1h", "'1h' is not a number"),
    command_row("limits", "  timeout: 90", "  time: 90", "unknown key 'time' of limits"),
    command_row("limits-trials", "  timeout: 90", "  max_total_trials: 3", "unknown key 'max_total_trials' of limits", "timeout"),
    command_row("instances", "  shm_size: 1g", "  instance_count: 2", "a command runs on one instance, not on 2", "type: parallel"),
    command_row(
        "distribution",
        "resources:\n",
        "distribution: {type: pytorch, process_count_per_instance: 4}\nresources:\n  instance_count: 2\n",
        "distribution cannot run here",
        "type: parallel",
    ),
    command_row("script", f"{_LINE}\n", f"script: train.py\n{_LINE}\n", "unknown key 'script' of a command job", "write command: python"),
    command_row(
        "arguments", "code: ./src", "code: ./src\narguments: [--x, 1]", "unknown key 'arguments'", "in the command", at="arguments"
    ),
    command_row("task", "code: ./src", "code: ./src\ntask: {code: ./src}", "unknown key 'task'", "stand on top", at="task"),
    command_row("mini-batches", "code: ./src", "code: ./src\nmini_batch_size: 3", "only parallel jobs have it", at="mini_batch_size"),
    command_row("queue", "limits:", "queue_settings: {jobtier: spot}\nlimits:", "did you mean 'job_tier'"),
    command_row("variable", "  COLOUR: green", "  RUNNER_1: green", "a name of the runner's own"),
    command_row(
        "type-of-component", "limits:", "component: ./component.yml\nlimits:", "its component of type parallel", at="type: command"
    ),
    BadJob(
        id="command-component-missing",
        edits="steps.yml",
        changes=(("./typed.yml", "./typd.yml"),),
        says=("no such file", "steps.yml:24"),
        names="typd.yml",
    ),
    typed_row(
        "component-without-command", "command: cat", "comand: cat", "unknown key 'comand'", "'command'", edits="typed.yml", mistakes=2
    ),
    typed_row("component-limits", "name: typed", "limits: {timeout: 3}", "it stands in the step", edits="typed.yml"),
    typed_row("component-includes", "name: typed", "additional_includes: [../x]", "additional_includes are not read", edits="typed.yml"),
    typed_row("component-type", "type: command", "type: comand", "'comand' is not a type of components", "'command'", edits="typed.yml"),
    typed_row(
        "component-parent",
        "${{inputs.file}}",
        "${{parent.inputs.text}}",
        "a component knows no parent",
        "declare an input",
        edits="typed.yml",
        at="command: cat",
    ),
    typed_row("component-input", "${{inputs.file}}", "${{inputs.fil}}", "did you mean 'file'", edits="typed.yml", at="command: cat"),
)

TYPES = (
    typed_row(
        "table-to-file", "first.outputs.file}}", "first.outputs.table}}", "of type mltable, but is of type uri_file", at="      file: $"
    ),
    typed_row(
        "folder-to-file",
        "first.outputs.file}}",
        "first.outputs.folder}}",
        "of type uri_folder, but is of type uri_file",
        at="      file: $",
    ),
    typed_row(
        "file-to-folder", "first.outputs.folder}}", "first.outputs.file}}", "of type uri_file, but is of type uri_folder", at="folder: $"
    ),
    typed_row(
        "literal-to-file",
        "${{parent.jobs.first.outputs.file}}",
        "${{parent.inputs.size}}",
        "bound to a literal of type integer",
        at="      file: $",
    ),
    typed_row(
        "data-to-number",
        "number: ${{parent.inputs.size}}",
        "number: ${{parent.jobs.first.outputs.file}}",
        "is bound to data of type uri_file",
        at="number: $",
    ),
    typed_row(
        "text-to-number",
        "number: ${{parent.inputs.size}}",
        "number: ${{parent.inputs.text}}",
        "'half' is not of type number",
        at="number: $",
    ),
    typed_row("fraction-to-integer", "integer: ${{parent.inputs.size}}", "integer: ${{parent.inputs.share}}", "0.5 is not of type integer"),
    typed_row(
        "boolean-to-integer",
        "integer: ${{parent.inputs.size}}",
        "integer: ${{parent.inputs.flag}}",
        "the boolean true is not of type integer",
    ),
    typed_row("number-to-boolean", "flag: ${{parent.inputs.flag}}", "flag: ${{parent.inputs.size}}", "2 is not of type boolean"),
    typed_row("out-of-range", "  size: 2", "  size: 11", "11 is out of range", "at least 0, at most 10", at="number: $"),
    typed_row(
        "unset-to-needed", "integer: ${{parent.inputs.size}}", "integer: ${{parent.inputs.maybe}}", "optional input that got no value"
    ),
    typed_row("enum", "  share: 0.5", "  share: {type: number, value: 0.5, enum: [0.1, 0.2]}", "0.5 is not one of the values", "0.1, 0.2"),
    typed_row("enum-text", "  share: 0.5", "  share: {type: number, value: 0.5, enum: 0.5}", "must be a list of values"),
    typed_row("limits", "  share: 0.5", "  share: {type: number, value: 0.5, min: 1, max: 0}", "min 1 is more than max 0", mistakes=2),
    typed_row("default", "  share: 0.5", "  share: {type: integer, default: 5, max: 4}", "5 is out of range", "at most 4"),
    typed_row(
        "declared-default",
        "type: integer}",
        "type: integer, default: 0.5}",
        "0.5 is not of type integer",
        edits="typed.yml",
        at="  integer:",
    ),
    typed_row("declared-enum", "default: red}", "default: blue}", "'blue' is not one of the values", edits="typed.yml", at="  colour:"),
    typed_row(
        "long-form-literal",
        "images: ${{parent.inputs.images}}",
        "images: {type: uri_folder, path: '${{parent.inputs.size}}'}",
        "a value of type integer",
    ),
    typed_row(
        "long-form-data",
        "images: ${{parent.inputs.images}}",
        "images: {type: string, value: '${{parent.inputs.images}}'}",
        "data of type uri_folder, but is a literal",
    ),
    typed_row(
        "long-form-file",
        "images: ${{parent.inputs.images}}",
        "images: {type: uri_file, path: '${{parent.inputs.images}}'}",
        "of type uri_folder, but is of type uri_file",
    ),
    typed_row("parallel-split-literal", "  second:\n", _SPLIT_LITERAL, "is of type integer and cannot be split", at="input_data"),
    typed_row(
        "output-to-file",
        "  final: {type: uri_file}",
        "  final: {type: uri_folder}",
        "of type uri_file, but the pipeline's output 'final'",
        at="counts: $",
    ),
    typed_row(
        "step-output-as-output",
        "${{parent.outputs.final}}",
        "${{parent.jobs.first.outputs.file}}",
        "is no output of the pipeline",
        at="counts: $",
    ),
    typed_row(
        "circle-of-commands",
        "images: ${{parent.inputs.images}}",
        "images: ${{parent.jobs.second.outputs.counts}}",
        "first → second → first",
        at="  first:",
    ),
    typed_row("own-output", "images: ${{parent.inputs.images}}", "images: ${{parent.jobs.first.outputs.file}}", "first", at="  first:"),
)
