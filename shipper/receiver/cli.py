"""The command `holdfast-receiver`: options, configuration, signals and clocks around the reference server."""

import faulthandler
import logging
import os
import secrets
import signal
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from shipper.receiver.app import Application
from shipper.receiver.certificate import CertificateFiles, ensure
from shipper.receiver.config import ReceiverConfig, receiver_dir
from shipper.receiver.serve import WebServer, try_address
from shipper.receiver.store import Store, StoreBusy
from spool.config import load, read_token
from spool.errors import ConfigError, HoldfastError
from spool.logfmt import Sparingly, fields, log_to
from spool.shell import Program, named_config, own_version

log = logging.getLogger(__name__)

FORGET_EVERY_S = 60.0
ENDS = {signal.SIGTERM, signal.SIGINT}
"""They wait until they are asked for, in every thread: a handler would meet its thread anywhere, holding any lock."""


@click.group(cls=Program)
@click.version_option(package_name="holdfast", prog_name="holdfast-receiver")
def main() -> None:
    """The reference server: takes batches over HTTP(S), stores each exactly once, shows what is missing."""
    os.umask(0o077)


@main.command()
def run() -> None:
    """Serve until SIGTERM or Ctrl-C. SIGUSR1 writes the stack of every thread to stderr."""
    log_to()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)
    config = load(named_config())
    settings = config.section(ReceiverConfig, "receiver")
    folder = receiver_dir(config)
    certificate = _certificate(settings, folder) if settings.listen.scheme == "https" else None
    token = read_token(settings.token_file) if settings.token_file else None
    store = Store.open(folder)
    try:
        application = Application(
            store,
            token=token,
            max_body_bytes=settings.max_body_bytes,
            max_raw_bytes=settings.max_raw_bytes,
            version=own_version(),
            clock=time.time,
            monotonic=time.monotonic,
        )
        server = WebServer.start(
            application,
            settings.listen,
            certificate=certificate,
            threads=settings.threads,
            request_deadline_s=settings.request_deadline_s,
            report=_reporter(),
        )
        log.info("receiver_started", extra=fields(url=str(server.listen), dir=str(folder), token=token is not None))
        while signal.sigtimedwait(ENDS, FORGET_EVERY_S) is None:
            _forget(store, settings.max_age_s)
        server.stop()
        log.info("receiver_stopped")
    finally:
        store.close()


@main.command()
def check() -> None:
    """Say whether `run` would work now: configuration, certificate, token, address. Changes nothing."""
    config = load(named_config())
    settings = config.section(ReceiverConfig, "receiver")
    if settings.listen.scheme == "https":
        _certificate(settings, receiver_dir(config))
    if settings.token_file:
        read_token(settings.token_file)
    try_address(settings.listen)
    click.echo(f"ok    receiver  {settings.listen} free")


@main.command()
def init() -> None:
    """Make what `run` needs and is missing: folder, token, own authority and certificate. May be repeated."""
    config = load(named_config())
    settings = config.section(ReceiverConfig, "receiver")
    folder = receiver_dir(config)
    files = CertificateFiles(folder)
    made: list[Path] = []
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if settings.token_file is not None and not settings.token_file.exists():
            settings.token_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(settings.token_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(32) + "\n")
            made.append(settings.token_file)
        if settings.listen.scheme == "https" and settings.cert_file is None:
            names = tuple(dict.fromkeys(("localhost", "127.0.0.1", "::1", settings.listen.host)))
            made += ensure(files, names, datetime.now(UTC))
    except OSError as error:
        raise HoldfastError(f"{error.filename}: {error.strerror}. Check [receiver] dir and token_file.") from None
    for each in made:
        click.echo(f"made {each}")
    if not made:
        click.echo(f"nothing to do: {folder} has all it needs")
    click.echo(f'\nFor the shipper:\n\n[destination.main]\nurl = "{settings.listen}/v1/batches"')
    click.echo(f'checkin_url = "{settings.listen}/v1/checkin"')
    if settings.listen.scheme == "https" and settings.cert_file is None:
        click.echo(f'ca_file = "{files.ca}"')
    if settings.token_file is not None:
        click.echo(f'token_file = "{settings.token_file}"')


def _certificate(settings: ReceiverConfig, folder: Path) -> tuple[Path, Path]:
    files = CertificateFiles(folder)
    chain, key = settings.cert_file or files.chain, settings.key_file or files.key
    for each in (chain, key):
        if not each.is_file():
            raise ConfigError(
                f"{each}: no such file, and [receiver] listen = {str(settings.listen)!r} needs a "
                "certificate. Run `holdfast-receiver init`, or set cert_file and key_file."
            )
    return chain, key


def _forget(store: Store, max_age_s: float) -> None:
    """Delete what is too old, a little at a time, so that requests get their turn in between, until it should end."""
    forgotten = 0
    try:
        while not signal.sigpending() & ENDS and (now := store.forget(time.time() - max_age_s)):
            forgotten += now
    except StoreBusy as error:
        log.warning("forget_failed", extra=fields(error=str(error)))
    if forgotten:
        log.info("batches_forgotten", extra=fields(batches=forgotten, max_age_s=max_age_s))


def _reporter() -> Any:
    """Trouble with connections: anyone can cause it at any rate, so it is logged sparingly."""
    sparingly = Sparingly(log, every_s=10.0, clock=time.monotonic)

    def report(event: str, *, error: str, level: int = logging.INFO, traceback: bool = False) -> None:
        if traceback and level >= logging.ERROR:
            log.error(event, extra=fields(error=error), exc_info=True)
        else:
            sparingly.warning(event, error=error)

    return report


if __name__ == "__main__":
    main()
