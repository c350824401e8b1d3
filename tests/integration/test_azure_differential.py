"""Job and component files read by us and by the loader of `azure-ai-ml`: equal, or the difference is a row of the compatibility table.

Both are brought to one normal form, a flat mapping of dotted names. What only a running job has is taken from us on both sides: the place
of an input or an output, as it stands in a command. Bindings, defaults and `$[[ ]]`, which the service resolves and not the loader, are
put in by `AzureSteps` below, from what the loader gives; where nothing is written, the documented default counts.
"""

from __future__ import annotations

import json
import logging
import re
import shlex
import socket
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.compatibility.table import sections
from runner.errors import UserError
from runner.model.datastore import DataAsset
from runner.model.job import LITERAL_TYPES, NO_TIMEOUT, Environment, JobInput, JobOutput, PipelineJob, Step
from runner.spec.command_text import with_values
from runner.spec.load import job_from_mapping, read_job
from runner.spec.resolve import ResolveContext, resolve

pytestmark = pytest.mark.filterwarnings("ignore")  # of azure-ai-ml and what it imports

CORPUS = Path(__file__).resolve().parents[1] / "data" / "corpus"
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

ENVIRONMENTS = {"sklearn:1": {"image": "mcr.example/sklearn:1"}, "sklearn:2": {"image": "mcr.example/sklearn:2"}}
NEWEST = {"sklearn": "2"}
GIVEN = {  # what the inputs of a component get, by type
    "uri_folder": "../data/images",
    "uri_file": "../data/rows.csv",
    "mltable": "../data/table",
    "custom_model": "../data/model",
}
GIVEN_LITERALS = {"string": "fast", "integer": 2, "number": 0.5, "boolean": True}

Plain = dict[str, Any]


