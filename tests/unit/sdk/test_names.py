"""`runner` has the names of `azure.ai.ml`, or says in one sentence that it has not, and loads nothing before it is needed."""

from __future__ import annotations

import importlib
import subprocess
import sys
import warnings
from types import ModuleType

import pytest

import runner
from runner import constants, entities

HEAVY = ("pydantic", "pyarrow", "pandas", "numpy", "rich", "typer", "yaml", "azure", "ray", "docker")
SENTENCE = "is not available in this release of runner"


MODULES = (
    "", ".parallel", ".dsl", ".entities", ".constants", ".sweep", ".automl", ".data_transfer", ".finetuning", ".identity",
    ".model_customization", ".operations",
)  # fmt: skip


@pytest.mark.parametrize("module", MODULES)
def test_every_name_of_azure_is_there_or_gives_one_sentence(azure: ModuleType, module: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = importlib.import_module(f"azure.ai.ml{module}")
    ours = importlib.import_module(f"runner{module}")
    for name in theirs.__all__:
        if hasattr(ours, name):
            assert name in dir(ours)
            continue
        assert name not in dir(ours)
        with pytest.raises(AttributeError, match=f"`{name}` of azure.ai.ml{module} {SENTENCE}"):
            getattr(ours, name)
        with pytest.raises(ImportError, match=f"`{name}` of azure.ai.ml{module} {SENTENCE}"):
            exec(f"from runner{module} import {name}")


@pytest.mark.parametrize("module", [runner, entities, constants])
def test_all_names_of_ours_exist(module: ModuleType) -> None:
    for name in module.__all__:
        assert getattr(module, name) is getattr(module, name)


def test_what_was_asked_for_is_there() -> None:
    from runner import Input, MLClient, Output, load_component, load_environment, load_job, parallel
    from runner.dsl import pipeline
    from runner.parallel import Parallel, ParallelJob, RunFunction, parallel_run_function

    assert all([Input, MLClient, Output, load_component, load_environment, load_job, pipeline, Parallel, ParallelJob, RunFunction])
    assert parallel.parallel_run_function is parallel_run_function


def test_commands_are_there() -> None:
    from runner import command, dsl
    from runner.entities import Command, CommandComponent, CommandJob, CommandJobLimits, PipelineComponent

    assert isinstance(command(command="true"), Command)
    assert all([CommandComponent, CommandJob, CommandJobLimits, PipelineComponent, dsl.pipeline])
    with pytest.raises(ImportError, match=f"`Choice` of azure.ai.ml.sweep {SENTENCE}"):
        from runner.sweep import Choice  # type: ignore[attr-defined] # noqa: F401


def test_identities_are_still_importable_from_the_top() -> None:
    from runner import AmlTokenConfiguration

    assert AmlTokenConfiguration is entities.AmlTokenConfiguration


def test_unknown_names_get_the_nearest_one() -> None:
    assert not hasattr(runner, "MLCleint")
    with pytest.raises(AttributeError, match="did you mean 'MLClient'"):
        _ = runner.MLCleint  # type: ignore[attr-defined]
    with pytest.raises(ImportError, match="cannot import name 'Nothing'"):
        exec("from runner.entities import Nothing")


@pytest.mark.parametrize("name", constants.__all__)
def test_constants_have_azures_values(azure: ModuleType, name: str) -> None:
    theirs, ours = getattr(azure.constants, name), getattr(constants, name)
    assert {key: value for key, value in vars(ours).items() if key.isupper()} == {
        key: value for key, value in vars(theirs).items() if key.isupper()
    }


def _loaded_by(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize(
    "code",
    [
        "import runner",
        "from runner import Input, command, load_component, parallel\nparallel.parallel_run_function\nfrom runner.dsl import pipeline",
        "import runner.entities, runner.constants\nrunner.entities.Environment",
    ],
)
def test_importing_loads_nothing_heavy(code: str) -> None:
    assert _loaded_by(code) & set(HEAVY) == set()


def test_import_takes_less_than_a_tenth_of_a_second() -> None:
    code = "import time; start = time.perf_counter(); import runner; print(time.perf_counter() - start)"
    runs = [float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout) for _ in range(5)]
    assert min(runs) < 0.1
