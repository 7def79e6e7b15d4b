"""The line protocol, line by line, and the promise that no bytes whatever break it."""

import math
from typing import get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from collector.rules import MAX_LINE_BYTES, MAX_NAME_BYTES, MEANINGS, Reason, Rejection
from collector.statsd import STATSD, Dialect, Sample, Signs, parse, parse_number
from collector.tags import Style

VALUES = Dialect(gauges="value")
DIALECTS = [Dialect(gauges, tags) for gauges in get_args(Signs) for tags in get_args(Style)]


def one(line, dialect=STATSD):
    parsed = parse(line, dialect)
    assert isinstance(parsed, tuple), parsed
    assert len(parsed) == 1, parsed
    return parsed[0]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"a:1|c", Sample("a", "counter", (1.0,))),
        (b"a:-3|c", Sample("a", "counter", (-3.0,))),
        (b"a:2.6|c|@0.1", Sample("a", "counter", (2.6,), rate=0.1)),
        (b"a:1|c|@1e-1", Sample("a", "counter", (1.0,), rate=0.1)),
        (b"a:.5|c", Sample("a", "counter", (0.5,))),
        (b"a:5.|c", Sample("a", "counter", (5.0,))),
        (b"a:1E3|c", Sample("a", "counter", (1000.0,))),
        (b"a:-0|c", Sample("a", "counter", (0.0,))),
        (b"a:1|c\r\n", Sample("a", "counter", (1.0,))),
        (b"a:1|c|#env:prod,canary", Sample("a", "counter", (1.0,), tags=(("canary", ""), ("env", "prod")))),
        (b"a:1|c|#k:2,k:1,k:2", Sample("a", "counter", (1.0,), tags=(("k", "1,2"),))),
        (b"a:1|c|#url:http://x:80", Sample("a", "counter", (1.0,), tags=(("url", "http://x:80"),))),
        (b"a:1|c|#", Sample("a", "counter", (1.0,))),
        (b"a:1|c|c:ci-3f2|#a:b|x|T17", Sample("a", "counter", (1.0,), tags=(("a", "b"),), timestamp=17)),
        (b"a:1|c|#a:b|@0.5", Sample("a", "counter", (1.0,), rate=0.5, tags=(("a", "b"),))),
        (b"a:1:2:3|ms|@0.5", Sample("a", "timer", (1.0, 2.0, 3.0), rate=0.5)),
        (b"a:5|h", Sample("a", "timer", (5.0,))),
        (b"a:5|d", Sample("a", "timer", (5.0,))),
        (b"a:-10|ms", Sample("a", "timer", (-10.0,))),
        (b"a:bob|s", Sample("a", "set", ("bob",))),
        (b"a:10.0.0.1:80|s", Sample("a", "set", ("10.0.0.1:80",))),
        (b"a:7|g|@0.5", Sample("a", "gauge", (7.0,), rate=0.5)),
        (b"a:+3|g", Sample("a", "gauge", (3.0,), delta=True)),
        (b"a:-3|g", Sample("a", "gauge", (-3.0,), delta=True)),
        (b"a b:1|c", Sample("a b", "counter", (1.0,))),
        ("\u00e9:1|c".encode(), Sample("\u00e9", "counter", (1.0,))),
    ],
)
def test_a_good_line_is_understood(line, expected):
    assert one(line) == expected


def test_minus_zero_becomes_zero():
    assert math.copysign(1, one(b"a:-0|c").values[0]) == 1
    assert math.copysign(1, parse_number(b"-0")) == 1


def test_a_gauges_sign_is_part_of_its_value_where_the_listener_says_so():
    assert one(b"a:-3|g", VALUES) == Sample("a", "gauge", (-3.0,))
    assert one(b"a:+3|g", VALUES) == Sample("a", "gauge", (3.0,))


WIRE = {
    b"N:1:2|c": [3.0],
    b"N:1|c:2|c": [1.0, 2.0],
    b"N:1|c|#a:b,c": [1.0],
    b"N:1|c|#a:b|c:xyz": [1.0],
    b"N:1|c|#a:b|T1656581400": [1.0],
    b"N:5|h": [5.0],
    b"N:5|q": Reason.UNKNOWN_TYPE,
    b"N:-5|g": [-5.0],
    b"N:1|c|@0": Reason.BAD_RATE,
    b"N:1|c|@1e-1": [10.0],
    b"N:10|ms|@0.1": [100.0],
    b"N:-10|ms": [-10.0],
    b"N:2.6|c": [2.6],
    b"N:-3|c": [-3.0],
    b"N:|c": Reason.EMPTY_VALUE,
    b"N|c": Reason.NO_VALUE,
    b"N:1": Reason.NO_TYPE,
    b"N=1|c": Reason.NO_VALUE,
    b"N x:1|c": [1.0],
}
"""Lines on which servers differ, and what they are here: the sum of each sample's values, weighted; or the reason."""


@pytest.mark.parametrize("line", WIRE)
@pytest.mark.parametrize("ending", [b"", b"\r", b"\r\n", b" "])
def test_nothing_is_garbled_that_others_garble(line, ending):
    parsed = parse(line + ending)
    if isinstance(parsed, Rejection):
        assert parsed.reason is WIRE[line]
        return
    assert [sum(each.values) / each.rate for each in parsed] == WIRE[line]
    assert {each.name for each in parsed} == {"N x" if b"x:" in line else "N"}
    assert all(set(each.tags) <= {("a", "b"), ("c", "")} for each in parsed)


