"""Containers of blobs, in Azurite: what is done with them, and what is refused."""

from __future__ import annotations

import base64
import io
import socket
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from azure.storage.blob import ContainerSasPermissions, ContentSettings, generate_container_sas

from runner.model.datastore import BlobStore, Credential
from runner.storage.blob import BlobContainer
from runner.storage.problems import BlobChanged, BlobMissing, BlocksLost, StorageRefused
from tests.azurite import Azurite
from tests.fault_proxy import FaultProxy

WRONG_KEY = base64.b64encode(b"x" * 64).decode()


@pytest.fixture
def container(azurite: Azurite) -> BlobContainer:
    return BlobContainer(azurite.store(azurite.container()))


def sas(azurite: Azurite, container: str, permissions: str = "rwdl", hours: float = 1) -> str:
    until = datetime.now(timezone.utc) + timedelta(hours=hours)
    allowed = ContainerSasPermissions.from_string(permissions)
    return generate_container_sas(azurite.account, container, account_key=azurite.key, permission=allowed, expiry=until)


def with_secret(store: BlobStore, kind: str, secret: str) -> BlobStore:
    return replace(store, credential=Credential(kind=kind, secret=secret))  # type: ignore[arg-type]


class TestReading:
    @pytest.mark.parametrize(
        ("offset", "length", "expected"),
        [(0, None, b"12345"), (0, 2, b"12"), (3, 9, b"45"), (4, None, b"5"), (5, 1, b""), (9, None, b""), (2, 0, b"")],
    )
    def test_ranges(self, container: BlobContainer, offset: int, length: int | None, expected: bytes) -> None:
        etag = container.put("a/ü b.txt", b"12345")
        assert container.read("a/ü b.txt", offset, length, etag=etag) == expected

    @pytest.mark.parametrize(("offset", "length"), [(0, None), (0, 10), (3, None)])
    def test_empty_blob(self, container: BlobContainer, offset: int, length: int | None) -> None:
        etag = container.put("empty", b"")
        assert container.read("empty", offset, length, etag=etag) == b""

    def test_bytes_are_those_that_lie_there(self, azurite: Azurite, container: BlobContainer) -> None:
        """A blob that says of itself that it is packed is not unpacked on the way, as browsers do."""
        import gzip

        packed = gzip.compress(b"x" * 10_000)
        with azurite.client(container.store.container) as client:
            client.upload_blob("x.gz", packed, content_settings=ContentSettings(content_encoding="gzip"))
        assert container.read("x.gz") == packed
        assert container.read("x.gz", 0, len(packed)) == packed

    def test_changed(self, container: BlobContainer) -> None:
        etag = container.put("a", b"1")
        container.put("a", b"2")
        for offset in (0, 7):
            with pytest.raises(BlobChanged, match="'azureml://datastores/az/paths/a' was written by somebody else"):
                container.read("a", offset, 1, etag=etag)
        with pytest.raises(BlobChanged):
            container.read_into("a", io.BytesIO(), size=1, etag=etag)

    def test_missing(self, container: BlobContainer) -> None:
        for ask in (container.info, container.read):
            with pytest.raises(BlobMissing, match="there is nothing at 'azureml://datastores/az/paths/no/such'"):
                ask("no/such")

    def test_listing_across_pages(self, container: BlobContainer) -> None:
        names = sorted(f"d/{number:05d}" for number in range(5_050))
        with ThreadPoolExecutor(16) as threads:
            list(threads.map(lambda name: container.put(name, b""), names))
        pages = list(container.pages("d/"))
        assert [len(page) for page in pages] == [5_000, 50]
        assert [blob.path for page in pages for blob in page] == names
        assert [blob.path for page in container.pages("d/", after=names[5_010]) for blob in page] == names[5_011:]

    def test_folder(self, container: BlobContainer) -> None:
        for name in ("a", "a-b", "a/x", "a/y/z", "a.txt"):
            container.put(name, b"")
        blobs, folders = container.folder("")
        assert ([blob.path for blob in blobs], folders) == (["a", "a-b", "a.txt"], ["a/"])


