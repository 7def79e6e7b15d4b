"""The `holdfast-collector` command: supplies clocks, signals and configuration, says what went wrong."""

import faulthandler
import gc
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO, get_args

import click

from collector.check import findings
from collector.collect import Collector, log_outcome, log_replaced
from collector.committer import SWITCH_S, Committer, Lost
from collector.config import CollectorConfig, Listen, listen_url
from collector.explain import as_json, as_text
from collector.receiver import Receiver
from collector.statsd import KINDS, Rejection, Signs, parse
from spool.config import SpoolConfig, load, spool_dir
from spool.doers import doers
from spool.errand import Errands
from spool.errors import ConfigError, HoldfastError, SpoolBusy, SpoolDamaged
from spool.evict import Evictor
from spool.logfmt import Sparingly, fields, log_to
from spool.salvage import open_spool
from spool.shell import Program, named_config
from spool.writer import SpoolWriter

STOP_S = 8.0
"""The most that a stop waits for a disk that hangs; supervisord kills after 10 s. A usual stop takes milliseconds."""

CHUNK_PAUSE_S = 0.005
"""Between two deletions of evicted batches, so that reception has the interpreter and readers the disk."""

log = logging.getLogger("collector")


@click.group(cls=Program)
@click.version_option(package_name="holdfast", prog_name="holdfast-collector")
def main() -> None:
    """Receive StatsD, aggregate it per window, commit each window to the spool.

    Exit codes: 0 fine, 1 attention, 2 usage or an unusable spool, 78 configuration.
    """


@main.command()
def run() -> None:
    """Collect until SIGTERM or SIGINT; then commit the partial window. SIGUSR1 prints all stacks."""
    config = load(named_config())
    ours = config.section(CollectorConfig, "collector")
    directory = spool_dir(config)
    log_to()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    limits = config.section(SpoolConfig, "spool")
    host = ours.host or socket.gethostname()

    def opened() -> SpoolWriter:
        return open_spool(directory, host, time.time(), lambda replaced: log_replaced(log, replaced))

    writer: SpoolWriter | None = None
    receiver = Receiver(time.monotonic)
    sparingly = Sparingly(log, 60.0, time.monotonic)
    try:
        # Before the spool: the lock in there says since when a collector runs, and one that cannot listen does not.
        bound = _listen(receiver, ours)
        try:
            writer = opened()
        except (SpoolBusy, SpoolDamaged) as error:  # waiting may help; anything else ends the start here
            log.warning("spool_not_open", extra=fields(error=str(error)))
        committer = Committer(
            opened,
            directory=directory,
            quantiles=ours.quantiles,
            interval_s=ours.interval_s,
            evictor=lambda opened: Evictor(opened, limits, config.destinations(), lambda: time.sleep(CHUNK_PAUSE_S)),
            errands=lambda opened: Errands(opened, doers(config.destinations())),
            tell=lambda outcome: log_outcome(log, sparingly, outcome),
            wall=time.time,
            mono=time.monotonic,
            wait=time.sleep,
        )
        collector = Collector(ours, receiver, committer, wall=time.time, mono=time.monotonic, wait=time.sleep)
        # A flag and a byte in a socket: safe under any number of signals, and it ends the wait at once.
        signal.set_wakeup_fd(receiver.wakeup.fileno(), warn_on_full_buffer=False)
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, lambda *_: collector.stop())
        # What a window is made of has no cycles, and a full collection stops reception for as long as there are
        # series: 0.1 s for 100,000. So one is made only if a million objects are left over, which a leak would be.
        gc.freeze()
        gc.set_threshold(1_000_000)
        sys.setswitchinterval(SWITCH_S)
        _say_listening(bound, ours.receive_buffer_bytes)
        committer.start(writer)
        writer = None  # the committer's now
        collector.run()
        if committer.finish(STOP_S):
            log.info("stopped", extra=fields(windows_waiting=committer.waiting))
        else:
            lost = Lost(committer.waiting, 0, f"the spool did not answer for {STOP_S:g} s after the stop")
            log_outcome(log, sparingly, lost)
    finally:
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_IGN)  # a second one must not turn a clean end into a killed one
        signal.set_wakeup_fd(-1)
        receiver.close()
        if writer is not None:
            writer.close()


def _listen(receiver: Receiver, ours: CollectorConfig) -> list[tuple[Listen, Signs, int]]:
    """Bind every address; returns each with what its gauges' signs mean and the buffer that was granted, bytes."""
    bound = []
    for wanted in ours.listen:
        signs = wanted.gauges or ours.gauge_signs
        listen, granted = receiver.listen(wanted, signs, ours.receive_buffer_bytes)
        bound.append((listen, signs, granted))
    return bound


