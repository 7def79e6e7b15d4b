"""When the check-in is posted, with a scripted server and our own clock."""

import json
import os
from contextlib import closing
from pathlib import Path

from shipper.budget import Phase, Timings
from shipper.checkin import LOOK_S, RETRY_S, CheckIn, Report
from shipper.config import DestinationConfig, ShipperConfig
from shipper.exchange import MAX_CHECKIN_BYTES, Attempt, Request, Response
from spool.batch import Window
from spool.config import SpoolConfig
from spool.retention import Loss
from spool.survey import survey
from spool.writer import SpoolWriter


class Server:
    def __init__(self) -> None:
        self.status: int | None = 200
        self.said = b'{"ok":true}'
        self.told: list[dict[str, object]] = []

    def attempt(self, request: Request, deadline_s: float) -> Attempt:
        status = self.status if len(request.body) <= MAX_CHECKIN_BYTES else 413
        response = None if status is None else Response(status, {}, self.said)
        self.told.append(json.loads(request.body))
        error = "connection refused" if response is None else None
        return Attempt(response, Phase.READ, Timings(), 1.0, 0.0, 1, 1, None, error, False)

    def close(self) -> None:
        pass


def made(folder: Path, server: Server, clock: list[float]) -> CheckIn:
    destination = DestinationConfig(url="https://x/v1/batches", checkin_url="https://x/v1/checkin")
    return CheckIn(
        folder,
        SpoolConfig(),
        {"main": destination},
        ShipperConfig(checkin_interval_s=60),
        Report("web-1", "0", "3", 10),
        {"main": server},
        lambda: 1_795_000_000.0 + clock[0],
        lambda: clock[0],
        lambda: 0.5,
    )


def told_within(checkin: CheckIn, server: Server, clock: list[float], seconds: float) -> int:
    before, until = len(server.told), clock[0] + seconds
    while clock[0] < until:
        clock[0] += checkin.turn()
    return len(server.told) - before


def test_health_is_told_once_a_minute_and_a_missing_spool_is_what_is_told(tmp_path: Path) -> None:
    server, clock = Server(), [0.0]
    assert told_within(made(tmp_path, server, clock), server, clock, 600) == 10
    assert server.told[-1]["state"] == "FAIL" and "spool.db" in str(server.told[-1]["reasons"])
    # The collector may be starting in this moment.
    assert server.told[0]["state"] == "UNKNOWN" and "spool.db" in str(server.told[0]["reasons"])


def test_a_check_in_that_was_not_taken_is_repeated_soon(tmp_path: Path) -> None:
    server, clock = Server(), [0.0]
    checkin = made(tmp_path, server, clock)
    server.status = None
    assert told_within(checkin, server, clock, 10 * RETRY_S) == 10
    server.status = 503
    assert told_within(checkin, server, clock, 10 * RETRY_S) == 10
    server.status = 200
    assert told_within(checkin, server, clock, 600) == 10


def test_a_server_that_takes_none_is_told_of_on_this_host_until_it_takes_one(tmp_path: Path) -> None:
    server, clock = Server(), [0.0]
    SpoolWriter.open(tmp_path, "web-1").close()

    def failing() -> tuple[float | None, str | None]:
        (main,) = survey(tmp_path, ["main"], SpoolConfig(), 10, 1_795_000_000.0 + clock[0]).destinations
        return main.checkin_failing_since, main.checkin_error

    checkin = made(tmp_path, server, clock)
    told_within(checkin, server, clock, 30)
    assert failing() == (None, None)
    server.status = None
    told_within(checkin, server, clock, 70)
    since, error = failing()
    assert since and 1_795_000_030 < since < 1_795_000_100 and error == "connection refused"
    checkin = made(tmp_path, server, clock)  # a restart
    server.status, server.said = 401, b'{"error":"the token is wrong"}'
    told_within(checkin, server, clock, 30)
    assert failing() == (since, "401 the token is wrong")
    server.status = 200
    told_within(checkin, server, clock, 30)
    assert failing() == (None, None)


