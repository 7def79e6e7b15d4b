"""`holdfast check`: is the spool in order - for people, for cron, and for Nagios."""

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

import click

from spool.aside import set_aside_spools, unsalvaged
from spool.audit import audited
from spool.commands.changing import Progress
from spool.commands.place import Place
from spool.connection import FILE
from spool.delivery import DeliveryReader, destinations_on_disk, file_name
from spool.errors import HoldfastError, PayloadError, SpoolDamaged, SpoolMissing, UnknownBatch
from spool.health import LATE_S, VERY_LATE_S, State, judge
from spool.human import count, counted, size
from spool.output import as_json, printable
from spool.reader import SpoolReader
from spool.shell import sentences
from spool.survey import survey

CHECK_S = 10.0
"""How long the files are looked at without --full."""

RECENT = 200
"""Payloads compared with their hashes without --full: the newest."""

_WORDS = ("ok", "attention", "bad")
_NAGIOS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, how bad it is (0 ok, 1 attention, 2 bad), and what was seen."""

    what: str
    grade: int
    seen: str


@click.command()
@click.option("--full", is_flag=True, help="Look at every page and compare every payload with its hash.")
@click.option("--nagios", is_flag=True, help="One line for Nagios, with numbers to draw; ends with 0, 1, 2 or 3.")
@click.option("--json", "as_object", is_flag=True, help="One JSON object: exit_code, findings with what, grade, seen.")
@click.pass_context
def check(context: click.Context, full: bool, nagios: bool, as_object: bool) -> None:
    """Check the spool: its files, payloads, rights, accounts, disk, and health.

    Changes nothing, and does not disturb a running collector. Exit code 0 if all is well, 1 if something needs
    attention, 2 if something is damaged, does not add up or is not there; with --nagios also 3: nothing is known yet,
    or it cannot look, as without a configuration or the right to read.
    """
    place = context.ensure_object(Place)
    try:
        found = _found(place, full)
    except HoldfastError as error:
        if nagios:
            # A spool that a configuration names and that is not there is what a collector that never ran looks like,
            # or one whose disk is gone: somebody must come. Where nothing names one, this looked in the wrong place.
            gone = isinstance(error, SpoolMissing) and (place.config.file or place.limits.dir)
            _tell_nagios(context, 2 if gone else 3, sentences(error))
        raise
    worst = max(each.grade for each in found)
    if nagios:
        unknown = worst == 1 and {each.seen for each in found if each.grade} == {str(State.UNKNOWN)}
        seen = [f"{each.what}: {each.seen}" for each in reversed(found) if each.grade == worst and worst]
        _tell_nagios(context, 3 if unknown else worst, "; ".join(seen) or "all is well", _numbers(place))
    if as_object:
        click.echo(as_json({"exit_code": worst, "findings": [asdict(each) for each in found]}, indent=2))
    else:
        width = max(len(each.what) for each in found)
        for each in found:
            click.echo(f"{_WORDS[each.grade]:<9}  {each.what:<{width}}  {printable(each.seen)}")
    context.exit(worst)


def _tell_nagios(context: click.Context, code: int, seen: str, numbers: str = "") -> NoReturn:
    """The one line: words, a bar, numbers. A bar or a line break among the words would end them."""
    line = "; ".join(seen.splitlines()).replace("|", "/")
    click.echo(f"HOLDFAST {_NAGIOS[code]} - {printable(line)}" + (f" | {numbers}" if numbers else ""))
    context.exit(code)


def _numbers(place: Place) -> str:
    """What a monitor draws: 'label'=value[unit][;warning;critical], see the Monitoring Plugins' guidelines."""
    try:
        facts = survey(place.directory, place.config.destinations(), place.limits, place.interval_s, place.clock())
    except HoldfastError:
        return ""
    told = [
        f"lines_1h={facts.intake.lines}",
        f"rejected_1h={facts.intake.rejected}",
        f"drops_1h={facts.intake.dropped}",
    ]
    for each in facts.destinations:
        waits_s = facts.at - each.waiting_since if each.waiting_since is not None else 0.0
        told.append(f"{each.name}_unsent={each.unsent_batches}")
        told.append(f"{each.name}_oldest={max(0.0, waits_s):.0f}s;{LATE_S:.0f};{VERY_LATE_S:.0f}")
    told += [f"lost_7d={facts.losses.week_points}", f"spool={facts.disk.used_bytes}B", f"free={facts.disk.free_bytes}B"]
    return " ".join(told)


