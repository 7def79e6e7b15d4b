"""What is sent next."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from shipper.lanes import Lane, Limits, choose, together


@dataclass(frozen=True)
class Unsent:
    id: int
    payload_bytes: int = 100
    raw_bytes: int = 1000


def ids(chosen: tuple[Lane, list[Unsent]] | None) -> tuple[str, list[int]] | None:
    return None if chosen is None else (str(chosen[0]), [each.id for each in chosen[1]])


def test_nothing_unsent_is_nothing_to_send() -> None:
    assert choose([], [], None, Limits()) is None


def test_the_newest_window_goes_first_after_an_outage() -> None:
    backlog = [Unsent(each) for each in range(1, 101)]
    assert ids(choose([Unsent(100)], backlog, None, Limits())) == ("live", [100])


def test_live_and_backlog_take_turns() -> None:
    backlog = [Unsent(each) for each in range(1, 4)]
    assert ids(choose([Unsent(9)], backlog, Lane.LIVE, Limits(batches=2))) == ("backlog", [1, 2])
    assert ids(choose([Unsent(9)], backlog, Lane.BACKLOG, Limits(batches=2))) == ("live", [9])


def test_live_goes_again_when_there_is_no_backlog() -> None:
    assert ids(choose([Unsent(9)], [Unsent(9)], Lane.LIVE, Limits())) == ("live", [9])


def test_backlog_is_sent_oldest_first_without_the_live_window() -> None:
    everything = [Unsent(each) for each in (1, 2, 3)]
    assert ids(choose([Unsent(3)], everything, Lane.LIVE, Limits())) == ("backlog", [1, 2])


def test_a_batch_larger_than_every_limit_goes_alone() -> None:
    assert [each.id for each in together([Unsent(1, 10**9, 10**9), Unsent(2)], Limits())] == [1]


@given(
    st.lists(st.tuples(st.integers(1, 5000), st.integers(1, 90_000)), min_size=1, max_size=40),
    st.integers(1, 20),
)
def test_a_request_keeps_all_limits_and_is_as_full_as_they_allow(sizes: list[tuple[int, int]], batches: int) -> None:
    unsent = [Unsent(number, *each) for number, each in enumerate(sizes)]
    limits = Limits(payload_bytes=6000, raw_bytes=100_000, batches=batches)
    taken = together(unsent, limits)
    assert taken == unsent[: len(taken)] and taken

    def fits(some: list[Unsent]) -> bool:
        payload, raw = sum(e.payload_bytes for e in some), sum(e.raw_bytes for e in some)
        return len(some) <= batches and payload <= 6000 and raw <= 100_000

    assert fits(taken) or len(taken) == 1
    assert len(taken) == len(unsent) or not fits(unsent[: len(taken) + 1])
