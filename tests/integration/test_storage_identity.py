"""Tokens: who is asked for them, how often, what refusals say; and that no secret is ever told."""

from __future__ import annotations

import base64
import logging
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from urllib.parse import quote

import pytest

from runner.model.datastore import BlobStore, Credential
from runner.storage.blob import BlobContainer
from runner.storage.problems import StorageRefused, StorageUnavailable
from tests.azurite import Azurite
from tests.fault_proxy import FaultProxy
from tests.identity import CLIENT, HEADER, SECRET, TENANT, TokenAzurite
from tests.integration.test_storage import WRONG_KEY, sas

pytestmark = pytest.mark.filterwarnings("ignore:Use list:DeprecationWarning")  # azure-identity and its msal
SCOPE = "https://storage.azure.com/.default"


@pytest.fixture
def container(token_azurite: TokenAzurite) -> BlobContainer:
    return BlobContainer(token_azurite.store(token_azurite.azurite.container(), token_azurite.service_principal(), "lake"))


@pytest.fixture
def on_the_machine(token_azurite: TokenAzurite, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in token_azurite.machine.items():
        monkeypatch.setenv(name, value)


def opened(token_azurite: TokenAzurite, credential: Credential) -> BlobContainer:
    return BlobContainer(token_azurite.store(token_azurite.azurite.container(), credential, "lake"))


class TestTokens:
    def test_service_principal(self, token_azurite: TokenAzurite, container: BlobContainer) -> None:
        container.put("a", b"1")
        assert container.read("a") == b"1"
        (asked,) = token_azurite.asked
        assert (asked["client_id"], asked["client_secret"], asked["scope"]) == (CLIENT, SECRET, SCOPE)

    @pytest.mark.usefixtures("on_the_machine")
    @pytest.mark.parametrize("client", ["", CLIENT])
    def test_managed_identity(self, token_azurite: TokenAzurite, client: str) -> None:
        container = opened(token_azurite, Credential(kind="managed_identity", client_id=client))
        container.put("a", b"1")
        assert container.read("a") == b"1"
        (asked,) = token_azurite.asked
        assert asked.get("client_id", "") == client
        assert asked["resource"] == "https://storage.azure.com"

    @pytest.mark.usefixtures("on_the_machine")
    def test_default_credential_finds_the_machine(self, token_azurite: TokenAzurite) -> None:
        container = opened(token_azurite, Credential())
        container.put("a", b"1")
        assert [asked["resource"] for asked in token_azurite.asked] == ["https://storage.azure.com"]

    def test_default_credential_finds_the_environment(self, token_azurite: TokenAzurite, monkeypatch: pytest.MonkeyPatch) -> None:
        names = {"AZURE_TENANT_ID": TENANT, "AZURE_CLIENT_ID": CLIENT, "AZURE_CLIENT_SECRET": SECRET}
        for name, value in {**names, "AZURE_AUTHORITY_HOST": token_azurite.authority}.items():
            monkeypatch.setenv(name, value)
        opened(token_azurite, Credential()).put("a", b"1")

    def test_one_token_for_all_threads(self, token_azurite: TokenAzurite, container: BlobContainer) -> None:
        token_azurite.delay = 0.3
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda number: container.put(f"{number}", b"x"), range(40)))
        assert len(token_azurite.asked) == 1

    def test_a_new_token_before_the_old_one_ends(self, token_azurite: TokenAzurite, container: BlobContainer) -> None:
        token_azurite.lifetime = 200  # the SDK renews what ends within 240 to 300 s
        container.put("a", b"1")
        container.put("a", b"2")
        token_azurite.lifetime = 3600
        container.put("a", b"3")
        container.put("a", b"4")
        assert len(token_azurite.asked) == 3


