"""Names that are loaded when they are first asked for, and names of Azure's that this release does not have."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

# What does the work of names that are not here: a word in them, and the advice.
_INSTEAD = {
    "Batch": "`runner batch invoke -f deployment.yml --input PATH` runs the file of a batch deployment",
    "Schedule": "let cron or a timer run `runner job create -f FILE`",
    "Datastore": "datastores are described in workspace.yml",
}


def attributes(module: str, places: Mapping[str, str], absent: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package: `places` says in which module each name lives ("" is a submodule of its own);
    `absent` are names between blanks.

    An absent name gives one sentence, as an `AttributeError` (so `hasattr` is False), and in `from … import name` as an `ImportError`.
    """

    def get(name: str) -> Any:
        if name in places:
            place = importlib.import_module(places[name] or f"{module}.{name}")
            found = getattr(place, name) if places[name] else place
            sys.modules[module].__dict__[name] = found  # the next access does without this function
            return found
        if name not in absent.split():
            from runner.errors import did_you_mean

            near = did_you_mean(name, [*places, *absent.split()])
            raise AttributeError(f"module '{module}' has no attribute '{name}'" + (f": {near}" if near else ""))
        azure = f"azure.ai.ml{module.removeprefix('runner')}"
        sentence = f"`{name}` of {azure} is not available in this release of runner: it runs commands, parallel jobs and pipelines of them."
        sentence += next((f" {advice}." for word, advice in _INSTEAD.items() if word in name), "")
        if _in_from_import():
            raise ImportError(sentence, name=module)
        raise AttributeError(sentence, name=name)

    def names() -> list[str]:
        return sorted({*sys.modules[module].__dict__, *places})

    return get, names


def _in_from_import() -> bool:
    """Whether `from package import name` asks. It first looks with `hasattr` whether the name is there, and would otherwise replace
    an AttributeError by "cannot import name"; an ImportError passes through to the user.
    """
    frame = sys._getframe(2)
    return frame.f_code.co_name == "_handle_fromlist" and frame.f_globals.get("__name__") == "importlib._bootstrap"
