"""What Prometheus' compliance suite asks of remote-write senders, in our own words and for our outcomes.

The list: prometheus/compliance, remotewrite/sender: retry, backoff, response, error handling, edge cases. Where
Prometheus drops what a server refuses, we park or keep it: nothing is given up that the server may yet take.
"""

from collections.abc import Callable, Iterator
from email.utils import formatdate
from itertools import pairwise
from pathlib import Path

import pytest

from shipper.exchange import Response
from spool.delivery import DeliveryReader, State
from tests.shipper.host import Host, reply
from tests.shipper.test_transport import Server


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def attempts(host: Host) -> list[dict[str, object]]:
    """Rows of attempts, oldest first."""
    with DeliveryReader(host.directory, "main") as delivery:
        return delivery.attempts(limit=100_000)[::-1]


# --- what must be tried again ------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 429, 500, 503, 599, 204])
def test_what_may_pass_is_tried_again_with_the_same_bytes_until_it_passes(host: Host, status: int) -> None:
    failing = [reply(status)] * 4
    host.server.answer = lambda keys: failing.pop()(keys) if failing else host.server.accept(keys)
    host.commit()
    host.run(seconds=200)
    assert len(host.server.requests) == 5 and list(host.states().values()) == [State.ACKNOWLEDGED]
    assert [len(bodies) for bodies in host.server.bodies.values()] == [1]


@pytest.mark.parametrize("error", ["connection refused by 127.0.0.1:1"])
def test_a_server_that_cannot_be_reached_is_tried_for_as_long_as_it_takes(host: Host, error: str) -> None:
    host.server.answer = lambda _keys: error
    host.commit()
    host.run(seconds=2 * 3600)
    assert host.states() == {}
    host.server.answer = host.server.accept
    host.run(seconds=61)
    assert list(host.states().values()) == [State.ACKNOWLEDGED]


# --- what must not be tried again and again, and must not be dropped either -------------------------------------


@pytest.mark.parametrize("status", [400, 422])
def test_a_refused_batch_is_not_repeated_for_ever_and_holds_up_nobody(host: Host, status: int) -> None:
    (bad,) = host.commit()
    key = f"{host.writer.spool_id}-{bad}"
    host.server.answer = lambda keys: reply(status)(keys) if key in keys else host.server.accept(keys)
    for _ in range(12):
        host.commit()
        host.run(seconds=10)
    assert host.states().pop(bad) is State.DEAD and len(host.states()) == 13
    assert sum(key in keys for keys in host.server.requests) <= 4


@pytest.mark.parametrize("status", [401, 407, 431, 511, 307])
def test_refused_access_is_probed_and_loses_nothing(host: Host, status: int) -> None:
    host.server.answer = reply(status)
    host.commit(windows=3)
    host.run(seconds=1800)
    assert host.states() == {} and len(host.server.requests) <= 62
    host.server.answer = host.server.accept
    host.run(seconds=40)
    assert set(host.states().values()) == {State.ACKNOWLEDGED}


# --- backoff -----------------------------------------------------------------------------------------------


def test_waits_grow_to_sixty_seconds_and_no_further(host: Host) -> None:
    host.draw = 0.999
    host.server.answer = reply(503)
    host.commit()
    host.run(seconds=900)
    began = [row["started_at"] for row in attempts(host)]
    waits = [later - earlier for earlier, later in pairwise(began)]
    assert waits[:6] == sorted(waits[:6]) and waits[0] < 2.1 and max(waits) <= 62 and waits[-1] > 59


def test_hosts_that_fail_together_do_not_come_back_together(tmp_path: Path) -> None:
    second_tries = set()
    for number in range(8):
        host = Host(tmp_path / f"spool-{number}")
        host.draw = number / 8
        host.server.answer = reply(503, **{"retry-after": "100"})
        host.commit()
        host.run(seconds=120)
        second_tries.add(round(attempts(host)[1]["started_at"] - attempts(host)[0]["started_at"], 2))
        host.drain.close()
        host.writer.close()
    assert len(second_tries) == 8 and all(100 <= each <= 111 for each in second_tries)


