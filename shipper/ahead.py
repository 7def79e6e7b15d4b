"""Payloads of the next request, read and verified while the server works on this one.

    request n        write ---- wait for the answer ........ read   record   pick
    request n + 1    read and verify the payloads                                  write ---- wait ...

Reading and hashing a MiB takes half as long as sending it over loopback, and both let go of the interpreter. What is
read is a guess: the loop picks its batches as if nothing had been read and then asks for what it picked. What was not
guessed or could not be read it reads itself, and meets the error there.

Promises: `take` gives only batches whose payload had its hash; nothing goes on after the block of `reading`, in which
nobody else may use the spool's reader.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Thread

from spool.batch import Batch
from spool.errors import HoldfastError
from spool.reader import SpoolReader


class Ahead:
    """What was read ahead, by id: one request's worth at most."""

    def __init__(self) -> None:
        self._ready: dict[int, Batch] = {}

    def take(self, ids: Iterable[int]) -> dict[int, Batch]:
        """Those of the batches `ids` that are there. The others are forgotten: they were not picked."""
        ready, self._ready = self._ready, {}
        return {each: ready[each] for each in ids if each in ready}

    @contextmanager
    def reading(self, spool: SpoolReader, ids: Sequence[int]) -> Iterator[None]:
        """Read the batches `ids` beside what the block does; at its end they are there, or could not be read."""
        if not ids:
            yield
            return
        thread = Thread(target=self._read, args=(spool, ids), name="reading-ahead")
        with suppress(RuntimeError):  # the host's limit on threads: then the loop reads them itself
            thread.start()
        try:
            yield
        finally:
            if thread.ident is not None:
                thread.join()

    def _read(self, spool: SpoolReader, ids: Sequence[int]) -> None:
        try:
            for batch in spool.batches(ids):
                batch.verified()
                self._ready[batch.id] = batch
        except HoldfastError:  # the loop reads what is not there, and meets it again
            return
