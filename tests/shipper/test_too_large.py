"""413 from end to end: the hub, real files, and what the reference server stores of batches that come in parts."""

import time
from pathlib import Path

from shipper.budget import Phase, Timings
from shipper.exchange import Attempt, Request, Response
from shipper.receiver.reader import StoreReader
from shipper.receiver.store import Store
from spool.delivery import DeliveryReader, State
from tests.shipper.host import Host, reply


class Narrow:
    """A network behind which a Prometheus takes requests of up to 60,000 bytes."""

    def attempt(self, request: Request, deadline_s: float) -> Attempt:
        response = Response(413 if len(request.body) > 60_000 else 204, {}, b"")
        return Attempt(response, Phase.READ, Timings(), 2.0, 0.0, 10, 10, None, None, False)

    def close(self) -> None:
        pass


def total(store: Store) -> float:
    """The sum of all counters, each of which is 1 in each window: how many points were stored."""
    return float(sum(each["sum"] for each in StoreReader(store.path, time.monotonic).totals("*", 100_000)))


def test_windows_over_the_servers_limit_arrive_whole_each_point_once(host: Host, store: Store) -> None:
    host.server.answer = host.server.reference(store, 1_000)
    ids = host.commit(windows=4, points=1_000)
    host.run(seconds=60)
    assert host.states() == dict.fromkeys(ids, State.ACKNOWLEDGED)
    assert total(store) == 4_000
    assert all(len(bodies) == 1 for bodies in host.server.bodies.values())
    assert any("/" in key for key in host.server.bodies)
    refused_before = len(host.server.requests)
    host.commit(points=1_000)
    host.run(seconds=60)
    again = host.server.requests[refused_before:]
    assert total(store) == 5_000 and len(again) <= 8  # the limit is known by now: no request was made in vain


def test_a_restart_in_the_middle_of_a_batch_and_another_limit_after_it_count_no_point_twice(
    host: Host, store: Store
) -> None:
    take = host.server.reference(store, 1_000)
    taken: list[list[str]] = []

    def first_two(keys: list[str]) -> Response | str:
        answer = "reset by peer" if len(taken) == 2 else take(keys)
        if isinstance(answer, Response) and answer.status == 200:
            taken.append(keys)
        return answer

    host.server.answer = first_two
    (batch,) = host.commit(points=1_000)
    host.run()
    assert len(taken) == 2 and host.states() == {} and 0 < total(store) < 1_000
    for limit_bytes in (500, 2_000, 10**9):  # smaller parts of stored ones, larger ones, and the whole
        host.drain.close()
        host.restarted()
        host.server.answer = host.server.reference(store, limit_bytes)
        host.run(seconds=61)
        assert host.states() == {batch: State.ACKNOWLEDGED} and total(store) == 1_000
        host.drain._delivery.make_unsent([batch], host.clock.at, "root", "replay", [State.ACKNOWLEDGED])
    [stored] = StoreReader(store.path, time.monotonic).hosts()
    assert (stored["points"], stored["missing"], len(stored["spools"])) == (1_000, 0, 1)


def test_one_point_that_no_server_takes_is_named_and_the_others_arrive(host: Host, store: Store) -> None:
    take = host.server.reference(store)
    bad = b"api.hits.777"

    def answer(keys: list[str]) -> Response:
        import gzip

        text = gzip.decompress(host.server.last.body)
        return reply(413)(keys) if bad + b'"' in text else take(keys)

    host.server.answer = answer
    (batch,) = host.commit(points=1_000)
    host.run(seconds=60)
    with DeliveryReader(host.directory, "main") as delivery:
        row = delivery.state_row(batch)
    assert row["state"] == "dead"
    expected = "1 of 1000 points refused, the others acknowledged: point 778 (api.hits.777) refused: 413 said so"
    assert row["reason"] == expected
    assert total(store) == 999


def test_a_server_to_which_everything_is_too_large_parks_and_nothing_dies(host: Host, store: Store) -> None:
    host.server.answer = reply(413)
    host.commit(windows=20, points=30)
    host.run(seconds=3600)
    assert host.states() == {}
    with DeliveryReader(host.directory, "main") as delivery:
        assert delivery.condition().parked_since is not None
    assert len(host.server.requests) < 150  # of which 120 probe
    host.server.answer = host.server.reference(store)
    host.run(seconds=900)
    assert set(host.states().values()) == {State.ACKNOWLEDGED} and len(host.states()) == 20
    assert total(store) == 600


def test_headers_that_are_too_large_park_because_smaller_bodies_would_not_help(host: Host) -> None:
    host.server.answer = reply(431)
    host.commit(windows=5, points=10)
    host.run(seconds=600)
    assert host.states() == {}
    assert all("/" not in key for keys in host.server.requests for key in keys)
    with DeliveryReader(host.directory, "main") as delivery:
        assert delivery.condition().parked_reason == "431 said so"


def test_a_protocol_whose_requests_are_larger_than_what_is_stored_gets_below_the_limit_too(tmp_path: Path) -> None:
    host = Host(tmp_path, protocol="prometheus", url="https://example.net/api/v1/write")
    host.sender = Narrow()
    host.restarted()
    ids = host.commit(windows=20, points=200)  # 20 KB as stored, 90 KB as a request
    for _ in range(20):
        host.clock.at += host.drain.turn()
    assert host.states() == dict.fromkeys(ids, State.ACKNOWLEDGED)
    host.drain.close()
    host.writer.close()
