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


@dataclass(frozen=True, kw_only=True)
class BadJob:
    """One mistake. `changes` are (old, new) in the file `edits`; `text` replaces the file as a whole."""

    id: str
    says: tuple[str, ...]  # pieces of the message
    changes: tuple[tuple[str, str], ...] = ()
    at: str | None = None  # a piece of the line that the message names; None: only the file
    edits: str = "job.yml"  # or pipeline.yml, component.yml
    names: str | None = None  # the file that the message names, where it isn't the edited one
    text: str | bytes | None = None
    arguments: tuple[str, ...] = ()  # --set …
    local: bool = False  # --local
    mistakes: int = 1

    @property
    def job(self) -> str:
        """The file that is given to the runner."""
        return "job.yml" if self.edits == "job.yml" else "pipeline.yml"

    def write(self, folder: Path) -> Path:
        """Writes the files of this row and returns the job file's path."""
        originals = {"job.yml": JOB, "pipeline.yml": PIPELINE, "component.yml": COMPONENT}
        texts: dict[str, str | bytes] = {**FILES, **originals}
        changed: str | bytes = originals[self.edits] if self.text is None else self.text
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


def _set(id_: str, old: str, new: str, *says: str, at: str | None = None, local: bool = False, edits: str = "job.yml") -> BadJob:
    """One replaced piece of text; the message points at the (first) new line unless told otherwise."""
    return BadJob(id=id_, changes=((old, new),), says=says, at=at or new.split("\n")[0], local=local, edits=edits)


def _argument(id_: str, argument: str, *says: str) -> BadJob:
    return _set(f"argument-{id_}", "--limit ${{inputs.limit}}", argument, *says, at="program_arguments")


ENVIRONMENT = "  append_row_to: ${{outputs.rows}}"

