"""Points as rows: one per statistic, as the view `points` gives them, and which of them somebody asked for.

Pure. A payload that cannot be read is one row named `!undecodable`, as batch_sql.py has it; it is never an error here.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from spool.batch import Batch
from spool.batch_sql import PLAIN, points_named, points_of

OWN = "holdfast."
"""What the collector says about itself begins with this."""

_MOST = sys.float_info.max
"""Not beyond it, and not NaN: what nobody stored in a payload that can be read all the same is no row."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows: `name` is a glob (`api.*`), `stat` and `type` are words, `tags` all must be there. None: any.

    The collector's own points are left out unless the glob begins with their prefix or `own` is set.
    """

    name: str | None = None
    stat: str | None = None
    type: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    own: bool = False

    def __contains__(self, row: Mapping[str, Any]) -> bool:
        return self.stat in (None, row["stat"]) and self.has(row)

    def has(self, point: Mapping[str, Any]) -> bool:
        """Whether rows of this point are wanted, whichever the statistic."""
        if point["name"].startswith(OWN) and not self.own and not (self.name or "").startswith(OWN):
            return False
        return (
            (self.name is None or fnmatchcase(point["name"], self.name))
            and self.type in (None, point["type"])
            and all(point["tags"].get(tag) == value for tag, value in self.tags.items())
        )


def point_rows(batch: Batch, wanted: Wanted | None = None) -> Iterator[dict[str, Any]]:
    """The rows of one batch: batch, ts (Unix seconds, the window's end), name, type, tags, stat, value, fields.

    `fields` is None but for events and service checks: there it has their words (batch.Point).
    With `wanted`, those alone: sorted out before they are rows, and for one name before they are points, which is most
    of the work.
    """
    for point in _points(batch.payload, wanted):
        if wanted is not None and not wanted.has(point):
            continue
        for stat, value in point.items():
            if wanted is not None and wanted.stat not in (None, stat):
                continue
            if isinstance(value, int | float) and not isinstance(value, bool) and -_MOST <= value <= _MOST:
                yield {
                    "batch": batch.id,
                    "ts": batch.window_end,
                    "name": point["name"],
                    "type": point["type"],
                    "tags": point["tags"],
                    "stat": stat,
                    "value": value,
                    "fields": point.get("fields"),
                }


def _points(payload: bytes, wanted: Wanted | None) -> list[dict[str, Any]]:
    if wanted is not None and wanted.name is not None and PLAIN.fullmatch(wanted.name):
        return points_named(payload, wanted.name)
    return points_of(payload)
