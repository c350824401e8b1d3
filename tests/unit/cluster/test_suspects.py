from __future__ import annotations

from runner.cluster.suspects import Suspects


def test_a_job_that_fails_everywhere_says_nothing_about_nodes() -> None:
    suspects = Suspects()
    suspects.started("good", ("other", ""))
    for node in ("a", "b"):
        for job in ("one", "two", "three"):
            assert not suspects.failed(node, (job, ""), "no such script", unfit=False)


def test_two_jobs_that_start_elsewhere_set_a_node_aside() -> None:
    suspects = Suspects()
    assert not suspects.failed("bad", ("one", ""), "first", unfit=False)
    assert not suspects.started("good", ("one", ""))
    assert not suspects.failed("bad", ("two", ""), "the disk\nis full", unfit=False)
    found = suspects.started("good", ("two", ""))
    assert found == {"bad": "instances of one and two could not be started here and could elsewhere; the last error: the disk is full"}


def test_several_instances_of_one_job_are_one_witness() -> None:
    suspects = Suspects()
    suspects.failed("bad", ("one", ""), "first", unfit=False)
    assert not suspects.started("good", ("one", ""))
    assert not suspects.started("better", ("one", ""))


def test_where_the_others_had_started_before_it_counts_at_once() -> None:
    suspects = Suspects()
    for job in ("one", "two"):
        suspects.started("good", (job, ""))
    assert not suspects.failed("bad", ("one", ""), "x", unfit=False)
    assert list(suspects.failed("bad", ("two", ""), "x", unfit=False)) == ["bad"]


def test_what_has_nothing_to_do_with_the_job_is_proven_by_any_job() -> None:
    suspects = Suspects()
    suspects.started("good", ("zero", ""))
    assert not suspects.failed("bad", ("one", ""), "no engine", unfit=True)
    assert list(suspects.failed("bad", ("two", ""), "no engine", unfit=True)) == ["bad"]


def test_nothing_is_proven_while_nothing_runs_anywhere() -> None:
    """The file server is away: no node is to blame."""
    suspects = Suspects()
    suspects.started("a", ("zero", ""))
    suspects.started("b", ("zero", ""))
    suspects.ended("zero")
    suspects.failed("a", ("one", ""), "not seen", unfit=True)
    found = [suspects.failed(node, (job, ""), "not seen", unfit=True) for job in ("two", "three") for node in ("b", "a")]
    assert found == [{}, {}, {}, {}]


def test_an_instance_that_starts_clears_its_node() -> None:
    suspects = Suspects()
    suspects.started("good", ("one", ""))
    suspects.failed("bad", ("one", ""), "x", unfit=False)
    suspects.started("bad", ("two", ""))
    suspects.started("good", ("three", ""))
    assert not suspects.failed("bad", ("three", ""), "x", unfit=False)
    suspects.forget("bad")
    suspects.started("good", ("four", ""))
    assert not suspects.failed("bad", ("four", ""), "x", unfit=False)
