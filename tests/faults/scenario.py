"""What a scenario is: what the server does, how the client asks, and what must become of each attempt."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.faults.line import Line

BOTH = ("http", "https")
BIG = 8 * 2**20
"""More than the kernels of both sides hold between them, so that sending it blocks."""


@dataclass(frozen=True)
class Scenario:
    """`expect`: for each attempt the status, or None for no response.

    `late`: whether the last attempt must have failed because of its deadline, in `phase` if one is given; None:
    that depends on the version of Python. `target`: the scenario that a proxy leads to. Pauses are in units.
    """

    name: str
    act: Callable[[Line], None]
    expect: tuple[int | None, ...]
    schemes: tuple[str, ...] = BOTH
    late: bool | None = False
    phase: str | None = None
    raw: bool = False
    freezes: bool = False
    full: bool = False
    small_buffer: bool = False
    body_bytes: int = 100
    pause_units: float = 0
    error: str = ""
    proxy: bool = False
    target: str = "c_ok"
    names: tuple[Any, ...] = ()


SCENARIOS: list[Scenario] = []


def scenario(*expect: int | None, **options: Any) -> Callable[[Callable[[Line], None]], Callable[[Line], None]]:
    """Register a function under its own name. `expect` as in Scenario."""

    def register(act: Callable[[Line], None]) -> Callable[[Line], None]:
        SCENARIOS.append(Scenario(name=act.__name__, act=act, expect=expect, **options))
        return act

    return register