class TestWriting:
    def test_only_where_there_is_none(self, container: BlobContainer) -> None:
        etag = container.put("a", b"1", etag="", metadata={"k": "v"})
        assert container.info("a").metadata == {"k": "v"}
        with pytest.raises(BlobChanged):
            container.put("a", b"2", etag="")
        assert container.put("a", b"3", etag=etag) != etag
        with pytest.raises(BlobChanged):
            container.put("a", b"4", etag=etag)
        assert container.read("a") == b"3"

    def test_blocks(self, container: BlobContainer) -> None:
        for block in ("b1", "b2", "b3"):
            container.stage("a", block, block.encode())
        assert container.staged("a") == {"b1": 2, "b2": 2, "b3": 2}
        etag = container.commit("a", ["b3", "b1"], etag="", metadata={"partial": "true"})
        assert container.read("a", etag=etag) == b"b3b1"
        assert container.info("a").metadata == {"partial": "true"}

    def test_lost_blocks(self, container: BlobContainer) -> None:
        container.stage("a", "b1", b"1")
        container.stage("a", "b2", b"2")
        container.commit("a", ["b1"])
        with pytest.raises(BlocksLost, match="blocks of 'azureml://datastores/az/paths/a' are no longer there"):
            container.commit("a", ["b1", "b2"])

    def test_deleted(self, container: BlobContainer) -> None:
        container.put("a", b"1")
        container.delete("a")
        container.delete("a")
        assert list(container.pages("")) == []

    def test_check_leaves_nothing(self, container: BlobContainer) -> None:
        container.check_writable("out.csv")
        container.check_writable("out.csv")
        assert list(container.pages("")) == []

    def test_blocks_of_another_program(self, container: BlobContainer) -> None:
        container.stage("out.csv", "short", b"1")
        with pytest.raises(StorageRefused, match=r"blocks of somebody else, with ids of another length, wait at 'azureml://.*/out.csv'"):
            container.check_writable("out.csv")


class TestRefused:
    """At once, in words that name the datastore and what was tried."""

    @pytest.fixture
    def counted(self, fault_proxy: FaultProxy) -> Callable[[BlobStore], str]:
        def refusal(store: BlobStore, use: Callable[[BlobContainer], object] = lambda it: list(it.pages(""))) -> str:
            before, began = fault_proxy.count(), time.monotonic()
            with pytest.raises(StorageRefused) as caught:
                use(BlobContainer(store))
            assert time.monotonic() - began < 3
            assert fault_proxy.count() - before <= 1
            text = str(caught.value)
            assert not store.credential.secret or store.credential.secret not in text
            return text

        return refusal

    def test_wrong_key(self, fault_proxy: FaultProxy, counted: Callable[..., str]) -> None:
        store = fault_proxy.front.store(fault_proxy.front.container(), "lake")
        text = counted(with_secret(store, "account_key", WRONG_KEY))
        assert f"datastore 'lake' ({store.endpoint}/{store.container}) does not let us list blobs (403 " in text
        assert "tried: its account key: the key is wrong, or that of another account" in text
        assert "role" not in text

    @pytest.mark.parametrize(
        ("kind", "secret", "says"),
        [
            ("account_key", "not base64!", "keys are base64"),
            ("account_key", "", "its account key"),
            ("sas", "sv=1&se=2", "no sig="),
            ("sas", "", "no sig="),
        ],
    )
    def test_what_can_be_no_secret(self, fault_proxy: FaultProxy, counted: Callable[..., str], kind: str, secret: str, says: str) -> None:
        assert says in counted(with_secret(fault_proxy.front.store("none"), kind, secret))

    def test_missing_container(self, fault_proxy: FaultProxy, counted: Callable[..., str]) -> None:
        store = fault_proxy.front.store("no-such-one", "lake")
        uses: list[Callable[[BlobContainer], object]] = [
            lambda it: list(it.pages("x")),
            lambda it: it.folder("x/"),
            lambda it: it.read("x"),
            lambda it: it.info("x"),
            lambda it: it.put("x", b""),
            lambda it: it.check_writable("x"),
        ]
        for use in uses:
            assert "datastore 'lake'" in (text := counted(store, use))
            assert "there is no such container" in text

    def test_sas_that_may_not_write(self, fault_proxy: FaultProxy, counted: Callable[..., str]) -> None:
        store = fault_proxy.front.store(fault_proxy.front.container())
        readable = with_secret(store, "sas", sas(fault_proxy.front, store.container, "rl"))
        assert list(BlobContainer(readable).pages("")) == []
        text = counted(readable, lambda it: it.check_writable("out.csv"))
        assert "does not let us write (403 " in text
        assert "its SAS token (permissions rl, valid until 20" in text
        assert "it lacks the permission to write (w or c)" in text
        assert "it lacks the permission to list (l)" in counted(with_secret(store, "sas", sas(fault_proxy.front, store.container, "r")))

    def test_expired_sas(self, fault_proxy: FaultProxy, counted: Callable[..., str]) -> None:
        store = fault_proxy.front.store(fault_proxy.front.container())
        expired = with_secret(store, "sas", sas(fault_proxy.front, store.container, hours=-1))
        text = counted(expired)
        assert "does not let us list blobs (403 " in text
        assert "it has expired\n  next: mend its credentials in workspace.yml" in text
        root = f"{store.endpoint}/{store.container}"
        text = counted(replace(expired, root=root))
        assert text.startswith(f"{root} does not let us list blobs")
        assert "next: make a new SAS, or describe the container as a datastore" in text

    def test_nobody_is_not_let_in(self, fault_proxy: FaultProxy, counted: Callable[..., str]) -> None:
        store = fault_proxy.front.store(fault_proxy.front.container())
        assert "tried: no credential" in counted(replace(store, credential=Credential(kind="anonymous")))

    @pytest.mark.parametrize(
        ("status", "code"),
        [(307, ""), (400, "InvalidUri"), (409, "BlobArchived"), (409, "ContainerBeingDeleted"), (412, "LeaseIdMissing"), (501, "")],
    )
    def test_other_answers(self, fault_proxy: FaultProxy, counted: Callable[..., str], status: int, code: str) -> None:
        store = fault_proxy.front.store(fault_proxy.front.container())
        fault_proxy.answer(status, code, {"Location": f"{store.endpoint}/elsewhere"}, method="GET")
        assert f"({status} {code}" in counted(store, lambda it: it.read("x"))

    def test_another_protocol(self, fault_proxy: FaultProxy, counted: Callable[..., str]) -> None:
        store = fault_proxy.front.store("one")
        assert "speaks no TLS" in counted(replace(store, endpoint=store.endpoint.replace("http:", "https:")))