def files(*folders: str) -> list[str]:
    return sorted(str(path.relative_to(CORPUS)) for folder in folders for path in (CORPUS / folder).glob("*.yml"))


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing may leave this machine, neither a request nor telemetry."""

    def refuse(*_: object) -> None:
        raise AssertionError("a connection was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


# Ours


@pytest.fixture
def context(tmp_path: Path) -> ResolveContext:
    store = tmp_path / "store"
    (store / "images").mkdir(parents=True)
    (store / "images" / "a.txt").write_text("one")
    return ResolveContext(
        name="job_1",
        root=CORPUS,
        datastores={"workspaceblobstore": store, "archive": tmp_path / "archive"},
        computes=("local", "cpu-cluster", "gpu-cluster"),
        instance_types=("Standard_DS3_v2", "Standard_NC6s_v3"),
        environments=ENVIRONMENTS,
        data={"listing:1": DataAsset(path="./data/rows.csv", type="uri_file")},
    )


def our_steps(job: Step | PipelineJob) -> dict[str, Step]:
    return dict(job.steps) if isinstance(job, PipelineJob) else {"": job}


def our_job(job: Step | PipelineJob, context: ResolveContext) -> Plain:
    """The steps, and below `job` what is of the whole; where outputs without a path lie, by datastore."""
    steps = our_steps(job)
    whole: Plain = {"experiment_name": job.experiment_name}
    if isinstance(job, PipelineJob):
        whole |= {key: getattr(job, key) for key in ("display_name", "description", "continue_on_step_failure", "force_rerun")}
        whole |= {"tags": dict(job.tags), "inputs": {name: our_input(one) for name, one in job.inputs.items()}}
        whole["outputs"] = {name: our_output(one) for name, one in job.outputs.items()}
    places = {
        f"{name}.{port}": next((store for store, folder in context.datastores.items() if Path(one.path).is_relative_to(folder)), "")
        for name, step in steps.items()
        for port, one in step.outputs.items()
        if not one.uri
    }
    return {**{name: our_step(step) for name, step in steps.items()}, "job": whole, "places": places}


def our_step(step: Step) -> Plain:
    plain: Plain = {
        "type": step.type,
        "display_name": step.display_name,
        "description": step.description,
        "tags": dict(step.tags),
        "compute": step.compute,
        "identity": identity(step.identity),
        "environment_variables": dict(step.environment_variables),
        "environment": our_environment(step.environment),
        "code": step.code,
        "inputs": {name: our_input(one) for name, one in step.inputs.items()},
        "outputs": {name: our_output(one) for name, one in step.outputs.items()},
        "is_deterministic": step.is_deterministic,
        "resources": {
            "instance_count": step.resources.instance_count,
            "max_instance_count": step.resources.max_instance_count,
            "instance_type": list(step.resources.instance_type),
            "shm_size": step.resources.shm_size,
            "docker_args": list(step.resources.docker_args),
            "properties": dict(step.resources.properties),
        },
    }
    if step.type == "command":
        timeout = None if step.retry.timeout == NO_TIMEOUT else step.retry.timeout
        return {**plain, "command": with_values(step.command, step.program_arguments), "limits": {"timeout": timeout}}
    return {
        **plain,
        "retry_settings": {"max_retries": step.retry.max_retries, "timeout": step.retry.timeout},
        "mini_batch_size": step.mini_batch_size,
        "partition_keys": list(step.partition_keys),
        "max_concurrency_per_instance": step.max_concurrency_per_instance,
        "mini_batch_error_threshold": step.mini_batch_error_threshold,
        "error_threshold": step.error_threshold,
        "logging_level": step.logging_level,
        "input_data": step.input_data,
        "entry_script": step.entry_script,
        "model": step.model,
        "append_row_to": step.append_row_to,
        "program_arguments": list(step.program_arguments),
    }


def our_input(one: JobInput) -> Plain:
    if one.optional_unset:
        return {"type": one.type, "unset": True}
    return {"type": one.type, "path": one.uri, "mode": one.mode} if one.is_data else {"type": one.type, "value": one.value}


def our_output(one: JobOutput) -> Plain:
    return {"type": one.type, "path": one.uri, "mode": one.mode, "name": one.name, "version": one.version}


def our_environment(environment: Environment | None) -> Plain:
    plain = {key: value for key, value in asdict(environment).items() if value} if environment else {}
    plain.pop("conda_path", None)
    if f"{plain.get('name')}:{plain.get('version')}" in ENVIRONMENTS:  # looked up: Azure's loader leaves that to the service
        return {"name": plain["name"], "version": plain["version"]}
    return plain


# Azure's


def azure_load(name: str, text: str | None = None) -> Any:
    """The job. `text`: what stands in the file, where that was made up."""
    from azure.ai.ml import load_job
    from azure.ai.ml.entities._job.parallel.parallel_job import ParallelJob

    path = CORPUS / name
    tree = yaml.safe_load(text or path.read_text())
    if tree.get("type") == "parallel":  # which `load_job` does not take
        return ParallelJob._load_from_dict(tree, {"base_path": path.parent, "params_override": []}, "")
    return load_job(StringIO(text), relative_origin=str(path)) if text else load_job(path)


@dataclass(frozen=True, kw_only=True)
class Ports:
    inputs: Mapping[str, Plain] = field(default_factory=dict)
    outputs: Mapping[str, Plain] = field(default_factory=dict)


@dataclass(kw_only=True)
class AzureSteps:
    """The steps of a job as Azure's loader gives them, in our normal form. `ours` lends the places of data."""

    ours: Mapping[str, Step]
    compute: str = "local"
    found: dict[str, Plain] = field(default_factory=dict)

    def job(self, job: Any) -> Plain:
        tree = plain(job._to_dict())
        whole: Plain = {"experiment_name": job.experiment_name or ""}
        if "jobs" not in tree:
            tree |= kept(job)
            if "component" not in tree:
                tree["inputs"] = {name: plain_input(one) for name, one in job.inputs.items()}
            self._step("", tree, Ports(), {})
            return {**self.found, "job": whole, "places": self._places("workspaceblobstore")}
        raw = {name: getattr(one, "_data", one) for name, one in job.inputs.items()}
        given = {name: raw[name] if isinstance(raw[name], bool) else one for name, one in tree.get("inputs", {}).items()}
        settings = tree.get("settings", {})
        datastore = without_prefix(settings.get("default_datastore") or "workspaceblobstore")
        tree = json.loads(json.dumps(tree).replace("${{default_datastore}}", datastore))
        inputs = {name: azure_input(one, {}, Ports(), {}) for name, one in given.items()}
        outputs = {name: azure_output(one, {}, Ports()) for name, one in tree.get("outputs", {}).items()}
        self.compute = without_prefix(settings.get("default_compute") or "local")
        complete(tree["jobs"], job.jobs)
        self._pipeline("", tree["jobs"], Ports(inputs=inputs, outputs=outputs))
        whole |= {
            "display_name": tree.get("display_name", ""),
            "description": tree.get("description", ""),
            "tags": tree.get("tags", {}),
            "continue_on_step_failure": settings.get("continue_on_step_failure", True),
            "force_rerun": settings.get("force_rerun", False),
            "inputs": inputs,
            "outputs": {name: {**one, "mode": one["mode"] or "rw_mount"} for name, one in outputs.items()},
        }
        return {**self.found, "job": whole, "places": self._places(datastore)}

    def _places(self, datastore: str) -> Plain:
        """Outputs without a path lie in the default datastore."""
        return {
            f"{name}.{port}": datastore for name, step in self.found.items() for port, one in step["outputs"].items() if not one["path"]
        }

    def _pipeline(self, prefix: str, nodes: Plain, parent: Ports) -> None:
        jobs: dict[str, Ports] = {}
        waiting = dict(nodes)
        while waiting:  # a step may stand above one that it needs
            name = next(one for one, node in waiting.items() if not needed(node) & (waiting.keys() - {one}))
            node = waiting.pop(name)
            if node["type"] == "pipeline":
                jobs[name] = ports = azure_ports(node, parent, jobs)
                self._pipeline(f"{prefix}{name}_", node["component"]["jobs"], ports)
            else:
                jobs[name] = self._step(prefix + name, node, parent, jobs)

    def _step(self, name: str, node: Plain, parent: Ports, jobs: Mapping[str, Ports]) -> Ports:
        ports, mine = azure_ports(node, parent, jobs), self.ours[name]
        component = node.get("component", {})
        component = component if isinstance(component, dict) else {}

        def pick(key: str, default: Any = None) -> Any:
            value = node.get(key)
            value = component.get(key) if value is None else value
            return default if value is None else value

        task, resources = pick("task", {}), pick("resources", {})
        environment = task.get("environment") if node["type"] == "parallel" else pick("environment")
        kinds = resources.get("instance_type") or []
        variables = {**component.get("environment_variables", {}), **node.get("environment_variables", {})}
        plain: Plain = {
            "type": node["type"],
            "display_name": pick("display_name", mine.step or ""),
            "description": pick("description", ""),
            "tags": {**component.get("tags", {}), **node.get("tags", {})},
            "compute": without_prefix(node.get("compute") or self.compute),
            "identity": identity(node.get("identity")),
            "environment_variables": {key: str(value) for key, value in variables.items()},
            "environment": azure_environment(environment),
            "code": folder(task.get("code", "") if node["type"] == "parallel" else pick("code", "")),
            "inputs": dict(ports.inputs),
            "outputs": dict(ports.outputs),
            "is_deterministic": component.get("is_deterministic", True),
            "resources": {
                "instance_count": resources.get("instance_count", 1),
                "max_instance_count": resources.get("max_instance_count"),
                "instance_type": [kinds] if isinstance(kinds, str) else list(kinds),
                "shm_size": resources.get("shm_size", "2g"),
                "docker_args": shlex.split(resources.get("docker_args", "")),
                "properties": resources.get("properties", {}),
            },
        }
        values = self._values(ports, mine)
        if node["type"] == "command":
            limits = {"timeout": node.get("limits", {}).get("timeout")}
            plain |= {"command": filled(pick("command"), values), "limits": limits}
        else:
            plain |= azure_parallel(pick, task, values)
        self.found[name] = plain
        return ports

    def _values(self, ports: Ports, mine: Step) -> dict[str, str]:
        """What stands for each expression; without the optional inputs that are unset."""
        values = {}
        for name, one in ports.inputs.items():
            if not one.get("unset"):
                values[f"inputs.{name}"] = str(one["value"] if "value" in one else mine.inputs[name].path)
        return values | {f"outputs.{name}": mine.outputs[name].path for name in ports.outputs}


