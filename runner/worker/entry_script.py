"""The user's script: loaded as a module of its own name, and its functions as the contract has them."""

import collections.abc
import importlib.machinery
import importlib.util
import inspect
import os
import sys
from types import ModuleType
from typing import Any, Callable, Optional

ALLOWED = "run(mini_batch) or run(mini_batch, mini_batch_context)"
CONTEXT = "mini_batch_context"


class EntryScriptError(Exception):
    """The script lacks what every entry script must have."""


class EntryScript(object):
    """`run` takes (mini-batch, context) if `wants_context`, else the mini-batch alone. `init` and `shutdown` may be None."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module
        run = getattr(module, "run", None)
        if not callable(run):
            name = os.path.basename(module.__file__ or "")
            raise EntryScriptError("%s has no function `run`; allowed: %s" % (name, ALLOWED))
        self.run: Callable[..., Any] = run
        self.wants_context = wants_context(run)
        self.init = self._optional("init")
        self.shutdown = self._optional("shutdown")

    def _optional(self, name: str) -> Optional[Callable[[], Any]]:
        value = getattr(self.module, name, None)
        if value is not None and not callable(value):
            raise EntryScriptError("`%s` of the entry script is %s, not a function" % (name, type(value).__name__))
        return value


def wants_context(run: Callable[..., Any]) -> bool:
    """Two required positional parameters, `*args`, or a parameter of the context's name. Errors: EntryScriptError when no call can fit."""
    try:
        parameters = list(inspect.signature(run).parameters.values())
    except (TypeError, ValueError):  # some callables of extension modules do not tell
        return False
    positional = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    required = [one for one in positional if one.default is one.empty]
    variable = any(one.kind == one.VAR_POSITIONAL for one in parameters)
    keyword_only = [one.name for one in parameters if one.kind == one.KEYWORD_ONLY and one.default is one.empty]
    if len(required) > 2 or keyword_only or not (positional or variable):
        raise EntryScriptError("`run%s` cannot be called; allowed: %s" % (inspect.signature(run), ALLOWED))
    return len(required) == 2 or variable or any(one.name == CONTEXT for one in positional[1:2])


def prepare_interpreter(code: str, entry_script: str, arguments: "collections.abc.Sequence[str]", importable: str) -> str:
    """Makes this process look as if it had been started in the code folder as `python entry_script arguments`; gives the script's path."""
    path = os.path.join(code, entry_script)
    os.chdir(code)
    sys.path.insert(0, code)
    if os.path.dirname(path) != code:
        sys.path.insert(1, os.path.dirname(path))
    sys.path.append(importable)
    sys.argv = [path, *arguments]
    return path


def load(path: str) -> ModuleType:
    """Imports the script under its own name, by which its functions can be pickled and found by processes that it starts."""
    name = os.path.splitext(os.path.basename(path))[0]
    if name in sys.modules:  # something of Python's own has it already, and must keep it
        name = "entry_script_" + name
    spec = importlib.util.spec_from_file_location(name, path, loader=importlib.machinery.SourceFileLoader(name, path))
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