class TestNames:
    def test_unknown_host(self, azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> None:
        """Asked for some seconds, then refused; where the storage has answered before, it is an outage."""
        monkeypatch.setattr("runner.storage.causes.NAME_SECONDS", 1.0)
        container = BlobContainer(azurite.store(azurite.container(), "lake"))
        container.put("a", b"")
        strange = BlobContainer(replace(container.store, endpoint="https://nobody.blob.example.invalid", name="lake"))

        def unknown(*_: object, **__: object) -> object:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        with pytest.raises(StorageRefused, match=r"datastore 'lake' \(https://nobody.*\): nobody knows a host of this name"):
            strange.read("a")
        assert 1 <= strange.patience.now() - strange.patience._since < 4  # type: ignore[operator]

    def test_account_is_said_or_follows_from_the_endpoint(self, azurite: Azurite) -> None:
        """An emulator need not be on this machine: the SDK knows the account's name only where the host is called localhost."""
        name = azurite.container()
        with FaultProxy(azurite, host="127.0.0.2") as proxy:
            store = proxy.front.store(name)
            for each in (store, replace(store, account=azurite.account)):
                BlobContainer(each).put("a", b"1")
            with pytest.raises(StorageRefused):
                BlobContainer(replace(store, account="another")).put("a", b"1")


def test_many_threads_keep_their_connections(azurite: Azurite, fault_proxy: FaultProxy) -> None:
    container = BlobContainer(fault_proxy.front.store(azurite.container()))
    with ThreadPoolExecutor(24) as threads:
        list(threads.map(lambda number: container.put(f"{number}", b"x"), range(240)))
    assert fault_proxy.connections <= 24


def test_proxies_of_the_environment(azurite: Azurite, fault_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", fault_proxy.front.endpoint.rpartition("/")[0])
    monkeypatch.setenv("no_proxy", "example.com")
    container = BlobContainer(azurite.store(azurite.container()))
    seen = fault_proxy.count()
    container.put("a", b"1")
    assert container.read("a") == b"1"
    assert fault_proxy.count() == seen + 2
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert BlobContainer(container.store).read("a") == b"1"
    assert fault_proxy.count() == seen + 2


def test_a_container_is_made_once(azurite: Azurite) -> None:
    container = BlobContainer(azurite.store(f"made-{uuid.uuid4().hex[:8]}"))
    assert container.create()
    assert not container.create()
    container.put("a", b"")
