"""How the needs of a conda file get into an image: with pip alone where that is enough, else with the image's conda."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from runner.errors import Place, UserError, UserErrors
from runner.launch.conda_file import CondaNeeds, NeedsConda, Reader, read_conda
from runner.launch.image_probe import ImageFacts
from runner.launch.pythons import any_micro, satisfies
from runner.model.job import Environment

TOOLS = ("mamba", "micromamba", "conda")  # the fastest first
TODO = "take an image that has conda, mamba or micromamba, move these packages below `pip:`, or install them in a Dockerfile (`build`)"


@dataclass(frozen=True, kw_only=True)
class Way:
    """`tool` is the path of the image's conda, or empty: then pip does it."""

    needs: CondaNeeds  # with a tool: what stands below `pip:` only
    tool: str = ""
    conda: Mapping[str, Any] = field(default_factory=dict)  # with a tool: the conda file without its name
    notices: tuple[str, ...] = ()

    @property
    def maker(self) -> str:
        return os.path.basename(self.tool) or "pip"

    @property
    def variables(self) -> dict[str, str]:
        """What the conda file itself sets."""
        return {str(name): str(value) for name, value in (self.conda.get("variables") or {}).items()}


def choose_way(environment: Environment, facts: ImageFacts, name: str) -> Way:
    """Errors: UserError for a conda file that is wrong, and where the image `name` has nothing that can follow it."""
    conda = environment.conda or {}
    try:
        needs = read_conda(conda, environment.conda_path)
    except UserError as error:
        lacking = errors_of(error)
        if not all(isinstance(one, NeedsConda) for one in lacking):
            raise
        return with_conda(environment, facts) or _refuse(needs_conda(lacking, environment, name))
    notices = python_notices(needs, facts)
    if notices is not None:
        return Way(needs=needs, notices=needs.notices + notices)
    return with_conda(environment, facts) or _refuse(wrong_python(needs, facts, environment, name))


def errors_of(error: UserError) -> tuple[UserError, ...]:
    return error.errors if isinstance(error, UserErrors) else (error,)


def python_notices(needs: CondaNeeds, facts: ImageFacts) -> tuple[str, ...] | None:
    """None where the image's Python does not fit. `python=3.8.5` is met by another 3.8, as on this machine."""
    if needs.python is None or satisfies(facts.version, needs.python):
        return ()
    if satisfies(facts.version, any_micro(needs.python)):
        return (f"conda file: python{needs.python} is not in the image; taken is its {facts.version_text}",)
    return None


def with_conda(environment: Environment, facts: ImageFacts) -> Way | None:
    tool = next((facts.tools[name] for name in TOOLS if name in facts.tools), None)
    if tool is None:
        return None
    conda = {key: value for key, value in (environment.conda or {}).items() if key not in ("name", "prefix")}
    return Way(needs=pip_part(environment), tool=tool, conda=conda)


def pip_part(environment: Environment) -> CondaNeeds:
    """What stands below `pip:`; the rest is conda's business."""
    reader = Reader(environment.conda_path)
    dependencies = (environment.conda or {}).get("dependencies") or []
    assert isinstance(dependencies, (list, tuple))
    for entry in dependencies:
        if isinstance(entry, Mapping):
            reader.read(entry)
    return replace(CondaNeeds(), pip=tuple(reader.pip), files=tuple(reader.files))


def place_of(environment: Environment) -> Place:
    return Place(file=environment.conda_path) if environment.conda_path else Place(field="task.environment.conda_file")


def needs_conda(lacking: tuple[UserError, ...], environment: Environment, name: str) -> UserError:
    named = "; ".join(error.problem.replace(" is no Python package of PyPI", "") for error in lacking)
    problem = f"the conda file needs what only conda can install ({named}), and the image {name} has none"
    return UserError(problem, place=place_of(environment), allowed="with pip alone: Python and the packages of PyPI", todo=TODO)


def wrong_python(needs: CondaNeeds, facts: ImageFacts, environment: Environment, name: str) -> UserError:
    return UserError(
        f"the conda file asks for python{needs.python}; the image {name} has Python {facts.version_text}, and no conda to bring another",
        place=place_of(environment),
        todo="take an image with that Python or with conda, or change `python` in the conda file",
    )


def _refuse(error: UserError) -> Way:
    raise error
