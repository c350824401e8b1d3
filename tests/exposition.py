"""Prometheus' text format 0.0.4, read as strictly as it is written down."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? ([-+]?(?:Inf|NaN|\d+(?:\.\d+)?(?:e[-+]?\d+)?))")
HELP = re.compile(rf"# HELP ({NAME}) ((?:[^\\\n]|\\[\\n])+)")
TYPE = re.compile(rf"# TYPE ({NAME}) (counter|gauge|histogram)")
Key = tuple[str, frozenset[tuple[str, str]]]


@dataclass
class Exposition:
    kinds: dict[str, str] = field(default_factory=dict)
    samples: dict[Key, float] = field(default_factory=dict)

    def value(self, name: str, **labels: str) -> float:
        return self.samples[name, frozenset(labels.items())]


def parse(text: str) -> Exposition:
    """Families stand together, each behind its HELP and TYPE; nothing comes twice; histograms add up."""
    assert text.endswith("\n")
    found, family = Exposition(), ""
    lines = iter(text.removesuffix("\n").split("\n"))
    for line in lines:
        if line.startswith("#"):
            help_, type_ = HELP.fullmatch(line), TYPE.fullmatch(next(lines))
            assert help_, line
            assert type_, line
            family = help_[1]
            assert type_[1] == family
            assert family not in found.kinds, f"{family} comes twice"
            found.kinds[family] = type_[2]
            continue
        sample = SAMPLE.fullmatch(line)
        assert sample, line
        name, labels, value = sample[1], sample[2] or "", float(sample[sample.lastindex or 0])
        suffixes = ("_bucket", "_sum", "_count") if found.kinds[family] == "histogram" else ("",)
        assert name in {family + suffix for suffix in suffixes}, f"{line} stands below {family}"
        pairs = re.findall(LABEL, labels)
        assert len(dict(pairs)) == len(pairs), line
        key = name, frozenset(pairs)
        assert key not in found.samples, f"{line} comes twice"
        assert value >= 0 or found.kinds[family] == "gauge", line
        found.samples[key] = value
    for name, kind in found.kinds.items():
        assert kind != "counter" or name.endswith("_total"), name
        if kind == "histogram":
            _check_histogram(name, found)
    return found


def _check_histogram(name: str, found: Exposition) -> None:
    buckets = [(float(dict(labels)["le"]), value) for (one, labels), value in found.samples.items() if one == f"{name}_bucket"]
    assert buckets == sorted(buckets), "bounds and counts grow"
    assert buckets[-1] == (float("inf"), found.value(f"{name}_count"))
    assert found.value(f"{name}_sum") >= 0
