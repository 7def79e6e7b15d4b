"""Datadog's series endpoint, version 2: POST https://api.<site>/api/v2/series, the token as DD-API-KEY.

    counter api.hits  -> count  api.hits (interval: the window)      gauge -> gauge      set -> gauge
    timer   api.lat   -> gauges api.lat.avg .min .max .stddev .median .90percentile ...; counts api.lat.count .sum

Names of a timer's statistics are those of Datadog's own agent. Tags go as `key:value`, a bare tag (which the batch
keeps as a tag with no value) as `key:true`; a point's tag `host`, or else the batch's host, is the resource `host`.
Time stamps are whole seconds, the window's end. The sketch stays behind: distributions do not go this way. The
collector's own points travel like all others (holdfast.lines, count).

Datadog takes 5 MB, 500 kB compressed, in a request: that is why so little is put together; a batch that is too large
by itself is answered with 413 and goes in parts (shipper/parts.py), always the same ones. 202 means "received": what
becomes of the points is not said, and points older than an hour are dropped silently unless the metric has Historical
Metrics Ingestion. So set max_age_s = 3600. Sent twice, the last write wins for such metrics; else it is not defined.
"""

import gzip
import json
from collections.abc import Iterator, Sequence
from typing import Any

from shipper.exchange import Request, Response
from shipper.outcome import Outcome, Verdict, of_status
from shipper.protocols.answer import json_object, status_and_words
from shipper.protocols.readings import Reading, readings
from shipper.protocols.traits import Traits
from spool.batch import Batch

TRAITS = Traits(
    proof="received; Datadog does not say what it stores, and drops points older than an hour",
    again="is not defined by Datadog",
    paths=("/api/v2/series",),
    raw_bytes=524_288,  # grows eightfold at most on its way to 5 MB: a timer is ten series, each with all tags
)

COUNT, GAUGE = 1, 3
_NAMES = {"mean": "avg", "p50": "median"}


def encode(batches: Sequence[Batch], url: str, token: str | None) -> Request:
    """The series of `batches`, each with a point for each window, gzip-compressed."""
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    if token is not None:
        headers["DD-API-KEY"] = token
    series: dict[Any, dict[str, Any]] = {}
    for reading in readings(batches):
        tags = [f"{key}:{value}" for key, value in sorted(reading.tags.items()) if key != "host"]
        host, interval_s = reading.tags["host"], max(1, round((reading.end_ms - reading.start_ms) / 1000))
        for name, kind, value in _metrics(reading):
            known = series.setdefault(
                (name, kind, interval_s, host, *tags),
                {
                    "metric": name,
                    "type": kind,
                    **({"interval": interval_s} if kind == COUNT else {}),
                    "points": [],
                    "tags": tags,
                    "resources": [{"type": "host", "name": host}],
                },
            )
            known["points"].append({"timestamp": reading.end_ms // 1000, "value": value})
    text = json.dumps({"series": list(series.values())}, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return Request("POST", url, headers, gzip.compress(text.encode("utf-8"), compresslevel=6, mtime=0))


def judge(response: Response, batches: Sequence[Batch]) -> Verdict:
    """See the module's docstring."""
    words = status_and_words(response)
    if response.status != 202:
        return Verdict(of_status(response.status) if response.status >= 300 else Outcome.RETRY, words)
    errors = json_object(response.body).get("errors")
    return Verdict(Outcome.ACKNOWLEDGED, words, frozenset(each.key for each in batches), note=words if errors else None)


def _metrics(reading: Reading) -> Iterator[tuple[str, int, float]]:
    """(metric, type, value) of each series that a reading becomes."""
    if reading.type != "timer":
        yield reading.name, COUNT if reading.type == "counter" else GAUGE, float(reading.stats["value"])
        return
    for stat, value in reading.stats.items():
        name = _NAMES.get(stat) or (f"{stat[1:]}percentile" if stat[1:2].isdigit() else stat)
        yield f"{reading.name}.{name}", COUNT if stat in ("count", "sum") else GAUGE, float(value)
