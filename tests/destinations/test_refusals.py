"""What real servers refuse, and what becomes of it: the rest is stored, and nothing is tried for ever."""

import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from spool.batch import Point, Window
from spool.delivery import DeliveryReader
from spool.ledger import State
from spool.writer import SpoolWriter
from tests.destinations.fleet import Fleet
from tests.destinations.servers import InfluxDB, Prometheus

HOUR_S = 3600


class Host:
    """A spool that a test fills with windows of chosen ages, and one destination."""

    def __init__(self, home: Path, **table: object) -> None:
        self.fleet = Fleet(home, {"main": table})
        (home / "token").write_text("u:secret\n")
        (home / "token").chmod(0o600)
        self.writer = SpoolWriter.open(self.fleet.spool, "web-1")
        self.now = time.time() // 10 * 10

    def commit(self, age_s: float, **counters: float) -> int:
        """One window that ended so long ago; the batch's id."""
        end = self.now - age_s
        points = [Point(name, "counter", {}, {"value": value}) for name, value in counters.items()]
        window = Window(self.writer.next_window_seq(), end - 10, end, points)
        return self.writer.commit(window, self.now)[0].id

    def ship(self) -> tuple[dict[int, State], dict[int, str | None]]:
        """Send everything; states and reasons by batch."""
        code, said = self.fleet.ship(["main"])["main"]
        assert code == 0, said
        with DeliveryReader(self.fleet.spool, "main") as delivery:
            rows = delivery.state_rows()
        return {row["batch"]: row["state"] for row in rows}, {row["batch"]: row["reason"] for row in rows}


@pytest.fixture(scope="module")
def influx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxDB]:
    server = InfluxDB(tmp_path_factory.mktemp("influx"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def to_influx(influx: InfluxDB, tmp_path: Path) -> Iterator[Host]:
    url = f"http://127.0.0.1:{influx.port}/write?db=m"
    host = Host(tmp_path, protocol="influx", url=url, token_file="token")
    yield host
    host.writer.close()


def test_a_field_of_another_type_costs_its_own_point_only(influx: InfluxDB, to_influx: Host) -> None:
    write = f"http://127.0.0.1:{influx.port}/write?db=m&u=u&p=secret"
    with urllib.request.urlopen(write, b"taken value=5i", timeout=10) as answer:
        assert answer.status == 204
    batch = to_influx.commit(60, taken=1.0, free=2.0)
    states, reasons = to_influx.ship()
    assert states == {batch: State.ACKNOWLEDGED}
    reason = reasons[batch] or ""
    assert reason.startswith("1 points refused, the others stored: 400 partial write: field type conflict"), reason
    assert "taken" in reason and list(influx.samples("free").values()) == [2.0]


@pytest.mark.parametrize("name", ["user.retention", "long." * 200])
def test_whatever_it_is_called_a_refused_point_costs_no_other_one(influx: InfluxDB, to_influx: Host, name: str) -> None:
    write = f"http://127.0.0.1:{influx.port}/write?db=m&u=u&p=secret"
    with urllib.request.urlopen(write, f"{name} value=5i".encode(), timeout=10) as answer:
        assert answer.status == 204
    batch = to_influx.commit(60, **{name: 1.0, "other": 2.0})
    assert to_influx.ship()[0] == {batch: State.ACKNOWLEDGED}


def test_what_is_beyond_retention_expires_and_the_rest_is_stored(influx: InfluxDB, to_influx: Host) -> None:
    influx.query("CREATE RETENTION POLICY short ON m DURATION 1h REPLICATION 1 SHARD DURATION 1h")
    to_influx.fleet.tables = {"main": {**to_influx.fleet.tables["main"]}}
    to_influx.fleet.tables["main"]["url"] += "&rp=short"  # type: ignore[index]
    to_influx.fleet.configure(deadline_s=5, url="")
    ages = {to_influx.commit(age_s, late=1.0): age_s for age_s in (5 * HOUR_S, 4 * HOUR_S, 600, 60)}
    states, reasons = to_influx.ship()
    assert states == {each: State.EXPIRED if age_s > HOUR_S else State.ACKNOWLEDGED for each, age_s in ages.items()}
    assert "beyond retention policy" in str(reasons[min(ages)])


def prometheus(home: Path, window: str | None) -> Iterator[tuple[Prometheus, Host]]:
    server = Prometheus(home / "prometheus", window)
    server.start()
    url = f"http://127.0.0.1:{server.port}/api/v1/write"
    host = Host(home / "holdfast", protocol="prometheus", url=url)
    yield server, host
    host.writer.close()
    server.stop()


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[tuple[Prometheus, Host]]:
    yield from prometheus(tmp_path, None)


@pytest.fixture
def windowed(tmp_path: Path) -> Iterator[tuple[Prometheus, Host]]:
    yield from prometheus(tmp_path, "1h")


def test_a_backlog_arrives_before_the_newest_window_would_make_it_too_old(plain: tuple[Prometheus, Host]) -> None:
    server, host = plain
    batches = [host.commit(age_s, hits=1.0) for age_s in range(1800, 0, -60)]
    states, _ = host.ship()
    assert states == dict.fromkeys(batches, State.ACKNOWLEDGED)
    assert len(server.samples("hits_delta")) == len(batches)


def test_what_is_out_of_bounds_expires_and_the_rest_is_stored(plain: tuple[Prometheus, Host]) -> None:
    server, host = plain
    now = host.commit(30, first=1.0)
    assert host.ship()[0] == {now: State.ACKNOWLEDGED}  # from here on its head begins at about now - 1 h
    ages = {host.commit(age_s, hits=1.0): age_s for age_s in (9 * HOUR_S, 8 * HOUR_S, 1200, 600)}
    states, reasons = host.ship()
    wanted = {each: State.EXPIRED if age_s > HOUR_S else State.ACKNOWLEDGED for each, age_s in ages.items()}
    assert states == {now: State.ACKNOWLEDGED, **wanted}
    assert "out of bounds" in str(reasons[min(ages)])
    assert len(server.samples("hits_delta")) == 2


def test_a_500_for_a_sample_that_is_too_old_does_not_loop(windowed: tuple[Prometheus, Host]) -> None:
    server, host = windowed
    now = host.commit(0, hits=1.0)
    host.ship()
    ages = {host.commit(age_s, hits=1.0): age_s for age_s in (3 * HOUR_S, 2 * HOUR_S, 1200)}
    states, reasons = host.ship()
    wanted = {each: State.EXPIRED if age_s > HOUR_S else State.ACKNOWLEDGED for each, age_s in ages.items()}
    assert states == {now: State.ACKNOWLEDGED, **wanted}
    assert str(reasons[min(ages)]).startswith("500 too old sample")
    assert len(server.samples("hits_delta")) == 2


def test_series_that_were_seen_at_that_time_are_taken_again_as_the_same(windowed: tuple[Prometheus, Host]) -> None:
    _, host = windowed
    batch = host.commit(0, hits=1.0)
    host.ship()
    host.fleet.command("spool.cli", "replay", str(batch), "--apply")
    assert host.ship()[0] == {batch: State.ACKNOWLEDGED}
