"""Batch deployments: the file of one, and what it is run over, as the parallel job that it means.

The values keep their places in the deployment's file, so that whatever is wrong with them is told as standing there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from runner.errors import NotSupportedHere, Place, UserError
from runner.spec.load import LoadedJob
from runner.spec.overrides import override
from runner.spec.problems import Problems
from runner.spec.python_source import from_python
from runner.spec.values import check_keys, near_case
from runner.spec.yaml_source import Node, child_field, read_yaml, shown

# Of what `type: model` has below settings:, and deployments of before that on top.
SETTINGS = (
    "mini_batch_size", "max_concurrency_per_instance", "output_action", "output_file_name", "retry_settings", "error_threshold",
    "logging_level", "environment_variables",
)  # fmt: skip
COMMON = ("$schema", "name", "endpoint_name", "description", "tags", "properties", "type", "model", "code_configuration", "environment")
DEPLOYMENT = (*COMMON, "compute", "resources", "settings", *SETTINGS, "id", "provisioning_state", "creation_context")
MODEL = ("$schema", "name", "version", "path", "type", "description", "tags", "properties", "flavors", "stage")
CODE = ("code", "scoring_script")
ACTIONS = ("append_row", "summary_only")
OF_PIPELINES = ("component", "job_definition")
MLFLOW, MLFLOW_FILE = "mlflow_model", "MLmodel"
DEFAULTS = {"mini_batch_size": 10, "max_concurrency_per_instance": 1, "retry_settings": {"max_retries": 3, "timeout": 30}}
FILE_NAME = "predictions.csv"
OUTPUT = "score"  # Azure's name for it


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """What a deployment is run over, as the command line says it; None where it does not."""

    input: str
    input_type: str | None = None
    output_path: str | None = None
    instance_count: int | None = None
    mini_batch_size: int | None = None
    experiment_name: str | None = None
    base: Path  # of relative paths


def read_deployment(path: Path, overrides: Sequence[str] = ()) -> Node:
    """The file with its `--set`. Errors: UserError with file:line where it is no YAML."""
    return override(read_yaml(path), overrides)


def deployment_job(root: Node, invocation: Invocation) -> LoadedJob:
    """The job. Errors: UserErrors with all mistakes of the deployment's own keys; the others are told when the job is resolved."""
    problems = Problems()
    _refuse_pipeline(root)
    with problems.catching():
        _check_kind(root)
    check_keys(root, (*DEPLOYMENT, *OF_PIPELINES), "of a batch deployment", problems)
    values = _Translation(root, invocation, problems).job()
    problems.raise_if_any()
    job = Node(value=values, place=replace(root.place, field=None), base=root.base)
    return LoadedJob(root=job, base=root.base)


def _refuse_pipeline(root: Node) -> None:
    """Errors: NotSupportedHere for a deployment of a pipeline component, whose other keys are none of a model's."""
    kind = root.get("type")
    written = kind.text.lower() if kind else "model"
    first = next((child for key in OF_PIPELINES if (child := root.get(key))), None)
    if written == "pipeline" or first is not None:
        at = kind if kind is not None and written == "pipeline" else first
        raise NotSupportedHere(
            "deployments of pipeline components cannot be invoked here",
            place=at.place if at else root.place,
            allowed="type: model",
            todo="run the pipeline itself: `runner job create -f pipeline.yml --set inputs.NAME.path=…`",
        )


def _check_kind(root: Node) -> None:
    """Errors: UserError for what is no type."""
    kind = root.get("type")
    if kind is not None and kind.text.lower() != "model":
        raise UserError(f"{shown(kind.text)} is not a type of batch deployments", place=kind.place, allowed="model", todo="leave it out")


