import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from shipper.deadline import Deadline
from shipper.resolver import LAST_GOOD_S, MAX_LOOKUPS, Address, NameUnresolved, Resolver


class Names:
    """getaddrinfo that answers what the test says, when the test says so."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.answer: list[str] | Exception = ["192.0.2.1"]

    def __call__(self, host: str, port: int, **_options: Any) -> list[Any]:
        self.asked.append(host)
        self.may_answer.wait(20)
        if isinstance(self.answer, Exception):
            raise self.answer
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in self.answer]


@pytest.fixture
def names() -> Iterator[Names]:
    made = Names()
    yield made
    made.may_answer.set()


def within(seconds: float) -> Deadline:
    return Deadline.after(seconds, time.monotonic)


def until(condition: Callable[[], bool]) -> None:
    bound = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < bound, "waited in vain"
        threading.Event().wait(0.005)


def test_names_become_addresses_in_the_resolver_s_order(names: Names) -> None:
    names.answer = ["192.0.2.2", "192.0.2.1"]
    found = Resolver(time.monotonic, names).resolve("a.test", 443, within(5))
    assert [str(each) for each in found] == ["192.0.2.2:443", "192.0.2.1:443"]


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1:80"), ("::1", "[::1]:80")])
def test_addresses_need_no_resolver(host: str, shown: str, names: Names) -> None:
    names.answer = OSError("must not be asked")
    found = Resolver(time.monotonic, names).resolve(host, 80, within(5))
    assert [str(each) for each in found] == [shown]
    assert names.asked == []


def test_a_hanging_look_up_is_left_behind_at_the_deadline(names: Names) -> None:
    names.may_answer.clear()
    began = time.monotonic()
    with pytest.raises(NameUnresolved, match=r"name a\.test could not be resolved: .* in time"):
        Resolver(time.monotonic, names).resolve("a.test", 443, within(0.1))
    assert 0.1 <= time.monotonic() - began < 0.35


def test_who_asks_again_joins_the_look_up_that_runs(names: Names) -> None:
    names.may_answer.clear()
    resolver = Resolver(time.monotonic, names)
    for _ in range(3):
        with pytest.raises(NameUnresolved):
            resolver.resolve("a.test", 443, within(0.05))
    names.may_answer.set()
    assert resolver.resolve("a.test", 443, within(5))
    assert len(names.asked) <= 2  # the first, and one more if it had ended before the last question


def test_hanging_look_ups_cost_a_few_threads_and_no_more(names: Names) -> None:
    names.may_answer.clear()
    before = threading.active_count()
    resolver = Resolver(time.monotonic, names)
    for number in range(MAX_LOOKUPS * 3):
        with pytest.raises(NameUnresolved):
            resolver.resolve(f"host-{number}.test", 443, within(0.02))
    assert threading.active_count() - before == MAX_LOOKUPS
    names.may_answer.set()
    until(lambda: threading.active_count() == before)
    assert resolver.resolve("host-99.test", 443, within(5))


@pytest.mark.parametrize("trouble", ["hangs", "fails", "knows nothing"])
def test_the_last_good_addresses_bridge_an_outage_of_the_resolver(trouble: str, names: Names) -> None:
    now = [0.0]
    resolver = Resolver(lambda: now[0], names)
    good = resolver.resolve("a.test", 443, within(5))
    if trouble == "hangs":
        names.may_answer.clear()
    names.answer = socket.gaierror(socket.EAI_AGAIN, "Temporary failure") if trouble == "fails" else []
    now[0] = LAST_GOOD_S - 1
    assert resolver.resolve("a.test", 443, within(0.1)) == good == [Address(socket.AF_INET, ("192.0.2.1", 443))]
    now[0] = LAST_GOOD_S + 1
    with pytest.raises(NameUnresolved):
        resolver.resolve("a.test", 443, within(0.1))


def test_a_name_that_idna_does_not_allow_is_unresolved_and_nothing_worse() -> None:
    with pytest.raises(NameUnresolved, match="could not be resolved"):
        Resolver(time.monotonic).resolve("a" * 70 + ".test", 443, within(5))


def test_a_look_up_that_ran_out_of_memory_is_over_and_the_next_one_is_made(names: Names) -> None:
    resolver = Resolver(time.monotonic, names)
    names.answer = MemoryError()
    with pytest.raises(NameUnresolved, match="MemoryError"):
        resolver.resolve("metrics.example.net", 443, within(2))
    names.answer = ["192.0.2.1"]
    assert [str(each) for each in resolver.resolve("metrics.example.net", 443, within(2))] == ["192.0.2.1:443"]
