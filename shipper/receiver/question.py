"""What somebody wants to see in a chart, as the address of the page says it.

    /chart?name=api.lat&host=web-1&tag:env=%3Dprod&stat=p99&each=line&span=6h&until=yesterday+18:00
           ------------ ---------- --------------- -------- --------- ------- ---------------------
           metric       one of all a tag's value   see      see       length  its end, in
                                   behind a =      curves   curves    of time spool/timewords.py's words

Pure: the clock and the zone are arguments. Promises that what it gives can be asked of the database: a bad word is said
in `trouble` and something that can be shown is put in its place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from math import ceil

from shipper.receiver.curves import Series
from spool.ticks import STEPS_S, round_s
from spool.timewords import instant, length_s

SPANS = {
    "15m": "15 minutes",
    "1h": "1 hour",
    "6h": "6 hours",
    "24h": "24 hours",
    "7d": "7 days",
    "30d": "30 days",
}
EACH = {"": "as suits the metric", "line": "a line for each", "sum": "their sum", "max": "the highest of them"}
STEPS_MOST = 240
TAG = "tag:"


LINES_READ, SUMMED_MOST = 60, 1_000
"""Series that are read to find those that reach highest, and to be put together."""


@dataclass(frozen=True, slots=True)
class Question:
    """`host`, `type`, `stat` and `each` are empty where nothing was chosen; `tags` are those that must be there."""

    name: str = ""
    search: str = ""
    host: str = ""
    type: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    stat: str = ""
    each: str = ""
    span: str = "1h"
    until: str = ""
    until_at: float = 0.0
    trouble: str = ""

    @property
    def since_at(self) -> float:
        """Where the time begins, Unix seconds."""
        return self.until_at - length_s(self.span)

    def step_s(self, window_s: float) -> float:
        """How much time one dot of the chart stands for: whole windows of `window_s`, so that none has one more."""
        least = max(length_s(self.span) / STEPS_MOST, window_s)
        if window_s <= 0:
            return round_s(least)
        whole = (each for each in STEPS_S if each >= least and each % window_s == 0)
        return next(whole, window_s * ceil(least / window_s))


def asked(given: Mapping[str, str], now: float, zone: tzinfo | None = None) -> Question:
    """The question in the words of a query. `now` in Unix seconds; clock times are in `zone`, None for local time."""
    until, trouble, until_at = given.get("until", "").strip(), "", now
    try:
        until_at = min(instant(until, now, zone), now) if until else now
    except ValueError as error:
        trouble = f"Ending at {error}. Shown is the time up to now."
    return Question(
        name=given.get("name", "").strip(),
        search=given.get("search", "").strip(),
        host=given.get("host", ""),
        type=given.get("type", ""),
        tags={
            key.removeprefix(TAG): value[1:] for key, value in given.items() if key.startswith(TAG) and value[:1] == "="
        },
        stat=given.get("stat", ""),
        each=_one_of(EACH, given.get("each", ""), ""),
        span=_one_of(SPANS, given.get("span", ""), "1h"),
        until=until,
        until_at=max(until_at, 0.0),
        trouble=trouble,
    )


@dataclass(frozen=True, slots=True)
class Choice:
    """The series of a metric that a question is about.

    `types` are those that the name has; `known` are its series of one of them, `chosen` those that are asked for,
    `read` as many of them as a page reads; `together` is `sum`, `max`, or `line` for a line each.
    """

    types: Sequence[str]
    known: Sequence[Series]
    chosen: Sequence[Series]
    read: Sequence[Series]
    together: str

    @property
    def type(self) -> str:
        """The type of all of them, empty if there are none."""
        return self.known[0].type if self.known else ""


def choose(question: Question, series: Sequence[Series]) -> Choice:
    """What of all the series of a name the question is about."""
    types = list(dict.fromkeys(each.type for each in series))
    kind = question.type if question.type in types else next(iter(types), "")
    known = [each for each in series if each.type == kind]
    chosen = [each for each in known if question.host in ("", each.host) and each.has(question.tags.items())]
    together = (question.each or ("sum" if kind == "counter" else "line")) if len(chosen) > 1 else "line"
    return Choice(types, known, chosen, chosen[: LINES_READ if together == "line" else SUMMED_MOST], together)


def _one_of(words: Mapping[str, str], word: str, otherwise: str) -> str:
    return word if word in words else otherwise
