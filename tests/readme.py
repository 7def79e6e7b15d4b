"""The generated parts of the README: what cog runs, and what the docs tests compare with the code."""

from collections.abc import Iterator
from dataclasses import MISSING, fields
from importlib import import_module
from typing import Any

import click

from collector.config import CollectorConfig
from collector.rules import MEANINGS
from collector.selfmetrics import SELF_METRICS
from shipper.config import DestinationConfig, ShipperConfig
from shipper.receiver.config import ReceiverConfig
from spool.config import SpoolConfig
from spool.manual import every_command

SECTIONS: dict[str, Any] = {
    "spool": SpoolConfig,
    "collector": CollectorConfig,
    "shipper": ShipperConfig,
    "destination.NAME": DestinationConfig,
    "receiver": ReceiverConfig,
}
WIDE: dict[str, Any] = {"terminal_width": 100, "max_content_width": 100}
PROGRAMS = {
    "holdfast": "spool.cli:cli",
    "holdfast-collector": "collector.cli:main",
    "holdfast-shipper": "shipper.cli:main",
    "holdfast-receiver": "shipper.receiver.cli:main",
}


def commands(program: str) -> Iterator[tuple[str, click.Command]]:
    """Every command of a program with its full name, the group itself first."""
    module, _, name = PROGRAMS[program].partition(":")
    group: click.Group = getattr(import_module(module), name)
    yield from every_command(program, group)


def help_text(name: str, command: click.Command) -> str:
    """What `name --help` prints."""
    return command.get_help(click.Context(command, info_name=name, **WIDE, **command.context_settings))


def show_help(*programs: str) -> str:
    """Markdown with the help of every command of the programs."""
    parts = []
    for program in programs:
        for name, command in commands(program):
            parts.append(f"<details><summary><code>{name}</code></summary>\n")
            parts.append(f"```text\n{help_text(name, command)}\n```\n\n</details>\n")
    return "\n".join(parts)


def written(value: Any) -> str:
    """A default as it would stand in the file."""
    if value is MISSING:
        return "required"
    if value is None:
        return "absent"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(written(each) for each in value) + "]"
    return f"{value:g}" if isinstance(value, float) else f"{value:_}" if isinstance(value, int) else f'"{value}"'


def show_config() -> str:
    """Markdown with a table of keys for each table of holdfast.toml."""
    parts = []
    for table, section in SECTIONS.items():
        parts.append(f"**`[{table}]`**\n\n| key | default | what it is |\n|---|---|---|")
        parts += [f"| `{each.name}` | `{written(each.default)}` | {each.metadata['doc']} |" for each in fields(section)]
        parts.append("")
    return "\n".join(parts)


def show_self_metrics() -> str:
    """Markdown with the table of the collector's own measurements."""
    rows = [f"| `{each.name}` | {each.type} | {each.unit} | {each.meaning} |" for each in SELF_METRICS]
    return "\n".join(["| name | type | unit | meaning |", "|---|---|---|---|", *rows])


def show_reasons() -> str:
    """Markdown with the table of reasons for which a line is rejected."""
    rows = [f"| `{reason}` | {meaning} |" for reason, meaning in MEANINGS.items()]
    return "\n".join(["| reason | the line has |", "|---|---|", *rows])
