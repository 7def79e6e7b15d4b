"""How lines are understood, for people and for programs: the output of `holdfast-collector parse`.

Pure. One line in, one line out; the keys of the JSON form are stable.
"""

import json
from typing import Any

from collector.notices import Notice
from collector.rules import Rejection, printable
from collector.statsd import Dialect, Parsed, Sample, parse


def as_json(line: bytes, dialect: Dialect) -> str:
    """One JSON object: line, ok, and metrics or error. Bytes that are not UTF-8 show as \\xNN in `line`."""
    parsed = parse(line, dialect)
    shown: dict[str, Any] = {"line": line.decode("utf-8", "backslashreplace"), "ok": True}
    if isinstance(parsed, Rejection):
        shown |= {"ok": False, "error": str(parsed), "reason": str(parsed.reason)}
    elif isinstance(parsed, Notice):
        shown["metrics"] = [_notice(parsed)]
    else:
        shown["metrics"] = [_metric(sample) for sample in parsed]
    return json.dumps(shown, ensure_ascii=True)


def _metric(sample: Sample) -> dict[str, Any]:
    return {
        "name": sample.name,
        "type": sample.kind,
        "value": sample.values[0] if len(sample.values) == 1 else None,
        "values": list(sample.values),
        "delta": sample.delta,
        "rate": sample.rate,
        "tags": dict(sample.tags),
        "timestamp": sample.timestamp,
    }


def _notice(notice: Notice) -> dict[str, Any]:
    return {
        "name": notice.name,
        "type": notice.kind,
        "value": notice.value,
        "values": [notice.value],
        "delta": False,
        "rate": 1.0,
        "tags": dict(notice.tags),
        "timestamp": notice.timestamp,
        "fields": dict(notice.fields),
    }


def as_text(number: int, line: bytes, dialect: Dialect) -> str:
    """`1  ok       counter  api.hits  1.0  env=prod`, or `2  refused  bad value 'x'  api.hits:x|c`."""
    parsed = parse(line, dialect)
    if isinstance(parsed, Rejection):
        return f"{number}  refused  {parsed}  {_printable(line)}"
    if not parsed:
        return f"{number}  blank"
    return "\n".join(f"{number}  ok       {each}" for each in _described(parsed))


def _described(parsed: Parsed) -> list[str]:
    if isinstance(parsed, Notice):
        return [_columns(parsed.kind, parsed.name, str(parsed.value), dict(parsed.tags) | dict(parsed.fields))]
    if isinstance(parsed, Rejection):
        return []
    described = []
    for sample in parsed:
        values = " ".join(f"{each:+}" if sample.delta else str(each) for each in sample.values)
        rate = {"@rate": str(sample.rate)} if sample.rate != 1.0 else {}
        described.append(_columns(sample.kind, sample.name, values, dict(sample.tags) | rate))
    return described


def _columns(kind: str, name: str, value: str, tags: dict[str, str]) -> str:
    said = " ".join(f"{key}={value}" if value else key for key, value in tags.items())
    return _printable(f"{kind:<7}  {name}  {value}  {said}".rstrip().encode())


def _printable(line: bytes) -> str:
    """Text that cannot do anything to a terminal."""
    shown = printable(line.strip().decode("utf-8", "backslashreplace"))
    return shown if len(shown) <= 200 else shown[:197] + "..."
