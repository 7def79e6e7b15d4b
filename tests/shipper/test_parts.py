"""A batch that is too large for the server, in parts: which, under which keys, and what their end means for it."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from shipper.outcome import Outcome, Verdict
from shipper.parts import Parts, part_of
from shipper.trouble import REFUSALS_TO_PARK
from spool.batch import Batch, Point, Window, decode, encode, points_of
from spool.ledger import State


def batch_of(points: int) -> Batch:
    held = [Point(f"name.{number}", "counter", {"a": "ä"}, {"value": 1 / (number + 1)}) for number in range(points)]
    return encode("9f3c", 8841, "web-1", Window(8841, 0, 10, held), held, 11.0)


def sent(batch: Batch, server: Callable[[Batch], Verdict]) -> tuple[list[str], list[tuple[int, str, str | None]]]:
    """Send `batch` until it is settled or refused: keys in the order of requests, and what became of it."""
    parts, keys = Parts(), []
    for _ in range(4 * batch.points + 4):
        part = parts.next(batch)
        keys.append(part.key)
        judged = parts.judge(part, server(part))
        ends = [(each, str(state.state), state.reason) for each, state in judged.settled.items()]
        ends += [(each, "refused", why) for each, why in judged.refused.items()]
        if judged.outcome is Outcome.PARK:
            ends.append((batch.id, "park", None))
        if ends:
            assert not parts.batches()
            return keys, ends
    raise AssertionError("never settled")


def takes_up_to(points: int) -> Callable[[Batch], Verdict]:
    def server(part: Batch) -> Verdict:
        if part.points > points:
            return Verdict(Outcome.SPLIT, "413 too large")
        return Verdict(Outcome.ACKNOWLEDGED, "200", frozenset([part.key]))

    return server


def test_a_batch_too_large_goes_in_halves_under_keys_of_their_own() -> None:
    keys, ends = sent(batch_of(10), takes_up_to(3))
    assert keys == [
        "9f3c-8841", "9f3c-8841/1-5", "9f3c-8841/1-3", "9f3c-8841/4-5",
        "9f3c-8841/6-10", "9f3c-8841/6-8", "9f3c-8841/9-10",
    ]  # fmt: skip
    assert ends == [(8841, State.ACKNOWLEDGED, None)]


@given(st.integers(2, 60), st.data())
def test_a_part_is_a_document_like_the_batchs_and_always_the_same_bytes(points: int, data: st.DataObject) -> None:
    whole = batch_of(points)
    first = data.draw(st.integers(1, points))
    last = data.draw(st.integers(first, points))
    part = part_of(whole, first, last)
    assert part == part_of(whole, first, last) and part.verified()
    old, new = decode(whole.payload), decode(part.payload)
    assert points_of(new) == points_of(old)[first - 1 : last] and part.points == last - first + 1
    assert (new["host"], new["window"], new["id"]) == (old["host"], old["window"], old["id"])


@given(st.integers(1, 80), st.integers(1, 80))
def test_every_point_arrives_once_whatever_the_limit(points: int, limit: int) -> None:
    arrived: list[str] = []

    def server(part: Batch) -> Verdict:
        verdict = takes_up_to(limit)(part)
        if verdict.acknowledged:
            arrived.extend(each.name for each in points_of(decode(part.payload)))
        return verdict

    _, ends = sent(batch_of(points), server)
    assert ends == [(8841, State.ACKNOWLEDGED, None)]
    assert arrived == [each.name for each in points_of(decode(batch_of(points).payload))]


def test_all_but_the_one_point_that_is_too_large_arrive_and_it_is_named() -> None:
    def server(part: Batch) -> Verdict:
        if any(each.name == "name.16" for each in points_of(decode(part.payload))):
            return Verdict(Outcome.SPLIT, "413 too large")
        return Verdict(Outcome.ACKNOWLEDGED, "200", frozenset([part.key]))

    keys, ends = sent(batch_of(100), server)
    reason = "1 of 100 points refused, the others acknowledged: point 17 (name.16) refused: 413 too large"
    assert ends == [(8841, State.DEAD, reason)]
    assert len(keys) <= 2 * 7 + 2  # 2 log2(n) more requests for one bad point


def test_a_part_refused_for_good_is_named_and_not_cut_further() -> None:
    def server(part: Batch) -> Verdict:
        if part.points > 50:
            return Verdict(Outcome.SPLIT, "413")
        if part.key.endswith("/1-50"):
            return Verdict(Outcome.DEAD, "422 no")
        return Verdict(Outcome.ACKNOWLEDGED, "200", frozenset([part.key]))

    _, ends = sent(batch_of(100), server)
    assert ends == [
        (8841, State.DEAD, "50 of 100 points refused, the others acknowledged: points 1-50 refused: 422 no")
    ]


def test_a_server_to_which_everything_is_too_large_is_the_one_that_is_wrong() -> None:
    keys, ends = sent(batch_of(5000), takes_up_to(0))
    assert ends == [(8841, "park", None)]
    assert len(keys) < 13 + 2 * REFUSALS_TO_PARK + 5


def test_a_small_batch_of_which_nothing_is_taken_is_refused_like_any_other() -> None:
    _, ends = sent(batch_of(3), takes_up_to(0))
    assert [each[:2] for each in ends] == [(8841, "refused")]


def test_a_failure_that_may_pass_leaves_the_parts_where_they_are() -> None:
    parts, batch = Parts(), batch_of(4)
    parts.judge(batch, Verdict(Outcome.SPLIT, "413"))
    part = parts.next(batch)
    for outcome in (Outcome.RETRY, Outcome.PARK):
        assert parts.judge(part, Verdict(outcome, "503")).outcome is outcome
        assert parts.next(batch) == part
