"""Files that are no YAML, misspelled and misplaced keys, inputs and outputs."""

from __future__ import annotations

from tests.acceptance.bad_jobs.row import JOB, BadJob, set_row

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
    BadJob(
        id="alias-bomb",
        text="a: &a [1,1,1,1,1,1,1,1,1,1]\n"
        + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdef", "bcdefg", strict=True)),
        says=("aliases",),
        at=None,
    ),
    BadJob(id="alias-circle", text="type: parallel\na: &a [*a]\n", says=("refers to the value that it stands in",), at="a: &a"),
    BadJob(
        id="half-a-character", text='type: parallel\ndisplay_name: "a \\ud83d b"\n', says=("ud83d", "half a character"), at="display_name"
    ),
    BadJob(id="half-a-character-in-a-key", text='type: parallel\n"\\udc00": 1\n', says=("udc00", "half a character"), at='"\\udc00"'),
    BadJob(id="too-deep", text="type: " + "[" * 3000 + "\n", says=("nested too deeply",), at=None),
    BadJob(id="two-documents", text="type: parallel\n---\ntype: parallel\n", says=("YAML syntax", "single document"), at="---"),
    BadJob(
        id="duplicate-key",
        changes=(("error_threshold: 1\nlogging", "error_threshold: 1\nmini_batch_size: 3\nlogging"),),
        says=("mini_batch_size", "twice", "line 14"),
        at="mini_batch_size: 3",
    ),
    set_row("number-as-key", "  COLOUR: green", "  1: green", "key must be text", '"1"', at="1: green"),
)

KEYS = (
    set_row("misspelled-key", "mini_batch_size: 2", "mini_batchsize: 2", "unknown key 'mini_batchsize'", "did you mean 'mini_batch_size'"),
    set_row(
        "misspelled-case",
        "error_threshold: 1\nlogging",
        "Error_threshold: 1\nlogging",
        "did you mean 'error_threshold'",
        at="Error_threshold",
    ),
    set_row("key-in-wrong-place", "logging_level: INFO", "entry_script: score.py", "unknown key 'entry_script'", "below task:"),
    BadJob(
        id="misspelled-task-key",
        changes=(("  entry_script: score.py", "  entry_scripts: score.py"),),
        says=("did you mean 'entry_script'", "the key 'entry_script' is missing"),
        at="entry_scripts",
        mistakes=2,
    ),
    set_row("misspelled-retry-key", "  max_retries: 1", "  max_retry: 1", "did you mean 'max_retries'"),
    set_row("misspelled-resources-key", "  instance_count: 1", "  instances_count: 1", "did you mean 'instance_count'"),
    set_row("misspelled-input-key", "    path: ./images", "    path: ./images\n    pathh: x", "did you mean 'path'", at="pathh"),
    set_row(
        "misspelled-output-key",
        "    path: ./out/rows.txt",
        "    path: ./out/rows.txt\n    vresion: 1",
        "did you mean 'version'",
        at="vresion",
    ),
    set_row("command-key", "logging_level: INFO", "command: python x.py", "unknown key 'command'", "task.entry_script"),
    BadJob(id="type-missing", changes=(("type: parallel\n", ""),), says=("'type' is missing", "type: parallel")),
    set_row("type-unknown", "type: parallel", "type: paralel", "did you mean 'parallel'"),
    *(
        BadJob(
            id=f"file-of-{word}", text=f"$schema: https://x.example/latest/{word}.schema.json\nname: x\n", says=(says, todo), at="$schema"
        )
        for word, says, todo in (
            ("environment", "this is an environment, not a job", "runner environment create -f"),
            ("data", "this is a data asset, not a job", "runner data create -f"),
            ("schedule", "this is a schedule, not a job", "runner job create -f FILE"),
            ("batchEndpoint", "this is a batch endpoint, not a job", "runner batch invoke"),
            ("managedOnlineDeployment", "this is an online deployment, not a job", "cannot run here"),
        )
    ),
    set_row("type-sweep", "type: parallel", "type: sweep", "jobs of type sweep cannot run here", "command, parallel, pipeline"),
    BadJob(
        id="inputs-not-a-mapping",
        changes=(("inputs:\n  images:\n    type: uri_folder\n    path: ./images\n  limit: 3\n", "inputs: ./images\n"),),
        says=("must be a mapping",),
        at="inputs: ./images",
        mistakes=3,
    ),
    BadJob(
        id="task-not-a-mapping",
        changes=((JOB[JOB.index("task:") :], "task: score.py\n"),),
        says=("must be a mapping, not the text 'score.py'",),
        at="task:",
    ),
    BadJob(id="task-missing", changes=((JOB[JOB.index("task:") :], ""),), says=("the key 'task' is missing", "run_function")),
    set_row("tags-nested", "display_name: score images", "tags: {a: {b: c}}", "must be one value, not a mapping"),
    BadJob(
        id="name-invalid",
        changes=(("display_name: score images", "name: a/b"),),
        says=("'a/b' is not a name of a job", "letters"),
        at="name: a/b",
    ),
)

