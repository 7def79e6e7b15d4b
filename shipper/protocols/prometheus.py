"""Prometheus remote write 1.0: for Prometheus, Mimir, Cortex, Thanos, VictoriaMetrics, Grafana Cloud.

    counter api.hits   api_hits_delta{env="prod",host="web-1"}              what was added in the window
    gauge   depth      depth{host="web-1"}
    set     users      users_unique{host="web-1"}                           distinct members in the window
    check   db.up      db_up_status{host="web-1"}                           0 OK, 1 warning, 2 critical, 3 unknown
    timer   api.lat    api_lat{quantile="0.99",...}   api_lat_sum   api_lat_count   _min   _max   _stddev

The body is a protobuf WriteRequest, framed as one snappy block of literals (valid snappy without compression, so no
library is needed). The collector's own points travel like all others: holdfast_lines_delta. What stays behind is the
sketch, mean, which is sum / count, the words of service checks, and events. `_sum` and `_count` are the window's, like
`_delta`.

**Counters are deltas**, not running totals, hence no `_total`: ask `sum_over_time(api_hits_delta[1h])`, not `rate()`.
A running total would be state that a crash, a lost window, an expired batch or a replay makes wrong for ever, and a
resent batch could not be the same bytes; the delta of a window is always the same number.

Promises: names and labels are valid ([a-zA-Z_:][a-zA-Z0-9_:]*; what is not becomes "_", and a label never begins with
"__"); a client's own label `quantile` becomes `quantile_`; labels are sorted, samples of a series are in order of time;
the same batches give the same bytes. Series that become one by this (a.b and a_b) are added if they count, else the
last one wins.

Prometheus takes nothing older than the newest sample of a series unless it has `out_of_order_time_window`, and one
such sample makes it refuse the whole request, with 400 or (before 2.50) with 500. So the oldest window goes first, a
request so refused is halved until the batch is found, and that batch ends as `expired`. Sent twice, the newest sample
is taken as the same; where the answer to an older one was lost, it is stored and yet ends as `expired`.
"""

import re
import struct
from collections.abc import Iterator, Sequence
from functools import lru_cache

from shipper.exchange import Request, Response
from shipper.outcome import Outcome, Verdict, of_status
from shipper.protocols.answer import is_page, ruling, status_and_words
from shipper.protocols.traits import Traits
from spool.batch import Batch
from spool.readings import CHECK, EVENT, Reading, numbers, renamed

TRAITS = Traits(
    proof="stored by Prometheus; VictoriaMetrics may still skip samples beyond its retention without a word",
    again="is the same sample again; needs out_of_order_time_window if newer ones are there; VictoriaMetrics keeps both"
    " unless it runs with -dedup.minScrapeInterval",
    old="are refused and end as expired, unless out_of_order_time_window reaches back to them; VictoriaMetrics takes"
    " them within its retention",
    takes_s=0,
    raw_bytes=2_097_152,
    oldest_first=True,
    leaves_out=(EVENT,),
)

_BLOCK_BYTES = 65_536
_INVALID_NAME = re.compile(r"[^a-zA-Z0-9_:]")
_INVALID_LABEL = re.compile(r"[^a-zA-Z0-9_]")
_TOO_OLD = re.compile(r"too[ -]old|out[ -]of[ -]order|out[ -]of[ -]bounds|duplicate sample", re.IGNORECASE)
_ADDED = {"counter", "set"}
_ENDING = {"counter": "_delta", "set": "_unique", CHECK: "_status"}
_SUFFIXES = {"sum": "_sum", "count": "_count", "min": "_min", "max": "_max", "stddev": "_stddev"}


