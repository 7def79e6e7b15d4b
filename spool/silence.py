"""How long each running program has not beaten: decides whom the watchdog ends.

    silence = Silence(stale_after_s=60)
    silence.look({"collector": 4711}, heartbeats(directory), clock())      # every 5 s -> those that are stuck

Silence is not the age of a heartbeat by the wall clock: it is the time during which somebody watched and the heartbeat
did not change. So a clock that jumps, a host that slept, or a watchdog that was itself frozen condemns nobody: what
passed between two looks counts for at most LOOK_MOST_S, and everybody gets many looks' time to beat again.

Promised: nobody is condemned who beat within `stale_after_s`, whose phase may still last (`at_most_s` in the
heartbeat), or who has not beaten yet since its start, because the pid in the heartbeat is then another one's. That last
rule has a price: a program that hangs before its first beat is left alone. Health turns red for it. Pure: no clock, no
file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LOOK_MOST_S = 10.0
"""Two ticks of supervisord's TICK_5: a longer pause between two looks was nobody's silence."""

PHASE_GRACE_S = 10.0
"""Beyond the end of a phase that the heartbeat announced. The shipper's own last resort (shipper/evidence.py) acts
first, within 4 s."""


@dataclass(frozen=True, slots=True)
class Stuck:
    """A running program that has stopped beating: its process, for how long, and its last heartbeat."""

    name: str
    pid: int
    silent_s: float
    heartbeat: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Seen:
    """Which heartbeat was seen, and for how long nothing else."""

    mark: tuple[Any, ...]
    silent_s: float


class Silence:
    """What was seen of each program, from look to look."""

    def __init__(self, stale_after_s: float) -> None:
        self._stale_after_s = stale_after_s
        self._seen: dict[str, _Seen] = {}
        self._looked_at: float | None = None

    def look(self, running: Mapping[str, int], beats: Mapping[str, Mapping[str, Any]], clock: float) -> list[Stuck]:
        """Who is stuck at monotonic second `clock`.

        `running` are process ids by the program's name, `beats` is what `heartbeats` returns. Names that are not in
        both are not judged.
        """
        passed_s = 0.0 if self._looked_at is None else min(clock - self._looked_at, LOOK_MOST_S)
        self._looked_at = clock
        before, self._seen, stuck = self._seen, {}, []
        for name, pid in running.items():
            beat = beats.get(name)
            if beat is None or beat.get("pid") != pid:
                continue
            mark = (pid, beat.get("at"), beat.get("touched_at"))
            last = before.get(name)
            silent_s = last.silent_s + passed_s if last is not None and last.mark == mark else 0.0
            self._seen[name] = _Seen(mark, silent_s)
            if silent_s > self._limit_s(beat):
                stuck.append(Stuck(name, pid, silent_s, beat))
        return stuck

    def _limit_s(self, beat: Mapping[str, Any]) -> float:
        at_most_s = beat.get("at_most_s")
        if not isinstance(at_most_s, int | float):
            return self._stale_after_s
        return max(self._stale_after_s, at_most_s + PHASE_GRACE_S)
