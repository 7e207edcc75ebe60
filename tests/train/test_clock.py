import pytest

from mnet_jax.train import clock
from mnet_jax.train.clock import Clock, Stopwatch


class Time:
    """A clock that moves only where a test says so; stands for the module `time`."""

    now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def time(monkeypatch):
    monkeypatch.setattr(clock, "time", now := Time())
    return now


class Array:
    """On a device that needs some seconds for it."""

    def __init__(self, time, seconds):
        self._time, self._left = time, seconds
        self.is_waited_for = False

    def block_until_ready(self):
        self._time.now += self._left
        self._left, self.is_waited_for = 0.0, True
        return self


def test_a_few_steps_after_a_start_and_an_evaluation_are_timed(time):
    stopwatch = Stopwatch()

    def timed(steps):
        found = []
        for step in range(steps):
            stopwatch.next_step()
            _, seconds = stopwatch.run(lambda _: [Array(time, 1.0)], None)
            found += [step] if seconds is not None else []
        return found

    assert timed(7) == [1, 2, 3]
    stopwatch.restart()
    assert timed(3) == [1, 2]


def test_the_wait_for_the_batch_and_for_other_trials_is_charged_to_nobody(time):
    stopwatch = Stopwatch()
    stopwatch.next_step()
    late, busy = Array(time, 5.0), Array(time, 7.0)
    stopwatch.next_step(late, [busy])
    assert late.is_waited_for
    assert busy.is_waited_for
    seconds = [stopwatch.run(lambda _: [Array(time, 2.0)], late)[1] for _ in range(2)]
    assert seconds == [2.0, 2.0]


def test_a_step_that_is_not_timed_waits_for_nothing(time):
    stopwatch = Stopwatch()
    batch = Array(time, 5.0)
    stopwatch.next_step(batch)
    updates, seconds = stopwatch.run(lambda _: [Array(time, 2.0)], batch)
    assert (batch.is_waited_for, updates[0].is_waited_for, seconds) == (False, False, None)


def test_replicates_share_the_seconds_of_their_step(time):
    stopwatch = Stopwatch()
    stopwatch.next_step()
    stopwatch.next_step()
    assert stopwatch.run(lambda _: [Array(time, 2.0), Array(time, 4.0)], None)[1] == 3.0


def test_every_unit_is_first_in_turn_in_steps_that_are_timed():
    stopwatch = Stopwatch()
    firsts = []
    for _ in range(4):
        stopwatch.next_step()
        order = stopwatch.in_turn(["a", "b", "c"])
        assert sorted(order) == ["a", "b", "c"]
        firsts.append(order[0])
    assert firsts[0] == "a", "this step is not timed"
    assert sorted(firsts[1:]) == ["a", "b", "c"]
    assert stopwatch.in_turn([]) == []


def test_a_clock_adds_up_laps_and_leaves_out_what_came_before_its_start(time):
    kept = Clock(images=64, train_seconds=2.0, wall_seconds=30.0)
    assert kept.images_per_second() == 32.0
    time.now += 1000
    kept.start()
    time.now += 4
    assert kept.lap() == 4.0
    time.now += 1
    assert kept.lap() == 1.0
    kept.count(36, 8.0)
    assert (kept.images_per_second(), kept.wall_seconds) == (10.0, 35.0)
    assert Clock().images_per_second() is None
