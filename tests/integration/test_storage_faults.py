"""A container of blobs on bad days: a proxy in front of Azurite does what networks and storages do then."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import pytest

from runner.storage.blob import BlobContainer
from runner.storage.problems import BlobChanged, StorageRefused, StorageUnavailable
from runner.storage.stores import Stores
from tests.azurite import Azurite
from tests.fault_proxy import FaultProxy


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def container(fault_proxy: FaultProxy, said: list[str]) -> BlobContainer:
    container = BlobContainer(fault_proxy.front.store(fault_proxy.behind.container()), say=said.append)
    container.put("a", b"0123456789")
    container.put("big", bytes(3_000_000))
    fault_proxy.forget()
    return container


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.storage.patience.FIRST_PAUSE", 0.02)


USES: dict[str, Callable[[BlobContainer], object]] = {
    "read": lambda it: it.read("a"),
    "list": lambda it: [blob.path for page in it.pages("") for blob in page],
    "folder": lambda it: it.folder(""),
    "info": lambda it: it.info("a"),
    "put": lambda it: it.put("new", b"1"),
    "stage": lambda it: it.stage("new", "b1", b"1"),
    "commit": lambda it: it.commit("a", []),
    "delete": lambda it: it.delete("big"),
}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize(
    ("status", "code"), [(503, "ServerBusy"), (500, "InternalError"), (500, "OperationTimedOut"), (429, ""), (502, "")]
)
def test_passing_answers(fault_proxy: FaultProxy, container: BlobContainer, use: str, status: int, code: str) -> None:
    """Each is tried again by us alone: one request for one attempt."""
    fault_proxy.answer(status, code, times=2)
    USES[use](container)
    assert fault_proxy.count() == 3


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("fault", ["reset", "lose_answer"])
def test_lost_connections(fault_proxy: FaultProxy, container: BlobContainer, use: str, fault: str) -> None:
    getattr(fault_proxy, fault)(times=2)
    USES[use](container)
    assert fault_proxy.count() == 3


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after(fault_proxy: FaultProxy, container: BlobContainer, status: int) -> None:
    asked: list[float] = []

    def pause(stopped: threading.Event, seconds: float) -> None:
        asked.append(seconds)
        stopped.wait(seconds)

    container.patience.pause = pause
    fault_proxy.answer(status, "ServerBusy", {"Retry-After": "2"})
    assert container.read("a") == b"0123456789"
    first, second = fault_proxy.seen(path="/a")
    assert asked == [2.0]
    assert second.when - first.when >= 2.0


@pytest.mark.parametrize(("after", "times"), [(0, 1), (1_000_000, 4), (2_999_999, 1)])
@pytest.mark.parametrize("fault", ["reset", "truncate"])
def test_bodies_that_end_early(fault_proxy: FaultProxy, container: BlobContainer, fault: str, after: int, times: int) -> None:
    """The SDK asks three times for a body before we learn of it."""
    getattr(fault_proxy, fault)(after=after, path="/big", times=times)
    assert container.read("big", 0, 3_000_000) == bytes(3_000_000)


def test_slow_answers(fault_proxy: FaultProxy, container: BlobContainer) -> None:
    fault_proxy.slow(delay=0.5, rate=2_000_000, path="/big")
    assert container.read("big") == bytes(3_000_000)
    assert fault_proxy.count() == 1


def test_no_answer_in_time(fault_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch, said: list[str]) -> None:
    monkeypatch.setattr("runner.storage.sdk.READ_SECONDS", 0.5)
    container = BlobContainer(fault_proxy.front.store(fault_proxy.behind.container()), say=said.append)
    container.put("a", b"1")
    fault_proxy.slow(delay=2, path="/a")
    assert container.read("a") == b"1"
    fault_proxy.slow(delay=1, path="/a", times=None)
    container.patience.seconds = 1
    with pytest.raises(StorageUnavailable, match=r"datastore 'az' did not answer for . s: no answer in time"):
        container.read("a")


@pytest.mark.usefixtures("quick")
def test_page_that_fails(fault_proxy: FaultProxy, container: BlobContainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page is asked for again; those before it are not."""
    monkeypatch.setattr("runner.storage.blob.PAGE", 10)
    names = [f"d/{number:02d}" for number in range(35)]
    for name in names:
        container.put(name, b"")
    fault_proxy.forget()
    fault_proxy.answer(503, "ServerBusy", skip=1, query="comp=list")
    fault_proxy.reset(skip=2, query="comp=list")
    fault_proxy.truncate(500, skip=3, query="comp=list")
    assert [blob.path for page in container.pages("d/") for blob in page] == names
    assert fault_proxy.count(query="comp=list") == 4 + 3