def _found(place: Place, full: bool) -> list[Finding]:
    """Everything. Raises if there is no spool to look at, or none that this user may look at."""
    try:
        SpoolReader(place.directory).close()
    except SpoolDamaged:
        pass  # that is for the findings to say
    found = [*_files(place, full), *_payloads(place, full), *_rights(place), *_accounts(place), *_health(place)]
    first: dict[str, Finding] = {}  # a damaged file is in the way of most of them, and once is enough
    return [each for each in found if each.grade < 2 or first.setdefault(each.seen, each) is each]


def _files(place: Place, full: bool) -> Iterator[Finding]:
    """Schema and structure of each file."""
    within_s = float("inf") if full else CHECK_S
    yield _structure(FILE, partial(SpoolReader, place.directory), within_s)
    for name in destinations_on_disk(place.directory):
        yield _structure(file_name(name), partial(DeliveryReader, place.directory, name), within_s)
    aside = set_aside_spools(place.directory)
    if aside:
        waiting = unsalvaged(place.directory)
        seen = counted(len(aside), "damaged file", "damaged files") + " set aside"
        more = f", {len(waiting)} not salvaged to the end: `holdfast salvage {waiting[0]}`" if waiting else ""
        saved = "; what could be read was saved, what was unsent of the rest is lost, what was sent cannot be replayed"
        yield Finding("set aside", 1, seen + (more or saved))


def _structure(what: str, opened: Callable[[], SpoolReader | DeliveryReader], within_s: float) -> Finding:
    try:
        with opened() as reader:
            to_the_end = reader.look_for_damage(within_s)
        return Finding(what, 0, "sound" if to_the_end else f"nothing wrong seen in {CHECK_S:g} s; --full sees the rest")
    except HoldfastError as error:
        return Finding(what, 2, str(error))


def _payloads(place: Place, full: bool) -> Iterator[Finding]:
    rotten: list[int] = []
    seen = 0
    try:
        with SpoolReader(place.directory) as spool, Progress(place, spool.extent()["batches"] if full else 0) as tell:
            before: int | None = None
            while headers := spool.headers_before(before, RECENT):
                for each in headers:
                    try:
                        spool.batch(each.id).verified()
                    except PayloadError:
                        rotten.append(each.id)
                    except UnknownBatch:  # evicted meanwhile
                        continue
                seen += len(headers)
                tell(seen)
                before = headers[-1].id
                if not full:
                    break
    except HoldfastError as error:
        yield Finding("payloads", 2, str(error))
        return
    which = "" if full else "newest "
    if rotten:
        numbers = ", ".join(map(str, rotten[:10])) + (" ..." if len(rotten) > 10 else "")
        yield Finding("payloads", 2, f"{len(rotten)} of the {which}{count(seen)} lost their hash: batches {numbers}")
    else:
        yield Finding("payloads", 0, f"the {which}{count(seen)} have their hashes")


def _rights(place: Place) -> Iterator[Finding]:
    folder = place.directory.stat() if place.directory.exists() else None
    if folder is None:
        return
    wrong = []
    if stat.S_IMODE(folder.st_mode) & 0o077:
        wrong.append(f"{place.directory} is open to others: chmod 700")
    for path in _databases(place.directory):
        facts = path.stat()
        if stat.S_IMODE(facts.st_mode) & 0o077:
            wrong.append(f"{path.name} is open to others: chmod 600")
        if facts.st_uid != folder.st_uid:
            wrong.append(f"{path.name} belongs to user {facts.st_uid}, the folder to {folder.st_uid}: chown")
    if not os.access(place.directory, os.R_OK | os.X_OK):
        wrong.append(f"user {os.geteuid()} cannot read it")
    yield Finding("rights", 1 if wrong else 0, "; ".join(wrong) or "for its owner only")


def _databases(directory: Path) -> Iterator[Path]:
    return (each for each in (directory / FILE, *sorted(directory.glob("delivery-*.db"))) if each.exists())


def _accounts(place: Place) -> Iterator[Finding]:
    try:
        result = audited(place.directory, place.config.destinations(), place.wait)
    except HoldfastError as error:
        yield Finding("accounts", 2, str(error))
        return
    said = "; ".join((result.problems or result.attention)[:5])
    yield Finding("accounts", result.exit_code, said or f"{count(result.points)} points add up")


def _health(place: Place) -> Iterator[Finding]:
    try:
        facts = survey(place.directory, place.config.destinations(), place.limits, place.interval_s, place.clock())
    except HoldfastError as error:
        yield Finding("health", 2, str(error))
        return
    disk = facts.disk
    short = disk.free_bytes < disk.reserve_bytes
    yield Finding("disk", int(short), f"{size(disk.free_bytes)} free, reserve {size(disk.reserve_bytes)}")
    health = judge(facts)
    grade = {State.OK: 0, State.UNKNOWN: 1, State.DEGRADED: 1, State.FAIL: 2}[health.state]
    yield Finding("health", grade, "; ".join(health.reasons) or str(health.state))
