"""`holdfast status`: one screen that says whether data arrive, and if not, why."""

from collections.abc import Collection, Iterator

import click

from spool.commands.place import Place
from spool.commands.watching import watchable
from spool.health import ENDED, Destination, Disk, Facts, Health, State, as_json, judge
from spool.human import ago, clock, count, counted, size, span, sparkline
from spool.output import as_json as json_text
from spool.output import printable
from spool.survey import survey

EXIT_CODES = {State.OK: 0, State.UNKNOWN: 1, State.DEGRADED: 1, State.FAIL: 2}
BEST_EFFORT = {"graphite"}
"""Protocols that have no answers, so that an acknowledgement says only that the peer has read the batch."""
FAR_S = 90 * 86_400.0
"""Beyond this the time until the spool is full is not told apart."""

FRESH_S = 15.0
"""A batch that has waited less than this (or two intervals) is on its way: no backlog that grows or goes."""

_COLOURS = {State.OK: "green", State.UNKNOWN: "yellow", State.DEGRADED: "yellow", State.FAIL: "red"}


@click.command()
@click.option("--json", "as_object", is_flag=True, help="One JSON object with stable keys; instants are Unix seconds.")
@click.option("--exit-code", is_flag=True, help="End with 0 when OK, 1 when UNKNOWN or DEGRADED, 2 when FAIL.")
@click.pass_context
@watchable
def status(context: click.Context, as_object: bool, exit_code: bool) -> None:
    """Show on one screen how collection and delivery stand.

    Lines: collector, what it rejected in the last hour, one per destination, its error, its check-ins if they fail,
    its backlog, losses, disk, and the state with reasons: OK, UNKNOWN (just started), DEGRADED or FAIL.

    Keys of --json, which are also what a check-in tells the server; instants are Unix seconds, null is "never" or
    "not known":

    \b
    v, state, reasons, at, directory, spool_id
    intake        interval_s, started_at, last_commit_at, series, lines_per_s,
                  batches_per_s, windows_waiting; within the last hour: windows,
                  lines, accepted, rejected, rejected_by, dropped, overflowed;
                  within five minutes: recent_dropped
    beats         by process: at, phase, pid, at_most_s, started_at
    destinations  name, configured, problem, unsent_batches, unsent_points,
                  unsent_bytes, oldest_unsent_end, first_unsent_window,
                  last_unsent_window, waiting_since, drained_per_s, acknowledged,
                  dead, expired, held, recent_dead, recent_expired, failures,
                  next_try_at, parked_since, parked_reason, last_attempt_at,
                  last_ack_at, last_error, clock_offset_s, backlog_minutes,
                  checkin_failing_since, checkin_error
    losses        recent_batches, recent_points, recent_rows (five minutes),
                  week_batches, week_points, week_rows (seven days), last_at
    disk          free_bytes, reserve_bytes, used_bytes, limit_bytes, full_in_s
    """
    place = context.ensure_object(Place)
    facts = survey(place.directory, place.config.destinations(), place.limits, place.interval_s, place.clock())
    health = judge(facts)
    if as_object:
        click.echo(json_text(as_json(facts, health), indent=2))
    else:
        click.echo(f"{'config':<10} {place.config.source}")
        names = place.config.destinations()
        unproved = [each for each in names if place.config.raw(f"destination.{each}", "protocol", "") in BEST_EFFORT]
        for label, text in screen(facts, health, unproved):
            click.echo(f"{label:<10} {printable(text)}" if label != "state" else _state_line(health, text))
    if exit_code:
        context.exit(EXIT_CODES[health.state])


def screen(facts: Facts, health: Health, unproved: Collection[str] = ()) -> Iterator[tuple[str, str]]:
    """The lines of the screen as (label, text). `unproved`: destinations whose acknowledgement proves little."""
    yield "spool", f"{facts.directory}   id {facts.spool_id}"
    yield "collector", _collector(facts)
    yield "rejected", _rejected(facts)
    for each in facts.destinations:
        yield each.name, _destination(each, facts) + ("   best effort" if each.name in unproved else "")
        error = each.problem or (each.last_error if each.failures or each.parked_since is not None else None)
        if error and error != each.parked_reason:
            yield "  error", error
        if each.checkin_failing_since is not None:
            yield "  check-in", f"failing since {clock(each.checkin_failing_since, facts.at)}: {each.checkin_error}"
        yield "  backlog", _backlog(each, facts)
    if not facts.destinations:
        yield "shipper", "none is configured"
    yield "losses", _lost(facts)
    disk = facts.disk
    space = f"{size(disk.free_bytes)} free (reserve {size(disk.reserve_bytes)})"
    yield "disk", f"{space}   spool {size(disk.used_bytes)} of {size(disk.limit_bytes)}{_full(disk)}"
    yield "state", health.reasons[0] if health.reasons else ""
    for reason in health.reasons[1:]:
        yield "", reason


