"""The line protocol: one line of bytes -> samples, or the rule that the line broke.

    api.hits:1|c|@0.1|#env:prod,canary|c:ci-3f2|T1764000000
    -------- - - ----  --------------- -------- -----------
    name  value type rate   tags      container  timestamp

StatsD (etsy) with the DogStatsD extensions: tags (a bare tag has the value ""), values packed behind one
name (`a:1:2:3|ms`), `|T` timestamps, events `_e{}` and service checks `_sc`. The old packing `a:1|c:2|ms` is
read as two samples as long as no section has more than a rate. Unknown `|` fields are skipped, in any order.

Promises: never raises, whatever the bytes; a line is taken as a whole or rejected as a whole; every number
that comes out is finite, and so is any sum of them, weighted or squared (see MAX_VALUE, MIN_RATE).

Does not promise to change names: what a destination cannot carry, its protocol escapes. `|T` is parsed but
does not move a sample out of the window in which it arrived.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

MAX_LINE_BYTES = 8_192
"""The longest line; DogStatsD clients pack to at most 8 KiB by default."""
MAX_NAME_BYTES = 1_024
"""The longest name, UTF-8; no destination that we know takes more."""
MAX_VALUE = 1e100
"""The largest magnitude. Its square, weighted by 1/MIN_RATE and summed 1e50 times, still fits a double."""
MIN_RATE = 1e-9
"""The smallest sample rate; below it a client has certainly made a mistake."""
RESERVED = "holdfast."
"""Names of the collector's own points (selfmetrics.py), which a client may not write into."""

Signs = Literal["delta", "value"]
"""What a gauge's sign means: `+3` adds 3 (StatsD), or is the number 3 (DogStatsD). The wire cannot tell."""
Kind = Literal["counter", "gauge", "timer", "set"]

KINDS: Mapping[str, Kind] = {
    "c": "counter",
    "g": "gauge",
    "ms": "timer",
    "h": "timer",
    "d": "timer",
    "s": "set",
}


class Reason(StrEnum):
    """Why a line was rejected. These words are tags of `holdfast.rejected`, so they never change."""

    NO_VALUE = "no_value"
    NO_TYPE = "no_type"
    EMPTY_NAME = "empty_name"
    NAME_TOO_LONG = "name_too_long"
    RESERVED_NAME = "reserved_name"
    EMPTY_VALUE = "empty_value"
    BAD_VALUE = "bad_value"
    UNKNOWN_TYPE = "unknown_type"
    BAD_RATE = "bad_rate"
    BAD_TAG = "bad_tag"
    BAD_PACKING = "bad_packing"
    BAD_EVENT = "bad_event"
    BAD_CHECK = "bad_check"
    UNSUPPORTED_EVENT = "unsupported_event"
    UNSUPPORTED_CHECK = "unsupported_check"
    CONTROL_CHARACTER = "control_character"
    NOT_UTF8 = "not_utf8"
    LINE_TOO_LONG = "line_too_long"
    DATAGRAM_TOO_LONG = "datagram_too_long"


MEANINGS: Mapping[Reason, str] = {
    Reason.NO_VALUE: "no ':' between a name and a value",
    Reason.NO_TYPE: "no '|' and type after the value",
    Reason.EMPTY_NAME: "nothing before the ':'",
    Reason.NAME_TOO_LONG: f"a name over {MAX_NAME_BYTES} bytes",
    Reason.RESERVED_NAME: f"a name that begins with '{RESERVED}', which are the collector's own",
    Reason.EMPTY_VALUE: "nothing between ':' and '|', or between two ':'",
    Reason.BAD_VALUE: f"not a decimal number, or beyond {MAX_VALUE:g}; nan, inf, 0x1f, 1_000 are none here",
    Reason.UNKNOWN_TYPE: "a type other than c, g, ms, h, d, s",
    Reason.BAD_RATE: f"a sample rate outside [{MIN_RATE:g}, 1]",
    Reason.BAD_TAG: "a tag without a key",
    Reason.BAD_PACKING: "several samples in the old packing, with tags or other fields: whose is not clear",
    Reason.BAD_EVENT: "an event _e{} whose lengths or fields do not fit its text",
    Reason.BAD_CHECK: "a service check _sc without a name or a status from 0 to 3",
    Reason.UNSUPPORTED_EVENT: "a well-formed event: a batch cannot carry it yet",
    Reason.UNSUPPORTED_CHECK: "a well-formed service check: a batch cannot carry it yet",
    Reason.CONTROL_CHARACTER: "a byte below 0x20, or 0x7f",
    Reason.NOT_UTF8: "bytes that are not UTF-8",
    Reason.LINE_TOO_LONG: f"a line over {MAX_LINE_BYTES} bytes",
    Reason.DATAGRAM_TOO_LONG: "a datagram over 65,535 bytes; counted as one line, none of it is read",
}


