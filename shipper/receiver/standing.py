"""What the receiver makes of a host: one word of health with reasons, from when it was heard and what it said itself.

Three voices are put together: the data (how old is the newest window, is there a gap), the silence (when was anything
heard at all), and the host's own check-in, which knows why. A gap that its host still owes closes by itself; one that
it does not owe any more is a loss.

Pure. What a check-in says came over the network: anything in it may be missing or of any type, and is then not said.
Does not promise to know how a host does that neither sends nor checks in: that is silence, and silence is FAIL.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spool.health import VERY_LATE_S, Finding, Health, State
from spool.human import counted, span

SILENT_S = 180.0
"""Three check-ins at their usual interval, or as long without a batch."""

FRESH_S = 60.0
"""The newest window may be so old, or three windows of its host."""

SETTLED_S, RECENT_S = 120.0, 3_600.0
"""A gap counts from so long after its end, when the host has had two check-ins to speak of it, until so long after it;
then it is history, which the host's page keeps."""

AHEAD_S = 60.0


@dataclass(frozen=True, slots=True)
class Gap:
    """Windows `first` to `last` that have not come, and the instants they lie between, None if not known.

    `owed` says that the host's last check-in still counts them as unsent.
    """

    spool_id: str
    first: int
    last: int
    after: float | None
    before: float | None
    owed: bool

    @property
    def windows(self) -> int:
        """How many windows are missing."""
        return self.last - self.first + 1

    def within(self, low: float, high: float) -> bool:
        """Whether any of it is known to lie between these instants."""
        return self.after is not None and self.before is not None and self.after < high and low < self.before


def gaps(host: Mapping[str, Any]) -> list[Gap]:
    """The gaps of a host as report.hosts gives it, newest first."""
    said = told(host)
    owed = said.get("owed")
    first, last = (owed.get("first_window"), owed.get("last_window")) if isinstance(owed, dict) else (None, None)
    whole = isinstance(first, int) and isinstance(last, int)
    found = [
        Gap(
            spool["spool_id"],
            **gap,
            owed=whole and said.get("spool_id") == spool["spool_id"] and first <= gap["last"] and gap["first"] <= last,
        )
        for spool in host["spools"]
        for gap in spool["gaps"]
    ]
    return sorted(found, key=lambda gap: (gap.before or 0.0, gap.first), reverse=True)


def told(host: Mapping[str, Any]) -> dict[str, Any]:
    """What the host's last check-in said; empty if there was none."""
    checkin = host["checkin"]
    return checkin["body"] if checkin and isinstance(checkin["body"], dict) else {}


def judge(host: Mapping[str, Any], now: float) -> Health:
    """The health of a host as report.hosts gives it: the worst finding's state, worst reasons first."""
    worst_first = sorted(_findings(host, now), key=lambda each: list(State).index(each[0]), reverse=True)
    return Health(worst_first[0][0] if worst_first else State.OK, tuple(dict.fromkeys(text for _, text in worst_first)))


def _findings(host: Mapping[str, Any], now: float) -> Iterator[Finding]:
    checkin, batch_at = host["checkin"], host["last_batch_at"]
    heard_at = max(at for at in (batch_at, checkin and checkin["received_at"]) if at is not None)
    if now - heard_at > SILENT_S:
        yield State.FAIL, f"nothing has been heard for {span(now - heard_at)}"
        return
    yield from _lateness(host, now)
    if checkin is not None:
        age = now - checkin["received_at"]
        if age > SILENT_S:
            yield State.DEGRADED, f"the last check-in was {span(age)} ago"
        else:
            yield from _said(told(host))
    yield from _missing(gaps(host), now)


def _lateness(host: Mapping[str, Any], now: float) -> Iterator[Finding]:
    if host["last_window_end"] is None:
        yield State.UNKNOWN, "no batch has come yet"
        return
    age = now - host["last_window_end"]
    interval = told(host).get("intake", {})
    interval_s = interval.get("interval_s") if isinstance(interval, dict) else None
    fresh_s = max(FRESH_S, 3 * interval_s) if isinstance(interval_s, int | float) else FRESH_S
    if age > max(VERY_LATE_S, fresh_s):
        yield State.FAIL, f"the newest window ended {span(age)} ago"
    elif age > fresh_s:
        yield State.DEGRADED, f"the newest window ended {span(age)} ago"
    elif age < -AHEAD_S:
        yield State.DEGRADED, f"its clock is {span(-age)} ahead of ours"


def _said(body: Mapping[str, Any]) -> Iterator[Finding]:
    word, reasons = body.get("state"), body.get("reasons")
    if word == State.OK:
        return
    state = State(word) if word in list(State) else State.UNKNOWN
    texts = [text for text in reasons if isinstance(text, str)] if isinstance(reasons, list) else []
    for text in texts or ["it gives no reason"]:
        yield state, f"it says: {text}"


def _missing(found: Sequence[Gap], now: float) -> Iterator[Finding]:
    recent = [gap for gap in found if gap.before is not None and SETTLED_S < now - gap.before < RECENT_S]
    owed, gone = (sum(gap.windows for gap in recent if gap.owed is each) for each in (True, False))
    if owed:
        yield State.DEGRADED, f"{counted(owed, 'window', 'windows')} still to come"
    if gone:
        yield State.DEGRADED, f"{counted(gone, 'window is', 'windows are')} missing, and the host does not owe them"
