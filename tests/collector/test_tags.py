"""Tags: in the field and in names, in each style, and both at once."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.rules import Reason, Rejection
from collector.statsd import Dialect, parse
from collector.tags import Style

SAME = {
    "influx": b"api.hits,env=prod,canary:1|c",
    "graphite": b"api.hits;env=prod;canary:1|c",
    "librato": b"api.hits#env=prod,canary:1|c",
    "signalfx": b"api[env=prod,canary].hits:1|c",
}


def one(line, style):
    (sample,) = parse(line, Dialect(tags=style))
    return sample.name, dict(sample.tags)


@pytest.mark.parametrize("style", SAME)
def test_every_style_says_the_same(style):
    assert one(SAME[style], style) == ("api.hits", {"canary": "", "env": "prod"})
    assert one(b"api.hits:1|c|#env:prod,canary", style) == ("api.hits", {"canary": "", "env": "prod"})


@pytest.mark.parametrize(
    ("style", "other"), [(each, other) for each in get_args(Style) for other in SAME if each != other]
)
def test_another_styles_tags_are_part_of_the_name(style, other):
    name, tags = one(SAME[other], style)
    if (style, other) == ("librato", "signalfx") or style in ("none", "signalfx"):
        assert (name, tags) == (SAME[other].partition(b":")[0].decode(), {})
    else:
        assert "env=prod" in name or "env" in " ".join(tags), "nothing of it is lost"


@pytest.mark.parametrize(
    ("line", "style", "name", "tags"),
    [
        (b"a,k=v:1|c|#k:w,x", "influx", "a", {"k": "v,w", "x": ""}),
        (b"a,k=v,k=u:1|c", "influx", "a", {"k": "u,v"}),
        (b"a;k=v=w:1|c", "graphite", "a", {"k": "v=w"}),
        (b"a;k=x,y:1|c|#k:y", "graphite", "a", {"k": "x,y"}),
        (b"a;k=y,x;k=b:1|c|#k:a", "graphite", "a", {"k": "a,b,x,y"}),
        (b"a;k=y,x,y:1|c", "graphite", "a", {"k": "y,x,y"}),
        (b"a;k=y,x,y:1|c|#j:w", "graphite", "a", {"j": "w", "k": "y,x,y"}),
        (b"a:1|c|#k:c|#k:a|#k:b", "graphite", "a", {"k": "a,b,c"}),
        (b"a,:1|c", "influx", "a", {}),
        (b"a,,k=v:1|c", "influx", "a", {"k": "v"}),
        (b"a[k=v:1|c", "signalfx", "a[k=v", {}),
        (b"[k=v]a:1|c", "signalfx", "a", {"k": "v"}),
        ("\u00e9,\u00e0=\u00fc:1|c".encode(), "influx", "\u00e9", {"\u00e0": "\u00fc"}),
    ],
)
def test_tags_of_both_places_are_joined(line, style, name, tags):
    assert one(line, style) == (name, tags)


@pytest.mark.parametrize(
    ("line", "style", "reason"),
    [
        (b"a,=v:1|c", "influx", Reason.BAD_TAG),
        (b",k=v:1|c", "influx", Reason.EMPTY_NAME),
        (b"[k=v]:1|c", "signalfx", Reason.EMPTY_NAME),
        (b"holdfast.lines,k=v:1|c", "influx", Reason.RESERVED_NAME),
        (b"holdfast[k=v].lines:1|c", "signalfx", Reason.RESERVED_NAME),
        (b"x" * 1025 + b",k=v:1|c", "influx", Reason.NAME_TOO_LONG),
    ],
)
def test_a_bad_one_is_rejected_with_the_rule_that_it_broke(line, style, reason):
    parsed = parse(line, Dialect(tags=style))
    assert isinstance(parsed, Rejection)
    assert parsed.reason is reason


word = st.text("abcXYZ09_-./ \u00e9", min_size=1, max_size=8).map(str.strip).filter(bool)


@given(word, st.dictionaries(word, word, max_size=4), st.sampled_from(list(SAME)))
def test_whatever_the_words_tags_in_names_are_read_back(name, tags, style):
    begin, between, end = {
        "influx": (",", ",", ""), "graphite": (";", ";", ""), "librato": ("#", ",", ""), "signalfx": ("[", ",", "]")
    }[style]  # fmt: skip
    written = begin + between.join(f"{key}={value}" for key, value in tags.items()) + end if tags else ""
    assert one(f"{name}{written}:1|c".encode(), style) == (name, tags)
