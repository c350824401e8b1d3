"""What is registered under a name and a version stays as it was; nobody overwrites it."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from runner.errors import UserError
from runner.spec.yaml_source import read_yaml
from runner.workspace.assets import Kind
from runner.workspace.config import Workspace, find_workspace
from runner.workspace.listing import all_of, find, keys, load
from runner.workspace.registration import register

COMPONENT = "name: prep\ntype: command\ncode: ./src\ncommand: python a.py\nenvironment: ./env.yml\n"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").write_text("print(1)\n")
    (tmp_path / "conda.yml").write_text("dependencies: [python=3.10]\n")
    (tmp_path / "env.yml").write_text("conda_file: conda.yml\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "workspace.yml").write_text(
        "data: {digits: {'1': {type: uri_folder, path: data}}}\nenvironments: {words: {'1': {image: 'words:1'}}}\n"
    )
    return tmp_path


@pytest.fixture
def workspace(place: Path) -> Workspace:
    return find_workspace(place)


def put(workspace: Workspace, kind: Kind, text: str, **options: bool) -> tuple[str, dict[str, object]]:
    file = workspace.root / "asset.yml"
    file.write_text(text)
    return register(workspace, kind, read_yaml(file), **options)  # type: ignore[arg-type]


def test_versions_are_numbered(workspace: Workspace) -> None:
    assert [put(workspace, "component", COMPONENT)[0] for _ in range(3)] == ["prep:1", "prep:2", "prep:3"]
    assert put(workspace, "component", COMPONENT, skip_if_no_change=True)[0] == "prep:3"
    assert put(workspace, "component", COMPONENT + "version: 2026.1\n")[0] == "prep:2026.1"
    assert put(workspace, "data", "name: digits\npath: data\n")[0] == "digits:2", "after those of workspace.yml"
    assert keys(workspace, "component", "prep") == ["prep:2026.1", "prep:3", "prep:2", "prep:1"]


def test_code_and_environment_stay_as_they_were(workspace: Workspace, place: Path) -> None:
    _, asset = put(workspace, "component", COMPONENT)
    (place / "src" / "a.py").write_text("print(2)\n")
    (place / "conda.yml").unlink()
    assert (Path(str(asset["code"])) / "a.py").read_text() == "print(1)\n"
    assert Path(load(workspace, "component", "prep:1")["environment"]["conda_file"]).read_text().startswith("dependencies")


SAS = "https://a.blob.core.windows.net/c/x?sv=1&sig=Qk0%3D"


@pytest.mark.parametrize(
    ("kind", "text", "line"),
    [
        ("data", f"name: x\npath: {SAS}\n", 2),
        ("model", f"name: x\ntype: custom_model\npath: {SAS}\n", 3),
        ("component", f"name: x\ntype: pipeline\njobs:\n  a: {{command: ls, inputs: {{i: {{type: uri_folder, path: '{SAS}'}}}}}}\n", 4),
        ("component", "name: x\ntype: command\ncommand: ls\nenvironment_variables: {A: AccountKey=Qk0=}\n", 4),
    ],
)
def test_a_credential_is_not_registered(workspace: Workspace, kind: Kind, text: str, line: int) -> None:
    with pytest.raises(UserError, match="there is a credential in it") as refused:
        put(workspace, kind, text)
    assert refused.value.place is not None
    assert refused.value.place.line == line
    assert "Qk0" not in str(refused.value)
    assert not [file for file in workspace.assets.root.rglob("*") if file.is_file()]


def test_numbers_stay_as_they_are_written(workspace: Workspace) -> None:
    inputs = "inputs: {a: {type: string, default: 1.10}, b: {type: number, default: 0.5}, c: {type: integer, default: 3}}\n"
    put(workspace, "component", COMPONENT + inputs)
    found = load(workspace, "component", "prep:1")["inputs"]
    assert [found[name]["default"] for name in "abc"] == ["1.10", 0.5, 3]


def test_a_version_is_registered_once(workspace: Workspace, place: Path) -> None:
    versioned = COMPONENT + "version: 1\n"
    put(workspace, "component", versioned)
    assert put(workspace, "component", versioned + "description: new\n")[1]["description"] == "new"
    assert load(workspace, "component", "prep:1")["description"] == "new"
    assert len(list((workspace.assets.root / "content").iterdir())) == 1, "of what is the same nothing is kept twice"
    (place / "src" / "a.py").write_text("print(2)\n")
    with pytest.raises(
        UserError, match=r"asset.yml:6 `version`: the component prep:1 is registered already, with another content"
    ) as error:
        put(workspace, "component", versioned)
    assert "leave the version out: then it is 2" in str(error.value)
    assert len(list((workspace.assets.root / "content").iterdir())) == 1


def test_a_pipelines_components_stand_in_it(workspace: Workspace, place: Path) -> None:
    (place / "prep.yml").write_text(COMPONENT)
    _, asset = put(
        workspace, "component", "name: both\ntype: pipeline\njobs: {a: {component: ./prep.yml}, b: {component: 'azureml:x:1'}}\n"
    )
    jobs: dict[str, dict[str, dict[str, str]]] = asset["jobs"]  # type: ignore[assignment]
    assert jobs["a"]["component"]["code"].startswith(str(workspace.assets.root))
    assert jobs["b"]["component"] == "azureml:x:1"
    (place / "prep.yml").write_text("name: me\ntype: pipeline\njobs: {again: {component: ./prep.yml}}\n")
    with pytest.raises(UserError, match="contains itself"):
        put(workspace, "component", "name: both\ntype: pipeline\njobs: {a: {component: ./prep.yml}}\n")


def test_those_of_the_settings_are_seen_and_stay(workspace: Workspace) -> None:
    assert set(all_of(workspace, "data")) == {"digits:1"}
    assert find(workspace, "environment", "azureml:words@latest") == "words:1"
    assert load(workspace, "environment", "words:1")["image"] == "words:1"
    for kind, text in (("data", "name: digits\nversion: 1\npath: data\n"), ("environment", "name: words\nversion: '1'\nimage: w:2\n")):
        with pytest.raises(UserError, match=r"stands in .*workspace\.yml, and cannot be replaced"):
            put(workspace, kind, text)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "text", "says"),
    [
        ("data", "path: data\n", "the data has no name"),
        ("data", "name: a/b\npath: data\n", "'a/b' cannot be the name"),
        ("data", "name: x\nversion: '1:2'\npath: data\n", "'1:2' cannot be the version"),
        ("data", "name: x\n", "the data has no path"),
        ("data", "name: x\npath: none\n", "asset.yml:2 `path`: 'none' does not exist"),
        ("data", "name: x\ntype: uri_file\npath: data\n", "'data' is a folder, and of type uri_file"),
        ("data", "name: x\ntype: uri_folde\npath: data\n", "did you mean 'uri_folder'|uri_folder"),
        ("data", "name: x\npath: azureml:digits:1\n", "is the name of an asset"),
        ("data", "name: x\npath: azureml://datastores/lake/paths/x\n", "no datastore 'lake'"),
        ("data", "name: x\npaht: data\n", "unknown key 'paht'"),
        ("model", "name: x\ntype: uri_folder\npath: data\n", "'uri_folder' is no type of model"),
        ("environment", "name: x\n", "the environment says nothing"),
        ("environment", "name: x\nconda_file: none.yml\n", "the conda file 'none.yml' does not exist"),
        ("component", "name: x\ntype: command\ncomand: ls\n", "unknown key 'comand'"),
        ("component", "name: x\ntype: command\ncommand: ls\ncode: ./none\n", "the code folder './none' does not exist"),
        ("component", "name: x\ntype: spark\n", "components of type spark cannot run here"),
    ],
)
def test_mistakes(workspace: Workspace, kind: Kind, text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        put(workspace, kind, text)
    assert not workspace.assets.files(kind)


def test_an_unknown_name(workspace: Workspace) -> None:
    put(workspace, "component", COMPONENT)
    with pytest.raises(UserError, match="no component 'prop:1'\n  allowed: prep:1\n  next: did you mean 'prep'"):
        find(workspace, "component", "prop:1")
    with pytest.raises(UserError, match="no component 'prep:7'\n  allowed: prep:1\n  next: register it: runner component create"):
        find(workspace, "component", "prep:7")
    with pytest.raises(UserError, match=r"no model 'm@latest'\n  allowed: \(the workspace has no models\)"):
        find(workspace, "model", "m@latest")


def _many(root: Path, index: int) -> None:
    workspace = find_workspace(root)
    file = root / f"{index}.yml"
    file.write_text(f"name: digits\ndescription: '{index}'\npath: data\n")
    for _ in range(10):
        register(workspace, "data", read_yaml(file))


def test_in_a_shared_workspace_everybody_can_register(place: Path) -> None:
    (place / "shared").mkdir()
    (place / "workspace.yml").write_text(f"datastores: {{s: {{path: {place}/shared, shared: true}}}}\ndefault_datastore: s\n")
    workspace = find_workspace(place)
    put(workspace, "component", COMPONENT)
    assert workspace.assets.root.is_relative_to(place / "shared")
    folders = [workspace.assets.root, *(one for one in workspace.assets.root.iterdir())]
    assert {oct(one.stat().st_mode & 0o7777) for one in folders} == {"0o1777"}


def test_processes_do_not_overwrite_one_another(workspace: Workspace, place: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_many, args=(place, index)) for index in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert len(workspace.assets.files("data")) == 40
    found = [load(workspace, "data", key)["description"] for key in workspace.assets.files("data")]
    assert sorted(found) == sorted("0123" * 10)
