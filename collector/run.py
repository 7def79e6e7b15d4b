"""`holdfast-collector run`: supplies clocks, signals and configuration, builds the collector and says how it ended."""

import faulthandler
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from collector.admin.console import Console
from collector.admin.server import Admin
from collector.aggregate import Aggregate
from collector.collect import Collector, Intake, log_outcome, log_replaced, log_worker
from collector.committer import Committer, lost
from collector.config import CollectorConfig
from collector.inherit import take_over
from collector.listeners import DATAGRAMS, LONG_QUEUE, Bound, queue_length
from collector.ports import Ports
from collector.receiver import Receiver
from collector.reception import Reception, undisturbed
from collector.statsd import Dialect
from collector.workers.crew import Workers, shared_out
from collector.workers.standin import StandIn
from spool.again import Reload, check_arguments, hold_signals, release_signals
from spool.config import Config, SpoolConfig, load, spool_dir
from spool.doers import doers
from spool.errand import Errands
from spool.errors import SpoolBusy, SpoolDamaged
from spool.evict import Evictor
from spool.logfmt import Sparingly, fields, log_to
from spool.salvage import open_spool
from spool.shell import named_config
from spool.writer import SpoolWriter

STOP_S = 8.0
"""The most that a stop waits for a disk that hangs; supervisord kills after 10 s. A usual stop takes milliseconds."""

CHUNK_PAUSE_S = 0.005
"""Between two deletions of evicted batches, so that reception has the interpreter and readers the disk."""

log = logging.getLogger("collector")


@click.command()
def run() -> None:
    """Collect until SIGTERM or SIGINT; then commit the partial window.

    SIGHUP reads the configuration anew, and the program if there is a new one, and loses nothing meanwhile; a bad
    configuration is refused in the log. SIGUSR1 prints all stacks.
    """
    config = load(named_config())
    ours = config.section(CollectorConfig, "collector")
    log_to()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    ports = Ports(ours, take_over(os.environ))
    aggregate = Aggregate(ours.max_series, ours.gauge_expiry_s, ports.held)
    stand_in = StandIn(
        lambda: shared_out(ports.listeners.bound, ours.dialect, 1)[0], ours.max_series, aggregate, ports.stand_in
    )
    receiver = Receiver(time.monotonic)
    intake: Intake | None = None
    sparingly = Sparingly(log, 60.0, time.monotonic)
    writer: SpoolWriter | None = None
    try:
        if ports.leaving:
            _relieve(stand_in)  # it has their sockets, too
        # Before the spool: the lock in there says since when a collector runs, and one that cannot listen does not.
        ports.open()
        opening = _Opening(config, ours)
        try:
            writer = opening.opened()
        except (SpoolBusy, SpoolDamaged) as error:  # waiting may help; anything else ends the start here
            log.warning("spool_not_open", extra=fields(error=str(error)))
        intake = _intake(ours, ports, receiver, aggregate)
        committer = opening.committer(sparingly, ports.names, intake.give_way)
        console = Console(ours, time.time())
        collector = Collector(
            ours.interval_s,
            ports.listeners,
            intake,
            committer,
            wall=time.time,
            mono=time.monotonic,
            wait=time.sleep,
            stand_in=stand_in,
            ended=ports.carried.ended if ports.carried else None,
            tell=console.window_ended if ours.admin else lambda *_: None,
        )
        with _signals(collector, receiver, ports) as asked:
            undisturbed()
            _say_what_is_open(ports, ours)
            for bound in ports.admin.bound:
                Admin(bound.sockets[0], lambda line: console.answer(line, time.time(), committer.waiting)).start()
            committer.start(writer)
            writer = None  # the committer's now
            release_signals()
            _relieve(stand_in)
            reloading = collector.run()
            if reloading:
                _leave_signals(collector, asked)
            # All that a successor goes on without is in the spool already, and an exec ends whatever still hangs there.
            if not committer.finish(STOP_S) and not reloading and (left := committer.left()):
                log_outcome(log, sparingly, lost(left, f"the spool did not answer for {STOP_S:g} s after the stop"))
                return
            log.info("reloading" if reloading else "stopped", extra=fields(windows_waiting=committer.waiting))
            if reloading:
                ports.again(collector.carried())
    finally:
        if intake is not None:
            intake.end()
        receiver.close()
        ports.close()
        if writer is not None:
            writer.close()


def _leave_signals(collector: Collector, asked: Reload) -> None:
    """Leave all that is asked from now on to the successor, and a stop that came too late for this collector."""
    hold_signals()
    if collector.stopping:
        os.kill(os.getpid(), signal.SIGTERM)
    asked.end()


