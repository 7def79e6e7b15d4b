"""The loop that picks, attempts and records: real files, a scripted network, our own clock, no sleeping."""

import json
import shutil
import zlib
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from shipper.budget import Phase, Timings
from shipper.config import DestinationConfig, ShipperConfig
from shipper.drain import POLL_S, Drain, Surroundings
from shipper.exchange import Attempt, Request, Response
from spool.batch import Point, Window
from spool.delivery import DeliveryReader, State
from spool.reader import SpoolReader
from spool.writer import SpoolWriter

START = 1_795_000_000.0


class Clock:
    def __init__(self) -> None:
        self.at = START

    def __call__(self) -> float:
        return self.at


class Server:
    """A network whose answers a test scripts; it remembers each key it acknowledged and how often."""

    def __init__(self) -> None:
        self.requests: list[list[str]] = []
        self.bodies: dict[str, set[bytes]] = {}
        self.answer: Callable[[list[str]], Response | str] = self.accept
        self.stored: dict[str, int] = {}

    def accept(self, keys: list[str]) -> Response:
        for key in keys:
            self.stored[key] = self.stored.get(key, 0) + 1
        return Response(200, {}, json.dumps({"accepted": keys, "duplicate": [], "rejected": []}).encode())

    def attempt(self, request: Request, deadline_s: float) -> Attempt:
        keys, rest = [], request.body
        while rest:
            member = zlib.decompressobj(wbits=31)
            document = json.loads(member.decompress(rest))
            self.bodies.setdefault(document["key"], set()).add(rest[: len(rest) - len(member.unused_data)])
            rest = member.unused_data
            keys.append(document["key"])
        self.requests.append(keys)
        given = self.answer(keys)
        response, error = (given, None) if isinstance(given, Response) else (None, given)
        return Attempt(response, Phase.READ, Timings(wait_ms=1.0), 2.0, 0.0, 10, 10, "127.0.0.1:1", error, False)

    def close(self) -> None:
        pass


class Host:
    """A spool with a collector, and a Drain that sends it to a scripted server."""

    def __init__(self, directory: Path, **destination: object) -> None:
        self.directory, self.clock, self.server = directory, Clock(), Server()
        self.writer = SpoolWriter.open(directory, "web-1")
        self.config = DestinationConfig(url="https://example.net/v1/batches", **destination)  # type: ignore[arg-type]
        self.draw = 0.5
        self.drain = self.restarted()

    def restarted(self) -> Drain:
        given = Surroundings(self.server, lambda _s: nullcontext(), self.clock, self.clock, lambda: self.draw)
        self.drain = Drain(self.directory, "main", self.config, ShipperConfig(backlog_requests_per_s=1000), given)
        return self.drain

    def commit(self, windows: int = 1, points: int = 1) -> list[int]:
        ids = []
        for _ in range(windows):
            self.clock.at += 10
            seq = self.writer.next_window_seq()
            point = Point("api.hits", "counter", {}, {"value": 1.0})
            window = Window(seq, self.clock.at - 10, self.clock.at, [point] * points)
            ids += [each.id for each in self.writer.commit(window, self.clock.at)]
        return ids

    def run(self, seconds: float = 0.0) -> None:
        """Let the shipper work until it has nothing to do, and then for `seconds` of its own time."""
        until = self.clock.at + seconds
        for _ in range(10_000):
            wait_s = self.drain.turn()
            if wait_s > 0.01 and self.clock.at >= until:  # a shorter wait is the pace of the backlog
                return
            self.clock.at += wait_s
        raise AssertionError("the shipper never came to rest")

    def states(self) -> dict[int, State]:
        with DeliveryReader(self.directory, "main") as delivery:
            return delivery.states(0, 2**40)

    def ids_sent(self) -> list[list[int]]:
        return [[int(key.rpartition("-")[2]) for key in keys] for keys in self.server.requests]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path / "spool")
    yield host
    host.drain.close()
    host.writer.close()


def reply(status: int, **headers: str) -> Callable[[list[str]], Response]:
    return lambda _keys: Response(status, headers, b'{"error":"said so"}')


def test_everything_committed_is_acknowledged_once(host: Host) -> None:
    ids = host.commit(windows=3)
    host.run()
    assert host.states() == dict.fromkeys(ids, State.ACKNOWLEDGED)
    assert set(host.server.stored.values()) == {1}


def test_the_newest_window_goes_first_and_the_backlog_follows_oldest_first(host: Host) -> None:
    host.commit(windows=5)
    host.run()
    assert host.ids_sent() == [[5], [1, 2, 3, 4]]


