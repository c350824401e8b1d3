"""Settings, the task with its script and environment, arguments, expressions, overrides."""

from __future__ import annotations

from tests.acceptance.bad_jobs.row import BadJob, argument_row, docker_row, set_row

ENVIRONMENT = "  append_row_to: ${{outputs.rows}}"

SETTINGS = (
    set_row("mini-batch-size-zero", "mini_batch_size: 2", "mini_batch_size: 0", "cannot have the size 0"),
    set_row(
        "mini-batch-size-negative", "mini_batch_size: 2", "mini_batch_size: -1", "not a size of mini-batches", "^\\d+ ?([kKmMgG][bB]?)?$"
    ),
    set_row("mini-batch-size-words", "mini_batch_size: 2", "mini_batch_size: ten", "'ten' is not a size"),
    set_row("mini-batch-size-unit", "mini_batch_size: 2", "mini_batch_size: 10tb", "'10tb' is not a size"),
    set_row("mini-batch-size-fraction", "mini_batch_size: 2", "mini_batch_size: 1.5", "'1.5' is not a size"),
    set_row("mini-batch-size-boolean", "mini_batch_size: 2", "mini_batch_size: true", "is not a size"),
    set_row("mini-batch-size-bytes-of-files", "mini_batch_size: 2", "mini_batch_size: 10kb", "unit of bytes", "a number of files"),
    set_row("mini-batch-size-list", "mini_batch_size: 2", "mini_batch_size: [2]", "must be one value, not a list"),
    set_row("concurrency-zero", "max_concurrency_per_instance: 1", "max_concurrency_per_instance: 0", "0 is out of range", "from 1"),
    set_row(
        "concurrency-boolean",
        "max_concurrency_per_instance: 1",
        "max_concurrency_per_instance: true",
        "the boolean true is not a whole number",
    ),
    set_row("concurrency-text", "max_concurrency_per_instance: 1", "max_concurrency_per_instance: two", "'two' is not a whole number"),
    set_row("threshold-low", "mini_batch_error_threshold: 1", "mini_batch_error_threshold: -2", "-2 is out of range", "-1"),
    set_row("threshold-high", "\nerror_threshold: 1", "\nerror_threshold: 2147483648", "out of range", "2147483647", at="2147483648"),
    set_row("logging-level", "logging_level: INFO", "logging_level: info", "did you mean 'INFO'", "WARNING, INFO, DEBUG"),
    set_row("retries-negative", "  max_retries: 1", "  max_retries: -1", "-1 is out of range"),
    set_row("timeout-zero", "  timeout: 30", "  timeout: 0", "0 is out of range", "259200"),
    set_row("timeout-high", "  timeout: 30", "  timeout: 259201", "out of range", "259200"),
    set_row("timeout-text", "  timeout: 30", "  timeout: 30s", "'30s' is not a number"),
    set_row("instances-zero", "  instance_count: 1", "  instance_count: 0", "0 is out of range"),
    set_row(
        "instances-below-maximum",
        "  instance_count: 1",
        "  instance_count: 3\n  max_instance_count: 2",
        "less than instance_count",
        at="max_instance_count",
    ),
    set_row("shm-size", "  instance_count: 1", "  shm_size: 2 gb", "not a size of shared memory", "^[1-9]\\d*[bkmg]$"),
    set_row("docker-args-quote", "  instance_count: 1", "  docker_args: --name 'x", "cannot be split", "close the quote"),
    docker_row("flag-unknown", "--shm-sise 1g", "docker run has no flag --shm-sise", "did you mean '--shm-size'"),
    docker_row("image", "--init ubuntu:22.04", "'ubuntu:22.04' is no flag", "no image and no command"),
    docker_row("no-value", "--init --memory", "--memory has no value"),
    docker_row("value", "--memory lots", "'lots' is no value of --memory", "512m"),
    docker_row("one-entry", "['--cpus 2']", "no flag --cpus 2", "'--cpus' and '2'"),
    docker_row("reserved", "-w /work", "-w (--workdir) is reserved", "leave -w out"),
    docker_row("refused", "--platform linux/arm64", "--platform is refused", "that of the image"),
    docker_row("label", "-l runner.job=x", "'runner.job' is a label of the runner's own"),
    docker_row("variable", "-e RUNNER_HOME=/x", "'RUNNER_HOME' is a name of the runner's own"),
    docker_row("env-file-gone", "--env-file gone.env", "--env-file gone.env cannot be read", "No such file"),
    docker_row("privileged", "--privileged", "--privileged is not allowed in this workspace", "docker.policy.allow"),
    docker_row("host-network", "[--network, host]", "--network host is not allowed", "host-network"),
    docker_row("mount-outside", "-v /etc:/x", "--volume of /etc is not allowed", "outside the data roots", "docker.policy.data_roots"),
    docker_row("mount-around", "-v /proc/self/root/etc:/x", "leads through /proc"),
    docker_row("mount-gone", "--mount type=bind,src=./nowhere,dst=/x", "does not exist on this machine"),
    set_row(
        "docker-args-several",
        "  instance_count: 1",
        "  docker_args: --name x --cpus many",
        "--name is reserved",
        "'many' is no value of --cpus",
        mistakes=2,
    ),
    set_row(
        "instance-type-unknown",
        "  instance_count: 1",
        "  instance_type: Standard_D2",
        "instance type 'Standard_D2' is not known",
        "--local",
    ),
    set_row("resources-twice", "  instance_count: 1", "  instance_count: 2\ninstance_count: 3", "stands twice", at="instance_count: 3"),
    set_row("partition-keys-text", "logging_level: INFO", "partition_keys: user", "must be a list of names", "[user, season]"),
    set_row("partition-keys-empty", "logging_level: INFO", "partition_keys: []", "an empty list"),
    set_row("partition-keys-twice", "logging_level: INFO", "partition_keys: [a, a]", "stands twice"),
    set_row("partition-keys-expression", "logging_level: INFO", "partition_keys: ['${{inputs.limit}}']", "take no expression"),
    set_row(
        "compute-unknown", "logging_level: INFO", "compute: azureml:cpu-cluster", "compute 'cpu-cluster' is not known", "local", "--local"
    ),
    set_row("is-deterministic", "logging_level: INFO", "is_deterministic: perhaps", "is not a boolean", "true, false"),
    set_row("variable-of-the-runner", "  COLOUR: green", "  RUNNER_HOME: x", "'RUNNER_HOME' is a name of the runner's own"),
    set_row("variable-name", "  COLOUR: green", "  'A=B': x", "is not a name of an environment variable"),
    set_row("identity-type", "logging_level: INFO", "identity: {type: managd}", "not a type of identity", "did you mean 'managed'"),
    set_row("identity-without-type", "logging_level: INFO", "identity: {client_id: x}", "identity has no type"),
    set_row("identity-key", "logging_level: INFO", "identity: {type: aml_token, client_id: x}", "unknown key 'client_id'"),
)

