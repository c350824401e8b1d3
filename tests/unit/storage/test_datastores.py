"""Datastores in blob storage: from what is written to a store, and which addresses they cover. No network."""

from __future__ import annotations

import pytest

from runner.errors import UserError
from runner.model.datastore import Credential
from runner.storage.datastores import BlobDatastore, Secret, identity_credential
from runner.storage.uri import parse_uri

CANARY = "s3cr3t/canary+key=="
URL = "https://acc.blob.core.windows.net"


def datastore(**fields) -> BlobDatastore:
    return BlobDatastore(**{"name": "lake", "account": "acc", "container": "data", "url": URL, **fields})


@pytest.mark.parametrize(
    ("fields", "credential"),
    [
        ({"kind": "account_key", "secret": Secret(text=CANARY)}, Credential(kind="account_key", secret=CANARY)),
        ({"kind": "sas", "secret": Secret(text="?sv=1&sig=x")}, Credential(kind="sas", secret="sv=1&sig=x")),
        (
            {"kind": "service_principal", "secret": Secret(text=CANARY), "tenant_id": "t", "client_id": "c", "authority": "https://a"},
            Credential(kind="service_principal", secret=CANARY, tenant_id="t", client_id="c", authority="https://a"),
        ),
        ({"kind": "managed_identity", "client_id": "c"}, Credential(kind="managed_identity", client_id="c")),
        ({}, Credential()),
        (
            {"kind": "connection_string", "secret": Secret(text=f"AccountName=acc;AccountKey={CANARY};EndpointSuffix=core.windows.net")},
            Credential(kind="account_key", secret=CANARY),
        ),
    ],
)
def test_credentials(fields, credential) -> None:
    made = datastore(**fields)
    opened = made.open()
    assert opened.credential == credential
    assert (opened.root, opened.endpoint, opened.container) == ("azureml://datastores/lake/paths", URL, "data")
    assert CANARY not in repr(made) + repr(opened) + made.describe()


def test_a_connection_string_says_where_it_is() -> None:
    text = "BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;SharedAccessSignature=?sv=1&sig=x"
    opened = datastore(kind="connection_string", secret=Secret(text=text), url="", account="").open()
    assert opened.endpoint == "http://127.0.0.1:10000/devstoreaccount1"
    assert opened.credential == Credential(kind="sas", secret="sv=1&sig=x")
    with pytest.raises(UserError, match="has no credential") as caught:
        datastore(kind="connection_string", secret=Secret(text=f"AccountName=acc;AccountKye={CANARY}")).open()
    assert CANARY not in str(caught.value)


def test_the_well_known_account_of_azurite() -> None:
    opened = datastore(kind="connection_string", secret=Secret(text="UseDevelopmentStorage=true"), url="", account="").open()
    assert (opened.endpoint, opened.account) == ("http://127.0.0.1:10000/devstoreaccount1", "devstoreaccount1")
    assert opened.credential.kind == "account_key"


def test_secrets_are_read_when_they_are_used(tmp_path, monkeypatch) -> None:
    file = tmp_path / "key"
    store = datastore(kind="account_key", secret=Secret(file=str(file)))
    with pytest.raises(UserError, match=r"the file .*/key, which has a credential, cannot be read: No such file"):
        store.open()
    file.write_text(f"{CANARY}\n")
    assert store.open().credential.secret == CANARY
    store = datastore(kind="account_key", secret=Secret(env="LAKE_KEY"))
    with pytest.raises(UserError, match="LAKE_KEY"):
        store.open()
    monkeypatch.setenv("LAKE_KEY", CANARY)
    assert store.open().credential.secret == CANARY


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("https://acc.blob.core.windows.net/data/a/b%20c", "a/b c"),
        ("https://ACC.blob.core.windows.net/data", ""),
        ("https://acc.dfs.core.windows.net/data/a", "a"),
        ("wasbs://data@acc.blob.core.windows.net/a", "a"),
        ("abfss://data@acc.dfs.core.windows.net/a", "a"),
        ("https://acc.blob.core.windows.net/other/a", None),
        ("https://acc2.blob.core.windows.net/data/a", None),
        ("wasbs://data@acc.blob.core.chinacloudapi.cn/a", None),
    ],
)
def test_addresses_that_a_datastore_covers(written, path) -> None:
    assert datastore().path_of(parse_uri(written)) == path


def test_an_emulator_stands_for_the_accounts_own_hosts() -> None:
    store = datastore(account="devstoreaccount1", url="http://127.0.0.1:10000/devstoreaccount1")
    for written in (
        "http://127.0.0.1:10000/devstoreaccount1/data/a%20b",
        "wasbs://data@devstoreaccount1.blob.core.windows.net/a b",
        "abfss://data@devstoreaccount1.dfs.core.windows.net/a b",
    ):
        assert store.path_of(parse_uri(written)) == "a b"
    assert store.path_of(parse_uri("http://127.0.0.1:10000/devstoreaccount1/database/a")) is None
    assert store.path_of(parse_uri("http://127.0.0.1:10001/devstoreaccount1/data/a")) is None


def test_identities_go_over_https_only() -> None:
    store = datastore(url="http://127.0.0.1:10000/devstoreaccount1")
    with pytest.raises(UserError, match="reached by http"):
        store.open()


def test_the_identity_of_a_job() -> None:
    assert identity_credential(None) == identity_credential({"type": "aml_token"}) == Credential()
    assert identity_credential({"type": "managed", "client_id": "c"}) == Credential(kind="managed_identity", client_id="c")
    assert datastore().open(Credential(kind="managed_identity")).credential.kind == "managed_identity"
