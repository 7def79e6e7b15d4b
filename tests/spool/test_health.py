"""Health: each fault alone turns a healthy picture to the state it deserves, and says why in words."""

import dataclasses
import json
from collections.abc import Callable

import pytest

from spool.health import Beat, Destination, Disk, Facts, Health, Intake, Losses, State, as_json, judge

NOW = 1_764_000_000.0
GIB = 2**30


def healthy() -> Facts:
    return Facts(
        at=NOW,
        directory="/var/lib/holdfast",
        spool_id="9f3c",
        intake=Intake(started_at=NOW - 86_400, last_commit_at=NOW - 4, series=1204),
        beats={
            "collector": Beat(NOW - 1, "receiving", 11),
            "shipper-main": Beat(NOW - 2, "waiting", 12),
            "checkin": Beat(NOW - 3, "waiting", 13),
        },
        destinations=(Destination("main", last_ack_at=NOW - 3, acknowledged=8640),),
        disk=Disk(free_bytes=100 * GIB, reserve_bytes=GIB // 2, used_bytes=GIB // 100, limit_bytes=GIB),
    )


def intake(**changes: object) -> Callable[[Facts], Facts]:
    return lambda facts: dataclasses.replace(facts, intake=dataclasses.replace(facts.intake, **changes))


def main(**changes: object) -> Callable[[Facts], Facts]:
    return lambda facts: dataclasses.replace(
        facts, destinations=(dataclasses.replace(facts.destinations[0], **changes),)
    )


def beat(who: str, age_s: float, phase: str = "sending") -> Callable[[Facts], Facts]:
    return lambda facts: dataclasses.replace(facts, beats={**facts.beats, who: Beat(NOW - age_s, phase, 1)})


def gone(who: str) -> Callable[[Facts], Facts]:
    return lambda facts: dataclasses.replace(facts, beats={name: b for name, b in facts.beats.items() if name != who})


def lost(**numbers: int) -> Callable[[Facts], Facts]:
    return lambda facts: dataclasses.replace(facts, losses=Losses(**numbers))


def waiting(age_s: float, **more: object) -> Callable[[Facts], Facts]:
    return main(unsent_batches=9, oldest_unsent_end=NOW - age_s, waiting_since=NOW - age_s, **more)


def test_a_spool_that_delivers_is_ok_without_reasons() -> None:
    assert judge(healthy()) == Health(State.OK, ())


CASES = [
    ("commit late", intake(last_commit_at=NOW - 31), State.DEGRADED, "last commit was 31s ago"),
    ("commit stopped", intake(last_commit_at=NOW - 61), State.FAIL, "last commit was 1m01s ago"),
    ("commit of long windows", intake(last_commit_at=NOW - 100, interval_s=60), State.OK, ""),
    ("commit of long windows late", intake(last_commit_at=NOW - 130, interval_s=60), State.DEGRADED, "2m10s ago"),
    ("commit of long windows gone", intake(last_commit_at=NOW - 181, interval_s=60), State.FAIL, "3m01s ago"),
    ("never committed", intake(last_commit_at=None), State.FAIL, "nothing has ever been committed"),
    ("kernel drops", intake(recent_dropped=7), State.DEGRADED, "the kernel dropped 7 datagrams"),
    ("collector slow to beat", beat("collector", 31), State.DEGRADED, "collector has been silent for 31s"),
    ("collector frozen", beat("collector", 61), State.FAIL, "collector has been silent for 1m01s"),
    ("collector gone", gone("collector"), State.FAIL, "collector has left no heartbeat"),
    ("shipper frozen", beat("shipper-main", 61), State.FAIL, "main: shipper-main has been silent for 1m01s"),
    ("shipper gone", gone("shipper-main"), State.FAIL, "main: shipper-main has left no heartbeat"),
    ("check-in frozen", beat("checkin", 61), State.DEGRADED, "checkin has been silent"),
    ("collector just ended", beat("collector", 29, "ended"), State.OK, ""),
    ("collector stopped", beat("collector", 31, "ended"), State.DEGRADED, "collector ended 31s ago"),
    ("shipper stopped", beat("shipper-main", 65, "ended"), State.FAIL, "main: shipper-main ended 1m05s ago"),
    ("check-in ended", beat("checkin", 65, "ended"), State.DEGRADED, "checkin ended 1m05s ago: the server"),
    ("no check-in at all", gone("checkin"), State.OK, ""),
    (
        "losses",
        lost(recent_rows=1, recent_batches=3, recent_points=600),
        State.FAIL,
        "lost 600 points (3 batches) within 5m",
    ),
    ("losses of last week", lost(week_rows=1, week_batches=3, week_points=600), State.OK, ""),
    ("parked", main(parked_since=NOW - 90, parked_reason="401"), State.DEGRADED, "main: parked for 1m30s: 401"),
    ("check-ins fail", main(checkin_failing_since=NOW - 299, checkin_error="refused"), State.OK, ""),
    (
        "check-ins fail for long",
        main(checkin_failing_since=NOW - 301, checkin_error="connection refused"),
        State.DEGRADED,
        "main: check-ins have failed for 5m01s, the server is not told: connection refused",
    ),
    (
        "dead",
        main(dead=5, recent_dead=1),
        State.DEGRADED,
        "main: 1 batch became dead within 5m: see `holdfast list --state dead`",
    ),
    (
        "expired",
        main(dead=5, recent_dead=2, recent_expired=2),
        State.DEGRADED,
        "main: 2 batches expired within 5m: see `holdfast list --state expired`",
    ),
    ("dead since long", main(dead=5), State.OK, ""),
    ("held", main(held=5), State.OK, ""),
    ("damaged", main(problem="delivery-main.db: malformed"), State.FAIL, "main: delivery-main.db: malformed"),
    ("a batch on its way", waiting(2), State.OK, ""),
    ("backlog draining", waiting(299), State.OK, ""),
    ("late", waiting(301), State.DEGRADED, "main: oldest unsent batch waits for 5m01s (limit 5m)"),
    ("very late", waiting(1801), State.FAIL, "main: oldest unsent batch waits for 30m01s (limit 30m)"),
    ("one failed attempt", waiting(8, failures=1, last_ack_at=NOW - 11), State.OK, ""),
    (
        "attempts fail",
        waiting(38, failures=4, last_ack_at=NOW - 46, last_error="connection refused"),
        State.DEGRADED,
        "main: last acknowledgement was 46s ago, 4 attempts in a row have failed: connection refused",
    ),
    (
        "one attempt hangs",
        waiting(31, failures=1, last_ack_at=NOW - 46),
        State.DEGRADED,
        "main: last acknowledgement was 46s ago, the last attempt failed",
    ),
    ("nobody tries", waiting(61, last_ack_at=NOW - 62), State.DEGRADED, "main: last acknowledgement was 1m02s ago"),
    ("fails, but nothing is unsent", main(failures=3, last_ack_at=NOW - 300), State.OK, ""),
    ("never acknowledged", waiting(30, last_ack_at=None), State.DEGRADED, "main: has never acknowledged a batch"),
    ("unconfigured one is stuck", waiting(9999, configured=False), State.DEGRADED, "no destination is configured"),
]


@pytest.mark.parametrize(("change", "state", "reason"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_one_fault_alone_gives_its_state_and_reason(
    change: Callable[[Facts], Facts], state: State, reason: str
) -> None:
    health = judge(change(healthy()))
    assert health.state is state
    assert len(health.reasons) == (0 if state is State.OK else 1)
    assert any(reason in each for each in health.reasons) or state is State.OK


def test_a_small_disk_is_degraded_before_the_reserve_is_reached() -> None:
    facts = dataclasses.replace(healthy(), disk=Disk(free_bytes=GIB - 1, reserve_bytes=GIB // 2))
    assert judge(facts).state is State.DEGRADED
    assert "512.0 MiB are the reserve" in judge(facts).reasons[0]


def just_started(**more: object) -> Facts:
    return dataclasses.replace(
        healthy(),
        intake=Intake(started_at=NOW - 20),
        beats={},
        destinations=(Destination("main", **more),),  # type: ignore[arg-type]
    )


def test_health_is_unknown_until_the_first_commit_and_acknowledgement() -> None:
    health = judge(just_started())
    assert health.state is State.UNKNOWN
    assert len(health.reasons) == 2


def test_health_is_unknown_for_at_most_a_minute() -> None:
    facts = just_started(unsent_batches=3, waiting_since=NOW - 25)
    committing = dataclasses.replace(
        facts, intake=Intake(started_at=NOW - 61, last_commit_at=NOW - 5), beats=healthy().beats
    )
    assert judge(committing) == Health(State.DEGRADED, ("main: has never acknowledged a batch",))


def test_a_restart_after_a_long_stop_is_unknown_and_not_failed_until_the_first_commit() -> None:
    facts = intake(started_at=NOW - 5, last_commit_at=NOW - 7200)(healthy())
    assert judge(facts).state is State.UNKNOWN
    assert judge(intake(started_at=NOW - 5, last_commit_at=NOW - 1)(healthy())).state is State.OK


def test_heartbeats_from_before_a_restart_are_not_held_against_it() -> None:
    facts = beat("shipper-main", 7200)(intake(started_at=NOW - 20, last_commit_at=NOW - 5)(healthy()))
    assert judge(facts).state is State.OK
    assert judge(intake(started_at=NOW - 90, last_commit_at=NOW - 5)(facts)).state is State.FAIL


AHEAD_S = 3600.0


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (beat("collector", -AHEAD_S), "collector has been silent"),
        (beat("shipper-main", -AHEAD_S), "main: shipper-main has been silent"),
        (beat("checkin", -AHEAD_S), "checkin has been silent"),
        (intake(last_commit_at=NOW + AHEAD_S), "last commit was"),
        (waiting(60, failures=3, last_ack_at=NOW + AHEAD_S), "3 attempts in a row have failed"),
        (waiting(0, checkin_failing_since=NOW + AHEAD_S), "check-ins have failed for 1h"),
    ],
)
def test_a_clock_that_was_set_back_hides_no_fault(fault: Callable[[Facts], Facts], reason: str) -> None:
    for started_at in (NOW - 86_400, NOW + AHEAD_S - 600):  # before that, of course
        found = judge(fault(intake(started_at=started_at)(healthy())))
        assert found.state in (State.DEGRADED, State.FAIL) and reason in found.reasons[0]


def test_processes_started_before_the_clock_was_set_back_do_not_start_for_ever() -> None:
    assert judge(intake(started_at=NOW + AHEAD_S)(healthy())) == Health(State.OK, ())


def test_a_first_window_of_five_minutes_may_take_its_time() -> None:
    facts = intake(started_at=NOW - 290, last_commit_at=None, interval_s=300)(healthy())
    assert judge(facts).state is State.UNKNOWN


def test_what_is_known_to_be_wrong_is_said_also_right_after_a_start() -> None:
    assert judge(just_started(parked_since=NOW - 9, parked_reason="401")).state is State.DEGRADED


def test_the_worst_reason_comes_first() -> None:
    facts = main(parked_since=NOW - 90, parked_reason="401")(beat("collector", 99)(healthy()))
    health = judge(facts)
    assert health.state is State.FAIL
    assert [each.split()[0] for each in health.reasons] == ["collector", "main:"]


def test_a_refusing_server_turns_health_red_within_sixty_seconds_of_the_fault() -> None:
    fault_at = NOW
    first_failed_window_end = fault_at + 10  # the longest that a window of 10 s takes to end after the fault
    for after_s in range(61):
        facts = dataclasses.replace(
            main(
                unsent_batches=1,
                failures=1 if after_s >= 10 else 0,
                waiting_since=first_failed_window_end,
                last_ack_at=fault_at - 1,
            )(healthy()),
            at=fault_at + after_s,
            beats={who: Beat(fault_at + after_s, "waiting", 1) for who in healthy().beats},
        )
        facts = dataclasses.replace(facts, intake=dataclasses.replace(facts.intake, last_commit_at=fault_at + after_s))
        if judge(facts).state is State.DEGRADED:
            break
    assert 30 < after_s < 60


def test_a_process_that_said_how_long_it_takes_is_not_silent_before_that() -> None:
    sending = Beat(NOW - 70, "sending", 12, at_most_s=65)
    assert judge(dataclasses.replace(healthy(), beats={**healthy().beats, "shipper-main": sending})).state is State.OK
    hung = dataclasses.replace(sending, at_most_s=5)
    assert judge(dataclasses.replace(healthy(), beats={**healthy().beats, "shipper-main": hung})).state is State.FAIL


def test_the_json_form_keeps_its_keys() -> None:
    document = json.loads(json.dumps(as_json(healthy(), judge(healthy()))))
    assert list(document) == [
        "v", "state", "reasons", "at", "directory", "spool_id", "intake", "beats", "destinations", "losses", "disk",
    ]  # fmt: skip
    assert set(document["intake"]) == {
        "interval_s", "started_at", "last_commit_at", "series", "lines_per_s", "batches_per_s", "windows", "lines",
        "accepted", "rejected", "rejected_by", "dropped", "recent_dropped", "overflowed", "windows_waiting",
    }  # fmt: skip
    assert set(document["beats"]["collector"]) == {"at", "phase", "pid", "at_most_s", "started_at"}
    assert set(document["destinations"][0]) == {
        "name", "configured", "problem", "unsent_batches", "unsent_points", "unsent_bytes", "oldest_unsent_end",
        "first_unsent_window", "last_unsent_window",
        "waiting_since", "drained_per_s", "acknowledged", "dead", "expired", "held", "recent_dead",
        "recent_expired", "failures",
        "next_try_at", "parked_since", "parked_reason", "last_attempt_at", "last_ack_at", "last_error",
        "clock_offset_s", "backlog_minutes", "checkin_failing_since", "checkin_error",
    }  # fmt: skip
    assert set(document["losses"]) == {
        "recent_batches", "recent_points", "recent_rows", "week_batches", "week_points", "week_rows", "last_at",
    }  # fmt: skip
    assert set(document["disk"]) == {"free_bytes", "reserve_bytes", "used_bytes", "limit_bytes", "full_in_s"}
