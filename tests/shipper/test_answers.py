"""Answers that take batches in part, and answers that mean nothing: the hub, real files, a scripted server."""

import json

from shipper.exchange import Response
from spool.delivery import DeliveryReader, State
from tests.shipper.host import Host


def test_many_batches_rejected_by_key_are_dead_and_the_others_go_on(host: Host) -> None:
    def answer(keys: list[str]) -> Response:
        bad = [key for key in keys if int(key.rpartition("-")[2]) <= 12]
        rejected = [{"key": each, "error": "known with another hash"} for each in bad]
        accepted = [each for each in keys if each not in bad]
        return Response(200, {}, json.dumps({"accepted": accepted, "duplicate": [], "rejected": rejected}).encode())

    host.commit(windows=20)
    host.server.answer = answer
    for _ in range(30):
        host.commit()
        host.run(seconds=10)
    host.run(seconds=300)
    states = host.states()
    assert [each for each, state in states.items() if state is State.DEAD] == list(range(1, 13))
    assert len(states) == 50


def test_an_answer_that_no_parser_survives_is_an_answer_without_meaning(host: Host) -> None:
    host.server.answer = lambda _keys: Response(200, {}, b"[" * 60_000)
    host.commit()
    host.run()
    assert host.states() == {}


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


def test_words_with_half_a_character_in_them_are_kept_without_it(host: Host) -> None:
    def answer(keys: list[str]) -> Response:
        rejected = [{"key": keys[0], "error": "no \ud800\n metric"}]  # JSON carries it as an escape, UTF-8 does not
        return Response(200, {}, json.dumps({"accepted": keys[1:], "rejected": rejected}).encode())

    first, *_ = host.commit(points=12_000)
    host.server.answer = answer
    host.run()
    with DeliveryReader(host.directory, "main") as delivery:
        row = delivery.state_row(first)
    assert row is not None and row["state"] == "dead" and row["reason"] == "no    metric"


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
