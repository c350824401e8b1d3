from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from runner.engine.coordinator import Coordinator
from runner.engine.journal import read_journal
from runner.engine.policy import Limits
from runner.model.batch import Block, Chunk, ErrorRecord, Lease, Recall, Report, Segment, Stop, Tally, Wait
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
    for clock.time in (4, 8):
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


def test_what_is_not_in_the_journal_does_not_count_as_finished(tmp_path: Path) -> None:
    """Or else what is shown as finished could run again after a crash."""
    target = coordinator(tmp_path, FakeClock())
    epoch = target.join("node_0", workers=1, wake=lambda: None)
    feed(target, 0, 4)
    target.exchange(epoch, Report(), 4)
    target.exchange(epoch, Report(volatile=Tally(succeeded=3, items=3)), 0)
    assert (target.progress().succeeded, target.progress().items) == (0, 0)
    done = Segment(first=0, last=1, tally=Tally(succeeded=2, items=2))
    target.exchange(epoch, Report(segments=(done,), volatile=Tally(succeeded=1, items=1)), 0)
    assert (target.progress().succeeded, target.progress().items) == (2, 2)
    assert sum(one.tally.succeeded for one in read_journal(tmp_path / "journal").segments) == 2


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


def test_a_wait_for_a_storage_is_no_silence(tmp_path: Path) -> None:
    clock = FakeClock()
    target = coordinator(tmp_path, clock, progress_update_timeout=30)
    epoch = target.join("node_0", workers=1, wake=lambda: None)
    for clock.time in (20, 40, 60):
        target.exchange(epoch, Report(waiting=True), 0)
        target.look_after()
    assert target.wait(0) is None
    clock.time = 91
    target.look_after()
    assert target.wait(0) is not None


def test_after_a_wait_for_a_storage_the_time_out_begins_anew(tmp_path: Path) -> None:
    clock, calm = FakeClock(), [float("-inf")]
    target = coordinator(tmp_path, clock, progress_update_timeout=30, calm_since=lambda: calm[0])
    target.join("node_0", workers=1, wake=lambda: None)
    for clock.time, calm[0] in ((20, float("inf")), (29, float("inf")), (58, 57), (86, 57)):
        target.look_after()
        assert target.wait(0) is None
    clock.time = 87
    target.look_after()
    assert target.wait(0) is not None


def test_blocks_stand_in_the_journal_and_the_size_of_the_output_is_told(tmp_path: Path) -> None:
    target = coordinator(tmp_path, FakeClock())
    epoch = target.join("node_0", workers=1, wake=lambda: None)
    feed(target, 0, 4)
    leased(target, epoch, 2)
    segment = Segment(first=0, last=1, tally=Tally(succeeded=2), part="p", length=7)
    assert target.exchange(epoch, Report(segments=(segment,)), 0) == Wait(written=7)
    block = Block(first=0, last=1, id="b", length=7)
    target.exchange(epoch, Report(blocks=(block,)), 0)
    assert target.exchange(epoch + 1, Report(blocks=(replace(block, id="of another"),)), 0) == Stop(reason="fenced")
    assert read_journal(tmp_path / "journal").blocks == [block]


def test_what_fails_after_the_last_mini_batch_is_a_problem_of_the_outputs(tmp_path: Path) -> None:
    target = coordinator(tmp_path, FakeClock())
    target.feed_done()
    target.fail("instance", "all instances have ended")
    assert not target.problem
    target.fail("output", "the last files could not be uploaded")
    assert target.problem == "the last files could not be uploaded"


def leased(target: Coordinator, epoch: int, want: int) -> Lease:
    answer = target.exchange(epoch, Report(), want)
    assert isinstance(answer, Lease)
    return answer


def restarted(folder: Path, clock: FakeClock, *awaited: str) -> Coordinator:
    """Another coordinator of the same job, as after the death of the first."""
    target = coordinator(folder, clock, session=8.0, awaited=frozenset(awaited))
    target.feed_done()
    return target


def test_a_restarted_coordinator_leaves_its_instances_what_they_have(tmp_path: Path) -> None:
    clock = FakeClock()
    before = coordinator(tmp_path, clock, session=8.0)
    feed(before, 0, 40)
    before.feed_done()
    old = before.join("node_0", workers=2, wake=lambda: None)
    lease = leased(before, old, 10)
    done = Segment(first=0, last=3, tally=Tally(succeeded=4, items=4))
    assert isinstance(before.exchange(old, Report(segments=(done,)), 0), Wait)

    after = restarted(tmp_path, clock, "node_0", "node_1")
    stranger = after.join("node_2", workers=2, wake=lambda: None)
    assert isinstance(after.exchange(stranger, Report(), 10), Wait)  # before the others have said what they have
    again = after.join("node_0", workers=2, wake=lambda: None, held=[(0, lease.count - 1)])
    assert isinstance(after.exchange(stranger, Report(), 10), Wait)  # node_1 may still be at work
    after.join("node_1", workers=2, wake=lambda: None, held=[(20, 29)])
    given = leased(after, stranger, 100)
    assert not set(range(given.first, given.first + given.count)) & {*range(lease.count), *range(20, 30)}
    rest = Segment(first=4, last=lease.count - 1, tally=Tally(succeeded=lease.count - 4, items=lease.count - 4))
    after.exchange(again, Report(segments=(done, rest)), 0)  # the first was in the journal already
    assert after.progress().succeeded == lease.count