def test_a_web_page_is_no_server_that_was_told(tmp_path: Path) -> None:
    server, clock = Server(), [0.0]
    server.said = b"<html>Welcome to our network</html>"
    assert told_within(made(tmp_path, server, clock), server, clock, 10 * RETRY_S) == 10
    assert {each["since"] for each in server.told} == {1_795_000_000.0}


def test_a_change_of_state_is_told_without_waiting_for_the_minute(tmp_path: Path) -> None:
    server, clock = Server(), [0.0]
    checkin = made(tmp_path, server, clock)
    told_within(checkin, server, clock, 80)
    assert server.told[-1]["state"] == "FAIL"
    SpoolWriter.open(tmp_path, "web-1").close()
    os.utime(tmp_path / "collector.lock", (1_795_000_000.0 + clock[0],) * 2)
    assert told_within(checkin, server, clock, LOOK_S) == 1
    assert server.told[-1]["state"] == "UNKNOWN"
    assert told_within(checkin, server, clock, 40) == 0


def test_losses_are_told_until_the_server_has_taken_them(tmp_path: Path) -> None:
    server, clock = Server(), [0.0]
    checkin = made(tmp_path, server, clock)
    server.status = 500
    told_within(checkin, server, clock, 60)
    assert len({each["since"] for each in server.told}) == 1
    server.status = 200
    told_within(checkin, server, clock, 180)
    assert len({each["since"] for each in server.told}) > 2


def told_losses(server: Server) -> list[int]:
    return [loss["first_window"] for told in server.told for loss in told["losses_since"]]  # type: ignore[index,attr-defined]


def test_each_loss_is_told_once_whatever_its_date_says(tmp_path: Path) -> None:
    server, clock = Server(), [0.0]
    writer = SpoolWriter.open(tmp_path, "web-1")
    checkin = made(tmp_path, server, clock)
    for seq, at in enumerate([30.0, 25.0, -3600.0, 250.0], 1):
        # Dated before the check-in that came before its commit: eviction dates all rows by when it began.
        told_within(checkin, server, clock, 60)
        writer.shed([Window(seq, 0, 10, [])], 1_795_000_000.0 + at, "memory")
    told_within(checkin, server, clock, 130)
    checkin = made(tmp_path, server, clock)  # a restart
    told_within(checkin, server, clock, 130)
    assert told_losses(server) == [1, 2, 3, 4]
    writer.close()


def test_what_a_server_refused_to_hear_is_told_again(tmp_path: Path) -> None:
    server, clock = Server(), [0.0]
    with closing(SpoolWriter.open(tmp_path, "web-1")) as writer:
        checkin = made(tmp_path, server, clock)
        told_within(checkin, server, clock, 60)
        writer.shed([Window(1, 0, 10, [])], 1_795_000_000.0 + clock[0], "memory")
    server.status = 500
    told_within(checkin, server, clock, 70)
    (tmp_path / "spool.db").rename(tmp_path / "away")
    server.status = 200  # it hears that there is no spool, and nothing of the loss
    told_within(checkin, server, clock, 20)
    (tmp_path / "away").rename(tmp_path / "spool.db")
    before = len(server.told)
    told_within(checkin, server, clock, 200)
    assert [len(each["losses_since"]) for each in server.told[before:]].count(1) == 1  # type: ignore[arg-type]


def test_losses_at_many_destinations_do_not_make_a_check_in_too_long_to_be_taken(tmp_path: Path) -> None:
    server, clock = Server(), [0.0]
    owing = tuple(f"victoria-eu-central-{number}" for number in range(20))
    with closing(SpoolWriter.open(tmp_path, "web-1")) as writer:
        checkin = made(tmp_path, server, clock)
        told_within(checkin, server, clock, 60)
        for seq in range(1, 101):
            at = 1_795_000_000.0 + clock[0]
            writer.evict([Loss("size", 2 * seq, 2 * seq, seq, seq, at - 10, at, 1, 4_321, owing)], [], at)
        told_within(checkin, server, clock, 130)
    assert 20 < len(told_losses(server)) < 100 and max(told_losses(server)) == 100
    assert not server.told[-1]["losses_since"], "they were taken"
