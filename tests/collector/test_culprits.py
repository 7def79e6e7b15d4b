"""Who caused an overflow: bounded, and never missing whoever caused most of it."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.aggregate import series_key
from collector.culprits import MOST, MOST_CHARS, Culprits, beginning


@pytest.mark.parametrize(
    ("name", "tags", "shown"),
    [
        ("user.12345.login", {}, "user.*"),
        ("job-8731", {}, "job-*"),
        ("9f3c.x", {}, "*"),
        ("jobs.aZkQpl", {}, "jobs.*"),
        ("hits", {}, "hits"),
        ("api.hits", {"env": "prod", "request": "9f3c"}, "api.hits|#env,request"),
        ("api.v2.hits", {"request": ""}, "api.v*|#request"),
        ("\u00e9" * 200, {}, "\u00e9" * MOST_CHARS),
    ],
)
def test_a_beginning_is_what_names_of_a_kind_have_in_common(name, tags, shown):
    assert beginning(series_key(name, sorted(tags.items()))) == shown


def test_the_most_frequent_come_first():
    culprits = Culprits()
    for n in range(100):
        culprits.note(f"user.{n}")
        if n % 3 == 0:
            culprits.note(f"job-{n}")
    assert list(culprits.top().items()) == [("user.*", 100), ("job-*", 34)]
    assert culprits.top(1) == {"user.*": 100}


@given(st.lists(st.integers(0, 300), max_size=1_000), st.integers(1, 4))
def test_whoever_had_more_than_its_share_is_listed_and_no_count_is_too_low(numbers, hosts):
    names = [f"{chr(0x4E00 + n)}.x" for n in numbers]
    true = Counter(beginning(each) for each in names)
    whole = Culprits()
    for part in range(hosts):
        culprits = Culprits()
        for each in names[part::hosts]:
            culprits.note(each)
        whole.absorb(culprits.top())
    found = whole.top()
    assert len(found) <= MOST
    assert sum(found.values()) == len(names)
    for each, count in found.items():
        assert hosts > 1 or count >= true[each]
    for each, count in true.items():
        assert hosts > 1 or count <= len(names) / MOST or each in found


def test_of_very_many_samples_some_are_looked_at_for_all():
    culprits = Culprits()
    for n in range(50_000):
        culprits.note(f"user.{n}" if n % 5 else f"job-{n}")
    assert culprits.top() == {
        "user.*": pytest.approx(40_000, rel=0.02),
        "job-*": pytest.approx(10_000, rel=0.02),
    }
