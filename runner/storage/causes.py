"""What failed on the way: whether it may pass, and in which words. None of them has an address in it, which may have a signature."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from typing import Any

from runner.storage.patience import Again
from runner.storage.problems import StorageRefused

PASSING = (408, 429, 500, 502, 503, 504)
NAME_SECONDS = 10.0  # a host that nobody knows is asked for again so long: name servers have bad moments, too
_UNKNOWN_HOST = tuple(getattr(socket, name) for name in ("EAI_NONAME", "EAI_NODATA") if hasattr(socket, name))
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNSUPPORTED_PROTOCOL")


def passing(status: int, response: Any, reason: str) -> Again | None:
    """For an answer that another time may be another; it may say when."""
    if status not in PASSING:
        return None
    headers: Mapping[str, str] = getattr(response, "headers", {})
    try:
        return Again(reason, max(0.0, float(headers.get("Retry-After") or 0)))
    except ValueError:  # a date: storage does not send one
        return Again(reason)


def no_answer(whom: str, error: Exception) -> Exception:
    """For no answer of `whom`, or the beginning of one. Some of it says that the address is wrong."""
    causes = list(causes_of(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLError) and (isinstance(cause, ssl.SSLCertVerificationError) or _reason(cause) in _NO_TLS):
            todo = "check its URL; for a certificate of one's own name its file in REQUESTS_CA_BUNDLE"
            return StorageRefused(f"{whom}: {_tls_words(cause)}", todo=todo)
        if isinstance(cause, socket.gaierror) and cause.errno in _UNKNOWN_HOST:
            unknown = "nobody knows a host of this name"
            refusal = StorageRefused(f"{whom}: {unknown}", todo="check the account's name and the network")
            return Again(unknown, refusal=refusal, trial=NAME_SECONDS)
    return Again(_words(causes))


def _tls_words(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    return f"it speaks no TLS that we understand ({_reason(error)})"


def _reason(error: ssl.SSLError) -> str:
    return getattr(error, "reason", None) or ""


def _words(causes: list[BaseException]) -> str:
    kinds = " ".join(type(cause).__name__ for cause in causes)
    if "IncompleteRead" in kinds:
        return "an answer was cut off"
    if "Timeout" in kinds:
        return "no answer in time"
    broken = [cause for cause in causes if isinstance(cause, ssl.SSLError)]
    if broken:
        return f"TLS broke off {_reason(broken[-1])}".strip()
    numbers = [cause.errno for cause in causes if isinstance(cause, OSError) and cause.errno in errno.errorcode]
    if numbers and numbers[-1] is not None:
        return os.strerror(numbers[-1]).lower()
    names = [cause for cause in causes if isinstance(cause, socket.gaierror)]
    if names:
        return f"the host's name cannot be looked up ({names[-1].strerror})"
    if any(isinstance(cause, ConnectionError) for cause in causes):
        return "the connection was closed without an answer"
    return type(causes[-1]).__name__


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """The error and what led to it: requests and urllib3 keep that in one of several places."""
    waiting: list[BaseException] = [error]
    known: set[int] = set()
    while waiting:
        each = waiting.pop(0)
        if id(each) in known:
            continue
        known.add(id(each))
        yield each
        inner = (getattr(each, "inner_exception", None), getattr(each, "reason", None), each.__cause__, each.__context__, *each.args)
        waiting += [cause for cause in inner if isinstance(cause, BaseException)]
