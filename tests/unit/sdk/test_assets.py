"""`MLClient.components`, `.data`, `.environments`, `.models`, `.datastores`."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from runner import Input, MLClient, Output, command, load_component, load_data, load_model
from runner.dsl import pipeline
from runner.entities import BuildContext, CommandComponent, Data, Environment, Model
from runner.errors import UserError
from runner.spec.load import job_from_mapping


@pytest.fixture
def client(folder: Path) -> MLClient:
    return MLClient(local=True)


def prep() -> Any:
    return command(
        name="prep", command="cat ${{inputs.x}}/*", code="src", inputs={"x": Input()}, outputs={"o": Output()}, environment="env@latest"
    ).component


def test_what_is_registered_is_returned_with_its_version(client: MLClient, folder: Path) -> None:
    data = client.create_or_update(Data(name="letters", path="data", description="few", tags={"a": "b"}))
    assert (data.version, data.path, data.id) == ("1", str(folder / "data"), "azureml:letters:1")
    assert client.create_or_update(Environment(name="env", image="words:1")).version == "1"
    assert client.create_or_update(Model(name="m", path="model.txt", version=7)).id == "azureml:m:7"
    component = client.create_or_update(prep())
    assert isinstance(component, CommandComponent)
    assert component.creation_context.created_at is not None
    assert Path(str(component.code), "score.py").is_file()
    assert client.data.get("letters", version="1").tags == {"a": "b"}
    assert client.environments.get("env", label="latest").image == "words:1"


def test_without_a_version_only_components_are_found(client: MLClient) -> None:
    client.components.create_or_update(prep())
    client.components.create_or_update(prep(), version="5")
    assert client.components.get("prep").version == "5"
    assert client.components.get("prep", label="latest").version == "5"
    assert client.components.create_or_update(prep(), skip_if_no_change=True).version == "5"
    client.data.create_or_update(Data(name="d", path="data"))
    with pytest.raises(UserError, match='label="latest"'):
        client.data.get("d")
    with pytest.raises(UserError, match="exclude each other"):
        client.data.get("d", version="1", label="latest")


def test_lists(client: MLClient) -> None:
    for name in ("b", "b", "a"):
        client.data.create_or_update(Data(name=name, path="data"))
    assert [(one.name, one.version, one.latest_version) for one in client.data.list()] == [("a", None, "1"), ("b", None, "2")]
    assert [one.version for one in client.data.list(name="b")] == ["2", "1"]
    assert list(client.data.list(name="b", list_view_type="ArchivedOnly")) == []
    assert list(client.models.list()) == []


def test_an_unknown_one_is_azures_error_too(client: MLClient) -> None:
    from azure.core.exceptions import ResourceNotFoundError

    client.data.create_or_update(Data(name="letters", path="data"))
    with pytest.raises(ResourceNotFoundError, match="no data asset 'lettres:1'\n  allowed: letters:1\n  next: did you mean 'letters'"):
        client.data.get("lettres", version="1")
    with pytest.raises(UserError):
        client.models.get("m", label="latest")


def test_what_cannot_be_registered(client: MLClient) -> None:
    with pytest.raises(UserError, match="type int cannot be registered here"):
        client.data.create_or_update(3)
    with pytest.raises(AttributeError, match="not available in this release"):
        client.components.archive("x")
    with pytest.raises(AttributeError, match="did you mean 'create_or_update'"):
        client.data.create_or_updat(Data())
    with pytest.raises(AttributeError, match=r"workspace\.yml"):
        client.datastores.create_or_update(None)


def test_a_build_context_is_kept(client: MLClient, folder: Path) -> None:
    (folder / "docker").mkdir()
    (folder / "docker" / "Dockerfile").write_text("FROM x:1\n")
    kept = client.environments.create_or_update(Environment(name="env", build=BuildContext(path="docker")))
    (folder / "docker" / "Dockerfile").unlink()
    assert Path(str(kept.build.path), "Dockerfile").read_text() == "FROM x:1\n"


def test_jobs_refer_to_them(client: MLClient, folder: Path) -> None:
    client.data.create_or_update(Data(name="letters", path="data"))
    client.models.create_or_update(Model(name="letters", path="model.txt"))
    client.environments.create_or_update(Environment(name="env", image="words:1"))
    client.components.create_or_update(prep())
    fetched = load_component(client=client, name="prep", version="1")

    @pipeline()
    def two(letters):
        first = fetched(x=letters)
        second = client.components.get("prep")(x=first.outputs.o)
        return {"o": second.outputs.o}

    job = client._client.resolve(two(Input(path="azureml:letters@latest"))._loaded(), local=True)
    first = job.steps["first"]  # type: ignore[union-attr]
    assert first.inputs["x"].path == str(folder / "data")
    assert (first.environment.image, first.environment.version) == ("words:1", "1")
    step = {"type": "command", "command": "true", "inputs": {"m": {"type": "custom_model", "path": "azureml:letters:1"}}}
    alone = client._client.resolve(job_from_mapping(step, base=folder), local=True)
    assert alone.inputs["m"].path == str(folder / "model.txt"), "a model's name, where a model is meant"  # type: ignore[union-attr]


def test_pipeline_functions(client: MLClient, folder: Path) -> None:
    client.create_or_update(Environment(name="env", image="words:1"))
    component = client.components.create_or_update(prep())

    @pipeline(name="chain", version="3", description="in a row")
    def chain(letters: Input, times: int = 2, rate=0.5, word: str | None = None):
        first = component(x=letters)
        second = component(x=first.outputs.o)
        return {"o": second.outputs.o}

    registered = client.components.create_or_update(chain)
    assert (registered.name, registered.version, registered.description) == ("chain", "3", "in a row")
    assert [registered.inputs[name].type for name in ("letters", "times", "rate", "word")] == ["uri_folder", "integer", "number", "string"]
    assert (registered.inputs["rate"].default, registered.inputs["word"].optional) == (0.5, True)

    @pipeline()
    def around(x):
        return {"o": client.components.get("chain")(letters=x).outputs.o}

    job = client._client.resolve(around(Input(path="data"))._loaded(), local=True)
    assert list(job.steps) == ["chain_first", "chain_second"]  # type: ignore[union-attr]

    @pipeline()
    def unknown(letters):
        component(x=letters)

    with pytest.raises(UserError, match=r"the type of the parameter `letters`(.|\n)*annotate it"):
        client.create_or_update(unknown)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("azureml:prep:1", ""),
        ("azureml:prep@latest", ""),
        ("prep@latest", ""),
        ("prep:1", ""),
        ("azureml:prep:2", "no component 'azureml:prep:2'\n  allowed: prep:1\n  next: register it: runner component create"),
        ("azureml:prpe:1", "allowed: prep:1\n  next: did you mean 'prep'"),
        ("prep.yml", "no such file"),
        ("azureml://registries/r/components/prep/versions/1", "neither on this machine nor in this workspace"),
    ],
)
def test_steps_name_components(client: MLClient, folder: Path, name: str, says: str) -> None:
    client.environments.create_or_update(Environment(name="env", image="words:1"))
    client.components.create_or_update(prep())
    step = {"type": "command", "component": name, "inputs": {"x": {"type": "uri_folder", "path": "data"}}}
    loaded = job_from_mapping({"type": "pipeline", "jobs": {"one": step}}, base=folder)
    if says:
        with pytest.raises(UserError, match=says):
            client._client.resolve(loaded, local=True)
    else:
        assert client._client.resolve(loaded, local=True).steps["one"].command  # type: ignore[union-attr]


@pytest.mark.filterwarnings("default")  # its serialisation warns
def test_objects_of_azures_package(client: MLClient, azure: ModuleType, folder: Path) -> None:
    entities = azure.entities
    assert client.create_or_update(entities.Data(name="d", path="data", type="uri_folder")).path == str(folder / "data")
    assert client.create_or_update(entities.Environment(name="e", image="x:1")).image == "x:1"
    assert client.create_or_update(entities.Model(name="m", path="model.txt")).type == "custom_model"
    given = azure.command(
        name="c", command="echo ${{inputs.n}}", code="./src", inputs={"n": azure.Input(type="integer", default=3)}, environment="e@latest"
    )
    assert client.create_or_update(given.component).inputs["n"].default in (3, "3")


def test_files(client: MLClient, folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "data.yml").write_text("$schema: x\nname: d\ntype: uri_folder\npath: ../data\n")
    (folder / "sub" / "model.yml").write_text("name: m\nversion: 2\npath: ../model.txt\n")
    assert load_data("sub/data.yml").path == str(folder / "data")
    assert client.models.create_or_update(load_model("sub/model.yml", params_override=[{"version": "3"}])).version == "3"
    with pytest.raises(UserError, match="needs a file, or a client"):
        load_component()


def test_datastores(client: MLClient, folder: Path) -> None:
    (folder / "workspace.yml").write_text("datastores: {photos: {path: data}}\ndefault_datastore: photos\n")
    client = MLClient()
    assert client.datastores.get_default().name == "photos"
    assert [one.name for one in client.datastores.list()] == ["workspaceblobstore", "photos"]
    assert client.datastores.get("photos").path == str(folder / "data")
    with pytest.raises(UserError, match="there is no datastore 'photo'"):
        client.datastores.get("photo")
