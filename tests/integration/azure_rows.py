"""Where the runner and `azure-ai-ml` differ on the files of the corpus, and the rows of the compatibility table that say why."""

from __future__ import annotations

from runner.compatibility.table import sections

ROWS = [row for section in sections() for row in section.rows]

# Rows of the table, by how they begin.
TYPE = "`type`"
LOOSE = "numbers, words, bindings"
UNKNOWN = "unknown keys and keywords"
MERGED = "settings of a step over those of its component"
NAMES = "`display_name`"
COMMAND = "`command`"
INSTANCES = "`distribution`"
SIZE = "`mini_batch_size`"
LITERALS = "`inputs.*.value`"
OUTPUT_MODE = "`outputs.*.mode`"
ARGUMENTS = "`--error_threshold`"
ENVIRONMENT = "`environment.$schema`"
NO_ENVIRONMENT = "`environment`"

# (file, name in the normal form) → the row that says why the two differ there.
DIFFERS = {
    ("command/conda_inline.yml", "environment.name"): ENVIRONMENT,
    ("command/conda_inline.yml", "environment.version"): ENVIRONMENT,
    ("command/shell.yml", "command"): COMMAND,
    ("command/words_with_blanks.yml", "command"): COMMAND,
    ("components/score_table.yml", "step.environment_variables.A"): MERGED,
    ("components/score_table.yml", "step.environment_variables.B"): MERGED,
    ("parallel/literals.yml", "environment.name"): ENVIRONMENT,
    ("pipeline/iris_batch_prediction.yml", "batch_prediction.environment.name"): ENVIRONMENT,
    ("pipeline/iris_batch_prediction.yml", "batch_prediction.error_threshold"): ARGUMENTS,
    ("pipeline/mnist.yml", "predict.description"): NAMES,
    ("pipeline/mnist.yml", "predict.display_name"): NAMES,
    ("pipeline/mnist.yml", "predict.tags.stage"): NAMES,
    ("pipeline/pipeline_identity.yml", "one.identity.type"): "`identity`",
    ("pipeline/two_modes_of_one_input.yml", "fetched.inputs.rows.type"): "the type of an input that is bound",
    ("pipeline/resources_over_component.yml", "score.environment_variables.A"): MERGED,
    ("pipeline/resources_over_component.yml", "score.environment_variables.B"): MERGED,
    ("pipeline/resources_over_component.yml", "score.resources.docker_args"): MERGED,
    ("pipeline/resources_over_component.yml", "score.resources.shm_size"): MERGED,
    ("pipeline/zeros_over_component.yml", "score.mini_batch_error_threshold"): MERGED,
    ("pipeline/zeros_over_component.yml", "score.retry_settings.timeout"): MERGED,
}

# Files below `wrong` that only we refuse, and those that only Azure does, with their rows. Both refuse the others.
WE_REFUSE = {
    "wrong/bytes_of_files.yml": SIZE,
    "wrong/choice_that_is_none.yml": LITERALS,
    "wrong/component_default_not_among_the_values.yml": LITERALS,
    "wrong/component_default_out_of_range.yml": LITERALS,
    "wrong/component_input_of_another_type.yml": LITERALS,
    "wrong/direct_output_of_a_folder.yml": OUTPUT_MODE,
    "wrong/distribution.yml": INSTANCES,
    "wrong/folder_that_is_a_file.yml": "`inputs.*.path`",
    "wrong/image_and_build.yml": "`environment.build`",
    "wrong/input_that_the_component_lacks.yml": UNKNOWN,
    "wrong/missing_data.yml": "`inputs.*.path`",
    "wrong/no_jobs.yml": "`jobs`",
    "wrong/no_task.yml": "`task`",
    "wrong/script_that_is_missing.yml": "`task.entry_script`",
    "wrong/several_instances.yml": INSTANCES,
    "wrong/shm_size.yml": "`shm_size`",
    "wrong/sweep.yml": TYPE,
    "wrong/two_writers_of_one_output.yml": "appearance",
    "wrong/two_that_need_each_other.yml": "`jobs`",
    "wrong/unknown_name_in_a_command.yml": "expressions with an unknown name",
    "wrong/windows.yml": "`environment.os_type`",
}
AZURE_REFUSES = {
    "wrong/compute_without_prefix.yml": "`compute`",
    "wrong/deterministic_step.yml": "`is_deterministic`",
    "wrong/literal_in_long_form.yml": LITERALS,
    "wrong/no_environment.yml": NO_ENVIRONMENT,
    "wrong/size_that_is_a_number.yml": LOOSE,
    "wrong/size_with_a_blank.yml": SIZE,
    "wrong/tag_that_is_a_number.yml": LOOSE,
}
