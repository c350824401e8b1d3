"""What an instance goes on with that another one has left."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from runner.engine.gather import Piece
from runner.engine.outlets import _goes_on_for
from runner.model.batch import Tally
from runner.outputs.outlet import Folder, Outlet, Rows


@pytest.mark.parametrize(
    ("node", "instances", "beside", "others"),
    [
        ("node_0", 1, [], {1, 2, 3}),  # it had more instances before
        ("node_0", 2, [], {2}),
        ("node_1", 2, [], {3}),
        ("node_1", 2, ["node_0", "node_1", "node_3"], set()),
        ("node_3", 2, ["node_0", "node_3"], {1, 2}),  # which were lost
        ("node_2", 2, ["node_0", "node_1", "node_2"], {3}),  # of an earlier life
    ],
)
def test_whose_files_an_instance_goes_on_with(node: str, instances: int, beside: list[str], others: set[int]) -> None:
    found = {number for number in range(4) if f"node_{number}" != node and _goes_on_for(node, instances, beside, f"node_{number}")}
    assert found == others
    assert not _goes_on_for(node, instances, beside, "of somebody else")


class Log:
    """What happens to folders and rows, in order; both of the protocols as far as is needed."""

    error = None
    flush_bytes = 0

    def __init__(self, seen: list[str], name: str) -> None:
        self._seen, self._name = seen, name

    def sync(self) -> None:
        self._seen.append(self._name)

    def write(self, runs: Sequence[object]) -> None:
        self._seen.append(self._name)


@pytest.mark.parametrize(("tally", "seen"), [(Tally(succeeded=1), ["shown", "withheld", "rows"]), (Tally(failed=1), ["shown", "rows"])])
def test_a_folder_that_is_withheld_is_not_seen_after_a_failure(tally: Tally, seen: list[str]) -> None:
    found: list[str] = []
    folders: list[Folder] = [Log(found, name) for name in ("shown", "withheld")]  # type: ignore[misc]
    rows: Rows = Log(found, "rows")  # type: ignore[assignment]
    outlet = Outlet(rows, folders[:1], withheld=folders[1:], background=False, changed=lambda: None)
    outlet.write([Piece(first=0, last=0, tally=tally, rows=[])])
    assert found == seen
