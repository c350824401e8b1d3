"""What instances and their coordinator say to each other, as bytes: frames of `runner.worker.protocol`, their headers JSON.

coordinator → instance   {"t": "challenge", "nonce"}
instance → coordinator   {"t": "hello", "version", "proof", "nonce", "instance", "name", "workers", "held"}   see handshake.py;
                         instance: its own name for itself, never used again; held: [first, last] of what it has been given before
coordinator → instance   {"t": "welcome", "proof", "coordinator", "epoch"}, or {"t": "refused", "why"}

instance → coordinator   {"t": "ping", "at"}                     renews the session: answered by pong, or by fenced
                         {"t": "exchange", "n", "want", …}       those with a number are sent again, where a connection broke before
                         {"t": "leave", "n", "gave_up", "lost"}  they were answered
                         {"t": "init_failed", "n", "error"}
                         {"t": "fail", "n", "code", "message"}
                         {"t": "event", "n", "kind", "fields"}   + rows of BatchesFinished
coordinator → instance   {"t": "pong", "at"}, {"t": "fenced"}, {"t": "wake"}
                         {"t": "answer", "n", …}                 + lines of a lease
"""

from __future__ import annotations

import dataclasses
from array import array
from itertools import chain
from typing import Any

from runner.engine.journal import decode_block, decode_segment, encode_block, encode_segment
from runner.model import events
from runner.model.batch import ErrorRecord, Lease, Recall, Report, Stop, Tally, Wait
from runner.model.events import BatchesFinished, Event

Header = dict[str, Any]
_ANSWERS = {"wait": Wait, "recall": Recall, "stop": Stop, "lease": Lease}
_NAMES = {kind: name for name, kind in _ANSWERS.items()}
_EVENTS: dict[str, type[Event]] = {
    kind.__name__: kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Event)
}
ROW = 4  # numbers in a row of BatchesFinished


def report_to_header(report: Report) -> Header:
    return {
        "segments": [encode_segment(one) for one in report.segments],
        "blocks": [encode_block(one) for one in report.blocks],
        "volatile": dataclasses.asdict(report.volatile),
        "returned": report.returned,
        "failures": [(index, dataclasses.asdict(error)) for index, error in report.failures],
        "header": report.header,
        "ready": report.ready,
        "running": report.running,
        "attempts": report.attempts,
        "waiting": report.waiting,
    }


def report_from_header(header: Header) -> Report:
    """Errors: KeyError, TypeError, ValueError for what is none."""
    return Report(
        segments=tuple(decode_segment(one) for one in header["segments"]),
        blocks=tuple(decode_block(one) for one in header["blocks"]),
        volatile=Tally(**{name: int(count) for name, count in header["volatile"].items()}),
        returned=tuple((int(first), int(last)) for first, last in header["returned"]),
        failures=tuple((int(index), ErrorRecord(**error)) for index, error in header["failures"]),
        header=(int(header["header"][0]), str(header["header"][1])) if header["header"] else None,
        ready=int(header["ready"]),
        running=tuple(map(int, header["running"])),
        attempts=int(header["attempts"]),
        waiting=bool(header["waiting"]),
    )


def answer_to_frame(answer: Lease | Wait | Recall | Stop) -> tuple[Header, bytes]:
    fields = {field.name: getattr(answer, field.name) for field in dataclasses.fields(answer)}
    payload = fields.pop("lines", b"")
    return {"a": _NAMES[type(answer)], **fields}, payload


def answer_from_frame(header: Header, payload: bytes) -> Lease | Wait | Recall | Stop:
    kind = _ANSWERS[header["a"]]
    fields = {field.name: header[field.name] for field in dataclasses.fields(kind) if field.name in header}
    answer: Lease | Wait | Recall | Stop = kind(**fields, lines=payload) if kind is Lease else kind(**fields)
    return answer


def event_to_frame(event: Event) -> tuple[Header, bytes]:
    fields = {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}
    payload = b""
    if isinstance(event, BatchesFinished):  # there may be 100,000 rows a second
        payload = array("q", chain.from_iterable(fields.pop("rows"))).tobytes()
    if isinstance(fields.get("error"), ErrorRecord):
        fields["error"] = dataclasses.asdict(fields["error"])
    return {"kind": type(event).__name__, "fields": fields}, payload


def event_from_frame(header: Header, payload: bytes) -> Event:
    """Errors: KeyError, TypeError, ValueError for what is none."""
    kind, fields = _EVENTS[header["kind"]], dict(header["fields"])
    if fields.get("error") is not None:
        fields["error"] = ErrorRecord(**fields["error"])
    if kind is BatchesFinished:
        numbers = array("q")
        numbers.frombytes(payload)
        fields["rows"] = list(zip(*(numbers[at::ROW] for at in range(ROW)), strict=True))
    return kind(**fields)
