"""What only commands have: text for the shell. One is run as a single mini-batch by a single worker; nothing is tried again."""

from __future__ import annotations

from dataclasses import replace

from runner.errors import UserError
from runner.model.job import NO_LIMIT, NO_TIMEOUT, RetrySettings, Step, SystemArguments
from runner.spec import schema
from runner.spec.command_text import Command, read_command
from runner.spec.expressions import Ports
from runner.spec.script import missing, read_folder
from runner.spec.step_reader import StepReader
from runner.spec.values import as_number, check_keys, require_scalar

_EXAMPLE = "e.g. command: python train.py --data ${{inputs.data}}"


class CommandStepReader(StepReader):
    def step(self, ports: Ports) -> Step:
        command = self._command()
        code = ""
        with self.problems.catching():
            code = read_folder(self.reader, "the folder that the command starts in") if self.reader.written("code") else ""
        timeout = self._timeout()
        common = self.common(ports, self.reader.written("environment"))
        self._check_one_instance(common)
        self._not_here()
        return replace(
            common,
            resources=replace(common.resources, instance_count=1, max_instance_count=None),
            code=code,
            command=command.text,
            program_arguments=command.values,
            max_concurrency_per_instance=1,
            mini_batch_error_threshold=0,
            error_threshold=NO_LIMIT,
            retry=RetrySettings(max_retries=0, timeout=timeout),
            arguments=SystemArguments(
                task_overhead_timeout=NO_TIMEOUT, progress_update_timeout=NO_TIMEOUT, first_task_creation_timeout=NO_TIMEOUT
            ),
        )

    def _command(self) -> Command:
        with self.problems.catching():
            node = self.node.entries.get("command")
            if node is None:
                raise missing(self.node, "command", f"write what is to be run, {_EXAMPLE}")
            if node.is_list or node.is_mapping:
                raise UserError(
                    f"must be one text, not {node.kind}", place=node.place, todo="write command: | and the lines below it, indented"
                )
            text = "" if node.is_unset else require_scalar(node)
            if not text.strip():
                raise UserError("the command is empty", place=node.place, todo=f"write what is to be run, {_EXAMPLE}")
            command = read_command(text, self.scope, node.place, self.problems)
            if not command.text.strip():
                raise UserError(
                    "nothing is left of the command when what stands in $[[ ]] is left out",
                    place=node.place,
                    todo=f"write what is to be run, {_EXAMPLE}",
                )
            return command
        return Command(text="true")

    def _timeout(self) -> float:
        limits = self.reader.below("limits")
        check_keys(limits.node, schema.LIMITS, "of limits", self.problems)
        with self.problems.catching():
            node = limits.written("timeout")
            if node is None:
                return NO_TIMEOUT
            allowed = "seconds, more than 0"
            timeout = as_number(node, self.scope, allowed)
            if not 0 < timeout <= NO_TIMEOUT:
                raise UserError(f"{timeout:g} is out of range", place=node.place, allowed=allowed, todo="leave it out for no limit")
            return timeout
        return NO_TIMEOUT

    def _check_one_instance(self, step: Step) -> None:
        todo = "leave it out; a parallel job (type: parallel) can use several instances"
        if node := self.reader.written("distribution"):
            self.problems.unsupported("a command runs as one process on one instance: distribution cannot run here", node.place, todo=todo)
            return
        node = self.reader.below("resources").written("instance_count")
        if node and step.resources.instance_count != 1:
            self.problems.unsupported(
                f"a command runs on one instance, not on {step.resources.instance_count}", node.place, allowed="1", todo=todo
            )

    def _not_here(self) -> None:
        if node := self.reader.written("additional_includes"):
            self.problems.unsupported("additional_includes are not read", node.place, todo="put the files into the code folder")
        check_keys(self.reader.mapping("queue_settings"), schema.QUEUE_SETTINGS, "of queue_settings", self.problems)
        if self.reader.written("queue_settings"):
            self.problems.notice("queue_settings have no effect: jobs queue as `runner job create --priority` says")
        if self.reader.written("parent_job_name"):
            self.problems.notice("parent_job_name has no effect: only the steps of a pipeline have a parent")
