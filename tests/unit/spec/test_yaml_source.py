from __future__ import annotations

import enum
from pathlib import Path

import pytest

from runner.errors import UserError
from runner.spec.overrides import override
from runner.spec.python_source import from_python
from runner.spec.yaml_source import Node, parse_yaml, read_yaml


def parse(text: str) -> Node:
    return parse_yaml(text, file="job.yml", base=Path("/jobs"))


def test_every_value_knows_file_line_and_field() -> None:
    root = parse("a:\n  b: 1\n  c:\n    - x\n    - y: 2\n")
    c = root.entries["a"].entries["c"]
    assert str(root.entries["a"].entries["b"].place) == "job.yml:2 `a.b`"
    assert str(c.place) == "job.yml:3 `a.c`"
    assert str(c.items[1].entries["y"].place) == "job.yml:5 `a.c[1].y`"


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1", 1),
        ("-3", -3),
        ("1_000", 1000),
        ("0x10", 16),
        ("1.5", 1.5),
        ("1e-5", 1e-5),
        ("1.5e3", 1500.0),
        (".5", 0.5),
        ("true", True),
        ("yes", True),
        ("null", None),
        ("~", None),
        ("", None),
        ('"1"', "1"),
        ("2020-01-02", "2020-01-02"),
        ("12:30:00", "12:30:00"),
        ("1.2.3", "1.2.3"),
        ("08", "08"),
        ("1e5x", "1e5x"),
    ],
)
def test_scalars(written: str, value: object) -> None:
    node = parse(f"a: {written}").entries["a"]
    assert node.value == value
    assert type(node.value) is type(value)


def test_text_as_it_was_written() -> None:
    assert parse("a: 1.10").entries["a"].text == "1.10"


def test_aliases_and_merge_keys() -> None:
    root = parse("base: &base {a: 1, b: 2}\nmore:\n  <<: *base\n  b: 3\nlist:\n  <<: [{a: 5}, {a: 6, z: 7}]\n")
    assert root.plain() == {"base": {"a": 1, "b": 2}, "more": {"a": 1, "b": 3}, "list": {"a": 5, "z": 7}}


def test_a_byte_order_mark_is_no_matter(tmp_path: Path) -> None:
    path = tmp_path / "job.yml"
    path.write_bytes(b"\xef\xbb\xbftype: parallel\n")
    assert read_yaml(path).plain() == {"type": "parallel"}


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "job.yml").write_text("a: 1\n")
    monkeypatch.chdir(tmp_path)
    assert read_yaml(Path("job.yml")).base == tmp_path


def test_a_folder_or_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="this is a folder"):
        read_yaml(tmp_path)
    with pytest.raises(UserError, match="no such file"):
        read_yaml(tmp_path / "x.yml")
    with pytest.raises(UserError, match="cannot be read"):
        read_yaml(tmp_path / "a\0b")


def test_a_control_character_is_named() -> None:
    with pytest.raises(UserError, match=r"job\.yml: YAML syntax.*special characters"):
        parse("a: \x07")


class Colour(enum.Enum):
    RED = "red"


def test_python_values_keep_their_types_and_have_field_paths() -> None:
    root = from_python({"a": [1, 2.5, True, None, "x", Colour.RED, Path("/p")]}, base=Path("/jobs"))
    assert root.plain() == {"a": [1, 2.5, True, None, "x", "red", "/p"]}
    assert str(root.entries["a"].items[1].place) == "`a[1]`"


def test_python_values_that_cannot_stand_in_a_job() -> None:
    with pytest.raises(UserError, match=r"`a\.b`: a value of type object"):
        from_python({"a": {"b": object()}}, base=Path())
    with pytest.raises(UserError, match="a key must be text, not 1"):
        from_python({1: 2}, base=Path())


class TestOverrides:
    def test_values_are_yaml_scalars(self) -> None:
        root = override(parse("a: 1\n"), ["a=2", "b.c=true", "d=", 'e="3"', "f=x: y", "g=1, 2", "h=k=v", "i=- 1"])
        assert root.plain() == {"a": 2, "b": {"c": True}, "d": None, "e": "3", "f": "x: y", "g": "1, 2", "h": "k=v", "i": "- 1"}

    def test_lists_and_mappings_in_brackets(self) -> None:
        root = override(parse("a: 1\n"), ["a=[user, 2]", "b={c: d, e: [1]}", 'f={"g": true}', "h=[", "i=[]", "j={}"])
        assert root.plain() == {"a": ["user", 2], "b": {"c": "d", "e": [1]}, "f": {"g": True}, "h": "[", "i": [], "j": {}}
        assert str(root.entries["b"].entries["e"].items[0].place) == "--set `b.e[0]`"

    def test_an_index_of_an_absent_key_makes_a_list(self) -> None:
        root = override(parse("a: 1\n"), ["keys[0]=user", "keys[1]=season", "b[0].c=1", "d.0=x"])
        assert root.plain() == {"a": 1, "keys": ["user", "season"], "b": [{"c": 1}], "d": {"0": "x"}}
        assert str(root.entries["keys"].items[1].place) == "--set `keys[1]`"
        with pytest.raises(UserError, match="'1' is not an index of the list `e`"):
            override(parse("a: 1\n"), ["e[1]=x"])

    @pytest.mark.parametrize("path", ["a[1].b", "a.1.b"])
    def test_lists_by_index(self, path: str) -> None:
        assert override(parse("a: [{b: 1}, {b: 2}]"), [f"{path}=5"]).plain() == {"a": [{"b": 1}, {"b": 5}]}

    def test_one_past_the_end_adds(self) -> None:
        assert override(parse("a: [1]"), ["a[1]=2"]).plain() == {"a": [1, 2]}
        with pytest.raises(UserError, match="'3' is not an index"):
            override(parse("a: [1]"), ["a[3]=2"])

    def test_the_original_is_not_changed(self) -> None:
        root = parse("a: {b: 1}")
        override(root, ["a.b=2"])
        assert root.plain() == {"a": {"b": 1}}

    def test_later_errors_name_the_option(self) -> None:
        assert str(override(parse("a: 1"), ["b.c=2"]).entries["b"].entries["c"].place) == "--set `b.c`"

    @pytest.mark.parametrize(
        "bad", ["x", "=1", " =1", "a..b=1", ".a=1", "a.=1", "[0]=1", "a[x]=1", f"a[{'9' * 5000}]=1", f"a.b.{'9' * 5000}=1"]
    )
    def test_bad_overrides(self, bad: str) -> None:
        with pytest.raises(UserError, match="--set"):
            override(parse("a: {b: [1]}"), [bad])
