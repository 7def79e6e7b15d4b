"""Open descriptors handed to another program: the one that this process becomes, or one that it starts.

    HOLDFAST_INHERITED={"udp://127.0.0.1:8125": [5, 6], "unix:///run/s": [7], "state": [9]}
                         --------------------    -  -                          -----
                         a listener's URL        its bound sockets             something else, under a name of its own

A listener is named as it is configured (`str(Listen)`; port 0 stays 0), so that whoever takes over finds what it
would have bound. The descriptors keep their numbers.

Promises: what is taken over is open, named once, and closed by the next exec unless it is handed on again; a variable
that does not come from `hand_on` costs nothing but what it names.

Does not promise that a socket taken over is bound where its name says.
"""

import json
import os
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

VARIABLE = "HOLDFAST_INHERITED"

Handed = Mapping[str, Sequence[int]]
"""Descriptors by name."""


def hand_on(handed: Handed) -> dict[str, str]:
    """Let descriptors survive an exec of this process. Returns what to add to the environment of the other program.

    For one that is started: `Popen(..., pass_fds=descriptors(handed), env=os.environ | hand_on(handed))`.
    """
    for descriptor in descriptors(handed):
        os.set_inheritable(descriptor, True)
    return {VARIABLE: json.dumps({name: list(each) for name, each in handed.items()})}


def descriptors(handed: Handed) -> list[int]:
    """All of them."""
    return [descriptor for each in handed.values() for descriptor in each]


def take_over(environment: MutableMapping[str, str]) -> dict[str, list[int]]:
    """What was handed to this process; takes it out of the environment, so that a second call has nothing."""
    try:
        named = json.loads(environment.pop(VARIABLE, "{}"))
        handed = {str(name): [int(descriptor) for descriptor in each] for name, each in named.items()}
    except (ValueError, TypeError, AttributeError):  # somebody else's variable
        return {}
    return {name: open_ones for name, each in handed.items() if (open_ones := [fd for fd in each if _is_open(fd)])}


def _is_open(descriptor: int) -> bool:
    try:
        os.set_inheritable(descriptor, False)
    except OSError:
        return False
    return True


def sockets_of(handed: Handed) -> dict[str, list[int]]:
    """Those of the descriptors that are listeners: their names are URLs."""
    return {name: list(each) for name, each in handed.items() if "://" in name}


def in_memory(state: Any) -> int:
    """A descriptor from which `from_memory` reads `state` (whatever JSON can hold), in this process or another."""
    descriptor = os.memfd_create("holdfast-state")
    with os.fdopen(os.dup(descriptor), "w", encoding="utf-8", errors="surrogatepass") as file:
        json.dump(state, file)
    return descriptor


def from_memory(descriptor: int) -> Any:
    """What `in_memory` was given; closes the descriptor. Raises ValueError if that is not what it is."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    with os.fdopen(descriptor, "r", encoding="utf-8", errors="surrogatepass") as file:
        return json.load(file)