def kept(entity: Any) -> Plain:
    """What the loaded objects have, and their dump leaves out."""
    found = {key: getattr(entity, key, None) for key in ("display_name", "description", "tags")}
    return {key: value for key, value in found.items() if value}


def complete(nodes: Plain, entities: Mapping[str, Any]) -> None:
    for name, node in nodes.items():
        node |= kept(entities[name])
        if node["type"] == "pipeline":
            complete(node["component"]["jobs"], entities[name].component.jobs)


def azure_parallel(pick: Any, task: Plain, values: Mapping[str, str]) -> Plain:
    retry = pick("retry_settings", {})
    size = pick("mini_batch_size")
    return {
        "retry_settings": {"max_retries": retry.get("max_retries", 2), "timeout": retry.get("timeout", 60)},
        "mini_batch_size": in_bytes(size) if size and size != "0" else None,
        "partition_keys": pick("partition_keys", []),
        "max_concurrency_per_instance": pick("max_concurrency_per_instance"),
        "mini_batch_error_threshold": pick("mini_batch_error_threshold", -1),
        "error_threshold": pick("error_threshold", -1),
        "logging_level": pick("logging_level", "INFO"),
        "input_data": port_name(pick("input_data")),
        "entry_script": task.get("entry_script"),
        "model": values.get(f"inputs.{port_name(task.get('model'))}"),
        "append_row_to": port_name(task.get("append_row_to")) or None,
        "program_arguments": azure_words(task.get("program_arguments") or "", values),
    }


