"""`holdfast`, the operator's command: finds the configuration, loads the one subcommand asked for, and says what
went wrong in one sentence.

Exit codes: 0 fine, 1 attention, 2 damage or usage, 75 try again, 78 configuration. Data goes to stdout, talk to
stderr. Reading commands create no file and change nothing; changing ones print their plan and need `--apply`.
"""

import os
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from spool.commands.place import Place
from spool.errors import HoldfastError

COMMANDS = {
    "status": "spool.commands.status:status",
    "list": "spool.commands.batches:list_batches",
    "show": "spool.commands.batches:show",
    "points": "spool.commands.points:points",
    "query": "spool.commands.query:query",
    "attempts": "spool.commands.attempts:attempts",
    "losses": "spool.commands.losses:losses",
    "hangs": "spool.commands.hangs:hangs",
    "replay": "spool.commands.replay:replay",
    "hold": "spool.commands.hold:hold",
    "release": "spool.commands.hold:release",
}
"""Name -> module:object. A module is imported when its command is used: `status` must start within 150 ms."""


class Sentence(click.ClickException):
    """A failure as the operator reads it: one sentence on stderr and an exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click declares it for the class and reads the instance's

    def show(self, file: Any = None) -> None:
        """Print it."""
        click.echo(f"holdfast: {self.message}", err=True)


class Commands(click.Group):
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
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; our errors become sentences."""
        try:
            return super().invoke(ctx)
        except HoldfastError as error:
            raise Sentence(str(error), error.exit_code) from error
        except PermissionError as error:
            raise Sentence(
                f"{error.filename}: permission denied for user {os.geteuid()}. "
                "The spool belongs to another user: run this as that user or as root.",
                2,
            ) from error


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    "-c",
    type=click.Path(path_type=Path),
    help="Configuration file; else the usual places are searched.",
)
@click.version_option(package_name="holdfast", prog_name="holdfast")
@click.pass_context
def cli(context: click.Context, config: Path | None) -> None:
    """Look into a Holdfast spool, and send again what it holds.

    Every ID printed by one command is understood by the others. Exit codes: 0 fine, 1 attention, 2 damage or usage,
    75 try again, 78 configuration. Instants in JSON, CSV and the like are Unix seconds; people see local time.
    """
    if os.environ.get("NO_COLOR"):
        context.color = False
    context.obj = Place(named=config, clock=time.time, wait=time.sleep)


def main() -> None:
    """The console script."""
    cli(prog_name="holdfast")


if __name__ == "__main__":
    main()
