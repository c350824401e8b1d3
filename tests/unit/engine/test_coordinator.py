from __future__ import annotations

import random
from pathlib import Path

import pytest

from runner.engine.policy import Limits
from runner.model.batch import Chunk, ErrorRecord, Lease, Report, Segment, Stop, Tally, Wait
from tests.unit.engine.simulation import FakeClock, FakeInstance, coordinator, feed


def run(instances: list[FakeInstance], steps: int = 100_000) -> None:
    chance = random.Random(3)
    for _ in range(steps):
        if all(one.stopped for one in instances):
            return
        chance.choice(instances).step()
    raise AssertionError("the job does not end")


@pytest.mark.parametrize(("instances", "batches"), [(1, 1), (1, 1000), (3, 7), (8, 5000), (30, 100)])
def test_every_mini_batch_is_done_once(tmp_path: Path, instances: int, batches: int) -> None:
    target = coordinator(tmp_path, FakeClock())
    crew = [FakeInstance(target, f"node_{i}", random.Random(i), want=1 + i * 7).join() for i in range(instances)]
    feed(target, 0, batches // 2)
    for one in crew:
        one.step()
    feed(target, batches // 2, batches - batches // 2)
    target.feed_done()
    run(crew)
    assert sorted(index for one in crew for index in one.seen) == list(range(batches))
    verdict = target.wait(0)
    assert verdict is not None
    assert verdict.status == "Completed"
    assert target.progress().succeeded == batches


def test_leases_stay_contiguous(tmp_path: Path) -> None:
    target = coordinator(tmp_path, FakeClock())
    crew = [FakeInstance(target, f"node_{i}", random.Random(i), want=16).join() for i in range(4)]
    feed(target, 0, 10_000)
    target.feed_done()
    run(crew)
    for one in crew:
        jumps = sum(1 for a, b in zip(sorted(one.seen), sorted(one.seen)[1:], strict=False) if b != a + 1)
        assert jumps < 60


def test_an_instance_that_falls_silent_is_fenced_and_its_work_is_given_out_again(tmp_path: Path) -> None:
    clock = FakeClock()
    target = coordinator(tmp_path, clock, session=10.0)
    silent, other = (FakeInstance(target, name, random.Random(1), want=100).join() for name in ("silent", "other"))
    feed(target, 0, 20)
    target.feed_done()
    answer = target.exchange(silent.epoch, Report(), 20)
    assert isinstance(answer, Lease)
    clock.time = 9
    target.exchange(other.epoch, Report(), 0)
    clock.time = 11
    assert target.wait(0.0) is None
    target.look_after()
    late = Segment(first=0, last=answer.count - 1, tally=Tally(succeeded=answer.count))
    assert target.exchange(silent.epoch, Report(segments=(late,)), 5) == Stop(reason="fenced")
    run([other])
    assert sorted(other.seen) == list(range(20))


def test_a_result_is_accepted_once(tmp_path: Path) -> None:
    target = coordinator(tmp_path, FakeClock())
    epoch = target.join("node_0", workers=1, wake=lambda: None)
    feed(target, 0, 4)
    assert isinstance(target.exchange(epoch, Report(), 2), Lease)
    done = Segment(first=0, last=1, tally=Tally(succeeded=2))
    target.exchange(epoch, Report(segments=(done,)), 0)
    target.exchange(epoch, Report(segments=(done,)), 0)
    assert target.progress().succeeded == 2


def test_a_threshold_ends_the_job_before_its_failures_are_durable(tmp_path: Path) -> None:
    target = coordinator(tmp_path, FakeClock(), limits=Limits(mini_batch_error_threshold=1))
    epoch = target.join("node_0", workers=1, wake=lambda: None)
    feed(target, 0, 9)
    target.exchange(epoch, Report(), 9)
    assert target.exchange(epoch, Report(volatile=Tally(failed=1)), 0) == Wait()
    failures = ((3, ErrorRecord(kind="exception", message="no")),)
    assert target.exchange(epoch, Report(volatile=Tally(failed=2), failures=failures), 0) == Stop(reason="threshold")
    verdict = target.wait(0)
    assert verdict is not None
    assert verdict.message == "2 mini-batches have failed, mini_batch_error_threshold is 1"
    assert verdict.failures == failures


def test_results_that_come_after_the_verdict_are_kept(tmp_path: Path) -> None:
    target = coordinator(tmp_path, FakeClock())
    epoch = target.join("node_0", workers=1, wake=lambda: None)
    feed(target, 0, 9)
    target.exchange(epoch, Report(), 9)
    target.cancel()
    done = Segment(first=0, last=1, tally=Tally(succeeded=2))
    assert target.exchange(epoch, Report(segments=(done,)), 0) == Stop(reason="cancelled")
    assert target.progress().succeeded == 2


def test_a_mini_batch_that_is_there_whenever_an_instance_is_lost_fails_in_the_end(tmp_path: Path) -> None:
    target = coordinator(tmp_path, FakeClock(), max_retries=2)
    target.feed(Chunk(lines=[b'{"rows":7}', b'{"rows":5}'], items=12, bytes=12))
    target.feed_done()
    losses = 0
    for _ in range(20):
        epoch = target.join("node_0", workers=1, wake=lambda: None)
        answer = target.exchange(epoch, Report(), 1)
        if not isinstance(answer, Lease) or answer.first != 0:
            break
        target.exchange(epoch, Report(running=(0,)), 0)
        target.leave(epoch, lost=True)
        losses += 1
    assert losses == 6  # three at no cost, then an attempt and two further ones
    assert target.progress().failed == 1
    assert target.progress().items_failed == 7


def test_silence_ends_the_job(tmp_path: Path) -> None:
    clock = FakeClock()
    target = coordinator(tmp_path, clock, progress_update_timeout=30)
    target.join("node_0", workers=1, wake=lambda: None)
    clock.time = 31
    target.look_after()
    verdict = target.wait(0)
    assert verdict is not None
    assert verdict.code == "progress"
    assert "30 s (progress_update_timeout)" in verdict.message
