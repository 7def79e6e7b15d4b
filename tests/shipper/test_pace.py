"""When the next attempt may go, and how much it may carry."""

from shipper.lanes import Limits
from shipper.pace import LEARNED_S, Pace
from spool.ledger import Condition

NOW = 1_795_000_000.0


def pace(draw: float = 0.5) -> Pace:
    return Pace(Limits(), lambda: draw)


def test_failures_wait_longer_and_an_acknowledgement_ends_the_waiting() -> None:
    waits, slow = [], pace(draw=0.999)
    for _ in range(10):
        slow.back_off("503", None, 0.1, NOW, 0.0)
        waits.append(slow.try_at)
    assert waits == sorted(waits) and 59 < waits[-1] <= 59.9
    assert slow.condition.next_try_at == NOW + waits[-1]
    slow.acknowledged(NOW)
    assert slow.try_at < 0 and slow.condition == Condition(last_ack_at=NOW)


def test_a_stored_wait_is_kept_and_a_clock_set_back_makes_none_for_ever() -> None:
    again = pace()
    again.take_up(Condition(failures=3, next_try_at=NOW + 40), NOW, 100.0)
    assert again.try_at == 140.0
    again.take_up(Condition(failures=3, next_try_at=NOW + 86_400), NOW, 100.0)
    assert again.try_at == 1000.0
    # What was waited for is known: the clock has been set back by an hour since.
    again.take_up(Condition(failures=3, last_attempt_at=NOW + 3_600, next_try_at=NOW + 3_608), NOW, 100.0)
    assert again.try_at == 108.0


def test_a_parked_destination_gets_one_batch_at_a_time() -> None:
    parked = pace(draw=0.0)
    parked.park("401", NOW, 0.0)
    assert parked.limits(0.0).batches == 1 and parked.try_at == 20.0
    parked.park("401", NOW + 60, 60.0)
    assert parked.try_at == 80.0 and parked.condition.parked_since == NOW
    parked.acknowledged(NOW + 200)
    assert not parked.parked and parked.limits(200.0).batches > 1


def test_a_size_that_was_refused_is_not_tried_again_for_an_hour() -> None:
    learned = pace()
    learned.too_large(100_000, 5, 0.0)
    assert learned.limits(1.0).payload_bytes == 50_000
    learned.too_large(50_000, 2, 1.0)
    learned.too_large(90_000, 2, 1.0)
    assert learned.limits(2.0).payload_bytes == 25_000
    assert not learned.surely_too_large(99_000, 2.0)  # together they were; each alone may pass
    learned.too_large(70_000, 1, 2.0)
    assert learned.surely_too_large(70_000, 3.0) and not learned.surely_too_large(69_999, 3.0)
    assert learned.limits(3.0 + LEARNED_S) == Limits() and not learned.surely_too_large(70_000, 3.0 + LEARNED_S)


def test_half_as_many_find_the_bad_one_and_success_doubles_again() -> None:
    finding = pace()
    finding.halve(40)
    assert finding.limits(0.0).batches == 20
    finding.halve(1)
    assert finding.limits(0.0).batches == 1
    for _ in range(20):
        finding.acknowledged(NOW)
    assert finding.limits(0.0) == Limits()
