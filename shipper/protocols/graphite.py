"""Graphite's plaintext protocol with tags, over TCP or TLS: for carbon, VictoriaMetrics, and what stands before them.

    stats.timers.api.lat.p99;env=prod;host=web-1 9.0 1764000010
    ---------------------------------------------- --- ----------
    path and tags                                   value, window's end, s

    counter api.hits -> stats.counters.api.hits.count     gauge depth -> stats.gauges.depth
    set     users    -> stats.sets.users.count            timer api.lat -> stats.timers.api.lat.mean, .p99, .count ...
    check   db.up    -> stats.service_checks.db.up        events stay behind: Graphite takes them elsewhere (/events)

The paths are those of the statsd daemon (counts only: for rates divide by the window). A point's own tag `host`, or
else the batch's host, is the tag `host`; a bare tag is "true". In paths, white space and ";" become "_", in tags also
"!", "^", "=", a "~" at the beginning of a value, and the tag `name`, which Graphite uses itself, becomes `name_`. p99.9
is p99_9, because a dot begins a new folder. Series that become one by this are added if they count, else the last one
wins. The collector's own points are stats.counters.holdfast.lines.count etc.

**Best effort**: the protocol has no answers. A batch is acknowledged when the peer has read all of it and closed
(shipper/stream.py); bad lines and points beyond an archive's end vanish without a word, and carbon may lose what it
has in memory when it is killed. Sent twice, the last value wins in each slot (VictoriaMetrics keeps both copies); so
does, in a slot longer than a second, the window that a stop of the collector cut short over the whole one before it.
There is no token.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from shipper.exchange import NO_STATUS, Request, Response
from shipper.outcome import Outcome, Verdict
from shipper.protocols.answer import said
from shipper.protocols.traits import Traits
from spool.batch import Batch
from spool.readings import CHECK, EVENT, Reading, numbers, renamed

TRAITS = Traits(
    proof="best effort: the peer has read it; Graphite never says what it stored",
    again="overwrites itself; VictoriaMetrics keeps both",
    old="vanish without a word beyond the archive of the metric",
    schemes=("tcp", "tls"),
    raw_bytes=4_194_304,
    leaves_out=(EVENT,),
)

_NOT_IN_PATH = re.compile(r"[\s;\x00-\x1f\x7f]")
_NOT_IN_TAG = re.compile(r"[\s;!^=\x00-\x1f\x7f]")
_WITHOUT_STAT = {
    "counter": ("counters", ".count"),
    "gauge": ("gauges", ""),
    "set": ("sets", ".count"),
    CHECK: ("service_checks", ""),
}


def encode(batches: Sequence[Batch], url: str, token: str | None) -> Request:
    """The lines of `batches`."""
    values: dict[tuple[str, int], float] = {}
    for reading in numbers(batches):
        at_s = reading.end_s
        for path, value, adds in _values(reading):
            values[path, at_s] = value + (values.get((path, at_s), 0.0) if adds else 0.0)
    lines = [f"{path} {value!r} {at_s}\n" for (path, at_s), value in values.items()]
    return Request("TCP", url, {}, "".join(lines).encode("utf-8"))


def judge(response: Response, batches: Sequence[Batch]) -> Verdict:
    """See the module's docstring. Who says anything does not speak Graphite's protocol."""
    if response.status != NO_STATUS or response.body:
        reason = f"answered {said(response.body)!r} where Graphite says nothing: is it the plaintext port?"
        return Verdict(Outcome.RETRY, reason)
    return Verdict(Outcome.ACKNOWLEDGED, "read to the end", frozenset(each.key for each in batches))


def _values(reading: Reading) -> Iterator[tuple[str, float, bool]]:
    """(path with tags, value, whether values of equal paths add up) of everything that a reading becomes."""
    name = _path(reading.name)
    tags = "".join([f";{key}={_tag(value)}" for key, value in renamed(reading.tags, _tag_name).items()])
    if reading.type != "timer":
        family, suffix = _WITHOUT_STAT[reading.type]
        yield f"stats.{family}.{name}{suffix}{tags}", float(reading.stats["value"]), reading.type in ("counter", "set")
        return
    for stat, value in reading.stats.items():
        yield f"stats.timers.{name}.{stat.replace('.', '_')}{tags}", float(value), stat in ("count", "sum")


@lru_cache(maxsize=16_384)
def _path(name: str) -> str:
    return _NOT_IN_PATH.sub("_", name)


@lru_cache(maxsize=16_384)
def _tag_name(key: str) -> str:
    plain = _NOT_IN_TAG.sub("_", key)
    return plain + "_" if plain.rstrip("_") == "name" else plain


@lru_cache(maxsize=16_384)
def _tag(value: str) -> str:
    plain = _NOT_IN_TAG.sub("_", value)
    return "_" + plain[1:] if plain.startswith("~") else plain
