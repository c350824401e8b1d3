"""Where a step runs, how many workers it has there, and which GPUs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from runner.compute import local
from runner.launch.process import ProcessLauncher
from runner.model.docker import InstanceType
from runner.model.job import Environment, JobOutput, Resources, Step
from runner.model.paths import JobPaths
from runner.model.ports import SourceSummary
from runner.outputs.append_row import RowFormat
from runner.pipeline.instances import InstancePlan, instance_settings
from runner.pipeline.options import RunOptions
from runner.pipeline.site import Site, in_container, instance_type, processes_of

TYPES = {"gpu": InstanceType(gpus=2, cpus=8), "small": InstanceType(cpus=0.5), "plain": InstanceType()}


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of eight cores and five GPUs."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,4,5,6,7")
    monkeypatch.setattr("runner.compute.local.cores", lambda: 8)
    monkeypatch.setattr("runner.pipeline.site.cores", lambda: 8)


def step_of(*types: str, count: int = 1, **keys: object) -> Step:
    return Step(name="job", resources=Resources(instance_count=count, instance_type=types), **keys)  # type: ignore[arg-type]


def options(tmp_path: Path, *, local: bool = False) -> RunOptions:
    return RunOptions(cache=tmp_path, instance_types=TYPES, local=local)


def test_an_image_or_a_build_makes_it_a_container(tmp_path: Path) -> None:
    image, conda = Environment(image="x"), Environment(conda={"dependencies": []})
    assert in_container(step_of(environment=image), options(tmp_path))
    assert in_container(step_of(environment=Environment(build_context="/x")), options(tmp_path))
    assert not in_container(step_of(environment=image), options(tmp_path, local=True))
    assert not in_container(step_of(environment=conda), options(tmp_path))
    assert not in_container(step_of(), options(tmp_path))


def test_the_first_type_counts(tmp_path: Path) -> None:
    assert instance_type(step_of("small", "gpu"), options(tmp_path)) == TYPES["small"]
    assert instance_type(step_of(), options(tmp_path)) == InstanceType()


@pytest.mark.parametrize(
    ("types", "count", "workers"),
    [(("gpu",), 1, 2), (("small",), 1, 1), ((), 1, 5), ((), 2, 2), (("plain",), 1, 5)],
)
def test_workers_are_one_per_gpu_else_one_per_core(tmp_path: Path, types: tuple[str, ...], count: int, workers: int) -> None:
    assert processes_of(step_of(*types, count=count), options(tmp_path)) == workers
    assert processes_of(replace(step_of(*types), max_concurrency_per_instance=7), options(tmp_path)) == 7


def test_without_gpus_the_cores_are_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert processes_of(step_of(count=3), options(tmp_path)) == 2


def plan(tmp_path: Path, step: Step, *, container: bool, gpus_each: int = 0) -> InstancePlan:
    return InstancePlan(
        step=step,
        paths=JobPaths(tmp_path / "job", tmp_path / "logs"),
        summary=SourceSummary(kind="files", root="/data"),
        row_format=RowFormat(to_csv={}, header=False),
        site=Site(python="python3", launcher=ProcessLauncher(), container=container),
        processes=3,
        instances=step.resources.instance_count,
        gpus_each=gpus_each,
        epoch=1,
    )


def test_gpus_of_an_instance_in_processes_and_in_a_container(tmp_path: Path) -> None:
    """Docker is asked for devices of the machine; inside, they are counted from 0. Worker i gets the i-th, the third gets none."""
    step = step_of("gpu", count=2)
    bare = instance_settings(plan(tmp_path, step, container=False, gpus_each=2), 1)
    assert bare.worker.gpus == bare.request.gpus == ("5", "6")
    boxed = instance_settings(plan(tmp_path, step, container=True, gpus_each=2), 1)
    assert boxed.request.gpus == ("5", "6")
    assert boxed.worker.gpus == ("0", "1")
    assert boxed.request.environment["AZ_BATCHAI_GPU_COUNT_FOUND"] == "2"


def test_what_a_command_uploads_is_put_in_its_place_at_its_end(tmp_path: Path) -> None:
    """It is written elsewhere, and what an earlier instance has left there is gone; a parallel step writes to the place itself."""
    place, address = str(tmp_path / "place"), "azureml://datastores/az/paths/files"
    outputs = {
        "new": JobOutput(type="uri_folder", path=place, mode="upload"),
        "mounted": JobOutput(type="uri_file", path=f"{place}.txt"),
        "inner": JobOutput(type="uri_file", path=f"{place}/inner.txt"),
        "blob": JobOutput(type="uri_folder", path=address, mode="upload"),
        "shared": JobOutput(type="uri_file", path=f"{address}/deep/1.txt", mode="upload"),
        "beside": JobOutput(type="uri_file", path=f"{address}/deep/2.txt"),
    }
    old = tmp_path / "job" / "outputs" / "node_0" / "new" / "old.txt"
    old.parent.mkdir(parents=True)
    old.touch()
    one = plan(
        tmp_path,
        step_of(command="x", program_arguments=(f"{place}/a", f"{place}.txt", f"{place}/inner.txt"), outputs=outputs),
        container=False,
    )
    settings = instance_settings(one, 0)
    own = str(old.parent)
    assert settings.placed == {own: place}
    assert settings.withheld == (address,)
    assert not old.exists()
    assert list(settings.worker.arguments) == [f"{own}/a", f"{place}.txt", f"{place}/inner.txt"]
    assert settings.request.environment["AZURE_ML_OUTPUT_new"] == own
    foreign = replace(one, site=replace(one.site, foreign=True))
    assert (instance_settings(foreign, 0).placed, instance_settings(foreign, 0).withheld) == ({}, (address,))
    other = instance_settings(plan(tmp_path, step_of(entry_script="x.py", outputs=outputs), container=False), 0)
    assert (other.placed, other.withheld) == ({}, ())


def test_a_type_asks_for_gpus_that_this_process_does_not_see(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(local, "DRIVER", tmp_path / "none")
    assert instance_settings(plan(tmp_path, step_of("gpu", count=2), container=True, gpus_each=2), 1).request.gpus == ("2", "3")
