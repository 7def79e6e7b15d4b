"""Rows of the database shaped into what the receiver tells: hosts with their gaps, totals per series.

Pure: rows in, values for JSON out.
"""

import json
from collections.abc import Callable, Iterable
from itertools import groupby, pairwise
from typing import Any

GAPS_SHOWN = 100

HOST_KEYS = ("host", "batches", "points", "first_batch_at", "last_batch_at", "last_window_end")


def hosts(
    seen: Iterable[tuple[Any, ...]],
    runs: Iterable[tuple[Any, ...]],
    checkin: Callable[[str], tuple[float, str] | None],
) -> list[dict[str, Any]]:
    """Every host that sent batches or check-ins.

    `seen` has HOST_KEYS in their order; `runs` (host, spool id, first and last window sequence number that
    arrived, when the first began and the last ended), sorted; `checkin(host)` the last one: (received at, JSON text).
    Instants are Unix seconds. Of each spool of a host, `missing` counts the windows between its first and last that
    have not arrived, and `gaps` are their ranges, `first` and `last` included, the newest GAPS_SHOWN, each with the
    instants it lies between (`after`, `before`, null if they were not kept). While a backlog drains, gaps close.
    """
    found: dict[str, dict[str, Any]] = {}
    for row in seen:
        said = checkin(row[0])
        told = None if said is None else {"received_at": said[0], "body": json.loads(said[1])}
        found[row[0]] = {**dict(zip(HOST_KEYS, row, strict=True)), "missing": 0, "spools": [], "checkin": told}
    for (host, spool_id), group in groupby(runs, key=lambda run: run[:2]):
        ranges = [run[2:] for run in group]
        gaps = [_gap(left, right) for left, right in pairwise(ranges)]
        missing = sum(gap["last"] - gap["first"] + 1 for gap in gaps)
        found[host]["missing"] += missing
        found[host]["spools"].append(
            {
                "spool_id": spool_id,
                "first_seq": ranges[0][0],
                "last_seq": ranges[-1][1],
                "missing": missing,
                "gaps": gaps[-GAPS_SHOWN:],
            }
        )
    return list(found.values())


def _gap(left: tuple[Any, ...], right: tuple[Any, ...]) -> dict[str, Any]:
    return {"first": left[1] + 1, "last": right[0] - 1, "after": left[3], "before": right[2]}


def totals(rows: Iterable[tuple[Any, ...]]) -> list[dict[str, Any]]:
    """One object per series, from rows (host, name, type, tags, stat, windows, sum, newest value), sorted.

    `windows` counts windows; `sum` adds up counters and the sums of timers, `count` the counts of timers;
    `last` is the newest window's value, for timers an object of all its statistics.
    """
    found = []
    for (host, name, kind, tags), group in groupby(rows, key=lambda row: row[:4]):
        stats = {stat: (windows, sum_, last) for *_, stat, windows, sum_, last in group}
        total: dict[str, Any] = {"host": host, "name": name, "type": kind, "tags": json.loads(tags)}
        total["windows"] = max(windows for windows, _, _ in stats.values())
        if "value" in stats:
            total["last"] = stats["value"][2]
            if kind == "counter":
                total["sum"] = stats["value"][1]
        else:
            total["last"] = {stat: last for stat, (_, _, last) in stats.items()}
            total |= {stat: stats[stat][1] for stat in ("count", "sum") if stat in stats}
        found.append(total)
    return found
