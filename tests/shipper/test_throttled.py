"""429: the server takes less than is sent, which says nothing of what was sent."""

from shipper.config import ShipperConfig
from shipper.exchange import Response
from shipper.trouble import FAILING_S, Trouble
from spool.delivery import State
from tests.shipper.host import Host, reply


def windows_and_turns(host: Host, windows: int) -> None:
    """Windows of 10 s, and what the shipper does meanwhile."""
    for _ in range(windows):
        host.commit()
        begun_at = host.clock.at
        while host.clock.at < begun_at + 10:
            host.clock.at += max(host.drain.turn(), 0.02)
        host.clock.at = begun_at  # `commit` lets the time of its window pass


def test_a_server_that_takes_two_requests_a_minute_gets_the_backlog_too(host: Host) -> None:
    host.settings = ShipperConfig()
    host.restarted()
    taken_at = float("-inf")

    def two_a_minute(keys: list[str]) -> Response:
        nonlocal taken_at
        if host.clock.at - taken_at < 25:
            return reply(429, **{"retry-after": "30"})(keys)
        taken_at = host.clock.at
        return host.server.accept(keys)

    host.server.answer = two_a_minute
    ids = host.commit(windows=30)
    windows_and_turns(host, 120)
    assert host.drain.pending() < 15
    assert set(ids) <= host.states().keys() and set(host.states().values()) == {State.ACKNOWLEDGED}


def test_too_many_at_once_for_its_burst_go_in_smaller_requests_and_hold_up_no_new_window(host: Host) -> None:
    host.settings = ShipperConfig()
    host.restarted()
    host.server.answer = lambda keys: reply(429)(keys) if len(keys) > 10 else host.server.accept(keys)
    ids = host.commit(windows=100)
    windows_and_turns(host, 60)
    assert set(ids) <= host.states().keys()


def test_a_batch_that_came_too_soon_steps_aside_and_is_neither_poison_nor_alone() -> None:
    trouble = Trouble()
    for number in range(100):
        trouble.acknowledged([1000 + number])
        assert trouble.failed(5, number * FAILING_S, 60.0, perhaps_by_itself=False) is None
    assert trouble.aside(99 * FAILING_S) == {5} and trouble.alone() == set()
    trouble.failed(5, 100 * FAILING_S, 60.0)
    assert trouble.alone() == {5}
