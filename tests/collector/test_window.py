"""Windows under clocks that step, drift and stand still: a fake clock, no sleeping."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.window import close, first, stop


def test_the_first_window_begins_now_and_ends_at_the_next_boundary():
    span = first(10, 1003.25, 50.0)
    assert (span.start, span.end, span.due_mono) == (1003.25, 1010.0, 56.75)
    bounds, following = close(span, 1010.0, 56.75)
    assert (bounds.start, bounds.end, bounds.partial) == (1003.25, 1010.0, True)
    assert (following.start, following.end, following.due_mono) == (1010.0, 1020.0, 66.75)


def test_a_start_on_a_boundary_makes_a_whole_window():
    span = first(10, 1010.0, 0.0)
    assert (span.start, span.end) == (1010.0, 1020.0)


def test_a_whole_window_is_not_partial():
    _, span = close(first(10, 1003.25, 50.0), 1010.0, 56.75)
    bounds, _ = close(span, 1020.02, 66.77)
    assert (bounds.start, bounds.end, bounds.partial) == (1010.0, 1020.0, False)


def test_lateness_does_not_accumulate():
    span = first(10, 1000.0, 0.0)
    mono = 0.0
    for n in range(100):
        mono = span.due_mono + 0.4  # each time closed late
        bounds, span = close(span, 1000.0 + mono, mono)
        assert (bounds.start, bounds.end) == (1000.0 + 10 * n, 1010.0 + 10 * n)
    assert span.due_mono == pytest.approx(1010.0)


def test_a_stopped_process_makes_one_long_window_with_true_bounds():
    span = first(10, 1000.0, 0.0)
    bounds, following = close(span, 1137.3, 137.3)
    assert (bounds.start, bounds.end, bounds.partial) == (1000.0, 1130.0, False)
    assert (following.start, following.end) == (1130.0, 1140.0)
    assert following.due_mono == pytest.approx(140.0)


@pytest.mark.parametrize("step", [3600.0, -3600.0, 1e6, 7.5, -7.5])
def test_a_step_of_the_clock_neither_loses_nor_merges_a_window(step):
    span = first(10, 1000.0, 0.0)
    bounds, span = close(span, 1010.0 + step, 10.0)  # the step came within the first window
    assert (bounds.start, bounds.end) == (1000.0, 1010.0)
    assert span.start == 1010.0 + step
    assert span.end % 10 == 0
    assert 10.0 < span.due_mono <= 20.0
    bounds, span = close(span, 1000.0 + step + span.due_mono, span.due_mono)
    assert bounds.end % 10 == 0
    assert span.end - span.start == 10


def test_a_stop_ends_the_window_where_it_is():
    bounds = stop(first(10, 1003.0, 0.0), 1005.5, 2.5)
    assert (bounds.start, bounds.end, bounds.partial) == (1003.0, 1005.5, True)


def test_a_stop_right_after_a_step_still_ends_after_it_began():
    bounds = stop(first(10, 1003.0, 0.0), 3.0, 2.5)
    assert (bounds.start, bounds.end) == (1003.0, 1005.5)


@given(
    st.integers(1, 3600),
    st.floats(1e9, 2e9),
    st.lists(
        st.tuples(st.floats(0, 500), st.sampled_from([0.0, 0.0, 0.0, 0.2, -0.2, 86_400.0, -86_400.0])), max_size=20
    ),
)
def test_windows_follow_each_other_whatever_the_clocks_do(interval_s, wall, happenings):
    offset, mono, stepped = wall, 0.0, False
    span = first(interval_s, offset + mono, mono)
    for late_s, step_s in happenings:
        offset += step_s
        mono = span.due_mono + late_s
        bounds, following = close(span, offset + mono, mono)
        stepped = abs(step_s) > 1
        assert bounds.start == span.start
        assert bounds.start < bounds.end
        assert bounds.end % interval_s == 0
        assert following.end % interval_s == 0
        assert following.due_mono > mono - 1.0
        if not stepped and step_s == 0.0:
            assert following.start == bounds.end or abs(following.start - (offset + mono)) < 1e-3
        assert following.end - following.start <= interval_s
        span = following
