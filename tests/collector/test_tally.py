"""Folding many lines at once is the same as taking them one by one."""

import math
from itertools import repeat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import collector.tally
from collector.aggregate import OVERFLOW, Aggregate, series_key, series_parts
from collector.known import MOST, Sums
from collector.notices import Notice
from collector.rules import MOST_NOTICES, Rejection
from collector.statsd import STATSD, Dialect, parse
from collector.tally import Tally

QUANTILES = (0.5, 0.99)


VALUES = Dialect(gauges="value")
INFLUX = Dialect(tags="influx")


def fold(*datagrams, dialect=STATSD, max_series=1000):
    aggregate = Aggregate(max_series)
    Tally(dialect).fold(datagrams, aggregate)
    return aggregate.close(0.0)


def points(closed):
    return {(p.name, p.type, tuple(sorted(p.tags.items()))): p.values for p in closed.points(QUANTILES)}


def naive(lines, dialect=STATSD):
    """What each series should be, one line after the other, with no memo, no counting and no sketch."""
    counters, gauges, timers, sets, notices = {}, {}, {}, {}, {}
    accepted, rejected = 0, 0
    for line in lines:
        parsed = parse(line, dialect)
        if isinstance(parsed, Rejection):
            rejected += 1
            continue
        if isinstance(parsed, Notice):
            accepted += 1
            key = (parsed.name, parsed.kind, parsed.tags)
            notices[key] = notices.get(key, 0) + 1
            continue
        accepted += bool(parsed)
        for sample in parsed:
            key = (sample.name, sample.kind, sample.tags)
            for value in sample.values:
                if sample.kind == "counter":
                    counters[key] = counters.get(key, 0.0) + value / sample.rate
                elif sample.kind == "gauge":
                    gauges[key] = gauges.get(key, 0.0) + value if sample.delta else value
                elif sample.kind == "timer":
                    timers.setdefault(key, []).append((value, 1 / sample.rate))
                else:
                    sets.setdefault(key, set()).add(value)
    return accepted, rejected, counters, gauges, timers, sets, notices


number = st.one_of(st.integers(-50, 50).map(str), st.sampled_from(["0.5", "+3", "-4", "1e2", "x", "", "1_0", "nan"]))
kind = st.sampled_from(["c", "g", "g", "ms", "s", "q"])
tail = st.sampled_from(["", "", "|@0.5", "|#a:b", "|#a:b|@0.25", "|@7", "|c:x", ":2|c"])
line = st.one_of(
    st.builds("{}:{}|{}{}".format, st.sampled_from("ab"), number, kind, tail).map(str.encode),
    st.sampled_from(
        [
            b"a,k=v:1|c",
            b"a,k=v:2|g|#k:w",
            b"",
            b"a:1:2:3|g",
            b"a:+1:7:-2|g",
            b"_e{1,1}:a|b",
            b"_sc|a|0",
            b"\xff",
            b"a:1|c\r",
            b" a:1|c",
        ]
    ),
)


@settings(max_examples=300)
@given(
    st.lists(st.lists(st.lists(line, max_size=6), max_size=6), max_size=4), st.sampled_from([STATSD, VALUES, INFLUX])
)
def test_the_window_is_what_taking_line_by_line_gives(turns, dialect):
    aggregate, tally = Aggregate(1000), Tally(dialect)
    for turn in turns:
        tally.fold([b"\n".join(datagram) for datagram in turn], aggregate)
    closed = aggregate.close(0.0)
    flat = [each for turn in turns for datagram in turn for each in datagram]
    accepted, rejected, counters, gauges, timers, sets, notices = naive(flat, dialect)
    assert closed.accepted == accepted
    assert sum(closed.rejected.values()) == rejected
    assert closed.lines == accepted + rejected == sum(1 for each in flat if each.strip())
    found = points(closed)
    assert set(found) == set(counters) | set(gauges) | set(timers) | set(sets) | set(notices)
    for key, times in notices.items():
        assert found[key]["count"] == times
    for key, value in (counters | gauges).items():
        assert found[key]["value"] == pytest.approx(value, abs=1e-9)
    for key, members in sets.items():
        assert found[key]["value"] == len(members)
    for key, samples in timers.items():
        count = sum(weight for _, weight in samples)
        assert found[key]["count"] == count
        assert found[key]["sum"] == pytest.approx(sum(v * w for v, w in samples), abs=1e-9)
        assert found[key]["max"] == max(v for v, _ in samples)


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_any_bytes_are_accounted_for(datagrams):
    closed = fold(*datagrams)
    assert closed.lines == sum(1 for each in b"\n".join(datagrams).split(b"\n") if each.strip())
    assert closed.lines == closed.accepted + sum(closed.rejected.values())


