"""Datagrams into a window, line by line, with a dictionary look-up or two for a line that was seen before.

    api.hits:1|c|#env:prod      a line with a short number: looked up whole, and counted
    ======================
    api.lat:12.5|ms|#env:prod   any other: by what follows its number, then by its name; the number is new each time
    =======     -------------

What is looked up belongs to one window (known.py) and points at what to add to. A line's first time in a window goes
the long way; what its shape means is remembered over the windows, so even then it is seldom parsed.

Lines are taken in the order of reception, which is all that gauges ask for. Tried, and not better: counting identical
lines in C before looking at them (with 10,000 names hardly two lines of a turn are equal); lines as str; a memo of
numbers; name and ending as one key; and positions, numbers and names of a whole turn found by numpy, which takes 17 MiB
and turns of 25,000 lines, where 50,000 lines per second make turns of 1,000.

Promises: the result is that of parsing each line; accepted and rejected lines add up to the lines that are not
blank. Memory is bounded: MEMO_LINES shapes here and entries in each window, of lines of at most MEMO_LINE_BYTES.
"""

import re
from collections.abc import Sequence

from orjson import loads

from collector.aggregate import Aggregate, Shape, series_key
from collector.known import Cell, Known
from collector.notices import Notice
from collector.rules import MAX_NUMBER_BYTES, RESERVED, Reason, Rejection
from collector.sketch import EXACT
from collector.statsd import STATSD, Dialect, parse, parse_number

MEMO_LINES = 131_072
"""Enough for 100,000 series; about 300 bytes each where names are of the usual length."""
MEMO_LINE_BYTES = 256
"""Longer lines are parsed each time: they are rare, and a client that makes them up cannot fill the memory."""
SHORT = 2
"""A counter's number of so few bytes is likely to come again: `:1|c` is most of all traffic."""
_PLAIN_NUMBER = b"0123456789."
"""Of these JSON makes nothing but numbers, and of a few none: 5., 007."""
_UNKNOWN = ""
"""For a kind: whatever is not known to go anywhere."""
MEMO_ENDINGS = 4_096
"""Types with rates and tags that are remembered for whatever name comes before them."""
_PLAIN = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]*")  # names that cannot be refused but for being reserved
_RESERVED = RESERVED.encode()

MINUS = ord("-")
"""The highest of the bytes with which a number with a sign may begin: + is below it, the point and digits above."""


def _lines(datagrams: Sequence[bytes]) -> Sequence[bytes]:
    text = b"\n".join(datagrams)
    # Most clients send a line in a datagram: those are lines already.
    if datagrams and b"\n" not in datagrams[0] and text.count(b"\n") == len(datagrams) - 1:
        return datagrams
    return text.split(b"\n")


def meaning(line: bytes, dialect: Dialect) -> list[tuple[Shape, float | str, bool]] | Notice | Reason:
    """What a line does to a window: shape, value and whether that is a delta, for each value; or why it is rejected."""
    parsed = parse(line, dialect)
    if isinstance(parsed, Rejection):
        return parsed.reason
    if isinstance(parsed, Notice):
        return parsed
    return [
        ((sample.kind, series_key(sample.name, sample.tags), sample.rate), value, sample.delta)
        for sample in parsed
        for value in sample.values
    ]


