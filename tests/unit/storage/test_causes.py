from __future__ import annotations

import errno
import socket
import ssl

import pytest

from runner.storage.causes import no_answer
from runner.storage.patience import Again
from runner.storage.problems import StorageRefused


class Wrapped(Exception):
    """As the packages in between do it: one has the cause as `reason`, others in their arguments."""

    def __init__(self, reason: BaseException, text: str = "") -> None:
        super().__init__(text)
        self.reason = reason


def wrapped(cause: BaseException) -> Exception:
    """With an address in each text, as they have."""
    return Exception("https://host/c?sig=SECRET", Wrapped(cause, "url: /c?sig=SECRET"))


def not_trusted() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "self-signed certificate"
    return error


@pytest.mark.parametrize(
    ("cause", "says"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "x"), "connection refused"),
        (ConnectionResetError(errno.ECONNRESET, "x"), "connection reset by peer"),
        (OSError(errno.ENETUNREACH, "x"), "network is unreachable"),
        (ConnectionResetError("Remote end closed connection without response"), "the connection was closed without an answer"),
        (TimeoutError("timed out"), "no answer in time"),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "the host's name cannot be looked up (Temporary failure)"),
        (ssl.SSLError(1, "unexpected eof"), "TLS broke off"),
    ],
)
def test_what_may_pass(cause: Exception, says: str) -> None:
    again = no_answer("datastore 'x'", wrapped(cause))
    assert isinstance(again, Again)
    assert again.reason == says
    assert again.refusal is None


def test_what_does_not_pass() -> None:
    refusal = no_answer("datastore 'x'", wrapped(not_trusted()))
    assert isinstance(refusal, StorageRefused)
    assert "datastore 'x': its certificate is not trusted (self-signed certificate)" in str(refusal)


def test_a_host_that_nobody_knows() -> None:
    again = no_answer("datastore 'x'", wrapped(socket.gaierror(socket.EAI_NONAME, "Name or service not known")))
    assert isinstance(again, Again)
    assert "datastore 'x': nobody knows a host of this name" in str(again.refusal)
    assert again.trial > 0


def test_circles_of_causes_end() -> None:
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert isinstance(no_answer("x", first), Again)
