"""Numbers as Prometheus reads them: text format 0.0.4."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"
Labels = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Sample:
    value: float
    labels: Labels = field(default_factory=dict)
    suffix: str = ""  # of the family's name: _bucket, _sum, _count


@dataclass(frozen=True, kw_only=True)
class Family:
    """What goes by one name."""

    name: str
    kind: str
    help: str
    samples: Sequence[Sample]


def single(name: str, kind: str, help: str, value: float) -> Family:  # noqa: A002 (the name is Prometheus')
    return Family(name=name, kind=kind, help=help, samples=(Sample(value=value),))


def labelled(name: str, kind: str, help: str, label: str, values: Mapping[str, float]) -> Family:  # noqa: A002
    """One sample for each value of a label."""
    return Family(name=name, kind=kind, help=help, samples=[Sample(value=value, labels={label: key}) for key, value in values.items()])


class Histogram:
    """How often something took how long; `bounds` are the upper ends of the buckets, without the last, which has none."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds, self._counts, self._sum = tuple(bounds), [0] * (len(bounds) + 1), 0.0

    def observe(self, seconds: float) -> None:
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    def family(self, name: str, help: str) -> Family:  # noqa: A002
        return Family(name=name, kind=HISTOGRAM, help=help, samples=tuple(self._samples()))

    def _samples(self) -> Iterator[Sample]:
        total = 0
        for bound, count in zip((*self._bounds, math.inf), self._counts, strict=True):
            total += count
            yield Sample(value=total, labels={"le": number(bound)}, suffix="_bucket")
        yield Sample(value=self._sum, suffix="_sum")
        yield Sample(value=total, suffix="_count")


def render(families: Iterable[Family]) -> str:
    return "".join(f"{line}\n" for family in families for line in _lines(family))


def _lines(family: Family) -> Iterator[str]:
    yield f"# HELP {family.name} {_escaped(family.help)}"
    yield f"# TYPE {family.name} {family.kind}"
    for sample in family.samples:
        labels = ",".join(f'{key}="{_quoted(value)}"' for key, value in sample.labels.items())
        yield f"{family.name}{sample.suffix}{f'{{{labels}}}' if labels else ''} {number(sample.value)}"


def number(value: float) -> str:
    """As Go writes it: `+Inf`, and no fraction where there is none."""
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if float(value).is_integer() and abs(value) < 1 << 53 else repr(float(value))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', '\\"')
