"""The page of all hosts, worst first, and the page of one: its gaps and its check-ins.

Pure: what the reader found in, pages out.
"""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from shipper.receiver.curves import tags_text
from shipper.receiver.page import (
    Frame,
    badge,
    bullets,
    document,
    facts,
    figure,
    instant,
    link,
    search,
)
from shipper.receiver.standing import SILENT_S, Gap, gaps, judge, told
from spool.health import Health, State
from spool.human import count, counted, moment, span
from spool.markup import Html, element, html, table
from spool.plot import Chart

HOSTS_SHOWN, HOSTS_AT_A_GLANCE = 500, 20
GAPS_SHOWN = 50
PERIODS_SHOWN = 50
LOSSES_SHOWN = 10

CheckIn = tuple[float, Mapping[str, Any]]
"""When it was received, Unix seconds, and what it said."""

Notice = tuple[float, str, str, str, float | None, str]
"""An event or a service check as the reader gives it."""

CHECKED = {0.0: "check: OK", 1.0: "check: warning", 2.0: "check: critical", 3.0: "check: unknown"}


def hosts(found: Sequence[Mapping[str, Any]], frame: Frame, own_url: str) -> bytes:
    """All hosts as report.hosts gives them, or those whose name has the frame's `search` in it.

    `own_url` is how the one who asks calls this receiver.
    """
    if not found:
        return document("Hosts", frame, *_welcome(own_url), here="/")
    sought = frame.query.get("search", "").strip()
    judged = [(judge(host, frame.now), host) for host in found if sought.lower() in host["host"].lower()]
    judged.sort(key=lambda each: (-list(State).index(each[0].state), each[1]["host"]))
    box = search("Name contains", sought) if len(found) > HOSTS_AT_A_GLANCE or sought else html()
    rows = [_row(host, health, frame) for health, host in judged[:HOSTS_SHOWN]]
    columns = ("Host", "State", "Why", "Newest window", "Missing windows#", "Last check-in")
    more = len(judged) - HOSTS_SHOWN
    rest = element("p", f"{count(more)} more that are not worse than these are left out.") if more > 0 else html()
    verdict = _verdict([health for health, _ in judged]) if judged else element("p", "No host has such a name.")
    worst_first = table("Worst first", columns, rows) if rows else html()
    return document("Hosts", frame, verdict, box, worst_first, rest, here="/")


def _verdict(found: Sequence[Health]) -> Html:
    """One sentence for who has just been woken up."""
    numbers = [(state, sum(each.state is state for each in found)) for state in reversed(State)]
    words = [html(count(number), " ", badge(state)) for state, number in numbers if number]
    parts = [part for word in words for part in (html(", "), word)][1:]
    return element("p", counted(len(found), "host", "hosts"), ": ", *parts, ".")


def _welcome(own_url: str) -> tuple[str, ...]:
    example = (
        f'[destination.main]\nprotocol = "holdfast"\nurl = "{own_url}/v1/batches"\n'
        f'checkin_url = "{own_url}/v1/checkin"\ntoken_file = "/etc/holdfast/token"'
    )
    return (
        element("p", "Nothing has arrived yet. Point a shipper here, in its holdfast.toml:"),
        element("pre", example),
        element("p", "Then ", element("code", "holdfast-shipper ping"), " on that host says whether it gets through."),
    )


def _row(host: Mapping[str, Any], health: Health, frame: Frame) -> tuple[str, ...]:
    return (
        link(host["host"], "/host", name=host["host"]),
        badge(health.state),
        bullets(health.reasons),
        instant(host["last_window_end"], frame),
        count(host["missing"]) if host["missing"] else "none",
        instant(host["checkin"] and host["checkin"]["received_at"], frame),
    )


def host(
    found: Mapping[str, Any], checkins: Sequence[tuple[float, str]], notices: Sequence[Notice], frame: Frame
) -> bytes:
    """One host as report.hosts gives it; `checkins` (received at, JSON text) and `notices`, newest first."""
    health = judge(found, frame.now)
    body = told(found)
    said = [(at, json.loads(text)) for at, text in checkins]
    pairs = [
        ("Newest window ended", instant(found["last_window_end"], frame)),
        ("Last batch came", instant(found["last_batch_at"], frame)),
        ("Last check-in", instant(found["checkin"] and found["checkin"]["received_at"], frame)),
        ("First heard", instant(found["first_batch_at"], frame, exact=True)),
        ("Batches", count(found["batches"])),
        ("Points", count(found["points"])),
        ("Holdfast", str(body.get("version", "not known"))[:40]),
    ]
    return document(
        found["host"],
        frame,
        element("p", badge(health.state), "" if health.reasons else " Nothing is wrong."),
        bullets(health.reasons) if health.reasons else html(),
        facts(pairs),
        element("p", link("Metrics of this host", "/chart", host=found["host"])),
        element("h2", "Gaps"),
        _gaps(found, frame),
        element("h2", "Check-ins"),
        *_checkins(said, frame),
        *_notices(notices, frame),
        here="/",
    )


