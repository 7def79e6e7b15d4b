"""The survey: what the files say, gathered read-only, also where some of them are missing or wrong."""

import os
from contextlib import closing
from pathlib import Path

import pytest

from spool.batch import Point, State, Window
from spool.config import SpoolConfig
from spool.delivery import Condition, Delivery, Settled
from spool.errors import SpoolMissing
from spool.heartbeat import beat
from spool.reader import SpoolReader
from spool.retention import Loss
from spool.survey import BESIDE_BYTES, folder_bytes, survey
from spool.writer import SpoolWriter

NOW = 1_764_000_000.0
LIMITS = SpoolConfig(max_bytes=50_000_000, disk_reserve_bytes=7)


def spool_of(directory: Path, windows: int) -> SpoolWriter:
    writer = SpoolWriter.open(directory, "web-1")
    for back in reversed(range(windows)):
        end = NOW - 10 * back
        points = [Point("a", "counter", {}, {"value": 1.0})]
        fate = {"bad_value": 1}
        writer.commit(
            Window(writer.next_window_seq(), end - 10, end, points, 1, 40, 50, 49, fate, 2), committed_at=end + 0.1
        )
    return writer


def test_intake_is_summed_over_the_last_hour_only(tmp_path: Path) -> None:
    spool_of(tmp_path, 400).close()
    intake = survey(tmp_path, [], LIMITS, 10, NOW).intake
    assert (intake.windows, intake.lines, intake.rejected) == (361, 361 * 50, 361)
    assert dict(intake.rejected_by) == {"bad_value": 361}
    assert (intake.dropped, intake.recent_dropped) == (361 * 2, 31 * 2)
    assert (intake.last_commit_at, intake.series) == (NOW + 0.1, 1)
    assert (intake.lines_per_s, intake.batches_per_s) == (5.0, 0.1)


def test_a_destination_without_a_file_has_everything_unsent(tmp_path: Path) -> None:
    spool_of(tmp_path, 3).close()
    (main,) = survey(tmp_path, ["main"], LIMITS, 10, NOW).destinations
    assert (main.unsent_batches, main.unsent_points, main.waiting_since) == (3, 3, NOW - 20)
    assert not (tmp_path / "delivery-main.db").exists()


def test_a_delivery_file_tells_backlog_condition_and_states(tmp_path: Path) -> None:
    writer = spool_of(tmp_path, 6)
    delivery = Delivery.open(tmp_path, "main", writer.spool_id)
    delivery.settle({1: Settled(State.ACKNOWLEDGED), 2: Settled(State.DEAD, "400")}, NOW - 900)
    delivery.settle({3: Settled(State.EXPIRED)}, NOW - 9)
    delivery.set_condition(Condition(failures=2, next_try_at=NOW + 4, last_ack_at=NOW - 900, last_error="refused"))
    for minute in range(10):
        delivery.note_minute(int(NOW) - 600 + 60 * minute, (minute, 100, None), 12, 0)
    (main,) = survey(tmp_path, ["main"], LIMITS, 10, NOW).destinations
    delivery.close()
    writer.close()
    assert (main.unsent_batches, main.oldest_unsent_end, main.waiting_since) == (3, NOW - 20, NOW - 20)
    assert (main.acknowledged, main.dead, main.expired, main.recent_dead, main.recent_expired) == (1, 1, 1, 1, 1)
    assert (main.failures, main.last_error, main.next_try_at) == (2, "refused", NOW + 4)
    assert list(main.backlog_minutes) == list(range(10))


def test_a_backlog_drains_as_fast_as_batches_were_acknowledged_just_now(tmp_path: Path) -> None:
    writer = spool_of(tmp_path, 100)
    delivery = Delivery.open(tmp_path, "main", writer.spool_id)
    delivery.settle({each: Settled(State.ACKNOWLEDGED) for each in range(1, 31)}, NOW - 31)
    delivery.settle({each: Settled(State.ACKNOWLEDGED) for each in range(31, 91)}, NOW - 5)
    (main,) = survey(tmp_path, ["main"], LIMITS, 10, NOW).destinations
    delivery.close()
    writer.close()
    assert main.drained_per_s == 2.0


def test_what_happened_while_the_clock_was_ahead_is_not_recent_until_it_has_caught_up(tmp_path: Path) -> None:
    later, points = NOW + 30 * 86_400, [Point("a", "counter", {}, {"value": 1.0})]
    writer = spool_of(tmp_path, 3)
    with closing(writer), Delivery.open(tmp_path, "main", writer.spool_id) as delivery:
        writer.commit(Window(4, later - 10, later, points, 1, 40, 50, 49, {"bad_value": 1}, 2), committed_at=later)
        writer.evict([Loss("size", 1, 1, 1, 1, NOW - 30, NOW - 20, 1, 1, ("main",))], [1], later)
        delivery.settle({2: Settled(State.DEAD, "400"), 3: Settled(State.ACKNOWLEDGED)}, later)
        delivery.note_minute(int(later), (7, 100, None), 12, 0)
        found = survey(tmp_path, ["main"], LIMITS, 10, NOW)
        (main,) = found.destinations
        assert (found.losses.recent_rows, main.recent_dead, main.drained_per_s) == (0, 0, 0.0)
        assert (found.losses.week_rows, main.dead, main.backlog_minutes) == (1, 1, ())
        assert (found.intake.windows, found.intake.recent_dropped) == (3, 3 * 2)
        assert survey(tmp_path, ["main"], LIMITS, 10, later).losses.recent_rows == 1


