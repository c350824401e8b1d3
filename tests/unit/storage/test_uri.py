from __future__ import annotations

import pytest

from runner.errors import UserError
from runner.storage.uri import Uri, local_path, looks_like_uri, parse_uri


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("data/x", {"kind": "local", "path": "data/x"}),
        ("./with: colon/x", {"kind": "local", "path": "./with: colon/x"}),
        ("a:b", {"kind": "local", "path": "a:b"}),
        ("/abs/ünï \\ x", {"kind": "local", "path": "/abs/ünï \\ x"}),
        ("file:///abs/a%20b", {"kind": "local", "path": "/abs/a b"}),
        ("file://localhost/abs", {"kind": "local", "path": "/abs"}),
        ("file:/abs", {"kind": "local", "path": "/abs"}),
        ("file:./rel", {"kind": "local", "path": "./rel"}),
        ("azureml://datastores/ds/paths/a/b", {"kind": "datastore", "datastore": "ds", "path": "a/b"}),
        ("azureml://datastores/ds/paths/", {"kind": "datastore", "datastore": "ds", "path": ""}),
        ("azureml://datastores/ds/paths", {"kind": "datastore", "datastore": "ds", "path": ""}),
        (
            "azureml://subscriptions/s/resourcegroups/g/workspaces/w/datastores/ds/paths/a",
            {"kind": "datastore", "datastore": "ds", "path": "a", "workspace": "w"},
        ),
        (
            "azureml://subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w/datastores/ds/paths/a",
            {"kind": "datastore", "datastore": "ds", "path": "a", "workspace": "w"},
        ),
        (
            "azureml://registries/r/environments/e/versions/3",
            {"kind": "registry", "registry": "r", "asset_kind": "environments", "name": "e", "version": "3"},
        ),
        (
            "azureml://registries/r/environments/e/labels/latest",
            {"kind": "registry", "registry": "r", "asset_kind": "environments", "name": "e", "label": "latest"},
        ),
        ("azureml:x:1", {"kind": "asset", "name": "x", "version": "1"}),
        ("azureml:x@latest", {"kind": "asset", "name": "x", "label": "latest"}),
        ("azureml:x", {"kind": "asset", "name": "x"}),
        (
            "wasbs://c@acc.blob.core.windows.net/a/b",
            {"kind": "blob", "account": "acc", "container": "c", "endpoint": "acc.blob.core.windows.net", "path": "a/b"},
        ),
        (
            "abfss://c@acc.dfs.core.windows.net/a",
            {"kind": "blob", "account": "acc", "container": "c", "endpoint": "acc.blob.core.windows.net", "path": "a"},
        ),
        (
            "wasbs://c@acc.blob.core.windows.net/a?sv=1&sig=x%2B",
            {
                "kind": "blob",
                "account": "acc",
                "container": "c",
                "endpoint": "acc.blob.core.windows.net",
                "path": "a",
                "sas": "sv=1&sig=x%2B",
            },
        ),
        (
            "abfss://c@acc.dfs.core.windows.net/a?.csv",
            {"kind": "blob", "account": "acc", "container": "c", "endpoint": "acc.blob.core.windows.net", "path": "a?.csv"},
        ),
        (
            "azureml:wasbs://c@acc.blob.core.windows.net/a",
            {"kind": "blob", "account": "acc", "container": "c", "endpoint": "acc.blob.core.windows.net", "path": "a"},
        ),
        (
            "https://acc.blob.core.windows.net/c/a%20b",
            {"kind": "blob", "account": "acc", "container": "c", "endpoint": "acc.blob.core.windows.net", "path": "a b"},
        ),
        (
            "http://127.0.0.1:10000/acc/c/a%20b/",
            {"kind": "blob", "account": "acc", "container": "c", "endpoint": "127.0.0.1:10000/acc", "path": "a b/"},
        ),
        ("http://localhost:10000/acc/c", {"kind": "blob", "account": "acc", "container": "c", "endpoint": "localhost:10000/acc"}),
        ("http://127.0.0.1/c", {"kind": "web", "endpoint": "127.0.0.1", "path": "c"}),
        ("https://example.com/x%20y.csv", {"kind": "web", "endpoint": "example.com", "path": "x y.csv"}),
    ],
)
def test_parsing(text: str, fields: dict[str, str]) -> None:
    found = parse_uri(text)
    # The inner URI is what counts of azureml:wasbs://…, and a SAS is nowhere but in its own field
    shown = text.removeprefix("azureml:").partition("?sv")[0] if "wasbs" in text else text
    assert "sig=" not in repr(found)
    assert found == Uri(**{"text": shown, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("a\0b", "NUL"),
        ("C:\\data", "Windows"),
        ("c:/data", "Windows"),
        ("file:///C:/data", "Windows"),
        ("\\\\server\\share", "Windows"),
        (".\\data", "write ./data"),
        ("file://server/x", "another machine"),
        ("file://x", "another machine"),
        ("s3://b/x", "'s3://' is not"),
        ("azurml://datastores/x/paths/y", "did you mean 'azureml'"),
        ("azureml://datastores/x", "not a complete"),
        ("azureml://datastore/x/paths/y", "did you mean 'datastores'"),
        ("azureml://datastores/x/path/y", "did you mean 'paths'"),
        ("wasbs://c@acc.blob.core.windows.net/a?sv=1", "'wasbs://c@acc.blob.core.windows.net/a' is not a SAS"),
        ("wasbs://c/x?sig=c4nary", "'wasbs://c/x' is not complete"),
        ("azureml://datastores/x/paths/../y", "'..'"),
        ("azureml:", "azureml"),
        ("azureml:x:1:2", "not the name of an asset"),
        ("wasbs://c/x", "not complete"),
        ("abfss://acc.dfs.core.windows.net/x", "not complete"),
        ("https:///x", "names no machine"),
        ("https://[x/y", "not a web address"),
    ],
)
def test_mistakes(text: str, says: str) -> None:
    if text == "azureml:":  # nothing follows: a file of that name
        assert parse_uri(text).is_local
        return
    with pytest.raises(UserError) as caught:
        parse_uri(text)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("./x", True),
        ("../x", True),
        (".", True),
        ("azureml:x:1", True),
        ("https://x", True),
        ("x", False),
        ("/x", False),
        ("a:b", False),
        ("12:30", False),
    ],
)
def test_words_and_locations(text: str, expected: bool) -> None:
    assert looks_like_uri(text) is expected


def test_local_paths() -> None:
    assert local_path(parse_uri("./a/../b/"), "/base") == "/base/b"
    assert local_path(parse_uri("/x"), "/base") == "/x"