def test_gauges_keep_their_order_across_the_datagrams_of_one_turn():
    closed = fold(b"g:5|g\nh:1|g", b"g:7|g\ng:+1|g", b"g:5|g\nh:+1|g", b"g:+1|g\nh:+1|g")
    assert closed.gauges == {"g": 6.0, "h": 3.0}


def test_identical_deltas_all_count():
    assert fold(*[b"g:+1|g"] * 7).gauges == {"g": 7.0}


NUMBERS = [
    *("7", "007", "0", ".5", "5.", ".", "1.2.3", "12.345", "0.1", "-0", "-1.5", "+2", "1e3", "2.5e-3"),
    *("9007199254740993", "1.7976931348623157"),
]
LONG = [
    *("9" * 64, "9" * 65, "9" * 101, "1" + "0" * 100, "1" + "0" * 308, "9" * 400),
    *("0" * 200, "0" * 5000 + "1", "0" * 9_000 + "7", "0.1" * 99),
]


@pytest.mark.parametrize("ending", ["ms", "c", "g", "c|@0.5", "ms|@0.5"])
@pytest.mark.parametrize("written", [*NUMBERS, *LONG], ids=lambda each: each[:20])
def test_a_number_is_read_alike_in_a_line_that_is_known(written, ending):
    lines = [f"a:125|{ending}".encode()] * 3 + [f"a:{written}|{ending}".encode()]  # parsed, remembered, known
    accepted, rejected, counters, gauges, timers, *_ = naive(lines)
    closed = fold(*lines)
    assert (closed.accepted, sum(closed.rejected.values())) == (accepted, rejected)
    assert closed.counters == {name: value for (name, *_), value in counters.items()}
    assert closed.gauges == {name: value for (name, *_), value in gauges.items()}
    for point in closed.points(QUANTILES) if timers else ():
        values = [value for each in timers.values() for value, _ in each]
        assert (point.values["min"], point.values["max"]) == (min(values), max(values))


def test_a_number_that_a_known_line_cannot_have_is_still_rejected():
    closed = fold(b"a:1|ms", b"a:1_0|ms\na:nan|ms\na:1e400|ms\na: 2|ms\na:|ms", b"a:" + b"0" * 9000 + b"|ms")
    assert closed.accepted == 1
    assert closed.rejected == {"bad_value": 4, "empty_value": 1, "line_too_long": 1}


def test_a_full_memo_begins_anew_and_changes_no_result(monkeypatch):
    monkeypatch.setattr(collector.tally, "MEMO_LINES", 3)
    datagram = b"\n".join(b"c%d:1|c\nt%d:%d|ms" % (n, n, n) for n in range(10))
    aggregate, tally = Aggregate(1000), Tally()
    tally.fold([datagram, datagram], aggregate)
    tally.fold([datagram], aggregate)
    closed = aggregate.close(0.0)
    assert closed.accepted == 60
    assert closed.counters == {f"c{n}": 3.0 for n in range(10)}


def names_known(aggregate):
    return sum(len(names) for known in aggregate.known.values() for _, names, _ in known.endings.values())