@dataclass(frozen=True, slots=True)
class Sample:
    """What one line, or one section of it, measured.

    `values` are numbers, or for a set its one member. `rate` is in (0, 1]; it is kept but means nothing for
    gauges and sets. `delta` is True for a gauge that moves by its value. `tags` are sorted by key; a
    repeated key has its distinct values sorted and joined by ",". `timestamp` is in Unix seconds.
    """

    name: str
    kind: Kind
    values: tuple[float, ...] | tuple[str]
    rate: float = 1.0
    delta: bool = False
    tags: tuple[tuple[str, str], ...] = ()
    timestamp: int | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """A DogStatsD event or service check: well-formed, but not a metric."""

    kind: Literal["event", "service_check"]
    name: str
    value: str | int
    tags: tuple[tuple[str, str], ...] = ()
    timestamp: int | None = None
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rejection:
    """A line that is not taken: the rule it broke, and what was seen."""

    reason: Reason
    seen: str = ""

    def __str__(self) -> str:
        """`bad value 'x'`: for people."""
        words = self.reason.replace("_", " ")
        shown = self.seen if len(self.seen) <= 60 else self.seen[:57] + "..."
        return f"{words} {shown!r}" if self.seen else words


Parsed = tuple[Sample, ...] | Notice | Rejection

# Python's float() also takes nan, inf, 1_000, surrounding spaces and other scripts' digits.
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_DIGITS = re.compile(r"[0-9]{1,12}")
_EVENT = re.compile(rb"_e\{([0-9]{1,4}),([0-9]{1,4})\}:")


def parse_number(written: bytes) -> float | None:
    """A value by itself, or None if it is not one. For callers that know the rest of the line already."""
    if len(written) > 64:  # might make its line too long
        return None
    if written.replace(b".", b"", 1).isdigit():  # nearly all; nothing else to check
        return float(written)
    try:
        value = float(written)
    except ValueError:
        return None
    # float() takes a little more than _NUMBER: white space, 1_000, nan and inf, the last two out of range.
    if not -MAX_VALUE <= value <= MAX_VALUE or written.translate(None, b"0123456789.eE+-"):
        return None
    return value + 0.0


class _Broken(Exception):
    """Carries a rejection out of the small parsers; never leaves this module."""

    def __init__(self, reason: Reason, seen: str = "") -> None:
        super().__init__(reason)
        self.rejection = Rejection(reason, seen)


def parse(line: bytes, signs: Signs = "delta") -> Parsed:  # noqa: PLR0911 - one return per rule
    """What one line means. White space around it, as of CRLF, is ignored; a blank line is the empty tuple."""
    line = line.strip()
    if not line:
        return ()
    if len(line) > MAX_LINE_BYTES:
        return Rejection(Reason.LINE_TOO_LONG, f"{len(line)} bytes")
    if (control := _CONTROL.search(line)) is not None:
        return Rejection(Reason.CONTROL_CHARACTER, f"\\x{control[0][0]:02x}")
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        return Rejection(Reason.NOT_UTF8, f"\\x{line[error.start]:02x}")
    try:
        if text.startswith("_e{"):
            return _event(line)
        if text.startswith("_sc|"):
            return _check(text)
        return tuple(_samples(text, signs))
    except _Broken as broken:
        return broken.rejection


def _samples(text: str, signs: Signs) -> Iterator[Sample]:
    # api.hits:1|c|@0.1|#env:prod      api.lat:320|ms:1|c
    # -------- ------------------      ------- ------ ---
    # name     section                 name    section section
    name, colon, rest = text.partition(":")
    if not colon or "|" in name:
        raise _Broken(Reason.NO_VALUE, text)
    if not name:
        raise _Broken(Reason.EMPTY_NAME)
    if len(name) > MAX_NAME_BYTES or len(name.encode()) > MAX_NAME_BYTES:
        raise _Broken(Reason.NAME_TOO_LONG, f"{len(name.encode())} bytes")
    if name.startswith(RESERVED):
        raise _Broken(Reason.RESERVED_NAME, name)
    sections = _sections(rest.split("|"))
    if len(sections) > 1 and any(not each.startswith("@") for section in sections for each in section[2:]):
        raise _Broken(Reason.BAD_PACKING)
    for section in sections:
        yield from _section(name, section, signs)


def _sections(fields: list[str]) -> list[list[str]]:
    # 320|ms|@0.1:1|c
    #         ---- -
    # a type or a rate ends where the next value of the old packing begins; `#k:v` and `c:id` are no such end
    sections = [[fields[0]]]
    for each in fields[1:]:
        if ":" in each and (len(sections[-1]) == 1 or each.startswith("@")):
            last, _, following = each.partition(":")
            sections[-1].append(last)
            sections.append([following])
        else:
            sections[-1].append(each)
    return sections


