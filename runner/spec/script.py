"""`code` and `entry_script`: they must exist, and the script must define `run`. It is parsed, never run."""

from __future__ import annotations

import ast
import difflib
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

from runner.errors import NotSupportedHere, Place, UserError, did_you_mean
from runner.spec.context import parse_at
from runner.spec.disk import is_file, is_folder
from runner.spec.problems import Problems
from runner.spec.values import Reader
from runner.spec.yaml_source import Node, child_field
from runner.storage.uri import local_path

TODO_RUN = "define `def run(mini_batch):` in it"


def read_code(task: Reader, problems: Problems) -> tuple[str, str]:
    """(absolute path of the code folder, entry script relative to it); empty where something is wrong."""
    code = script = ""
    with problems.catching():
        if task.written("code") is None:
            raise missing(task.node, "code", "name the folder that holds the entry script, e.g. code: ./src")
        code = read_folder(task, "the folder that holds the entry script")
    with problems.catching():
        script = _entry_script(task, code)
        if code and script:
            check_script(Path(code, script))
    return code, script


def missing(node: Node | None, key: str, todo: str, *, below: str = "") -> UserError:
    """The error for a key that must be there. `below`: of a mapping that isn't written either."""
    at = node.place if node else Place()
    field = child_field(child_field(at.field, below) if below else at.field, key)
    return UserError(f"the key '{key}' is missing", place=Place(file=at.file, line=at.line, field=field), todo=todo)


def read_folder(reader: Reader, what: str) -> str:
    """The absolute path of the folder `code`; empty where nothing is written, or no plain text. `what` says what is wanted there."""
    node, text = reader.written("code"), reader.literal("code")
    if node is None or text is None:
        return ""
    uri = parse_at(text, node.place)
    if not uri.is_local:
        raise NotSupportedHere(
            f"'{text}' is not a local folder", place=node.place, allowed="a folder of this machine", todo="copy the code to this machine"
        )
    path = local_path(uri, node.base)
    if is_file(path):
        raise UserError(
            f"'{text}' is a file",
            place=node.place,
            allowed=what,
            todo=f"write code: {os.path.dirname(text) or '.'}",
        )
    if not is_folder(path):
        raise UserError(
            f"the folder '{text}' does not exist", place=node.place, todo=f"looked for {path}; paths are relative to the job file"
        )
    return path


def _entry_script(task: Reader, code: str) -> str:
    node, text = task.written("entry_script"), task.literal("entry_script")
    if node is None:
        raise missing(task.node, "entry_script", "name the script that defines `run`, relative to `code`")
    if text is None:
        return ""
    clean = os.path.normpath(text)
    if clean.startswith("/") or Path(clean).parts[0] == "..":
        raise UserError(f"'{text}' lies outside `code`", place=node.place, allowed="a path relative to `code`, without '..'")
    if code and not is_file(f"{code}/{clean}"):
        found = sorted(one.name for one in Path(code).glob("*.py"))
        raise UserError(
            f"the script '{text}' is not in {code}",
            place=node.place,
            allowed=", ".join(found[:20]) or "(the folder holds no .py file)",
            todo=did_you_mean(clean, found) or "the path is relative to `code`",
        )
    return clean


def check_script(path: Path) -> None:
    """Raises a UserError with file:line when the script does not parse or has no `run` that takes a mini-batch."""
    place = Place(file=str(path))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the script's own SyntaxWarnings are its own business
            module = ast.parse(path.read_bytes(), filename=str(path))
    except SyntaxError as error:
        raise UserError(
            f"syntax error in the entry script: {error.msg}", place=Place(file=str(path), line=error.lineno), todo="mend the script"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"the entry script cannot be read: {error}", place=place) from None
    names = dict(_names(module.body))
    if "run" not in names and "*" not in names:
        if "enqueue" in names:
            raise NotSupportedHere(
                "this is an asynchronous entry script (`enqueue`, `get_finished_batch_result`, …), which this build cannot run",
                place=Place(file=str(path), line=names["enqueue"].lineno),
                todo=TODO_RUN,
            )
        near = difflib.get_close_matches("run", names, n=1)
        raise UserError(
            "the entry script defines no `run`",
            place=place,
            todo=f"rename '{near[0]}' to run" if near else TODO_RUN,
        )
    run = names.get("run")
    if isinstance(run, ast.AsyncFunctionDef):
        raise UserError(
            "`run` is an `async def`, which the runner does not await", place=Place(file=str(path), line=run.lineno), todo=TODO_RUN
        )
    if isinstance(run, ast.FunctionDef):
        _check_signature(run, path)


def _check_signature(run: ast.FunctionDef, path: Path) -> None:
    positional = len(run.args.posonlyargs) + len(run.args.args)
    required = positional - len(run.args.defaults)
    keyword_only = any(default is None for default in run.args.kw_defaults)
    if run.decorator_list:
        return  # a decorator may give it another signature
    if (positional == 0 and run.args.vararg is None) or required > 2 or keyword_only:
        raise UserError(
            "`run` cannot be called with a mini-batch",
            place=Place(file=str(path), line=run.lineno),
            allowed="run(mini_batch), run(mini_batch, mini_batch_context)",
            todo="change its parameters",
        )


def _names(body: list[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    """Names bound at the top level of a module, those in `if`, `try`, `with` and loops included; `*` for a star import."""
    for statement in body:
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield statement.name, statement
            continue
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            for alias in statement.names:
                yield alias.asname or alias.name.split(".")[0], statement
            continue
        targets: list[ast.expr] = []
        if isinstance(statement, ast.Assign):
            targets = statement.targets
        elif isinstance(statement, (ast.AnnAssign, ast.AugAssign)):
            targets = [statement.target]
        for target in targets:
            yield from ((name.id, statement) for name in ast.walk(target) if isinstance(name, ast.Name))
        for inner in ("body", "orelse", "finalbody"):
            yield from _names(getattr(statement, inner, []))
        for handler in getattr(statement, "handlers", []):
            yield from _names(handler.body)