def test_the_disk_is_full_when_what_is_unsent_fills_limit_or_disk(tmp_path: Path) -> None:
    writer = spool_of(tmp_path, 60)
    delivery = Delivery.open(tmp_path, "main", writer.spool_id)

    def full_in_s(limits: SpoolConfig) -> float:
        found = survey(tmp_path, ["main"], limits, 10, NOW).disk.full_in_s
        assert found is not None
        return found

    unsent_s = full_in_s(LIMITS)
    with SpoolReader(tmp_path) as reader:
        a_window_bytes = reader.extent()["payload_bytes"] / 60 + BESIDE_BYTES
    assert unsent_s == pytest.approx(
        (50_000_000 - 60 * (a_window_bytes - BESIDE_BYTES)) / a_window_bytes * 10, rel=0.01
    )
    delivery.settle({each: Settled(State.ACKNOWLEDGED) for each in range(1, 61)}, NOW)
    assert full_in_s(LIMITS) > unsent_s
    space = os.statvfs(tmp_path)
    reserve = int(0.9 * space.f_bavail * space.f_frsize)
    assert full_in_s(SpoolConfig(max_bytes=10**15, disk_reserve_bytes=reserve)) < full_in_s(
        SpoolConfig(max_bytes=10**15, disk_reserve_bytes=0)
    )
    delivery.close()
    writer.close()


def test_windows_that_wait_in_the_collector_are_told_by_its_heartbeat(tmp_path: Path) -> None:
    spool_of(tmp_path, 1).close()
    assert survey(tmp_path, [], LIMITS, 10, NOW).intake.windows_waiting == 0
    beat(tmp_path, "collector", NOW, "collecting", windows_waiting=3)
    assert survey(tmp_path, [], LIMITS, 10, NOW).intake.windows_waiting == 3


def test_a_batch_that_is_sent_again_waits_since_the_replay(tmp_path: Path) -> None:
    writer = spool_of(tmp_path, 100)
    delivery = Delivery.open(tmp_path, "main", writer.spool_id)
    delivery.settle({each: Settled(State.ACKNOWLEDGED) for each in range(1, 101)}, NOW)
    delivery.make_unsent([1, 2], NOW - 30, "root", "replay", [State.ACKNOWLEDGED])
    (main,) = survey(tmp_path, ["main"], LIMITS, 10, NOW).destinations
    assert (main.oldest_unsent_end, main.waiting_since) == (NOW - 990, NOW - 30)
    delivery.make_unsent([90], NOW - 20, "root", "replay", [State.ACKNOWLEDGED])
    delivery.hold([1, 2, 90], NOW - 5, "root")
    (main,) = survey(tmp_path, ["main"], LIMITS, 10, NOW).destinations
    delivery.close()
    writer.close()
    assert (main.unsent_batches, main.waiting_since, main.held) == (0, None, 3)


def test_a_delivery_file_of_another_spool_means_everything_is_unsent_and_says_so(tmp_path: Path) -> None:
    spool_of(tmp_path, 2).close()
    other = Delivery.open(tmp_path, "main", "another")
    other.settle({1: Settled(State.ACKNOWLEDGED), 2: Settled(State.ACKNOWLEDGED)}, NOW)
    other.close()
    (main,) = survey(tmp_path, ["main"], LIMITS, 10, NOW).destinations
    assert main.unsent_batches == 2
    assert "belongs to another spool" in (main.problem or "")


def test_losses_and_those_of_batches_long_dead_are_told_apart(tmp_path: Path) -> None:
    writer = spool_of(tmp_path, 1)
    writer.shed([Window(2, NOW, NOW + 10, (), lines=1)], NOW - 20, "age_dead")
    writer.shed([Window(9, NOW, NOW + 10, ())], NOW - 5, "damage")  # numbers left out, nothing lost
    assert survey(tmp_path, [], LIMITS, 10, NOW).losses.recent_rows == 0
    writer.shed([Window(10, NOW, NOW + 10, (), lines=5)], NOW - 10, "memory")
    losses = survey(tmp_path, [], LIMITS, 10, NOW).losses
    writer.close()
    assert (losses.recent_rows, losses.week_rows, losses.last_at) == (1, 2, NOW - 10)


def test_beats_disk_and_start_are_read_from_the_folder(tmp_path: Path) -> None:
    writer = spool_of(tmp_path, 1)
    os.utime(tmp_path / "collector.lock", (NOW - 77, NOW - 77))
    beat(tmp_path, "collector", NOW - 3, "receiving")
    (tmp_path / "heartbeat-broken.json").write_text("{")
    (tmp_path / "heartbeat-odd.json").write_text('{"who": "odd", "at": "noon"}')
    facts = survey(tmp_path, [], LIMITS, 10, NOW)
    occupied = folder_bytes(tmp_path)
    writer.close()
    assert list(facts.beats) == ["collector"]
    assert (facts.beats["collector"].at, facts.beats["collector"].phase) == (NOW - 3, "receiving")
    assert facts.intake.started_at == NOW - 77
    assert facts.disk.free_bytes > 0
    assert (facts.disk.reserve_bytes, facts.disk.limit_bytes) == (7, 50_000_000)
    assert facts.disk.used_bytes == occupied > 4096


def test_an_empty_spool_and_a_missing_one_are_different_things(tmp_path: Path) -> None:
    with pytest.raises(SpoolMissing):
        survey(tmp_path, ["main"], LIMITS, 10, NOW)
    assert list(tmp_path.iterdir()) == []
    SpoolWriter.open(tmp_path, "web-1").close()
    facts = survey(tmp_path, ["main"], LIMITS, 10, NOW)
    assert (facts.intake.last_commit_at, facts.destinations[0].unsent_batches) == (None, 0)
