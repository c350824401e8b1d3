from __future__ import annotations

import pytest

from runner.errors import Place, UserError
from runner.model.job import JobInput
from runner.spec.arguments import read_predefined, split_arguments
from runner.spec.expressions import Ports, Scope
from runner.spec.problems import Problems

PLACE = Place(file="job.yml", line=9)
HOSTILE = '/data/it\'s "my" $folder \\ #1'
SCOPE = Scope(
    own=Ports(
        inputs={
            "images": JobInput(type="uri_folder", path=HOSTILE),
            "empty": JobInput(type="string", value=""),
            "words": JobInput(type="string", value="a --b c"),
            "unset": JobInput(type="string", optional_unset=True),
        }
    )
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("--a 1  --b=2", ["--a", "1", "--b=2"]),
        ("--a 'x y' \"z w\"", ["--a", "x y", "z w"]),
        ("--model ${{inputs.images}} --n 1", ["--model", HOSTILE, "--n", "1"]),
        ("--model=${{inputs.images}}/best.pt", [f"--model={HOSTILE}/best.pt"]),
        ("--model '${{inputs.images}}'", ["--model", HOSTILE]),
        ('"${{inputs.images}} x"', [f"{HOSTILE} x"]),
        ("${{inputs.words}}", ["a --b c"]),
        ("--e ${{inputs.empty}}", ["--e", ""]),
        ("--a $[[--u ${{inputs.unset}}]] $[[--w ${{inputs.words}}]]", ["--a", "--w", "a --b c"]),
        ("# no comment", ["#", "no", "comment"]),
        ("a\nb", ["a", "b"]),
    ],
)
def test_splitting_after_expressions_are_whole_words(text: str, words: list[str]) -> None:
    assert split_arguments(text, SCOPE, PLACE) == tuple(words)


def test_an_unbalanced_quote_is_named_with_its_place() -> None:
    with pytest.raises(UserError, match=r"job\.yml:9: cannot be split into words: no closing quotation"):
        split_arguments("--a 'b", SCOPE, PLACE)


def predefined(*words: str) -> tuple[dict[str, object], list[str]]:
    problems = Problems()
    found = read_predefined(words, PLACE, problems)
    problems.raise_if_any()
    return dict(found), problems.notices


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--error_threshold", "5"], {"error_threshold": 5}),
        (["--error_threshold=5"], {"error_threshold": 5}),
        (["--error_threshold", "-1"], {"error_threshold": -1}),
        (["--allowed_failed_percent", "2.5"], {"allowed_failed_percent": 2.5}),
        (["--append_row_dataframe_header", "True"], {"append_row_dataframe_header": True}),
        (["--copy_logs_to_parent=false"], {"copy_logs_to_parent": False}),
        (["--resource_monitor_interval", "0"], {"resource_monitor_interval": 0}),
        (["--metrics_name_prefix", "x"], {"metrics_name_prefix": "x"}),
        (["--profiling_module", "cProfile"], {"profiling_module": "cProfile"}),
        (["--error_threshold", "5", "--error_threshold", "6"], {"error_threshold": 6}),
        (["--mine", "--", "--error_threshold", "5"], {}),
        (["error_threshold", "5"], {}),
        (["--threshold", "5", "--timeout", "x"], {}),
    ],
)
def test_predefined(words: list[str], found: dict[str, object]) -> None:
    assert predefined(*words) == (found, [])


def test_abbreviations() -> None:
    assert predefined("--resource_monitor_interva", "20")[0] == {"resource_monitor_interval": 20}
    assert predefined("--resource_mon", "20")[0] == {"resource_monitor_interval": 20}  # 12 characters
    assert predefined("--resource_mo", "20")[0] == {}  # 11: the user's own
    assert predefined("--allowed_failed_", "20")[0] == {}  # two begin so
    assert predefined("--resource_monitor_interva", "often")[0] == {}  # the value does not parse
    assert "read as --resource_monitor_interval" in predefined("--resource_monitor_interva", "20")[1][0]


def test_misprints_are_noticed_but_left_to_the_script() -> None:
    found, notices = predefined("--error-threshold", "5", "--alowed_failed_count", "1")
    assert found == {}
    assert len(notices) == 2
    assert "did you mean --error_threshold" in notices[0]


@pytest.mark.parametrize(
    "words",
    [
        ["--allowed_failed_percent", "100.5"],
        ["--allowed_failed_percent", "-1"],
        ["--error_threshold", "2147483648"],
        ["--error_threshold", "1.5"],
        ["--task_overhead_timeout", "0"],
        ["--task_overhead_timeout", "259201"],
        ["--progress_update_timeout", "inf"],
        ["--first_task_creation_timeout", "nan"],
        ["--resource_monitor_interval", "-1"],
        ["--copy_logs_to_parent", "maybe"],
        ["--profiling_module", "cprofile"],
        ["--error_threshold"],
        ["--error_threshold", "--x"],
        ["--error_threshold", "true"],
    ],
)
def test_out_of_range(words: list[str]) -> None:
    with pytest.raises(UserError, match="allowed:"):
        predefined(*words)