def azure_ports(node: Plain, parent: Ports, jobs: Mapping[str, Ports]) -> Ports:
    component = node.get("component", {})
    component = component if isinstance(component, dict) else {}
    given, declared = node.get("inputs", {}), component.get("inputs", {})
    inputs = {name: azure_input(given.get(name), declared.get(name, {}), parent, jobs) for name in {**declared, **given}}
    given, declared = node.get("outputs", {}), component.get("outputs", {})
    outputs = {name: azure_output(given.get(name), declared.get(name, {}), parent) for name in {**declared, **given}}
    return Ports(inputs=inputs, outputs=outputs)


def azure_input(given: Any, declared: Plain, parent: Ports, jobs: Mapping[str, Ports]) -> Plain:
    kind = declared.get("type")
    if given is None:
        if "default" in declared:
            return literal(declared["default"], kind)
        return {"type": kind, "unset": True}
    written = given if isinstance(given, dict) else {}
    text = written.get("path", written.get("value")) if written else given
    bound = re.fullmatch(r"\$\{\{\s*parent\.(.*?)\s*\}\}", text) if isinstance(text, str) else None
    found: Plain
    if bound is None:
        kind = kind or written.get("type")
        if not (kind and kind not in LITERAL_TYPES):
            return literal(text, kind)
        found = {"type": kind, "path": as_written(text), "mode": "ro_mount"}
    else:
        parts = bound[1].split(".")
        ports = jobs[parts[1]] if parts[0] == "jobs" else parent
        side = parts[-2]
        found = dict((ports.inputs if side == "inputs" else ports.outputs)[parts[-1]])
        if side == "outputs":
            found = {"type": found["type"], "path": text, "mode": "ro_mount"}
        if found.get("unset"):
            return literal(declared["default"], kind) if "default" in declared else found
        if "value" in found:
            return literal(found["value"], kind or found["type"])
    mode = written.get("mode") or declared.get("mode") or found["mode"]
    return {**found, "type": written.get("type") or kind or found["type"], "mode": mode}


def azure_output(given: Any, declared: Plain, parent: Ports) -> Plain:
    written = given if isinstance(given, dict) else {}
    text = written.get("path") if written else given
    bound = re.fullmatch(r"\$\{\{\s*parent\.outputs\.(.*?)\s*\}\}", text or "")
    found = dict(parent.outputs[bound[1]]) if bound else {"type": None, "path": as_written(text), "mode": None}
    kind = found["type"] or written.get("type") or declared.get("type") or "uri_folder"
    mode = written.get("mode") or found["mode"] or declared.get("mode") or "rw_mount"
    return {"type": kind, "path": found["path"], "mode": mode, "name": written.get("name"), "version": written.get("version")}


