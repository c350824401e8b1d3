"""What an instance goes on with that another one has left."""

from __future__ import annotations

import pytest

from runner.engine.outlets import _goes_on_for


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
