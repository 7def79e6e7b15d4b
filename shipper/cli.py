"""`holdfast-shipper`: the shell around Drain and CheckIn - options, configuration, clocks, signals, waiting.

Nothing needs a shutdown: what is in flight lives in no file, so SIGTERM and SIGINT keep their default action and end
the process at once, in every phase of an upload. SIGHUP reads the configuration, and a new release of the program, once
the attempt that is under way has ended. SIGUSR1 writes the stacks of all threads to stderr.
"""

import faulthandler
import json
import logging
import random
import shlex
import signal
import socket
import sqlite3
import ssl
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

import click

from shipper.checkin import CheckIn, Report
from shipper.config import DestinationConfig, ShipperConfig, token_of
from shipper.curl import command, head
from shipper.drain import Drain, Surroundings
from shipper.evidence import Evidence, Watchdog
from shipper.outcome import Outcome
from shipper.protocols import by_name
from shipper.transport import Transport
from spool.again import Reload, again, check_arguments, hold_signals, release_signals
from spool.batch import decode
from spool.config import Config, SpoolConfig, load, spool_dir
from spool.connection import lock, make_directory
from spool.errors import ConfigError, SpoolDamaged
from spool.human import counted
from spool.logfmt import fields, log_to
from spool.reader import SpoolReader
from spool.shell import Program, named_config, own_version

TEMPORARY_FAILURE = 75
"""sysexits.h: try again later. What `once` ends with while something is still unsent."""


@click.group(cls=Program)
@click.version_option(package_name="holdfast", prog_name="holdfast-shipper")
def main() -> None:
    """Drain the spool to one destination, and report health.

    Exit codes: 0 fine, 1 attention, 2 usage or an unusable spool, 75 still unsent, 78 configuration.
    """


def chosen(config: Config, name: str | None) -> tuple[str, DestinationConfig]:
    """The destination called `name`, or the only one. Raises ConfigError that lists what there is."""
    names = config.destinations()
    if not names:
        raise ConfigError(f"{config.source}: no [destination.NAME] table: there is nowhere to ship to.")
    if name is None and len(names) > 1:
        raise ConfigError(f"{config.source}: has destinations {', '.join(names)}; say which with --destination.")
    name = name or names[0]
    if name not in names:
        raise ConfigError(f"{config.source}: no destination {name!r}; there are {', '.join(names)}.")
    return name, config.section(DestinationConfig, f"destination.{name}")


def transport(destination: DestinationConfig, settings: ShipperConfig) -> Transport:
    """The network as this destination is to be reached. Raises ConfigError for an unusable ca_file."""
    try:
        return Transport(
            ca_file=destination.ca_file,
            proxy=destination.proxy,
            dns_deadline_s=settings.dns_deadline_s,
            connect_deadline_s=settings.connect_deadline_s,
        )
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"ca_file {destination.ca_file}: {error.strerror or error}: it must be a PEM file of certificates."
        ) from None


def surroundings(directory: Path, name: str, destination: DestinationConfig, settings: ShipperConfig) -> Surroundings:
    """The real clocks, chance, network and last resort; says in the log what the last resort had to do before."""
    watchdog = Watchdog(directory, f"shipper-{name}")
    for each in watchdog.found:
        logging.getLogger("holdfast.shipper").warning("hang_found", extra=fields(destination=name, file=str(each)))
    return Surroundings(
        sender=transport(destination, settings),
        armed=watchdog.armed,
        keep_evidence=Evidence(directory, f"shipper-{name}", time.time, time.monotonic).keep,
        now=time.time,
        clock=time.monotonic,
        draw=random.random,
    )


def prepared(
    config: Config, name: str | None, make: Callable[[Path], None]
) -> tuple[Path, str, DestinationConfig, ShipperConfig]:
    """Everything `run` and `once` need, with token and folder checked. Raises ConfigError or SpoolUnusable.

    `make` sees to the folder: `run` makes it, because it waits for the collector; `once` wants a spool in it.
    """
    name, destination = chosen(config, name)
    token_of(destination)
    directory = spool_dir(config)
    make(directory)
    return directory, name, destination, config.section(ShipperConfig, "shipper")


