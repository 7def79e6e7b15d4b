"""`batch_json(payload)`: the points of a stored payload as JSON text, for SQL.

The views `points` and `recent_points` are built on it; `holdfast query` and the plugins register it. One row whose
JSON is bad would break a whole query, so it never raises and always returns a JSON array of objects that have name,
type and tags; damage is one point named `!undecodable` whose tag `error` says what was seen.

Pure.
"""

import json
from typing import Any

from spool.batch import decode
from spool.errors import PayloadError


def batch_json(payload: Any) -> str:
    """The points of `payload` (bytes as in `batches.payload`) as JSON text. Never raises."""
    if not isinstance(payload, bytes):
        return _undecodable(f"a payload is bytes, this is {type(payload).__name__}")
    try:
        points = decode(payload)["points"]
        if not isinstance(points, list) or not all(_is_point(each) for each in points):
            return _undecodable("its points are not a list of points")
        return json.dumps(points, ensure_ascii=False, allow_nan=False)
    except (PayloadError, ValueError, RecursionError, MemoryError) as error:
        return _undecodable(str(error) or type(error).__name__)


def _is_point(each: Any) -> bool:
    return (
        isinstance(each, dict)
        and isinstance(each.get("name"), str)
        and isinstance(each.get("type"), str)
        and isinstance(each.get("tags"), dict)
    )


def _undecodable(error: str) -> str:
    return json.dumps([{"name": "!undecodable", "type": "error", "tags": {"error": error}, "value": 1}])
