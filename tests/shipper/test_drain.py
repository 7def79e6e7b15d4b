"""The loop that picks, attempts and records: real files, a scripted network, our own clock, no sleeping."""

import gzip
import hashlib
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from shipper.budget import Phase, Timings
from shipper.drain import POLL_S
from shipper.exchange import Attempt, Request, Response
from shipper.protocols.holdfast import TRAITS
from spool.delivery import DeliveryReader, State
from spool.reader import SpoolReader
from spool.writer import SpoolWriter
from tests.shipper.host import Host, Late, reply


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


def test_a_state_is_remembered_as_long_as_the_spool_has_a_row_of_its_window(host: Host) -> None:
    host.commit(windows=3)
    host.run()
    host.writer.evict([], [1, 2], host.clock())  # acknowledged, which is no loss
    host.clock.at += 31 * 86_400 - host.clock.at % 3600
    host.commit()
    host.run()
    assert set(host.states()) == {1, 2, 3, 4}, "an audit could not tell what became of 1 and 2"
    host.writer.forget_windows(host.clock() - 30 * 86_400)
    host.clock.at += 3600 - host.clock.at % 3600
    host.commit()
    host.run()
    assert set(host.states()) == {3, 4, 5}


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
    assert 115 <= len(host.server.requests) <= 125  # 30 s apart
    assert {len(keys) for keys in host.server.requests} == {1}
    host.server.answer = host.server.accept
    host.run(seconds=40)
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


def test_an_outage_of_hours_with_answers_kills_no_batch(host: Host) -> None:
    host.server.answer = reply(503)
    ids = host.commit(windows=20)
    host.run(seconds=7200)
    host.server.answer = host.server.accept
    for _ in range(20):
        ids += host.commit()
        host.run(seconds=10)
    host.run(seconds=120)
    assert host.states() == dict.fromkeys(ids, State.ACKNOWLEDGED)


def test_what_does_not_fit_into_the_deadline_is_sent_in_smaller_requests(host: Host) -> None:
    host.server.answer = lambda keys: Late("deadline passed") if len(keys) > 3 else host.server.accept(keys)
    host.commit(windows=40)
    host.run(seconds=600)
    assert set(host.states().values()) == {State.ACKNOWLEDGED} and len(host.states()) == 40


def test_a_rotten_payload_is_dead_and_never_sent(host: Host) -> None:
    first, second = host.commit(windows=2)
    db = host.writer._connection
    db.execute("UPDATE batches SET payload = zeroblob(length(payload)) WHERE id = ?", (first,))
    host.run()
    assert host.states() == {first: State.DEAD, second: State.ACKNOWLEDGED}
    assert host.ids_sent() == [[second]]


class Influx:
    """A network behind which an InfluxDB takes everything."""

    def attempt(self, request: Request, deadline_s: float) -> Attempt:
        return Attempt(Response(204, {}, b""), Phase.READ, Timings(), 2.0, 0.0, 10, 10, None, None, False)

    def close(self) -> None:
        pass


def test_a_payload_of_another_version_is_dead_and_holds_up_nobody(tmp_path: Path) -> None:
    host = Host(tmp_path, protocol="influx", url="https://example.net/api/v2/write")
    host.sender = Influx()
    host.restarted()
    ids = host.commit(windows=5)
    newer = gzip.compress(b'{"v":99}')  # its hash is right: the disk changed nothing
    host.writer._connection.execute(
        "UPDATE batches SET payload = ?, sha256 = ? WHERE id = ?", (newer, hashlib.sha256(newer).hexdigest(), ids[1])
    )
    host.run(seconds=5)
    assert host.states() == dict.fromkeys(ids, State.ACKNOWLEDGED) | {ids[1]: State.DEAD}
    with DeliveryReader(host.directory, "main") as delivery:
        row = delivery.state_row(ids[1])
    assert row is not None and "not a batch of version 1" in row["reason"]
    host.drain.close()
    host.writer.close()


def test_batches_past_the_destinations_age_limit_expire_and_are_listed(tmp_path: Path) -> None:
    host = Host(tmp_path / "spool", max_age_s=60)
    ids = host.commit(windows=10)
    host.run()
    assert [each for each, state in host.states().items() if state is State.EXPIRED] == ids[:3]
    assert len(host.server.stored) == 7
    host.drain.close()
    host.writer.close()


@pytest.mark.parametrize("jump_s", [86_400, -86_400, 10 * 365 * 86_400])
def test_a_clock_that_jumps_expires_nothing(tmp_path: Path, jump_s: float) -> None:
    host = Host(tmp_path / "spool", max_age_s=3600)
    host.server.answer = lambda _keys: "down"
    host.commit(windows=20)
    host.run()
    host.clock.at += jump_s
    host.restarted()
    host.run(seconds=5)
    host.commit(windows=20)
    host.run(seconds=30)
    assert host.states() == {}
    host.server.answer = host.server.accept
    host.run(seconds=900)
    assert set(host.states().values()) == {State.ACKNOWLEDGED} and len(host.states()) == 40
    host.drain.close()
    host.writer.close()


