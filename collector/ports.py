"""What a collector has open to the outside: the addresses that it listens on, and the admin port.

Inherited from the collector that this process was before, or bound anew; handed on to the one that it becomes.

Promises: an address that is not configured any more is closed before another is bound; what was inherited is used as
it is, with what waits in it. What came with a state that cannot be read is closed: clients connect anew, and a stand-in
that nobody can ask for its share takes nothing more.

Does not promise that something is received there: that is the receivers' work.
"""

import os
from collections.abc import Mapping, Sequence
from typing import NoReturn

from collector.carried import NOTHING_HELD, Carried, Held, Stream
from collector.config import CollectorConfig
from collector.inherit import Handed, descriptors, from_memory, hand_on, in_memory, sockets_of
from collector.listeners import Bound, Listeners
from spool.again import again

ADMIN_BUFFER_BYTES = 65_536
"""Receive buffer of the admin port; commands are short."""
_STATE, _STREAMS, _STAND_IN = "state", "streams", "stand_in"


class Ports:
    """Owns the sockets. `carried` is what came with those inherited; None at a first start, or if `unread` says why."""

    def __init__(self, config: CollectorConfig, inherited: Handed) -> None:
        self._config, self._inherited = config, inherited
        self.unread = ""
        self.carried = self._carried()
        named, own = sockets_of(inherited), str(config.admin)
        self.admin = Listeners({own: named.pop(own)} if own in named else {})
        self.listeners = Listeners(named, self.carried.drops if self.carried else None)

    def _carried(self) -> Carried | None:
        try:
            return next((Carried.from_json(from_memory(each)) for each in self._inherited.get(_STATE, ())), None)
        except (OSError, ValueError, LookupError, TypeError) as error:
            self.unread = repr(error)
            for name in (_STREAMS, _STAND_IN):
                for each in self._inherited.get(name, ()):
                    os.close(each)
            return None

    @property
    def leaving(self) -> bool:
        """Whether there are inherited addresses that are not configured any more."""
        return bool(sockets_of(self._inherited).keys() - {*map(str, self._config.listen), str(self._config.admin)})

    @property
    def held(self) -> Held:
        """Gauges to begin with."""
        return self.carried.held if self.carried else NOTHING_HELD

    @property
    def streams(self) -> Sequence[Stream]:
        """Connections to go on with."""
        handed = self._inherited.get(_STREAMS, ())
        return [each for each in (self.carried.streams if self.carried else ()) if each.descriptor in handed]

    @property
    def stand_in(self) -> tuple[int, int] | None:
        """Who has received meanwhile: the connection to it, and its process."""
        stand_in = self.carried.stand_in if self.carried else None
        return stand_in if stand_in and stand_in[0] in self._inherited.get(_STAND_IN, ()) else None

    def open(self) -> Sequence[Bound]:
        """Have every address that is configured; returns those where lines are received. Raises AddressBusy."""
        self.listeners.close_all_but(self._config.listen)
        for each in self._config.listen:
            self.listeners.open(each, self._config.receive_buffer_bytes, self._config.workers)
        if self._config.admin is not None:
            self.admin.open(self._config.admin, ADMIN_BUFFER_BYTES)
        return self.listeners.bound

    @property
    def names(self) -> Sequence[str]:
        """Of the addresses that are open, the admin port's too: as they are configured."""
        return [*self.listeners.handed(), *self.admin.handed()]

    def lend(self) -> tuple[Mapping[str, str], Sequence[int]]:
        """For a check that shall know which addresses are ours: what to add to its environment, what it inherits."""
        handed = {**self.listeners.handed(), **self.admin.handed()}
        return hand_on(handed), descriptors(handed)

    def again(self, carried: Carried) -> NoReturn:
        """Become the collector once more, with these sockets. Raises OSError if that cannot be started."""
        handed = {**self.listeners.handed(), **self.admin.handed()}
        streams = [each.descriptor for each in carried.streams]
        stand_in = carried.stand_in[:1] if carried.stand_in else ()
        state = in_memory(carried.as_json())
        again(hand_on({**handed, _STREAMS: streams, _STAND_IN: stand_in, _STATE: [state]}))

    def close(self) -> None:
        """Close everything and remove the files of unix sockets."""
        self.listeners.close()
        self.admin.close()
