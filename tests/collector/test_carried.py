"""What is carried over a reload arrives as it was, also in a collector of another version."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.aggregate import Aggregate
from collector.carried import Carried, Held, Stream
from collector.statsd import Dialect

FINITE = st.floats(-1e100, 1e100)
GAUGES = st.dictionaries(st.text(), FINITE, max_size=5)
STREAMS = st.builds(
    Stream,
    st.integers(0, 1000),
    st.builds(Dialect, st.sampled_from(["delta", "value"]), st.sampled_from(["none", "influx"])),
    st.binary(),
    st.booleans(),
)


DROPS = st.dictionaries(st.integers(0), st.integers(0), max_size=3)


@given(st.tuples(FINITE, FINITE), GAUGES, st.lists(STREAMS, max_size=3), DROPS)
def test_everything_arrives_as_it_was(ended, gauges, streams, drops):
    carried = Carried(ended, Held(gauges, dict.fromkeys(gauges, 5.0)), streams, drops, (7, 4242))
    assert Carried.from_json(json.loads(json.dumps(carried.as_json()))) == carried


def test_what_another_version_does_not_say_is_as_at_a_start():
    assert Carried.from_json({"ended": [10, 2], "later": "?"}) == Carried((10.0, 2.0), Held(), [], {}, None)


@pytest.mark.parametrize("stored", [{}, {"ended": 1}, {"ended": [1, 2], "streams": [[1]]}, []])
def test_what_is_malformed_is_an_error_that_can_be_caught(stored):
    with pytest.raises((ValueError, LookupError, TypeError)):
        Carried.from_json(stored)


def handed_on(before: Aggregate, ended_at: float) -> Held:
    stored = Carried((ended_at, 0.0), before.held()).as_json()
    return Carried.from_json(json.loads(json.dumps(stored))).held


def test_gauges_live_on_and_deltas_move_them():
    before = Aggregate(10)
    before.add(("gauge", "temp", 1.0), 20.0)
    before.close(10.0)
    after = Aggregate(10, None, handed_on(before, 10.0))
    after.add(("gauge", "temp", 1.0), 2.0, delta=True)
    assert after.close(20.0).gauges == {"temp": 22.0}


def test_a_gauge_expires_as_if_nothing_had_been_reloaded():
    before = Aggregate(10, 30)
    before.add(("gauge", "temp", 1.0), 20.0)
    before.close(10.0)
    before.close(20.0)
    after = Aggregate(10, 30, handed_on(before, 20.0))
    assert after.close(30.0).gauges == {"temp": 20.0}
    assert after.close(40.0).gauges == {}


def test_gauges_that_begin_to_expire_at_a_reload_count_from_the_window_before_it():
    before = Aggregate(10)
    before.add(("gauge", "temp", 1.0), 20.0)
    before.close(100.0)
    after = Aggregate(10, 30, handed_on(before, 100.0))
    assert after.close(120.0).gauges == {"temp": 20.0}
    after.close(130.0)
    assert after.close(140.0).gauges == {}
