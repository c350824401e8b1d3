"""What Azure's client has and this one does not."""

from __future__ import annotations

from collections.abc import Iterable

from runner.errors import did_you_mean
from runner.sdk.record import UnknownNameError

_BATCH = "`runner batch invoke -f deployment.yml --input PATH` runs the file of a batch deployment, without an endpoint"
_INSTEAD = {"batch_deployments": _BATCH, "batch_endpoints": _BATCH}


def absent_name(owner: str, name: str, absent: Iterable[str], known: Iterable[str]) -> UnknownNameError:
    if name in absent:
        return UnknownNameError(
            f"{owner}.{name} is not available in this release of runner: it runs commands, parallel jobs and pipelines of them.",
            todo=_INSTEAD.get(name, ""),
        )
    return UnknownNameError(f"{owner} has no attribute `{name}`", todo=did_you_mean(name, known))
