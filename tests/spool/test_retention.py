"""What goes first, for which reason, and what a clock that jumps does to it: nothing."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spool.batch import State
from spool.config import SpoolConfig
from spool.retention import (
    ALLOWANCE_BYTES,
    NEXT_WINDOW_BYTES,
    ROW_BYTES,
    Eviction,
    Held,
    Newest,
    Reason,
    Space,
    Standing,
    age_s,
    losses,
    may_age,
    plan,
    standing,
    usual_length_s,
)

MIB = 1_048_576

ACKED, DEAD, UNSENT = Standing.ACKNOWLEDGED, Standing.DEAD, Standing.UNSENT
PLENTY = Space(used_bytes=0, reusable_bytes=0, free_bytes=2**40)
SIZE = 1_000 - ROW_BYTES


def limits(**changed):
    ages = dict.fromkeys(("max_age_unsent_s", "max_age_sent_s", "max_age_dead_s"), 10**9)
    return SpoolConfig(**{"max_bytes": 2**40, "disk_reserve_bytes": 0, **ages, **changed})


def held(number, stands=UNSENT, unsent_at=("main",), end=None, size=SIZE):
    """Batch `number` of window `number`; each of them takes 1,000 bytes."""
    end = 1_000_000 + 10 * number if end is None else end
    return Held(number, end - 10, end, number, 7, size, stands, unsent_at if stands is UNSENT else ())


def newest_of(batches):
    last = batches[-1]
    return Newest(last.window_seq, last.window_end, 10, last.payload_bytes)


def planned(batches, most=500, most_bytes=2**40, space=PLENTY, **changed):
    return [
        (each.held.id, str(each.reason))
        for each in plan(batches, newest_of(batches), limits(**changed), space, most, most_bytes)
    ]


def test_within_all_limits_nothing_goes():
    assert planned([held(n, ACKED) for n in range(1, 100)]) == []


@pytest.mark.parametrize(
    ("stands", "limit", "reason"),
    [
        (ACKED, "max_age_sent_s", "age_sent"),
        (DEAD, "max_age_dead_s", "age_dead"),
        (UNSENT, "max_age_unsent_s", "age_unsent"),
    ],
)
def test_each_standing_has_its_own_age_limit(stands, limit, reason):
    batches = [held(n, stands) for n in range(1, 11)]
    assert planned(batches, **{limit: 60}) == [(1, reason), (2, reason), (3, reason)]  # older than 60 s by labels


def test_acknowledged_go_before_dead_before_unsent_and_each_oldest_first():
    stands = [UNSENT, ACKED, DEAD, UNSENT, ACKED, DEAD, UNSENT]
    batches = [held(n, each) for n, each in enumerate(stands, start=1)]
    full = Space(used_bytes=100_000, reusable_bytes=0, free_bytes=2**40)
    assert planned(batches, space=full, max_bytes=4_194_304) == []
    over = replace(full, used_bytes=4_194_304)
    assert planned(batches, space=over, max_bytes=4_194_304) == [
        *[(2, "size"), (5, "size"), (3, "size_dead"), (6, "size_dead"), (1, "size"), (4, "size")]
    ]  # 7 is the newest window


def test_no_more_goes_than_brings_the_size_under_its_limit():
    batches = [held(n) for n in range(1, 50)]
    over = Space(used_bytes=int(4_194_304 * 15 / 16) + 2_500, reusable_bytes=0, free_bytes=2**40)
    assert planned(batches, space=over, max_bytes=4_194_304) == [(1, "size"), (2, "size"), (3, "size")]


def test_what_goes_by_age_counts_towards_the_size():
    batches = [held(1, UNSENT), held(2, ACKED), *(held(n) for n in range(3, 12))]
    over = Space(used_bytes=int(4_194_304 * 15 / 16) + 900, reusable_bytes=0, free_bytes=2**40)
    assert planned(batches, space=over, max_bytes=4_194_304, max_age_unsent_s=95) == [(1, "age_unsent")]


def test_the_newest_window_never_goes_with_none_of_its_batches():
    batches = [held(1), replace(held(2), id=2), replace(held(2), id=3)]
    assert planned(batches, space=Space(2**50, 0, 0), max_age_unsent_s=60) == [(1, "size")]


def test_for_the_disk_reserve_sent_batches_make_up_the_whole_shortage():
    batches = [held(n, ACKED) for n in range(1, 50)]
    low = Space(used_bytes=0, reusable_bytes=0, free_bytes=10_000_000 - 4_500)
    assert planned(batches, space=low, disk_reserve_bytes=10_000_000) == [(n, "disk_reserve") for n in range(1, 6)]


def test_for_the_disk_reserve_unsent_batches_only_make_room_for_the_next_window():
    batches = [held(n, size=100_000 - ROW_BYTES) for n in range(1, 50)]
    full = Space(used_bytes=0, reusable_bytes=NEXT_WINDOW_BYTES - 150_000, free_bytes=0)
    assert planned(batches, space=full, disk_reserve_bytes=2**30) == [(1, "disk_reserve"), (2, "disk_reserve")]
    stopped_growing = replace(full, reusable_bytes=NEXT_WINDOW_BYTES)
    assert planned(batches, space=stopped_growing, disk_reserve_bytes=2**30) == []


def test_a_host_that_never_had_the_reserve_free_keeps_what_an_outage_leaves_unsent():
    batches = [held(n, size=2_000) for n in range(1, 50)]
    low = Space(used_bytes=8 * MIB, reusable_bytes=0, free_bytes=25 * MIB)
    assert planned(batches, space=low, disk_reserve_bytes=512 * MIB) == []
    larger = replace(low, used_bytes=ALLOWANCE_BYTES + 100_000)
    large = [held(n, size=100_000) for n in range(1, 500)]
    assert planned(large, space=larger, disk_reserve_bytes=512 * MIB) == [(1, "disk_reserve")]


def test_a_full_disk_takes_no_unsent_batch_whose_room_would_not_help():
    batches = [held(n, size=2_000) for n in range(1, 50)]
    assert planned(batches, space=Space(5 * MIB, 0, 0), disk_reserve_bytes=512 * MIB) == []


def test_a_full_disk_makes_room_for_the_next_window_even_without_a_reserve():
    batches = [*(held(n, size=NEXT_WINDOW_BYTES) for n in range(1, 5)), held(5)]
    assert planned(batches, space=Space(0, 0, 0), disk_reserve_bytes=0) == [(1, "disk_reserve")]


def test_the_last_room_of_a_disk_is_that_of_the_log_and_of_moving_it_and_of_a_window():
    batches = [held(n, size=2 * MIB) for n in range(1, 4)]
    assert planned(batches, space=Space(6 * MIB, 0, 9 * MIB), disk_reserve_bytes=0) == [(1, "disk_reserve")]
    assert planned(batches, space=Space(6 * MIB, 0, 10 * MIB), disk_reserve_bytes=0) == []


def test_dead_batches_that_make_room_on_the_disk_are_called_dead():
    batches = [held(1, DEAD), held(2)]
    low = Space(used_bytes=0, reusable_bytes=0, free_bytes=2**30 - 1)
    assert planned(batches, space=low, disk_reserve_bytes=2**30) == [(1, "disk_reserve_dead")]


def test_one_plan_is_bounded_in_batches_and_in_bytes():
    batches = [held(n, ACKED) for n in range(1, 1_000)]
    assert len(planned(batches, most=500, max_age_sent_s=0)) == 500
    assert len(planned(batches, most_bytes=10_000, max_age_sent_s=0)) == 10


# --- ages and clocks -------------------------------------------------------------------------------------

DAY_S = 86_400


@pytest.mark.parametrize("jump_s", [DAY_S, -DAY_S, 12 * 365 * DAY_S, -1_700_000_000])
def test_a_clock_that_jumps_makes_nothing_older(jump_s):
    before = [held(n) for n in range(1, 1_001)]
    after = [held(n, end=1_000_000 + 10 * n + jump_s) for n in range(1_001, 1_101)]
    batches = before + after
    newest = newest_of(batches)
    for each in batches:
        assert age_s(each, newest) <= (newest.seq - each.window_seq) * 10
    assert planned(batches, max_age_unsent_s=1_101 * 10) == []


def test_batches_labelled_by_a_clock_that_was_ahead_still_age():
    batches = [held(1, end=4_000_000_000), *(held(n) for n in range(2, 20))]
    assert planned(batches, max_age_unsent_s=100) == [
        (1, "age_unsent"),
        *((n, "age_unsent") for n in range(2, 9)),
    ]


def test_after_a_month_switched_off_nothing_has_aged():
    batches = [held(1), held(2), replace(held(3), window_start=9e6, window_end=9e6 + 10)]
    assert planned(batches, max_age_unsent_s=60) == []


def test_a_longer_interval_does_not_age_what_was_collected_with_a_shorter_one():
    batches = [held(n) for n in range(1, 101)]
    newest = replace(newest_of(batches), interval_s=60)
    assert age_s(batches[0], newest) == 990


def test_the_usual_length_is_not_moved_by_partial_windows_nor_by_a_suspended_host():
    assert usual_length_s([10, 10, 3.2, 10, 36_000, 10, 0.5]) == 10
    assert usual_length_s([]) == 0


@given(
    ends=st.lists(st.floats(0, 4e9), min_size=2, max_size=40),
    limit=st.integers(60, 10_000),
)
def test_once_a_batch_cannot_have_aged_no_newer_one_has(ends, limit):
    batches = [held(n, end=end) for n, end in enumerate(ends, start=1)]
    newest = newest_of(batches)
    for n, each in enumerate(batches):
        if not may_age(each, newest, limits(max_age_unsent_s=limit)):
            assert all(age_s(newer, newest) <= limit for newer in batches[n:])


# --- standing and losses ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ({"a": State.ACKNOWLEDGED, "b": State.ACKNOWLEDGED}, (ACKED, ())),
        ({"a": State.ACKNOWLEDGED, "b": State.UNSENT}, (UNSENT, ("b",))),
        ({"a": State.HELD, "b": State.UNSENT}, (UNSENT, ("a", "b"))),
        ({"a": State.DEAD, "b": State.HELD}, (UNSENT, ("b",))),
        ({"a": State.DEAD, "b": State.ACKNOWLEDGED}, (DEAD, ())),
        ({"a": State.EXPIRED}, (DEAD, ())),
        ({}, (UNSENT, ())),
    ],
)
def test_a_batch_is_acknowledged_only_when_every_destination_has_it(states, expected):
    assert standing(states) == expected


def test_acknowledged_batches_are_no_loss_and_have_no_row():
    assert losses([Eviction(held(n, ACKED), Reason.SIZE) for n in range(1, 5)]) == []


def test_a_run_of_neighbours_with_one_reason_and_the_same_destinations_is_one_row():
    at_both = ("a", "b")
    rows = losses(
        [
            Eviction(held(1), Reason.SIZE),
            Eviction(held(2), Reason.SIZE),
            Eviction(held(3), Reason.AGE_UNSENT),
            Eviction(held(4, unsent_at=at_both), Reason.AGE_UNSENT),
            Eviction(held(6, unsent_at=at_both), Reason.AGE_UNSENT),  # 5 stays
            Eviction(held(7, DEAD), Reason.AGE_DEAD),
        ]
    )
    assert [(row.first_batch, row.last_batch, str(row.reason), row.unsent_at) for row in rows] == [
        (1, 2, "size", ("main",)),
        (3, 3, "age_unsent", ("main",)),
        (4, 4, "age_unsent", at_both),
        (6, 6, "age_unsent", at_both),
        (7, 7, "age_dead", ()),
    ]
    assert (rows[0].batches, rows[0].points, rows[0].window_start, rows[0].window_end) == (
        *(2, 14),
        *(1_000_000, 1_000_020),
    )


@given(
    st.lists(st.sampled_from([ACKED, DEAD, UNSENT]), min_size=2, max_size=60),
    st.integers(0, 100_000),
    st.integers(0, 60),
)
def test_losses_account_for_exactly_the_batches_that_some_destination_never_got(stands, over, most):
    batches = [held(n, each) for n, each in enumerate(stands, start=1)]
    space = Space(int(4_194_304 * 15 / 16) + over, 0, 2**40)
    evictions = plan(batches, newest_of(batches), limits(max_bytes=4_194_304), space, most, 2**40)
    lost = [each.held for each in evictions if each.held.standing is not ACKED]
    rows = losses(evictions)
    assert sum(row.points for row in rows) == sum(each.points for each in lost)
    assert sorted(n for row in rows for n in range(row.first_batch, row.last_batch + 1)) == sorted(
        each.id for each in lost
    )
    assert [each.held.standing for each in evictions] == sorted(each.held.standing for each in evictions)