def _say_listening(bound: Sequence[tuple[Listen, Signs, int]], asked_bytes: int) -> None:
    for listen, signs, granted in bound:
        log.info("listening", extra=fields(url=str(listen), gauges=signs, receive_buffer_bytes=granted))
        if granted < asked_bytes and listen.scheme in ("udp", "unixgram"):
            log.warning(
                "receive_buffer_small",
                extra=fields(
                    url=str(listen),
                    asked_bytes=asked_bytes,
                    granted_bytes=granted,
                    advice=f"sysctl -w net.core.rmem_max={asked_bytes}",
                ),
            )


@main.command()
@click.option("--json", "as_object", is_flag=True, help="One JSON object: ok, checks.")
@click.pass_context
def check(ctx: click.Context, as_object: bool) -> None:
    """Say whether `run` would work here. Changes nothing.

    Exit code 0 if it would, 78 if the configuration is bad, 1 if something else is.
    """
    try:
        found = list(findings(load(named_config())))
    except ConfigError as error:  # no file, or not TOML
        if not as_object:
            raise
        click.echo(json.dumps({"ok": False, "checks": [{"state": "bad", "what": "config", "detail": str(error)}]}))
        ctx.exit(error.exit_code)
    bad = [each.what for each in found if each.state == "bad"]
    if as_object:
        click.echo(json.dumps({"ok": not bad, "checks": [asdict(each) for each in found]}))
    else:
        for each in found:
            click.echo(f"{each.state:<4}  {each.what:<7} {each.detail}")
    ctx.exit(ConfigError.exit_code if "config" in bad else 1 if bad else 0)


@main.command("parse")
@click.argument("file", type=click.File("rb"), default="-")
@click.option("--json", "as_object", is_flag=True, help="One JSON object per line.")
@click.option("--gauges", type=click.Choice(get_args(Signs)), default="delta", help="What a gauge's sign means.")
def parse_lines(file: BinaryIO, as_object: bool, gauges: Signs) -> None:
    """Show how lines are understood: type, value, tags, or why they are refused."""
    for number, line in enumerate(file, start=1):
        bare = line.removesuffix(b"\n").removesuffix(b"\r")
        click.echo(as_json(bare, gauges) if as_object else as_text(number, bare, gauges))


@main.command(context_settings={"ignore_unknown_options": True})  # so that a value may be -5
@click.argument("name")
@click.argument("value")
@click.option("--type", "kind", type=click.Choice(list(KINDS)), default="c", show_default=True, help="Metric type.")
@click.option("--tag", "tags", multiple=True, metavar="K[:V]", help="A tag; may be given several times.")
@click.option("--rate", help="Sample rate in (0, 1].")
@click.option("--to", help="Listen URL to send to; default: the first udp or unixgram listener configured.")
def send(
    *,
    name: str,
    value: str,
    kind: str,
    tags: tuple[str, ...],
    rate: str | None,
    to: str | None,
) -> None:
    """Send one test metric."""
    line = f"{name}:{value}|{kind}" + (f"|@{rate}" if rate else "") + (f"|#{','.join(tags)}" if tags else "")
    parsed = parse(line.encode("utf-8", "surrogateescape"))
    if isinstance(parsed, Rejection):
        raise click.UsageError(f"{parsed}: the collector would refuse {line!r}")
    target = _target(to)
    try:
        with socket.socket(_family(target), socket.SOCK_DGRAM) as sender:
            sender.connect(target.path or (target.host, target.port))
            sender.send(line.encode("utf-8", "surrogateescape"))
            failed = sender.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # nobody on a port of this host
    except OSError as error:
        failed = error.errno or 0
    if failed:
        raise HoldfastError(f"{target}: {os.strerror(failed)}. Is the collector running there?")
    click.echo(f"sent {line} to {target}")


def _target(to: str | None) -> Listen:
    if to is not None:
        try:
            candidates: tuple[Listen, ...] = (listen_url(to, Path()),)
        except ValueError as error:
            raise click.UsageError(f"--to: allowed is {error}") from None
    else:
        candidates = load(named_config()).section(CollectorConfig, "collector").listen
    for each in candidates:
        if each.scheme in ("udp", "unixgram"):
            return each
    raise click.UsageError("no udp or unixgram address to send to; name one with --to")


def _family(target: Listen) -> socket.AddressFamily:
    return socket.AF_UNIX if target.path else socket.AF_INET6 if ":" in target.host else socket.AF_INET


if __name__ == "__main__":
    sys.exit(main())