class TestLostAnswers:
    """What was written by an attempt of ours, whose answer was lost, is not somebody else's."""

    def test_put(self, fault_proxy: FaultProxy, container: BlobContainer) -> None:
        fault_proxy.lose_answer(method="PUT")
        etag = container.put("new", b"1", etag="", metadata={"k": "v"})
        assert container.read("new", etag=etag) == b"1"
        assert container.info("new").metadata == {"k": "v"}
        fault_proxy.lose_answer(method="PUT")
        assert container.info("new").etag != container.put("new", b"2", etag=etag)
        assert container.read("new") == b"2"

    def test_commit(self, fault_proxy: FaultProxy, container: BlobContainer) -> None:
        for etag in ("", None):
            container.delete("new")
            container.stage("new", "b1", b"1")
            fault_proxy.lose_answer(method="PUT", query="comp=blocklist")
            made = container.commit("new", ["b1"], etag=etag)
            assert container.read("new", etag=made) == b"1"

    @pytest.mark.parametrize("etag", ["", None])
    def test_somebody_else_came_between(
        self, fault_proxy: FaultProxy, container: BlobContainer, monkeypatch: pytest.MonkeyPatch, etag: str | None
    ) -> None:
        monkeypatch.setattr("runner.storage.patience.FIRST_PAUSE", 3.0)
        monkeypatch.setattr("runner.storage.patience.LONGEST_PAUSE", 3.0)
        fault_proxy.lose_answer(method="PUT", path="/new")
        with ThreadPoolExecutor(1) as mine:
            written = mine.submit(container.put, "new", b"1", etag=etag)
            while not fault_proxy.count():
                time.sleep(0.01)
            time.sleep(0.3)
            with fault_proxy.behind.client(container.store.container) as another:
                another.upload_blob("new", b"2", overwrite=True)
            if etag is None:
                written.result(10)
            else:
                with pytest.raises(BlobChanged):
                    written.result(10)
        assert container.read("new") == (b"1" if etag is None else b"2")


