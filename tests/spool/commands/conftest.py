"""A real spool for the operator's commands to look at, made with the classes that make them in life."""

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from spool.batch import Point, State, Window
from spool.cli import cli
from spool.delivery import AttemptRow, Condition, Delivery, Settled
from spool.heartbeat import beat
from spool.writer import SpoolWriter

CONFIG = """
[spool]
dir = "spool"
disk_reserve_bytes = 0
[collector]
interval_s = 10
[destination.main]
url = "https://metrics.example.net/v1/batches"
max_age_s = 3600
"""


def attempt_row(ids: Iterable[int], at: float, outcome: str = "acknowledged", error: str | None = None) -> AttemptRow:
    """An attempt that carried `ids`, one after the other."""
    numbers = sorted(ids)
    fine = outcome == "acknowledged"
    return AttemptRow(
        started_at=at, lane="live", first_batch=numbers[0], last_batch=numbers[-1], batches=len(numbers),
        ids=f"{numbers[0]}-{numbers[-1]}", points=2, body_bytes=200, outcome=outcome, phase="close" if fine else "wait",
        status=200 if fine else None, error=error, dns_ms=1.0, connect_ms=2.0, tls_ms=3.0, write_ms=4.0,
        wait_ms=5.0 if fine else None, read_ms=6.0 if fine else None, close_ms=0.1,
        total_ms=21.0 if fine else 20_000.0, overshoot_ms=0.0,
        sent_bytes=300, received_bytes=100, address="127.0.0.1:1",
    )  # fmt: skip


@pytest.fixture
def attempt() -> Callable[..., AttemptRow]:
    """Make an attempt: (ids, at, outcome, error)."""
    return attempt_row


class Made:
    """A configuration with a spool in `folder`; batch i ended (n - i) windows of 10 s before the last one."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.directory = folder, folder / "spool"
        self.config = folder / "holdfast.toml"
        self.config.write_text(CONFIG)
        self.last_end = time.time() // 10 * 10
        self.spool_id = ""
        self._open: list[Delivery] = []

    def commit(self, count: int, rejected: dict[str, int] | None = None, said: Iterable[Point] = ()) -> None:
        """Add `count` windows of two series and of what was `said`, the last of which ends now."""
        writer = SpoolWriter.open(self.directory, "web-1")
        try:
            self.spool_id = writer.spool_id
            for back in reversed(range(count)):
                seq, end = writer.next_window_seq(), self.last_end - 10 * back
                points = [
                    Point("api.hits", "counter", {"env": "prod"}, {"value": float(seq)}),
                    Point("holdfast.lines", "counter", {}, {"value": 100}),
                    *said,
                ]
                window = Window(seq, end - 10, end, points, series=2, lines=100, accepted=98, rejected=rejected or {})
                writer.commit(window, end + 0.1)
        finally:
            writer.close()
        os.utime(self.directory / "collector.lock", (self.last_end - 3600,) * 2)  # started an hour ago
        beat(self.directory, "collector", time.time(), "receiving")
        beat(self.directory, "shipper-main", time.time(), "waiting")

    def delivery(self, destination: str = "main") -> Delivery:
        """That destination's file, to be written to."""
        self._open.append(Delivery.open(self.directory, destination, self.spool_id))
        return self._open[-1]

    def acknowledge(self, ids: Iterable[int], destination: str = "main") -> None:
        """One attempt that brought all of `ids` home just now."""
        numbers = list(ids)
        self.delivery(destination).record(
            attempt_row(numbers, time.time()),
            {each: Settled(State.ACKNOWLEDGED) for each in numbers},
            Condition(last_ack_at=time.time(), last_attempt_at=time.time()),
        )

    def run(self, *words: str, exit_code: int = 0) -> Result:
        """`holdfast` with this configuration; must end with `exit_code` and without a traceback."""
        result = CliRunner().invoke(cli, ["-c", str(self.config), *words])
        assert isinstance(result.exception, SystemExit | None), result.exception
        assert result.exit_code == exit_code, result.output
        return result

    def json(self, *words: str) -> Any:
        """What `holdfast WORDS --json` prints."""
        return json.loads(self.run(*words, "--json").stdout)

    def close(self) -> None:
        """Close every delivery file."""
        for each in self._open:
            each.close()


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Made]:
    """A configuration whose spool is not there yet."""
    place = Made(tmp_path)
    yield place
    place.close()