def encode(batches: Sequence[Batch], url: str, token: str | None) -> Request:
    """The samples of `batches` as one WriteRequest."""
    headers = {
        "Content-Type": "application/x-protobuf",
        "Content-Encoding": "snappy",
        "X-Prometheus-Remote-Write-Version": "0.1.0",
    }
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    series: dict[bytes, dict[int, float]] = {}
    for reading in numbers(batches):
        for labels, value, adds in _samples(reading):
            samples = series.setdefault(labels, {})
            samples[reading.end_ms] = value + (samples.get(reading.end_ms, 0.0) if adds else 0.0)
    message = b"".join(
        _field(1, labels + b"".join(_sample(value, at) for at, value in sorted(samples.items())))
        for labels, samples in series.items()
    )
    return Request("POST", url, headers, snappy(message))


def judge(response: Response, batches: Sequence[Batch]) -> Verdict:
    """See the module's docstring."""
    words = status_and_words(response)
    if 200 <= response.status < 300:
        if is_page(response):
            return Verdict(Outcome.RETRY, f"{response.status} with a web page: who answers there?")
        return Verdict(Outcome.ACKNOWLEDGED, str(response.status), frozenset(each.key for each in batches))
    if response.status in (400, 409, 422, 500) and _TOO_OLD.search(ruling(response.body)):
        return Verdict(Outcome.EXPIRED, words)
    return Verdict(of_status(response.status), words)


def snappy(data: bytes) -> bytes:
    """`data` as a snappy block: its length, then literals of up to 64 KiB (google/snappy, format_description.txt)."""
    parts = [_varint(len(data))]
    for first in range(0, len(data), _BLOCK_BYTES):
        literal = data[first : first + _BLOCK_BYTES]
        parts += [b"\xf4" + struct.pack("<H", len(literal) - 1), literal]
    return b"".join(parts)


def _samples(reading: Reading) -> Iterator[tuple[bytes, float, bool]]:
    """(labels, value, whether values of equal labels add up) of every series that a reading becomes."""
    name = _name(reading.name)
    tags = tuple(renamed(reading.tags, _label_name).items())
    if reading.type != "timer":
        ending = _ENDING.get(reading.type, "")
        yield _labels(name + ending, tags), float(reading.stats["value"]), reading.type in _ADDED
        return
    for stat, value in reading.stats.items():
        if stat in _SUFFIXES:
            yield _labels(name + _SUFFIXES[stat], tags), float(value), stat in ("sum", "count")
        elif stat.startswith("p"):
            yield _labels(name, (*tags, ("quantile", _quantile(stat)))), float(value), False


@lru_cache(maxsize=32_768)
def _labels(name: str, tags: tuple[tuple[str, str], ...]) -> bytes:
    return b"".join([_label(key, value) for key, value in sorted((("__name__", name), *tags))])


@lru_cache(maxsize=64)
def _quantile(stat: str) -> str:
    """p99.9 -> 0.999."""
    return repr(round(float(stat[1:]) / 100, 9))


@lru_cache(maxsize=16_384)
def _label(key: str, value: str) -> bytes:
    return _field(1, _field(1, key.encode()) + _field(2, value.encode()))


@lru_cache(maxsize=16_384)
def _name(name: str) -> str:
    valid = _INVALID_NAME.sub("_", name)
    return "_" + valid if valid[0].isdigit() else valid


@lru_cache(maxsize=16_384)
def _label_name(key: str) -> str:
    valid = _INVALID_LABEL.sub("_", key)
    valid = "_" + valid if valid[0].isdigit() else valid
    valid = "_" + valid.lstrip("_") if valid.startswith("__") else valid
    return valid + "_" if valid.rstrip("_") == "quantile" else valid


def _sample(value: float, at_ms: int) -> bytes:
    return _field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + _varint(at_ms))


def _field(number: int, payload: bytes) -> bytes:
    """A length-delimited protobuf field; `number` below 16."""
    return bytes((number << 3 | 2,)) + _varint(len(payload)) + payload


def _varint(number: int) -> bytes:
    if number < 128:
        return bytes((number,))
    parts = bytearray()
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    parts.append(number)
    return bytes(parts)
