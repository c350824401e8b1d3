"""Bad job files: what is changed in a good one, and what the message must say. Used in-process and through the command line.

A row changes `JOB`, `PIPELINE` or `COMPONENT` by replacing text; `at` is a piece of the line that the message must point at.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

JOB = """\
$schema: https://azuremlschemas.azureedge.net/latest/parallelJob.schema.json
type: parallel
display_name: score images
inputs:
  images:
    type: uri_folder
    path: ./images
  limit: 3
outputs:
  rows:
    type: uri_file
    path: ./out/rows.txt
input_data: ${{inputs.images}}
mini_batch_size: 2
max_concurrency_per_instance: 1
mini_batch_error_threshold: 1
error_threshold: 1
logging_level: INFO
retry_settings:
  max_retries: 1
  timeout: 30
resources:
  instance_count: 1
environment_variables:
  COLOUR: green
task:
  type: run_function
  code: ./src
  entry_script: score.py
  program_arguments: --limit ${{inputs.limit}}
  append_row_to: ${{outputs.rows}}
"""

PIPELINE = """\
type: pipeline
inputs:
  images:
    type: uri_folder
    path: ./images
  size: 2
outputs:
  final:
    type: uri_folder
settings:
  default_compute: local
jobs:
  first:
    type: parallel
    inputs:
      images: ${{parent.inputs.images}}
    outputs:
      scored:
        type: uri_folder
    input_data: ${{inputs.images}}
    mini_batch_size: ${{parent.inputs.size}}
    task:
      type: run_function
      code: ./src
      entry_script: score.py
      append_row_to: ${{outputs.scored}}
  second:
    component: ./component.yml
    inputs:
      files: ${{parent.jobs.first.outputs.scored}}
      ratio: 0.5
    outputs:
      result: ${{parent.outputs.final}}
"""

COMPONENT = """\
type: parallel
name: second_pass
version: 1
inputs:
  files:
    type: uri_folder
  ratio:
    type: number
    min: 0
    max: 1
  colour:
    type: string
    enum: [red, green]
    default: red
outputs:
  result:
    type: uri_folder
input_data: ${{inputs.files}}
mini_batch_size: 1
task:
  type: run_function
  code: ./src
  entry_script: score.py
  program_arguments: --ratio ${{inputs.ratio}}
  append_row_to: ${{outputs.result}}
"""

COMMAND = """\
$schema: https://azuremlschemas.azureedge.net/latest/commandJob.schema.json
type: command
display_name: count
tags: {a: 1}
properties: {b: 2}
inputs:
  images:
    type: uri_folder
    path: ./images
  limit: 3
outputs:
  rows:
    type: uri_file
    path: ./out/rows.txt
command: python score.py --images ${{inputs.images}} --limit ${{inputs.limit}} > ${{outputs.rows}}
code: ./src
environment:
  conda_file: ./conda.yml
environment_variables:
  COLOUR: green
  LIMIT: ${{inputs.limit}}
resources:
  shm_size: 1g
limits:
  timeout: 90
"""

COMMAND_COMPONENT = """\
$schema: https://azuremlschemas.azureedge.net/latest/commandComponent.schema.json
type: command
name: count_files
version: 1
inputs:
  files:
    type: uri_folder
  ratio:
    type: number
    min: 0
    max: 1
    default: 0.5
  word:
    type: string
    optional: true
outputs:
  counts:
    type: uri_file
code: ./src
environment_variables:
  A: 0
  C: x
command: >-
  python score.py ${{inputs.files}}
  --ratio ${{inputs.ratio}} $[[--word ${{inputs.word}}]]
"""

STEPS = """\
type: pipeline
inputs:
  images: {type: uri_folder, path: ./images}
  table: {type: mltable, path: ./table}
  size: 2
  share: 0.5
  text: half
  flag: true
  maybe: {type: integer, optional: true}
outputs:
  final: {type: uri_file}
jobs:
  first:
    type: command
    inputs:
      images: ${{parent.inputs.images}}
    outputs:
      folder: {type: uri_folder}
      table: {type: mltable}
      file: {type: uri_file}
    command: ls ${{inputs.images}} > ${{outputs.file}}
  second:
    type: command
    component: ./typed.yml
    inputs:
      file: ${{parent.jobs.first.outputs.file}}
      folder: ${{parent.jobs.first.outputs.folder}}
      number: ${{parent.inputs.size}}
      integer: ${{parent.inputs.size}}
      flag: ${{parent.inputs.flag}}
      text: ${{parent.inputs.size}}
    outputs:
      counts: ${{parent.outputs.final}}
"""

TYPED = """\
type: command
name: typed
inputs:
  file: {type: uri_file}
  folder: {type: uri_folder}
  number: {type: number, min: 0, max: 10}
  integer: {type: integer}
  flag: {type: boolean}
  text: {type: string}
  colour: {type: string, enum: [red, green], default: red}
outputs:
  counts: {type: uri_file}
command: cat ${{inputs.file}} ${{inputs.folder}}/x > ${{outputs.counts}}
"""

OUTER = """\
type: pipeline
inputs:
  share: 0.25
outputs:
  final: {type: uri_file}
jobs:
  first:
    type: command
    outputs:
      made: {type: uri_folder}
    command: touch ${{outputs.made}}/a
  middle:
    type: pipeline
    component: ./parts/inner.yml
    inputs:
      files: ${{parent.jobs.first.outputs.made}}
      share: ${{parent.inputs.share}}
  last:
    type: command
    inputs:
      counts: ${{parent.jobs.middle.outputs.counts}}
      share: ${{parent.jobs.middle.inputs.share}}
    outputs:
      result: ${{parent.outputs.final}}
    command: cat ${{inputs.counts}} ${{inputs.share}} > ${{outputs.result}}
