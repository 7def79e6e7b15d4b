"""What the admin port answers: the read-only commands of StatsD's management console.

    -> counters
    <- {
    <- "api.hits|#env:prod": 12.0,
    <- "jobs": 3.0
    <- }
    <- END
    <-

`stats counters gauges timers sets health config help quit`. Answers end with a line END and an empty one, but for
`help` and `health`, which StatsD answers in one line. `counters`, `gauges`, `timers` and `sets` show the last window
that ended, as one JSON object with a line per series; what is before END is JSON also for `config`.

Pure. Promises: nothing is changed; an answer is of one window and is made a series at a time, as it is sent; secrets
are not known here.

Does not promise the window that is being filled: that belongs to the receive loop.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from collector.aggregate import Closed, series_parts
from collector.config import CollectorConfig
from collector.selfmetrics import Circumstances

COMMANDS = ("stats", "counters", "gauges", "timers", "sets", "health", "config", "help", "quit")
END = "END\n\n"
CHANGING = ("delcounters", "delgauges", "deltimers")
HEALTHY_WINDOWS = 2
"""With more than that waiting for the spool, `health` is down: data is received, but not durable."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """The last window, and sums over all windows since the start."""

    last: Closed | None = None
    totals: Counter[str] = field(default_factory=Counter)
    heard_at: float | None = None


class Console:
    """Answers commands. `window_ended` belongs to the receive loop; `answer` may be called from any thread."""

    def __init__(self, config: CollectorConfig, started_at: float) -> None:
        self._config, self._started_at = config, started_at
        self._seen = _Seen()

    def window_ended(self, end: float, closed: Closed, around: Circumstances) -> None:
        """Take note of a window that ended at `end` (Unix seconds). It is kept until the next one does."""
        totals = self._seen.totals + Counter(
            {
                "windows": 1,
                "datagrams": closed.datagrams,
                "lines": closed.lines,
                "accepted": closed.accepted,
                "overflowed": closed.overflowed,
                "kernel_drops": around.kernel_drops,
                "refused_connections": around.refused_connections,
                "windows_shed": around.windows_shed,
                **{f"rejected.{reason}": lines for reason, lines in closed.rejected.items()},
            }
        )
        self._seen = _Seen(closed, totals, end if closed.lines else self._seen.heard_at)

    def answer(self, line: str, now: float, waiting: int) -> Iterable[str] | None:
        """What to send for one line, in pieces; None for `quit`.

        `now` is Unix seconds, `waiting` how many windows wait for the spool.
        """
        command, *arguments = line.split() or [""]
        last = self._seen.last
        if command == "quit":
            return None
        if command == "stats":
            answer: Iterable[str] = [*(f"{name}: {value}\n" for name, value in self._stats(now, waiting)), END]
        elif command in ("counters", "gauges", "timers", "sets"):
            answer = _object(_series(command, last, self._config.quantiles) if last else ())
        elif command == "config":
            answer = [json.dumps(_shown(self._config), indent=2), "\n", END]
        elif command == "help":
            answer = [f"Commands: {', '.join(COMMANDS)}\n\n"]
        elif command == "health" and not arguments:
            answer = [f"health: {'up' if waiting <= HEALTHY_WINDOWS else 'down'}\n"]
        elif command in CHANGING or command == "health":
            answer = ["ERROR: this console changes nothing\n"]
        else:
            answer = ["ERROR\n"]
        return answer

    def _stats(self, now: float, waiting: int) -> Iterator[tuple[str, int]]:
        seen = self._seen
        yield "uptime", round(now - self._started_at)
        yield "messages.last_msg_seen", round(now - (self._started_at if seen.heard_at is None else seen.heard_at))
        rejected = {name: lines for name, lines in seen.totals.items() if name.startswith("rejected.")}
        yield "messages.bad_lines_seen", sum(rejected.values())
        for name in ("datagrams", "lines", "accepted", *sorted(rejected), "kernel_drops", "overflowed"):
            yield f"holdfast.{name}", seen.totals[name]
        yield "holdfast.refused_connections", seen.totals["refused_connections"]
        yield "holdfast.series", seen.last.series if seen.last else 0
        for name in ("windows", "windows_shed"):
            yield f"holdfast.{name}", seen.totals[name]
        yield "holdfast.windows_waiting", waiting


def _series(command: str, closed: Closed, quantiles: Sequence[float]) -> Iterator[tuple[str, Any]]:
    """Each series of a kind as it is shown, with its value; a timer's is its statistics without the sketch."""
    if command == "timers":
        for series, distribution in closed.timers.items():
            statistics = distribution.summary(quantiles)
            del statistics["sketch"]
            yield _label(series), statistics
        return
    values: Mapping[str, Mapping[str, float]] = {"counters": closed.counters, "gauges": closed.gauges}
    if command == "sets":
        yield from ((_label(series), members.count()) for series, members in closed.sets.items())
    else:
        yield from ((_label(series), value) for series, value in values[command].items())


def _label(series: str) -> str:
    """api.hits|#env:prod: name and tags as DogStatsD writes them."""
    name, tags = series_parts(series)
    written = ",".join(f"{key}:{value}" if value else key for key, value in tags.items())
    return f"{name}|#{written}" if written else name


def _object(members: Iterable[tuple[str, Any]]) -> Iterator[str]:
    """One JSON object, a line per member."""
    between = "{\n"
    for name, value in members:
        yield f"{between}{json.dumps(name, ensure_ascii=False)}: {json.dumps(value)}"
        between = ",\n"
    yield ("{}\n" if between == "{\n" else "\n}\n") + END


def _shown(config: CollectorConfig) -> dict[str, Any]:
    """[collector] as it is in force; there is no secret among its keys."""
    values = {each.name: getattr(config, each.name) for each in fields(config)}
    listen, admin = [str(each) for each in config.listen], config.admin and str(config.admin)
    return values | {"listen": listen, "admin": admin}