def test_a_window_of_several_batches_goes_in_one_request(host: Host) -> None:
    ids = host.commit(points=12_000)
    host.run()
    assert host.ids_sent() == [ids] and len(ids) == 3


def test_a_server_that_is_down_costs_nothing_and_is_not_hammered(host: Host) -> None:
    host.server.answer = lambda _keys: "connection refused by 127.0.0.1:1"
    host.commit(windows=2)
    host.run(seconds=600)
    assert 10 <= len(host.server.requests) <= 40
    assert host.states() == {}
    host.server.answer = host.server.accept
    host.run(seconds=61)
    assert set(host.states().values()) == {State.ACKNOWLEDGED}


def test_a_resent_batch_has_the_same_key_and_the_same_bytes(host: Host) -> None:
    answers = iter(["deadline passed while waiting for the answer", "reset", "reset"])
    host.server.answer = lambda keys: next(answers, None) or host.server.accept(keys)
    host.commit(windows=3)
    host.run(seconds=300)
    assert all(len(bodies) == 1 for bodies in host.server.bodies.values())
    assert set(host.server.stored) == set(host.server.bodies) and len(host.server.stored) == 3


def test_a_restart_forgets_nothing_that_was_acknowledged_and_nothing_that_was_not(host: Host) -> None:
    host.commit(windows=2)
    host.run()
    host.server.answer = lambda _keys: "down"
    host.commit(windows=2)
    host.run()
    host.restarted()
    host.server.answer = host.server.accept
    host.run(seconds=61)
    assert sorted(host.server.stored.values()) == [1, 1, 1, 1]


def test_a_restart_does_not_shorten_the_wait(host: Host) -> None:
    host.server.answer = reply(503, **{"retry-after": "300"})
    host.commit()
    host.run()
    host.drain.close()
    host.restarted()
    host.server.answer = host.server.accept
    host.run(seconds=290)
    assert len(host.server.requests) == 1
    host.run(seconds=30)
    assert len(host.server.requests) == 2


@pytest.mark.parametrize("status", [401, 403, 404, 302])
def test_refused_access_parks_keeps_everything_and_resumes_by_itself(host: Host, status: int) -> None:
    host.server.answer = reply(status)
    host.commit(windows=30)
    host.run(seconds=3600)
    with DeliveryReader(host.directory, "main") as delivery:
        assert delivery.condition().parked_reason == f"{status} said so"
    assert host.states() == {}
    assert 12 <= len(host.server.requests) <= 16  # 60, 120, 240, then 300 s apart
    assert {len(keys) for keys in host.server.requests} == {1}
    host.server.answer = host.server.accept
    host.run(seconds=400)
    with DeliveryReader(host.directory, "main") as delivery:
        assert delivery.condition().parked_since is None
    assert len(host.states()) == 30


def test_one_bad_batch_is_found_and_dies_alone(host: Host) -> None:
    ids = host.commit(windows=20)
    bad = f"{host.writer.spool_id}-{ids[7]}"
    host.server.answer = lambda keys: reply(400)(keys) if bad in keys else host.server.accept(keys)
    host.run(seconds=120)
    host.commit()
    host.run()
    states = host.states()
    assert [each for each, state in states.items() if state is State.DEAD] == [ids[7]]
    assert len(states) == 21
    assert len(host.server.requests) < 20


def test_a_deployment_that_answers_400_to_everything_kills_nothing(host: Host) -> None:
    host.server.answer = reply(400)
    host.commit(windows=30)
    host.run(seconds=600)
    assert host.states() == {}
    with DeliveryReader(host.directory, "main") as delivery:
        assert delivery.condition().parked_since is not None
    host.server.answer = host.server.accept
    host.run(seconds=900)
    assert set(host.states().values()) == {State.ACKNOWLEDGED} and len(host.states()) == 30


def test_too_large_a_request_is_sent_in_parts(host: Host) -> None:
    host.server.answer = lambda keys: reply(413)(keys) if len(keys) > 3 else host.server.accept(keys)
    host.commit(windows=40)
    host.run(seconds=60)
    assert set(host.states().values()) == {State.ACKNOWLEDGED} and len(host.states()) == 40


def test_a_poisonous_batch_does_not_hold_up_the_others(host: Host) -> None:
    ids = host.commit(windows=20)
    poison = f"{host.writer.spool_id}-{ids[0]}"
    host.server.answer = lambda keys: reply(500)(keys) if poison in keys else host.server.accept(keys)
    host.run(seconds=600)
    assert set(host.states()) == set(ids[1:])
    for _ in range(50):
        host.commit(windows=12)
        host.run(seconds=60)
    assert host.states()[ids[0]] is State.DEAD


