"""Which batches become dead, and when."""

from shipper.trouble import FAILING_S, FAILURES_TO_DIE, OTHERS_ACKNOWLEDGED, REFUSALS_TO_PARK, Trouble


def test_a_refused_batch_is_dead_if_it_is_refused_again_after_another_got_through() -> None:
    trouble = Trouble()
    assert trouble.refused({7: "400 malformed"}) == {}
    assert trouble.aside(0.0) == {7}
    trouble.acknowledged([8])
    assert trouble.aside(1.0) == set() and trouble.alone() == {7}
    assert trouble.refused({7: "400 still malformed"}) == {7: "400 still malformed"}
    assert trouble.aside(1.0) == trouble.alone() == set()


def test_a_batch_refused_by_a_bad_deployment_gets_through_after_it() -> None:
    trouble = Trouble()
    trouble.refused(dict.fromkeys(range(REFUSALS_TO_PARK - 1), "400"))
    trouble.acknowledged([99])
    trouble.acknowledged(range(REFUSALS_TO_PARK - 1))
    assert trouble.alone() == set()


def test_a_server_that_refuses_everything_parks_and_kills_nothing() -> None:
    trouble = Trouble()
    for each in range(REFUSALS_TO_PARK):
        assert not trouble.refuses_everything()
        assert trouble.refused({each: "400"}) == {}
    assert trouble.refuses_everything()
    trouble.acknowledged([99])
    assert not trouble.refuses_everything()
    assert trouble.aside(0.0) == set()


def poison(trouble: Trouble, failures: int, every_s: float, others: int) -> list[str | None]:
    """Batch 5 fails so often while others get through in between; what was said each time."""
    said = []
    for number in range(failures):
        trouble.acknowledged(range(100, 100 + others))
        said.append(trouble.failed(5, number * every_s, 60.0))
    return said


def test_poison_dies_after_an_hour_of_failing_while_others_get_through() -> None:
    said = poison(Trouble(), FAILURES_TO_DIE + 2, FAILING_S / (FAILURES_TO_DIE - 1), others=2)
    assert [each is not None for each in said] == [False] * FAILURES_TO_DIE + [True, False]
    assert "while 18 others got through" in str(said[FAILURES_TO_DIE])


def test_an_hour_alone_ten_failures_alone_or_few_others_are_not_enough() -> None:
    assert not any(poison(Trouble(), FAILURES_TO_DIE - 1, FAILING_S, others=5))
    assert not any(poison(Trouble(), 100, FAILING_S / 200, others=5))
    assert not any(poison(Trouble(), FAILURES_TO_DIE + 1, FAILING_S, others=1))


def test_however_long_an_outage_was_none_of_its_batches_is_poison() -> None:
    trouble = Trouble()
    for attempt in range(100):
        for each in range(20):
            assert trouble.failed(each, attempt * 1000.0, 60.0) is None
    for number in range(10 * OTHERS_ACKNOWLEDGED):
        trouble.acknowledged([500 + number])
    assert all(trouble.failed(each, 1e6, 60.0) is None for each in range(20))


def test_a_failing_batch_steps_aside_only_for_its_wait() -> None:
    trouble = Trouble()
    trouble.failed(5, 100.0, 60.0)
    assert trouble.aside(159.0) == {5}
    assert trouble.aside(161.0) == set()
    assert trouble.tries(5) == 1


def test_a_batch_that_gets_through_after_all_is_forgiven() -> None:
    trouble = Trouble()
    trouble.refused({5: "400"})
    trouble.failed(6, 0.0, 60.0)
    trouble.acknowledged([5, 6])
    assert trouble.aside(0.0) == trouble.alone() == set()
    assert trouble.tries(6) == 0