def test_packed_gauges_keep_their_order_and_their_signs():
    assert parse(b"g:5:+1|g") == (Sample("g", "gauge", (5.0,)), Sample("g", "gauge", (1.0,), delta=True))


@pytest.mark.parametrize(("line", "count"), [(b"n:1|c:2|c", 2), (b"n:1|c:2|ms", 2), (b"n:1|c|@0.5:2|ms|@0.1:3|c", 3)])
def test_the_old_packing_is_read_as_several_samples(line, count):
    assert [sample.name for sample in parse(line)] == ["n"] * count


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"garbage", Reason.NO_VALUE),
        (b"a|c", Reason.NO_VALUE),
        (b"a=1|c", Reason.NO_VALUE),
        (b":1|c", Reason.EMPTY_NAME),
        (b"x" * (MAX_NAME_BYTES + 1) + b":1|c", Reason.NAME_TOO_LONG),
        ("\u00e9".encode() * 600 + b":1|c", Reason.NAME_TOO_LONG),
        (b"x" * 65_000 + b":1|c", Reason.LINE_TOO_LONG),
        (b"a:1|c|#" + b"x" * MAX_LINE_BYTES, Reason.LINE_TOO_LONG),
        (b"holdfast.lines:1|c", Reason.RESERVED_NAME),
        (b"a:|c", Reason.EMPTY_VALUE),
        (b"a:|s", Reason.EMPTY_VALUE),
        (b"a:1::2|ms", Reason.EMPTY_VALUE),
        (b"a:1", Reason.NO_TYPE),
        (b"a:1|", Reason.NO_TYPE),
        (b"a:1|q", Reason.UNKNOWN_TYPE),
        (b"a:1|C", Reason.UNKNOWN_TYPE),
        (b"a:x|c", Reason.BAD_VALUE),
        (b"a:1e400|c", Reason.BAD_VALUE),
        (b"a:1e101|g", Reason.BAD_VALUE),
        (b"a:nan|g", Reason.BAD_VALUE),
        (b"a:inf|g", Reason.BAD_VALUE),
        (b"a:-Infinity|g", Reason.BAD_VALUE),
        (b"a:0x1f|c", Reason.BAD_VALUE),
        (b"a:1_000|c", Reason.BAD_VALUE),
        (b"a: 1|c", Reason.BAD_VALUE),
        (b"a:+-1|g", Reason.BAD_VALUE),
        ("a:\u0663|c".encode(), Reason.BAD_VALUE),
        (b"a:1|c|@0", Reason.BAD_RATE),
        (b"a:1|c|@2", Reason.BAD_RATE),
        (b"a:1|c|@-0.1", Reason.BAD_RATE),
        (b"a:1|c|@nan", Reason.BAD_RATE),
        (b"a:1|c|@1e-300", Reason.BAD_RATE),
        (b"a:1|c|@", Reason.BAD_RATE),
        (b"a:1|c|#:v", Reason.BAD_TAG),
        (b"n:1|c:2|c|#a:b", Reason.BAD_PACKING),
        (b"a\x00:1|c", Reason.CONTROL_CHARACTER),
        (b"a\tb:1|c", Reason.CONTROL_CHARACTER),
        (b"a\xff:1|c", Reason.NOT_UTF8),
        (b"_e{5,4}:abc|d", Reason.BAD_EVENT),
        (b"_e{x,4}:abc|d", Reason.BAD_EVENT),
        (b"_e{99999999999999999999,1}:a|b", Reason.BAD_EVENT),
        ("_e{1,1}:\u00e9|b".encode(), Reason.BAD_EVENT),
        (b"_sc|db|7", Reason.BAD_CHECK),
        (b"_sc||0", Reason.BAD_CHECK),
    ],
)
def test_a_bad_line_is_rejected_with_the_rule_that_it_broke(line, reason):
    parsed = parse(line)
    assert isinstance(parsed, Rejection)
    assert parsed.reason is reason


def test_every_reason_is_documented():
    assert set(MEANINGS) == set(Reason)


def test_a_blank_line_is_neither_taken_nor_rejected():
    assert [parse(line) for line in (b"", b"\r\n", b"  ")] == [(), (), ()]


pieces = st.sampled_from(
    [
        b"a",
        b"b.c",
        b":",
        b"|",
        b"1",
        b"-2",
        b"1e9",
        b"c",
        b"g",
        b"ms",
        b"s",
        b"@0.5",
        b"#k:v",
        b",",
        b";",
        b"=",
        b"[",
        b"]",
        b"#",
        b"_e{1,1}:",
        b"_sc|",
    ]
)
lines = st.one_of(st.binary(max_size=60), st.lists(pieces, max_size=12).map(b"".join))


@given(lines, st.sampled_from(DIALECTS))
@example(b"_e{9999,9999}:", STATSD)
def test_no_bytes_whatever_raise(line, dialect):
    parsed = parse(line, dialect)
    if isinstance(parsed, tuple):
        for sample in parsed:
            assert all(isinstance(each, str) or math.isfinite(each) for each in sample.values)
            assert 0 < sample.rate <= 1


@given(st.one_of(st.binary(max_size=20), st.text("0123456789.eE+-_ naif", max_size=9).map(str.encode)))
def test_the_quick_number_takes_only_what_the_parser_takes(written):
    try:
        number = parse_number(written)
    except ValueError:
        number = None
    parsed = parse(b"a:" + written + b"|ms")
    if number is not None:
        assert parsed == (Sample("a", "timer", (number,)),)
    elif isinstance(parsed, tuple) and b":" not in written and b"|" not in written:
        assert parsed == ()