def test_one_that_does_not_come_back_is_awaited_for_a_session(tmp_path: Path) -> None:
    clock = FakeClock()
    feed(coordinator(tmp_path, clock), 0, 10)
    woken: list[int] = []
    target = restarted(tmp_path, clock, "node_0")
    other = target.join("node_1", workers=2, wake=lambda: woken.append(1))
    for clock.time in (2, 4, 6):
        assert isinstance(target.exchange(other, Report(), 10), Wait)
        target.look_after()
    assert not woken
    clock.time = 8.5
    target.look_after()
    assert woken
    leased(target, other, 10)


def test_a_broken_connection_shortens_the_wait(tmp_path: Path) -> None:
    clock = FakeClock()
    target = coordinator(tmp_path, clock, session=8.0)
    feed(target, 0, 10)
    one, other = (target.join(name, workers=2, wake=lambda: None) for name in ("node_0", "node_1"))
    leased(target, one, 10)
    target.silent(one, 3.0)
    clock.time = 2
    target.look_after()
    assert target.is_member(one)  # it has come back in time
    target.silent(one, 3.0)
    clock.time = 5.5
    target.look_after()
    assert not target.is_member(one)
    assert target.exchange(one, Report(), 1) == Stop(reason="fenced")
    leased(target, other, 10)


def test_time_in_which_the_coordinator_itself_stood_still_does_not_count(tmp_path: Path) -> None:
    clock = FakeClock()
    target = coordinator(tmp_path, clock, session=8.0)
    one = target.join("node_0", workers=2, wake=lambda: None)
    clock.time = 100
    target.look_after()
    assert target.is_member(one)


def test_one_that_is_sent_away_finishes_what_runs_and_gives_back_the_rest(tmp_path: Path) -> None:
    target = coordinator(tmp_path, FakeClock())
    feed(target, 0, 10)
    woken: list[int] = []
    one = target.join("node_0", workers=1, wake=lambda: woken.append(1))
    lease = leased(target, one, 4)
    target.send_away("node_0", "retired")
    assert woken
    assert isinstance(target.exchange(one, Report(), 4), Recall)
    assert isinstance(target.exchange(one, Report(returned=((lease.first + 1, lease.first + lease.count - 1),)), 4), Wait)
    done = Segment(first=lease.first, last=lease.first, tally=Tally(succeeded=1, items=1))
    assert target.exchange(one, Report(segments=(done,)), 4) == Stop(reason="retired")


def test_one_whose_node_is_lost_stops_at_once(tmp_path: Path) -> None:
    target = coordinator(tmp_path, FakeClock())
    feed(target, 0, 10)
    one = target.join("node_0", workers=1, wake=lambda: None)
    leased(target, one, 4)
    target.send_away("node_0", "lost")
    target.send_away("node_0", "retired")
    assert target.exchange(one, Report(), 4) == Stop(reason="lost")


def test_one_that_comes_back_too_late_must_end(tmp_path: Path) -> None:
    clock = FakeClock()
    feed(coordinator(tmp_path, clock), 0, 10)
    target = restarted(tmp_path, clock, "node_0")
    for clock.time in (3, 6, 9):
        target.look_after()
    assert target.join("node_0", workers=2, wake=lambda: None, held=[(0, 3)]) == 0
    assert target.join("node_1", workers=2, wake=lambda: None) > 0


def test_a_run_that_stands_twice_in_a_report_counts_once(tmp_path: Path) -> None:
    target = coordinator(tmp_path, FakeClock())
    one = FakeInstance(target, "node_0", random.Random(1), want=4).join()
    feed(target, 0, 4)
    target.feed_done()
    lease = target.exchange(one.epoch, Report(), 2)
    assert isinstance(lease, Lease)
    half = Segment(first=lease.first, last=lease.first, tally=Tally(succeeded=1, items=1))
    inside_out = Segment(first=lease.first, last=lease.first - 1, tally=Tally())
    target.exchange(one.epoch, Report(segments=(half, half, half, half, inside_out)), 0)
    assert target.wait(0) is None
    assert target.progress().succeeded == 1
