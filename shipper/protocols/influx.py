r"""InfluxDB line protocol, for InfluxDB 1, 2 and 3 and for what speaks it (VictoriaMetrics, QuestDB, Telegraf ...).

    api.lat,env=prod,host=web-1,metric_type=timer count=3.0,max=9.0,...,p99=9.0,sum=12.5 1764000010000
    ------- ------------------- ----------------- ------------------------------------- -------------
    name    tags                type of the point  its statistics                        window's end, ms

The URL's path chooses the version: `/write` (1), `/api/v2/write` (2), `/api/v3/write_lp` (3). Database or bucket are
in its query; `precision` is added. The token goes as `Authorization: Token` to 2 and `Bearer` to 3; for 1 it may be
`user:password`, which goes as Basic (1.6 knows nothing else), or a JWT, which goes as Bearer.

One point is one line, so what the server counts as dropped are points. Counters, gauges and sets have the one field
`value` (a counter's is its increase in the window: sum it up), timers a field for each statistic. The sketch stays
behind. `metric_type` keeps a gauge and a counter of one name apart; it is Telegraf's name for that. An event is a line
of its title, a service check one of its name, with `count`, `value` (the status) and the words as text fields; a line
break in them is a space (VictoriaMetrics, which has no text, stores 0 for it). Several with the same name and tags are
a millisecond apart, the latest at the window's end, so that none overwrites another. The collector's own points travel
like all others.

Promises: every number is a float, because InfluxDB refuses for ever a field whose type changes; the same batches give
the same bytes; sent twice they overwrite themselves on InfluxDB (VictoriaMetrics keeps both copies unless it runs
with -dedup.minScrapeInterval). What the format cannot say is changed: tags `time`, `_field`, `_measurement` and a
client's own `metric_type` get a "_" at the end; a "#" at the beginning of a name becomes "_"; a backslash before "\",
",", "=", " " or at the end, which readers of the format understand in different ways, becomes "/".

A 204 acknowledges. "partial write" means that the rest of the points *is* stored: acknowledged, with the server's
words kept; where nothing was stored the batch is refused, and where the points are beyond retention it is expired.
"""

import base64
import gzip
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from shipper.exchange import Request, Response
from shipper.outcome import Outcome, Verdict, of_status
from shipper.protocols.answer import json_object, ruling, status_and_words
from shipper.protocols.readings import CHECK, EVENT, Reading, readings, renamed
from shipper.protocols.traits import Traits
from spool.batch import Batch

TRAITS = Traits(
    proof="stored by InfluxDB; VictoriaMetrics and others may still skip lines without a word",
    again="overwrites itself on InfluxDB; VictoriaMetrics keeps both unless it runs with -dedup.minScrapeInterval",
    old="end as expired beyond the retention of the database; VictoriaMetrics drops them without a word",
    paths=("/write", "/write_lp"),
)

_AMBIGUOUS = re.compile(r"\\(?=[\\,= ]|$)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_RESERVED = {"time", "_field", "_measurement", "metric_type"}
_DROPPED = re.compile(r"dropped=(\d+)")
_TOO_OLD = re.compile(r"retention|too old|outside.*(?:shard|retention)", re.IGNORECASE)


def encode(batches: Sequence[Batch], url: str, token: str | None) -> Request:
    """The lines of `batches`, gzip-compressed."""
    version = _version(url)
    headers = {"Content-Type": "text/plain; charset=utf-8", "Content-Encoding": "gzip"}
    if token is not None:
        headers["Authorization"] = _authorization(version, token)
    text = "".join([line for batch in batches for line in _lines(readings([batch]))])
    body = gzip.compress(text.encode("utf-8"), compresslevel=6, mtime=0)
    return Request("POST", _with_precision(url, "millisecond" if version == 3 else "ms"), headers, body)


def judge(response: Response, batches: Sequence[Batch]) -> Verdict:
    """See the module's docstring."""
    words = status_and_words(response)
    keys = frozenset(each.key for each in batches)
    if response.status == 204:
        return Verdict(Outcome.ACKNOWLEDGED, words, keys)
    if 200 <= response.status < 300:
        return Verdict(Outcome.RETRY, f"{response.status} where InfluxDB says 204: who answers there?")
    if response.status not in (400, 422):
        return Verdict(of_status(response.status), words)
    if _TOO_OLD.search(ruling(response.body)):
        return Verdict(Outcome.EXPIRED, words)
    dropped = _dropped(response.body)
    if dropped is None or dropped >= sum(each.points for each in batches):
        return Verdict(Outcome.DEAD, words)
    return Verdict(Outcome.ACKNOWLEDGED, words, keys, note=f"{dropped} points refused, the others stored: {words}")


def _version(url: str) -> int:
    path = urlsplit(url).path
    return 3 if path.endswith("/api/v3/write_lp") else 2 if path.endswith("/api/v2/write") else 1


def _authorization(version: int, token: str) -> str:
    if version == 1 and ":" in token:
        return "Basic " + base64.b64encode(token.encode("ascii")).decode("ascii")
    return f"{'Token' if version == 2 else 'Bearer'} {token}"


def _with_precision(url: str, precision: str) -> str:
    parts = urlsplit(url)
    query = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] != "precision"]
    return parts._replace(query=urlencode([*query, ("precision", precision)], quote_via=quote)).geturl()


def _dropped(body: bytes) -> int | None:
    """How many points the server says it dropped while it stored the others; None if it says nothing like that."""
    words = ruling(body)
    if "partial write" not in words:
        return None
    listed = json_object(body).get("data")  # InfluxDB 3: one object for each bad line
    if isinstance(listed, list):
        return len(listed)
    counted = _DROPPED.search(words)
    return int(counted[1]) if counted else None


def _lines(found: Iterable[Reading]) -> Iterator[str]:
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
