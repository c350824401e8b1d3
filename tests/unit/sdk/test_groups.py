from __future__ import annotations

import inspect
from enum import Enum
from typing import Any

import pytest

from runner import Input, Output, command
from runner.dsl import group, pipeline
from runner.dsl._group_decorator import group as azures
from runner.errors import UserError
from runner.sdk.function_component import mapping_of_function
from runner.spec.load import LoadedJob


class Color(Enum):
    red = "r"
    green = "g"


@group
class Few:
    count: int
    name: str = "few"


@group
class More(Few):
    color: Color = Color.green
    name: str = "more"
    data: Input(type="uri_folder")


@group
class All:
    few: Few
    more: More = More(count=2)
    maybe: str = None


def step() -> Any:
    return command(command="echo ${{inputs.a}} ${{inputs.b}}", inputs={"a": Input(type="integer"), "b": Input(type="string")})


@pipeline
def inner(given: Few):
    one = step()(a=given.count, b=given.name)  # noqa: F841


@pipeline
def outer(whole: All, more=More(count=5)):  # noqa: B008
    first = step()(a=whole.more.count, b=f"{whole.few.name}-{more.color}")  # noqa: F841
    second = inner(whole.few)  # noqa: F841


def mapping(job: Any) -> dict[str, Any]:
    loaded: LoadedJob = job._loaded()
    return loaded.mapping()


def test_what_a_group_is() -> None:
    assert azures is group
    assert repr(More(count=1)) == "More(count=1, name='more', color=<Color.green: 'g'>, data=None)"
    assert [*inspect.signature(More).parameters] == ["count", "name", "color", "data"]
    with pytest.raises(UserError, match=r"(?s)More has no parameter `colour`.*did you mean 'color'"):
        More(colour=1)
    with pytest.raises(TypeError):
        Few(1)


def test_inputs_have_names_with_dots() -> None:
    job = mapping(outer(All(few=Few(count=1))))
    assert job["inputs"] == {
        "whole.few.count": 1,
        "whole.few.name": "few",
        "whole.more.count": 2,
        "whole.more.name": "more",
        "whole.more.color": {"type": "string", "enum": ["r", "g"], "value": "g"},
        "whole.more.data": {"type": "uri_folder"},
        "whole.maybe": {"type": "string", "optional": True},
        "more.count": 5,
        "more.name": "more",
        "more.color": {"type": "string", "enum": ["r", "g"], "value": "g"},
        "more.data": {"type": "uri_folder"},
    }
    first, second = job["jobs"]["first"], job["jobs"]["second"]
    assert first["inputs"] == {
        "a": {"type": "integer", "value": "${{parent.inputs.whole.more.count}}"},
        "b": "${{parent.inputs.whole.few.name}}-${{parent.inputs.more.color}}",
    }
    assert second["inputs"] == {
        "given.count": "${{parent.inputs.whole.few.count}}",
        "given.name": "${{parent.inputs.whole.few.name}}",
    }


def test_of_a_job_they_are_read_and_set_by_attribute() -> None:
    job = outer(All(few=Few(count=1)))
    job.inputs.whole.few.count = 7
    job.inputs.more = More(count=8, name="x")
    written = mapping(job)["inputs"]
    assert (written["whole.few.count"], written["more.count"], written["more.name"]) == (7, 8, "x")
    with pytest.raises(AttributeError, match="no input `whole"):
        _ = job.inputs.whole.few.cuont


def test_a_default_is_nobody_elses() -> None:
    first = All(few=Few(count=1))
    first.more.count = 9
    assert All(few=Few(count=1)).more.count == 2


def test_a_function_that_takes_a_group_is_no_component() -> None:
    with pytest.raises(UserError, match="the parameter `given` of the pipeline function `inner` takes a group"):
        mapping_of_function(inner)


def test_what_is_no_group_of_that_class() -> None:
    with pytest.raises(UserError, match="whole must be a All, not int"):
        outer(3)
    with pytest.raises(UserError, match=r"whole.few must be a Few, not str"):
        outer(All(few="x"))


def test_fields_that_cannot_be() -> None:
    class Hidden:
        _a: int = 1

    class Out:
        a: Output

    with pytest.raises(UserError, match="begins with _"):
        group(Hidden)
    with pytest.raises(UserError, match="is an output"):
        group(Out)


def test_a_field_that_the_group_lacks() -> None:
    @pipeline
    def wrong(given: Few):
        step()(a=given.cuont, b="x")

    with pytest.raises(AttributeError, match=r"(?s)the group `given` has no field `cuont`.*did you mean 'count'"):
        wrong(Few(count=1))