LONG = "./" + "x" * 300
PORTS = (
    set_row(
        "output-is-input",
        "    type: uri_file\n    path: ./out/rows.txt",
        "    type: uri_folder\n    path: ./images/",
        "path of the input 'images'",
        at="  rows:",
    ),
    set_row("input-name-too-long", "    path: ./images", f"    path: {LONG}", "cannot be reached", "too long"),
    set_row("output-name-too-long", "    path: ./out/rows.txt", f"    path: {LONG}", "cannot be reached", "too long"),
    set_row("input-home", "    path: ./images", "    path: ~/images", "~ is not expanded"),
    set_row("input-missing-path", "    path: ./images", "    path: ./imagse", "'./imagse' does not exist", "looked for"),
    set_row("input-absolute-missing", "    path: ./images", "    path: /no/such/folder", "'/no/such/folder' does not exist"),
    set_row("input-folder-is-file", "    path: ./images", "    path: ./images/a.png", "is a file", "uri_file"),
    BadJob(
        id="input-file-is-folder",
        changes=(("    type: uri_folder", "    type: uri_file"),),
        says=("is a folder", "type: uri_folder"),
        at="path: ./images",
    ),
    BadJob(
        id="mltable-file",
        changes=(("    type: uri_folder\n    path: ./images", "    type: mltable\n    path: ./table/MLTable"),),
        says=("is a file", "the folder that the MLTable file lies in"),
        at="./table/MLTable",
    ),
    set_row(
        "input-type-unknown",
        "    type: uri_folder\n    path: ./im",
        "    type: uri_foldr\n    path: ./im",
        "not a type of inputs",
        "did you mean 'uri_folder'",
    ),
    set_row("input-mode-unknown", "    path: ./images", "    mode: ro_mnt\n    path: ./images", "not a mode", "did you mean 'ro_mount'"),
    set_row("eval-mount-on-files", "    path: ./images", "    mode: eval_mount\n    path: ./images", "for type: mltable"),
    set_row("input-empty", "  limit: 3", "  limit:", "no value"),
    set_row("input-without-path", "    path: ./images", "    mode: download", "the input has no path", at="  images:"),
    set_row("input-name", "  limit: 3", "  lim..it: 3\n  limit: 3", "is not a name of an input", at="lim..it"),
    set_row("literal-type", "  limit: 3", "  limit: {type: integer, value: three}", "'three' is not of type integer"),
    set_row("literal-boolean-as-int", "  limit: 3", "  limit: {type: integer, value: true}", "the boolean true is not of type integer"),
    set_row("remote-dots", "    path: ./images", "    path: wasbs://c@acc.blob.core.windows.net/a/../x", "'..'"),
    set_row("remote-https", "    path: ./images", "    path: https://example.com/data/", "no address in blob storage", "copy the data"),
    set_row("remote-http", "    path: ./images", "    path: http://acc.blob.core.windows.net/c/x", "reached by http"),
    set_row("remote-query", "    path: ./images", "    path: https://acc.blob.core.windows.net/c/x?sv=1", "is not a SAS"),
    set_row("remote-account", "    path: ./images", "    path: https://acc.blob.core.windows.net/", "names no container"),
    set_row("remote-user", "    path: ./images", "    path: https://me:word@acc.blob.core.windows.net/c", "the name of a user"),
    set_row("remote-registry", "    path: ./images", "    path: azureml://registries/r/data/x/versions/1", "lies in a registry"),
    set_row(
        "datastore-unknown",
        "    path: ./images",
        "    path: azureml://datastores/workspaceblobstor/paths/x",
        "datastore",
        "workspaceblobstore",
    ),
    set_row(
        "output-of-a-job",
        "    path: ./images",
        "    path: azureml://jobs/other_job/outputs/model/paths/x",
        "outputs of other jobs have no address here",
        "runner job show -n other_job",
    ),
    set_row("datastore-incomplete", "    path: ./images", "    path: azureml://datastores/x", "not a complete azureml:// path"),
    set_row("datastore-dots", "    path: ./images", "    path: azureml://datastores/workspaceblobstore/paths/../x", "'..'"),
    set_row("asset-unknown", "    path: ./images", "    path: azureml:digits:1", "no data asset 'azureml:digits:1'"),
    set_row("scheme-unknown", "    path: ./images", "    path: s3://bucket/x", "'s3://'", "azureml://"),
    set_row("scheme-misspelled", "    path: ./images", "    path: wasb5://c@a.blob.core.windows.net/x", "did you mean 'wasb"),
    set_row("windows-path", "    path: ./images", "    path: C:\\data\\images", "Windows path"),
    set_row("file-uri-host", "    path: ./images", "    path: file://server/share", "names another machine"),
    set_row("output-type-unknown", "    type: uri_file", "    type: uri_fil", "not a type of outputs", "did you mean 'uri_file'"),
    set_row("output-type-literal", "    type: uri_file", "    type: string", "not a type of outputs"),
    set_row(
        "output-mode", "    path: ./out/rows.txt", "    mode: ro_mount\n    path: ./out/rows.txt", "'ro_mount' is not a mode of an output"
    ),
    set_row("output-direct-on-file", "    path: ./out/rows.txt", "    mode: direct\n    path: ./out/rows.txt", "'direct' is not a mode"),
    set_row("output-is-folder", "    path: ./out/rows.txt", "    path: ./src", "is a folder, but the output is of type uri_file"),
    set_row("output-below-a-file", "    path: ./out/rows.txt", "    path: ./conda.yml/rows.txt", "is a file", "another path"),
    set_row("output-remote", "    path: ./out/rows.txt", "    path: https://example.com/x.txt", "no address in blob storage"),
    set_row("output-version-alone", "    path: ./out/rows.txt", "    version: 2\n    path: ./out/rows.txt", "a version needs a name"),
    set_row(
        "outputs-same-path", "input_data", "  more:\n    type: uri_file\n    path: ./out/../out/rows.txt\ninput_data", "have the same path"
    ),
)
