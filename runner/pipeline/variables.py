"""The environment variables that scripts read (inputs-outputs.md §5.3)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from runner.model.job import Step
from runner.storage import addresses

WORKSPACE = "local"
TRACKING_URI = "MLFLOW_TRACKING_URI"
TRACKING_USERNAME, TRACKING_PASSWORD, TRACKING_TOKEN = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"
TRACKING_SECRETS = TRACKING_USERNAME, TRACKING_PASSWORD, TRACKING_TOKEN
MODELS = "RUNNER_MODELS"  # read by azureml.core.model of runner/worker/importable


def job_variables(step: Step, *, bi_output: str, tracking: Mapping[str, str], model: str | None = None, gpus: int = 0) -> dict[str, str]:
    """What Azure sets and we set too; the job's own `environment_variables` win.

    `tracking`: those of MLflow; `model`: the folder that has the model in it.
    """
    variables = {
        "AZUREML_RUN_ID": step.name,
        "AZUREML_ROOT_RUN_ID": root_of(step),
        "AZUREML_EXPERIMENT_ID": step.experiment_name,
        "AZUREML_ARM_SUBSCRIPTION": WORKSPACE,
        "AZUREML_ARM_RESOURCEGROUP": WORKSPACE,
        "AZUREML_ARM_WORKSPACE_NAME": WORKSPACE,
        "AZUREML_ARM_PROJECT_NAME": step.experiment_name,
        "AZUREML_CR_COMPUTE_CONTEXT": json.dumps({"cluster": {"name": step.compute}, "gpu_count": gpus}),
        "AZUREML_BI_OUTPUT_PATH": bi_output,
        "AZ_BATCHAI_GPU_COUNT_FOUND": str(gpus),
        **tracking,
    }
    for name, given in step.inputs.items():
        if given.is_data and given.path:
            variables[f"AZURE_ML_INPUT_{name}"] = variables[f"AZUREML_DATAREFERENCE_{name}"] = given.path
    for name, output in step.outputs.items():
        variables[f"AZURE_ML_OUTPUT_{name}"] = variables[f"AZUREML_DATAREFERENCE_{name}"] = output.path
    if model:
        variables["AZUREML_MODEL_DIR"] = model
    variables[MODELS] = json.dumps(list(_models(step)))
    address = {name: text for name, text in tracking.items() if name == TRACKING_URI}  # the job's own, if it has one, without a password
    return {**variables, **step.environment_variables, **address}


def apart(variables: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Those that may be seen, and those that only workers are told: `docker inspect` shows a container's variables."""
    told = {name: text for name, text in variables.items() if name in TRACKING_SECRETS}
    return {name: text for name, text in variables.items() if name not in told}, told


def _models(step: Step) -> Iterator[dict[str, object]]:
    """What `azureml.core.Model.get_model_path` knows: task.model, then inputs, models first. Paths are in variables, for instances that
    have them elsewhere.
    """
    inputs = sorted(step.inputs.items(), key=lambda one: not one[1].type.endswith("_model"))
    if step.model:
        bound = [(name, one) for name, one in inputs if one.path == step.model]
        names, version = _names(bound[0][0] if bound else "", bound[0][1].uri if bound else "", step.model)
        yield {"names": names, "version": version, "variable": "AZUREML_MODEL_DIR", "below": addresses.base_name(step.model)}
    for name, given in inputs:
        if given.is_data and given.path and given.path != step.model and name != step.input_data:
            names, version = _names(name, given.uri or "", given.path)
            yield {"names": names, "version": version, "variable": f"AZURE_ML_INPUT_{name}", "below": ""}


def _names(port: str, uri: str | None, path: str) -> tuple[list[str], str | None]:
    """Of the input, of a data asset, and of the file or folder; the version of the asset."""
    asset = re.fullmatch(r"azureml:([^/:@]+)(?::([^/:@]+)|@\w+)?", uri or "")
    last = addresses.base_name(path)
    names = [asset[1] if asset else "", port, last, last.rpartition(".")[0]]
    return list(dict.fromkeys(name for name in names if name)), asset[2] if asset else None


def root_of(step: Step) -> str:
    """The pipeline that it is a step of, or the job itself."""
    return step.name.removesuffix(f".{step.step}") if step.step else step.name


def replace_paths(words: Mapping[str, str], moved: Mapping[str, str]) -> dict[str, str]:
    """The texts with each path of `moved` replaced: where an instance has an output or input somewhere else."""
    return {key: replace_path(text, moved) for key, text in words.items()}


def replace_path(text: str, moved: Mapping[str, str]) -> str:
    """Of two paths of which one begins the other, the longer one counts; what was put in is not looked at again."""
    if not moved:
        return text
    old = "|".join(re.escape(path) for path in sorted(moved, key=len, reverse=True))
    return re.sub(old, lambda found: moved[found[0]], text)
