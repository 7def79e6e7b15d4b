"""Log lines for people and for machines: `time level event key=value ...`, on stderr.

Every process logs through the standard library's `logging`. The message is a constant snake_case event
name; what varies goes into fields with units in their names:

    log.info("batch_committed", extra=fields(batch=8841, points=1204, commit_ms=3.1))

prints

    2026-11-23T14:00:10.112Z info batch_committed batch=8841 points=1204 commit_ms=3.1

`HOLDFAST_LOG_FORMAT=json` prints the same as one JSON object per line. Secrets are never fields.
"""

import json
import logging
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TextIO


def fields(**values: Any) -> dict[str, Any]:
    """Fields of one log line, in the order given. Values: str, int, float, bool or None (left out)."""
    return {"holdfast": {name: value for name, value in values.items() if value is not None}}


def quoted(value: Any) -> str:
    """A value in logfmt: floats short, text quoted only where it must be."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}" if abs(value) < 1e6 else f"{value:.3f}"
    text = str(value)
    if text and not any(ch in text for ch in ' "=\\') and text.isprintable():
        return text
    return json.dumps(text, ensure_ascii=False)


class _Formatter(logging.Formatter):
    def stamp(self, record: logging.LogRecord) -> str:
        return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"

    def extras(self, record: logging.LogRecord) -> dict[str, Any]:
        values: dict[str, Any] = dict(getattr(record, "holdfast", {}))
        if record.exc_info:
            values["exception"] = self.formatException(record.exc_info)
        return values


class Logfmt(_Formatter):
    """`2026-11-23T14:00:10.112Z info event key=value`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, no newline at its end."""
        head = f"{self.stamp(record)} {record.levelname.lower()} {record.getMessage()}"
        return " ".join([head, *(f"{name}={quoted(value)}" for name, value in self.extras(record).items())])


class JsonLines(_Formatter):
    """The same, one JSON object per line with the keys `time`, `level`, `event` and the fields."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, no newline at its end."""
        line = {"time": self.stamp(record), "level": record.levelname.lower(), "event": record.getMessage()}
        return json.dumps(line | self.extras(record), default=str, ensure_ascii=False)


def log_to(stream: TextIO = sys.stderr, *, verbose: bool = False) -> None:
    """Send this process's log to `stream`; the format is logfmt, or JSON if HOLDFAST_LOG_FORMAT=json."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines() if os.environ.get("HOLDFAST_LOG_FORMAT") == "json" else Logfmt())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
    for noisy in ("urllib3", "requests"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


class Sparingly:
    """At most one line per `every_s` for each event, or kind of it: what was held back is counted in the next one.

    For conditions that repeat while they last (disk full, bad lines, server down). `clock` gives
    monotonic seconds.
    """

    def __init__(self, log: logging.Logger, every_s: float, clock: Callable[[], float]) -> None:
        self._log, self._every_s, self._clock = log, every_s, clock
        self._last: dict[tuple[str, str], float] = {}
        self._held_back: dict[tuple[str, str], int] = {}

    def warning(self, event: str, kind: str = "", /, **values: Any) -> None:
        """Log now, or count it as held back. There must be few kinds: all are remembered."""
        now, key = self._clock(), (event, kind)
        if now - self._last.get(key, float("-inf")) < self._every_s:
            self._held_back[key] = self._held_back.get(key, 0) + 1
            return
        self._last[key] = now
        self._log.warning(event, extra=fields(**values, held_back=self._held_back.pop(key, None)))
