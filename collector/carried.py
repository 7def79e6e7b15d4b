"""What a collector that reloads itself carries over: what lives on over windows, and what has begun to come.

    the one before: window committed, spool closed -> exec
    the one after:  window begins where that one ended, with these gauges and these connections

Pure. The sockets themselves are handed on by their descriptors (inherit.py); so are connections, each with the start of
a line that it has sent. What a successor does not know is ignored, what it misses is as at any start, so that
the two may be of different versions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, get_args

from collector.statsd import Dialect, Signs
from collector.tags import Style


@dataclass(frozen=True, slots=True)
class Held:
    """Gauges as of the last window's end. `sampled_at`, for those that expire: the end of the last with a sample.

    Where that is not known, as they did not expire before, a successor takes them for sampled in the last window.
    """

    gauges: Mapping[str, float] = field(default_factory=dict)
    sampled_at: Mapping[str, float] = field(default_factory=dict)


NOTHING_HELD = Held()


@dataclass(frozen=True, slots=True)
class Stream:
    """An accepted connection: the line that has begun to come there (`skipping`: and is too long)."""

    descriptor: int
    dialect: Dialect
    rest: bytes
    skipping: bool


@dataclass(frozen=True, slots=True)
class Carried:
    """Everything. `ended`: where the last window ended, wall clock (Unix seconds) and monotonic.

    `drops`: by descriptor, what the kernel had dropped there when it was last asked. `stand_in`: who receives
    meanwhile (workers/standin.py), its connection's descriptor and its process.
    """

    ended: tuple[float, float]
    held: Held = field(default_factory=Held)
    streams: Sequence[Stream] = ()
    drops: Mapping[int, int] = field(default_factory=dict)
    stand_in: tuple[int, int] | None = None

    def as_json(self) -> dict[str, Any]:
        """As an object of what JSON has."""
        return {
            "ended": self.ended,
            "held": asdict(self.held),
            "streams": [
                [each.descriptor, each.dialect, each.rest.decode("latin-1"), each.skipping] for each in self.streams
            ],
            "stand_in": self.stand_in,
            "drops": {str(descriptor): count for descriptor, count in self.drops.items()},
        }

    @classmethod
    def from_json(cls, stored: Any) -> "Carried":
        """What `as_json` made. Raises ValueError, KeyError or TypeError for anything else."""
        wall, mono = stored["ended"]
        held = stored.get("held", {})
        gauges = dict(held.get("gauges", {}))
        return cls(
            ended=(float(wall), float(mono)),
            held=Held(gauges, dict.fromkeys(gauges, float(wall)) | held.get("sampled_at", {})),
            streams=[
                Stream(int(descriptor), _dialect(*dialect), rest.encode("latin-1"), bool(skipping))
                for descriptor, dialect, rest, skipping in stored.get("streams", [])
            ],
            stand_in=_pair(stored.get("stand_in")),
            drops={int(descriptor): int(count) for descriptor, count in stored.get("drops", {}).items()},
        )


def _pair(stored: Any) -> tuple[int, int] | None:
    if stored is None:
        return None
    descriptor, pid = stored
    return int(descriptor), int(pid)


def _dialect(gauges: str, tags: str) -> Dialect:
    signs: dict[str, Signs] = {each: each for each in get_args(Signs)}
    styles: dict[str, Style] = {each: each for each in get_args(Style)}
    return Dialect(signs[gauges], styles[tags])
