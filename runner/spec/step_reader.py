"""What steps of both kinds have: names, ports, compute, environment, resources."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from runner.model.job import Environment, Step
from runner.spec import schema, settings
from runner.spec.compute import check_compute, compute_name
from runner.spec.environment import read_environment
from runner.spec.expressions import Ports, Scope
from runner.spec.ports import Frame
from runner.spec.values import Reader
from runner.spec.yaml_source import Node
from runner.storage.addresses import is_address


class StepReader(ABC):
    """Reads one step, each setting in a method of its own. Mistakes go into `problems`."""

    def __init__(self, node: Node, scope: Scope, frame: Frame) -> None:
        self.node, self.scope, self.frame, self.problems = node, scope, frame, frame.problems
        self.reader = Reader(node, scope, frame.problems)
        self.local = frame.context.local

    @abstractmethod
    def step(self, ports: Ports) -> Step: ...

    def common(self, ports: Ports, environment: Node | None) -> Step:
        """The step as far as its kind does not matter. `environment` stands elsewhere for each kind."""
        reader, frame = self.reader, self.frame
        compute = self._compute()
        cluster = compute in frame.context.clusters
        found = read_environment(environment, self.scope, frame.context, self.problems)
        self._notices()
        if cluster:
            self._check_shared(compute, ports)
        return Step(
            name=frame.name,
            step=frame.step,
            display_name=reader.text("display_name") or frame.step or "",
            experiment_name=frame.experiment,
            description=reader.text("description"),
            tags=reader.text_mapping("tags"),
            properties=reader.text_mapping("properties"),
            compute=compute,
            environment=found,
            environment_variables=settings.environment_variables(reader),
            inputs=ports.inputs,
            outputs=ports.outputs,
            resources=settings.resources(reader, frame.context, container=self._in_container(found), cluster=cluster),
            identity=frame.context.identity,
            is_deterministic=reader.boolean("is_deterministic", True),
        )

    def _in_container(self, environment: Environment | None) -> bool:
        return not self.local and environment is not None and environment.is_container

    def _compute(self) -> str:
        context = self.frame.context
        node = self.reader.written("compute")
        text = self.reader.text("compute") if node else self.frame.default_compute
        name = compute_name(text, context)
        if self.local:
            if name != "local":
                self.problems.notice(f"compute '{name}' is not used: --local runs the step on this machine")
            return "local"
        if node is not None:
            with self.problems.catching():
                check_compute(name, node, context)
        return name

    def _check_shared(self, compute: str, ports: Ports) -> None:
        """What a job on a cluster writes must be seen by all of its machines, and by this one."""
        shared = self.frame.context.shared
        for name, output in ports.outputs.items():
            if not is_address(output.path) and not any(folder in Path(output.path).parents for folder in shared):
                self.problems.add(
                    f"the output '{name}' would lie in {output.path}, which the machines of the compute '{compute}' do not share",
                    (self.reader.below("outputs").written(name) or self.node).place,
                    allowed=f"a path below {', '.join(map(str, shared))}",
                    todo="leave its path out: then it lies in the default datastore; `runner job download` copies it to where you want it",
                )

    def _notices(self) -> None:
        for key in schema.WRITTEN_BY_AZURE:
            if self.reader.written(key):
                self.problems.notice(f"{key} is what Azure writes into its records; it has no effect here")
        if self.reader.mapping("services"):
            self.problems.notice("services are kept without effect: workers offer no interactive services")
        version = self.reader.written("version")
        if version and version.place.file:  # no file: Python writes that of the component out
            self.problems.notice("version has no effect on a job: components have versions")
        if self.reader.written("comment"):
            self.problems.notice("comment is kept in the job file only")
        node = self.reader.written("is_deterministic")
        if self.frame.step is None:
            if node and node.place.file and self.reader.boolean("is_deterministic", True):  # no file: Python writes the default out
                self.problems.notice("is_deterministic has no effect on a job of its own: only steps of pipelines are reused")
            return
        if self.reader.written("experiment_name"):
            self.problems.notice("experiment_name has no effect on a step: that of the pipeline counts")
        name = self.reader.written("name")
        if name and name.text != self.frame.step:
            self.problems.notice(f"name '{name.text}' has no effect on a step: its key '{self.frame.step}' is its name")
