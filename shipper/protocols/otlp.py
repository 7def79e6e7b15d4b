"""OTLP/HTTP metrics in JSON: for OpenTelemetry collectors and every vendor that takes their protocol.

    counter  Sum, delta, not monotonic (a StatsD counter may go down)     gauge, set  Gauge
    timer    ExponentialHistogram, delta, from the sketch                 name, tags  metric name, attributes
    service check db.up  Gauge db.up.status                               event       none: events are logs in OTLP

One resource for each host, with `host.name`; a point's own tag `host` makes it another resource. A point covers its
window: startTimeUnixNano to timeUnixNano. A name and type is one metric with a data point for each series and window.
A bare tag has the value "true". The collector's own points travel like all others (holdfast.lines, Sum).

**The histogram.** OTLP buckets have the base 2^(2^-scale), ours have GAMMA = 1.02, which is none of these. So each of
our buckets goes as a whole into the OTLP bucket of scale 6 (base 1.0109) that holds its middle 2 g^k / (g + 1), and
scales halve until at most MOST_BUCKETS are needed (at scale s-1 two neighbours of scale s are one bucket, exactly).
A quantile read from bucket middles is then within `error_at(scale)` of the true value: 0.99 % for ours and
(base - 1) / (base + 1) for theirs. A histogram whose values span a factor of 5.6 fits scale 6 (1.5 %), 32 scale 5
(2.1 %), 1000 scale 4 (3.2 %). Weights that sampling made fractional are rounded: `count` is their sum then. `sum`,
`min` and `max` are exact; `sum` is left out where there are negative values, as the data model wants it.

Sent twice, delta sums count twice: the protocol cannot tell a copy. Judged by the specification's rules: 200 with
`partialSuccess` is final, what it rejected is kept with the batch, which is refused where that is all of it; 429, 502,
503, 504 are tried again; other errors are final, but what names the address or the credentials parks, and 413 splits.
"""

import gzip
import json
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from shipper.exchange import Request, Response
from shipper.outcome import Outcome, Verdict, of_status
from shipper.protocols.answer import is_page, json_object, printable, status_and_words
from shipper.protocols.traits import Traits
from spool.batch import Batch
from spool.readings import CHECK, EVENT, Reading, numbers

TRAITS = Traits(
    proof="accepted by the OTLP receiver; what it exports to may still refuse it",
    again="counts twice: OTLP cannot tell a copy",
    old="are taken; what the receiver exports to may refuse them",
    paths=("/v1/metrics",),
    raw_bytes=4_194_304,
    leaves_out=(EVENT,),
)

FINEST_SCALE = 6
MOST_BUCKETS = 160
"""Of one sign; the default limit of OpenTelemetry's own histograms, so every receiver takes it."""
_ZERO = 1e-9  # must agree with collector.sketch.SMALLEST
_DELTA = 1  # AGGREGATION_TEMPORALITY_DELTA; OTLP/JSON has enums as numbers
_RETRIED = {408, 429, 502, 503, 504}  # 408 is not in the specification, but says "later" by itself


def encode(batches: Sequence[Batch], url: str, token: str | None) -> Request:
    """An ExportMetricsServiceRequest of everything in `batches`, gzip-compressed."""
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    hosts: dict[str, dict[tuple[str, str], list[str]]] = {}
    for reading in numbers(batches):
        metrics = hosts.setdefault(reading.tags["host"], {})
        name = f"{reading.name}.status" if reading.type == CHECK else reading.name
        metrics.setdefault((name, reading.type), []).append(_data_point(reading))
    resources = [
        f'{{"resource":{{"attributes":{_attributes((("host.name", host),))}}},'
        f'"scopeMetrics":[{{"scope":{{"name":"holdfast"}},"metrics":'
        f"[{','.join(_metric(name, kind, points) for (name, kind), points in metrics.items())}]}}]}}"
        for host, metrics in hosts.items()
    ]
    text = f'{{"resourceMetrics":[{",".join(resources)}]}}'
    return Request("POST", url, headers, gzip.compress(text.encode("utf-8"), compresslevel=6, mtime=0))


def judge(response: Response, batches: Sequence[Batch]) -> Verdict:
    """See the module's docstring."""
    words = status_and_words(response)
    if response.status == 200:
        if is_page(response):
            return Verdict(Outcome.RETRY, "200 with a web page: who answers there?")
        return _taken(response, batches)
    outcome = of_status(response.status)
    if outcome is Outcome.RETRY and response.status >= 400 and response.status not in _RETRIED:
        outcome = Outcome.DEAD
    return Verdict(outcome, words)


def error_at(scale: int) -> float:
    """How far a quantile read from the histogram may be from the true value, as a fraction, at `scale`."""
    base = math.exp2(2.0**-scale)
    ours, theirs = 0.02 / 2.02, (base - 1) / (base + 1)
    return (1 + ours) * (1 + theirs) - 1


