"""Several workers' shares are one window: what one process would have made of the same lines in the same order."""

import math

from hypothesis import example, given
from hypothesis import strategies as st

from collector.aggregate import OVERFLOW, Aggregate
from collector.sketch import EXACT
from collector.tally import Tally
from collector.workers.merge import Merge
from collector.workers.parcel import Parcels, pieces
from collector.workers.share import Sharing

QUANTILES = (0.5, 0.9, 0.99)


class Crew:
    """Workers whose shares travel as they do between processes, one instant per line."""

    def __init__(self, workers, max_series=1000, gauge_expiry_s=None):
        self.sharing = [Sharing(max_series) for _ in range(workers)]
        self.tallies = [Tally() for _ in range(workers)]
        self.merge = Merge(Aggregate(max_series, gauge_expiry_s))
        self.now = 0.0

    def take(self, worker, line):
        self.now += 1
        self.tallies[worker].fold([line], self.sharing[worker])
        self.sharing[worker].turned(self.now)

    def share(self, worker):
        parcels = Parcels()
        (share,) = parcels.take(b"".join(pieces(self.sharing[worker].give())))
        return share

    def close(self, workers=None, end=10.0):
        self.merge.take([self.share(each) for each in (range(len(self.sharing)) if workers is None else workers)])
        return self.merge.into.close(end)


class Alone:
    """The same lines in one process."""

    def __init__(self, max_series=1000, gauge_expiry_s=None):
        self.aggregate, self.tally = Aggregate(max_series, gauge_expiry_s), Tally()

    def take(self, _worker, line):
        self.tally.fold([line], self.aggregate)

    def close(self, end=10.0):
        return self.aggregate.close(end)


def said(closed):
    """All that a window says, in an order of its own, sums rounded."""

    def rounded(value):
        return float(f"{value:.9g}") if isinstance(value, float) else value

    points = {
        (each.type, each.name, *sorted(each.tags.items())): {name: rounded(v) for name, v in each.values.items()}
        for each in closed.points(QUANTILES)
    }
    notices = [(each.name, each.values) for each in closed.notices]
    counts = closed.datagrams, closed.lines, closed.accepted, dict(closed.rejected), closed.series, closed.overflowed
    return points, notices, counts


def lines_for(worker):
    """Lines of every kind; gauges so that their order is that of one worker, or that of instants."""
    numbers = st.integers(-99, 99)
    return st.one_of(
        st.sampled_from([b"hits:1|c", b"hits:3|c|@0.5", b"other:2|c|#a:b", b"", b"bad", b"bad:x|c", b"nl:1|c\n"]),
        st.builds(b"lat:%d|ms".__mod__, numbers),
        st.builds(b"lat:%d|ms|@0.1".__mod__, numbers),
        st.builds(b"who:%d|s".__mod__, st.integers(0, 5)),
        st.sampled_from([b"_sc|db.up|%d" % status for status in range(4)]),
        st.builds(b"set by all:%d|g".__mod__, st.integers(0, 99)),
        st.builds(b"moved by all:%+d|g".__mod__, numbers),
        st.builds((b"of %d:%%d|g" % worker).__mod__, st.integers(0, 99)),
        st.builds((b"of %d:%%+d|g" % worker).__mod__, numbers),
    )


steps = st.lists(
    st.one_of(
        st.integers(0, 2).flatmap(lambda worker: st.tuples(st.just(worker), lines_for(worker))),
        st.just(None),  # a window's end
    ),
    max_size=120,
)


@given(steps)
def test_windows_of_three_workers_are_those_of_one_process(taken):
    crew, alone = Crew(3), Alone()
    for each in (*taken, None):
        if each is not None:
            crew.take(*each)
            alone.take(*each)
        else:
            assert said(crew.close()) == said(alone.close())


