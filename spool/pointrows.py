"""Points as rows: one per statistic, as the view `points` gives them, and which of them somebody asked for.

Pure. A payload that cannot be read is one row named `!undecodable`, as batch_sql.py has it; it is never an error here.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from spool.batch import Batch
from spool.batch_sql import batch_json

OWN = "holdfast."
"""What the collector says about itself begins with this."""


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
        if row["name"].startswith(OWN) and not self.own and not (self.name or "").startswith(OWN):
            return False
        return (
            (self.name is None or fnmatchcase(row["name"], self.name))
            and self.stat in (None, row["stat"])
            and self.type in (None, row["type"])
            and all(row["tags"].get(tag) == value for tag, value in self.tags.items())
        )


def point_rows(batch: Batch) -> Iterator[dict[str, Any]]:
    """The rows of one batch: batch, ts (Unix seconds, the window's end), name, type, tags, stat, value."""
    for point in json.loads(batch_json(batch.payload)):
        for stat, value in point.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                yield {
                    "batch": batch.id,
                    "ts": batch.window_end,
                    "name": point["name"],
                    "type": point["type"],
                    "tags": point["tags"],
                    "stat": stat,
                    "value": value,
                }