def _gaps(found: Mapping[str, Any], frame: Frame) -> Html:
    all_gaps = gaps(found)
    if not all_gaps:
        return element("p", "None: every window between the first and the newest has arrived.")
    columns = ("Windows", "Missing#", "From", "To", "What the host says")
    rows = [_gap(each, frame) for each in all_gaps[:GAPS_SHOWN]]
    missing = counted(found["missing"], "window is missing", "windows are missing")
    return table(f"{missing}. Newest gaps first", columns, rows)


def _gap(gap: Gap, frame: Frame) -> tuple[str, ...]:
    numbers = str(gap.first) if gap.first == gap.last else f"{gap.first} to {gap.last}"
    said = "still to come" if gap.owed else "nothing is owed: see holdfast losses and holdfast audit there"
    known = gap.after is not None and gap.before is not None
    begin, end = (instant(at, frame, exact=True) if known else "not known" for at in (gap.after, gap.before))
    return numbers, count(gap.windows), begin, end, said


def _checkins(said: Sequence[tuple[float, Any]], frame: Frame) -> tuple[str, ...]:
    if not said:
        return (element("p", "None. A destination's ", element("code", "checkin_url"), " asks for them."),)
    told_at = [(at, body if isinstance(body, dict) else {}) for at, body in said]
    columns = ("From", "To", "State", "Reasons, as told last", "Unsent batches at most#", "Losses")
    rows = [_period(each, frame) for each in _periods(told_at)[:PERIODS_SHOWN]]
    caption = f"The last {count(len(said))}, newest first; those in a row that say the same state are together"
    return _backlog(told_at, frame), table(caption, columns, rows)


def _backlog(told_at: Sequence[CheckIn], frame: Frame) -> Html:
    dots = [(at, float(unsent)) for at, body in reversed(told_at) if (unsent := _unsent(body)) is not None]
    if len(dots) < 2:
        return html()
    first, last = dots[0][0], dots[-1][0]
    desc = f"At most {count(max(y for _, y in dots))}, last {count(dots[-1][1])}, over {span(last - first)}."
    title = "Unsent batches, as told in check-ins"
    chart = Chart(title, dots, (first, last), partial(moment, now=frame.now, zone=frame.zone), count, desc=desc)
    return figure(chart, frame, desc)


def _periods(told_at: Sequence[CheckIn]) -> list[list[CheckIn]]:
    """Check-ins in a row of one state, without a silence in between."""
    periods: list[list[CheckIn]] = []
    for each in told_at:
        before = periods[-1][-1] if periods else None
        if before and before[1].get("state") == each[1].get("state") and before[0] - each[0] <= SILENT_S:
            periods[-1].append(each)
        else:
            periods.append([each])
    return periods


def _period(period: Sequence[CheckIn], frame: Frame) -> tuple[str, ...]:
    (last_at, last), (first_at, _) = period[0], period[-1]
    word, reasons = last.get("state"), last.get("reasons")
    losses = [loss for _, body in period if isinstance(body.get("losses_since"), list) for loss in body["losses_since"]]
    unsent = [number for _, body in period if (number := _unsent(body)) is not None]
    return (
        instant(first_at, frame, exact=True),
        instant(last_at, frame, exact=True),
        badge(State(word)) if word in list(State) else "not said",
        bullets(str(each) for each in reasons) if isinstance(reasons, list) else "",
        count(max(unsent)) if unsent else "not said",
        bullets(_loss(each) for each in losses[:LOSSES_SHOWN]) if losses else "none",
    )


def _notices(found: Sequence[Notice], frame: Frame) -> tuple[str, ...]:
    if not found:
        return ()
    columns = ("Until", "What", "Status", "Words", "Tags")
    rows = [_notice(each, frame) for each in found]
    return element("h2", "Events and service checks"), table("Of the last day, newest first", columns, rows)


def _notice(notice: Notice, frame: Frame) -> tuple[str, ...]:
    end, name, _, tags, value, fields = notice
    said = json.loads(fields)
    words = str(said.get("text", "")) if isinstance(said, dict) else ""
    status = "event" if value is None else CHECKED.get(value, str(value))
    return instant(end, frame, exact=True), name, status, words, tags_text(tags)


def _unsent(body: Mapping[str, Any]) -> int | None:
    owed = body.get("owed")
    number = owed.get("batches") if isinstance(owed, dict) else None
    return number if isinstance(number, int) and 0 <= number < 2**53 else None


def _loss(loss: Any) -> str:
    """A row of the host's `losses`."""
    given = loss if isinstance(loss, dict) else {}
    batches, points, reason = (str(given.get(key, "?"))[:80] for key in ("batches", "points", "reason"))
    return f"{batches} batches, {points} points: {reason}"
