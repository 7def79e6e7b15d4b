"""The last committed window and its busiest names, as `holdfast-collector top` shows them.

    window     14:00:10, 10 s, 3s ago   seq 8841   1,204 series
    lines      12,345.6/s  ▂▃▃▅▇█   accepted 12,300.1/s   rejected 45.5/s: no_value 40.1/s, bad_tag 5.4/s
    ...
    NAME       TYPE     SERIES  PER SECOND  VALUE
    api.hits   counter      12     4,210.0  42,100
    api.lat    timer         3     1,800.2  mean 4.2  max 91

Pure. Counters and timers are as busy as what was counted in them per second: a counter's sum, a timer's count; gauges
and sets do not tell how often they came. How many lines each name had is known to nobody, because identical lines
are counted before they are looked at.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from collector.selfmetrics import OVERFLOWED_BY
from spool.batch import Point
from spool.human import ago, clock, count, counted, span, sparkline

ORDERS = ("rate", "series", "name")
RECENT = 24
"""Windows in the picture of lines per second."""
OWN = "holdfast."
"""Names of the collector's own points, which are no client's."""


@dataclass(frozen=True, slots=True)
class Name:
    """All series of one name and type. `per_s` is None where a type does not tell; `value` is for people."""

    name: str
    type: str
    series: int
    per_s: float | None
    value: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One window: its row of `windows`, lines per second of those before it (oldest first), its names, and who
    overflowed: samples by the beginning of their names (culprits.py), the most first.
    """

    window: Mapping[str, Any]
    recent: Sequence[float]
    names: Sequence[Name]
    overflowed_by: Mapping[str, float]

    @property
    def length_s(self) -> float:
        """How long the window was."""
        return _length_s(self.window)


def snapshot(windows: Sequence[Mapping[str, Any]], points: Iterable[Point]) -> Snapshot:
    """What to show of `windows` (rows, newest first, at least one), `points` being those of the newest."""
    newest = windows[0]
    groups: dict[tuple[str, str], list[Point]] = {}
    overflowed_by: dict[str, float] = {}
    for point in points:
        if point.name == OVERFLOWED_BY:
            overflowed_by[point.tags["prefix"]] = point.values["value"]
        elif not point.name.startswith(OWN):
            groups.setdefault((point.name, point.type), []).append(point)
    names = [_name(name, kind, group, _length_s(newest)) for (name, kind), group in groups.items()]
    recent = [each["lines"] / _length_s(each) for each in reversed(windows)]
    return Snapshot(newest, recent, names, overflowed_by)


def ordered(names: Iterable[Name], by: str) -> list[Name]:
    """Names in an order of ORDERS, the most first; alphabetically where there is a tie."""
    if by == "name":
        return sorted(names, key=lambda each: (each.name, each.type))
    return sorted(names, key=lambda each: (-_rank(each, by), each.name, each.type))


def _rank(each: Name, by: str) -> float:
    return each.series if by == "series" else -1.0 if each.per_s is None else each.per_s


def _name(name: str, kind: str, group: Sequence[Point], length_s: float) -> Name:
    values = [point.values for point in group]
    per_s: float | None = None
    told = ""
    if kind == "counter":
        total = sum(each["value"] for each in values)
        per_s, told = total / length_s, _number(total)
    elif kind == "timer":
        times = sum(each["count"] for each in values)
        mean = sum(each["sum"] for each in values) / times if times else 0.0
        per_s, told = times / length_s, f"mean {_number(mean)}  max {_number(max(each['max'] for each in values))}"
    elif kind == "set":
        told = f"{_number(max(each['value'] for each in values))} distinct" + (" at most" if len(group) > 1 else "")
    elif kind == "gauge" and len(group) == 1:
        told = _number(values[0]["value"])
    elif kind != "gauge":  # events and service checks tell how often they came
        per_s = sum(each["count"] for each in values) / length_s
    return Name(name, kind, len(group), per_s, told)


def _number(value: float) -> str:
    """A value in few characters: 42,100 or 4.21."""
    if abs(value) >= 1e15:
        return f"{value:.3g}"
    return f"{value:,.0f}" if value == int(value) else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.1f}"


def _length_s(row: Mapping[str, Any]) -> float:
    return max(float(row["window_end"]) - float(row["window_start"]), 0.001)


def screen(shown: Snapshot, reasons: Mapping[str, int], beat: Mapping[str, Any], now: float) -> Iterator[str]:
    """The lines above the table. `reasons`: rejected lines of the window; `beat`: the collector's last heartbeat."""
    row, length_s = shown.window, shown.length_s
    yield (
        f"{'window':<10} {clock(row['window_end'], now)}, {span(length_s)}, {ago(row['window_end'], now)}"
        f"   seq {row['seq']}   {count(row['series'])} series"
    )
    rejected = ", ".join(f"{reason} {lines / length_s:,.1f}/s" for reason, lines in reasons.items())
    yield (
        f"{'lines':<10} {row['lines'] / length_s:,.1f}/s  {sparkline(shown.recent, RECENT)}"
        f"   accepted {row['accepted'] / length_s:,.1f}/s"
        f"   rejected {row['rejected'] / length_s:,.1f}/s" + (f": {rejected}" if rejected else "")
    )
    culprits = ", ".join(f"{prefix} {count(int(samples))}" for prefix, samples in shown.overflowed_by.items())
    yield (
        f"{'drops':<10} kernel {count(row['dropped'])}   beyond max_series {count(row['overflowed'])}"
        + (f": {culprits}" if culprits else "")
    )
    waiting = counted(int(beat.get("windows_waiting", 0)), "window", "windows")
    alive = f"{beat['phase']}, beat {ago(beat['at'], now)}" if beat else "no heartbeat"
    yield f"{'collector':<10} {alive}   {waiting} waiting for the spool"
    kinds: dict[str, int] = {}
    for each in shown.names:
        kinds[each.type] = kinds.get(each.type, 0) + each.series
    yield f"{'series':<10} " + "   ".join(f"{kind} {count(kinds[kind])}" for kind in sorted(kinds))


def as_object(
    shown: Snapshot, reasons: Mapping[str, int], beat: Mapping[str, Any], by: str, limit: int
) -> dict[str, Any]:
    """The same for machines; instants are Unix seconds."""
    row = shown.window
    return {
        "window": {"start": row["window_start"], "end": row["window_end"], "seq": row["seq"]},
        **{name: row[name] for name in ("series", "lines", "accepted", "rejected")},
        "rejected_by": dict(reasons),
        "kernel_drops": row["dropped"],
        "overflowed": row["overflowed"],
        "overflowed_by": dict(shown.overflowed_by),
        "windows_waiting": beat.get("windows_waiting"),
        "names": [
            {"name": each.name, "type": each.type, "series": each.series, "per_s": each.per_s}
            for each in ordered(shown.names, by)[:limit]
        ],
    }
