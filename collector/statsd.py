"""The line protocol: one line of bytes -> samples, or the rule that the line broke.

    api.hits:1|c|@0.1|#env:prod,canary|c:ci-3f2|T1764000000
    -------- - - ----  --------------- -------- -----------
    name  value type rate   tags      container  timestamp

StatsD (etsy) with the DogStatsD extensions: tags (tags.py, also those in names), values packed behind one name
(`a:1:2:3|ms`), `|T` timestamps, events `_e{}` and service checks `_sc` (notices.py). The old packing `a:1|c:2|ms` is
read as two samples as long as no section has more than a rate. Unknown `|` fields are skipped, in any order.

Promises: never raises, whatever the bytes; a line is taken as a whole or rejected as a whole; every number
that comes out is finite, and so is any sum of them, weighted or squared (see rules.MAX_VALUE, MIN_RATE).

Does not promise to change names: what a destination cannot carry, its protocol escapes. `|T` is parsed but
does not move a sample out of the window in which it arrived.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from collector.notices import Notice, check, event
from collector.rules import (
    MAX_LINE_BYTES,
    MAX_NUMBER_BYTES,
    MAX_VALUE,
    MIN_RATE,
    BrokenError,
    Reason,
    Rejection,
    allowed_name,
)
from collector.tags import Style, Tags, in_field, in_name

Signs = Literal["delta", "value"]
"""What a gauge's sign means: `+3` adds 3 (StatsD), or is the number 3 (DogStatsD)."""
Kind = Literal["counter", "gauge", "timer", "set"]

KINDS: Mapping[str, Kind] = {
    "c": "counter",
    "g": "gauge",
    "ms": "timer",
    "h": "timer",
    "d": "timer",
    "s": "set",
}


class Dialect(NamedTuple):
    """What the wire cannot tell, so that each listener says it: the meaning of signs, and tags in names."""

    gauges: Signs = "delta"
    tags: Style = "none"


STATSD = Dialect()
"""What a listener speaks that says nothing else."""


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
    tags: Tags = ()
    timestamp: int | None = None


Parsed = tuple[Sample, ...] | Notice | Rejection

# Python's float() also takes nan, inf, 1_000, surrounding spaces and other scripts' digits.
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_DIGITS = re.compile(r"[0-9]{1,12}")


def parse_number(written: bytes) -> float:
    """A value by itself, for callers that know the rest of the line already. Raises ValueError if it is none."""
    if len(written) > MAX_NUMBER_BYTES:
        raise ValueError(written)
    if written.isdigit():
        return 0.0 + int(written)
    value = float(written)
    # float() takes a little more than _NUMBER: white space, 1_000, nan and inf, the last two out of range.
    if not -MAX_VALUE <= value <= MAX_VALUE or written.translate(None, b"0123456789.eE+-"):
        raise ValueError(written)
    return value + 0.0


def parse(line: bytes, dialect: Dialect = STATSD) -> Parsed:  # noqa: PLR0911 - one return per rule
    """What one line means. White space around it, as of CRLF, is ignored; a blank line is the empty tuple."""
    whole, line = line, line.strip()
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
            return event(whole.lstrip().rstrip(b"\r\n"))  # its text may end in white space
        if text.startswith("_sc|"):
            return check(text)
        return tuple(_samples(text, dialect))
    except BrokenError as broken:
        return broken.rejection


def _samples(text: str, dialect: Dialect) -> Iterator[Sample]:
    # api.hits:1|c|@0.1|#env:prod      api.lat:320|ms:1|c
    # -------- ------------------      ------- ------ ---
    # name     section                 name    section section
    written, colon, rest = text.partition(":")
    if not colon or "|" in written:
        raise BrokenError(Reason.NO_VALUE, text)
    name, tags = (written, ()) if dialect.tags == "none" else in_name(written, dialect.tags)
    allowed_name(name)
    sections = _sections(rest.split("|"))
    if len(sections) > 1 and any(not each.startswith("@") for section in sections for each in section[2:]):
        raise BrokenError(Reason.BAD_PACKING)
    for section in sections:
        yield from _section(name, tags, section, dialect.gauges)


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


def _section(name: str, tags: Tags, fields: list[str], signs: Signs) -> Iterator[Sample]:
    # 1:2:3|ms|@0.1|#env:prod|T1764000000
    # ----- -- ---- --------- -----------
    if len(fields) < 2 or not fields[1]:
        raise BrokenError(Reason.NO_TYPE, fields[0])
    kind = KINDS.get(fields[1])
    if kind is None:
        raise BrokenError(Reason.UNKNOWN_TYPE, fields[1])
    rate, timestamp = 1.0, None
    for each in fields[2:]:
        if each.startswith("@"):
            rate = _rate(each[1:])
        elif each.startswith("#"):
            tags = in_field(each[1:], tags)
        elif each.startswith("T") and _DIGITS.fullmatch(each, 1):
            timestamp = int(each[1:])
    if kind == "set":  # its member may contain ':', as DogStatsD says; sets are not packed
        if not fields[0]:
            raise BrokenError(Reason.EMPTY_VALUE)
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
        raise BrokenError(Reason.EMPTY_VALUE)
    if not _NUMBER.fullmatch(written) or not -MAX_VALUE <= (value := float(written)) <= MAX_VALUE:
        raise BrokenError(Reason.BAD_VALUE, written)
    return value + 0.0  # -0 becomes 0


def _rate(written: str) -> float:
    if not _NUMBER.fullmatch(written) or not MIN_RATE <= (rate := float(written)) <= 1.0:
        raise BrokenError(Reason.BAD_RATE, "@" + written)
    return rate
