"""Would `run` work here: configuration, addresses, receive buffer, spool, disk. Looks, and changes nothing.

A socket is bound for a moment and closed again; nothing is created, removed or written.
"""

import os
import shutil
import socket
import sqlite3
import stat
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from collector.config import CollectorConfig, Listen, listen_url
from collector.listeners import LONG_QUEUE, AddressBusy, bind, grow_buffer, queue_length
from spool.config import Config, SpoolConfig, check_all, spool_dir
from spool.connection import runs
from spool.errors import ConfigError
from spool.heartbeat import heartbeats
from spool.human import size
from spool.retention import ALLOWANCE_BYTES

SQLITE_NEEDED = (3, 37)
"""The first with STRICT tables."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    state: Literal["ok", "warn", "bad"]
    what: str
    detail: str


def findings(config: Config, inherited: Collection[str] = ()) -> Iterator[Finding]:
    """Everything checked, in the order of a start. A bad configuration ends the list.

    `inherited`: names of addresses that the collector has which would start; those that it does not want, it closes. By
    default those of the collector that runs on this spool, whose place it would take.
    """
    try:
        check_all(config)
        ours = config.section(CollectorConfig, "collector")
        spool = config.section(SpoolConfig, "spool")
        directory = spool_dir(config)
    except ConfigError as error:
        for problem in str(error).splitlines():
            yield Finding("bad", "config", problem)
        return
    yield Finding("ok", "config", config.source)
    wanted = [*ours.listen, *([ours.admin] if ours.admin else [])]
    ours_already = set(inherited) or _running(directory)
    leaving = list(_listens(ours_already - set(map(str, wanted))))
    for place, listen in enumerate(wanted):
        twice = next((each for each in wanted[:place] if _in_the_way(each, listen)), None)
        if twice is not None:
            yield Finding("bad", "listen", f"{listen}: {twice} has it already; leave one of the two out")
        elif str(listen) in ours_already:
            yield Finding("ok", "listen", f"{listen} in use by the collector that runs")
        elif any(_in_the_way(each, listen) for each in leaving):
            yield Finding("ok", "listen", f"{listen} will be free")
        else:
            yield _address(listen)
    yield _buffer(ours.receive_buffer_bytes)
    if any(each.scheme == "unixgram" for each in ours.listen):
        yield _queue()
    yield _folder(directory)
    yield _disk(directory, spool.disk_reserve_bytes)
    enough = sqlite3.sqlite_version_info >= SQLITE_NEEDED
    needed = "" if enough else "; 3.37 or newer is needed"
    yield Finding("ok" if enough else "bad", "sqlite", sqlite3.sqlite_version + needed)


def _running(directory: Path) -> set[str]:
    """Names of the addresses that the collector of this spool has, if one runs."""
    if not runs(directory, "collector"):
        return set()
    return set(heartbeats(directory).get("collector", {}).get("listens", ()))


def _listens(names: Collection[str]) -> Iterator[Listen]:
    for name in names:
        with suppress(ValueError):  # of another release
            yield listen_url(name, Path())


def _in_the_way(one: Listen, other: Listen) -> bool:
    """Whether nobody can bind `other` until `one` is closed, so that who else has it cannot be seen before."""
    if one.path or other.path:
        return one.path == other.path
    first, second = ip_address(one.host), ip_address(other.host)
    overlap = first == second or (first.version == second.version and (first.is_unspecified or second.is_unspecified))
    return overlap and (one.scheme, one.port) == (other.scheme, other.port) and other.port != 0


def _address(listen: Listen) -> Finding:
    if listen.path:
        return _socket_file(listen)
    try:
        bind(listen).close()
    except AddressBusy as error:
        return Finding("bad", "listen", str(error))
    return Finding("ok", "listen", f"{listen} free")


def _socket_file(listen: Listen) -> Finding:
    path = Path(listen.path)
    if not os.access(path.parent, os.W_OK | os.X_OK):
        return Finding("bad", "listen", f"{listen}: {path.parent} is not a folder that this user may write")
    if not path.exists():
        return Finding("ok", "listen", f"{listen} free")
    if not stat.S_ISSOCK(path.stat().st_mode):
        return Finding("bad", "listen", f"{listen}: a file that is not a socket; change [collector] listen")
    kind = socket.SOCK_DGRAM if listen.scheme == "unixgram" else socket.SOCK_STREAM
    with socket.socket(socket.AF_UNIX, kind) as probe:
        probe.setblocking(False)
        try:
            probe.connect(listen.path)
        except ConnectionRefusedError:
            return Finding("ok", "listen", f"{listen} free; the file of a dead process will be replaced")
        except OSError:
            pass
    return Finding("bad", "listen", f"{listen} in use; change [collector] listen")


def _buffer(wanted_bytes: int) -> Finding:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        granted = grow_buffer(probe, wanted_bytes)
    if granted >= wanted_bytes:
        return Finding("ok", "rcvbuf", f"{granted:,} bytes granted")
    return Finding(
        "warn",
        "rcvbuf",
        f"asked {wanted_bytes:,} bytes, got {granted:,}: raise net.core.rmem_max to {wanted_bytes}",
    )


def _queue() -> Finding:
    length = queue_length()
    if length >= LONG_QUEUE:
        return Finding("ok", "queue", f"{length} datagrams may wait")
    advice = f"raise net.unix.max_dgram_qlen to {LONG_QUEUE}"
    return Finding("warn", "queue", f"{length} datagrams may wait; clients that do not, lose the next: {advice}")


def _nearest(directory: Path) -> Path:
    """The folder itself, or the first above it that is there."""
    return next(each for each in (directory, *directory.absolute().parents) if os.path.lexists(each))


def _folder(directory: Path) -> Finding:
    there = _nearest(directory)
    if not there.is_dir():
        return Finding("bad", "spool", f"{there}: is a file; [spool] dir must name a folder")
    if not os.access(there, os.R_OK | os.W_OK | os.X_OK):
        return Finding("bad", "spool", f"{there}: not writable for user {os.geteuid()}; see [spool] dir")
    return Finding("ok", "spool", str(directory) if there == directory else f"{directory} will be made")


def _disk(directory: Path, reserve_bytes: int) -> Finding:
    free, reserve = shutil.disk_usage(_nearest(directory)).free, size(reserve_bytes)
    if free > reserve_bytes:
        return Finding("ok", "disk", f"{size(free)} free, {reserve} of them reserved")
    return Finding(
        "warn",
        "disk",
        f"{size(free)} free, no more than [spool] disk_reserve_bytes, {reserve}: beyond"
        f" {size(ALLOWANCE_BYTES)} the spool lets go of its oldest batches, also unsent ones. Make room, or"
        " lower the reserve",
    )
