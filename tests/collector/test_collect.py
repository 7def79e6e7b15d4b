"""The hub under clocks that jump and stand still, and under more than it can take: virtual time, nothing sleeps."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.aggregate import Aggregate
from collector.collect import Collector
from collector.reception import TURN_DATAGRAMS, Reception
from collector.selfmetrics import Circumstances
from collector.statsd import STATSD
from collector.workers.standin import StandIn

HOUR_S, DAY_S = 3_600.0, 86_400.0
NOBODY = StandIn(list, 1, Aggregate(1))
TURN_S = 0.004
"""What a turn over as many datagrams as there may be in one takes here."""


class World:
    """Clocks, one socket's buffer, and a committer that keeps everything it is handed."""

    datagrams, dialect = True, STATSD
    least_room_bytes = 8 << 20
    commit_ms, waiting = None, 0

    def __init__(self, interval_s, happenings, *, flood_until=0.0):
        self.mono_now, self.offset_s = 100.0, 1_764_000_003.3
        self._coming = [(self.mono_now + sum(each[0] for each in happenings[: n + 1]), *each[1:])
                        for n, each in enumerate(happenings)]  # fmt: skip
        self._flood_until, self._buffer = self.mono_now + flood_until, []
        self.sent, self.finished, self.steps = 0, [], []
        intake = Reception(self, Aggregate(1_000), self.sleep)
        self.collector = Collector(interval_s, self, intake, self, wall=self.wall, mono=self.mono,
                                   wait=self.sleep, stand_in=NOBODY)  # fmt: skip
        self.collector.run()

    def mono(self):
        return self.mono_now

    def wall(self):
        return self.mono_now + self.offset_s

    def sleep(self, for_s):
        self._until(self.mono_now + for_s, stop_early=False)

    def wait(self, at_most_s):
        """The receiver's: until there is something, or nothing comes any more."""
        if not self._buffer and self.mono_now >= self._flood_until:
            if not self._coming:
                self.collector.stop()
            self._until(self.mono_now + at_most_s, stop_early=True)
        return [self] if self._buffer or self.mono_now < self._flood_until else []

    def _until(self, mono, stop_early):
        while self._coming and self._coming[0][0] <= mono:
            at, what, amount = self._coming.pop(0)
            self.mono_now = max(self.mono_now, at)
            if what == "lines":
                self._buffer += [b"c:1|c"] * amount
                self.sent += amount
                if stop_early:
                    return
            elif what == "stop":
                self.collector.stop()
            elif what == "step":
                self.offset_s += amount
                self.steps.append(self.wall())
            else:  # SIGSTOP: the clocks go on, and so does what comes
                mono = self.mono_now = max(mono, self.mono_now + amount)
        self.mono_now = max(self.mono_now, mono)

    def drain(self, limit):
        """The socket's."""
        self.emptied = self.mono_now >= self._flood_until and len(self._buffer) <= limit
        if self.mono_now < self._flood_until:
            self.sent += limit
            self._until(self.mono_now + TURN_S, stop_early=False)
            return [b"c:1|c"] * limit, 0
        taken, self._buffer = self._buffer[:limit], self._buffer[limit:]
        return taken, 0

    def hand_over(self, finished):
        """The committer's."""
        self.finished.append(finished)

    def close_idle(self): ...
    def close(self): ...
    def take_refused(self):
        return 0

    take_drops = take_shed = take_refused

    def spans(self):
        return [(each.bounds.start, each.bounds.end) for each in self.finished]


happening = st.one_of(
    st.tuples(st.floats(0, 30), st.just("lines"), st.integers(1, 3_000)),
    st.tuples(st.floats(0, 30), st.just("step"), st.sampled_from([HOUR_S, -HOUR_S, DAY_S, -DAY_S, 5.0, -5.0])),
    st.tuples(st.floats(0, 30), st.just("frozen"), st.sampled_from([0.5, 12.0, 61.0, 600.0])),
)


@settings(max_examples=150)
@given(st.sampled_from([1, 10, 60]), st.lists(happening, max_size=25))
def test_every_line_is_in_one_window_whatever_the_clocks_do(interval_s, happenings):
    world = World(interval_s, happenings)
    assert sum(each.closed.accepted for each in world.finished) == world.sent
    assert sum(each.closed.counters.get("c", 0.0) for each in world.finished) == world.sent
    spans = world.spans()
    assert all(start < end for start, end in spans)
    assert all(end % interval_s == 0 for _, end in spans[:-1])
    gaps = [(end, start) for (_, end), (start, _) in itertools.pairwise(spans) if not math.isclose(end, start)]
    assert len(gaps) <= len(world.steps), "only a step of the clock parts two windows"


def test_a_step_forwards_and_back_leaves_windows_whole():
    for step_s in (HOUR_S, -HOUR_S, DAY_S, -DAY_S):
        world = World(
            10, [(1, "lines", 5), (10, "step", step_s), (9, "lines", 7), (30, "step", -step_s), (30, "lines", 2)]
        )
        lengths = [end - start for start, end in world.spans()]
        assert world.sent == 14 == sum(each.closed.accepted for each in world.finished)
        assert all(length <= 10 for length in lengths)
        assert 7 <= len(lengths) <= 11, "no window is left out, none is made up, over the 80 s that passed"


