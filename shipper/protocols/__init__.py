"""Destination protocols: one pure module each, batches -> request and answer -> verdict.

A module is a protocol by having `TRAITS`, `encode` and `judge`. Adding one is a file here and its name in `KNOWN`;
webhook.py is the shortest to copy. README, "Write your own destination", walks through one.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from shipper.exchange import Request, Response
from shipper.outcome import Verdict
from shipper.protocols import datadog, graphite, holdfast, influx, otlp, prometheus, webhook
from shipper.protocols.traits import Traits
from spool.batch import Batch


class DestinationProtocol(Protocol):
    """What a module of this package offers.

    `encode`: the request that carries `batches` (verified, oldest first) with `token` to `url`; the same batches give
    the same bytes; none give the request that `ping` sends. `judge`: what a complete answer means for `batches`.
    """

    @property
    def TRAITS(self) -> Traits: ...  # noqa: N802 - a constant of the module
    @property
    def encode(self) -> Callable[[Sequence[Batch], str, str | None], Request]: ...
    @property
    def judge(self) -> Callable[[Response, Sequence[Batch]], Verdict]: ...


KNOWN: Mapping[str, DestinationProtocol] = {
    "holdfast": holdfast,
    "influx": influx,
    "prometheus": prometheus,
    "otlp": otlp,
    "graphite": graphite,
    "datadog": datadog,
    "webhook": webhook,
}
"""What `protocol` in [destination.NAME] may be."""


def by_name(name: str) -> DestinationProtocol:
    """The protocol that a destination's `protocol` names; config has checked that there is one."""
    return KNOWN[name]
