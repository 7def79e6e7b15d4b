"""A heartbeat is the old one or the new one, and never a reason to fail."""

import json
import os

from spool.connection import lock
from spool.heartbeat import ENDED_S, beat, ended, heartbeats


def test_a_beat_says_who_when_and_what(tmp_path):
    beat(tmp_path, "collector", 1_764_000_000.12345, "collecting", windows_waiting=2)
    assert json.loads((tmp_path / "heartbeat-collector.json").read_text()) == {
        "who": "collector",
        "pid": os.getpid(),
        "at": 1_764_000_000.123,
        "phase": "collecting",
        "windows_waiting": 2,
    }


def test_the_last_beat_of_each_process_is_kept_and_nothing_else(tmp_path):
    for at in (1.0, 2.0):
        beat(tmp_path, "collector", at, "collecting")
        beat(tmp_path, "shipper-main", at + 10, "idle")
    assert {who: each["at"] for who, each in heartbeats(tmp_path).items()} == {"collector": 2.0, "shipper-main": 12.0}
    assert len(list(tmp_path.iterdir())) == 2


def test_a_beat_that_cannot_be_written_is_lost_quietly(tmp_path):
    beat(tmp_path / "no-folder", "collector", 1.0, "collecting")
    (tmp_path / "heartbeat-collector.json").mkdir()
    beat(tmp_path, "collector", 1.0, "collecting")
    assert [path.name for path in tmp_path.iterdir()] == ["heartbeat-collector.json"]


def test_unreadable_beats_are_left_out(tmp_path):
    beat(tmp_path, "shipper-main", 1.0, "idle")
    for name, text in (("a", "{"), ("b", "[]"), ("c", "{}"), ("d", "null"), ("e", "\xff")):
        (tmp_path / f"heartbeat-{name}.json").write_text(text, encoding="latin-1")
    assert list(heartbeats(tmp_path)) == ["shipper-main"]


def test_a_beat_that_finds_no_room_touches_the_old_one(tmp_path):
    beat(tmp_path, "collector", 1.0, "collecting")
    os.utime(tmp_path / "heartbeat-collector.json", (5, 5))
    before = heartbeats(tmp_path)["collector"]
    (tmp_path / f".heartbeat-collector.json.{os.getpid()}").symlink_to("/dev/full")
    beat(tmp_path, "collector", 2.0, "collecting")
    after = heartbeats(tmp_path)["collector"]
    assert before["at"] == after["at"] == 1.0
    assert before["touched_at"] == 5 < after["touched_at"]
    assert [path.name for path in tmp_path.iterdir()] == ["heartbeat-collector.json"]


def test_who_has_ended_is_told_by_the_lock_and_not_in_the_moment_of_a_reload(tmp_path):
    beat(tmp_path, "collector", 100.0, "collecting")
    last = heartbeats(tmp_path)["collector"]
    later = 100.1 + ENDED_S
    assert not ended(tmp_path, "collector", last, later), "without a lock there is nothing to tell by"
    with lock(tmp_path, "collector"):
        assert not ended(tmp_path, "collector", last, later)
    assert not ended(tmp_path, "collector", last, 100.0 + ENDED_S)
    assert ended(tmp_path, "collector", last, later)