TASK = (
    set_row("task-type", "  type: run_function", "  type: run_functon", "did you mean 'run_function'"),
    set_row("task-type-model", "  type: run_function", "  type: model", "tasks of type model cannot run here", "run_function"),
    BadJob(id="task-type-missing", changes=(("  type: run_function\n", ""),), says=("'type' is missing", "run_function"), at="task:"),
    BadJob(id="code-missing", changes=(("  code: ./src\n", ""),), says=("'code' is missing", "code: ./src"), at="task:"),
    set_row("code-not-there", "  code: ./src", "  code: ./scr", "the folder './scr' does not exist"),
    set_row("code-is-a-file", "  code: ./src", "  code: ./src/score.py", "is a file", "code: ./src"),
    set_row("code-remote", "  code: ./src", "  code: azureml:code:1", "is not a local folder"),
    set_row("code-expression", "  code: ./src", "  code: ${{inputs.images}}", "takes no expression"),
    set_row("script-not-there", "entry_script: score.py", "entry_script: scoer.py", "'scoer.py' is not in", "did you mean 'score.py'"),
    set_row("script-outside", "entry_script: score.py", "entry_script: ../src/score.py", "outside `code`"),
    BadJob(
        id="script-without-run",
        changes=(("score.py", "norun.py"),),
        says=("defines no `run`", "rename 'runn' to run"),
        names="src/norun.py",
    ),
    BadJob(
        id="script-syntax",
        changes=(("score.py", "broken.py"),),
        says=("syntax error in the entry script",),
        names="src/broken.py",
        at="def run(",
    ),
    BadJob(
        id="script-asynchronous",
        changes=(("score.py", "asynchronous.py"),),
        says=("asynchronous entry script", "enqueue"),
        names="src/asynchronous.py",
        at="def enqueue",
    ),
    BadJob(id="script-coroutine", changes=(("score.py", "coroutine.py"),), says=("async def",), names="src/coroutine.py", at="async def"),
    BadJob(
        id="script-run-without-arguments",
        changes=(("score.py", "noargs.py"),),
        says=("run(mini_batch)",),
        names="src/noargs.py",
        at="def run",
    ),
    BadJob(
        id="input-data-missing", changes=(("input_data: ${{inputs.images}}\n", ""),), says=("'input_data' is missing", "${{inputs.images}}")
    ),
    set_row("input-data-plain", "input_data: ${{inputs.images}}", "input_data: images", "must be an expression", "${{inputs.images}}"),
    set_row(
        "input-data-unknown", "input_data: ${{inputs.images}}", "input_data: ${{inputs.image}}", "no input 'image'", "did you mean 'images'"
    ),
    set_row("input-data-literal", "input_data: ${{inputs.images}}", "input_data: ${{inputs.limit}}", "cannot be split"),
    set_row("input-data-output", "input_data: ${{inputs.images}}", "input_data: ${{outputs.rows}}", "not one of the inputs"),
    set_row(
        "append-row-to-unknown",
        "  append_row_to: ${{outputs.rows}}",
        "  append_row_to: ${{outputs.row}}",
        "no output 'row'",
        "did you mean 'rows'",
    ),
    set_row("append-row-to-input", "  append_row_to: ${{outputs.rows}}", "  append_row_to: ${{inputs.images}}", "not one of the outputs"),
    set_row("append-row-to-model", "    type: uri_file", "    type: custom_model", "rows cannot be appended", at="append_row_to"),
    set_row("model-missing", ENVIRONMENT, ENVIRONMENT + "\n  model: ./model", "the model './model' does not exist", at="model: ./model"),
    set_row(
        "environment-unknown",
        ENVIRONMENT,
        ENVIRONMENT + "\n  environment: azureml:sklearn:1",
        "environment 'azureml:sklearn:1' is not known",
        at="environment: a",
        local=True,
    ),
    set_row(
        "environment-image-and-build",
        ENVIRONMENT,
        ENVIRONMENT + "\n  environment: {image: x, build: {path: ./src}}",
        "exclude each other",
        at="environment: {",
        local=True,
    ),
    set_row(
        "environment-image-name",
        ENVIRONMENT,
        ENVIRONMENT + "\n  environment: {image: 'registry.example/Team/scorer:1'}",
        "'registry.example/Team/scorer:1' is no name of an image: 'Team' has capital letters",
        at="environment: {",
        local=True,
    ),
    set_row(
        "environment-image-digest",
        ENVIRONMENT,
        ENVIRONMENT + "\n  environment: {image: 'registry.example/scorer@sha256:12'}",
        "'sha256:12' is no digest",
        at="environment: {",
        local=True,
    ),
    set_row(
        "environment-empty",
        ENVIRONMENT,
        ENVIRONMENT + "\n  environment: {description: x}",
        "says nothing",
        "conda_file",
        at="environment: {",
    ),
    set_row(
        "environment-key",
        ENVIRONMENT,
        ENVIRONMENT + "\n  environment: {conda_fil: conda.yml, conda_file: conda.yml}",
        "did you mean 'conda_file'",
        at="environment: {",
    ),
    set_row(
        "environment-dependencies",
        ENVIRONMENT,
        ENVIRONMENT + "\n  environment: {dependencies: [x], conda_file: conda.yml}",
        "conda_file names",
        at="environment: {",
    ),
    set_row(
        "conda-missing",
        ENVIRONMENT,
        ENVIRONMENT + "\n  environment: {conda_file: ./nope.yml}",
        "'./nope.yml' does not exist",
        at="environment: {",
    ),
    BadJob(
        id="conda-misspelled",
        changes=((ENVIRONMENT, ENVIRONMENT + "\n  environment: {conda_file: ./badconda.yml}"),),
        says=("needs the list `dependencies`", "in the place of 'dependencis'"),
        names="badconda.yml",
    ),
    BadJob(
        id="conda-not-a-list",
        changes=((ENVIRONMENT, ENVIRONMENT + "\n  environment: {conda_file: ./notaconda.yml}"),),
        says=("needs the list `dependencies`",),
        names="notaconda.yml",
        at="dependencies",
    ),
)

