"""What the comparisons with `azure-ai-ml` share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.spec.resolve import ResolveContext


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing may leave this machine, neither a request nor telemetry."""
    from tests.integration.azure_loader import without_network

    with without_network(monkeypatch):
        yield


@pytest.fixture
def corpus_context(tmp_path: Path) -> ResolveContext:
    """A workspace that has what the files of the corpus name."""
    from tests.integration.azure_ours import corpus_context

    return corpus_context(tmp_path)