def test_what_a_window_knows_of_timers_and_gauges_is_bounded_too(monkeypatch):
    monkeypatch.setattr(collector.tally, "MEMO_LINES", 50)
    aggregate, tally = Aggregate(1000), Tally()
    for end in (0.0, 10.0):
        for n in range(200):
            lines = [b"t%d:1.5|ms|#n:%d" % (n, n), b"t%d:1.5|ms" % n, b"g%d:1.5|g" % n, b"g:1.5|g|#n:%d" % n]
            tally.fold(lines * 3, aggregate)
            assert len(aggregate.known[tally._dialect]) == names_known(aggregate) <= 50
        closed = aggregate.close(end)
        assert closed.accepted == 200 * 12
        assert {each.summary([])["count"] for each in closed.timers.values()} == {3}
        assert len(aggregate.known[tally._dialect]) == names_known(aggregate)


def test_gauges_that_expired_are_not_known_any_more_and_others_are():
    aggregate, tally = Aggregate(1000, gauge_expiry_s=15.0), Tally()
    tally.fold([b"a:125|g\nb:125|g\nc:125|g|#k:v"] * 3, aggregate)
    aggregate.close(0.0)
    tally.fold([b"a:7|g"], aggregate)
    assert names_known(aggregate) == 3
    assert aggregate.close(10.0).gauges == {"a": 7.0, "b": 125.0, "c\0k\0v": 125.0}
    aggregate.close(20.0)
    assert names_known(aggregate) == len(aggregate.known[tally._dialect]) == 1
    tally.fold([b"a:8|g\nb:9|g"], aggregate)
    assert aggregate.close(21.0).gauges == {"a": 8.0, "b": 9.0}


def test_windows_that_are_kept_take_no_more_than_what_came_in_them():
    aggregate, tally = Aggregate(100_000), Tally()
    tally.fold([b"a:1|c|T%d\nb%d:1|c" % (n, n) for n in range(1_000)] * 2, aggregate)
    counted = []
    for window in range(4):
        closed = aggregate.close(10.0 * window)
        counted.append(sum(len(lines) for lines, _ in closed.cells._counted))
        assert closed.counters.get("a", 0.0) == (2_000.0, 1.0, 0.0, 0.0)[window]
        if window == 0:
            tally.fold([b"a:1|c|T0"], aggregate)
    assert counted == [2_000, 1, 0, 0]
    assert len(aggregate.known[tally._dialect].counted) == 2_000, "a client that pauses is known when it comes again"


def test_events_and_checks_are_accepted_and_the_same_one_is_one_point():
    closed = fold(b"_e{1,1}:a|b\n_sc|a|0\n_e{9,9}:a", b"_e{1,1}:a|b|#k:v\n_e{1,1}:a|b")
    assert (closed.lines, closed.accepted, closed.rejected) == (5, 4, {"bad_event": 1})
    assert [(p.type, p.tags, p.values["count"]) for p in closed.points([])] == [
        ("service_check", {}, 1),
        ("event", {"k": "v"}, 1),
        ("event", {}, 2),
    ]
    assert len(closed) == 3
    assert closed.series == 0


def test_events_beyond_what_a_window_takes_are_rejected_and_counted():
    closed = fold(*[b"_e{4,1}:%04d|b" % n for n in range(MOST_NOTICES + 7)], b"_e{4,1}:0000|b\nc:1|c")
    assert closed.rejected == {"too_many_notices": 7}
    assert (len(closed.notices), closed.accepted) == (MOST_NOTICES, MOST_NOTICES + 2)


def test_series_beyond_the_limit_go_into_one_per_type_and_are_counted():
    closed = fold(b"a:1|c\nb:1|c\nc:2|c\nd:3|c\na:1|c", b"t:1|ms\nt:2|ms\ng:5|g\ns:x|s\ns:y|s", max_series=2)
    assert closed.counters == {"a": 2.0, "b": 1.0, OVERFLOW: 5.0}
    assert closed.timers[OVERFLOW].summary([])["count"] == 2
    assert closed.gauges == {OVERFLOW: 5.0}
    assert closed.sets[OVERFLOW].count() == 2
    assert closed.overflowed == 7
    assert closed.accepted == closed.lines == 10