def _want_spool(directory: Path) -> None:
    """Raises SpoolMissing, and creates nothing, unless there is a spool; or SpoolUnusable."""
    with suppress(SpoolDamaged):  # the collector mends that, and a turn says so
        SpoolReader(directory).close()
    make_directory(directory)


def _turn_for_ever(turn: Callable[[], float], close: Callable[[], None], held: IO[str]) -> None:
    """Do `turn` and wait as long as it says; after SIGHUP become this program once more, between two turns.

    `held` is the lock of this program: it is given back when nobody has it open any more.
    """
    asked = threading.Event()
    log = logging.getLogger("holdfast.shipper")

    def refused(why: str) -> None:
        log.error("reload_refused", extra=fields(reason=why))

    reload = Reload(check_arguments(named_config()), asked.set, refused)
    signal.signal(signal.SIGHUP, reload.ask)
    release_signals()
    while not asked.is_set():
        asked.wait(turn())
    hold_signals()
    reload.end()
    close()
    held.close()
    log.info("reloading")
    again({})


destination_option = click.option(
    "-d", "--destination", "name", help="Name of the destination; needed where there are several."
)


@main.command()
@destination_option
def run(name: str | None) -> None:
    """Drain the spool to one destination until ended. SIGHUP reads the configuration anew."""
    log_to()
    directory, name, destination, settings = prepared(load(named_config()), name, make_directory)
    held = lock(directory, f"shipper-{name}")
    faulthandler.register(signal.SIGUSR1, file=sys.stderr, all_threads=True)
    drain = Drain(directory, name, destination, settings, surroundings(directory, name, destination, settings))
    _turn_for_ever(drain.turn, drain.close, held)


@main.command()
@destination_option
@click.option("--wait", "wait_s", type=click.FloatRange(min=0), default=0.0, help="Keep trying for so many seconds.")
def once(name: str | None, wait_s: float) -> None:
    """Send what is unsent now, then end: 0 if all is settled, 75 if something is still unsent.

    Without a spool it creates none, and ends with 2.
    """
    log_to()
    directory, name, destination, settings = prepared(load(named_config()), name, _want_spool)
    with lock(directory, f"shipper-{name}"):
        drain = Drain(directory, name, destination, settings, surroundings(directory, name, destination, settings))
        give_up_at = time.monotonic() + wait_s
        while True:
            pause_s = drain.turn()
            unsent = drain.pending()
            if not unsent or (pause_s and time.monotonic() + pause_s > give_up_at):
                break
            time.sleep(pause_s)
        drain.close()
    left = f"{counted(unsent, 'batch', 'batches')} still unsent; `holdfast attempts` says why"
    click.echo(left if unsent else "everything is settled", err=True)
    if unsent:
        raise SystemExit(TEMPORARY_FAILURE)


@main.command()
@destination_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
def ping(name: str | None, as_json: bool) -> None:
    """Send an empty request: where does the time go, and what would the answer mean? Changes nothing.

    Says also what an acknowledgement of this protocol proves, and what the server makes of a batch sent twice.

    Exit code 0 if a batch would have been acknowledged, 1 if not.
    """
    config = load(named_config())
    name, destination = chosen(config, name)
    settings = config.section(ShipperConfig, "shipper")
    protocol = by_name(destination.protocol)
    network = transport(destination, settings)
    attempt = network.attempt(protocol.encode([], destination.url, token_of(destination)), settings.deadline_s)
    network.close()
    verdict = protocol.judge(attempt.response, []) if attempt.response is not None else None
    fine = verdict is not None and verdict.outcome is Outcome.ACKNOWLEDGED
    meaning = (
        "would be acknowledged"
        if fine
        else f"would not be acknowledged: {verdict.reason if verdict else attempt.error}"
    )
    phases = {
        phase: getattr(attempt.timings, f"{phase}_ms") for phase in ("dns", "connect", "tls", "write", "wait", "read")
    }
    status = (attempt.response.status or None) if attempt.response is not None else None
    traits = protocol.TRAITS
    if as_json:
        facts = {
            "destination": name,
            "url": destination.url,
            "protocol": destination.protocol,
            "address": attempt.address,
            "status": status,
            "ok": fine,
        }
        timings = {f"{phase}_ms": taken_ms for phase, taken_ms in phases.items()}
        click.echo(
            json.dumps({**facts, **timings, "total_ms": attempt.total_ms, "meaning": meaning, "proof": traits.proof})
        )
    else:
        click.echo(f"destination {name}  {destination.url}  {attempt.address or ''}")
        click.echo(
            "  ".join(f"{phase} {taken_ms:.1f} ms" for phase, taken_ms in phases.items() if taken_ms is not None)
        )
        click.echo(f"status {status if status is not None else 'none'}  total {attempt.total_ms:.1f} ms")
        click.echo(f"verdict  {meaning}")
        click.echo(f"an acknowledgement means  {traits.proof}")
        click.echo(f"a batch sent twice  {traits.again}")
        click.echo(f"old points  {traits.old}")
        if traits.leaves_out:
            click.echo(f"left out  {', '.join(traits.leaves_out)}")
    if not fine:
        raise SystemExit(1)


