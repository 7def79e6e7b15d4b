r"""Readings as lines of InfluxDB's line protocol, for destinations that speak it and for `holdfast export --lp`. Pure.

    api.lat,env=prod,host=web-1,metric_type=timer count=3.0,max=9.0,...,p99=9.0,sum=12.5 1764000010000
    ------- ------------------- ----------------- ------------------------------------- -------------
    name    tags                type of the point  its statistics                        window's end, ms

One point is one line. Counters, gauges and sets have the one field `value` (a counter's is its increase in the window:
sum it up), timers a field for each statistic. The sketch stays behind. `metric_type` keeps a gauge and a counter of one
name apart; it is Telegraf's name for that. An event is a line of its title, a service check one of its name, with
`count`, `value` (the status) and the words as text fields; a line break in them is a space (VictoriaMetrics, which has
no text, stores 0 for it). Several with the same name and tags are a millisecond apart, the latest at the window's end,
so that none overwrites another. The collector's own points travel like all others.

Promises: every number is a float, because InfluxDB refuses for ever a field whose type changes; the same batch gives
the same lines. What the format cannot say is changed: tags `time`, `_field`, `_measurement` and a client's own
`metric_type` get a "_" at the end; a "#" at the beginning of a name becomes "_"; a backslash before "\", ",", "=", " "
or at the end, which readers of the format understand in different ways, becomes "/".
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache

from spool.readings import CHECK, EVENT, Reading, renamed

_AMBIGUOUS = re.compile(r"\\(?=[\\,= ]|$)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_RESERVED = {"time", "_field", "_measurement", "metric_type"}


def lines(found: Iterable[Reading]) -> Iterator[str]:
    """What was found in one batch (readings.py), a line each, ended by a line feed."""
    said: list[Reading] = []
    for reading in found:
        if reading.type in (EVENT, CHECK):
            said.append(reading)
        else:
            yield _line(reading, reading.end_ms)
    later: Counter[tuple[str, str, frozenset[tuple[str, str]]]] = Counter()
    for reading in reversed(said):
        series = reading.name, reading.type, frozenset(reading.tags.items())
        yield _line(reading, reading.end_ms - later[series])
        later[series] += 1


def _line(reading: Reading, at_ms: int) -> str:
    tags = renamed(reading.tags, _tag_name)
    tags["metric_type"] = reading.type
    head = ",".join([_measurement(reading.name), *(f"{_escaped(key)}={_escaped(tags[key])}" for key in sorted(tags))])
    fields = [f"{_escaped(stat)}={float(value)!r}" for stat, value in reading.stats.items()]
    fields += [f"{_escaped(key)}={_word(value)}" for key, value in reading.fields.items()]
    return f"{head} {','.join(fields)} {at_ms}\n"


def _word(value: str | float) -> str:
    """The value of a field that may be text."""
    if not isinstance(value, str):
        return repr(float(value))
    return '"' + _CONTROL.sub(" ", value).replace("\\", "\\\\").replace('"', '\\"') + '"'


@lru_cache(maxsize=16_384)
def _tag_name(key: str) -> str:
    plain = _plain(key)
    return plain + "_" if plain.rstrip("_") in _RESERVED else plain


@lru_cache(maxsize=16_384)
def _measurement(name: str) -> str:
    plain = _plain(name)
    plain = "_" + plain[1:] if plain.startswith("#") else plain
    return plain.replace(",", "\\,").replace(" ", "\\ ")


@lru_cache(maxsize=16_384)
def _escaped(text: str) -> str:
    """A tag's key or value, or a field's key."""
    return _plain(text).replace(",", "\\,").replace("=", "\\=").replace(" ", "\\ ")


def _plain(text: str) -> str:
    return _AMBIGUOUS.sub("/", _CONTROL.sub("_", text))
