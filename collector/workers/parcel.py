"""A share on its way from a worker to the collector: pieces of a few hundred series, each a length and columns.

    <- 4 ->|1|1| 4 each |
    length |k|n| lengths| column 1 | column 2 ...
            c    names, one per line; their numbers as they lie in memory

Columns, because numbers then need not be written and read as text: of 100,000 counters and of a million timers' values
that takes a fiftieth of what JSON takes. Small, because making one keeps the interpreter from the receive loop for well
below a millisecond. What is rare is JSON. The last piece, `end`, has the counts.

Promises: what comes out is what went in, in its order. Does not promise anything between two versions: a worker
is the same program as its collector.
"""

import json
import struct
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple
from itertools import chain, islice
from typing import Any, TypeVar

from collector.aggregate import Closed
from collector.distinct import Distinct
from collector.known import Cell
from collector.notices import Notice
from collector.sketch import Distribution
from collector.workers.share import Change, Share

PIECE_SERIES = 256
LENGTH = struct.Struct("=I")
_COUNTS = (
    *("datagrams", "lines", "accepted", "rejected", "examples"),
    *("overflowed", "overflowed_by", "places", "name_bytes"),
)
_Content = TypeVar("_Content")


def pieces(share: Share) -> Iterator[bytes]:
    """A share as bytes, one after the other; the next is made when it is asked for."""
    closed = share.closed
    for names, cells in _some(closed.cells):
        yield _piece(b"c", names, _floats(cell[0] for cell in cells))
    for kind, changes in ((b"s", share.sets), (b"m", share.moves)):
        for names, changed in _some(changes):
            yield _piece(kind, names, _floats(value for value, _ in changed), _floats(at for _, at in changed))
    for names, timers in _some(closed.timers):
        yield _piece(b"t", names, *_timers(timers))
    for names, members in _some(closed.sets):
        yield _piece(b"d", names, *_distincts(members))
    for n in range(0, len(share.notices), PIECE_SERIES):
        said = [[*astuple(notice), times, at] for notice, times, at in share.notices[n : n + PIECE_SERIES]]
        yield _piece(b"n", _json(said))
    counts = {each: getattr(closed, each) for each in _COUNTS}
    yield _piece(b"e", _json([counts, share.taken]))


def _some(contents: Mapping[str, _Content]) -> Iterator[tuple[bytes, list[_Content]]]:
    """Names as a column and what belongs to them, PIECE_SERIES at a time."""
    left = iter(contents.items())
    while some := list(islice(left, PIECE_SERIES)):
        names, content = zip(*some, strict=True)
        yield "\n".join(names).encode(), list(content)


def _piece(kind: bytes, *columns: bytes) -> bytes:
    head = kind + struct.pack(f"=B{len(columns)}I", len(columns), *map(len, columns))
    return LENGTH.pack(len(head) + sum(map(len, columns))) + head + b"".join(columns)


def _floats(numbers: Iterable[float]) -> bytes:
    return array("d", numbers).tobytes()


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _timers(timers: Sequence[Distribution]) -> Iterator[bytes]:
    *columns, spilled = zip(*(each.kept() for each in timers), strict=True)
    for column in columns:
        yield array("I", map(len, column)).tobytes()
        yield _floats(chain.from_iterable(column))
    yield _json({n: each for n, each in enumerate(spilled) if each is not None})


def _distincts(members: Sequence[Distinct]) -> Iterator[bytes]:
    yield array("I", [len(each.members) for each in members]).tobytes()
    yield array("Q", chain.from_iterable(each.members for each in members)).tobytes()
    yield array("I", [n for n, each in enumerate(members) if each.registers is not None]).tobytes()
    yield b"".join(each.registers or b"" for each in members)


class Parcels:
    """Shares, put together from bytes as they come."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._begin()

    def _begin(self) -> None:
        self._cells: dict[str, Cell] = {}
        self._sets: dict[str, Change] = {}
        self._moves: dict[str, Change] = {}
        self._timers: dict[str, Distribution] = {}
        self._distincts: dict[str, Distinct] = {}
        self._notices: list[tuple[Notice, int, float]] = []

    def take(self, received: bytes) -> Iterator[Share]:
        """The shares that are whole with these bytes."""
        self._bytes += received
        while len(self._bytes) >= LENGTH.size:
            end = LENGTH.size + LENGTH.unpack_from(self._bytes)[0]
            if len(self._bytes) < end:
                return
            piece = bytes(self._bytes[LENGTH.size : end])
            del self._bytes[:end]
            share = self._open(piece)
            if share is not None:
                yield share

    def _open(self, piece: bytes) -> Share | None:
        lengths = struct.unpack_from(f"={piece[1]}I", piece, 2)
        start = 2 + 4 * len(lengths)
        columns = []
        for length in lengths:
            columns.append(piece[start : start + length])
            start += length
        kind = piece[:1]
        if kind == b"e":
            return self._share(*json.loads(columns[0]))
        if kind == b"n":
            for *fields, times, at in json.loads(columns[0]):
                self._notices.append((_notice(*fields), times, at))
            return None
        names = columns[0].decode().split("\n")
        if kind == b"c":
            self._cells |= zip(names, ([each] for each in array("d", columns[1])), strict=True)
        elif kind == b"t":
            self._timers |= zip(names, _read_timers(*columns[1:]), strict=True)
        elif kind == b"d":
            self._distincts |= zip(names, _read_distincts(*columns[1:]), strict=True)
        else:
            changes = self._sets if kind == b"s" else self._moves
            changes |= zip(names, zip(array("d", columns[1]), array("d", columns[2]), strict=True), strict=True)
        return None

    def _share(self, counts: Mapping[str, Any], taken: int) -> Share:
        closed = Closed(cells=self._cells, gauges={}, timers=self._timers, sets=self._distincts, notices=(), **counts)
        share = Share(closed, self._sets, self._moves, self._notices, taken)
        self._begin()
        return share


def _notice(kind: Any, name: str, value: Any, tags: Any, timestamp: int | None, fields: Any) -> Notice:
    return Notice(kind, name, value, tuple(map(tuple, tags)), timestamp, tuple(map(tuple, fields)))


def _read_timers(*columns: bytes) -> Iterator[Distribution]:
    numbers = [_split(columns[n], "d", columns[n + 1]) for n in (0, 2, 4)]
    spilled = {int(n): each for n, each in json.loads(columns[6]).items()}
    for n, lists in enumerate(zip(*numbers, strict=True)):
        values, weighted, weights = (each.tolist() for each in lists)
        yield Distribution.of(values, weighted, weights, spilled.get(n))


def _read_distincts(*columns: bytes) -> Iterator[Distinct]:
    estimated = array("I", columns[2])
    size = len(columns[3]) // max(len(estimated), 1)
    registers = {n: columns[3][size * place : size * (place + 1)] for place, n in enumerate(estimated)}
    for n, members in enumerate(_split(columns[0], "Q", columns[1])):
        yield Distinct.of(set(members), registers.get(n))


def _split(lengths: bytes, kind: str, column: bytes) -> Iterator[Any]:
    """Arrays of these lengths out of a column that has them one after the other."""
    numbers, start = array(kind, column), 0
    for length in array("I", lengths):
        yield numbers[start : start + length]
        start += length
