"""Jobs as the loader of `azure-ai-ml` reads them, in our normal form.

Bindings, defaults and `$[[ ]]`, which the service resolves and not the loader, are put in by `AzureSteps`, from what the loader gives;
where nothing is written, the documented default counts. What only a running job has is taken from us: the place of an input or an
output, as it stands in a command.
"""

from __future__ import annotations

import json
import logging
import re
import shlex
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

import pytest
import yaml

from runner.model.job import LITERAL_TYPES, Step
from tests.integration.azure_ours import CORPUS, Plain, identity

NEWEST = {"sklearn": "2"}


@contextmanager
def without_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing may leave this machine, neither a request nor telemetry."""

    def refuse(*_: object) -> None:
        raise AssertionError("a connection was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


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