@pytest.mark.parametrize(
    ("value", "least_s", "most_s"),
    [
        ("5", 5, 6.6),
        ("0", 1, 2.2),
        ("1000000000", 900, 991),
        ("Sat, 14 Nov 2026 10:00:40 GMT", 1, 1000),
        ("Mon, 01 Jan 1990 00:00:00 GMT", 1, 2.2),
        ("-1", 0, 2.1),
        ("soon", 0, 2.1),
        ("1e9", 0, 2.1),
        ("9" * 4096, 0, 2.1),
        ("5, 7", 0, 2.1),
    ],
)
def test_retry_after_is_obeyed_within_a_second_and_a_quarter_of_an_hour(
    host: Host, value: str, least_s: float, most_s: float
) -> None:
    host.server.answer = reply(429, **{"retry-after": value})
    host.commit()
    host.run()
    host.run(seconds=1200)
    first, second = (row["started_at"] for row in attempts(host)[:2])
    assert least_s <= second - first <= most_s


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_a_broken_server_refused_arrives_when_it_is_mended_also_if_nothing_follows(
    host: Host, status: int
) -> None:
    host.commit(windows=3)
    host.server.answer = reply(status)
    host.run(seconds=300)
    assert host.states() == {} and len(host.server.requests) < 40
    host.server.answer = host.server.accept
    host.run(seconds=60)
    assert list(host.states().values()) == [State.ACKNOWLEDGED] * 3


# --- odd answers, on a real connection -----------------------------------------------------------------------

ODD = {
    "nothing": b"",
    "no HTTP": b"\x16\x03\x01 hello\r\n\r\n",
    "HTTP/0.9": b"<html>accepted</html>\r\n\r\n",
    "a status that is none": b"HTTP/1.1 2OO OK\r\n\r\n",
    "a 200 cut short": b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"accepted":[',
    "an empty 200": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "a portal": b"HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n<html>Welcome!</html>",
    "a huge body": b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n" + b"x" * 300_000,
    "huge headers": b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 100_000 + b"\r\n\r\n",
    "broken chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 4\r\n\r\n{}{}",
    "gzip that is none": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
}


@pytest.fixture
def sending(tmp_path: Path, server: Server) -> Iterator[Callable[[str], Host]]:
    """Makes a host that sends over real connections to `host` of the URL."""
    made: list[Host] = []

    def make(name: str) -> Host:
        host = Host(tmp_path / "spool", **{"url": f"http://{name}:{server.port}/v1/batches"})
        made.append(host)
        return host

    yield make
    for host in made:
        host.drain.close()
        host.writer.close()


@pytest.mark.parametrize("ahead_s", [-7200.0, 7200.0])
def test_a_date_in_retry_after_is_by_the_servers_clock(host: Host, ahead_s: float) -> None:
    host.commit()
    theirs = host.clock() - ahead_s
    dates = {name: formatdate(at, usegmt=True) for name, at in (("date", theirs), ("retry-after", theirs + 120))}
    host.server.answer = reply(503, **dates)
    host.run()
    host.server.answer = host.server.accept
    host.run(seconds=110)
    assert len(host.server.requests) == 1
    host.run(seconds=25)
    assert list(host.states().values()) == [State.ACKNOWLEDGED]


@pytest.mark.parametrize("what", ODD)
def test_an_odd_answer_acknowledges_nothing_and_the_next_good_one_does(
    what: str, server: Server, sending: Callable[[str], Host]
) -> None:
    host = sending("127.0.0.1")
    key = f"{host.writer.spool_id}-1"
    good = f'{{"accepted":["{key}"],"duplicate":[],"rejected":[]}}'.encode()
    answers = iter([ODD[what]] * 2)
    server.answer = lambda _head: next(answers, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(good), good))
    server.hang_up_after_answer = True
    host.commit()
    host.run()
    assert host.states() == {}
    host.run(seconds=60)
    assert host.states() == {1: State.ACKNOWLEDGED}
    assert [row["outcome"] for row in attempts(host)] == ["retry", "retry", "acknowledged"]


def test_a_name_that_does_not_resolve_is_a_failed_attempt_and_not_an_end(sending: Callable[[str], Host]) -> None:
    host = sending("no-such-host.invalid")
    host.commit()
    host.run(seconds=5)
    rows = attempts(host)
    assert rows and {row["phase"] for row in rows} == {"dns"} and "could not be resolved" in rows[0]["error"]


# --- what is sent ------------------------------------------------------------------------------------------


def test_requests_say_what_they_are(server: Server, sending: Callable[[str], Host]) -> None:
    host = sending("127.0.0.1")
    host.commit()
    host.run()
    head = server.heads[0].decode().lower()
    for line in ("post /v1/batches http/1.1", "content-type: application/x-ndjson", "content-encoding: gzip"):
        assert line in head
    for name in ("content-length", "user-agent", "idempotency-key", "host"):
        assert f"\r\n{name}: " in head


def test_the_backlog_arrives_in_the_order_of_time(host: Host) -> None:
    host.server.answer = lambda _keys: "down"
    host.commit(windows=30)
    host.run()
    arrived: list[int] = []

    def accept(keys: list[str]) -> Response:
        arrived.extend(int(key.rpartition("-")[2]) for key in keys)
        return host.server.accept(keys)

    host.server.answer = accept
    host.run(seconds=61)
    assert arrived.index(30) <= 29 and [each for each in arrived if each != 30] == list(range(1, 30))