class Tally:
    """Lines of one dialect. Belongs to the receive loop's thread."""

    def __init__(self, dialect: Dialect = STATSD) -> None:
        self._dialect = dialect
        self._shapes: dict[tuple[bytes, bytes], Shape] = {}
        self._endings: dict[bytes, Shape] = {}  # of what follows the number; with what follows the name in a series

    def fold(self, datagrams: Sequence[bytes], into: Aggregate) -> None:  # noqa: PLR0912 - a call costs more than a branch
        """Fold the lines of these datagrams, in their order, into a window."""
        lines = _lines(datagrams)
        into.lines += len(lines)
        known = into.known[self._dialect]
        counted, endings = known.counted.get, known.endings
        deltas, gauges = self._dialect.gauges == "delta", into.gauges
        for line in lines:
            count = counted(line)
            if count is not None:
                next(count)
                continue
            name, _, rest = line.partition(b":")
            number, _, following = rest.partition(b"|")
            try:
                kind, names, factor = endings[following]
                target = names[name]
                if number.isdigit() and len(number) <= MAX_NUMBER_BYTES:
                    value = 0.0 + int(number)  # in half the time of float()
                elif number < b"0" or len(number) > MAX_NUMBER_BYTES or number.strip(_PLAIN_NUMBER):
                    value = parse_number(number)
                else:
                    value = loads(number)  # in half of it, too
            except (KeyError, ValueError):
                kind = _UNKNOWN
            if kind == "values" and len(target) < EXACT:
                target.append(value)
            elif kind == "gauge":
                if deltas and number[0] <= MINUS:
                    into.gauge(target, value, delta=True)
                else:
                    gauges[target] = value
            elif kind == "weighted":
                target.add(value, factor)
            elif kind == "counter":
                target[0] += value / factor
            else:
                self._take(line, name, number, following, into)
                counted, endings = known.counted.get, known.endings  # may be others now

    def _take(self, line: bytes, name: bytes, number: bytes, following: bytes, into: Aggregate) -> None:
        """Take a line that the window does not know, and let the window know it, if it may come again."""
        key = name, following
        try:
            value = parse_number(number)
        except ValueError:
            shape = None
        else:
            shape = self._shapes.get(key) or self._plain(line, key)
        if shape is None:
            self._parse(line, key, into)
            return
        kind, series, rate = shape
        if kind == "counter" and len(number) <= SHORT and into.admit(kind, series):
            known = self._known(into)
            known.adds[line] = series, value / rate
            known.count(line)
            return
        target = into.add(shape, value, self._dialect.gauges == "delta" and number[0] <= MINUS)
        if target is None:
            return
        known = self._known(into)
        if kind == "timer" and rate == 1.0:
            known.learn(name, following, "values", target.values)
        elif kind == "timer":
            known.learn(name, following, "weighted", target, 1.0 / rate)
        else:
            known.learn(name, following, kind, target, rate)

    def _plain(self, line: bytes, key: tuple[bytes, bytes]) -> Shape | None:
        """The shape of a new name before something that followed others: a tenth of the work of parsing the line."""
        name, following = key
        ending = self._endings.get(following)
        if ending is None or len(line) > MEMO_LINE_BYTES or not _PLAIN.fullmatch(name) or name.startswith(_RESERVED):
            return None
        kind, tags, rate = ending
        return self._remember(key, (kind, name.decode() + tags, rate))

    def _remember(self, key: tuple[bytes, bytes], shape: Shape) -> Shape:
        if len(self._shapes) >= MEMO_LINES:
            self._shapes.clear()  # what is in use is back within one window
        self._shapes[key] = shape
        return shape

    def _parse(self, line: bytes, key: tuple[bytes, bytes], into: Aggregate) -> None:
        """Parse a line and take it; remember its shape, if it has one value and is short."""
        found = meaning(line, self._dialect)
        if isinstance(found, Notice):
            if not into.notices.take(found):
                into.not_taken(Reason.TOO_MANY_NOTICES, line)[0] += 1
            return
        short = len(line) <= MEMO_LINE_BYTES
        if isinstance(found, Reason) or not found:
            cell = into.not_taken(found if isinstance(found, Reason) else None, line)
            if short:
                self._count(line, cell, into)
            else:
                cell[0] += 1
            return
        targets = [into.add(*each) for each in found]
        kind, series, rate = found[0][0]
        if len(found) == 1 and short and kind != "set":
            self._remember(key, found[0][0])
            name, following = key
            if _PLAIN.fullmatch(name):
                if len(self._endings) >= MEMO_ENDINGS:
                    self._endings.clear()
                self._endings[following] = kind, series[len(name) :], rate
        elif len(found) == 1 and short and targets[0] is not None:  # a member again changes nothing
            self._count(line, into.repeated, into)

    def _count(self, line: bytes, cell: Cell, into: Aggregate) -> None:
        """Count a line in a cell, now and from now on."""
        known = self._known(into)
        known.cells[line] = cell
        known.count(line)

    def _known(self, into: Aggregate) -> Known:
        """What the window knows, with room for one more."""
        into.add_up_some()
        known = into.known[self._dialect]
        if len(known) >= MEMO_LINES:
            known.forget_unseen()
        if len(known) >= MEMO_LINES:
            into.clear(known)
        return known
