"""Destination protocols: one pure module each, batches -> request and answer -> verdict.

A module is a protocol by having these two functions; adding one is a file here, its name in `config.PROTOCOLS` and a
line in `by_name`.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from shipper.exchange import Request, Response
from shipper.outcome import Verdict
from shipper.protocols import holdfast
from spool.batch import Batch


class DestinationProtocol(Protocol):
    """What a module of this package offers.

    `encode`: the request that carries `batches` (verified, oldest first) with `token` to `url`; the same batches give
    the same bytes. `judge`: what a complete answer means for the batches with these keys.
    """

    @property
    def encode(self) -> Callable[[Sequence[Batch], str, str | None], Request]: ...
    @property
    def judge(self) -> Callable[[Response, Sequence[str]], Verdict]: ...


def by_name(name: str) -> DestinationProtocol:
    """The protocol that a destination's `protocol` names; config has checked that there is one."""
    return {"holdfast": holdfast}[name]
