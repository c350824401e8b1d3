"""What is said of a credential that was refused. No network."""

from __future__ import annotations

import pytest
from azure.core.exceptions import ClientAuthenticationError

from runner.model.datastore import BlobStore, Credential
from runner.storage.credentials import Tokens, advice, what_is_wrong
from runner.storage.patience import Again

URL = "https://acc.blob.core.windows.net"


def store(root: str = "azureml://datastores/az/paths", **credential) -> BlobStore:
    return BlobStore(root=root, name="az", endpoint=URL, container="data", credential=Credential(**credential))


@pytest.mark.parametrize(
    ("secret", "doing", "says"),
    [
        ("sp=rl&se=2020-01-01T00%3A00%3A00Z&sig=x", "list", "it has expired"),
        ("sp=rl&se=2020-01-01&sig=x", "write", "it has expired"),
        ("sp=rl&se=2999-01-01T00:00Z&sig=x", "write", "it lacks the permission to write (w or c)"),
        ("sp=c&se=2999-01-01&sig=x", "write", ""),
        ("sp=wl&sig=x", "read", "it lacks the permission to read (r)"),
        ("sp=r&se=soon&sig=x", "list", "it lacks the permission to list (l)"),
        ("si=policy&sig=x", "list", ""),
    ],
)
def test_sas_tokens(secret: str, doing: str, says: str) -> None:
    assert what_is_wrong(store(kind="sas", secret=secret), doing, "AuthenticationFailed") == says


def test_keys_and_tokens() -> None:
    key = store(kind="account_key", secret="k")
    assert what_is_wrong(key, "read", "AuthenticationFailed") == "the key is wrong, or that of another account"
    assert what_is_wrong(key, "read", "KeyBasedAuthenticationNotPermitted") == "the account lets nobody in by key"
    assert what_is_wrong(store(), "read", "AuthorizationPermissionMismatch") == ""
    assert advice(store(root=f"{URL}/data")).startswith("make a new SAS, or describe the container")


def test_no_token_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = Tokens(store())

    def fail(*_scopes: str) -> None:
        raise ClientAuthenticationError("DefaultAzureCredential failed: " + "unbelievable " * 100)

    monkeypatch.setattr(tokens._credential, "get_token", fail)
    with pytest.raises(Again) as caught:
        tokens.get_token("scope")
    text = str(caught.value.refusal)
    assert "unbelievable …\n  next: log in with az login, or mend its credentials" in text
