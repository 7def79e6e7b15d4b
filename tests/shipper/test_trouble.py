"""Which batches become dead, and when."""

from shipper.trouble import FAILING_S, FAILURES_TO_DIE, OTHERS_ACKNOWLEDGED, REFUSALS_TO_PARK, Trouble


def test_a_refused_batch_is_dead_once_another_got_through() -> None:
    trouble = Trouble()
    assert not trouble.refused({7: "400 malformed"})
    assert trouble.aside(0.0) == {7}
    assert trouble.acknowledged([8], 1.0) == {7: "400 malformed"}
    assert trouble.aside(1.0) == set()


def test_a_server_that_refuses_everything_parks_and_kills_nothing() -> None:
    trouble = Trouble()
    answers = [trouble.refused({each: "400"}) for each in range(REFUSALS_TO_PARK)]
    assert answers == [False] * (REFUSALS_TO_PARK - 1) + [True]
    assert trouble.aside(0.0) == set()
    assert trouble.acknowledged([99], 1.0) == {}


def test_poison_dies_after_an_hour_of_failing_while_others_get_through() -> None:
    trouble = Trouble()
    for attempt in range(FAILURES_TO_DIE):
        trouble.failed(5, attempt * FAILING_S / FAILURES_TO_DIE, 60.0)
    assert trouble.acknowledged(range(100, 100 + OTHERS_ACKNOWLEDGED - 1), FAILING_S) == {}
    assert list(trouble.acknowledged([200], FAILING_S)) == [5]


def test_when_all_fail_none_is_poison() -> None:
    trouble = Trouble()
    for attempt in range(100):
        for each in range(20):
            trouble.failed(each, attempt * 1000.0, 60.0)
    assert trouble.acknowledged([], 1e6) == {}
    assert trouble.acknowledged([500], 1e6) == {}  # a single success proves nothing about twenty


def test_a_failing_batch_steps_aside_only_for_its_wait() -> None:
    trouble = Trouble()
    trouble.failed(5, 100.0, 60.0)
    assert trouble.aside(159.0) == {5}
    assert trouble.aside(161.0) == set()
    assert trouble.failures(5) == 1


def test_a_batch_that_gets_through_after_all_is_forgiven() -> None:
    trouble = Trouble()
    trouble.refused({5: "400"})
    assert trouble.acknowledged([5], 0.0) == {}
    assert trouble.acknowledged([6], 0.0) == {}
