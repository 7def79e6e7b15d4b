"""From a request body to batches: decompress within a limit, split into lines, read each document.

    {"v":1,"key":"9f3c...-8841","id":8841,"host":"web-1","window":{"start":..,"end":..,"seq":8841},"points":[...]}
                  ------- ----
                  spool   id

The key of a part of a batch (shipper/parts.py) says which of its points are in it: 9f3c...-8841/1-2500.

The body is newline-delimited JSON as spool/batch.py writes it, plain or as gzip members one after the other.
A line that is not a JSON object with a `key` spoils the whole body (`BodyError` names the line): what it was
meant to be cannot be told to its sender. A document that has a key and something else wrong is refused alone.

Pure, and a generator: one document is in memory at a time, however many the body holds. Promises that the
decompressed body never exceeds its limit by more than one step of 64 KiB, in memory as well. Does not
promise anything about names or types of points: a server that must not lose data takes what it does not know.
"""

import hashlib
import json
import math
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from spool.batch import VERSION
from spool.errors import HoldfastError

STEP_BYTES = 65_536
MAX_KEY_CHARS = 200
MAX_HOST_CHARS = 255
MAX_LEVELS = 32
"""Of a check-in; our own has four. One at the limit of JSON can be read when it comes, but not for a page."""

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
"""Made once, not once per series as json.dumps would."""


_KEY = re.compile(r"(?P<of>(?P<spool>[^/]+)-[0-9]{1,19}(~[0-9]{1,9})?)(/(?P<first>[0-9]{1,9})-(?P<last>[0-9]{1,9}))?")


class BodyError(HoldfastError):
    """The body as a whole cannot be read: sending it again will not help."""


class BodyTooLarge(HoldfastError):
    """The decompressed body is over its limit: sending it in parts may help."""


@dataclass(frozen=True, slots=True)
class Series:
    """What readings of all windows of a host have in common; `tags` is canonical JSON text."""

    name: str
    type: str
    tags: str


@dataclass(frozen=True, slots=True)
class Said:
    """An event or a service check, which a batch may have several of with the same series.

    `place` is its number among the points, `value` the status of a check, `fields` its words as canonical JSON text.
    """

    place: int
    series: Series
    count: float
    value: float | None
    fields: str