def _taken(response: Response, batches: Sequence[Batch]) -> Verdict:
    partial = json_object(response.body).get("partialSuccess")
    partial = partial if isinstance(partial, dict) else {}
    rejected, keys = str(partial.get("rejectedDataPoints") or "0"), frozenset(each.key for each in batches)
    if rejected == "0":
        return Verdict(Outcome.ACKNOWLEDGED, "200", keys)
    why = printable(str(partial.get("errorMessage") or "no reason given"))[:300]
    points = sum(1 for _ in numbers(batches))
    if points and rejected.isascii() and rejected.isdigit() and len(rejected) < 20 and int(rejected) >= points:
        return Verdict(Outcome.DEAD, f"all {points} data points rejected: {why}")
    note = f"{printable(rejected)[:20]} data points rejected, the others accepted: {why}"
    return Verdict(Outcome.ACKNOWLEDGED, note, keys, note=note)


# The JSON is put together by hand: most of it are bucket counts, and as text they are made in a third of the time.


def _metric(name: str, kind: str, points: Sequence[str]) -> str:
    listed = f'"dataPoints":[{",".join(points)}]'
    if kind == "counter":
        data = f'"sum":{{"aggregationTemporality":{_DELTA},"isMonotonic":false,{listed}}}'
    elif kind == "timer":
        data = f'"exponentialHistogram":{{"aggregationTemporality":{_DELTA},{listed}}}'
    else:
        data = f'"gauge":{{{listed}}}'
    return f'{{"name":{_text(name)},{data}}}'


def _data_point(reading: Reading) -> str:
    """64-bit integers are strings in protobuf's JSON."""
    attributes = _attributes(tuple(sorted(pair for pair in reading.tags.items() if pair[0] != "host")))
    span = f'"startTimeUnixNano":"{reading.start_ms}000000","timeUnixNano":"{reading.end_ms}000000"'
    if reading.type == "timer":
        data = _histogram(reading.stats, reading.sketch or {})
    else:
        data = f'"asDouble":{float(reading.stats["value"])!r}'
    return f'{{"attributes":{attributes},{span},{data}}}'


@lru_cache(maxsize=16_384)
def _attributes(pairs: tuple[tuple[str, str], ...]) -> str:
    listed = [f'{{"key":{_text(key)},"value":{{"stringValue":{_text(value)}}}}}' for key, value in pairs]
    return f"[{','.join(listed)}]"


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _histogram(stats: Mapping[str, float], sketch: Mapping[str, Any]) -> str:
    """The fields of an ExponentialHistogramDataPoint."""
    gamma = float(sketch.get("gamma", 1.02))
    positive = _at_finest(sketch.get("bins", ()), gamma)
    negative = _at_finest(sketch.get("negative", ()), gamma)
    scale = FINEST_SCALE
    while any(side and max(side) - min(side) >= MOST_BUCKETS for side in (positive, negative)):
        scale, positive, negative = scale - 1, _halved(positive), _halved(negative)
    zero = round(sketch.get("zero", 0))
    total = "" if negative else f'"sum":{float(stats["sum"])!r},'
    return (
        f'"count":"{zero + sum(positive.values()) + sum(negative.values())}",{total}'
        f'"min":{float(stats["min"])!r},"max":{float(stats["max"])!r},"scale":{scale},'
        f'"zeroCount":"{zero}","zeroThreshold":{_ZERO!r},'
        f'"positive":{_buckets(positive)},"negative":{_buckets(negative)}'
    )


def _at_finest(bins: Sequence[tuple[int, float]], gamma: float) -> dict[int, int]:
    """Our buckets by OTLP index at FINEST_SCALE: bucket i holds (base^i, base^(i+1)]."""
    result: dict[int, int] = {}
    for index, weight in bins:
        theirs = _theirs(index, gamma)
        result[theirs] = result.get(theirs, 0) + round(weight)
    return result


@lru_cache(maxsize=16_384)
def _theirs(index: int, gamma: float) -> int:
    """The OTLP bucket of FINEST_SCALE that holds the middle of our bucket `index`."""
    log2_middle = index * math.log2(gamma) + math.log2(2.0 / (gamma + 1.0))
    return math.ceil(log2_middle * 2.0**FINEST_SCALE) - 1


def _halved(buckets: Mapping[int, int]) -> dict[int, int]:
    result: dict[int, int] = {}
    for index, count in buckets.items():
        result[index >> 1] = result.get(index >> 1, 0) + count
    return result


def _buckets(buckets: Mapping[int, int]) -> str:
    if not buckets:
        return '{"offset":0,"bucketCounts":[]}'
    first, last = min(buckets), max(buckets)
    counts = ["0"] * (last - first + 1)
    for index, count in buckets.items():
        counts[index - first] = str(count)
    listed = '","'.join(counts)
    return f'{{"offset":{first},"bucketCounts":["{listed}"]}}'
