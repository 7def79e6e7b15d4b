"""What is made of a host: each voice speaks, the worst decides, and nothing hostile in a check-in does harm."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shipper.receiver.standing import gaps, judge
from spool.health import State

NOW = 1_764_000_000.0


def a_host(**changes):
    return {
        "host": "web-1",
        "last_batch_at": NOW - 3,
        "last_window_end": NOW - 4,
        "spools": [],
        "checkin": checked_in(state="OK", reasons=[]),
    } | changes


def checked_in(at=NOW - 20, **body):
    return {"received_at": at, "body": body}


def a_gap(first=10, last=19, ended_ago=600.0):
    gap = {"first": first, "last": last, "after": NOW - ended_ago - 100, "before": NOW - ended_ago}
    return [{"spool_id": "cafe", "gaps": [gap]}]


def judged(**changes):
    health = judge(a_host(**changes), NOW)
    return health.state, list(health.reasons)


def test_a_host_that_delivers_and_checks_in_is_ok() -> None:
    assert judged() == (State.OK, [])
    assert judged(checkin=None) == (State.OK, [])


def test_a_host_that_is_not_heard_fails() -> None:
    state, reasons = judged(last_batch_at=NOW - 400, last_window_end=NOW - 400, checkin=checked_in(NOW - 300))
    assert (state, reasons) == (State.FAIL, ["nothing has been heard for 5m"])


def test_a_host_whose_data_is_late_says_why_itself() -> None:
    late = {"last_batch_at": NOW - 120, "last_window_end": NOW - 122}
    said = checked_in(state="FAIL", reasons=["main: 5 attempts in a row have failed"])
    assert judged(**late, checkin=said) == (
        State.FAIL,
        ["it says: main: 5 attempts in a row have failed", "the newest window ended 2m02s ago"],
    )
    assert judged(**late)[0] is State.DEGRADED
    assert judged(last_window_end=NOW - 3_600)[0] is State.FAIL


def test_a_host_with_long_windows_is_given_three_of_them() -> None:
    said = checked_in(state="OK", intake={"interval_s": 300})
    assert judged(last_window_end=NOW - 500, checkin=said) == (State.OK, [])
    assert judged(last_window_end=NOW - 1_000, checkin=said)[0] is State.DEGRADED


def test_a_host_that_only_checks_in_is_not_known_yet() -> None:
    assert judged(last_batch_at=None, last_window_end=None) == (State.UNKNOWN, ["no batch has come yet"])


def test_missing_check_ins_and_clocks_that_are_ahead_are_said() -> None:
    assert judged(checkin=checked_in(NOW - 400, state="OK")) == (
        State.DEGRADED,
        ["the last check-in was 6m40s ago"],
    )
    assert judged(last_window_end=NOW + 300) == (State.DEGRADED, ["its clock is 5m ahead of ours"])


def test_a_gap_is_owed_as_long_as_its_host_says_so_and_then_it_is_a_loss() -> None:
    owed = checked_in(state="OK", spool_id="cafe", owed={"batches": 3, "first_window": 12, "last_window": 40})
    assert judged(spools=a_gap(), checkin=owed) == (State.DEGRADED, ["10 windows still to come"])
    assert judged(spools=a_gap()) == (State.DEGRADED, ["10 windows are missing, and the host does not owe them"])
    other = checked_in(state="OK", spool_id="beef", owed={"batches": 3, "first_window": 12, "last_window": 40})
    assert [each.owed for each in gaps(a_host(spools=a_gap(), checkin=other))] == [False]


def test_a_gap_that_may_still_close_or_is_long_past_changes_no_state() -> None:
    assert judged(spools=a_gap(ended_ago=30)) == (State.OK, [])
    assert judged(spools=a_gap(ended_ago=7_200)) == (State.OK, [])
    assert len(gaps(a_host(spools=a_gap(ended_ago=7_200)))) == 1


def test_gaps_are_given_newest_first_and_those_of_unknown_time_last() -> None:
    spools = a_gap(first=1, last=2, ended_ago=900) + a_gap(first=5, last=6, ended_ago=100)
    spools.append({"spool_id": "old", "gaps": [{"first": 3, "last": 3, "after": None, "before": None}]})
    found = gaps(a_host(spools=spools))
    assert [each.first for each in found] == [5, 1, 3]
    assert [each.within(NOW - 200, NOW) for each in found] == [True, False, False]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(["state", "reasons", "owed", "intake", "spool_id", "host"])
inner_keys = st.sampled_from(["first_window", "last_window", "interval_s", "batches"])


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(json_values | st.dictionaries(KEYS, json_values | st.dictionaries(inner_keys, json_values)))
def test_whatever_a_check_in_says_there_is_a_judgement(body) -> None:
    host = a_host(spools=a_gap(), checkin={"received_at": NOW - 1, "body": body})
    assert judge(host, NOW).state in State
