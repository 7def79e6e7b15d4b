r"""DogStatsD's events and service checks: things that are said, not measured, and travel as points of their own kind.

    _e{5,4}:title|text|d:1764000000|p:low|t:warning|#env:prod        the lengths are bytes of UTF-8
       - -  ----- ---- ------------ ----- --------- ---------
    _sc|db.up|2|d:1764000000|h:web-1|#env:prod|m:no answer           0 OK, 1 warning, 2 critical, 3 unknown
        ----- - ------------ ------- --------- -----------

Of a window's notices each *different* one is a point, with how often it came (`count`); what was said last stands
last, so the last of a check's points has its latest status. `h:` becomes the tag `host`, like a metric's own; in texts
`\n` is a line break (and `m\:` is `m:`), as DogStatsD has it. Fields that are not known are skipped.

Promises: bounded by MOST_NOTICES and MOST_NOTICE_BYTES in a window; what is beyond is refused to the caller, who counts
it as rejected. Source: docs.datadoghq.com, "DogStatsD datagram format".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from collector.rules import MOST_NOTICE_BYTES, MOST_NOTICES, BrokenError, Reason, allowed_name
from collector.tags import Tags, in_field
from spool.batch import Point

NOTICE_BYTES = 200
"""Taken to be the size of everything about a notice but its words, as a document has them."""

FIELDS = {"k": "aggregation_key", "p": "priority", "s": "source", "t": "alert", "m": "text"}
"""What a field's letter means; `h`, `d` and `#` have places of their own."""

_EVENT = re.compile(rb"_e\{([0-9]{1,4}),([0-9]{1,4})\}:")
_DIGITS = re.compile(r"[0-9]{1,12}")


@dataclass(frozen=True, slots=True)
class Notice:
    """An event, whose `value` is its text, or a service check, whose `value` is its status.

    `tags` as in a Sample; `timestamp` in Unix seconds, if the client gave one; `fields` sorted by name.
    """

    kind: Literal["event", "service_check"]
    name: str
    value: str | int
    tags: Tags = ()
    timestamp: int | None = None
    fields: Tags = ()

    @property
    def size_bytes(self) -> int:
        """About what it takes in a document."""
        words = [self.name, str(self.value), *(word for pair in (*self.tags, *self.fields) for word in pair)]
        return NOTICE_BYTES + len("".join(words).encode())


def event(line: bytes) -> Notice:
    """The event of a line that begins with `_e{`. Raises BrokenError."""
    head = _EVENT.match(line)
    if head is None:
        raise BrokenError(Reason.BAD_EVENT)
    title_end = head.end() + int(head[1])
    text_end = title_end + 1 + int(head[2])
    after = line[text_end:].strip()
    if len(line) < text_end or line[title_end : title_end + 1] != b"|" or (after and not after.startswith(b"|")):
        raise BrokenError(Reason.BAD_EVENT)
    try:
        title = line[head.end() : title_end].decode()
        text = line[title_end + 1 : text_end].decode()
        rest = after[1:].decode()
    except UnicodeDecodeError:  # a length that ends inside a character
        raise BrokenError(Reason.BAD_EVENT) from None
    if not title:
        raise BrokenError(Reason.BAD_EVENT)
    tags, timestamp, fields = _fields(rest.split("|"))
    fields.pop("text", None)
    return Notice("event", allowed_name(title), _unescaped(text), tags, timestamp, tuple(sorted(fields.items())))


def check(text: str) -> Notice:
    """The service check of a line that begins with `_sc|`. Raises BrokenError."""
    name, _, rest = text.removeprefix("_sc|").partition("|")
    status, *written = rest.split("|")
    if not name or status not in ("0", "1", "2", "3"):
        raise BrokenError(Reason.BAD_CHECK)
    tags, timestamp, fields = _fields(written)
    if "text" in fields:
        fields["text"] = _unescaped(fields["text"].replace("m\\:", "m:"))
    return Notice("service_check", allowed_name(name), int(status), tags, timestamp, tuple(sorted(fields.items())))


def _fields(written: list[str]) -> tuple[Tags, int | None, dict[str, str]]:
    tags: Tags = ()
    timestamp, fields = None, {}
    for each in written:
        letter, _, value = each.partition(":")
        if each.startswith("#"):
            tags = in_field(each[1:], tags)
        elif letter == "h" and value:
            tags = in_field("host:" + value, tags)
        elif letter == "d" and _DIGITS.fullmatch(value):
            timestamp = int(value)
        elif letter in FIELDS:
            fields[FIELDS[letter]] = value
    return tags, timestamp, fields


def _unescaped(text: str) -> str:
    return text.replace("\\n", "\n")


class Notices:
    """Those of one window. Mutable: belongs to the window that is being filled."""

    def __init__(self) -> None:
        self._times: dict[Notice, int] = {}
        self._size_bytes = 0

    def take(self, notice: Notice, times: int = 1) -> bool:
        """Take one that was said so often; False if there is no room for it."""
        before = self._times.pop(notice, 0)  # back at the end: what was said last stands last
        if not before:
            size_bytes = notice.size_bytes
            if len(self._times) >= MOST_NOTICES or self._size_bytes + size_bytes > MOST_NOTICE_BYTES:
                return False
            self._size_bytes += size_bytes
        self._times[notice] = before + times
        return True

    def said(self) -> list[tuple[Notice, int]]:
        """Each with how often it came."""
        return list(self._times.items())

    def points(self) -> list[Point]:
        """Their points; see spool.batch.Point."""
        return [
            Point(notice.name, notice.kind, dict(notice.tags), _values(notice, times))
            for notice, times in self._times.items()
        ]


def _values(notice: Notice, times: int) -> Mapping[str, Any]:
    fields: dict[str, Any] = {"text": notice.value} if notice.kind == "event" else {}
    fields |= {} if notice.timestamp is None else {"timestamp": notice.timestamp}
    fields |= dict(notice.fields)
    status = {"value": notice.value} if notice.kind == "service_check" else {}
    return {"count": times, **status, "fields": fields}