ARGUMENTS = (
    argument_row("quote", "--name 'x", "no closing quotation", "close the quote"),
    argument_row("percent", "--allowed_failed_percent 101", "--allowed_failed_percent cannot be '101'", "from 0 to 100"),
    argument_row("overhead", "--task_overhead_timeout 0", "more than 0"),
    argument_row("progress", "--progress_update_timeout=259201", "at most 259200"),
    argument_row("creation", "--first_task_creation_timeout soon", "cannot be 'soon'"),
    argument_row("monitor", "--resource_monitor_interval -5", "from 0 (off)"),
    argument_row("threshold", "--error_threshold -2", "cannot be '-2'"),
    argument_row("flag", "--append_row_dataframe_header maybe", "True, False"),
    argument_row("profiling", "--profiling_module yappi", "cProfile"),
    argument_row("without-value", "--allowed_failed_count", "needs a value"),
    argument_row("unknown-input", "--limit ${{inputs.limt}}", "no input 'limt'", "did you mean 'limit'", "images, limit"),
    argument_row("unknown-word", "--limit ${{input.limit}}", "did you mean '${{inputs.limit}}'"),
    argument_row("parent", "--limit ${{parent.inputs.limit}}", "has no parent"),
    argument_row("search-space", "--limit ${{search_space.x}}", "sweep"),
    argument_row("unclosed-expression", "--limit ${{inputs.limit}", "not closed"),
    argument_row("unclosed-optional", "'$[[--limit ${{inputs.limit}}'", "'$[[' is not closed"),
)