def test_the_overflow_gauge_is_not_held_for_the_next_window():
    aggregate, tally = Aggregate(1), Tally()
    tally.fold([b"g:5|g\nh:6|g"], aggregate)
    assert aggregate.close(10.0).gauges == {"g": 5.0, OVERFLOW: 6.0}
    assert aggregate.close(20.0).gauges == {"g": 5.0}


def test_a_counter_starts_anew_in_each_window_and_a_gauge_stays():
    aggregate, tally = Aggregate(1000), Tally()
    tally.fold([b"c:1|c\ng:5|g"], aggregate)
    aggregate.close(10.0)
    assert aggregate.close(20.0).gauges == {"g": 5.0}
    tally.fold([b"c:1|c\ng:+1|g"], aggregate)
    closed = aggregate.close(30.0)
    assert (closed.counters, closed.gauges) == ({"c": 1.0}, {"g": 6.0})


def test_a_gauge_expires_when_it_was_not_set_for_long_enough():
    aggregate, tally = Aggregate(1000, gauge_expiry_s=20), Tally()
    tally.fold([b"g:5|g\nh:1|g"], aggregate)
    assert set(aggregate.close(10.0).gauges) == {"g", "h"}
    tally.fold([b"h:1|g"], aggregate)
    assert set(aggregate.close(20.0).gauges) == {"g", "h"}
    assert set(aggregate.close(30.0).gauges) == {"h"}
    assert set(aggregate.close(40.0).gauges) == set()


def test_held_gauges_count_against_the_limit_once():
    aggregate, tally = Aggregate(2), Tally()
    tally.fold([b"g:5|g\nc:1|c"], aggregate)
    aggregate.close(10.0)
    tally.fold([b"g:6|g\nc:1|c\nd:1|c"], aggregate)
    closed = aggregate.close(20.0)
    assert closed.gauges == {"g": 6.0}
    assert closed.counters == {"c": 1.0, OVERFLOW: 1.0}


def test_the_largest_values_cannot_overflow():
    closed = fold(b"\n".join([b"c:1e100|c|@1e-9", b"t:1e100:-1e100|ms|@1e-9", b"g:1e100|g"] * 500))
    for values in points(closed).values():
        assert all(math.isfinite(each) for stat, each in values.items() if stat != "sketch")


@given(st.text("ab", min_size=1), st.dictionaries(st.text("kv", min_size=1), st.text("xy")))
def test_a_series_key_can_be_read_back(name, tags):
    assert series_parts(series_key(name, sorted(tags.items()))) == (name, tags)


def test_a_new_name_before_a_known_ending_means_what_parsing_says():
    endings = [b"1|c", b"2|c|@0.5", b"3|ms|#env:prod,a", b"4|g", b"+1|g", b"5|c\r", b"x|s", b"1|c|T1700000000"]
    names = [
        b"web.hits",
        b"9-a_b",
        b"holdfast.lines",
        b"_e{1,1}",
        b" a",
        b"",
        b"a b",
        b"\xc3\xa9",
        b"\xff",
        b"a\x01",
        b"a" * 1100,
    ]
    lines = [name + b":" + ending for name in [b"first", *names] for ending in endings]
    accepted, rejected, counters, gauges, timers, sets, notices = naive(lines)
    closed = fold(b"\n".join(lines))
    assert (closed.accepted, sum(closed.rejected.values())) == (accepted, rejected)
    found = points(closed)
    assert set(found) == set(counters) | set(gauges) | set(timers) | set(sets) | set(notices)
    assert {key: found[key]["value"] for key in counters | gauges} == counters | gauges


def test_a_line_of_either_dialect_means_its_own_in_the_same_window():
    aggregate = Aggregate(1000)
    etsy, dogstatsd = Tally(), Tally(VALUES)
    for _ in range(3):
        etsy.fold([b"e:+2|g\nc:1|c"], aggregate)
        dogstatsd.fold([b"d:+2|g\nc:1|c"], aggregate)
    closed = aggregate.close(0.0)
    assert (closed.gauges, closed.counters) == ({"e": 6.0, "d": 2.0}, {"c": 6.0})


