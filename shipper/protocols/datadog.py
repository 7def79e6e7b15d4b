"""Datadog's series endpoint: POST https://api.<site>/api/v2/series, the token as DD-API-KEY.

Also version 1, where the URL's path says so: servers that take Datadog's format, like VictoriaMetrics before 1.93,
know only that one. Version 1 has words for the types, [time, value] for a point, and the host in a field of its own.

    counter api.hits  -> count  api.hits (interval: the window)      gauge -> gauge      set -> gauge
    timer   api.lat   -> gauges api.lat.avg .min .max .stddev .median .90percentile ...; counts api.lat.count .sum

A service check db.up goes as gauge db.up.status; its words and events stay behind, because Datadog takes checks and
events at other addresses (/api/v1/check_run, /api/v1/events), one by one. Names of a timer's statistics are those of
Datadog's own agent. Tags go as `key:value`, a bare tag (which the batch keeps as a tag with no value) as `key:true`; a
point's tag `host`, or else the batch's host, is the resource `host`. Time stamps are whole seconds: the window's end,
rounded up. The sketch stays behind: distributions do not go this way. The collector's own points travel like all others
(holdfast.lines, count).

Datadog takes 5 MB, 500 kB compressed, in a request: that is why so little is put together; a batch that is too large
by itself is answered with 413 and goes in parts (shipper/parts.py), always the same ones. 202 means "received": what
becomes of the points is not said, and points older than an hour are dropped silently unless the metric has Historical
Metrics Ingestion. So set max_age_s = 3600. Sent twice, the last write wins for such metrics; else it is not defined.
"""

import gzip
import json
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from shipper.exchange import Request, Response
from shipper.outcome import Outcome, Verdict, of_status
from shipper.protocols.answer import json_object, status_and_words
from shipper.protocols.traits import Traits
from spool.batch import Batch
from spool.readings import CHECK, EVENT, Reading, numbers

TRAITS = Traits(
    proof="received; Datadog does not say what it stores, and drops points older than an hour",
    again="is not defined by Datadog; VictoriaMetrics keeps both unless it runs with -dedup.minScrapeInterval",
    old="are dropped without a word, unless the metric has Historical Metrics Ingestion; VictoriaMetrics takes them",
    takes_s=3600,
    paths=("/api/v2/series", "/api/v1/series"),
    raw_bytes=524_288,  # grows eightfold at most on its way to 5 MB: a timer is ten series, each with all tags
    leaves_out=(EVENT,),
)

COUNT, GAUGE = 1, 3
_WORDS = {COUNT: "count", GAUGE: "gauge"}
_NAMES = {"mean": "avg", "p50": "median"}


def encode(batches: Sequence[Batch], url: str, token: str | None) -> Request:
    """The series of `batches`, each with a point for each window, gzip-compressed."""
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    if token is not None:
        headers["DD-API-KEY"] = token
    first = urlsplit(url).path.endswith("/api/v1/series")
    series: dict[Any, dict[str, Any]] = {}
    for reading in numbers(batches):
        tags = [f"{key}:{value}" for key, value in sorted(reading.tags.items()) if key != "host"]
        host, interval_s = reading.tags["host"], max(1, round((reading.end_ms - reading.start_ms) / 1000))
        for name, kind, value in _metrics(reading):
            known = series.setdefault(
                (name, kind, interval_s, host, *tags),
                {
                    "metric": name,
                    "type": _WORDS[kind] if first else kind,
                    **({"interval": interval_s} if kind == COUNT else {}),
                    "points": [],
                    "tags": tags,
                    **({"host": host} if first else {"resources": [{"type": "host", "name": host}]}),
                },
            )
            at = reading.end_s
            known["points"].append([at, value] if first else {"timestamp": at, "value": value})
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
        name = f"{reading.name}.status" if reading.type == CHECK else reading.name
        yield name, COUNT if reading.type == "counter" else GAUGE, float(reading.stats["value"])
        return
    for stat, value in reading.stats.items():
        name = _NAMES.get(stat) or (f"{stat[1:]}percentile" if stat[1:2].isdigit() else stat)
        yield f"{reading.name}.{name}", COUNT if stat in ("count", "sum") else GAUGE, float(value)
