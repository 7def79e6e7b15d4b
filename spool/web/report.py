"""What the page shows, read from a spool: what `holdfast status|plot|losses|hangs|points` tell, by the same functions.

Promises: everything is opened for this one report and closed again, so a spool that was replaced meanwhile is seen; a
destination whose file cannot be read is a sentence on the page. Points are read newest first and for at most READ_S,
each batch by a statement of its own. Not promised: one instant; each file is read when its turn comes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from spool import pictures, ticks
from spool.commands.hangs import hang_columns, kept
from spool.commands.losses import loss_columns
from spool.commands.points import PLOTTED
from spool.commands.status import BEST_EFFORT, screen
from spool.config import Config, SpoolConfig, load, spool_dir
from spool.delivery import DeliveryReader, destinations_on_disk
from spool.errors import ConfigError, HoldfastError, SpoolMissing
from spool.health import Destination, judge
from spool.human import amount, clock, count, counted, moment, span
from spool.markup import Html, element
from spool.output import Column, Row, printable
from spool.plot import Chart, Line
from spool.pointrows import point_rows
from spool.reader import SpoolReader
from spool.series import Agg, series_of
from spool.survey import survey
from spool.web.asked import Asked
from spool.web.page import Page, Section, Table

READ_S = 3.0
"""So long a page looks for points; what it has not come to by then is named."""

MOST_POINTS = 300_000
"""So many points are held in memory, some 100 MB; the rest is named likewise."""

MOST_VALUES = 400
"""More windows than this are drawn by the largest value of each span of time."""

MOST_ROWS, MOST_LINES, MOST_NAMES, NEWEST_BATCHES = 50, 8, 200, 12


@dataclass(frozen=True, slots=True)
class Settings:
    """What the configuration says about this spool. `problem`: why there is none."""

    source: str
    destinations: Sequence[str]
    limits: SpoolConfig
    interval_s: int
    unproved: Sequence[str] = ()
    problem: str | None = None


def settings(directory: Path, file: Path | None) -> Settings:
    """The configuration in `file` (None: in the usual places) if it is that of the spool in `directory`.

    Another spool's, as when a copy is looked at, says nothing about this one: then the defaults hold, and the
    destinations are those that have a file here.
    """
    try:
        config = load(file)
        theirs = spool_dir(config)
        if theirs.exists() and theirs.samefile(directory):
            return _configured(config)
        why = f"{config.source} is about the spool in {theirs}, not about this one"
    except (ConfigError, OSError) as error:
        why = str(error)
    rest = "So limits are the defaults here, and destinations are those that have a file."
    return Settings("none", destinations_on_disk(directory), SpoolConfig(), 10, problem=f"{why}. {rest}")


def _configured(config: Config) -> Settings:
    names = config.destinations()
    return Settings(
        source=config.source,
        destinations=names,
        limits=config.section(SpoolConfig, "spool"),
        interval_s=config.window_s(),
        unproved=[each for each in names if config.raw(f"destination.{each}", "protocol", "") in BEST_EFFORT],
    )


@dataclass(frozen=True, slots=True)
class Report:
    """Makes the page about the spool in `directory`.

    `files` are links to its databases, `others` to other spools' pages; `hang` gives the address of a
    dump by its name. `clock` is Unix seconds, `monotonic` measures how long something takes.
    """

    directory: Path
    settings: Settings
    files: Sequence[Html]
    others: Sequence[Html]
    hang: Callable[[str], str]
    clock: Callable[[], float]
    monotonic: Callable[[], float]

    def page(self, wanted: Asked) -> Page:
        """Everything on it, as of now. Raises what SpoolReader raises while spool.db cannot be read."""
        now, known = self.clock(), self.settings
        facts = survey(self.directory, known.destinations, known.limits, known.interval_s, now)
        health = judge(facts)
        lines = screen(facts, health, known.unproved)
        with SpoolReader(self.directory) as spool:
            names, newest = _newest_metrics(spool, wanted)
            return Page(
                host=spool.host,
                place=f"{facts.directory}, spool {facts.spool_id}, configuration: {known.source}",
                at=f"{datetime.fromtimestamp(now):%Y-%m-%d %H:%M:%S}",
                state=str(health.state),
                reasons=[printable(each) for each in health.reasons],
                notes=[known.problem] if known.problem else [],
                problems=wanted.problems,
                screen=list(_screen(lines)),
                sections=[
                    *(self._destination(each, spool, wanted.bounds, now) for each in facts.destinations),
                    _collection(spool, wanted.bounds, now),
                    _losses(spool, wanted.bounds, now),
                    self._hangs(now),
                ],
                metric=self._metric(spool, wanted, now) if wanted.name else newest,
                names=names,
                files=self.files,
                others=self.others,
                asked=wanted,
            )

    def _destination(self, each: Destination, spool: SpoolReader, bounds: pictures.Bounds, now: float) -> Section:
        part = Section(f"to-{each.name}", f"Destination {each.name}")
        if each.parked_since is not None:
            why = printable(each.parked_reason or "no reason kept")
            part = replace(part, problems=[f"Parked for {span(now - each.parked_since)}: {why}"])
        if each.problem:
            return replace(part, problems=[printable(each.problem)], notes=["All that is held counts as unsent."])
        try:
            with DeliveryReader(self.directory, each.name) as delivery:
                return replace(
                    part,
                    charts=[
                        pictures.backlog(each.name, delivery, bounds, now),
                        pictures.latency(each.name, delivery, bounds, now),
                        pictures.deliveries(each.name, spool, delivery, bounds, now),
                    ],
                )
        except SpoolMissing:
            return replace(part, notes=["Its shipper has not run yet: all that is held is unsent."])
        except HoldfastError as error:
            return replace(part, problems=[*part.problems, printable(str(error))])

    def _hangs(self, now: float) -> Section:
        found = kept(self.directory)
        notes = [f"The newest {MOST_ROWS} of {count(len(found))}."] if len(found) > MOST_ROWS else []
        table = _table(found[:MOST_ROWS], hang_columns(now))
        linked = [
            [*cells[:-1], element("a", row["name"], href=self.hang(row["name"]))]
            for row, cells in zip(found, table.rows, strict=False)
        ]
        return Section(
            "hangs", "Hangs", notes=notes, table=replace(table, rows=linked), without="No hang has been recorded."
        )

    def _metric(self, spool: SpoolReader, wanted: Asked, now: float) -> Section:
        low, high = wanted.bounds
        agg = wanted.aggregation or self._coarse(high - low)
        rows, reached = self._rows(spool, wanted)
        series = series_of(rows, agg)
        peaks = sorted(series, key=lambda each: -max(abs(value) for _, value in each.values))
        shown = [each for each in series if each in peaks[:MOST_LINES]]
        notes = []
        if reached is not None:
            notes.append(f"Only from {clock(reached, now)} on: more is too much for one page. Ask for less time.")
        if len(shown) < len(series):
            notes.append(f"The {len(shown)} largest of {count(len(series))} series. Choose by name, tags or statistic.")
        values = [value for each in shown for _, value in each.values]
        chart = Chart(
            f"{wanted.name}{f', {agg.way} of {span(agg.span_s)}' if agg else ''}",
            [],
            (low, agg.span_end(high) if agg else high),
            partial(moment, now=now),
            amount,
            y_low=min([0.0, *values]),
            lines=[Line(each.title, each.values) for each in shown],
            desc=f"{counted(len(shown), 'series', 'series')} over time.",
        )
        return Section("metric", "Metric", notes=notes, charts=[chart])

    def _coarse(self, length_s: float) -> Agg | None:
        if length_s <= MOST_VALUES * self.settings.interval_s:
            return None
        return Agg(ticks.round_s(length_s / MOST_VALUES), "max")

    def _rows(self, spool: SpoolReader, wanted: Asked) -> tuple[list[Row], float | None]:
        """The rows wanted, and where reading was given up, if it was: the end of the last window that was read."""
        give_up_at = self.monotonic() + READ_S
        stats = wanted.stats or PLOTTED
        rows: list[Row] = []
        for batch in spool.batches_newest(*wanted.bounds):
            rows += [row for row in point_rows(batch, wanted.wanted) if row["stat"] in stats]
            if self.monotonic() > give_up_at or len(rows) > MOST_POINTS:
                return rows, batch.window_end
        return rows, None


def _screen(lines: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """The lines of `holdfast status` without the state; what is set in beneath a line is named after it."""
    above = ""
    for label, text in lines:
        if label.startswith(" "):
            yield f"{above}: {label.strip()}", _facts(text)
        elif label not in ("state", ""):
            above = label
            yield label, _facts(text)


def _facts(text: str) -> str:
    """In a terminal facts are two or three spaces apart, which a browser would not show."""
    return printable(text).replace("   ", " \N{MIDDLE DOT} ").replace("  ", ", ")


def _collection(spool: SpoolReader, bounds: pictures.Bounds, now: float) -> Section:
    return Section("collection", "Collection", charts=[pictures.rate(spool, bounds, now)])


def _losses(spool: SpoolReader, bounds: pictures.Bounds, now: float) -> Section:
    found = [row for row in spool.losses(bounds[0], 100_000) if row["at"] <= bounds[1]]
    notes = [f"The newest {MOST_ROWS} of {count(len(found))}."] if len(found) > MOST_ROWS else []
    table = _table(found[:MOST_ROWS], loss_columns(now))
    return Section("losses", "Losses", notes=notes, table=table, without="No losses are recorded for that time.")


def _newest_metrics(spool: SpoolReader, wanted: Asked) -> tuple[list[str], Section]:
    """The names in the newest batches, and all of them as a part of the page."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for batch in islice(spool.batches_newest(*wanted.bounds), NEWEST_BATCHES):
        for row in point_rows(batch):
            seen = found.setdefault((row["name"], row["type"]), {"tags": set(), "stats": {}})
            seen["tags"].add(tuple(sorted(row["tags"].items())))
            seen["stats"][row["stat"]] = None
    listed = sorted(found)[:MOST_NAMES]
    rows = [
        [
            element("a", name, href=f"{wanted.address(name=name, stat='', tags='', agg='')}#metric"),
            kind,
            count(len(found[name, kind]["tags"])),
            ", ".join(found[name, kind]["stats"]),
        ]
        for name, kind in listed
    ]
    notes = ["Choose one to see it drawn."]
    if len(listed) < len(found):
        notes.append(f"The first {len(listed)} of {count(len(found))} names.")
    table = Table("What the newest batches hold", ("Name", "Type", "Series#", "Statistics"), rows)
    without = "No batch of that time is held."
    return [name for name, _ in listed], Section(
        "metric", "Metrics", notes if rows else (), table=table, without=without
    )


def _table(rows: Sequence[Row], columns: Sequence[Column]) -> Table:
    """Rows in the columns of the command that lists them."""
    return Table(
        "Newest first",
        [each.title.capitalize() + "#" * each.right for each in columns],
        [[printable(each.cell(row)) for each in columns] for row in rows],
    )
