from __future__ import annotations

import pytest

from runner.errors import Place, UserError
from runner.model.job import JobInput, JobOutput
from runner.spec.expressions import Ports, Scope, drop_optional, meaning, only_expression, steps_named, substitute

PLACE = Place(file="job.yml", line=3)
IMAGES = JobInput(type="uri_folder", path="/data/my images")
SCOPE = Scope(
    own=Ports(
        inputs={
            "images": IMAGES,
            "n": JobInput(type="integer", value=0),
            "flag": JobInput(type="boolean", value=True),
            "unset": JobInput(type="string", optional_unset=True),
        },
        outputs={"rows": JobOutput(type="uri_file", path="/out/rows.txt")},
    ),
    words={"name": "job_1"},
)
CHILD = Scope(parent=SCOPE.own, jobs={"a": Ports(inputs={"x": IMAGES}, outputs={"y": JobOutput(type="uri_folder", path="/y")})})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${{inputs.images}}", "/data/my images"),
        ("${{ inputs.images }}/a", "/data/my images/a"),
        ("--n=${{inputs.n}}", "--n=0"),
        ("${{inputs.flag}}", "True"),
        ("${{outputs.rows}}", "/out/rows.txt"),
        ("${{name}}-${{inputs.n}}", "job_1-0"),
        ("${{inputs.images.path}}", "/data/my images"),
        ("nothing $ {{here}}", "nothing $ {{here}}"),
    ],
)
def test_substitution(text: str, expected: str) -> None:
    assert substitute(text, SCOPE, PLACE) == expected


def test_references_to_the_parent_and_to_other_steps() -> None:
    assert meaning("parent.inputs.images", CHILD, PLACE) is IMAGES
    assert meaning("parent.jobs.a.inputs.x", CHILD, PLACE) is IMAGES
    output = meaning("parent.jobs.a.outputs.y", CHILD, PLACE)
    assert isinstance(output, JobOutput)
    assert list(steps_named("x ${{parent.jobs.a.outputs.y}} ${{ parent.jobs.b.inputs.z }} ${{parent.inputs.a}}")) == ["a", "b"]


@pytest.mark.parametrize(
    ("inner", "scope", "says"),
    [
        ("inputs.imags", SCOPE, "did you mean 'images'"),
        ("inputs.imags", SCOPE, "images, n, flag, unset"),
        ("inputs", SCOPE, "has no input ''"),
        ("parents.inputs.images", CHILD, r"did you mean '\$\{\{parent.inputs.images\}\}'"),
        ("parents.inputs.images", SCOPE, "has no parent"),
        ("parent.job.a.outputs.y", CHILD, "did you mean 'jobs'"),
        ("parent.jobs.b.outputs.y", CHILD, "no step 'b'"),
        ("parent.jobs.a", CHILD, "does not say what of the step"),
        ("name", CHILD, "no meaning here"),
        ("", SCOPE, "is not known"),
        ("search_space.x", SCOPE, "sweep"),
    ],
)
def test_unknown_names_list_the_known(inner: str, scope: Scope, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        meaning(inner, scope, PLACE)
    assert str(caught.value).startswith("job.yml:3")


@pytest.mark.parametrize("text", ["${{inputs.n", "${{inputs.n}} ${{", "${{inputs.${{inputs.n}}}}"])
def test_unclosed(text: str) -> None:
    with pytest.raises(UserError, match="not closed"):
        substitute(text, SCOPE, PLACE)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a $[[ --n ${{inputs.n}} ]] b", "a  --n ${{inputs.n}}  b"),
        ("a $[[--u ${{inputs.unset}}]] b", "a  b"),
        ("$[[--n ${{inputs.n}} --u ${{inputs.unset}}]]", ""),
        ("$[[--plain]]", "--plain"),
    ],
)
def test_optional_parts(text: str, expected: str) -> None:
    assert drop_optional(text, SCOPE, PLACE) == expected


def test_an_unset_optional_input_outside_of_brackets() -> None:
    with pytest.raises(UserError, match=r"optional input that got no value(.|\n)*\$\[\["):
        substitute("--u ${{inputs.unset}}", SCOPE, PLACE)


def test_only_expression() -> None:
    assert only_expression(" ${{ inputs.x }} ") == "inputs.x"
    assert only_expression("${{inputs.x}}/y") is None
    assert only_expression("${{a}}${{b}}") is None


def test_what_is_the_pipelines_is_guessed() -> None:
    with pytest.raises(UserError, match=r"(?s)has no input 'images'.*did you mean '\$\{\{parent.inputs.images\}\}'\?"):
        meaning("inputs.images", CHILD, PLACE)
