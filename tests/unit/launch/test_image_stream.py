"""Long requests of the engine: progress, time-outs, cancellation."""

from __future__ import annotations

import threading

import pytest

from runner.launch.image_base import PULL_ADVICE, build_lines, pull_error
from runner.launch.image_stream import LastLines, PullProgress, Request, Stopped, show_seconds


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def test_progress_of_a_pull_is_told_once_a_second():
    clock = Clock()
    progress = PullProgress("registry.example/scorer:1", clock)
    events = [
        {"status": "Pulling from scorer", "id": "1"},
        {"status": "Pulling fs layer", "id": "a"},
        {"status": "Pulling fs layer", "id": "b"},
        {"status": "Already exists", "id": "c"},
        {"status": "Downloading", "id": "a", "progressDetail": {"current": 90_000_000, "total": 100_000_000}},
        {"status": "Downloading", "id": "b", "progressDetail": {"current": 30_000_000}},
        {"status": "Download complete", "id": "a"},
    ]
    assert [progress.feed(event) for event in events] == [None] * 7
    clock.time = 1.5
    assert progress.feed({"status": "Extracting", "id": "a"}) == "pulling registry.example/scorer:1: 2 of 3 layers, 120 MB"
    clock.time = 3
    assert progress.feed({"status": "Extracting", "id": "a"}) is None, "nothing has changed"
    assert progress.feed({"status": "Pull complete", "id": "b"}) == "pulling registry.example/scorer:1: 3 of 3 layers, 120 MB"
    assert progress.feed({"status": "Digest: sha256:12"}) is None


def test_events_come_as_they_are_and_errors_too():
    assert list(Request(10).events(lambda: iter([{"a": 1}, {"a": 2}]))) == [{"a": 1}, {"a": 2}]

    def broken():
        yield {"a": 1}
        raise ValueError("broken")

    events = Request(10).events(broken)
    assert next(events) == {"a": 1}
    with pytest.raises(ValueError, match="broken"):
        next(events)


class Response:
    """Ends the reader's wait when it is hung up, as a socket does."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.raw = self

    def shutdown(self) -> None:
        self.ended.set()

    def close(self) -> None:
        self.ended.set()


def endless(request: Request, response: Response):
    request.opened(response)
    yield {"a": 1}
    response.ended.wait(30)


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_request_that_takes_too_long_or_is_cancelled_is_hung_up(cancelled):
    request, response = Request(30 if cancelled else 0.2), Response()
    events = request.events(lambda: endless(request, response))
    next(events)
    if cancelled:
        request.stop()
    with pytest.raises(Stopped) as caught:
        next(events)
    assert caught.value.cancelled is cancelled
    assert response.ended.wait(1)


def test_an_answer_that_comes_after_the_end_is_hung_up_at_once():
    request, response, late = Request(0.1), Response(), threading.Event()

    def start():
        late.wait(30)
        return endless(request, response)

    with pytest.raises(Stopped):
        next(request.events(start))
    late.set()
    assert response.ended.wait(5)


def test_a_request_that_was_cancelled_before_does_not_start_to_wait():
    request = Request(30)
    request.stop()
    with pytest.raises(Stopped):
        next(request.events(lambda: iter(())))


def test_the_last_lines_are_in_the_error_without_secrets():
    said: list[str] = []
    lines = LastLines(said.append)
    lines.feed("\n".join(f"line {number}" for number in range(30)) + "\n\n  \nindex https://user:t0ken@registry.example/simple \n")
    assert len(said) == 31
    error = lines.error("it failed", "mend it")
    assert error.problem.splitlines()[0] == "it failed:"
    assert error.problem.splitlines()[1:] == [
        *(f"    line {number}" for number in range(16, 30)),
        "    index https://****@registry.example/simple",
    ]


def test_builds_are_told_in_whole_lines_without_the_engines_doings():
    said: list[str] = []
    feed = build_lines(said.append)
    for piece in ("Step 1/2 : FROM a\n ---> 0123456789ab\n", "hel", "lo\nwor", "ld\n", " ---> Running in 0123456789ab\n", ""):
        feed({"stream": piece})
    feed({"aux": {"ID": "sha256:1"}})
    assert said == ["Step 1/2 : FROM a", "hello", "world"]


@pytest.mark.parametrize(
    ("message", "todo"),
    [
        ("unauthorized: authentication required", "docker login"),
        ("pull access denied for a, repository does not exist", "docker login"),
        ("manifest for registry.example/a:1 not found: manifest unknown", "tag or digest"),
        ("x509: certificate signed by unknown authority", "certs.d"),
        ("dial tcp: lookup registry.example: no such host", "proxies of pulls"),
    ],
)
def test_what_to_do_when_a_pull_fails(message, todo):
    error = pull_error("registry.example/a:1", Exception(message))  # type: ignore[arg-type]
    assert message in error.problem
    assert todo in error.todo
    assert PULL_ADVICE[-1][0] == "", "there is always something to say"


def test_seconds():
    assert [show_seconds(one) for one in (1, 90, 3600)] == ["1 second", "90 seconds", "60 minutes"]