def test_what_is_only_counted_is_added_up_in_its_own_window():
    aggregate, tally = Aggregate(1000), Tally()
    for lines in (3, 5, 0, 2):
        tally.fold([b"c:1|c\nbad\n\n"] * lines, aggregate)
        closed = aggregate.close(0.0)
        assert closed.counters == ({"c": float(lines)} if lines else {})
        assert (closed.lines, closed.accepted, sum(closed.rejected.values())) == (2 * lines, lines, lines)


def test_who_looks_while_another_thread_adds_up_sees_all_that_was_counted():
    class Interrupted(dict):
        """Cells; whoever reads them first gives way to another thread, which gets done meanwhile."""

        def items(self):
            while self.others:
                seen.append(self.others.pop()())
            return super().items()

    cells, seen = Interrupted(c=[1.0]), []
    sums = Sums([({b"c:2|c": repeat(None, MOST - 3)}, {b"c:2|c": ("c", 2.0)})], cells)
    cells.others = [lambda: sums["c"]]
    assert [sums["c"], *seen, sums["c"]] == [[7.0]] * 3


def test_points_can_be_made_in_parts_and_again():
    aggregate = Aggregate(1000)
    Tally().fold([b"a:1|c\nb:1|c\ng:1|g\nh:2|g\nt:5|ms\nu:5|ms|#a:b\ns:x|s"], aggregate)
    closed = aggregate.close(0.0)
    everything = list(closed.points(QUANTILES))
    assert len(everything) == closed.series == 7
    for first in range(8):
        for last in range(first, 9):
            assert list(closed.points(QUANTILES, first, last)) == everything[first:last]


def test_a_counter_that_came_in_the_window_before_takes_no_place_from_one_that_comes():
    aggregate, tally = Aggregate(3), Tally()
    for round in range(4):  # all other names each time, and one that stays
        lines = [b"stays:1|c", *(b"r%dn%d:1|c" % (round, n) for n in range(2))]
        tally.fold([b"\n".join(lines * 2)], aggregate)
        closed = aggregate.close(0.0)
        assert closed.counters == {"stays": 2.0, f"r{round}n0": 2.0, f"r{round}n1": 2.0}
        assert closed.overflowed == 0
    tally.fold([b"a:1|c\nb:1|ms\nstays:1|c\nd:1|c\ne:1|s"], aggregate)
    closed = aggregate.close(0.0)
    assert (closed.series, closed.overflowed, closed.counters) == (5, 2, {"a": 1.0, "stays": 1.0, OVERFLOW: 1.0})


@given(st.lists(st.lists(st.sampled_from([b"a", b"b", b"c", b"d"]), max_size=8), max_size=8), st.integers(1, 4))
def test_what_one_window_knows_changes_nothing_for_the_next(windows, max_series):
    lasting, tally = Aggregate(max_series), Tally()
    for names in windows:
        lines = [name + ending for name in names for ending in (b":1|c", b":2|c|@0.5", b":100|c", b":7|ms")]
        tally.fold(lines, lasting)
        ours, alone = lasting.close(0.0), fold(*lines, max_series=max_series)
        assert (ours.counters, ours.overflowed) == (alone.counters, alone.overflowed)
        assert ours.timers.keys() == alone.timers.keys()


def test_a_datagram_of_a_thousand_lines_is_a_thousand_lines():
    closed = fold(b"\n".join(b"N%02d:1|c" % (n % 100) for n in range(1_000)))
    assert sum(closed.counters.values()) == closed.accepted == 1_000


def test_a_bad_line_spoils_none_beside_it():
    closed = fold(b"N:1|c\nbad\r\n" + b"x" * 4_000 + b":1|c\nN:2|c|@0\nN:1|c\n\n\xff\nN:1|c\n")
    assert closed.counters == {"N": 3.0}
    assert closed.rejected == {"no_value": 1, "name_too_long": 1, "bad_rate": 1, "not_utf8": 1}