@dataclass(frozen=True, slots=True)
class Arrival:
    """A well-formed batch. `sha256` is over the bytes of its line without the newline, hexadecimal.

    `readings` are (series, statistic, number), the statistic being `value`, `count`, `p99` ...; `sketches`
    are what timers and sets are merged from over windows and hosts, as JSON text. `said` are points with words. `of` is
    the key of the batch that this one is a part of, its own key if it is whole; `part` the points of that in it.
    """

    key: str
    of: str
    part: tuple[int, int] | None
    sha256: str
    host: str
    spool_id: str
    window_start: float
    window_end: float
    window_seq: int
    points: int
    readings: tuple[tuple[Series, str, float], ...]
    sketches: tuple[tuple[Series, str], ...]
    said: tuple[Said, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A batch that has a key and cannot be stored, and why."""

    key: str
    error: str


def decompressed(body: bytes, limit_bytes: int) -> Iterator[bytes]:
    """The content of concatenated gzip members in pieces of at most STEP_BYTES.

    Raises BodyError for what is not gzip or ends inside a member, BodyTooLarge past `limit_bytes`.
    """
    total, position = 0, 0
    while position < len(body):
        member = zlib.decompressobj(wbits=31)
        while not member.eof:
            # A step at a time: what a member leaves over is short, so small members cost no large copies.
            given = member.unconsumed_tail
            if not given:
                given = body[position : position + STEP_BYTES]
                position += len(given)
            try:
                piece = member.decompress(given, STEP_BYTES)
            except zlib.error as error:
                raise BodyError(f"broken gzip: {error}") from None
            if not given and not piece:
                raise BodyError("broken gzip: the body ends inside a member")
            total += len(piece)
            if total > limit_bytes:
                raise BodyTooLarge(f"the body is over {limit_bytes} bytes decompressed: send fewer batches at once")
            yield piece
        position -= len(member.unused_data)


def lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Lines without their newlines; the last one may lack it."""
    begun: list[bytes] = []
    for piece in pieces:
        first, *rest = piece.split(b"\n")
        begun.append(first)
        for each in rest:
            yield b"".join(begun)
            begun = [each]
    last = b"".join(begun)
    if last:
        yield last


def documents(body: bytes, *, gzipped: bool, limit_bytes: int) -> Iterator[Arrival | Refusal]:
    """The batches of a body, in order. Raises BodyError or BodyTooLarge, at the line that has it wrong."""
    if not gzipped and len(body) > limit_bytes:
        raise BodyTooLarge(f"the body is over {limit_bytes} bytes: send fewer batches at once")
    pieces = decompressed(body, limit_bytes) if gzipped else iter([body])
    for number, line in enumerate(lines(pieces), start=1):
        yield read(line, number)


def read(line: bytes, number: int) -> Arrival | Refusal:
    """One document. Raises BodyError if it is none; `number` counts lines from 1."""
    try:
        document = json.loads(line.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BodyError(f"line {number} is not JSON: {error}") from None
    key = document.get("key") if isinstance(document, dict) else None
    if not isinstance(key, str) or not 0 < len(key) <= MAX_KEY_CHARS or not (key.isascii() and key.isprintable()):
        raise BodyError(f"line {number} is not a batch: allowed is a JSON object with a key of printable ASCII")
    try:
        return _arrival(key, hashlib.sha256(line).hexdigest(), document)
    except (ValueError, OverflowError) as error:
        return Refusal(key, str(error))


def part_of(key: str) -> tuple[int, int] | None:
    """The first and the last point, counted from 1, that a key says are in it; None for a whole batch."""
    named = _KEY.fullmatch(key)
    return (int(named["first"]), int(named["last"])) if named and named["first"] else None


def checkin_host(body: bytes) -> str:
    """Who sent this check-in: a JSON object with a `host`, of at most MAX_LEVELS. Raises BodyError."""
    try:
        said = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
        _not_deeper(said, MAX_LEVELS)
        return _host(said.get("host") if isinstance(said, dict) else None)
    except (ValueError, RecursionError) as error:
        raise BodyError(f"the check-in is no JSON object with a host: {error}") from None


def _not_deeper(value: Any, levels: int) -> None:
    if not levels:
        raise ValueError(f"it has more than {MAX_LEVELS} levels")
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _not_deeper(each, levels - 1)


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number in JSON")


def _arrival(key: str, sha256: str, document: Mapping[str, Any]) -> Arrival:
    if document.get("v") != VERSION:
        raise ValueError(f"v is {str(document.get('v'))[:20]!r}, known is {VERSION}")
    named = _KEY.fullmatch(key)
    if named is None:
        raise ValueError("key is not <spool id>-<batch id> or <spool id>-<batch id>/<first point>-<last point>")
    host, window, points = _host(document.get("host")), document.get("window"), document.get("points")
    if not isinstance(window, dict):
        raise ValueError("window is not an object")  # noqa: TRY004 - one kind of error, caught in read()
    seq = window.get("seq")
    if isinstance(seq, bool) or not isinstance(seq, int) or not 0 <= seq < 2**62:
        raise ValueError("window.seq is not a whole number from 0")
    start, end = _finite(window.get("start"), "window.start"), _finite(window.get("end"), "window.end")
    if not isinstance(points, list):
        raise ValueError("points is not a list")  # noqa: TRY004
    readings: list[tuple[Series, str, float]] = []
    sketches: list[tuple[Series, str]] = []
    said: list[Said] = []
    seen: set[Series] = set()
    for place, point in enumerate(points):
        where = f"points[{place}]"
        if not isinstance(point, dict) or not isinstance(point.get("tags"), dict):
            raise ValueError(f"{where} is not an object with tags")  # noqa: TRY004
        series = Series(
            _text(point.get("name"), f"{where}.name"),
            _text(point.get("type"), f"{where}.type"),
            _text(_CANONICAL.encode(point["tags"]), f"{where}.tags"),
        )
        if "fields" in point:
            said.append(_said(place, series, point, where))
            continue
        if series in seen:
            raise ValueError(f"{where} is a series that this batch has twice")
        seen.add(series)
        for stat, value in point.items():
            if stat == "sketch":
                sketches.append((series, _text(_CANONICAL.encode(value), f"{where}.sketch")))
            elif stat not in ("name", "type", "tags"):
                readings.append((series, _text(stat, f"{where}: a statistic"), _finite(value, f"{where}.{stat}")))
    return Arrival(
        key=key,
        of=named["of"],
        part=part_of(key),
        sha256=sha256,
        host=host,
        spool_id=named["spool"],
        window_start=start,
        window_end=end,
        window_seq=seq,
        points=len(points),
        readings=tuple(readings),
        sketches=tuple(sketches),
        said=tuple(said),
    )


def _said(place: int, series: Series, point: Mapping[str, Any], where: str) -> Said:
    status = point.get("value")
    return Said(
        place,
        series,
        _finite(point.get("count"), f"{where}.count"),
        None if status is None else _finite(status, f"{where}.value"),
        _text(_CANONICAL.encode(point["fields"]), f"{where}.fields"),
    )


def _finite(value: Any, where: str) -> float:
    """A finite number as float. Raises ValueError that says `where`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{where} is not a finite number")
    return float(value)


def _text(value: Any, where: str) -> str:
    """Text that a database can hold: JSON can spell half a surrogate pair, UTF-8 cannot."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"{where} is not text")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"{where} has half a surrogate pair") from None
    return value


def _host(value: Any) -> str:
    host = _text(value, "host")
    if len(host) > MAX_HOST_CHARS:
        raise ValueError(f"host has more than {MAX_HOST_CHARS} characters")
    return host
