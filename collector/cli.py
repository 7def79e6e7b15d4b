"""The `holdfast-collector` command: supplies clocks, signals and configuration, says what went wrong."""

import json
import os
import socket
import sys
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO, get_args

import click

from collector.admin.top import top
from collector.check import findings
from collector.config import CollectorConfig, Listen, listen_url
from collector.explain import as_json, as_text
from collector.inherit import take_over
from collector.listeners import address
from collector.rules import Rejection
from collector.run import run
from collector.statsd import KINDS, Dialect, Signs, parse
from collector.tags import Style
from spool.config import load
from spool.errors import ConfigError, HoldfastError
from spool.shell import Program, named_config


@click.group(cls=Program)
@click.version_option(package_name="holdfast", prog_name="holdfast-collector")
def main() -> None:
    """Receive StatsD, aggregate it per window, commit each window to the spool.

    Exit codes: 0 fine, 1 attention, 2 usage or an unusable spool, 78 configuration.
    """


@main.command()
@click.option("--json", "as_object", is_flag=True, help="One JSON object: ok, checks.")
@click.pass_context
def check(ctx: click.Context, as_object: bool) -> None:
    """Say whether `run` would work here. Changes nothing.

    Addresses of the collector that runs on this spool are no fault: it, or its successor, has them.

    Exit code 0 if it would, 78 if the configuration is bad, 1 if something else is.
    """
    try:
        found = list(findings(load(named_config()), take_over(os.environ)))
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
@click.option("--tags", type=click.Choice(get_args(Style)), default="none", help="How tags are written in names.")
def parse_lines(file: BinaryIO, as_object: bool, gauges: Signs, tags: Style) -> None:
    """Show how lines are understood: type, value, tags, or why they are refused.

    Keys of --json: line, ok, and metrics, each with name, type, value, values, delta, rate, tags, timestamp (and, for
    events and service checks, fields); or error and reason.
    """
    dialect = Dialect(gauges, tags)
    for number, line in enumerate(file, start=1):
        bare = line.removesuffix(b"\n").removesuffix(b"\r")
        click.echo(as_json(bare, dialect) if as_object else as_text(number, bare, dialect))


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
            sender.connect(address(target))
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


for each in (run, top):
    main.add_command(each)


if __name__ == "__main__":
    sys.exit(main())