def test_minutes_of_standing_still_make_one_long_window_with_true_bounds():
    world = World(10, [(12, "lines", 5), (1, "frozen", 300.0), (200, "lines", 7), (120, "lines", 1)])
    longest = max(world.finished, key=lambda each: each.bounds.end - each.bounds.start)
    assert 300 <= longest.bounds.end - longest.bounds.start <= 310
    assert (longest.closed.accepted, world.finished[-1].closed.accepted) == (12, 1)
    for (_, end), (start, _) in itertools.pairwise(world.spans()):
        assert end == start


def test_a_stop_takes_what_waits_for_a_moment_however_long_each_turn_of_a_flood_takes(monkeypatch):
    monkeypatch.setitem(World.drain.__globals__, "TURN_S", 0.06)  # 25 new series in each datagram
    world = World(10, [(5, "stop", 0)], flood_until=30.0)
    assert 105.3 <= world.mono_now <= 105.5
    assert sum(each.closed.accepted for each in world.finished) == world.sent


def test_windows_end_on_time_while_more_comes_than_can_be_taken():
    world = World(1, [], flood_until=30.0)
    assert world.sent >= 30 / TURN_S * TURN_DATAGRAMS * 0.9
    assert sum(each.closed.accepted for each in world.finished) == world.sent
    assert len(world.finished) in (31, 32)
    for earlier, later in itertools.pairwise(world.finished[1:-1]):
        assert later.bounds.end - earlier.bounds.end == 1
        assert later.closed.accepted <= 1.05 / TURN_S * TURN_DATAGRAMS, "a window has no more than came in its second"


class Reloading:
    """Clocks, an intake to which nothing comes, and a committer with so many windows that wait, in one.

    `commits`: what becomes of windows from the reload on; True, False, or None for a disk that says nothing.
    """

    commit_ms = None

    def __init__(self, waiting, stop_at, commits=True):
        self.waiting, self.now, self.stop_at = waiting, 1_000.3, 1_000.0 + stop_at
        self.commits, self.refused, self.went_on = commits, False, 0
        self.handed_over, self.window = [], Aggregate(1)
        self.collector = Collector(
            10, self, self, self, wall=self.clock, mono=self.clock, wait=self.turn, stand_in=NOBODY
        )
        self.collector.reload()
        self.reloads = self.collector.run()

    def clock(self):
        return self.now

    def turn(self, at_most_s):
        self.now += at_most_s + 0.001
        if self.now >= self.stop_at:
            self.collector.stop()
        return False

    def last_turns(self):
        pass

    def close(self, end):
        return self.window.close(end)

    def carry(self):
        return self.window.held(), ()

    def drops(self):
        return {3: 7}

    def take_drops(self):
        return 0

    def take_shed(self):
        return 0

    def circumstances(self):
        return Circumstances()

    def go_on(self):
        self.went_on += 1

    def hand_over(self, finished):
        self.handed_over.append(finished)
        self.waiting += not self.commits
        self.refused = self.commits is False


def test_a_reload_ends_the_window_and_the_next_begins_there():
    reloading = Reloading(waiting=0, stop_at=100)
    assert reloading.reloads
    (finished,) = reloading.handed_over
    assert finished.bounds.start == 1_000.3 and finished.bounds.partial
    carried = reloading.collector.carried()
    assert (carried.ended[0], carried.drops) == (finished.bounds.end, {3: 7})


def test_a_reload_is_given_up_while_windows_wait_for_the_spool(caplog):
    reloading = Reloading(waiting=1, stop_at=60)
    assert not reloading.reloads
    assert [each.message for each in caplog.records] == ["reload_refused"]
    ends = [each.bounds.end for each in reloading.handed_over]
    assert ends[:-1] == [1_010, 1_020, 1_030, 1_040, 1_050, 1_060], "nothing was cut, and it went on"


@pytest.mark.parametrize("commits", [False, None])
def test_a_reload_whose_last_window_the_disk_does_not_take_is_given_up_and_it_goes_on_from_there(caplog, commits):
    reloading = Reloading(waiting=0, stop_at=60, commits=commits)
    assert not reloading.reloads
    assert reloading.went_on == 1
    assert [each.message for each in caplog.records] == ["reload_refused"]
    spans = [(each.bounds.start, each.bounds.end) for each in reloading.handed_over]
    assert len(spans) == 8, "the one that was cut, and one for each boundary and the stop"
    assert all(before[1] == after[0] for before, after in itertools.pairwise(spans)), "none is missing"


def test_a_stop_while_the_disk_says_nothing_is_a_stop(caplog):
    reloading = Reloading(waiting=0, stop_at=2, commits=None)
    assert not reloading.reloads
    assert not caplog.records
    assert reloading.now < 1_003