EXPRESSIONS = (
    set_row("expression-not-a-number", "  timeout: 30", "  timeout: ${{inputs.images}}", "is not a number"),
    BadJob(
        id="expression-out-of-range",
        changes=(("  limit: 3", "  limit: 3\n  zero: 0"), ("  instance_count: 1", "  instance_count: ${{inputs.zero}}")),
        says=("0 is out of range",),
        at="instance_count:",
    ),
    set_row("expression-unknown", "  timeout: 30", "  timeout: ${{inputs.time}}", "no input 'time'", "images, limit"),
)

OVERRIDES = (
    BadJob(id="set-without-value", arguments=("--set", "mini_batch_size"), says=("is not an override", "path=value"), names="--set"),
    BadJob(
        id="set-misspelled", arguments=("--set", "resources.instances=2"), says=("unknown key 'instances'", "instance_count"), names="--set"
    ),
    BadJob(id="set-out-of-range", arguments=("--set", "mini_batch_size=0"), says=("cannot have the size 0",), names="--set"),
    BadJob(id="set-below-a-scalar", arguments=("--set", "inputs.limit.x=2"), says=("holds no 'x'",), names="--set"),
    BadJob(id="set-bad-path", arguments=("--set", "a..b=2"), says=("not well formed",), names="--set"),
)