def _section(name: str, fields: list[str], signs: Signs) -> Iterator[Sample]:
    # 1:2:3|ms|@0.1|#env:prod|T1764000000
    # ----- -- ---- --------- -----------
    if len(fields) < 2 or not fields[1]:
        raise _Broken(Reason.NO_TYPE, fields[0])
    kind = KINDS.get(fields[1])
    if kind is None:
        raise _Broken(Reason.UNKNOWN_TYPE, fields[1])
    rate, timestamp = 1.0, None
    tags: tuple[tuple[str, str], ...] = ()
    for each in fields[2:]:
        if each.startswith("@"):
            rate = _rate(each[1:])
        elif each.startswith("#"):
            tags = _tags(each[1:], tags)
        elif each.startswith("T") and _DIGITS.fullmatch(each, 1):
            timestamp = int(each[1:])
    if kind == "set":  # its member may contain ':', as DogStatsD says; sets are not packed
        if not fields[0]:
            raise _Broken(Reason.EMPTY_VALUE)
        yield Sample(name, kind, (fields[0],), rate, False, tags, timestamp)
        return
    written = fields[0].split(":")
    values = tuple(_number(each) for each in written)
    if kind == "gauge":  # one sample each: packed gauges may mix values and deltas
        for each, value in zip(written, values, strict=True):
            yield Sample(name, kind, (value,), rate, signs == "delta" and each[0] in "+-", tags, timestamp)
        return
    yield Sample(name, kind, values, rate, False, tags, timestamp)


def _number(written: str) -> float:
    if not written:
        raise _Broken(Reason.EMPTY_VALUE)
    if not _NUMBER.fullmatch(written) or not -MAX_VALUE <= (value := float(written)) <= MAX_VALUE:
        raise _Broken(Reason.BAD_VALUE, written)
    return value + 0.0  # -0 becomes 0


def _rate(written: str) -> float:
    if not _NUMBER.fullmatch(written) or not MIN_RATE <= (rate := float(written)) <= 1.0:
        raise _Broken(Reason.BAD_RATE, "@" + written)
    return rate


def _tags(written: str, before: tuple[tuple[str, str], ...] = ()) -> tuple[tuple[str, str], ...]:
    # env:prod,canary,env:test
    # --- ---- ------            -> env="prod,test", canary=""
    found: dict[str, set[str]] = {key: {value} for key, value in before}
    for each in written.split(","):
        key, _, value = each.partition(":")
        if key:
            found.setdefault(key, set()).add(value)
        elif value:
            raise _Broken(Reason.BAD_TAG, each)
    return tuple((key, ",".join(sorted(found[key]))) for key in sorted(found))


_NOTICE_FIELDS = {
    "h": "host",
    "k": "aggregation_key",
    "p": "priority",
    "s": "source",
    "t": "alert",
    "m": "text",
}


def _event(line: bytes) -> Notice:
    # _e{5,4}:title|text|d:1764000000|p:low|#env:prod        the lengths are bytes of UTF-8
    #    - -  ----- ---- ------------ ----- ---------
    head = _EVENT.match(line)
    if head is None:
        raise _Broken(Reason.BAD_EVENT)
    title_end = head.end() + int(head[1])
    text_end = title_end + 1 + int(head[2])
    if (
        len(line) < text_end
        or line[title_end : title_end + 1] != b"|"
        or line[text_end : text_end + 1] not in (b"", b"|")
    ):
        raise _Broken(Reason.BAD_EVENT)
    try:
        title = line[head.end() : title_end].decode()
        text = line[title_end + 1 : text_end].decode()
        rest = line[text_end + 1 :].decode()
    except UnicodeDecodeError:  # a length that ends inside a character
        raise _Broken(Reason.BAD_EVENT) from None
    if not title:
        raise _Broken(Reason.BAD_EVENT)
    tags, timestamp, fields = _notice_fields(rest.split("|"))
    return Notice("event", title, text, tags, timestamp, fields)


def _check(text: str) -> Notice:
    # _sc|db.up|2|d:1764000000|h:web-1|#env:prod|m:no answer
    #     ----- - ------------ ------- --------- -----------
    name, _, rest = text.removeprefix("_sc|").partition("|")
    status, *fields = rest.split("|")
    if not name or status not in ("0", "1", "2", "3"):
        raise _Broken(Reason.BAD_CHECK)
    tags, timestamp, named = _notice_fields(fields)
    return Notice("service_check", name, int(status), tags, timestamp, named)


def _notice_fields(fields: list[str]) -> tuple[tuple[tuple[str, str], ...], int | None, dict[str, str]]:
    tags: tuple[tuple[str, str], ...] = ()
    timestamp, named = None, {}
    for each in fields:
        letter, _, value = each.partition(":")
        if each.startswith("#"):
            tags = _tags(each[1:], tags)
        elif letter == "d" and _DIGITS.fullmatch(value):
            timestamp = int(value)
        elif letter in _NOTICE_FIELDS:
            named[_NOTICE_FIELDS[letter]] = value
    return tags, timestamp, named