def literal(value: Any, kind: str | None) -> Plain:
    kind = kind or {bool: "boolean", int: "integer", float: "number"}.get(type(value), "string")
    words = {"True": True, "true": True, "1": True, "False": False, "false": False, "0": False}
    convert = {"boolean": lambda text: words[text], "integer": int, "number": float, "string": str}[kind]
    return {"type": kind, "value": convert(str(value))}


def azure_environment(environment: Any) -> Plain:
    if not environment:
        return {}
    if isinstance(environment, str):
        name, _, version = without_prefix(environment).replace("@latest", f":{NEWEST['sklearn']}").partition(":")
        return {"name": name, "version": version}
    build = environment.get("build") or {}
    found = {key: environment.get(key) for key in ("name", "version", "image", "description")}
    if found["name"] == "CliV2AnonymousEnvironment":
        found["name"] = found["version"] = None
    found |= {"conda": environment.get("conda_file"), "build_context": build.get("path")}
    found["dockerfile"] = build.get("dockerfile_path", "Dockerfile") if build else None
    return {key: value for key, value in found.items() if value}


def azure_words(text: str, values: Mapping[str, str]) -> list[str]:
    """Arguments, split before the values are put in, so that a path with blanks stays one."""
    text = re.sub(r"\$\{\{\s*(.*?)\s*\}\}", r"${{\1}}", without_unset(text, values))
    return [filled(word, values, quote=str) for word in shlex.split(text)]


def filled(text: str, values: Mapping[str, str], quote: Any = str) -> str:
    return re.sub(r"\$\{\{\s*(.*?)\s*\}\}", lambda found: quote(values[found[1]]), without_unset(text, values))


def without_unset(text: str, values: Mapping[str, str]) -> str:
    def part(found: re.Match[str]) -> str:
        return found[1] if all(name in values for name in re.findall(r"\$\{\{\s*(.*?)\s*\}\}", found[1])) else ""

    return re.sub(r"\$\[\[(.*?)\]\]", part, text)


def in_bytes(size: Any) -> int:
    number, unit = re.fullmatch(r"(\d+)(\w*)", str(size)).groups()  # type: ignore[union-attr]
    return int(number) << {"": 0, "k": 10, "m": 20, "g": 30}[unit[:1].lower()]


def needed(node: Plain) -> set[str]:
    return set(re.findall(r"parent\.jobs\.(\w+)\.", json.dumps([node.get("inputs"), node.get("outputs")], default=str)))


def port_name(text: str | None) -> str:
    return re.sub(r"\$\{\{\s*\w+\.(.*?)\s*\}\}", r"\1", text or "")


def without_prefix(text: str) -> str:
    return text.removeprefix("azureml:")


def folder(code: str) -> str:
    """Of a component's code. Once a pipeline was made in Python, the package writes it as it stood in the file, behind a prefix."""
    return str((CORPUS / "components" / code.removeprefix("azureml:")).resolve()) if code.startswith("azureml:..") else code


def as_written(path: str | None) -> str | None:
    """Without what Azure's dump puts before local paths; `${{name}}` put in."""
    if path is None:
        return None
    path = path.replace("${{name}}", "job_1")
    return without_prefix(path) if re.match(r"azureml:(\.|\w+/)", path) and "://" not in path else path


def plain(tree: Any) -> Any:
    return json.loads(json.dumps(tree, default=str))


def plain_input(one: Any) -> Any:
    return {"type": one.type, "path": one.path, "mode": one.mode} if hasattr(one, "path") else one


# Both


def identity(written: Any) -> Plain:
    """`managed_identity` is another spelling of `managed`."""
    return {**(written or {}), "type": written["type"].replace("managed_identity", "managed")} if written else {}


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(tree, dict):
        return {key: value for name, child in tree.items() for key, value in flat(child, f"{prefix}.{name}".strip(".")).items()}
    return {prefix: tree}


