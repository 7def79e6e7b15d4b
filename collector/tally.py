"""Datagrams into a window: identical lines counted in C, each distinct one looked up, gauges kept in order.

    a:1|c  g:5|g  a:1|c  g:+1|g        the lines of a few hundred datagrams, joined and split once
    =====  -----  =====  ------
    2 times       counters add, timers weigh, sets ignore: how often is enough
           -----         ------
           first         then          only gauges depend on order: g is 6

What a line means is remembered from window to window in two bounded memos, so that little is parsed twice:

    api.hits:1|c|#env:prod      a whole line, for counters, sets and rejections, which repeat
    ======================
    api.lat:12.5|ms|#env:prod   all but the number, for timers and gauges, whose values seldom do
    =======     =============

Promises: the result is that of taking line by line, in the order of reception; accepted and rejected lines
add up to the lines that are not blank. Each memo holds at most MEMO_LINES lines of MEMO_LINE_BYTES.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal

from collector.aggregate import Aggregate, series_key
from collector.statsd import Notice, Reason, Rejection, Sample, Signs, parse, parse_number

MEMO_LINES = 131_072
"""Enough for 100,000 series; about 300 bytes each where names are of the usual length."""
MEMO_LINE_BYTES = 256
"""Longer lines are parsed each time: they are rare, and a client that makes them up cannot fill the memory."""

Effect = (
    tuple[Literal["counter"], str, float]  # series, amount scaled by rate
    | tuple[Literal["timer"], str, float, float]  # series, value, weight (1/rate)
    | tuple[Literal["gauge"], str, float, bool]  # series, value, whether it is a delta
    | tuple[Literal["set"], str, str]  # series, member
    | tuple[Literal["rejected"], Reason]
)
"""What one line does to a window. A line has none (blank), one, or several (packed)."""


def effects(line: bytes, signs: Signs) -> tuple[Effect, ...]:
    """What a line does to a window, parsed."""
    parsed = parse(line, signs)
    if isinstance(parsed, Rejection):
        return (("rejected", parsed.reason),)
    if isinstance(parsed, Notice):
        unsupported = Reason.UNSUPPORTED_EVENT if parsed.kind == "event" else Reason.UNSUPPORTED_CHECK
        return (("rejected", unsupported),)
    return tuple(effect for sample in parsed for effect in _effects(sample))


def _effects(sample: Sample) -> Iterator[Effect]:
    series = series_key(sample.name, sample.tags)
    for value in sample.values:
        if isinstance(value, str):
            yield ("set", series, value)
        elif sample.kind == "counter":
            yield ("counter", series, value / sample.rate)
        elif sample.kind == "gauge":
            yield ("gauge", series, value, sample.delta)
        else:
            yield ("timer", series, value, 1.0 / sample.rate)


class Tally:
    """One dialect's memos. Belongs to the receive loop's thread."""

    def __init__(self, signs: Signs) -> None:
        self._signs: Signs = signs
        self._lines: dict[bytes, tuple[Effect, ...]] = {}
        self._shapes: dict[tuple[bytes, bytes], Effect] = {}  # the number in it is that of the first such line

    def fold(self, datagrams: Sequence[bytes], into: Aggregate) -> None:  # noqa: PLR0912 - calls would cost as much as the work
        """Fold the lines of these datagrams, in their order, into a window."""
        lines = b"\n".join(datagrams).split(b"\n")
        accepted = 0
        gauges: dict[bytes, tuple[Effect, ...]] = {}
        for line, times in Counter(lines).items():
            meaning = self._lines.get(line)
            if meaning is None:
                name, _, rest = line.partition(b":")
                number, _, following = rest.partition(b"|")
                shape = self._shapes.get((name, following))
                if shape is not None and (value := parse_number(number)) is not None:
                    accepted += times
                    if shape[0] == "timer":
                        into.time(shape[1], value, shape[3], times)
                    else:
                        delta = self._signs == "delta" and number[:1] in b"+-"
                        gauges[line] = (("gauge", shape[1], value, delta),)
                    continue
                meaning = self._learn(line, (name, following))
            if meaning:  # not blank
                accepted += times
            for effect in meaning:
                if effect[0] == "counter":
                    into.count(effect[1], effect[2], times)
                elif effect[0] == "timer":
                    into.time(effect[1], effect[2], effect[3], times)
                elif effect[0] == "gauge":
                    gauges[line] = meaning
                elif effect[0] == "set":
                    into.note(effect[1], effect[2], times)
                else:
                    accepted -= times
                    into.reject(effect[1], times)
        into.accepted += accepted
        into.lines += accepted
        if gauges:
            _fold_gauges(gauges, lines, into)

    def _learn(self, line: bytes, shape: tuple[bytes, bytes]) -> tuple[Effect, ...]:
        """Parse a line that neither memo knows, and remember it in the one that suits it."""
        meaning = effects(line, self._signs)
        if len(line) > MEMO_LINE_BYTES:
            return meaning
        # What is in use is back within one window, and clearing needs no book-keeping per line.
        if len(meaning) == 1 and meaning[0][0] in ("timer", "gauge"):
            if len(self._shapes) >= MEMO_LINES:
                self._shapes.clear()
            self._shapes[shape] = meaning[0]
        else:
            if len(self._lines) >= MEMO_LINES:
                self._lines.clear()
            self._lines[line] = meaning
        return meaning


def _fold_gauges(gauges: dict[bytes, tuple[Effect, ...]], lines: Sequence[bytes], into: Aggregate) -> None:
    for line in lines:
        for effect in gauges.get(line, ()):
            if effect[0] == "gauge":
                into.gauge(effect[1], effect[2], effect[3])