@example([(worker, 1.5 + turn, rate) for turn in range(12) for worker in (0, 1) for rate in (b"", b"|@0.5")])
@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0.001, 1e6), st.sampled_from([b"", b"|@0.5"])), max_size=40))
def test_timers_of_any_size_merge_as_if_all_values_had_come_to_one(taken):
    crew, alone = Crew(2), Alone()
    for worker, value, rate in taken:
        for number in range(EXACT // 8):
            line = b"lat:%.3f|ms%s" % (value + number, rate)
            crew.take(worker, line)
            alone.take(worker, line)
    (ours,), (theirs,) = ([each.values for each in one.close().points(QUANTILES)] or [{}] for one in (crew, alone))
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        if name != "sketch":
            assert math.isclose(value, theirs[name], rel_tol=1e-9, abs_tol=1e-6), name
    assert dict(ours.get("sketch", {}).get("bins", ())).keys() == dict(theirs.get("sketch", {}).get("bins", ())).keys()


def test_large_sets_unite():
    crew, alone = Crew(2), Alone()
    for number in range(24_000):
        for worker in {number % 2, int(number % 100 == 0)}:
            crew.take(worker, b"who:%d|s" % number)
        alone.take(0, b"who:%d|s" % number)
    assert crew.close().sets["who"].count() == alone.close().sets["who"].count()


def test_a_share_that_comes_windows_later_loses_nothing_and_sets_no_gauge_back():
    crew = Crew(2)
    crew.take(0, b"level:1|g")
    crew.take(0, b"hits:5|c")
    crew.take(0, b"only here:7|g")
    crew.take(1, b"level:2|g")
    assert crew.close([1]).gauges == {"level": 2.0}
    crew.take(1, b"hits:1|c")
    late = crew.close()
    assert late.gauges == {"level": 2.0, "only here": 7.0}
    assert late.counters == {"hits": 6.0}
    assert late.lines == 4


def test_a_gauge_that_is_set_here_and_moved_there_counts_what_came_after():
    crew = Crew(2)
    crew.take(0, b"level:+5|g")
    crew.take(1, b"level:10|g")
    assert crew.close().gauges == {"level": 10.0}  # not 15: it was moved before it was set
    crew.take(0, b"level:+1|g")
    assert crew.close().gauges == {"level": 11.0}
    crew.take(1, b"level:-9|g")
    crew.take(1, b"level:20|g")
    crew.take(1, b"level:-1|g")
    crew.take(0, b"level:+3|g")
    assert crew.close().gauges == {"level": 22.0}


def test_of_a_check_the_latest_status_stands_last_whichever_worker_had_it():
    crew = Crew(2)
    for worker, status in ((1, 0), (0, 2), (1, 0)):
        crew.take(worker, b"_sc|db.up|%d" % status)
    assert [(each.values["value"], each.values["count"]) for each in crew.close().notices] == [(2, 1), (0, 2)]


def test_of_gauges_that_come_and_go_no_more_is_remembered_than_of_those_that_are_held(monkeypatch):
    monkeypatch.setattr("collector.workers.merge.SPARE", 5)
    crew = Crew(2, max_series=10, gauge_expiry_s=10)
    for window in range(20):
        crew.take(0, b"stays:0|g")
        for number in range(20):
            crew.take(number % 2, b"g%d.%d:1|g" % (window, number))
        crew.take(0, b"stays:%d|g" % window)
        assert crew.close(end=10.0 * window).gauges["stays"] == window
        assert len(crew.merge.set_at) <= 2 * 10 + 5 + 22


def test_a_gauge_expires_as_in_one_process():
    crew = Crew(2, gauge_expiry_s=15)
    crew.take(0, b"a:1|g")
    assert crew.close(end=10.0).gauges == {"a": 1.0}
    assert crew.close(end=20.0).gauges == {"a": 1.0}
    assert crew.close(end=30.0).gauges == {}


def test_series_are_bounded_over_all_workers_and_what_has_no_room_is_counted():
    crew = Crew(2, max_series=10)
    for number in range(8):
        crew.take(0, b"a%d:1|c" % number)
        crew.take(1, b"b%d:1|c" % number)
    closed = crew.close()
    assert len(closed.cells) == 11
    assert closed.counters[OVERFLOW] == 6.0
    assert sum(closed.counters.values()) == 16.0
    assert closed.overflowed == 6


def test_gauges_without_room_at_a_worker_count_as_in_one_process():
    for max_series in (1, 3):
        crew, alone = Crew(2, max_series), Alone(max_series)
        for number in range(5):
            for each in (crew, alone):
                each.take(number % 2, b"a%d:5|g" % number)
                each.take(number % 2, b"b%d:+1|g" % number)
        ours, expected = crew.close(), alone.close()
        assert ours.overflowed == sum(ours.overflowed_by.values()) == expected.overflowed
        assert ours.overflowed_by.keys() == {"a*", "b*"}


def test_what_overflowed_at_a_worker_takes_no_place_of_the_merged_window():
    crew = Crew(2, max_series=1)
    crew.merge = Merge(Aggregate(2))
    crew.take(0, b"a:1|g")
    crew.take(0, b"b:2|g")
    crew.take(1, b"c:3|g")
    closed = crew.close()
    assert closed.gauges == {"a": 1.0, OVERFLOW: 2.0, "c": 3.0}
    assert closed.overflowed == 1


def test_notices_beyond_the_bound_are_rejected_and_counted(monkeypatch):
    monkeypatch.setattr("collector.notices.MOST_NOTICES", 3)
    crew = Crew(2)
    for number in range(3):
        for worker in range(2):
            crew.take(worker, b"_sc|check%d.%d|0" % (worker, number))
            crew.take(worker, b"_sc|check%d.%d|0" % (worker, number))
    closed = crew.close()
    assert len(closed.notices) == 3
    assert (closed.lines, closed.accepted) == (12, 6)
    assert dict(closed.rejected) == {"too_many_notices": 6}
