"""Holdfast's own protocol: stored bytes as they are, acknowledged key by key.

    POST /v1/batches            body: the gzip members of the batches, one after the other (newline-delimited JSON)
    Idempotency-Key: <hash>     SHA-256 over the keys, so that a retry of the same request is recognisable as a whole

    200 {"accepted":["<key>"],"duplicate":["<key>"],"rejected":[{"key":"<key>","error":"..."}]}
         ----------            -----------             ------------
         stored now            stored before           never will be: dead, with that reason

A batch is acknowledged only if its key is listed. A 200 that lists none of ours (a captive portal's page, a proxy's
greeting) acknowledges nothing. Everything in a batch is carried, events and service checks too.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

from shipper.exchange import Request, Response
from shipper.outcome import Outcome, Verdict, of_status
from shipper.protocols.answer import json_object, printable, status_and_words
from shipper.protocols.traits import Traits
from spool.batch import Batch

TRAITS = Traits(proof="stored, as the receiver says key by key", again="is known by its key and stored once")


def encode(batches: Sequence[Batch], url: str, token: str | None) -> Request:
    """The stored members, concatenated. The caller has verified them; here they are not opened."""
    headers = {
        "Content-Type": "application/x-ndjson",
        "Content-Encoding": "gzip",
        "Idempotency-Key": hashlib.sha256("\n".join(each.key for each in batches).encode()).hexdigest(),
    }
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return Request("POST", url, headers, b"".join(each.payload for each in batches))


def judge(response: Response, batches: Sequence[Batch]) -> Verdict:
    """See the module's docstring. A key in two lists counts as what loses least: listed as stored wins."""
    if response.status != 200:
        return Verdict(of_status(response.status), status_and_words(response))
    keys = [each.key for each in batches]
    answer = json_object(response.body)
    listed = {each for name in ("accepted", "duplicate") for each in _strings(answer.get(name))}
    acknowledged = frozenset(keys) & listed
    refused = {
        each["key"]: printable(str(each.get("error", "no reason given")))[:500]
        for each in _list(answer.get("rejected"))
        if isinstance(each, dict) and each.get("key") in keys and each["key"] not in acknowledged
    }
    ours = isinstance(answer.get("accepted"), list)
    if ours and len(acknowledged) == len(keys):
        return Verdict(Outcome.ACKNOWLEDGED, "200", acknowledged)
    if not acknowledged and not refused:
        reason = "200 without any of our keys: is this a Holdfast receiver, or a portal in between?"
        return Verdict(Outcome.RETRY, reason)
    if len(refused) == len(keys):
        return Verdict(Outcome.DEAD, next(iter(refused.values())), refused=refused)
    return Verdict(Outcome.RETRY, "200 for a part of the batches", acknowledged, refused)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _strings(value: Any) -> list[str]:
    return [each for each in _list(value) if isinstance(each, str)]
