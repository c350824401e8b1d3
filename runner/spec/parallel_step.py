"""What only parallel steps have: a task, the input that is split, mini-batches and their thresholds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from runner.errors import NotSupportedHere, UserError
from runner.model.job import JobInput, JobOutput, Step, SystemArguments
from runner.spec import schema, settings
from runner.spec.arguments import Value, read_predefined, split_arguments
from runner.spec.context import at_place, locate
from runner.spec.disk import trouble
from runner.spec.expressions import Ports, meaning, only_expression
from runner.spec.ports import named_port
from runner.spec.script import missing, read_code
from runner.spec.step_reader import StepReader
from runner.spec.values import Reader, check_keys, near_case, require_scalar
from runner.spec.yaml_source import Node, shown
from runner.storage.addresses import is_address
from runner.storage.uri import without_query

SPLIT_TYPES = ("uri_file", "uri_folder", "mltable")
LEVELS = ("WARNING", "INFO", "DEBUG")
_WITHOUT_EFFECT = {
    "copy_logs_to_parent": "the logs of a step stand below those of its pipeline as it is",
}


class ParallelStepReader(StepReader):
    def step(self, ports: Ports) -> Step:
        reader = self.reader
        task = self._task()
        code, script = read_code(task, self.problems) if task.node else ("", "")
        retry = settings.retry_settings(reader)
        input_data = self._input_data()
        size, has_unit = self._mini_batch_size(input_data)
        argv = self._arguments(task)
        arguments = self._predefined(argv, task)
        common = self.common(ports, task.written("environment"))
        self._not_here(arguments)
        return replace(
            common,
            code=code,
            entry_script=script,
            program_arguments=argv,
            model=self._model(task),
            input_data=input_data,
            append_row_to=self._append_row_to(task),
            mini_batch_size=size,
            mini_batch_size_has_unit=has_unit,
            partition_keys=settings.partition_keys(reader),
            max_concurrency_per_instance=reader.integer("max_concurrency_per_instance", low=1),
            mini_batch_error_threshold=self._threshold("mini_batch_error_threshold", "allowed_failed_count", arguments),
            error_threshold=self._threshold("error_threshold", "error_threshold", arguments),
            retry=retry,
            logging_level=reader.choice("logging_level", LEVELS, "INFO"),  # type: ignore[arg-type]
            arguments=system_arguments(arguments, retry.timeout),
        )

    def _task(self) -> Reader:
        task = self.reader.below("task")
        with self.problems.catching():
            if self.reader.written("task") is None:
                raise missing(self.node, "task", "write task: with type: run_function, code, entry_script")
        if task.node is None:
            return task
        check_keys(task.node, schema.TASK, "of task", self.problems, {"timeout": "it stands below retry_settings:"})
        with self.problems.catching():
            written = task.written("type")
            if written is None:
                raise missing(task.node, "type", "write type: run_function")
            kind = task.text("type").lower()
            if kind in schema.OTHER_TASKS:
                raise NotSupportedHere(f"tasks of type {kind} cannot run here", place=written.place, allowed="run_function")
            if kind != "run_function":
                raise UserError(
                    f"'{kind}' is not a type of tasks", place=written.place, allowed="run_function", todo=near_case(kind, ["run_function"])
                )
        return task

    def _input_data(self) -> str:
        with self.problems.catching():
            node = self.reader.written("input_data")
            known = [f"${{{{inputs.{name}}}}}" for name, one in self.scope.own.inputs.items() if one.is_data]
            if node is None:
                raise missing(
                    self.node, "input_data", f"name the input that is split, e.g. input_data: {known[0] if known else '${{inputs.images}}'}"
                )
            name = self._port_name(node, "inputs", known)
            found = meaning(f"inputs.{name}", self.scope, node.place)
            assert isinstance(found, JobInput)
            if found.type not in SPLIT_TYPES:
                raise UserError(
                    f"the input '{name}' is of type {found.type} and cannot be split",
                    place=node.place,
                    allowed=f"an input of type {', '.join(SPLIT_TYPES)}",
                )
            if found.optional_unset:
                raise UserError(
                    f"the input '{name}' got no value, so that there is nothing to split", place=node.place, todo=f"set inputs.{name}"
                )
            return name
        return ""

    def _port_name(self, node: Node, side: str, known: list[str]) -> str:
        """The name in `${{inputs.x}}` or `${{outputs.y}}`; anything else is an error."""
        text = require_scalar(node)
        inner = only_expression(text)
        if inner is None:
            raise UserError(
                f"must be an expression, not {shown(text)}", place=node.place, allowed=", ".join(known) or f"${{{{{side}.<name>}}}}"
            )
        name = named_port(node, side)
        if name is None:
            meaning(inner, self.scope, node.place)  # says more, where the expression itself is wrong
            raise UserError(
                f"'{text}' is not one of the {side} of this job", place=node.place, allowed=", ".join(known) or f"${{{{{side}.<name>}}}}"
            )
        return name

    def _mini_batch_size(self, input_data: str) -> tuple[int | None, bool]:
        size, has_unit = settings.mini_batch_size(self.reader)
        node = self.reader.written("mini_batch_size")
        if node and has_unit and input_data and self.scope.own.inputs[input_data].type in ("uri_file", "uri_folder"):
            self.problems.add(
                f"{shown(node.text)} has a unit of bytes, but the input '{input_data}' is made of files",
                node.place,
                allowed="a number of files per mini-batch, e.g. 10",
                todo="leave the unit out; bytes are for tables (mltable)",
            )
        if node and self.reader.written("partition_keys"):
            self.problems.notice("partition_keys win over mini_batch_size, which has no effect")
        return size, has_unit

    def _append_row_to(self, task: Reader) -> str | None:
        node = task.written("append_row_to")
        if node is None:
            return None
        with self.problems.catching():
            name = self._port_name(node, "outputs", [f"${{{{outputs.{name}}}}}" for name in self.scope.own.outputs])
            found = meaning(f"outputs.{name}", self.scope, node.place)
            assert isinstance(found, JobOutput)
            if found.type not in SPLIT_TYPES:
                raise UserError(
                    f"rows cannot be appended to an output of type {found.type}", place=node.place, allowed=", ".join(SPLIT_TYPES)
                )
            return name
        return None

    def _model(self, task: Reader) -> str | None:
        node = task.written("model")
        if node is None:
            return None
        with self.problems.catching():
            bound = named_port(node, "inputs")
            given = self.scope.own.inputs.get(bound or "")
            if given is not None and given.path and is_address(given.path):
                return given.path
            text = task.text("model")
            if bound and not text:  # the input has a mistake of its own
                return None
            path = locate(text, node.base, self.frame.context, node.place, model=True)
            if not self._is_missing(path, node) or (only_expression(node.text) or "").startswith("parent.jobs."):
                return self.frame.context.uploads.get(path, path)
            if given is None or given.path != path:
                raise UserError(
                    f"the model '{without_query(node.text)}' does not exist",
                    place=node.place,
                    todo=f"looked for {path}; paths are relative to the job file",
                )
            return path
        return None

    def _is_missing(self, path: str, node: Node) -> bool:
        if not is_address(path):
            return bool(trouble(path))
        with at_place(node.place):
            return self.frame.context.blobs.there(path) == "nothing"

    def _arguments(self, task: Reader) -> tuple[str, ...]:
        node = task.written("program_arguments")
        if node is None:
            return ()
        with self.problems.catching():
            if node.is_list:
                words = [split_arguments(require_scalar(item), self.scope, item.place) for item in node.items]
                return tuple(word for group in words for word in group)
            return split_arguments(require_scalar(node), self.scope, node.place)
        return ()

    def _predefined(self, words: tuple[str, ...], task: Reader) -> dict[str, Value]:
        node = task.written("program_arguments")
        return read_predefined(words, node.place, self.problems) if node else {}

    def _threshold(self, key: str, argument: str, arguments: Mapping[str, Value]) -> int:
        """The attribute where it is written, else the argument of the same meaning, else no limit."""
        given = arguments.get(argument)
        written = self.reader.integer(key, low=-1)
        if written is None:
            return int(given) if given is not None else -1
        if given is not None and int(given) != written:
            self.problems.notice(f"{key}: {written} wins over --{argument} {given}")
        return written

    def _not_here(self, arguments: Mapping[str, Value]) -> None:
        """What Azure ML would do beyond this build; values that ask for nothing more are passed over."""
        for name, why in _WITHOUT_EFFECT.items():
            if arguments.get(name):
                self.problems.notice(f"program_arguments: --{name} has no effect: {why}")
        if arguments.get("push_metrics_to_parent") and self.frame.step is None:
            self.problems.notice("program_arguments: --push_metrics_to_parent has no effect: the job is no step of a pipeline")


def system_arguments(given: Mapping[str, Value], timeout: float) -> SystemArguments:
    """The predefined arguments with their defaults; `timeout` is that of one run(), in seconds."""
    values = {key: value for key, value in given.items() if key not in ("error_threshold", "allowed_failed_count")}
    values.setdefault("progress_update_timeout", max(3 * timeout + 30, 600))
    return SystemArguments(**values)  # type: ignore[arg-type]
