"""Paths and addresses that scripts find in another place."""

from __future__ import annotations

from runner.model.job import JobInput, Step
from runner.pipeline.mounts import read_paths
from runner.pipeline.variables import replace_path

ROOT = "azureml://datastores/az/paths"


def test_the_longer_of_two_paths_counts_and_nothing_is_replaced_twice() -> None:
    moved = {f"{ROOT}/in": "/here/in", f"{ROOT}/inputs": f"{ROOT}/inputs", "/here": "/there"}
    assert replace_path(f"--a={ROOT}/in/x,{ROOT}/inputs/y /here", moved) == f"--a=/here/in/x,{ROOT}/inputs/y /there"
    assert replace_path("as it is", {}) == "as it is"


def test_containers_are_given_what_addresses_have_moved_to() -> None:
    inputs = {
        "data": JobInput(type="uri_folder", path=f"{ROOT}/in"),
        "side": JobInput(type="uri_folder", path=f"{ROOT}/side"),
        "far": JobInput(type="mltable", path=f"{ROOT}/far", mode="direct"),
    }
    step = Step(name="s", inputs=inputs, input_data="data", model=f"{ROOT}/m")
    moved = {f"{ROOT}/in": "/own/in", f"{ROOT}/side": "/cache/side", f"{ROOT}/far": f"{ROOT}/far", f"{ROOT}/m": "/cache/m"}
    assert sorted(read_paths(step, moved)) == ["/cache/m", "/cache/side"]
