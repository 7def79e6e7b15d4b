"""What the address of the page asks for.

    /-/holdfast?since=6h&until=now&name=api.*&stat=p50,p99&tags=env:prod&agg=5m:max&refresh=30
                ---------------------  ----------------------------------------------  ----------
                the time that all      a metric, as `holdfast points` takes it     reload every so many seconds
                pictures show

Pure. Every value may be missing or wrong: what is wrong is named in `problems`, and counts as missing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from spool.pointrows import Wanted
from spool.series import Agg
from spool.timewords import instant

SINCE = "6h"
REFRESHES = ("10", "30", "60")
WORDS = ("since", "until", "name", "stat", "tags", "agg", "refresh")


@dataclass(frozen=True, slots=True)
class Asked:
    """The words as they were written, for the form, and what they mean: `bounds` in Unix seconds, the points wanted, of
    these the statistics (none: those that say most), what is made of their values.
    """

    since: str = SINCE
    until: str = ""
    name: str = ""
    stat: str = ""
    tags: str = ""
    agg: str = ""
    refresh: str = ""
    bounds: tuple[float, float] = (0.0, 0.0)
    wanted: Wanted = field(default_factory=Wanted)
    stats: frozenset[str] = frozenset()
    aggregation: Agg | None = None
    problems: tuple[str, ...] = ()

    def address(self, **changes: str) -> str:
        """The query string that asks for the same with `changes`; begins with "?"."""
        words = {name: changes.get(name, getattr(self, name)) for name in WORDS}
        return "?" + urlencode({name: word for name, word in words.items() if word})


def asked(words: Mapping[str, str], now: float) -> Asked:
    """What `words`, the parameters of the address, ask for at the instant `now` (Unix seconds)."""
    said = {name: words.get(name, "").strip() for name in WORDS}
    said["since"] = said["since"] or SINCE
    problems = []

    def read(name: str, meaning: str) -> float:
        try:
            return instant(meaning, now)
        except ValueError as error:
            problems.append(f"{name}: {error}")
            return instant(SINCE if name == "since" else "now", now)

    bounds = read("since", said["since"]), read("until", said["until"] or "now")
    if bounds[0] >= bounds[1]:
        problems.append(f"since {said['since']!r}: is not before until {said['until'] or 'now'!r}")
        bounds = bounds[1] - (now - instant(SINCE, now)), bounds[1]
    aggregation = None
    if said["agg"]:
        try:
            aggregation = Agg.parsed(said["agg"])
        except ValueError as error:
            problems.append(f"agg: {error}")
    if said["refresh"] not in ("", *REFRESHES):
        problems.append(f"refresh {said['refresh']!r}: allowed is one of {', '.join(REFRESHES)}")
        said["refresh"] = ""
    pairs = dict(each.strip().partition(":")[::2] for each in said["tags"].split(",") if each.strip())
    return Asked(
        **said,
        bounds=bounds,
        wanted=Wanted(name=said["name"] or None, tags=pairs),
        stats=frozenset(each.strip() for each in said["stat"].split(",") if each.strip()),
        aggregation=aggregation,
        problems=tuple(problems),
    )