SYNTAX = (
    BadJob(id="empty-file", text="", says=("is empty", "type: parallel"), at=None),
    BadJob(id="only-comments", text="# nothing\n", says=("is empty",), at=None),
    BadJob(id="not-a-mapping", text="- type: parallel\n", says=("key: value",), at="- type"),
    BadJob(id="tab", text="type: parallel\ninputs:\n\timages: x\n", says=("YAML syntax", "spaces"), at="\timages"),
    BadJob(id="unclosed-quote", text='type: parallel\ndisplay_name: "abc\n', says=("YAML syntax",), at=None),
    BadJob(id="bad-indent", text="type: parallel\ninputs:\n  a: 1\n b: 2\n", says=("YAML syntax", "indentation"), at=" b: 2"),
    BadJob(id="unquoted-braces", text="type: parallel\ninput_data: {{inputs.x}}\n", says=("key must be text",), at="input_data"),
    BadJob(id="not-utf8", text=b"type: parallel\ndisplay_name: \xff\xfe\n", says=("UTF-8",), at="display_name"),
    BadJob(id="python-tag", text="type: !!python/object:os.system x\n", says=("tag", "not allowed"), at="type"),
    BadJob(id="alias-bomb", text="a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
        f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdef", "bcdefg", strict=True)), says=("aliases",), at=None),
    BadJob(id="alias-circle", text="type: parallel\na: &a [*a]\n", says=("refers to the value that it stands in",), at="a: &a"),
    BadJob(id="too-deep", text="type: " + "[" * 3000 + "\n", says=("nested too deeply",), at=None),
    BadJob(id="two-documents", text="type: parallel\n---\ntype: parallel\n", says=("YAML syntax", "single document"), at="---"),
    BadJob(id="duplicate-key", changes=(("error_threshold: 1\nlogging", "error_threshold: 1\nmini_batch_size: 3\nlogging"),),
           says=("mini_batch_size", "twice", "line 14"), at="mini_batch_size: 3"),
    _set("number-as-key", "  COLOUR: green", "  1: green", "key must be text", '"1"', at="1: green"),
)  # fmt: skip

KEYS = (
    _set("misspelled-key", "mini_batch_size: 2", "mini_batchsize: 2", "unknown key 'mini_batchsize'", "did you mean 'mini_batch_size'"),
    _set("misspelled-case", "error_threshold: 1\nlogging", "Error_threshold: 1\nlogging", "did you mean 'error_threshold'", at="Error_threshold"),
    _set("key-in-wrong-place", "logging_level: INFO", "entry_script: score.py", "unknown key 'entry_script'", "below task:"),
    BadJob(id="misspelled-task-key", changes=(("  entry_script: score.py", "  entry_scripts: score.py"),),
               says=("did you mean 'entry_script'", "the key 'entry_script' is missing"), at="entry_scripts", mistakes=2),
    _set("misspelled-retry-key", "  max_retries: 1", "  max_retry: 1", "did you mean 'max_retries'"),
    _set("misspelled-resources-key", "  instance_count: 1", "  instances_count: 1", "did you mean 'instance_count'"),
    _set("misspelled-input-key", "    path: ./images", "    path: ./images\n    pathh: x", "did you mean 'path'", at="pathh"),
    _set("misspelled-output-key", "    path: ./out/rows.txt", "    path: ./out/rows.txt\n    vresion: 1", "did you mean 'version'", at="vresion"),
    _set("command-key", "logging_level: INFO", "command: python x.py", "unknown key 'command'", "task.entry_script"),
    BadJob(id="type-missing", changes=(("type: parallel\n", ""),), says=("'type' is missing", "type: parallel")),
    _set("type-unknown", "type: parallel", "type: paralel", "did you mean 'parallel'"),
    _set("type-command", "type: parallel", "type: command", "jobs of type command cannot run here", "parallel, pipeline"),
    BadJob(id="inputs-not-a-mapping", changes=(("inputs:\n  images:\n    type: uri_folder\n    path: ./images\n  limit: 3\n", "inputs: ./images\n"),),
               says=("must be a mapping",), at="inputs: ./images", mistakes=3),
    BadJob(id="task-not-a-mapping", changes=((JOB[JOB.index("task:"):], "task: score.py\n"),), says=("must be a mapping, not the text 'score.py'",), at="task:"),
    BadJob(id="task-missing", changes=((JOB[JOB.index("task:"):], ""),), says=("the key 'task' is missing", "run_function")),
    _set("tags-nested", "display_name: score images", "tags: {a: {b: c}}", "must be one value, not a mapping"),
    BadJob(id="name-invalid", changes=(("display_name: score images", "name: a/b"),), says=("'a/b' is not a name of a job", "letters"), at="name: a/b"),
)  # fmt: skip

PORTS = (
    _set("input-missing-path", "    path: ./images", "    path: ./imagse", "'./imagse' does not exist", "looked for"),
    _set("input-absolute-missing", "    path: ./images", "    path: /no/such/folder", "'/no/such/folder' does not exist"),
    _set("input-folder-is-file", "    path: ./images", "    path: ./images/a.png", "is a file", "uri_file"),
    BadJob(id="input-file-is-folder", changes=(("    type: uri_folder", "    type: uri_file"),), says=("is a folder", "type: uri_folder"), at="path: ./images"),
    BadJob(id="mltable-file", changes=(("    type: uri_folder\n    path: ./images", "    type: mltable\n    path: ./table/MLTable"),),
           says=("is a file", "the folder that the MLTable file lies in"), at="./table/MLTable"),
    _set("input-type-unknown", "    type: uri_folder\n    path: ./im", "    type: uri_foldr\n    path: ./im", "not a type of inputs", "did you mean 'uri_folder'"),
    _set("input-mode-unknown", "    path: ./images", "    mode: ro_mnt\n    path: ./images", "not a mode", "did you mean 'ro_mount'"),
    _set("eval-mount-on-files", "    path: ./images", "    mode: eval_mount\n    path: ./images", "for type: mltable"),
    _set("input-empty", "  limit: 3", "  limit:", "no value"),
    _set("input-without-path", "    path: ./images", "    mode: download", "the input has no path", at="  images:"),
    _set("input-name", "  limit: 3", "  lim.it: 3\n  limit: 3", "is not a name of an input", at="lim.it"),
    _set("literal-type", "  limit: 3", "  limit: {type: integer, value: three}", "'three' is not of type integer"),
    _set("literal-boolean-as-int", "  limit: 3", "  limit: {type: integer, value: true}", "the boolean true is not of type integer"),
    _set("remote-wasbs", "    path: ./images", "    path: wasbs://c@acc.blob.core.windows.net/x", "lies elsewhere", "copy the data"),
    _set("remote-https", "    path: ./images", "    path: https://example.com/data/", "lies elsewhere"),
    _set("remote-blob", "    path: ./images", "    path: https://acc.blob.core.windows.net/c/x", "lies elsewhere"),
    _set("datastore-unknown", "    path: ./images", "    path: azureml://datastores/workspaceblobstor/paths/x", "datastore", "workspaceblobstore"),
    _set("datastore-incomplete", "    path: ./images", "    path: azureml://datastores/x", "not a complete azureml:// path"),
    _set("datastore-dots", "    path: ./images", "    path: azureml://datastores/workspaceblobstore/paths/../x", "'..'"),
    _set("asset-unknown", "    path: ./images", "    path: azureml:digits:1", "no data asset 'azureml:digits:1'"),
    _set("scheme-unknown", "    path: ./images", "    path: s3://bucket/x", "'s3://'", "azureml://"),
    _set("scheme-misspelled", "    path: ./images", "    path: wasb5://c@a.blob.core.windows.net/x", "did you mean 'wasb"),
    _set("windows-path", "    path: ./images", "    path: C:\\data\\images", "Windows path"),
    _set("file-uri-host", "    path: ./images", "    path: file://server/share", "names another machine"),
    _set("output-type-unknown", "    type: uri_file", "    type: uri_fil", "not a type of outputs", "did you mean 'uri_file'"),
    _set("output-type-literal", "    type: uri_file", "    type: string", "not a type of outputs"),
    _set("output-mode", "    path: ./out/rows.txt", "    mode: ro_mount\n    path: ./out/rows.txt", "'ro_mount' is not a mode of an output"),
    _set("output-direct-on-file", "    path: ./out/rows.txt", "    mode: direct\n    path: ./out/rows.txt", "'direct' is not a mode"),
    _set("output-is-folder", "    path: ./out/rows.txt", "    path: ./src", "is a folder, but the output is of type uri_file"),
    _set("output-below-a-file", "    path: ./out/rows.txt", "    path: ./conda.yml/rows.txt", "is a file", "another path"),
    _set("output-remote", "    path: ./out/rows.txt", "    path: wasbs://c@acc.blob.core.windows.net/x", "lies elsewhere"),
    _set("output-version-alone", "    path: ./out/rows.txt", "    version: 2\n    path: ./out/rows.txt", "a version needs a name"),
    _set("outputs-same-path", "input_data", "  more:\n    type: uri_file\n    path: ./out/../out/rows.txt\ninput_data", "have the same path"),
)  # fmt: skip

SETTINGS = (
    _set("mini-batch-size-zero", "mini_batch_size: 2", "mini_batch_size: 0", "cannot have the size 0"),
    _set("mini-batch-size-negative", "mini_batch_size: 2", "mini_batch_size: -1", "not a size of mini-batches", "^\\d+ ?([kKmMgG][bB]?)?$"),
    _set("mini-batch-size-words", "mini_batch_size: 2", "mini_batch_size: ten", "'ten' is not a size"),
    _set("mini-batch-size-unit", "mini_batch_size: 2", "mini_batch_size: 10tb", "'10tb' is not a size"),
    _set("mini-batch-size-fraction", "mini_batch_size: 2", "mini_batch_size: 1.5", "'1.5' is not a size"),
    _set("mini-batch-size-boolean", "mini_batch_size: 2", "mini_batch_size: true", "is not a size"),
    _set("mini-batch-size-bytes-of-files", "mini_batch_size: 2", "mini_batch_size: 10kb", "unit of bytes", "a number of files"),
    _set("mini-batch-size-list", "mini_batch_size: 2", "mini_batch_size: [2]", "must be one value, not a list"),
    _set("concurrency-zero", "max_concurrency_per_instance: 1", "max_concurrency_per_instance: 0", "0 is out of range", "from 1"),
    _set("concurrency-boolean", "max_concurrency_per_instance: 1", "max_concurrency_per_instance: true", "the boolean true is not a whole number"),
    _set("concurrency-text", "max_concurrency_per_instance: 1", "max_concurrency_per_instance: two", "'two' is not a whole number"),
    _set("threshold-low", "mini_batch_error_threshold: 1", "mini_batch_error_threshold: -2", "-2 is out of range", "-1"),
    _set("threshold-high", "\nerror_threshold: 1", "\nerror_threshold: 2147483648", "out of range", "2147483647", at="2147483648"),
    _set("logging-level", "logging_level: INFO", "logging_level: info", "did you mean 'INFO'", "WARNING, INFO, DEBUG"),
    _set("retries-negative", "  max_retries: 1", "  max_retries: -1", "-1 is out of range"),
    _set("timeout-zero", "  timeout: 30", "  timeout: 0", "0 is out of range", "259200"),
    _set("timeout-high", "  timeout: 30", "  timeout: 259201", "out of range", "259200"),
    _set("timeout-text", "  timeout: 30", "  timeout: 30s", "'30s' is not a number"),
    _set("instances-zero", "  instance_count: 1", "  instance_count: 0", "0 is out of range"),
    _set("instances-below-maximum", "  instance_count: 1", "  instance_count: 3\n  max_instance_count: 2", "less than instance_count", at="max_instance_count"),
    _set("shm-size", "  instance_count: 1", "  shm_size: 2 gb", "not a size of shared memory", "^[1-9]\\d*[bkmg]$"),
    _set("docker-args-quote", "  instance_count: 1", "  docker_args: --name 'x", "cannot be split", "close the quote"),
    _set("instance-type-unknown", "  instance_count: 1", "  instance_type: Standard_D2", "instance type 'Standard_D2' is not known", "--local"),
    _set("resources-twice", "  instance_count: 1", "  instance_count: 2\ninstance_count: 3", "stands twice", at="instance_count: 3"),
    _set("partition-keys-text", "logging_level: INFO", "partition_keys: user", "must be a list of names", "[user, season]"),
    _set("partition-keys-empty", "logging_level: INFO", "partition_keys: []", "an empty list"),
    _set("partition-keys-twice", "logging_level: INFO", "partition_keys: [a, a]", "stands twice"),
    _set("partition-keys-expression", "logging_level: INFO", "partition_keys: ['${{inputs.limit}}']", "take no expression"),
    _set("compute-unknown", "logging_level: INFO", "compute: azureml:cpu-cluster", "compute 'cpu-cluster' is not known", "local", "--local"),
    _set("is-deterministic", "logging_level: INFO", "is_deterministic: perhaps", "is not a boolean", "true, false"),
    _set("variable-of-the-runner", "  COLOUR: green", "  RUNNER_HOME: x", "'RUNNER_HOME' is a name of the runner's own"),
    _set("variable-name", "  COLOUR: green", "  'A=B': x", "is not a name of an environment variable"),
    _set("identity-type", "logging_level: INFO", "identity: {type: managd}", "not a type of identity", "did you mean 'managed'"),
    _set("identity-without-type", "logging_level: INFO", "identity: {client_id: x}", "identity has no type"),
    _set("identity-key", "logging_level: INFO", "identity: {type: aml_token, client_id: x}", "unknown key 'client_id'"),
)  # fmt: skip

TASK = (
    _set("task-type", "  type: run_function", "  type: run_functon", "did you mean 'run_function'"),
    _set("task-type-model", "  type: run_function", "  type: model", "tasks of type model cannot run here", "run_function"),
    BadJob(id="task-type-missing", changes=(("  type: run_function\n", ""),), says=("'type' is missing", "run_function"), at="task:"),
    BadJob(id="code-missing", changes=(("  code: ./src\n", ""),), says=("'code' is missing", "code: ./src"), at="task:"),
    _set("code-not-there", "  code: ./src", "  code: ./scr", "the folder './scr' does not exist"),
    _set("code-is-a-file", "  code: ./src", "  code: ./src/score.py", "is a file", "code: ./src"),
    _set("code-remote", "  code: ./src", "  code: azureml:code:1", "is not a local folder"),
    _set("code-expression", "  code: ./src", "  code: ${{inputs.images}}", "takes no expression"),
    _set("script-not-there", "entry_script: score.py", "entry_script: scoer.py", "'scoer.py' is not in", "did you mean 'score.py'"),
    _set("script-outside", "entry_script: score.py", "entry_script: ../src/score.py", "outside `code`"),
    BadJob(id="script-without-run", changes=(("score.py", "norun.py"),), says=("defines no `run`", "did you mean 'runn'"), names="src/norun.py"),
    BadJob(id="script-syntax", changes=(("score.py", "broken.py"),), says=("syntax error in the entry script",), names="src/broken.py", at="def run("),
    BadJob(id="script-asynchronous", changes=(("score.py", "asynchronous.py"),), says=("asynchronous entry script", "enqueue"),
           names="src/asynchronous.py", at="def enqueue"),
    BadJob(id="script-coroutine", changes=(("score.py", "coroutine.py"),), says=("async def",), names="src/coroutine.py", at="async def"),
    BadJob(id="script-run-without-arguments", changes=(("score.py", "noargs.py"),), says=("run(mini_batch)",), names="src/noargs.py", at="def run"),
    BadJob(id="input-data-missing", changes=(("input_data: ${{inputs.images}}\n", ""),), says=("'input_data' is missing", "${{inputs.images}}")),
    _set("input-data-plain", "input_data: ${{inputs.images}}", "input_data: images", "must be an expression", "${{inputs.images}}"),
    _set("input-data-unknown", "input_data: ${{inputs.images}}", "input_data: ${{inputs.image}}", "no input 'image'", "did you mean 'images'"),
    _set("input-data-literal", "input_data: ${{inputs.images}}", "input_data: ${{inputs.limit}}", "cannot be split"),
    _set("input-data-output", "input_data: ${{inputs.images}}", "input_data: ${{outputs.rows}}", "not one of the inputs"),
    _set("append-row-to-unknown", "  append_row_to: ${{outputs.rows}}", "  append_row_to: ${{outputs.row}}", "no output 'row'", "did you mean 'rows'"),
    _set("append-row-to-input", "  append_row_to: ${{outputs.rows}}", "  append_row_to: ${{inputs.images}}", "not one of the outputs"),
    _set("append-row-to-model", "    type: uri_file", "    type: custom_model", "rows cannot be appended", at="append_row_to"),
    _set("model-missing", ENVIRONMENT, ENVIRONMENT + "\n  model: ./model", "the model './model' does not exist", at="model: ./model"),
    _set("environment-unknown", ENVIRONMENT, ENVIRONMENT + "\n  environment: azureml:sklearn:1", "environment 'azureml:sklearn:1' is not known",
         at="environment: a", local=True),
    _set("environment-image", ENVIRONMENT, ENVIRONMENT + "\n  environment: {image: 'python:3.11'}", "this build runs no containers", "--local",
         at="environment: {"),
    _set("environment-build", ENVIRONMENT, ENVIRONMENT + "\n  environment: {build: {path: ./src}}", "container (build)", "--local", at="environment: {"),
    _set("environment-image-and-build", ENVIRONMENT, ENVIRONMENT + "\n  environment: {image: x, build: {path: ./src}}", "exclude each other",
         at="environment: {", local=True),
    _set("environment-empty", ENVIRONMENT, ENVIRONMENT + "\n  environment: {description: x}", "says nothing", "conda_file", at="environment: {"),
    _set("environment-key", ENVIRONMENT, ENVIRONMENT + "\n  environment: {conda_fil: conda.yml, conda_file: conda.yml}", "did you mean 'conda_file'",
         at="environment: {"),
    _set("environment-dependencies", ENVIRONMENT, ENVIRONMENT + "\n  environment: {dependencies: [x], conda_file: conda.yml}", "conda_file names",
         at="environment: {"),
    _set("conda-missing", ENVIRONMENT, ENVIRONMENT + "\n  environment: {conda_file: ./nope.yml}", "'./nope.yml' does not exist", at="environment: {"),
    BadJob(id="conda-misspelled", changes=((ENVIRONMENT, ENVIRONMENT + "\n  environment: {conda_file: ./badconda.yml}"),),
           says=("needs the list `dependencies`", "did you mean 'dependencis'"), names="badconda.yml"),
    BadJob(id="conda-not-a-list", changes=((ENVIRONMENT, ENVIRONMENT + "\n  environment: {conda_file: ./notaconda.yml}"),),
           says=("needs the list `dependencies`",), names="notaconda.yml", at="dependencies"),
)  # fmt: skip

ARGUMENTS = (
    _argument("quote", "--name 'x", "no closing quotation", "close the quote"),
    _argument("percent", "--allowed_failed_percent 101", "--allowed_failed_percent cannot be '101'", "from 0 to 100"),
    _argument("overhead", "--task_overhead_timeout 0", "more than 0"),
    _argument("progress", "--progress_update_timeout=259201", "at most 259200"),
    _argument("creation", "--first_task_creation_timeout soon", "cannot be 'soon'"),
    _argument("monitor", "--resource_monitor_interval -5", "from 0 (off)"),
    _argument("threshold", "--error_threshold -2", "cannot be '-2'"),
    _argument("flag", "--append_row_dataframe_header maybe", "True, False"),
    _argument("profiling", "--profiling_module yappi", "cProfile"),
    _argument("without-value", "--allowed_failed_count", "needs a value"),
    _argument("unknown-input", "--limit ${{inputs.limt}}", "no input 'limt'", "did you mean 'limit'", "images, limit"),
    _argument("unknown-word", "--limit ${{input.limit}}", "did you mean '${{inputs.limit}}'"),
    _argument("parent", "--limit ${{parent.inputs.limit}}", "has no parent"),
    _argument("search-space", "--limit ${{search_space.x}}", "sweep"),
    _argument("unclosed-expression", "--limit ${{inputs.limit}", "not closed"),
    _argument("unclosed-optional", "'$[[--limit ${{inputs.limit}}'", "'$[[' is not closed"),
)

EXPRESSIONS = (
    _set("expression-not-a-number", "  timeout: 30", "  timeout: ${{inputs.images}}", "is not a number"),
    BadJob(id="expression-out-of-range", changes=(("  limit: 3", "  limit: 3\n  zero: 0"), ("  instance_count: 1", "  instance_count: ${{inputs.zero}}")),
        says=("0 is out of range",), at="instance_count:"),
    _set("expression-unknown", "  timeout: 30", "  timeout: ${{inputs.time}}", "no input 'time'", "images, limit"),
)  # fmt: skip

OVERRIDES = (
    BadJob(id="set-without-value", arguments=("--set", "mini_batch_size"), says=("is not an override", "path=value"), names="--set"),
    BadJob(id="set-misspelled", arguments=("--set", "resources.instances=2"), says=("unknown key 'instances'", "instance_count"), names="--set"),
    BadJob(id="set-out-of-range", arguments=("--set", "mini_batch_size=0"), says=("cannot have the size 0",), names="--set"),
    BadJob(id="set-below-a-scalar", arguments=("--set", "inputs.limit.x=2"), says=("holds no 'x'",), names="--set"),
    BadJob(id="set-bad-path", arguments=("--set", "a..b=2"), says=("not well formed",), names="--set"),
)


def _step(id_: str, old: str, new: str, *says: str, at: str | None = None) -> BadJob:
    return _set(id_, old, new, *says, at=at, edits="pipeline.yml")


def _component(id_: str, old: str, new: str, *says: str, at: str | None = None) -> BadJob:
    return _set(id_, old, new, *says, at=at, edits="component.yml")


PIPELINES = (
    BadJob(id="pipeline-without-jobs", edits="pipeline.yml", text="type: pipeline\n", says=("'jobs' is missing", "at least one step")),
    BadJob(id="pipeline-empty-jobs", edits="pipeline.yml", text="type: pipeline\njobs: {}\n", says=("'jobs' is missing",)),
    _step("pipeline-key", "settings:", "tasks: 1\nsettings:", "unknown key 'tasks'"),
    _step("settings-key", "  default_compute: local", "  default_computes: local", "did you mean 'default_compute'"),
    _step("settings-compute", "  default_compute: local", "  default_compute: gpu", "compute 'gpu' is not known", "--local"),
    _step("settings-datastore", "  default_compute: local", "  default_datastore: azureml:other", "datastore 'other' is not mapped", "workspaceblobstore"),
    _step("settings-boolean", "  default_compute: local", "  force_rerun: 2", "2 is not a boolean"),
    _step("step-type-command", "    type: parallel", "    type: command", "the step 'first' is of type command", "parallel"),
    _step("step-type-unknown", "    type: parallel", "    type: parralel", "the step 'first' has the unknown type", "did you mean 'parallel'"),
    BadJob(id="step-without-type", edits="pipeline.yml", changes=(("    type: parallel\n", ""),), says=("'type' is missing",), at="first:"),
    BadJob(id="step-name", edits="pipeline.yml", changes=(("  first:\n", "  first step:\n"),), says=("'first step' is not a name of a step",),
        at="first step", mistakes=2),
    _step("step-not-a-mapping", "  second:\n", "  third: 3\n  second:\n", "a step must be a mapping", at="third: 3"),
    _step("step-parents", "${{parent.inputs.images}}", "${{parents.inputs.images}}", "did you mean '${{parent.inputs.images}}'", at="parents."),
    _step("step-parent-unknown", "${{parent.inputs.images}}", "${{parent.inputs.image}}", "the pipeline has no input 'image'", "images, size", at="inputs.image}"),
    _step("step-parent-side", "${{parent.inputs.images}}", "${{parent.input.images}}", "did you mean 'inputs'", at="parent.input."),
    _step("step-unknown-step", "parent.jobs.first.", "parent.jobs.frist.", "no step 'frist'", "did you mean 'first'", at="frist"),
    _step("step-unknown-output", "outputs.scored}}\n      ratio", "outputs.score}}\n      ratio", "step 'first' has no output 'score'", "scored",
          at="outputs.score}"),
    _step("step-unknown-side", "first.outputs.scored", "first.output.scored", "did you mean 'outputs'", at="first.output."),
    _step("step-circle", "images: ${{parent.inputs.images}}", "images: ${{parent.jobs.second.outputs.result}}", "wait for each other",
          "first → second → first", at="  first:"),
    _step("step-binding-number", "  size: 2", "  size: 0", "cannot have the size 0", at="mini_batch_size"),
    _step("step-output-unknown", "${{parent.outputs.final}}", "${{parent.outputs.finl}}", "no output 'finl'", "did you mean 'final'", at="finl}"),
    _step("step-output-is-input", "${{parent.outputs.final}}", "${{parent.inputs.images}}", "is an input", at="result: "),
    BadJob(id="step-output-twice", edits="pipeline.yml", says=("bound by another output already",), at="result: ",
        changes=(("      scored:\n        type: uri_folder", "      scored: ${{parent.outputs.final}}"),)),
    _step("step-output-type", "  final:\n    type: uri_folder", "  final:\n    type: uri_file", "of type uri_folder, but the pipeline's output 'final'",
          at="result: "),
    BadJob(id="component-missing", edits="pipeline.yml", changes=(("./component.yml", "./componnt.yml"),), says=("no such file", "pipeline.yml:28"),
        names="componnt.yml"),
    _step("component-named", "./component.yml", "azureml:second:1", "is not a local file", at="component: "),
    _step("component-input-unknown", "      ratio: 0.5", "      ratio: 0.5\n      color: red", "no input 'color'", "did you mean 'colour'", at="color: red"),
    BadJob(id="component-input-missing", edits="pipeline.yml", changes=(("      ratio: 0.5\n", ""),), says=("'ratio' is missing", "type number"), at=None),
    _step("component-input-range", "      ratio: 0.5", "      ratio: 1.5", "1.5 is out of range", "at most 1"),
    _step("component-input-type", "      ratio: 0.5", "      ratio: half", "'half' is not of type number"),
    _step("component-input-enum", "      ratio: 0.5", "      ratio: 0.5\n      colour: blue", "'blue' is not one of the values", "red, green", at="colour: blue"),
    _step("component-literal-gets-data", "      ratio: 0.5", "      ratio: ${{parent.inputs.images}}", "bound to data"),
    _step("component-output-unknown", "      result: ", "      results: ", "no output 'results'", "did you mean 'result'"),
    _component("component-type", "type: parallel", "type: command", "components of type command cannot run here"),
    _component("component-key", "mini_batch_size: 1", "mini_batch_sizes: 1", "did you mean 'mini_batch_size'"),
    _component("component-compute", "mini_batch_size: 1", "compute: local", "it stands in the step"),
    _component("component-input-declared", "    min: 0", "    minimum: 0", "did you mean 'min'"),
    _component("component-default-type", "    default: red", "    default: blue", "'blue' is not one of the values"),
    _component("component-argument", "--ratio ${{inputs.ratio}}", "--ratio ${{inputs.rati}}", "no input 'rati'", "did you mean 'ratio'", at="program_arg"),
    _component("component-name", "name: second_pass", "name: Second", "is not a name of a component"),
    _component("component-syntax", "version: 1", "version: [1", "YAML syntax", at="inputs:"),
)  # fmt: skip

BAD_JOBS: tuple[BadJob, ...] = (*SYNTAX, *KEYS, *PORTS, *SETTINGS, *TASK, *ARGUMENTS, *EXPRESSIONS, *OVERRIDES, *PIPELINES)