class TestOutage:
    def test_is_waited_for_and_spoken_of(
        self, fault_proxy: FaultProxy, container: BlobContainer, said: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("runner.storage.patience.TOLD_AFTER", 1.0)
        monkeypatch.setattr("runner.storage.patience.TOLD_EVERY", 3.0)
        results: list[bytes] = []
        with fault_proxy.outage():
            threads = [threading.Thread(target=lambda: results.append(container.read("a"))) for _ in range(4)]
            for thread in threads:
                thread.start()
            time.sleep(6)
            assert not results
        for thread in threads:
            thread.join(20)
        assert results == [b"0123456789"] * 4
        assert said[0].startswith("waiting for datastore 'az': connection refused (for ")
        assert said[-1] == "datastore 'az' answers again"
        assert len(said) == len(set(said)) <= 4

    def test_longer_than_the_patience(self, fault_proxy: FaultProxy, container: BlobContainer) -> None:
        container.patience.seconds = 1.5
        with fault_proxy.outage():
            began = time.monotonic()
            with pytest.raises(StorageUnavailable, match=r"datastore 'az' could not be reached for . s: connection refused"):
                container.read("a")
            assert 1.5 <= time.monotonic() - began < 5
        assert container.read("a") == b"0123456789"

    def test_begins_in_the_middle_of_an_answer(self, fault_proxy: FaultProxy, container: BlobContainer) -> None:
        fault_proxy.slow(rate=1_000_000, path="/big")
        results: list[bytes] = []
        reader = threading.Thread(target=lambda: results.append(container.read("big")))
        reader.start()
        time.sleep(1)
        with fault_proxy.outage():
            time.sleep(2)
            assert not results
        reader.join(20)
        assert results == [bytes(3_000_000)]

    def test_stop_ends_the_waiting(self, fault_proxy: FaultProxy, container: BlobContainer) -> None:
        fault_proxy.answer(503, "ServerBusy", {"Retry-After": "60"}, times=None)
        failures: list[Exception] = []

        def read() -> None:
            try:
                container.read("a")
            except StorageUnavailable as error:
                failures.append(error)

        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(1)
        began = time.monotonic()
        container.patience.stop()
        for thread in threads:
            thread.join(10)
        assert time.monotonic() - began < 1
        assert len(failures) == 3


class TestSilence:
    """A storage that takes requests and does not answer, when nobody wants to wait any longer."""

    def failures(self, calls: list[Callable[[], object]], stop: Callable[[], None], after: float = 1.0) -> float:
        """Seconds from `stop` until all calls have failed."""
        with ThreadPoolExecutor(len(calls)) as pool:
            waiting = [pool.submit(call) for call in calls]
            time.sleep(after)
            began = time.monotonic()
            stop()
            for each in waiting:
                with pytest.raises(StorageUnavailable, match="nobody waits any longer for datastore 'az'"):
                    each.result(30)
        return time.monotonic() - began

    def test_requests_are_cut(self, fault_proxy: FaultProxy) -> None:
        stores = Stores([fault_proxy.front.store(fault_proxy.behind.container())])
        container, _ = stores.at("azureml://datastores/az/paths")
        container.put("a", b"1")
        fault_proxy.slow(delay=20, times=None)
        assert (
            self.failures(
                [partial(container.read, "a"), partial(container.put, "b", b"2"), partial(container.stage, "b", "b1", b"2")] * 3,
                stores.stop_waiting,
            )
            < 2
        )
        asked = fault_proxy.count()
        with pytest.raises(StorageUnavailable):
            container.read("a")
        assert fault_proxy.count() == asked

    def test_a_body_that_stops(self, fault_proxy: FaultProxy, container: BlobContainer) -> None:
        fault_proxy.slow(rate=10, path="/big", times=None)
        assert self.failures([lambda: container.read("big")], container.stop_waiting) < 4

    def test_those_opened_later_wait_no_longer(self, fault_proxy: FaultProxy) -> None:
        stores = Stores([fault_proxy.front.store(fault_proxy.behind.container())])
        stores.stop_waiting()
        container, _ = stores.at("azureml://datastores/az/paths")
        container.put("a", b"1")  # one that answers is still of use
        assert container.read("a") == b"1"
        fault_proxy.slow(delay=20, times=None)
        assert self.failures([lambda: container.read("a")], lambda: None, after=0) < 2

    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_a_server_that_never_speaks(self, azurite: Azurite, scheme: str) -> None:
        """Nor does it greet for TLS."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            endpoint = f"{scheme}://127.0.0.1:{server.getsockname()[1]}/devstoreaccount1"
            container = BlobContainer(replace(azurite.store("any-name"), endpoint=endpoint))
            assert self.failures([lambda: container.read("a")], container.stop_waiting) < 2


def test_refusals_end_a_wait(fault_proxy: FaultProxy, container: BlobContainer) -> None:
    fault_proxy.answer(503, "ServerBusy")
    fault_proxy.answer(403, "AuthorizationFailure")
    with pytest.raises(StorageRefused, match="403 AuthorizationFailure"):
        container.read("a")
    assert fault_proxy.count() == 2
