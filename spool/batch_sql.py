"""`batch_json(payload)`: the points of a stored payload as JSON text, for SQL.

The views `points` and `recent_points` are built on it; `holdfast query` and the plugins register it. One row whose
JSON is bad would break a whole query, so it never raises and always returns a JSON array of objects that have name,
type and tags; damage is one point named `!undecodable` whose tag `error` says what was seen.

Pure.
"""

import gzip
import json
import re
import zlib
from typing import Any

from spool.batch import decode
from spool.errors import PayloadError

PLAIN = re.compile(r"[A-Za-z0-9_.:/ -]+")
"""Names that have only one way to be written in JSON, and mean themselves alone as a glob."""

_DECODER = json.JSONDecoder()


def batch_json(payload: Any) -> str:
    """The points of `payload` (bytes as in `batches.payload`) as JSON text. Never raises."""
    try:
        return json.dumps(points_of(payload), ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError, MemoryError) as error:
        return json.dumps(_undecodable(str(error) or type(error).__name__))


def points_of(payload: Any) -> list[dict[str, Any]]:
    """The same as objects; numbers may then be infinite or NaN, which JSON cannot say. Never raises."""
    if not isinstance(payload, bytes):
        return _undecodable(f"a payload is bytes, this is {type(payload).__name__}")
    try:
        points = decode(payload)["points"]
    except (PayloadError, ValueError, RecursionError, MemoryError) as error:
        return _undecodable(str(error) or type(error).__name__)
    if not isinstance(points, list) or not all(_is_point(each) for each in points):
        return _undecodable("its points are not a list of points")
    return points


def points_named(payload: bytes, name: str) -> list[dict[str, Any]]:
    """Those points of a stored payload whose name is `name`, which is plain (PLAIN). Never raises.

    They are found in the text, and only they are read: that takes a tenth of the time.

        ..."points":[{"name":"api.hits","type":"counter",...},{"name":"api.lat",...
                     -------------------
    """
    beginning = f'{{"name":"{name}",'
    found = []
    try:
        text = gzip.decompress(payload).decode()
        at = text.find(beginning)
        while at >= 0:
            point, end = _DECODER.raw_decode(text, at)
            found.append(point)
            at = text.find(beginning, end)
    except (OSError, EOFError, zlib.error, ValueError, RecursionError, MemoryError):
        return points_of(payload)
    return [each for each in found if _is_point(each)]


def _is_point(each: Any) -> bool:
    return (
        isinstance(each, dict)
        and isinstance(each.get("name"), str)
        and isinstance(each.get("type"), str)
        and isinstance(each.get("tags"), dict)
    )


def _undecodable(error: str) -> list[dict[str, Any]]:
    return [{"name": "!undecodable", "type": "error", "tags": {"error": error}, "value": 1}]