def differences(ours: Plain, azures: Plain) -> dict[str, tuple[Any, Any]]:
    one, other = flat(ours), flat(azures)
    return {key: (one.get(key), other.get(key)) for key in sorted({*one, *other}) if one.get(key) != other.get(key)}


def compare(name: str, ours: Step | PipelineJob, azures: Any, context: ResolveContext) -> None:
    found = differences(our_job(ours, context), AzureSteps(ours=our_steps(ours)).job(azures))
    expected = {field for file, field in DIFFERS if file == name}
    assert {key: value for key, value in found.items() if key not in expected} == {}, "(ours, Azure's)"
    assert expected - found.keys() == set(), "these do not differ (any more)"


@pytest.mark.parametrize("name", files("parallel", "command", "pipeline"))
def test_a_job_means_the_same(name: str, context: ResolveContext) -> None:
    compare(name, resolve(read_job(CORPUS / name), context), azure_load(name), context)


def test_a_parallel_job_of_its_own_is_beyond_azures_command_line() -> None:
    from azure.ai.ml import load_job
    from azure.ai.ml.exceptions import ValidationException

    with pytest.raises(ValidationException, match="Unsupported job type: parallel"):
        load_job(CORPUS / "parallel" / "files.yml")
    assert "Azure's loader takes `parallel` as a step only" in next(row.here for row in ROWS if row.what == TYPE)


@cache
def component_of(name: str) -> Any:
    from azure.ai.ml import load_component

    return load_component(CORPUS / name)


@pytest.mark.parametrize("name", files("components"))
def test_a_component_means_the_same(name: str, context: ResolveContext) -> None:
    declared = component_of(name)._to_dict()
    given: Plain = {}
    for key, one in declared.get("inputs", {}).items():
        if "default" in one or one.get("optional"):
            continue
        kind = one["type"]
        given[key] = {"type": kind, "path": GIVEN[kind]} if kind in GIVEN else GIVEN_LITERALS[kind]
    step = {"type": declared["type"], "component": f"./{Path(name).name}", "inputs": given}
    tree: Plain = {"type": "pipeline", "settings": {"default_compute": "azureml:cpu-cluster"}, "jobs": {"step": step}}
    ours = resolve(job_from_mapping(tree, CORPUS / "components"), context)
    compare(name, ours, azure_load(name, yaml.safe_dump(tree)), context)


def refused_at(name: str, context: ResolveContext) -> str:
    """Our message; empty where the file is taken."""
    try:
        resolve(read_job(CORPUS / name), context)
    except UserError as error:
        return str(error)
    return ""


def refuses_there(name: str) -> bool:
    from azure.ai.ml.exceptions import MlException
    from marshmallow import ValidationError

    try:
        job = azure_load(name)
        return hasattr(job, "_validate") and not job._validate().passed
    except (MlException, ValidationError, ValueError, yaml.YAMLError):  # a ValueError for sizes of mini-batches
        return True


@pytest.mark.parametrize("name", files("wrong"))
def test_a_wrong_file_is_refused(name: str, context: ResolveContext) -> None:
    """Its first line says where: `# refused here: FIELD`, or `# taken here`."""
    ours = refused_at(name, context)
    assert (bool(ours), refuses_there(name)) == (name not in AZURE_REFUSES, name not in WE_REFUSE), "(here, there)"
    first = (CORPUS / name).read_text().partition("\n")[0]
    assert first == "# taken here" if not ours else first.partition(": ")[2] in ours


def test_every_difference_has_a_row() -> None:
    named = {*DIFFERS.values(), *WE_REFUSE.values(), *AZURE_REFUSES.values()}
    assert {name for name in named if not any(row.what.startswith(name) for row in ROWS)} == set()
    known = set(files("parallel", "command", "pipeline", "components", "wrong"))
    assert {file for file, _ in DIFFERS} | {*WE_REFUSE, *AZURE_REFUSES} <= known


def test_the_corpus_is_large_enough() -> None:
    assert len(files("parallel", "command", "pipeline", "components")) >= 60
    assert len(files("wrong")) >= 10
