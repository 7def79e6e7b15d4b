"""What goes back to whoever asked: status, headers, body; and what gives it. Pure."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from shipper.receiver.request import Body

RETRY_AFTER_S = {HTTPStatus.SERVICE_UNAVAILABLE: 5, HTTPStatus.INSUFFICIENT_STORAGE: 60}


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back. `noted` are fields for the log line."""

    body: bytes
    status: HTTPStatus = HTTPStatus.OK
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    noted: Mapping[str, Any] = field(default_factory=dict)


Endpoint = Callable[[Mapping[str, Any], Body], Answer]
"""Answers one path: the WSGI environment and the body, unread so far."""


def as_json(said: Mapping[str, Any], status: HTTPStatus = HTTPStatus.OK, **more: Any) -> Answer:
    """An answer in JSON, one line."""
    text = json.dumps(said, separators=(",", ":"), ensure_ascii=False) + "\n"
    return Answer(text.encode("utf-8", "backslashreplace"), status, **more)


def refusal(status: HTTPStatus, error: str, headers: Mapping[str, str] | None = None) -> Answer:
    """An answer that says why not, with Retry-After where trying again may help."""
    retry_after = {"Retry-After": str(RETRY_AFTER_S[status])} if status in RETRY_AFTER_S else {}
    return as_json({"error": error}, status, headers={**retry_after, **(headers or {})}, noted={"error": error})
