"""The settings of a parallel step that are numbers and words: sizes, thresholds, retries, resources, identity, environment variables."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping

from runner.errors import Place, UserError, UserErrors, did_you_mean
from runner.model.job import Resources, RetrySettings
from runner.spec import schema
from runner.spec.arguments import LONGEST_SECONDS
from runner.spec.context import ResolveContext, add_local, listed, placed
from runner.spec.expressions import has_expression
from runner.spec.values import Reader, as_number, check_keys, near_case, require_scalar, resolved
from runner.spec.yaml_source import scalar_text, shown

SIZE = re.compile(r"(\d{1,30}) ?([kKmMgG][bB]?)?", re.ASCII)
SHM_SIZE = re.compile(r"[1-9]\d*[bkmg]", re.IGNORECASE)
_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_BREAKING = {"PYTHONHOME": "the script's Python would not find its library", "PYTHONINSPECT": "workers would not end"}


def mini_batch_size(reader: Reader) -> tuple[int | None, bool]:
    """(files or bytes, whether a byte unit was written); None where nothing is written. Units are powers of 1024."""
    node = reader.written("mini_batch_size")
    if node is None:
        return None, False
    with reader.problems.catching():
        value = resolved(node, reader.scope)
        text = scalar_text(int(value) if isinstance(value, float) and value.is_integer() else value).strip()
        match = None if isinstance(value, bool) else SIZE.fullmatch(text)
        allowed = "a whole number of files, or of bytes for tables: 10, 100kb, 1 MB (^\\d+ ?([kKmMgG][bB]?)?$, units of 1024)"
        if match is None:
            raise UserError(f"{shown(text)} is not a size of mini-batches", place=node.place, allowed=allowed)
        size = int(match[1]) * _UNITS[(match[2] or "")[:1].lower()]
        if not 0 < size < 2**63:
            raise UserError(f"a mini-batch cannot have the size {text}", place=node.place, allowed=allowed, todo="write 1 or more")
        return size, bool(match[2])
    return None, False


def partition_keys(reader: Reader) -> tuple[str, ...]:
    node = reader.written("partition_keys")
    if node is None:
        return ()
    if not node.is_list or not node.items:
        reader.problems.add(
            f"must be a list of names, not {node.kind if not node.is_list else 'an empty list'}", node.place, allowed="e.g. [user, season]"
        )
        return ()
    keys: list[str] = []
    for item in node.items:
        with reader.problems.catching():
            key = require_scalar(item)
            if has_expression(key):
                raise UserError("partition_keys take no expression", place=item.place, todo="write the names of the keys")
            if not key or key in keys:
                raise UserError(f"the key '{key}' stands twice" if key else "a key has no name", place=item.place)
            keys.append(key)
    return tuple(keys)


def retry_settings(reader: Reader) -> RetrySettings:
    below = reader.below("retry_settings")
    check_keys(below.node, schema.RETRY_SETTINGS, "of retry_settings", reader.problems)
    defaults = RetrySettings()
    timeout: float = defaults.timeout
    with reader.problems.catching():
        node = below.written("timeout")
        if node is not None:
            allowed = f"seconds, more than 0 and at most {LONGEST_SECONDS} (three days)"
            timeout = as_number(node, reader.scope, allowed)
            if not 0 < timeout <= LONGEST_SECONDS:
                raise UserError(f"{timeout:g} is out of range", place=node.place, allowed=allowed)
    retries = below.integer("max_retries", low=0, default=defaults.max_retries)
    return RetrySettings(max_retries=defaults.max_retries if retries is None else retries, timeout=timeout)


def resources(reader: Reader, context: ResolveContext, *, container: bool, cluster: bool = False) -> Resources:
    """`container`: the step runs in containers; `cluster`: elsewhere than on this machine. What has no effect is said."""
    below, problems = reader.below("resources"), reader.problems
    check_keys(below.node, schema.RESOURCES, "of resources", problems)
    defaults = Resources()
    count = below.integer("instance_count", low=1, default=1) or 1
    limit = below.integer("max_instance_count", low=1)
    if limit is not None and limit < count and (node := below.written("max_instance_count")):
        problems.add(f"{limit} is less than instance_count, {count}", node.place, todo=f"write {count} or more, or leave it out")
    properties = below.mapping("properties")
    found = Resources(
        instance_count=count,
        max_instance_count=limit,
        instance_type=_instance_type(below, context, cluster=cluster),
        shm_size=_shm_size(below, defaults.shm_size),
        docker_args=_docker_args(below, context),
        docker_args_base=str(node.base) if (node := below.written("docker_args")) else "/",
        properties={key: child.plain() for key, child in properties.entries.items()} if properties else {},
        locations=below.texts("locations"),
    )
    for key in ("max_instance_count", "properties", "locations"):
        if below.written(key) and not (cluster and key == "max_instance_count"):
            problems.notice(f"resources.{key} is kept without effect")
    for key in ("shm_size", "docker_args"):
        if below.written(key) and not container:
            where = "of the nodes" if cluster else "of this machine"
            problems.notice(f"resources.{key} has no effect: the script runs in processes {where}, not in a container")
    return found


def _instance_type(below: Reader, context: ResolveContext, *, cluster: bool) -> tuple[str, ...]:
    types = below.texts("instance_type")
    node = below.written("instance_type")
    if not types or node is None:
        return types
    if context.local:
        below.problems.notice("resources.instance_type is not used: --local runs the step on this machine")
        return types
    for one in types if not cluster else ():  # a cluster has types of its own, and says so when a job is submitted
        if one not in context.instance_types:
            below.problems.add(
                f"the instance type '{one}' is not known",
                node.place,
                allowed=listed(context.instance_types, "instance types"),
                todo=did_you_mean(one, context.instance_types) or f"leave it out, or {add_local(node.place)} to run on this machine",
            )
    return types


def _shm_size(below: Reader, default: str) -> str:
    node = below.written("shm_size")
    if node is None:
        return default
    text = below.text("shm_size", default)
    if SHM_SIZE.fullmatch(text):
        return text
    below.problems.add(f"{shown(text)} is not a size of shared memory", node.place, allowed="^[1-9]\\d*[bkmg]$, in any case, e.g. 2g, 512m")
    return default


def _docker_args(below: Reader, context: ResolveContext) -> tuple[str, ...]:
    """The words; checked here, so that a job is refused before anything starts, and again before each container (runner/launch)."""
    node = below.written("docker_args")
    if node is None:
        return ()
    from runner.launch.docker_policy import checked_docker_args  # a hundredth of a second that most jobs need not spend

    with below.problems.catching():
        words = below.texts("docker_args") if node.is_list else _shell_words(below.text("docker_args"), node.place)
        try:
            found = checked_docker_args(words, context.docker_policy, environment=os.environ, directory=node.base)
        except UserErrors as errors:
            raise UserErrors(placed(error, node.place) for error in errors.errors) from None
        for notice in found.notices:
            below.problems.notice(notice)
        return words
    return ()


def _shell_words(text: str, place: Place) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise UserError(f"cannot be split into words: {str(error).lower()}", place=place, todo="close the quote") from None


def environment_variables(reader: Reader) -> dict[str, str]:
    """Numbers and booleans as YAML writes them; names that break the runner are refused."""
    node = reader.mapping("environment_variables")
    for name, child in (node.entries if node else {}).items():
        problem = ""
        if not name or "=" in name or "\0" in name:
            problem = f"{name!r} is not a name of an environment variable"
        elif name.upper().startswith("RUNNER_"):
            problem = f"'{name}' is a name of the runner's own"
        elif name in _BREAKING:
            problem = f"'{name}' cannot be set for a worker: {_BREAKING[name]}"
        elif "\0" in child.text:
            problem = f"the value of '{name}' has a NUL character"
        if problem:
            reader.problems.add(problem, child.place, allowed="names without '=' that do not begin with RUNNER_")
    return reader.text_mapping("environment_variables")


def identity(reader: Reader) -> Mapping[str, object] | None:
    """What reaches blob storage where neither a datastore nor an address has a credential of its own."""
    node = reader.mapping("identity")
    if node is None:
        return None
    kinds = {"amltoken": "aml_token", "useridentity": "user_identity", "managedidentity": "managed_identity"}
    written = node.get("type")
    if written is None:
        reader.problems.add("identity has no type", node.place, allowed=", ".join(schema.IDENTITY))
        return None
    kind = written.text.lower()
    kind = kinds.get(kind, kind)
    if kind not in schema.IDENTITY:
        reader.problems.add(
            f"'{written.text}' is not a type of identity",
            written.place,
            allowed=", ".join(schema.IDENTITY),
            todo=near_case(kind, list(schema.IDENTITY)),
        )
        return None
    check_keys(node, schema.IDENTITY[kind], f"of an identity of type {kind}", reader.problems)
    others = [key for key in ("object_id", "msi_resource_id", "resource_id") if node.get(key)]
    if others and not node.get("client_id"):
        reader.problems.notice(f"identity: {', '.join(others)} has no effect: a managed identity is chosen by its client_id")
    values = Reader(node, reader.scope, reader.problems)
    return {"type": kind, **{key: values.text(key) for key in node.entries if key != "type" and node.get(key)}}