def _state_line(health: Health, reason: str) -> str:
    word = click.style(str(health.state), fg=_COLOURS[health.state], bold=True)
    return f"{'state':<10} {word}" + (f": {printable(reason)}" if reason else "")


def _process(facts: Facts, who: str) -> str:
    beat = facts.beats.get(who)
    if beat is None:
        return "no heartbeat"
    if beat.phase == ENDED:
        return f"ended {ago(beat.at, facts.at)}"
    said = f"{beat.phase}, beat {ago(beat.at, facts.at)}"
    return said if beat.started_at is None else f"{said}   since {span(facts.at - beat.started_at)}"


def _collector(facts: Facts) -> str:
    intake = facts.intake
    parts = [_process(facts, "collector")]
    parts.append(f"last commit {ago(intake.last_commit_at, facts.at)}")
    rate = f"{intake.lines_per_s:.2g}" if 0 < intake.lines_per_s < 0.1 else f"{intake.lines_per_s:,.1f}"
    parts += [f"{count(intake.series)} series", f"{rate} lines/s"]
    if intake.windows_waiting:
        parts.append(f"{counted(intake.windows_waiting, 'window', 'windows')} in memory, not committed yet")
    return "   ".join(parts)


def _rejected(facts: Facts) -> str:
    intake = facts.intake
    reasons = ", ".join(f"{reason} {count(number)}" for reason, number in intake.rejected_by.items())
    parts = [f"{count(intake.rejected)} of {count(intake.lines)} lines in 1h" + (f": {reasons}" if reasons else "")]
    parts.append(f"kernel drops {count(intake.dropped)}")
    if intake.overflowed:
        parts.append(f"beyond max_series {count(intake.overflowed)} (who: holdfast points holdfast.overflowed_by)")
    return "   ".join(parts)


def _lost(facts: Facts) -> str:
    losses = facts.losses
    if not losses.week_rows:
        return "none in 7d"
    lost = (
        f"{counted(losses.week_points, 'point', 'points')} ({counted(losses.week_batches, 'batch', 'batches')}) in 7d"
    )
    return f"{lost}, last {ago(losses.last_at, facts.at)}"


def _full(disk: Disk) -> str:
    if disk.full_in_s is None:
        return ""
    when = f"> {span(FAR_S)}" if disk.full_in_s > FAR_S else span(disk.full_in_s)
    return f", full in {when} if nothing is delivered"


def _destination(each: Destination, facts: Facts) -> str:
    parts = [_process(facts, f"shipper-{each.name}")] if each.configured else ["not configured any more"]
    parts.append(f"last ack {ago(each.last_ack_at, facts.at)}")
    if each.parked_since is not None:
        parts.append(f"parked since {clock(each.parked_since, facts.at)}: {each.parked_reason or ''}")
    elif each.failures:
        parts.append(f"failing, {each.failures} in a row")
        if each.next_try_at is not None:
            parts.append(f"next try in {span(max(0.0, each.next_try_at - facts.at))}")
    return "   ".join(parts)


def _backlog(each: Destination, facts: Facts) -> str:
    others = "   ".join(
        f"{name} {count(n)}" for name, n in (("dead", each.dead), ("expired", each.expired), ("held", each.held)) if n
    )
    if not each.unsent_batches:
        return "empty" + (f"   {others}" if others else "")
    parts = [
        f"{counted(each.unsent_batches, 'batch', 'batches')}  {counted(each.unsent_points, 'point', 'points')}"
        f"  {size(each.unsent_bytes)}"
    ]
    if each.oldest_unsent_end is not None:
        parts.append(f"oldest {span(facts.at - each.oldest_unsent_end)}")
    picture = sparkline(each.backlog_minutes)
    if picture:
        parts.append(picture)
    if each.waiting_since is not None and facts.at - each.waiting_since > max(FRESH_S, 2 * facts.intake.interval_s):
        parts.append(_draining(each, facts.intake.batches_per_s))
    if others:
        parts.append(others)
    return "   ".join(parts)


def _draining(each: Destination, intake_per_s: float) -> str:
    text = f"draining {each.drained_per_s:.1f}/s, intake {intake_per_s:.1f}/s"
    gain = each.drained_per_s - intake_per_s
    return text + (f", empty in {span(each.unsent_batches / gain)}" if gain > 0 else ", never empty at this rate")
