"""Addresses in job files: what they become, with which credential. What the storage would say is told by a stand-in."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from runner.errors import NotSupportedHere, UserError
from runner.model.datastore import Credential, DataAsset
from runner.model.job import Step
from runner.spec import stored
from runner.spec.blobs import Blobs
from runner.spec.load import read_job
from runner.spec.resolve import ResolveContext, resolve
from runner.storage.datastores import BlobDatastore, Secret
from runner.storage.stores import Kind
from tests.acceptance.bad_jobs.row import JOB

AZ = "azureml://datastores/az/paths"
SAS = "sv=2024&sig=c4nary%2Bsignature%3D"
URL = "https://acc.blob.core.windows.net"


class Told(Blobs):
    """Knows what is there, and asks nobody."""

    files: frozenset[str] = frozenset()
    folders: frozenset[str] = frozenset()
    written: list[tuple[str, str]]

    def there(self, address: str) -> Kind:
        return "file" if address in self.files else "folder" if address in self.folders else "nothing"

    def check_writable(self, address: str, kind: str) -> None:
        self.written.append((address, kind))


@pytest.fixture
def blobs() -> Told:
    known = {
        "az": BlobDatastore(name="az", account="acc", container="data", url=URL, kind="account_key", secret=Secret(text="k")),
        "open": BlobDatastore(name="open", account="acc", container="open", url=URL),
    }
    told = Told(known)
    told.written = []
    return told


@pytest.fixture
def job(folder: Path, context: ResolveContext, blobs: Told) -> Callable[..., Step]:
    """job(input, output, more lines): the good job with these paths."""

    def make(images: str = "./images", rows: str = "./out/rows.txt", *, kind: str = "uri_folder", more: str = "", **given) -> Step:
        text = JOB.replace("path: ./images", f"path: {json.dumps(images)}").replace("path: ./out/rows.txt", f"path: {json.dumps(rows)}")
        text = text.replace("type: uri_folder", f"type: {kind}" if kind else "mode: ro_mount", 1) + more
        (folder / "job.yml").write_text(text)
        made = resolve(read_job(folder / "job.yml"), replace(context, blobs=blobs, **given))
        assert isinstance(made, Step)
        return made

    return make


@pytest.mark.parametrize(
    ("written", "address"),
    [
        (f"{AZ}/in/", f"{AZ}/in"),
        ("azureml://subscriptions/s/resourcegroups/g/workspaces/w/datastores/az/paths/in", f"{AZ}/in"),
        ("wasbs://data@acc.blob.core.windows.net/in", f"{AZ}/in"),
        ("azureml:wasbs://data@acc.blob.core.windows.net/in", f"{AZ}/in"),
        ("abfss://data@acc.dfs.core.windows.net/in", f"{AZ}/in"),
        (f"{URL}/data/in", f"{AZ}/in"),
        (f"{URL}/data/in?{SAS}", f"{AZ}/in"),
        ("azureml:pics:1", f"{AZ}/in"),
        ("azureml:pics@latest", f"{AZ}/in"),
        (f"{AZ}/", AZ),
    ],
)
def test_what_a_datastore_covers_is_its_address(job, blobs, written, address) -> None:
    blobs.folders = frozenset((f"{AZ}/in", AZ))
    made = job(written, data={"pics:1": DataAsset(path=f"{AZ}/in")})
    given = made.inputs["images"]
    assert (given.path, given.type) == (address, "uri_folder")
    assert given.uri == written.partition("?")[0]
    assert [store.credential for store in blobs.used] == [Credential(kind="account_key", secret="k")]


@pytest.mark.parametrize(
    ("written", "more", "credential"),
    [
        (f"{URL}/other/in?{SAS}", "", Credential(kind="sas", secret=SAS)),
        (f"{URL}/other/in", "", Credential()),
        ("wasbs://other@acc.blob.core.windows.net/in", "identity: {type: user_identity}\n", Credential()),
        (f"{URL}/other/in", "identity: {type: managed, client_id: me}\n", Credential(kind="managed_identity", client_id="me")),
        ("azureml://datastores/open/paths/in", "identity: {type: managed}\n", Credential(kind="managed_identity")),
    ],
)
def test_elsewhere_the_sas_or_the_identity_is_the_credential(job, blobs, written, more, credential) -> None:
    root = "azureml://datastores/open/paths" if "open" in written else f"{URL}/other"
    blobs.folders = frozenset((f"{root}/in",))
    made = job(written, more=more)
    assert made.inputs["images"].path == f"{root}/in"
    assert [(store.root, store.credential) for store in blobs.used] == [(root, credential)]
    assert not [text for text in made.notices if text.startswith("identity")]
    assert "c4nary" not in json.dumps(stored.dump(made)) + repr(made) + repr(blobs.used)


def test_what_becomes_of_a_sas_is_told_once_for_each_container(job, blobs) -> None:
    blobs.folders = frozenset((f"{AZ}/in", f"{URL}/other/in"))
    job(f"wasbs://data@acc.blob.core.windows.net/in?{SAS}", f"{URL}/data/out.txt?{SAS}")
    job(f"abfss://other@acc.dfs.core.windows.net/in?{SAS}", f"{URL}/other/out.txt?{SAS}")
    first, second = blobs.notices.values()
    assert "'data' is not used: the datastore 'az' of workspace.yml covers it" in first
    assert f"the SAS for {URL}/other is kept only while the job runs" in second
    assert [store.credential.kind for store in blobs.used] == ["account_key", "sas"]


def test_types_are_guessed(job, blobs) -> None:
    blobs.files, blobs.folders = frozenset((f"{AZ}/a.csv",)), frozenset((f"{AZ}/in",))
    assert job(f"{AZ}/a.csv", kind="").inputs["images"].type == "uri_file"
    assert job(f"{AZ}/in", kind="").inputs["images"].type == "uri_folder"
    blobs.files |= {f"{AZ}/in/MLTable"}
    assert "there is an MLTable file in it" in "".join(job(f"{AZ}/in", kind="").notices)
    assert job("azureml:one:1", kind="", data={"one:1": DataAsset(path=f"{AZ}/in", type="mltable")}).inputs["images"].type == "mltable"


@pytest.mark.parametrize(
    ("written", "kind", "message"),
    [
        (f"{AZ}/nothing", "uri_folder", rf"job.yml:7 .*'{AZ}/nothing' does not exist\n  next: looked for the blob"),
        (f"{AZ}/in", "uri_file", "is a folder, but the input is of type uri_file"),
        (f"{AZ}/a.csv", "uri_folder", "is a file, but the input is of type uri_folder"),
        (f"{AZ}/a.csv/", "uri_file", "there is a blob of that name"),
        (f"{AZ}/../x", "uri_folder", r"'\.\.'"),
        (f"{URL}/data/../x?{SAS}", "uri_folder", r"'\.\.'"),
        ("azureml://datastores/az2/paths/x", "uri_folder", "no datastore 'az2'(.|\n)*did you mean 'az'"),
        (f"{URL}/other/nothing?{SAS}", "uri_folder", rf"'{URL}/other/nothing' does not exist"),
        ("azureml:pics:1", "uri_folder", "no data asset 'azureml:pics:1'"),
        ("azureml:digit:1", "uri_folder", "no data asset 'azureml:digit:1'(.|\n)*did you mean 'digits'"),
    ],
)
def test_mistakes_have_their_line_and_never_the_signature(job, blobs, written, kind, message) -> None:
    blobs.files, blobs.folders = frozenset((f"{AZ}/a.csv",)), frozenset((f"{AZ}/in",))
    with pytest.raises(UserError, match=message) as caught:
        job(written, kind=kind, data={"digits:1": DataAsset(path=f"{AZ}/in")})
    assert "job.yml:7" in str(caught.value)
    assert "c4nary" not in str(caught.value)


def test_a_container_is_reached_in_one_way(job, blobs) -> None:
    blobs.folders = frozenset((f"{URL}/other/in", f"{URL}/other/out"))
    made = job(f"{URL}/other/in?{SAS}", f"{URL}/other/out.txt")  # the SAS serves for both
    assert made.outputs["rows"].path == f"{URL}/other/out.txt"
    with pytest.raises(UserError, match="with another credential already"):
        job(f"{URL}/other/in?{SAS}", f"{URL}/other/out.txt?{SAS}x")


def test_outputs(job, blobs) -> None:
    made = job(rows=f"{AZ}/out/${{{{name}}}}/${{{{output_name}}}}.txt")
    assert made.outputs["rows"].path == f"{AZ}/out/job_1/rows.txt"
    assert blobs.written == [(f"{AZ}/out/job_1/rows.txt", "uri_file")]
    blobs.files, blobs.folders = frozenset((f"{AZ}/a",)), frozenset((f"{AZ}/in",))
    assert f"{AZ}/a exists and will be replaced" in "".join(job(rows=f"{AZ}/a").notices)
    with pytest.raises(UserError, match="is a folder, but the output is of type uri_file"):
        job(rows=f"{AZ}/in")
    with pytest.raises(UserError, match="is a folder, but the output is of type uri_file"):
        job(rows=f"{AZ}/new/")
    with pytest.raises(UserError, match="is a container, but the output is of type uri_file"):
        job(rows=f"{AZ}/")
    with pytest.raises(UserError, match="has the path of the input"):
        job(f"{AZ}/a", f"{AZ}/a", kind="uri_file")
    blobs.files |= {f"{AZ}/in/rows.txt"}
    with pytest.raises(UserError, match="would overwrite"):
        job(f"{AZ}/in", f"{AZ}/in/rows.txt")
    assert "lies inside the input 'images'" in "".join(job(f"{AZ}/in", f"{AZ}/in/new.txt").notices)


def test_what_must_be_local_says_so(blobs, folder, context) -> None:
    (folder / "job.yml").write_text(JOB.replace("  code: ./src", f"  code: ./src\n  environment: {{conda_file: '{AZ}/conda.yml'}}"))
    with pytest.raises(NotSupportedHere, match="lies in blob storage"):
        resolve(read_job(folder / "job.yml"), replace(context, blobs=blobs))


def test_models(blobs, folder, context) -> None:
    blobs.files = frozenset((f"{AZ}/model.bin",))
    before, _, after = JOB.partition("  entry_script:")
    (folder / "job.yml").write_text(f"{before}  model: {AZ}/model.bin\n  entry_script:{after}")
    context = replace(context, blobs=blobs)
    made = resolve(read_job(folder / "job.yml"), context)
    assert isinstance(made, Step)
    assert made.model == f"{AZ}/model.bin"
    blobs.files = frozenset()
    with pytest.raises(UserError, match=r"the model .* does not exist"):
        resolve(read_job(folder / "job.yml"), context)
