"""The rules of the line protocol: its limits, and the words for each way to break it.

Promises: a reason's code never changes its meaning, because it is a tag of `holdfast.rejected`. What is shown of a line
can do nothing to a terminal or a log, whatever its bytes.
"""

from codecs import getincrementaldecoder
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

MAX_LINE_BYTES = 8_192
"""The longest line; DogStatsD clients pack to at most 8 KiB by default."""
MAX_NAME_BYTES = 1_024
"""The longest name, UTF-8; no destination that we know takes more."""
MAX_VALUE = 1e100
"""The largest magnitude. Its square, weighted by 1/MIN_RATE and summed 1e50 times, still fits a double."""
MAX_NUMBER_BYTES = 64
"""Of a value that is read without its line; a longer one might make its line too long."""
MIN_RATE = 1e-9
"""The smallest sample rate; below it a client has certainly made a mistake."""
MOST_NOTICES = 1_000
"""Different events and service checks in one window; the same one again takes no room. Must leave a batch
(spool.batch.MAX_POINTS) room for the collector's own points, so that all notices of a window are in one."""
MOST_NOTICE_BYTES = 1_048_576
"""What their words may take together."""
EXAMPLE_BYTES = 100
"""Of a rejected line, which are shown."""
RESERVED = "holdfast."
"""Names of the collector's own points (selfmetrics.py), which a client may not write into."""


class Reason(StrEnum):
    """Why a line was rejected."""

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
    TOO_MANY_NOTICES = "too_many_notices"
    CONTROL_CHARACTER = "control_character"
    NOT_UTF8 = "not_utf8"
    LINE_TOO_LONG = "line_too_long"
    DATAGRAM_TOO_LONG = "datagram_too_long"


MEANINGS: Mapping[Reason, str] = {
    Reason.NO_VALUE: "no ':' between a name and a value",
    Reason.NO_TYPE: "no '|' and type after the value",
    Reason.EMPTY_NAME: "nothing before the ':', or nothing but tags",
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
    Reason.TOO_MANY_NOTICES: f"an event or service check beyond {MOST_NOTICES:,} different ones, or"
    f" {MOST_NOTICE_BYTES // 2**20} MiB of them, in one window",
    Reason.CONTROL_CHARACTER: "a byte below 0x20, or 0x7f",
    Reason.NOT_UTF8: "bytes that are not UTF-8",
    Reason.LINE_TOO_LONG: f"a line over {MAX_LINE_BYTES} bytes",
    Reason.DATAGRAM_TOO_LONG: "a datagram over 65,535 bytes; counted as one line, none of it is read",
}


def printable(text: str) -> str:
    """`text` with every character that could steer a terminal, or end a line, written out as an escape."""
    return text if text.isprintable() else "".join(ch if ch.isprintable() else ascii(ch)[1:-1] for ch in text)


def example(line: bytes) -> str:
    r"""The beginning of a line, for people: `jobs\x00:1|c`, or EXAMPLE_BYTES of a longer one and `...`."""
    line = line.strip()
    whole = len(line) <= EXAMPLE_BYTES
    decoder = getincrementaldecoder("utf-8")("backslashreplace")  # which leaves out a character that is cut
    shown = printable(decoder.decode(line[:EXAMPLE_BYTES], final=whole))
    return shown if whole else shown + "..."


@dataclass(frozen=True, slots=True)
class Rejection:
    """A line that is not taken: the rule it broke, and what was seen."""

    reason: Reason
    seen: str = ""

    def __str__(self) -> str:
        """`bad value 'x'`: for people."""
        words = self.reason.replace("_", " ")
        shown = self.seen if len(self.seen) <= 60 else self.seen[:57] + "..."
        return f"{words} '{printable(shown)}'" if self.seen else words


class BrokenError(Exception):
    """Carries a rejection out of the parsers; `statsd.parse` catches it."""

    def __init__(self, reason: Reason, seen: str = "") -> None:
        super().__init__(reason)
        self.rejection = Rejection(reason, seen)


def allowed_name(name: str) -> str:
    """`name`, if a point may have it. Raises BrokenError."""
    if not name:
        raise BrokenError(Reason.EMPTY_NAME)
    if len(name) > MAX_NAME_BYTES or len(name.encode()) > MAX_NAME_BYTES:
        raise BrokenError(Reason.NAME_TOO_LONG, f"{len(name.encode())} bytes")
    if name.startswith(RESERVED):
        raise BrokenError(Reason.RESERVED_NAME, name)
    return name