def test_a_rejected_key_is_dead_with_the_servers_words(host: Host) -> None:
    def answer(keys: list[str]) -> Response:
        rejected = [{"key": keys[0], "error": "known with another hash"}]
        return Response(200, {}, json.dumps({"accepted": keys[1:], "duplicate": [], "rejected": rejected}).encode())

    first, *_ = host.commit(points=12_000)
    host.server.answer = answer
    host.run()
    with DeliveryReader(host.directory, "main") as delivery:
        row = delivery.state_row(first)
    assert row is not None and row["state"] == "dead" and row["reason"] == "known with another hash"


def test_keys_that_were_not_listed_stay_unsent(host: Host) -> None:
    host.server.answer = lambda keys: Response(200, {}, json.dumps({"accepted": keys[:1]}).encode())
    host.commit(points=12_000)
    host.drain.turn()
    assert list(host.states().values()) == [State.ACKNOWLEDGED]


def test_a_captive_portal_acknowledges_nothing(host: Host) -> None:
    host.server.answer = lambda _keys: Response(200, {"content-type": "text/html"}, b"<html>Welcome</html>")
    host.commit(windows=3)
    host.run(seconds=300)
    assert host.states() == {}


def test_a_rotten_payload_is_dead_and_never_sent(host: Host) -> None:
    first, second = host.commit(windows=2)
    db = host.writer._connection
    db.execute("UPDATE batches SET payload = zeroblob(length(payload)) WHERE id = ?", (first,))
    host.run()
    assert host.states() == {first: State.DEAD, second: State.ACKNOWLEDGED}
    assert host.ids_sent() == [[second]]


def test_batches_past_the_destinations_age_limit_expire_and_are_listed(tmp_path: Path) -> None:
    host = Host(tmp_path / "spool", max_age_s=60)
    ids = host.commit(windows=10)
    host.run()
    assert [each for each, state in host.states().items() if state is State.EXPIRED] == ids[:3]
    assert len(host.server.stored) == 7
    host.drain.close()
    host.writer.close()


def test_a_missing_spool_is_waited_for(tmp_path: Path) -> None:
    host = Host(tmp_path / "spool")
    host.writer.close()
    (tmp_path / "spool").rename(tmp_path / "away")
    (tmp_path / "spool").mkdir()
    assert host.drain.turn() == POLL_S
    shutil.rmtree(tmp_path / "spool")
    (tmp_path / "away").rename(tmp_path / "spool")
    assert host.drain.turn() == POLL_S
    assert host.drain.pending() == 0
    host.drain.close()


def test_a_spool_that_was_replaced_is_opened_anew_and_its_ids_are_not_mixed_up(host: Host) -> None:
    host.commit(windows=3)
    host.run()
    host.writer.close()
    for file in host.directory.glob("spool.db*"):
        file.rename(file.with_name(f"{file.name}.corrupt-1"))
    host.writer = SpoolWriter.open(host.directory, "web-1")
    host.commit(windows=2)
    host.run()
    assert len(host.server.stored) == 5
    assert list(host.directory.glob("delivery-main.db.of-spool-*"))


def test_every_attempt_is_a_row_also_the_failed_ones(host: Host) -> None:
    host.server.answer = lambda _keys: "deadline of 20 s passed while waiting for the answer"
    host.commit()
    host.drain.turn()
    with DeliveryReader(host.directory, "main") as delivery:
        (row,) = delivery.attempts()
    assert row["error"] == "deadline of 20 s passed while waiting for the answer"
    assert (row["outcome"], row["phase"], row["ids"], row["total_ms"]) == ("retry", "read", "1", 2.0)


def test_minutes_tell_of_backlog_also_when_nothing_is_sent(host: Host) -> None:
    host.server.answer = lambda _keys: "down"
    host.commit(windows=3)
    host.run(seconds=180)
    with DeliveryReader(host.directory, "main") as delivery:
        minutes = delivery.minutes()
    assert len(minutes) >= 2 and minutes[-1]["unsent_batches"] == 3 and minutes[-1]["oldest_unsent_at"]


def test_an_operators_replay_is_sent_again_under_the_same_keys(host: Host) -> None:
    from spool.delivery import Delivery

    ids = host.commit(windows=3)
    host.run()
    delivery = Delivery.open(host.directory, "main", host.writer.spool_id)
    assert delivery.make_unsent(ids, host.clock.at, "root", "replay", [State.ACKNOWLEDGED]) == 3
    delivery.close()
    host.run()
    assert set(host.server.stored.values()) == {2}
    with SpoolReader(host.directory, "main") as spool:
        assert spool.backlog().batches == 0
