"""The table of self-metrics and what is emitted are the same."""

from collector.aggregate import Aggregate
from collector.selfmetrics import SELF_METRICS, Circumstances, culprits, self_points
from collector.tally import Tally


def emitted():
    aggregate = Aggregate(1)
    Tally().fold([b"a:1|c\nuser.1:1|c\nuser.2:1|c\nbad"], aggregate)
    return self_points(aggregate.close(0.0), Circumstances(1, 2, 3.5, 4, 5))


def test_the_table_has_exactly_what_is_emitted():
    assert {(p.name, p.type) for p in emitted()} == {(row.name, row.type) for row in SELF_METRICS}


def test_rows_that_mean_loss_say_so():
    for row in SELF_METRICS:
        assert row.loss == row.meaning.startswith("**DATA LOSS** ")


def test_self_metrics_carry_no_tag_but_reason_and_prefix_and_count_no_lines_of_their_own():
    found = {p.name: p for p in emitted()}
    assert found["holdfast.rejected"].tags == {"reason": "no_value"}
    assert found["holdfast.overflowed_by"].tags == {"prefix": "user.*"}
    assert found["holdfast.overflowed_by"].values == {"value": 2.0}
    assert all(p.tags == {} for name, p in found.items() if name not in ("holdfast.rejected", "holdfast.overflowed_by"))
    assert found["holdfast.lines"].values == {"value": 4.0}
    assert found["holdfast.series"].values == {"value": 2.0}, "with the one that overflowed"


def test_who_caused_an_overflow_is_said_in_one_word_for_the_log():
    assert culprits(emitted()) == "user.*:2"
