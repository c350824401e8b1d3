from __future__ import annotations

from pathlib import Path

from runner.cluster.nodes import NodeBook
from runner.compute.ray import RayNode


def ray_node(id_: str, name: str) -> RayNode:
    return RayNode(id=id_, name=name, address="", alive=True, labels={}, total={"CPU": 2}, available={"CPU": 2})


def test_a_drain_lasts_until_somebody_ends_it(tmp_path: Path) -> None:
    file = tmp_path / "nodes.json"
    book = NodeBook({}, file)
    book.look([ray_node("a1", "a"), ray_node("b1", "b")], ())
    book.drain(book.find("a"), True)
    assert [node.draining for node in book.all()] == [True, False]

    again = NodeBook({}, file)  # another scheduler, and the node has joined anew
    again.look([ray_node("a2", "a"), ray_node("b1", "b")], ())
    assert [node.draining for node in again.all()] == [True, False]
    again.drain(again.find("a"), False)
    assert not again.find("a").draining
    last = NodeBook({}, file)
    last.look([ray_node("a2", "a")], ())
    assert not last.find("a").draining


def test_who_says_that_a_node_is_in_order_is_believed(tmp_path: Path) -> None:
    book = NodeBook({}, tmp_path / "nodes.json")
    book.look([ray_node("good", "good"), ray_node("bad", "bad")], ())
    for job in ("one", "two"):
        book.failed("bad", (job, ""), "no engine", unfit=True)
        book.started("good", (job, ""))
    assert "no engine" in book.find("bad").set_aside
    assert not book.find("bad").usable
    book.use_again(book.find("bad"))
    assert book.find("bad").usable
    book.failed("bad", ("three", ""), "no engine", unfit=True)
    assert book.find("bad").usable, "it has had its fresh start"
