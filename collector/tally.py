"""Datagrams into a window, line by line, with one dictionary look-up for a line that was seen before.

    api.hits:1|c|#env:prod      a line with a short number: looked up whole, its amount added to a counter's cell
    ======================
    api.lat:12.5|ms|#env:prod   any other: looked up without its number, which is different each time
    =======     =============

What is looked up belongs to one window (aggregate.Known) and points at what to add to. A line's first time in a
window goes the long way; what its shape means is remembered over the windows, so even then it is seldom parsed.

Lines are taken in the order of reception, which is all that gauges ask for. Counting identical lines in C before
looking at them was tried: with 10,000 names hardly two lines of a turn are equal, and it cost what it should save.

Promises: the result is that of parsing each line; accepted and rejected lines add up to the lines that are not
blank. Memory is bounded: MEMO_LINES shapes here and entries in each window, of lines of at most MEMO_LINE_BYTES.
"""

import re
from collections.abc import Sequence

from collector.aggregate import Aggregate, Cell, Known, Shape, series_key
from collector.statsd import RESERVED, Notice, Reason, Rejection, Signs, parse, parse_number

MEMO_LINES = 131_072
"""Enough for 100,000 series; about 300 bytes each where names are of the usual length."""
MEMO_LINE_BYTES = 256
"""Longer lines are parsed each time: they are rare, and a client that makes them up cannot fill the memory."""
SHORT = 2
"""A counter's number of so few bytes is likely to come again: `:1|c` is most of all traffic."""
MEMO_NUMBER_BYTES = 4
"""Numbers of so few bytes are remembered: there are less than 20,000."""
MEMO_ENDINGS = 4_096
"""Types with rates and tags that are remembered for whatever name comes before them."""
_PLAIN = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]*")  # names that cannot be refused but for being reserved
_RESERVED = RESERVED.encode()

MINUS = ord("-")
"""The highest of the bytes with which a number with a sign may begin: + is below it, the point and digits above."""


def meaning(line: bytes, signs: Signs) -> list[tuple[Shape, float | str, bool]] | Reason:
    """What a line does to a window: shape, value and whether that is a delta, for each value; or why it is rejected."""
    parsed = parse(line, signs)
    if isinstance(parsed, Rejection):
        return parsed.reason
    if isinstance(parsed, Notice):
        return Reason.UNSUPPORTED_EVENT if parsed.kind == "event" else Reason.UNSUPPORTED_CHECK
    return [
        (Shape(sample.kind, series_key(sample.name, sample.tags), sample.rate), value, sample.delta)
        for sample in parsed
        for value in sample.values
    ]


class Tally:
    """Lines of one dialect. Belongs to the receive loop's thread."""

    def __init__(self, signs: Signs) -> None:
        self._signs: Signs = signs
        self._shapes: dict[tuple[bytes, bytes], Shape] = {}
        self._endings: dict[bytes, Shape] = {}  # of what follows the number; `series` is what follows the name there
        self._numbers: dict[bytes, float] = {}

    def fold(self, datagrams: Sequence[bytes], into: Aggregate) -> None:
        """Fold the lines of these datagrams, in their order, into a window."""
        lines = b"\n".join(datagrams).split(b"\n")
        into.lines += len(lines)
        known = into.known[self._signs]
        times, came = known.times, known.times.get
        without_number, remembered = known.shapes.get, self._numbers.get
        deltas, gauges = self._signs == "delta", into.gauges
        for line in lines:
            before = came(line)
            if before is not None:
                times[line] = before + 1
                continue
            name, _, rest = line.partition(b":")
            number, _, following = rest.partition(b"|")
            key = name, following
            found = without_number(key)
            value = remembered(number)
            if value is None:
                value = parse_number(number)
                if value is not None and len(number) <= MEMO_NUMBER_BYTES:
                    self._numbers[number] = value
            if found is None or value is None:
                self._take(line, key, number, value, into)
                continue
            kind, target, factor = found
            if kind == "timer":
                target.add(value, factor)
            elif kind == "counter":
                target[0] += value / factor
            elif deltas and number[0] <= MINUS:
                into.gauge(target, value, delta=True)
            else:
                gauges[target] = value

    def _take(self, line: bytes, key: tuple[bytes, bytes], number: bytes, value: float | None, into: Aggregate) -> None:
        """Take a line that the window does not know, and let the window know it, if it may come again."""
        shape = None if value is None else self._shapes.get(key) or self._plain(line, key)
        if shape is None or value is None:
            self._parse(line, key, into)
            return
        target = into.add(shape, value, self._signs == "delta" and number[0] <= MINUS)
        if target is None:
            return
        kind, _, rate = shape
        if kind == "counter" and len(number) <= SHORT:
            self._know(line, target, value / rate, into)
        else:
            self._known(into).shapes[key] = kind, target, 1.0 / rate if kind == "timer" else rate

    def _plain(self, line: bytes, key: tuple[bytes, bytes]) -> Shape | None:
        """The shape of a new name before something that followed others: a tenth of the work of parsing the line."""
        name, following = key
        ending = self._endings.get(following)
        if ending is None or len(line) > MEMO_LINE_BYTES or not _PLAIN.fullmatch(name) or name.startswith(_RESERVED):
            return None
        return self._remember(key, Shape(ending.kind, name.decode() + ending.series, ending.rate))

    def _remember(self, key: tuple[bytes, bytes], shape: Shape) -> Shape:
        if len(self._shapes) >= MEMO_LINES:
            self._shapes.clear()  # what is in use is back within one window
        self._shapes[key] = shape
        return shape

    def _parse(self, line: bytes, key: tuple[bytes, bytes], into: Aggregate) -> None:
        """Parse a line and take it; remember its shape, if it has one value and is short."""
        found = meaning(line, self._signs)
        short = len(line) <= MEMO_LINE_BYTES
        if isinstance(found, Reason) or not found:
            cell = into.not_taken(found if isinstance(found, Reason) else None)
            cell[0] += 1
            if short:
                self._know(line, cell, 1, into)
            return
        targets = [into.add(*each) for each in found]
        shape = found[0][0]
        if len(found) == 1 and short and shape.kind != "set":
            self._remember(key, shape)
            name, following = key
            if _PLAIN.fullmatch(name):
                if len(self._endings) >= MEMO_ENDINGS:
                    self._endings.clear()
                self._endings[following] = shape._replace(series=shape.series[len(name) :])
        elif len(found) == 1 and short and targets[0] is not None:  # a member again changes nothing
            self._know(line, into.repeated, 1, into)

    def _know(self, line: bytes, cell: Cell, amount: float, into: Aggregate) -> None:
        known = self._known(into)
        known.adds[line] = cell, amount
        known.times[line] = 0

    def _known(self, into: Aggregate) -> Known:
        """What the window knows, with room for one more."""
        known = into.known[self._signs]
        if len(known.times) + len(known.shapes) >= MEMO_LINES:
            known.settle()
        return known