@main.command()
@click.argument("batch", type=int)
@destination_option
@click.option("--curl", is_flag=True, help="Print a shell command that sends the same request.")
def encode(batch: int, name: str | None, curl: bool) -> None:
    """Print the request that would carry BATCH: its body on stdout, its head on stderr. Sends nothing.

    The token is never printed; the command of --curl reads it from its file. What the format cannot carry is said.
    """
    config = load(named_config())
    name, destination = chosen(config, name)
    with SpoolReader(spool_dir(config)) as spool:
        found = spool.batch(batch)
    found.verified()
    token = token_of(destination)
    protocol = by_name(destination.protocol)
    request = protocol.encode([found], destination.url, token)
    types = Counter(each["type"] for each in decode(found.payload)["points"])
    for kind in types.keys() & set(protocol.TRAITS.leaves_out):
        click.echo(f"left out: {types[kind]} of type {kind}, which {destination.protocol} cannot carry", err=True)
    if not curl:
        click.echo(head(request), err=True)
        sys.stdout.buffer.write(request.body)
        return
    file = f" --config {shlex.quote(str(config.file.absolute()))}" if config.file else ""
    click.echo(
        command(
            request,
            f"holdfast-shipper encode {batch} --destination {name}{file} 2>/dev/null",
            token=token,
            token_file=destination.token_file and destination.token_file.absolute(),
            ca_file=destination.ca_file and destination.ca_file.absolute(),
            proxy=destination.proxy,
        )
    )


@main.command()
def check() -> None:
    """Say whether `run` would work for every destination: keys, token, certificates. Touches no network.

    Exit code 0 if it would, 78 if not.
    """
    config = load(named_config())
    settings = config.section(ShipperConfig, "shipper")
    for each in config.destinations() or [chosen(config, None)[0]]:
        name, destination = chosen(config, each)
        token_of(destination)
        transport(destination, settings).close()
        click.echo(f"ok    destination {name}  {destination.url}")
        click.echo(f"{' ':5} check-ins of {name}  {destination.checkin_url or 'none: no checkin_url'}")


@main.command()
def checkin() -> None:
    """Post the health of every destination that has a checkin_url, until ended. SIGHUP reads the configuration anew."""
    log_to()
    config = load(named_config())
    directory = spool_dir(config)
    make_directory(directory)
    names = config.destinations()
    destinations = {each: config.section(DestinationConfig, f"destination.{each}") for each in names}
    settings = config.section(ShipperConfig, "shipper")
    held = lock(directory, "checkin")
    faulthandler.register(signal.SIGUSR1, file=sys.stderr, all_threads=True)
    reporter = CheckIn(
        directory,
        config.section(SpoolConfig, "spool"),
        destinations,
        settings,
        Report(socket.gethostname(), own_version(), sqlite3.sqlite_version, config.window_s()),
        {each: transport(destination, settings) for each, destination in destinations.items()},
        time.time,
        time.monotonic,
        random.random,
    )
    _turn_for_ever(reporter.turn, lambda: None, held)


if __name__ == "__main__":
    main()