class _Translation:
    def __init__(self, root: Node, invocation: Invocation, problems: Problems) -> None:
        self.root, self.invocation, self.problems = root, invocation, problems
        self.settings = self._settings()

    def job(self) -> dict[str, Node]:
        root, settings = self.root, self.settings
        model, path = self._model()
        task = {"type": self._made("run_function", "task.type"), **self._code(model)}
        entries: dict[str, Node | None] = {
            "type": self._made("parallel", "type"),
            "display_name": root.get("name"),
            "experiment_name": self._experiment(),
            **{key: root.get(key) for key in ("description", "tags", "properties", "compute")},
            "resources": self._resources(),
            "inputs": self._mapping("inputs", {"data": self._input(), "model": path}),
            "input_data": self._made("${{inputs.data}}", "input_data"),
            "outputs": self._mapping("outputs", {OUTPUT: self._output()}),
            **{key: settings.get(key) for key in ("retry_settings", "error_threshold", "environment_variables", "mini_batch_size")},
            "max_concurrency_per_instance": settings.get("max_concurrency_per_instance"),
            "logging_level": _upper(settings.get("logging_level")),
        }
        if path is not None:
            task["model"] = self._made("${{inputs.model}}", "model")
        if self._action() == "append_row":
            task["append_row_to"] = self._made(f"${{{{outputs.{OUTPUT}}}}}", "output_action")
        if (environment := root.get("environment")) is not None:
            task["environment"] = environment
        entries["task"] = self._mapping("task", task)
        return {key: node for key, node in entries.items() if node is not None}

    def _settings(self) -> dict[str, Node]:
        """Those on top and those below settings:, and what Azure has where nothing is written."""
        nested = self.root.get("settings")
        if nested is not None:
            check_keys(nested, (*SETTINGS, "instance_count"), "of settings", self.problems)
        found = dict(self._written(nested))
        for key, value in DEFAULTS.items():
            if key not in found:
                found[key] = self._made(value, key)
        if self.invocation.mini_batch_size is not None:
            found["mini_batch_size"] = self._given(self.invocation.mini_batch_size, "--mini-batch-size")
        retry = found["retry_settings"]
        if retry.is_mapping:
            defaults = self._made(DEFAULTS["retry_settings"], "retry_settings").entries
            found["retry_settings"] = replace(retry, value={**defaults, **retry.entries})
        return found

    def _written(self, nested: Node | None) -> Iterator[tuple[str, Node]]:
        for key in (*SETTINGS, "instance_count"):
            above = self.root.get(key) if key in SETTINGS else None
            below = nested.get(key) if nested else None
            if above is not None and below is not None:
                self.problems.add(
                    f"'{key}' stands twice, first in line {min(above.place.line or 0, below.place.line or 0)}",
                    max(above, below, key=lambda node: node.place.line or 0).place,
                    todo="keep the one below settings:",
                )
            node = below or above
            if node is not None:
                yield key, node

    def _resources(self) -> Node | None:
        node, count = self.root.get("resources"), self.settings.get("instance_count")
        entries = dict(node.entries) if node else {}
        if node is not None and not node.is_mapping:
            return node
        if count is not None and "instance_count" in entries:
            self.problems.add(
                "'instance_count' stands below settings: and below resources:", count.place, todo="keep the one below resources:"
            )
        if self.invocation.instance_count is not None:
            count = self._given(self.invocation.instance_count, "--instance-count")
        if count is not None:
            entries["instance_count"] = count
        return replace(node or self._made({}, "resources"), value=entries) if entries else None

    def _model(self) -> tuple[Node | None, Node | None]:
        """The model as it is written, and as an input."""
        node = self.root.get("model")
        if node is None:
            self.problems.add("the key 'model' is missing", self.root.place, todo="name the model: its path, or azureml:NAME:VERSION")
            return None, None
        if node.is_list:
            self.problems.add(f"must be a path or a mapping, not {node.kind}", node.place)
            return node, None
        if not node.is_mapping:
            return node, self._model_input(node, None)
        check_keys(node, MODEL, "of a model", self.problems)
        path = node.get("path")
        if path is None:
            self.problems.add("the key 'path' is missing", node.place, todo="write where the model lies: path: ./model")
            return node, None
        return node, self._model_input(path, node.get("type"))

    def _model_input(self, path: Node, kind: Node | None) -> Node:
        entries = {"type": kind or self._made("custom_model", "model.type"), "path": path}
        return Node(value={**entries}, place=path.place, base=path.base)

    def _code(self, model: Node | None) -> dict[str, Node]:
        node = self.root.get("code_configuration")
        if node is None:
            self._refuse_without_code(model)
            return {}
        if not node.is_mapping:
            self.problems.add(f"must be a mapping, not {node.kind}", node.place, allowed=", ".join(CODE))
            return {}
        check_keys(node, CODE, "of code_configuration", self.problems)
        for key in CODE:
            if node.get(key) is None:
                self.problems.add(f"the key '{key}' is missing", node.place, todo="write both: code: FOLDER, scoring_script: FILE.py")
        found = {"code": node.get("code"), "entry_script": node.get("scoring_script")}
        return {key: child for key, child in found.items() if child is not None}

    def _refuse_without_code(self, model: Node | None) -> None:
        if model is not None and _is_mlflow(model):
            self.problems.unsupported(
                "a model of MLflow without a scoring script cannot be deployed here: Azure ML writes the script, and this build does not",
                model.place,
                todo="write one that loads it (mlflow.pyfunc.load_model) in init(), and name it: code_configuration: "
                "{code: ./code, scoring_script: score.py}",
            )
            return
        place = replace(self.root.place, field="code_configuration")
        todo = "write code_configuration: {code: FOLDER, scoring_script: FILE.py}"
        self.problems.add("the key 'code_configuration' is missing", place, todo=todo)

    def _input(self) -> Node:
        given = {"type": self.invocation.input_type, "path": self.invocation.input}
        place = Place(field="--input")
        entries = {key: Node(value=text, text=text, place=place, base=self.invocation.base) for key, text in given.items() if text}
        return Node(value={**entries}, place=place, base=self.invocation.base)

    def _output(self) -> Node:
        """A file in the folder that scripts may write to as well, or that folder."""
        name = self.settings.get("output_file_name")
        file = (name.text if name else "") or FILE_NAME
        if name is not None and ("/" in file or file in (".", "..") or name.is_mapping or name.is_list):
            self.problems.add(f"{name.kind} is not a name of a file", name.place, allowed=f"a name without a folder, e.g. {FILE_NAME}")
        folder, place, base = self.invocation.output_path, Place(field="--output-path"), self.invocation.base
        rows = self._action() == "append_row"
        if name is not None and not rows:
            self.problems.add(
                "with output_action: summary_only there is no file of rows", name.place, todo="leave output_file_name out, or append_row"
            )
        entries = {"type": self._made("uri_file" if rows else "uri_folder", "output_action")}
        if folder is None:
            folder, place = "azureml://datastores/${{default_datastore}}/paths/azureml/${{name}}/" + OUTPUT, self.root.place
        path = f"{folder.rstrip('/')}/{file}" if rows else folder
        entries["path"] = Node(value=path, text=path, place=place, base=base)
        return Node(value={**entries}, place=place, base=base)

    def _action(self) -> str:
        node = self.settings.get("output_action")
        if node is None:
            return ACTIONS[0]
        text = node.text.lower().replace("_", "")
        for action in ACTIONS:
            if text == action.replace("_", ""):
                return action
        todo = near_case(node.text, ACTIONS)
        self.problems.add(f"{node.kind} is not an output action", node.place, allowed=", ".join(ACTIONS), todo=todo)
        return ACTIONS[1]

    def _experiment(self) -> Node | None:
        """As on Azure, that of the endpoint."""
        if self.invocation.experiment_name:
            return self._given(self.invocation.experiment_name, "--experiment-name")
        return self.root.get("endpoint_name")

    def _given(self, value: object, option: str) -> Node:
        return replace(from_python(value, base=self.invocation.base), place=Place(field=option))

    def _made(self, value: object, field: str) -> Node:
        """What the file does not say, as standing in its first line."""
        return _placed(from_python(value, base=self.root.base), replace(self.root.place, field=field))

    def _mapping(self, field: str, entries: Mapping[str, Node | None]) -> Node:
        value = {key: node for key, node in entries.items() if node is not None}
        return Node(value=value, place=replace(self.root.place, field=field), base=self.root.base)


def _placed(node: Node, place: Place) -> Node:
    value = node.value
    if isinstance(value, dict):
        value = {key: _placed(child, replace(place, field=child_field(place.field, key))) for key, child in value.items()}
    return replace(node, value=value, place=place)


def _upper(node: Node | None) -> Node | None:
    """Deployments write levels in small letters."""
    return node and replace(node, value=node.text.upper(), text=node.text.upper()) if node and node.text else node


def _is_mlflow(model: Node) -> bool:
    kind, path = model.get("type"), model.get("path") if model.is_mapping else model
    if kind is not None:
        return kind.text.lower() == MLFLOW
    return path is not None and (path.base / path.text / MLFLOW_FILE).is_file()