class TestNoToken:
    def test_wrong_secret(self, token_azurite: TokenAzurite) -> None:
        container = opened(token_azurite, token_azurite.service_principal("another/secret+"))
        began = time.monotonic()
        with pytest.raises(StorageRefused) as caught:
            container.put("a", b"1")
        assert time.monotonic() - began < 3
        assert len(token_azurite.asked) == 1
        text = str(caught.value)
        assert f"datastore 'lake' ({container.store.endpoint}/{container.store.container}): the service principal {CLIENT}" in text
        assert "AADSTS7000215: Invalid client secret provided: ***" in text

    def test_incomplete(self, token_azurite: TokenAzurite) -> None:
        with pytest.raises(StorageRefused, match="datastore 'az': its service principal is not complete"):
            BlobContainer(token_azurite.store("none", replace(token_azurite.service_principal(), tenant_id="")))

    def test_a_machine_without_identity(self, token_azurite: TokenAzurite, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in {**token_azurite.machine, "IDENTITY_HEADER": "wrong"}.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(StorageRefused, match="the managed identity of this machine gets no token"):
            opened(token_azurite, Credential(kind="managed_identity")).put("a", b"1")

    @pytest.mark.parametrize("status", [429, 503])
    def test_passing_answers(self, token_azurite: TokenAzurite, container: BlobContainer, status: int) -> None:
        token_azurite.refuse = (status, {"error": "temporarily_unavailable", "error_description": "busy"})
        with ThreadPoolExecutor(1) as thread:
            written = thread.submit(container.put, "a", b"1")
            deadline = time.monotonic() + 20
            while len(token_azurite.asked) <= 1:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            token_azurite.refuse = None
            written.result(20)

    def test_nobody_at_the_authority(self, token_azurite: TokenAzurite) -> None:
        container = opened(token_azurite, replace(token_azurite.service_principal(), authority="https://127.0.0.1:1"))
        container.patience.seconds = 1
        with pytest.raises(StorageUnavailable, match="connection refused"):
            container.put("a", b"1")

    def test_certificate_that_nobody_trusts(self, token_azurite: TokenAzurite, monkeypatch: pytest.MonkeyPatch) -> None:
        container = opened(token_azurite, token_azurite.service_principal())
        monkeypatch.delenv("REQUESTS_CA_BUNDLE")
        with pytest.raises(StorageRefused, match="who gives it tokens: its certificate is not trusted"):
            container.put("a", b"1")
        store = replace(container.store, credential=Credential(kind="account_key", secret=token_azurite.azurite.key))
        with pytest.raises(StorageRefused, match=r"datastore 'lake' \(https://.*\): its certificate is not trusted"):
            BlobContainer(store).put("a", b"1")


def chain(error: BaseException | None) -> list[str]:
    """All that hangs on to an exception, whether or not it would be printed."""
    return [] if error is None else [repr(error), str(error), *chain(error.__cause__), *chain(error.__context__)]


def failing_uses(container: BlobContainer, fault_proxy: FaultProxy | None) -> list[str]:
    """What is said when all sorts of things go wrong."""
    texts: list[str] = []
    container.patience.seconds = 0.1
    uses: list[Callable[[], object]] = [
        lambda: container.read("no/such"),
        lambda: list(container.pages("")),
        lambda: container.put("a", b"1", etag="nonsense"),
        lambda: container.commit("a", ["lost"]),
        lambda: container.put("a", bytes(1000)),
        lambda: container.read("a"),
    ]
    faults: list[Callable[[FaultProxy], None]] = [
        lambda it: None,
        lambda it: it.answer(503, times=None),
        lambda it: it.answer(403, times=None),
        lambda it: it.answer(307, headers={"Location": "https://127.0.0.1:1/x"}, times=None),
        lambda it: it.reset(times=None),
    ]
    for fault in faults if fault_proxy else faults[:1]:
        if fault_proxy:
            fault_proxy.forget()
            fault(fault_proxy)
        for use in uses:
            try:
                use()
            except Exception as error:
                texts += [*chain(error), *traceback.format_exception(error)]
    return [*texts, repr(container), repr(container.store), repr(container.store.credential), str(vars(container))]


def assert_secret(secret: str, texts: list[str]) -> None:
    everything = "\n".join(texts)
    forms = [secret, quote(secret), quote(secret, safe=""), base64.b64encode(secret.encode()).decode().rstrip("=")]
    assert [form for form in forms if form in everything] == []


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """As chatty as somebody can make it."""
    caplog.set_level(logging.DEBUG)
    for name in ("urllib3", "urllib3.connectionpool", "requests"):
        caplog.set_level(logging.DEBUG, name)
    return lambda: [caplog.text]


class TestSecrets:
    @pytest.mark.parametrize("kind", ["account_key", "wrong_key", "sas", "wrong_sas"])
    def test_of_accounts(self, azurite: Azurite, fault_proxy: FaultProxy, log: Callable[[], list[str]], kind: str) -> None:
        store = fault_proxy.front.store(azurite.container())
        signed = sas(azurite, store.container)
        secrets = {
            "account_key": Credential(kind="account_key", secret=azurite.key),
            "wrong_key": Credential(kind="account_key", secret=WRONG_KEY),
            "sas": Credential(kind="sas", secret=signed),
            "wrong_sas": Credential(kind="sas", secret=signed.replace("sig=", "sig=A")),
        }
        credential = secrets[kind]
        texts = [*failing_uses(BlobContainer(replace(store, credential=credential)), fault_proxy), *log()]
        assert len(texts) > 10
        assert "urllib3.connectionpool" in texts[-1]
        for secret in (credential.secret, credential.secret.rpartition("sig=")[2]):
            assert_secret(secret, texts)

    def test_of_unreachable_ones(self, azurite: Azurite, log: Callable[[], list[str]]) -> None:
        signed = sas(azurite, "none")
        store = BlobStore(
            root="https://x", name="x", endpoint="http://127.0.0.1:1/acc", container="c", credential=Credential(kind="sas", secret=signed)
        )
        texts = [*failing_uses(BlobContainer(store), None), *log()]
        assert "connection refused" in "".join(texts)
        assert_secret(signed.rpartition("sig=")[2], texts)

    @pytest.mark.parametrize("secret", [SECRET, "wrong~secret/+canary="])
    def test_of_service_principals(self, token_azurite: TokenAzurite, log: Callable[[], list[str]], secret: str) -> None:
        texts = [*failing_uses(opened(token_azurite, token_azurite.service_principal(secret)), None), *log()]
        for each in (secret, *token_azurite.tokens):
            assert_secret(each, texts)

    @pytest.mark.usefixtures("on_the_machine")
    def test_of_machines(self, token_azurite: TokenAzurite, log: Callable[[], list[str]]) -> None:
        texts = [*failing_uses(opened(token_azurite, Credential(kind="managed_identity")), None), *log()]
        for each in (HEADER, *token_azurite.tokens):
            assert_secret(each, texts)
