"""After an outage: what is new arrives at once, what is old as fast as the server takes it, and each batch once.

Spool, hub and delivery file are real; the server's speed and the clock are ours, so a day takes seconds.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shipper.config import ShipperConfig
from shipper.exchange import Response
from spool.batch import Point, Window
from spool.delivery import State
from spool.reader import SpoolReader
from tests.shipper.host import Host

WINDOW_S = 10
LIVE_LAG_S = 30


class Recovering(Host):
    """A host that goes on collecting while its shipper catches up with a server that needs time for what it takes."""

    def __init__(self, directory: Path, points: int, settings: ShipperConfig) -> None:
        self.points, self.settings = points, settings
        super().__init__(directory)
        self.committed_at: dict[str, float] = {}
        self.acknowledged_at: dict[str, float] = {}
        self.request_s, self.bytes_per_s = 1.0, 1e6
        self.commit(points=points)
        self.clock.at = math.ceil(self.clock.at / WINDOW_S) * WINDOW_S

    def outage(self, windows: int) -> None:
        """So many windows that could not be sent. Their points' values differ, so that they have a real size."""
        for number in range(windows):
            self.clock.at += WINDOW_S
            points = [
                Point(f"api.{each}.hits", "counter", {"env": "prod"}, {"value": float(hash((number, each)) % 9973)})
                for each in range(self.points)
            ]
            window = Window(self.writer.next_window_seq(), self.clock.at - WINDOW_S, self.clock.at, points)
            self.writer.commit(window, self.clock.at)

    def pass_time(self, seconds: float) -> None:
        """The collector commits each window when it ends, whatever the shipper does."""
        until = self.clock.at + seconds
        while (end := (self.clock.at // WINDOW_S + 1) * WINDOW_S) <= until:
            self.clock.at = end - WINDOW_S  # commit() lets the ten seconds of its window pass
            (batch,) = self.commit(points=self.points)
            self.committed_at[f"{self.writer.spool_id}-{batch}"] = end
        self.clock.at = until

    def take(self, keys: list[str]) -> Response:
        self.pass_time(self.request_s + len(self.server.last.body) / self.bytes_per_s)
        self.acknowledged_at |= dict.fromkeys(keys, self.clock.at)
        return self.server.accept(keys)

    def unsent(self) -> int:
        with SpoolReader(self.directory, "main") as spool:
            return spool.backlog().batches


@contextmanager
def recovering(directory: Path, points: int, **settings: float) -> Iterator[Recovering]:
    host = Recovering(directory, points, ShipperConfig(**settings))
    try:
        yield host
    finally:
        host.drain.close()
        host.writer.close()


def catch_up(host: Recovering, windows: int) -> float:
    """Seconds until the backlog of an outage of so many windows was gone. Checks the promises on the way."""
    host.outage(windows)
    began = host.clock.at
    host.server.answer = host.take
    while True:
        wait_s = host.drain.turn()
        host.pass_time(wait_s)
        if wait_s > 0.5 and host.unsent() == 0:
            break
    took_s = host.clock.at - began
    host.run(seconds=120)  # and some windows more
    assert set(host.server.stored.values()) == {1}, "each batch once, by its key"
    assert set(host.states().values()) == {State.ACKNOWLEDGED} and len(host.states()) == len(host.server.stored)
    lags = sorted(host.acknowledged_at[key] - end for key, end in host.committed_at.items() if end <= began + took_s)
    p99 = lags[max(0, math.ceil(0.99 * len(lags)) - 1)]
    print(f"{windows} windows in {took_s:.0f} s, {len(host.server.requests)} requests, live lag p99 {p99:.1f} s")
    assert len(lags) >= 6 and p99 <= LIVE_LAG_S, lags[-5:]
    return took_s


def test_live_windows_arrive_within_thirty_seconds_while_an_outages_backlog_drains(tmp_path: Path) -> None:
    """Half a day of 10 s windows, small ones."""
    with recovering(tmp_path / "spool", 5, request_bytes=32_768) as host:
        host.request_s = 3.0
        assert catch_up(host, 4_320) < 600
        assert len(host.server.requests) < 200, "the backlog is put together"


def test_the_backlogs_rate_is_capped_where_that_is_configured(tmp_path: Path) -> None:
    with recovering(tmp_path / "spool", 1, request_bytes=1_024, backlog_requests_per_s=0.5) as host:
        host.request_s = 0.01
        took_s = catch_up(host, 200)
        live = len(host.committed_at)
        assert (len(host.server.requests) - live - 20) / 0.5 <= took_s


def test_a_server_too_slow_for_the_backlog_still_gets_live_windows_in_time(tmp_path: Path) -> None:
    with recovering(tmp_path / "spool", 5, request_bytes=16_384) as host:
        host.request_s = 6.0
        catch_up(host, 1_000)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_day_without_a_server_is_caught_up_with(tmp_path: Path) -> None:
    """8,640 windows of 10 s with 1,000 points each."""
    with recovering(tmp_path / "spool", 1_000) as host:
        host.request_s = 0.5
        assert catch_up(host, 8_640) < 3_600
