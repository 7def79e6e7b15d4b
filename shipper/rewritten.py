"""A batch under another key: the cases in which what is sent is not what is stored, byte for byte. Pure.

    9f3c...-8841            as stored
    9f3c...-8841~1          sent as new, once: `holdfast replay --as-new`, for a server that lost what it has the key of
                ~
    9f3c...-8841~1/1-2500   a part of that: see parts.py

The same batch under the same key always has the same text, and the same bytes wherever zlib is the same; a receiver
compares texts. So P5 holds here too.
"""

import gzip
import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from spool.batch import Batch, decode


def as_new(batch: Batch, times: int) -> Batch:
    """`batch` under the key that it has when it is sent as new for the `times`-th time; as it is for 0.

    Raises PayloadError if its payload cannot be read.
    """
    if not times:
        return batch
    document = decode(batch.payload)
    return rewritten(batch, document | {"key": f"{batch.key}~{times}"})


def rewritten(batch: Batch, document: Mapping[str, Any]) -> Batch:
    """`batch` with `document` for its payload, whose key and points it gets; with the same id."""
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False) + "\n"
    raw = text.encode("utf-8")
    payload = gzip.compress(raw, compresslevel=6, mtime=0)
    return replace(
        batch,
        key=document["key"],
        points=len(document["points"]),
        raw_bytes=len(raw),
        payload=payload,
        sha256=hashlib.sha256(payload).hexdigest(),
    )
