"""Pipelines, their steps and components."""

from __future__ import annotations

from tests.acceptance.bad_jobs.row import BadJob, component_row, step_row

PIPELINES = (
    BadJob(id="pipeline-without-jobs", edits="pipeline.yml", text="type: pipeline\n", says=("'jobs' is missing", "at least one step")),
    BadJob(id="pipeline-empty-jobs", edits="pipeline.yml", text="type: pipeline\njobs: {}\n", says=("'jobs' is missing",)),
    step_row("pipeline-key", "settings:", "tasks: 1\nsettings:", "unknown key 'tasks'"),
    step_row("settings-key", "  default_compute: local", "  default_computes: local", "did you mean 'default_compute'"),
    step_row("settings-compute", "  default_compute: local", "  default_compute: gpu", "compute 'gpu' is not known", "--local"),
    step_row(
        "settings-datastore",
        "  default_compute: local",
        "  default_datastore: azureml:other",
        "no datastore 'other'",
        "workspaceblobstore",
    ),
    step_row("settings-boolean", "  default_compute: local", "  force_rerun: 2", "2 is not a boolean"),
    *(
        step_row(f"step-type-{kind}", "    type: parallel", f"    type: {kind}", f"the step 'first' is of type {kind}", "command, parallel")
        for kind in ("sweep", "spark", "automl", "import", "data_transfer")
    ),
    step_row(
        "step-type-unknown", "    type: parallel", "    type: parralel", "the step 'first' has the unknown type", "did you mean 'parallel'"
    ),
    BadJob(id="step-without-type", edits="pipeline.yml", changes=(("    type: parallel\n", ""),), says=("'type' is missing",), at="first:"),
    BadJob(
        id="step-name",
        edits="pipeline.yml",
        changes=(("  first:\n", "  first step:\n"),),
        says=("'first step' is not a name of a step",),
        at="first step",
        mistakes=2,
    ),
    step_row("step-not-a-mapping", "  second:\n", "  third: 3\n  second:\n", "a step must be a mapping", at="third: 3"),
    step_row(
        "step-parents", "${{parent.inputs.images}}", "${{parents.inputs.images}}", "did you mean '${{parent.inputs.images}}'", at="parents."
    ),
    step_row(
        "step-parent-unknown",
        "${{parent.inputs.images}}",
        "${{parent.inputs.image}}",
        "the pipeline has no input 'image'",
        "images, size",
        at="inputs.image}",
    ),
    step_row("step-parent-side", "${{parent.inputs.images}}", "${{parent.input.images}}", "did you mean 'inputs'", at="parent.input."),
    step_row("step-unknown-step", "parent.jobs.first.", "parent.jobs.frist.", "no step 'frist'", "did you mean 'first'", at="frist"),
    step_row(
        "step-unknown-output",
        "outputs.scored}}\n      ratio",
        "outputs.score}}\n      ratio",
        "step 'first' has no output 'score'",
        "scored",
        at="outputs.score}",
    ),
    step_row("step-unknown-side", "first.outputs.scored", "first.output.scored", "did you mean 'outputs'", at="first.output."),
    step_row(
        "step-circle",
        "images: ${{parent.inputs.images}}",
        "images: ${{parent.jobs.second.outputs.result}}",
        "wait for each other",
        "first → second → first",
        at="  first:",
    ),
    step_row("step-binding-number", "  size: 2", "  size: 0", "cannot have the size 0", at="mini_batch_size"),
    step_row(
        "step-output-unknown",
        "${{parent.outputs.final}}",
        "${{parent.outputs.finl}}",
        "no output 'finl'",
        "did you mean 'final'",
        at="finl}",
    ),
    step_row("step-output-is-input", "${{parent.outputs.final}}", "${{parent.inputs.images}}", "is an input", at="result: "),
    BadJob(
        id="step-output-twice",
        edits="pipeline.yml",
        says=("bound by another output already",),
        at="result: ",
        changes=(("      scored:\n        type: uri_folder", "      scored: ${{parent.outputs.final}}"),),
    ),
    step_row(
        "step-output-type",
        "  final:\n    type: uri_folder",
        "  final:\n    type: uri_file",
        "of type uri_folder, but the pipeline's output 'final'",
        at="result: ",
    ),
    BadJob(
        id="component-missing",
        edits="pipeline.yml",
        changes=(("./component.yml", "./componnt.yml"),),
        says=("no such file", "pipeline.yml:28"),
        names="componnt.yml",
    ),
    step_row("component-named", "./component.yml", "azureml:second:1", "is not a local file", at="component: "),
    step_row(
        "component-input-unknown",
        "      ratio: 0.5",
        "      ratio: 0.5\n      color: red",
        "no input 'color'",
        "did you mean 'colour'",
        at="color: red",
    ),
    BadJob(
        id="component-input-missing",
        edits="pipeline.yml",
        changes=(("      ratio: 0.5\n", ""),),
        says=("'ratio' is missing", "type number"),
        at=None,
    ),
    step_row("component-input-range", "      ratio: 0.5", "      ratio: 1.5", "1.5 is out of range", "at most 1"),
    step_row("component-input-type", "      ratio: 0.5", "      ratio: half", "'half' is not of type number"),
    step_row(
        "component-input-enum",
        "      ratio: 0.5",
        "      ratio: 0.5\n      colour: blue",
        "'blue' is not one of the values",
        "red, green",
        at="colour: blue",
    ),
    step_row("component-literal-gets-data", "      ratio: 0.5", "      ratio: ${{parent.inputs.images}}", "bound to data"),
    step_row("component-output-unknown", "      result: ", "      results: ", "no output 'results'", "did you mean 'result'"),
    component_row("component-type", "type: parallel", "type: sweep", "components of type sweep cannot run here", "command, parallel"),
    component_row("component-key", "mini_batch_size: 1", "mini_batch_sizes: 1", "did you mean 'mini_batch_size'"),
    component_row("component-compute", "mini_batch_size: 1", "compute: local", "it stands in the step"),
    component_row("component-input-declared", "    min: 0", "    minimum: 0", "did you mean 'min'"),
    component_row("component-default-type", "    default: red", "    default: blue", "'blue' is not one of the values"),
    component_row(
        "component-argument",
        "--ratio ${{inputs.ratio}}",
        "--ratio ${{inputs.rati}}",
        "no input 'rati'",
        "did you mean 'ratio'",
        at="program_arg",
    ),
    component_row("component-name", "name: second_pass", "name: Second", "is not a name of a component"),
    component_row("component-syntax", "version: 1", "version: [1", "YAML syntax", at="inputs:"),
)