def _relieve(stand_in: StandIn) -> None:
    if not stand_in.end():
        log.error("stand_in_lost", extra=fields(consequence="what it received since the reload began is lost"))


def _intake(ours: CollectorConfig, ports: Ports, receiver: Receiver, aggregate: Aggregate) -> Intake:
    """This process's own reception or, of datagrams and for more than one, that of workers."""
    for bound in ports.listeners.bound:
        if ours.workers == 1 or bound.listen.scheme not in DATAGRAMS:
            for each in bound.sockets:
                receiver.take(each, bound.listen.scheme, ours.dialect(bound.asked))
    receiver.resume(ports.streams)
    if ours.workers == 1:
        return Reception(receiver, aggregate, time.sleep)
    sparingly = Sparingly(log, 60.0, time.monotonic)
    return Workers(
        receiver,
        shared_out(ports.listeners.bound, ours.dialect, ours.workers),
        aggregate,
        ours.max_series,
        mono=time.monotonic,
        wait=time.sleep,
        tell=lambda told: log_worker(log, sparingly, told),
    )


class _Opening:
    """How the spool of this configuration is opened and written."""

    def __init__(self, config: Config, ours: CollectorConfig) -> None:
        self._config, self._ours = config, ours
        self._directory: Path = spool_dir(config)
        self._limits = config.section(SpoolConfig, "spool")
        self._host = ours.host or socket.gethostname()

    def opened(self) -> SpoolWriter:
        return open_spool(self._directory, self._host, time.time(), lambda replaced: log_replaced(log, replaced))

    def committer(self, sparingly: Sparingly, listens: Sequence[str], give_way: Callable[[float], float]) -> Committer:
        names = self._config.destinations()
        return Committer(
            self.opened,
            directory=self._directory,
            quantiles=self._ours.quantiles,
            interval_s=self._ours.interval_s,
            evictor=lambda opened: Evictor(opened, self._limits, names, lambda: time.sleep(CHUNK_PAUSE_S)),
            errands=lambda opened: Errands(opened, doers(names)),
            tell=lambda outcome: log_outcome(log, sparingly, outcome),
            wall=time.time,
            mono=time.monotonic,
            wait=time.sleep,
            give_way=give_way,
            listens=listens,
        )


@contextmanager
def _signals(collector: Collector, receiver: Receiver, ports: Ports) -> Iterator[Reload]:
    """Answer signals meanwhile; afterwards they are ignored, so that a clean end becomes no killed one."""

    def reload() -> None:
        collector.reload()
        receiver.wake()

    def refused(why: str) -> None:
        log.error("reload_refused", extra=fields(reason=why))

    hold_signals()  # so that no thread that is started now ever takes one that the main thread holds
    # A flag and a byte in a socket: safe under any number of signals, and it ends the wait at once.
    signal.set_wakeup_fd(receiver.wakeup.fileno(), warn_on_full_buffer=False)
    asked = Reload(check_arguments(named_config()), reload, refused, ports.lend)
    signal.signal(signal.SIGHUP, asked.ask)
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: collector.stop())
    try:
        yield asked
    finally:
        for each in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)


def _say_what_is_open(ports: Ports, ours: CollectorConfig) -> None:
    if ports.carried is not None:
        took_ms = 1_000 * (time.monotonic() - ports.carried.ended[1])
        log.info("reloaded", extra=fields(took_ms=took_ms, connections=len(ports.streams)))
    if ports.unread:
        log.warning("state_not_inherited", extra=fields(error=ports.unread))
    for bound in ports.listeners.bound:
        _say_listening(bound, ours.dialect(bound.asked), ours.receive_buffer_bytes)
    for bound in ports.admin.bound:
        log.info("admin", extra=fields(url=str(bound.listen)))


def _say_listening(bound: Bound, dialect: Dialect, asked_bytes: int) -> None:
    url, tags = str(bound.listen), None if dialect.tags == "none" else dialect.tags
    told = fields(url=url, gauges=dialect.gauges, tags=tags, receive_buffer_bytes=bound.granted_bytes)
    log.info("listening", extra=told)
    if bound.listen.scheme == "unixgram" and queue_length() < LONG_QUEUE:
        advice = f"sysctl -w net.unix.max_dgram_qlen={LONG_QUEUE}, then restart"
        log.warning("unix_queue_short", extra=fields(url=url, datagrams=queue_length(), advice=advice))
    if bound.granted_bytes < asked_bytes and bound.listen.scheme == "udp":
        log.warning(
            "receive_buffer_small",
            extra=fields(
                url=url,
                asked_bytes=asked_bytes,
                granted_bytes=bound.granted_bytes,
                advice=f"sysctl -w net.core.rmem_max={asked_bytes}",
            ),
        )
