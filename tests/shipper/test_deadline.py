import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.budget import AnswerTooLarge, Budget, NoBudget, Phase, current
from shipper.deadline import Deadline, DeadlineExceeded


class Clock:
    """Monotonic seconds that the test moves."""

    def __init__(self, now: float = 100.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def test_what_is_left_shrinks_with_the_clock() -> None:
    clock = Clock()
    deadline = Deadline.after(20, clock)
    clock.now += 19.5
    assert deadline.left() == pytest.approx(0.5)
    assert not deadline.passed()


@given(st.floats(0, 1e6))
def test_left_is_above_zero_or_raises(elapsed_s: float) -> None:
    clock = Clock(0.0)
    deadline = Deadline.after(20, clock)
    clock.now += elapsed_s
    if elapsed_s < 20:
        assert deadline.left() > 0
    else:
        assert deadline.passed()
        with pytest.raises(DeadlineExceeded):
            deadline.left()


def test_a_passed_deadline_stays_passed_for_everybody_who_asks() -> None:
    clock = Clock()
    deadline = Deadline.after(1, clock)
    clock.now += 1
    for _ in range(3):
        with pytest.raises(TimeoutError):
            deadline.left()


def test_sooner_never_moves_a_deadline_back() -> None:
    clock = Clock()
    deadline = Deadline.after(4, clock)
    assert deadline.sooner(3).at == 103
    assert deadline.sooner(5).at == 104


def test_without_a_budget_in_force_nothing_may_touch_the_network() -> None:
    with pytest.raises(NoBudget):
        current()
    budget = Budget(Deadline.after(1, Clock()))
    with budget.in_force():
        assert current() is budget
    with pytest.raises(NoBudget):
        current()


def test_time_is_charged_to_the_phase_in_which_it_passed() -> None:
    clock = Clock()
    budget = Budget(Deadline.after(60, clock))
    for phase, spent_s in ((Phase.DNS, 1), (Phase.CONNECT, 2), (Phase.TLS, 3), (Phase.CONNECT, 4)):
        budget.enter(phase)
        clock.now += spent_s
    timings = budget.timings()
    assert (timings.dns_ms, timings.connect_ms, timings.tls_ms) == (1000, 6000, 3000)
    assert timings.write_ms is None and timings.close_ms is None


def test_the_first_byte_of_an_answer_ends_the_waiting() -> None:
    clock = Clock()
    budget = Budget(Deadline.after(60, clock))
    budget.allow(100, "it is")
    budget.enter(Phase.WAIT)
    clock.now += 5
    budget.received(0)
    assert budget.phase is Phase.WAIT
    budget.received(1)
    clock.now += 1
    timings = budget.timings()
    assert (timings.wait_ms, timings.read_ms) == (5000, 1000)


@given(st.integers(1, 10_000), st.lists(st.integers(1, 5_000), max_size=20))
def test_no_more_than_the_allowance_is_ever_received(allowance_bytes: int, reads: list[int]) -> None:
    budget = Budget(Deadline.after(60, Clock()))
    budget.allow(allowance_bytes, "the answer is")
    got = 0
    for wanted in reads:
        if got == allowance_bytes:
            with pytest.raises(AnswerTooLarge, match="the answer is too large"):
                budget.allowed(wanted)
            return
        granted = budget.allowed(wanted)
        assert 0 < granted <= wanted
        budget.received(granted)
        got += granted
        assert got <= allowance_bytes
    assert budget.received_bytes == got