"""

INNER = """\
$schema: https://azuremlschemas.azureedge.net/latest/pipelineComponent.schema.json
type: pipeline
name: inner
version: "1"
inputs:
  files: {type: uri_folder}
  share: {type: number, max: 1}
  colour: {type: string, default: red}
outputs:
  counts: {type: uri_file}
jobs:
  prepare:
    type: command
    code: ../src
    inputs:
      files: ${{parent.inputs.files}}
    outputs:
      prepared: {type: uri_folder}
    command: cp -r ${{inputs.files}} ${{outputs.prepared}}
  count:
    type: command
    inputs:
      files: ${{parent.jobs.prepare.outputs.prepared}}
      share: ${{parent.inputs.share}}
      colour: ${{parent.inputs.colour}}
    outputs:
      counts: ${{parent.outputs.counts}}
    command: ls ${{inputs.files}} ${{inputs.share}} ${{inputs.colour}} > ${{outputs.counts}}
"""

FILES = {
    "images/a.png": "a",
    "images/b.png": "b",
    "table/MLTable": "type: mltable\npaths:\n  - file: ./t.csv\ntransformations:\n  - read_delimited:\n      delimiter: ','\n",
    "table/t.csv": "a,b\n1,2\n",
    "src/score.py": "def run(mini_batch):\n    return mini_batch\n",
    "src/norun.py": "def runn(mini_batch):\n    return mini_batch\n",
    "src/broken.py": "import os\n\ndef run(mini_batch:\n    return mini_batch\n",
    "src/asynchronous.py": "def enqueue(data, ctx):\n    pass\n",
    "src/coroutine.py": "async def run(mini_batch):\n    return mini_batch\n",
    "src/noargs.py": "def run():\n    return []\n",
    "conda.yml": "name: x\ndependencies:\n  - python=3.10\n",
    "badconda.yml": "name: x\ndependencis:\n  - python=3.10\n",
    "notaconda.yml": "name: x\ndependencies: python\n",
}
ORIGINALS = {
    "job.yml": JOB,
    "pipeline.yml": PIPELINE,
    "component.yml": COMPONENT,
    "command.yml": COMMAND,
    "command_component.yml": COMMAND_COMPONENT,
    "steps.yml": STEPS,
    "typed.yml": TYPED,
    "outer.yml": OUTER,
    "parts/inner.yml": INNER,
}
_GIVEN = {
    "component.yml": "pipeline.yml",
    "typed.yml": "steps.yml",
    "parts/inner.yml": "outer.yml",
}  # which of them the runner is given, where it isn't the changed one


@dataclass(frozen=True, kw_only=True)
class BadJob:
    """One mistake. `changes` are (old, new) in the file `edits`; `text` replaces the file as a whole."""

    id: str
    says: tuple[str, ...]  # pieces of the message
    changes: tuple[tuple[str, str], ...] = ()
    at: str | None = None  # a piece of the line that the message names; None: only the file
    edits: str = "job.yml"  # or another of ORIGINALS
    names: str | None = None  # the file that the message names, where it isn't the edited one
    text: str | bytes | None = None
    arguments: tuple[str, ...] = ()  # --set …
    local: bool = False  # --local
    mistakes: int = 1

    @property
    def job(self) -> str:
        """The file that is given to the runner."""
        return _GIVEN.get(self.edits, self.edits)

    def write(self, folder: Path) -> Path:
        """Writes the files of this row and returns the job file's path."""
        texts: dict[str, str | bytes] = {**FILES, **ORIGINALS}
        changed: str | bytes = ORIGINALS[self.edits] if self.text is None else self.text
        for old, new in self.changes:
            assert isinstance(changed, str)
            assert old in changed, f"{self.id}: {old!r} is not in {self.edits}"
            changed = changed.replace(old, new, 1)
        texts[self.edits] = changed
        for name, text in texts.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return folder / self.job

    def place(self, folder: Path) -> str:
        """What the message must begin its place with: `file:line`, or the file's name."""
        file = self.names or self.edits
        if self.at is None:
            return file
        lines = (folder / file).read_text(encoding="utf-8", errors="replace").splitlines()
        return f"{file}:{next(number for number, line in enumerate(lines, 1) if self.at in line)}"


def set_row(
    id_: str, old: str, new: str, *says: str, at: str | None = None, local: bool = False, edits: str = "job.yml", mistakes: int = 1
) -> BadJob:
    """One replaced piece of text; the message points at the (first) new line unless told otherwise."""
    return BadJob(id=id_, changes=((old, new),), says=says, at=at or new.split("\n")[0], local=local, edits=edits, mistakes=mistakes)


def docker_row(id_: str, arguments: str, *says: str) -> BadJob:
    return set_row(f"docker-args-{id_}", "  instance_count: 1", f"  docker_args: {arguments}", *says, at="docker_args")


def argument_row(id_: str, argument: str, *says: str) -> BadJob:
    return set_row(f"argument-{id_}", "--limit ${{inputs.limit}}", argument, *says, at="program_arguments")


def step_row(id_: str, old: str, new: str, *says: str, at: str | None = None) -> BadJob:
    return set_row(id_, old, new, *says, at=at, edits="pipeline.yml")


def component_row(id_: str, old: str, new: str, *says: str, at: str | None = None) -> BadJob:
    return set_row(id_, old, new, *says, at=at, edits="component.yml")
