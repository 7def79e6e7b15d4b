"""InfluxDB line protocol, for InfluxDB 1, 2 and 3 and for what speaks it (VictoriaMetrics, QuestDB, Telegraf ...).

The URL's path chooses the version: `/write` (1), `/api/v2/write` (2), `/api/v3/write_lp` (3). Database or bucket are
in its query; `precision` is added. The token goes as `Authorization: Token` to 2 and `Bearer` to 3; for 1 it may be
`user:password`, which goes as Basic (1.6 knows nothing else), or a JWT, which goes as Bearer.

What a line is, spool/lineprotocol.py says: one point is one, so what the server counts as dropped are points.

Promises: the same batches give the same bytes; sent twice they overwrite themselves on InfluxDB (VictoriaMetrics keeps
both copies unless it runs with -dedup.minScrapeInterval).

A 204 acknowledges. "partial write" means that the rest of the points *is* stored: acknowledged, with the server's
words kept; where nothing was stored the batch is refused, and where the points are beyond retention it is expired.
"""

import base64
import gzip
import re
from collections.abc import Sequence
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from shipper.exchange import Request, Response
from shipper.outcome import Outcome, Verdict, of_status
from shipper.protocols.answer import json_object, ruling, status_and_words
from shipper.protocols.traits import Traits
from spool.batch import Batch
from spool.lineprotocol import lines
from spool.readings import readings

TRAITS = Traits(
    proof="stored by InfluxDB; VictoriaMetrics and others may still skip lines without a word",
    again="overwrites itself on InfluxDB; VictoriaMetrics keeps both unless it runs with -dedup.minScrapeInterval",
    old="end as expired beyond the retention of the database; VictoriaMetrics drops them without a word",
    paths=("/write", "/write_lp"),
)

_DROPPED = re.compile(r"dropped=(\d+)")
_TOO_OLD = re.compile(r"retention|too old|outside.*(?:shard|retention)", re.IGNORECASE)


def encode(batches: Sequence[Batch], url: str, token: str | None) -> Request:
    """The lines of `batches`, gzip-compressed."""
    version = _version(url)
    headers = {"Content-Type": "text/plain; charset=utf-8", "Content-Encoding": "gzip"}
    if token is not None:
        headers["Authorization"] = _authorization(version, token)
    text = "".join([line for batch in batches for line in lines(readings([batch]))])
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
