"""Sets: exact while few, estimated after."""

from collector.distinct import EXACT, Distinct


def test_a_small_set_is_counted_exactly_and_repeats_do_not_count():
    seen = Distinct()
    for each in [*range(EXACT), *range(EXACT)]:
        seen.add(str(each))
    assert seen.count() == EXACT


def test_a_large_set_is_estimated_within_three_standard_errors():
    seen = Distinct()
    for each in range(60_000):
        seen.add(f"user-{each}")
    assert abs(seen.count() - 60_000) / 60_000 < 3 * 0.0081
    assert not seen.members
    before = seen.count()
    seen.add("user-1")
    assert seen.count() == before