def test_a_deployment_that_answers_400_for_a_while_kills_none_of_the_few_that_it_saw(host: Host) -> None:
    bad = [reply(400)] * 5
    host.server.answer = lambda keys: bad.pop()(keys) if bad else host.server.accept(keys)
    host.commit(windows=30)
    host.run(seconds=120)
    assert set(host.states().values()) == {State.ACKNOWLEDGED} and len(host.states()) == 30


@pytest.mark.parametrize("refused_before", [False, True])
def test_a_token_file_that_is_gone_is_what_every_account_names(tmp_path: Path, refused_before: bool) -> None:
    token = tmp_path / "token"
    host = Host(tmp_path / "spool", token_file=token)
    if refused_before:
        token.touch(mode=0o600)
        token.write_text("secret")
        host.server.answer = reply(401)
        host.commit()
        host.run()
        token.unlink()
    asked = len(host.server.requests)
    host.commit(windows=2)
    host.run(seconds=41)
    with DeliveryReader(host.directory, "main") as delivery:
        condition, newest = delivery.condition(), delivery.attempts(limit=1)[0]
    gone = f"token_file {token}: No such file or directory. Check its path, owner and mode."
    assert condition.parked_since is not None and condition.failures
    assert condition.parked_reason == condition.last_error == newest["error"] == gone
    assert newest["outcome"] == "park" and newest["body_bytes"] == 0 and len(host.server.requests) == asked
    token.touch(mode=0o600)
    token.write_text("secret")
    host.server.answer = host.server.accept
    host.run(seconds=41)
    assert set(host.states().values()) == {State.ACKNOWLEDGED}
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


def another_spool(host: Host) -> None:
    host.writer.close()
    for file in host.directory.glob("spool.db*"):
        file.rename(file.with_name(f"{file.name}.corrupt-1"))
    host.writer = SpoolWriter.open(host.directory, "web-1")


def test_a_spool_that_was_replaced_is_opened_anew_and_its_ids_are_not_mixed_up(host: Host) -> None:
    host.commit(windows=3)
    host.run()
    another_spool(host)
    host.commit(windows=2)
    host.run()
    assert len(host.server.stored) == 5
    assert list(host.directory.glob("delivery-main.db.of-spool-*"))


def test_what_could_not_be_recorded_is_not_recorded_of_another_spools_batches(host: Host) -> None:
    host.run()
    with closing(sqlite3.connect(host.directory / "delivery-main.db", isolation_level=None)) as lock:

        def meanwhile_locked(keys: list[str]) -> Response:
            lock.execute("BEGIN IMMEDIATE")
            return host.server.accept(keys)

        host.server.answer = meanwhile_locked
        host.commit()
        host.drain.turn()
    another_spool(host)
    host.server.answer = host.server.accept
    ids = host.commit(windows=2)
    host.run()
    assert host.states() == dict.fromkeys(ids, State.ACKNOWLEDGED)
    assert {f"{host.writer.spool_id}-{each}" for each in ids} < host.server.stored.keys()


def test_a_refusal_is_not_held_against_another_spools_batch_of_that_number(host: Host) -> None:
    ids = host.commit(windows=2)
    host.server.answer = lambda keys: reply(400)(keys) if keys[0].endswith("-1") else host.server.accept(keys)
    host.drain.turn()
    host.drain.turn()
    assert sorted(host.ids_sent()) == [[1], [2]] and set(host.states()) == {2}
    another_spool(host)
    assert host.commit(windows=2) == ids
    while host.ids_sent()[2:].count([1]) < 1:
        host.clock.at += host.drain.turn()
    assert 1 not in host.states(), "it was refused once"


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


def test_the_delivery_file_tells_on_what_terms_the_server_takes_batches(host: Host) -> None:
    host.commit()
    host.run()
    with DeliveryReader(host.directory, "main") as delivery:
        assert delivery.terms() == TRAITS.terms and TRAITS.again == "is known by its key and stored once"


def test_the_search_for_what_is_unsent_begins_behind_what_was_acknowledged(host: Host) -> None:
    host.settings = type(host.settings)(backlog_requests_per_s=1000, request_bytes=1_024)
    host.restarted()
    ids = host.commit(windows=40)
    host.drain.turn()
    while len(host.states()) < 30:
        host.drain.turn()
        host.clock.at += 0.01
    with DeliveryReader(host.directory, "main") as delivery:
        assert ids[15] < delivery.settled_through() < ids[30]


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
