"""Reads the files of a spool, read-only, and gives the Facts that health is judged by.

Used by `holdfast status` and by the check-in process. Every query ends before the next begins; nothing is created.
The files are not read at one instant, so a batch acknowledged meanwhile may count as unsent; it is never the
other way round for long.

Not promised: an answer while spool.db is missing or damaged; that is raised. A damaged delivery file is not:
it is a fact about its destination, and everything held counts as unsent there.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from spool.config import SpoolConfig
from spool.delivery import DeliveryReader, destinations_on_disk, file_name
from spool.errors import HoldfastError
from spool.health import DRAIN_S, ENDED, RECENT_S, Beat, Destination, Disk, Facts, Intake, Losses
from spool.heartbeat import ended, heartbeats
from spool.reader import SpoolReader

HOUR_S, WEEK_S = 3600.0, 604_800.0

BESIDE_BYTES = 1000
"""What a batch takes on the disk beside its payload, about: indexes, its window, an attempt, a state."""


def survey(directory: Path, destinations: Sequence[str], limits: SpoolConfig, interval_s: int, now: float) -> Facts:
    """Gather what is known about the spool in `directory` at `now` (Unix seconds).

    `destinations` are the configured ones; others that have a delivery file are named too. Raises SpoolMissing,
    SpoolUnusable, SpoolDamaged or SpoolBusy if spool.db cannot be read.
    """
    unconfigured = [each for each in destinations_on_disk(directory) if each not in destinations]
    beats = heartbeats(directory)
    with SpoolReader(directory) as reader:
        found = [
            _with_checkins(_destination(reader, directory, name, name in destinations, now), beats.get("checkin", {}))
            for name in (*destinations, *unconfigured)
        ]
        unsent_bytes = max((each.unsent_bytes for each in found if each.configured), default=0)
        return Facts(
            at=now,
            directory=str(directory.absolute()),
            spool_id=reader.spool_id,
            intake=_intake(reader, directory, beats, interval_s, now),
            beats=_beats(directory, beats, now),
            destinations=tuple(found),
            losses=_losses(reader, now),
            disk=_disk(directory, limits, unsent_bytes, _grows_bytes_per_s(reader)),
        )


def folder_bytes(directory: Path) -> int:
    """What all files under `directory` occupy on the disk. A file that vanishes meanwhile counts nothing."""
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512  # noqa: PTH118 - twice as fast as Path
            except OSError:
                continue
    return total


def _around(now: float, within_s: float) -> tuple[float, float]:
    """From when to when something is dated that is not older than `within_s`.

    What is dated later is from before the clock was set back, and as old as it is far: as health.py has it.
    """
    return now - within_s, now + within_s


def _beats(directory: Path, beats: Mapping[str, Mapping[str, Any]], now: float) -> dict[str, Beat]:
    return {
        who: Beat(
            at=float(beat["at"]),
            phase=ENDED if ended(directory, who, beat, now) else str(beat.get("phase", "?")),
            pid=int(beat.get("pid", 0)),
            at_most_s=float(beat.get("at_most_s", 0)),
            started_at=_started_at(directory, who),
        )
        for who, beat in beats.items()
        if isinstance(beat.get("at"), int | float)
    }


def _started_at(directory: Path, who: str) -> float | None:
    """When the process `who` was started: it writes its lock file then, and only then."""
    try:
        return (directory / f"{who}.lock").stat().st_mtime
    except OSError:
        return None


def _intake(
    reader: SpoolReader, directory: Path, beats: Mapping[str, Mapping[str, Any]], interval_s: int, now: float
) -> Intake:
    hour, recent = reader.intake(*_around(now, HOUR_S)), reader.intake(*_around(now, RECENT_S))
    newest = reader.windows(limit=6)
    covered_s = sum(each["window_end"] - each["window_start"] for each in newest)
    batches = sum(each["last_batch"] - each["first_batch"] + 1 for each in newest)
    return Intake(
        interval_s=interval_s,
        started_at=_started_at(directory, "collector"),
        last_commit_at=newest[0]["committed_at"] if newest else None,
        series=newest[0]["series"] if newest else 0,
        lines_per_s=round(sum(each["lines"] for each in newest) / covered_s, 3) if covered_s > 0 else 0.0,
        batches_per_s=round(batches / covered_s, 3) if covered_s > 0 else 0.0,
        recent_dropped=recent["dropped"],
        windows_waiting=int(beats.get("collector", {}).get("windows_waiting", 0)),
        **{name: hour[name] for name in ("windows", "lines", "accepted", "rejected", "dropped", "overflowed")},
        rejected_by=hour["rejected_by"],
    )


def _grows_bytes_per_s(reader: SpoolReader) -> float:
    """What the newest batches brought, spread over the time that they cover."""
    newest = reader.headers_before(None, 60)
    covered_s = newest[0].window_end - newest[-1].window_start if newest else 0.0
    return sum(each.payload_bytes + BESIDE_BYTES for each in newest) / covered_s if covered_s > 0 else 0.0


def _losses(reader: SpoolReader, now: float) -> Losses:
    week, recent = reader.lost(now - WEEK_S), reader.lost(*_around(now, RECENT_S), with_dead=False)
    return Losses(
        recent_batches=recent["batches"],
        recent_points=recent["points"],
        recent_rows=recent["rows"],
        week_batches=week["batches"],
        week_points=week["points"],
        week_rows=week["rows"],
        last_at=week["last_at"],
    )


def _disk(directory: Path, limits: SpoolConfig, unsent_bytes: int, grows_bytes_per_s: float) -> Disk:
    space = os.statvfs(directory)
    free_bytes, used_bytes = space.f_bavail * space.f_frsize, folder_bytes(directory)
    # What is settled goes before what is unsent, so its room is room.
    room_bytes = min(limits.max_bytes, used_bytes + free_bytes - limits.disk_reserve_bytes) - unsent_bytes
    return Disk(
        free_bytes=free_bytes,
        reserve_bytes=limits.disk_reserve_bytes,
        used_bytes=used_bytes,
        limit_bytes=limits.max_bytes,
        full_in_s=round(max(0, room_bytes) / grows_bytes_per_s) if grows_bytes_per_s else None,
    )


def _destination(spool: SpoolReader, directory: Path, name: str, configured: bool, now: float) -> Destination:
    path = directory / file_name(name)
    if not path.exists():
        return _all_unsent(spool, name, configured, None)
    try:
        with DeliveryReader(directory, name) as delivery:
            if delivery.spool_id() not in (None, spool.spool_id):
                return _all_unsent(
                    spool, name, configured, f"{path} belongs to another spool; its shipper sets it aside"
                )
            return _delivery(delivery, directory, name, configured, now)
    except HoldfastError as error:
        return _all_unsent(spool, name, configured, str(error))


def _with_checkins(destination: Destination, beat: Mapping[str, Any]) -> Destination:
    """`destination` with what the check-in process (shipper/checkin.py) says of the check-ins to it."""
    since, error = beat.get("failing", {}).get(destination.name, (None, None))
    return replace(destination, checkin_failing_since=since, checkin_error=error)


def _all_unsent(spool: SpoolReader, name: str, configured: bool, problem: str | None) -> Destination:
    held = spool.extent()
    return Destination(
        name=name,
        configured=configured,
        problem=problem,
        unsent_batches=held["batches"],
        unsent_points=held["points"],
        unsent_bytes=held["payload_bytes"],
        oldest_unsent_end=held["first_end"],
        first_unsent_window=held["first_window"],
        last_unsent_window=held["last_window"],
        waiting_since=held["first_end"],
    )


def _delivery(delivery: DeliveryReader, directory: Path, name: str, configured: bool, now: float) -> Destination:
    with SpoolReader(directory, name) as beside:
        backlog, waiting_since = beside.backlog(), beside.waiting_since()
    condition, counts = delivery.condition(), delivery.counts()
    recent = delivery.came_to_an_end(*_around(now, RECENT_S))
    minutes = delivery.minutes(now - HOUR_S, now)
    return Destination(
        name=name,
        configured=configured,
        unsent_batches=backlog.batches,
        unsent_points=backlog.points,
        unsent_bytes=backlog.payload_bytes,
        oldest_unsent_end=backlog.oldest_end,
        first_unsent_window=backlog.first_window,
        last_unsent_window=backlog.last_window,
        waiting_since=waiting_since,
        drained_per_s=round(delivery.counts(*_around(now, DRAIN_S)).get("acknowledged", 0) / DRAIN_S, 3),
        acknowledged=counts.get("acknowledged", 0),
        dead=counts.get("dead", 0),
        expired=counts.get("expired", 0),
        held=counts.get("held", 0),
        recent_dead=sum(recent.values()),
        recent_expired=recent.get("expired", 0),
        failures=condition.failures,
        next_try_at=condition.next_try_at,
        parked_since=condition.parked_since,
        parked_reason=condition.parked_reason,
        last_attempt_at=condition.last_attempt_at,
        last_ack_at=condition.last_ack_at,
        last_error=condition.last_error,
        clock_offset_s=condition.clock_offset_s,
        backlog_minutes=tuple(each["unsent_batches"] for each in minutes),
    )
