"""What an answer means: by status, and in Holdfast's own protocol."""

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from shipper.exchange import Response
from shipper.outcome import Outcome, Verdict, by_batch, of_status
from shipper.parts import Parts
from shipper.protocols import holdfast
from shipper.protocols.holdfast import encode
from spool.batch import Batch, Point, Window
from spool.batch import encode as stored
from spool.ledger import Settled, State

EXPECTED = {
    Outcome.PARK: {301, 302, 303, 304, 307, 308, 401, 402, 403, 404, 405, 407, 410, 421, 426, 431, 451, 511},
    Outcome.SPLIT: {413},
    Outcome.DEAD: {400, 406, 411, 415, 422},
}


@pytest.mark.parametrize("status", range(200, 600))
def test_every_status_has_its_class_and_the_unknown_ones_are_tried_again(status: int) -> None:
    if 300 <= status < 400:
        assert of_status(status) is Outcome.PARK
        return
    assert of_status(status) is next((o for o, s in EXPECTED.items() if status in s), Outcome.RETRY)


def judge(response: Response, keys: Sequence[str]) -> Verdict:
    return holdfast.judge(response, [Batch(1, key, 0, 10, 1, 11, 1, 1, 1, b"", "") for key in keys])


def answer(document: object, status: int = 200) -> Response:
    return Response(status, {}, document if isinstance(document, bytes) else json.dumps(document).encode())


def test_a_batch_is_acknowledged_only_if_its_key_is_listed() -> None:
    verdict = judge(answer({"accepted": ["a"], "duplicate": ["b"], "rejected": []}), ["a", "b", "c"])
    assert verdict.outcome is Outcome.RETRY
    assert verdict.acknowledged == {"a", "b"} and not verdict.refused


def test_all_keys_listed_is_acknowledged() -> None:
    assert judge(answer({"accepted": ["a"], "duplicate": ["b"]}), ["a", "b"]).outcome is Outcome.ACKNOWLEDGED


def test_a_rejected_key_is_refused_with_the_servers_words() -> None:
    verdict = judge(answer({"accepted": ["a"], "rejected": [{"key": "b", "error": "other hash"}]}), ["a", "b"])
    assert verdict.acknowledged == {"a"} and verdict.refused == {"b": "other hash"}


def test_a_key_in_two_lists_counts_as_stored() -> None:
    verdict = judge(answer({"accepted": ["a"], "rejected": [{"key": "a", "error": "?"}]}), ["a"])
    assert verdict.outcome is Outcome.ACKNOWLEDGED and not verdict.refused


@pytest.mark.parametrize(
    "body",
    [
        b"<html>Welcome to the hotel</html>",
        b"",
        b"[]",
        b"{}",
        b'{"accepted": null}',
        b'{"accepted": ["somebody elses"]}',
        b'{"accepted": [1, {"a": 2}], "rejected": 7}',
        b"\xff\xfe",
    ],
)
def test_a_200_that_does_not_name_our_keys_acknowledges_nothing(body: bytes) -> None:
    verdict = judge(answer(body), ["a"])
    assert verdict.outcome is Outcome.RETRY and not verdict.acknowledged and not verdict.refused


@pytest.mark.parametrize("status", [201, 202, 204, 206, 299])
def test_another_2xx_is_not_the_answer_of_our_protocol(status: int) -> None:
    assert judge(answer({"accepted": ["a"]}, status), ["a"]).outcome is Outcome.RETRY


def test_what_the_server_says_is_kept_short_and_printable() -> None:
    verdict = judge(answer({"error": "no\nsuch\x1b[31m field " + "x" * 9999}, 422), ["a"])
    assert verdict.reason.startswith("422 no such [31m field") and len(verdict.reason) < 320


def test_a_request_is_the_stored_members_in_order_and_always_the_same_bytes() -> None:
    window = Window(1, 0, 10, [Point("a", "counter", {}, {"value": 1.0})])
    batches = [stored("s", number, "h", window, window.points, 11.0) for number in (1, 2)]
    request = encode(batches, "https://x/v1/batches", "secret")
    assert request.body == batches[0].payload + batches[1].payload
    assert request == encode(batches, "https://x/v1/batches", "secret")
    assert request.headers["Authorization"] == "Bearer secret"
    assert request.headers["Idempotency-Key"] != encode(batches[:1], "https://x", None).headers["Idempotency-Key"]


TOO_OLD = Verdict(Outcome.EXPIRED, "400 out of order sample")


def two() -> list[Batch]:
    return [Batch(number, f"s-{number}", 0, 10, 1, 11, 4, 1, 1, b"", "") for number in (1, 2)]


def test_a_lone_batch_that_the_server_finds_too_old_expires_and_of_several_nothing_is_settled() -> None:
    first, second = two()
    assert by_batch(TOO_OLD, [first]).settled == {1: Settled(State.EXPIRED, "400 out of order sample")}
    assert by_batch(TOO_OLD, [first, second]).settled == {}


def test_what_is_noted_of_an_acknowledgement_stays_with_the_batches() -> None:
    keys = frozenset(each.key for each in two())
    judged = by_batch(Verdict(Outcome.ACKNOWLEDGED, "400", keys, note="1 points refused"), two())
    assert judged.settled == dict.fromkeys((1, 2), Settled(State.ACKNOWLEDGED, "1 points refused"))
    assert judged.taken == {1, 2}


def test_a_part_that_is_too_old_expires_the_batch() -> None:
    parts, batch = Parts(), two()[0]
    parts.halve(batch)
    judged = parts.judge(replace(batch, key="s-1/1-2", points=2), TOO_OLD)
    assert judged.settled == {1: Settled(State.EXPIRED, TOO_OLD.reason)} and not parts.batches()
