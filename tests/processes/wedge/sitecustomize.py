"""Wedges a shipper that is started with this folder in PYTHONPATH, in the place that $WEDGE names. Tests only.

With $WEDGE_ONCE, a file, it happens once: the file is made, and a process that finds it is left alone.
"""

import ctypes
import os
import socket
import sqlite3
from pathlib import Path

FOREVER_S = 600


def once() -> bool:
    mark = os.environ.get("WEDGE_ONCE")
    if mark is None:
        return True
    try:
        Path(mark).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def getaddrinfo(*_args: object, **_options: object) -> None:
    """As a name server that does not answer: C code that has let go of the interpreter."""
    ctypes.CDLL(None).sleep(FOREVER_S)


def names() -> None:
    """Every look-up hangs, in the thread where look-ups are made."""
    socket.getaddrinfo = getaddrinfo


def names_in_the_main_thread() -> None:
    """As if somebody had forgotten why look-ups have a thread of their own."""
    from shipper.resolver import Resolver

    usual = Resolver.resolve

    def resolve(self, *args):
        if once():
            getaddrinfo()
        return usual(self, *args)

    Resolver.resolve = resolve


def interpreter() -> None:
    """A C call that does not let go of the interpreter."""
    from shipper.transport import Transport

    usual = Transport.attempt

    def attempt(self, *args):
        if once():
            ctypes.PyDLL(None).sleep(FOREVER_S)
        return usual(self, *args)

    Transport.attempt = attempt


def database() -> None:
    """A statement that does not end, where the outcome is written."""
    from spool.delivery import Delivery

    usual = Delivery.record

    def record(self, *args):
        if once():
            endless = "with recursive n(x) as (select 1 union all select x + 1 from n) select max(x) from n"
            sqlite3.connect(":memory:").execute(endless).fetchone()
        usual(self, *args)

    Delivery.record = record


WEDGES = {each.__name__: each for each in (names, names_in_the_main_thread, interpreter, database)}
if "WEDGE" in os.environ:
    WEDGES[os.environ["WEDGE"]]()
