"""`holdfast`, the operator's command: finds the configuration, loads the one subcommand asked for, and says what
went wrong in one sentence.

Exit codes: 0 fine, 1 attention, 2 damage or usage, 75 try again, 78 configuration. Data goes to stdout, talk to
stderr. Reading commands create no file and change nothing; changing ones print their plan and need `--apply`.
"""

import os
import time
from importlib import import_module

import click

from spool.commands.place import Place
from spool.shell import Program, named_config, with_config

COMMANDS = {
    "status": "spool.commands.status:status",
    "list": "spool.commands.batches:list_batches",
    "show": "spool.commands.batches:show",
    "explain": "spool.commands.explain:explain",
    "tail": "spool.commands.tail:tail",
    "points": "spool.commands.points:points",
    "query": "spool.commands.query:query",
    "plot": "spool.commands.plot:plot",
    "attempts": "spool.commands.attempts:attempts",
    "losses": "spool.commands.losses:losses",
    "hangs": "spool.commands.hangs:hangs",
    "replay": "spool.commands.replay:replay",
    "hold": "spool.commands.hold:hold",
    "release": "spool.commands.hold:release",
    "dead": "spool.commands.dead:dead",
    "drain": "spool.commands.drain:drain",
    "prune": "spool.commands.prune:prune",
    "web": "spool.commands.web:web",
    "export": "spool.commands.export:export",
    "import": "spool.commands.export:import_batches",
    "backup": "spool.commands.backup:backup",
    "audit": "spool.commands.audit:audit",
    "check": "spool.commands.check:check",
    "salvage": "spool.commands.salvage:salvage",
    "watchdog": "spool.commands.watchdog:watchdog",
    "manual": "spool.commands.manual:manual",
}
"""Name -> module:object. A module is imported when its command is used: `status` must start within 150 ms."""


class Commands(Program):
    """The subcommands by COMMANDS, in that order."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now; None for a name that there is not."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return with_config(command)


@click.command(cls=Commands)
@click.version_option(package_name="holdfast", prog_name="holdfast")
@click.pass_context
def cli(context: click.Context) -> None:
    """Look into a Holdfast spool, and send again what it holds.

    Every ID printed by one command is understood by the others. Exit codes: 0 fine, 1 attention, 2 damage or usage,
    75 try again, 78 configuration. Instants in JSON, CSV and the like are Unix seconds; people see local time.
    """
    if os.environ.get("NO_COLOR"):
        context.color = False
    context.obj = Place(named=named_config, clock=time.time, wait=time.sleep)


def main() -> None:
    """`python -m spool.cli`; the console script calls `cli` itself."""
    cli(prog_name="holdfast")


if __name__ == "__main__":
    main()
