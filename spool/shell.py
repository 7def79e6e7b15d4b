"""What the four commands have in common: `-h`, `--config` before or after the subcommand, errors as sentences.

    holdfast --config FILE status        holdfast status --config FILE

A HoldfastError ends a command with one line on stderr for each thing that is wrong and with the error's exit code; a
traceback is a bug.
"""

import os
from pathlib import Path
from typing import Any

import click

from spool.config import find, usual_places
from spool.errors import HoldfastError, SpoolMissing

_NAMED = "holdfast.config"


def _remember(context: click.Context, _parameter: click.Parameter, value: Path | None) -> None:
    if value is not None:
        context.meta[_NAMED] = value


def named_config() -> Path | None:
    """The file that `--config` named in the command that runs now."""
    file: Path | None = click.get_current_context().meta.get(_NAMED)
    return file


def own_version() -> str:
    """The installed version, or "0" where the packages are used without being installed."""
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - 20 ms that `status` need not pay

    try:
        return version("holdfast")
    except PackageNotFoundError:
        return "0"


def sentences(error: HoldfastError) -> str:
    """What `error` says, a line for each thing; of a missing spool also that there is no configuration, if so."""
    if not isinstance(error, SpoolMissing) or find(named_config(), os.environ) is not None:
        return str(error)
    here, *others = usual_places(os.environ)
    places = ", ".join(map(str, (here.absolute(), *others)))
    return f"{error}\nNo configuration file was found: looked for {places}. Name one with --config."


class Program(click.Group):
    """A group whose commands all take `--config`, and whose errors are sentences."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        with_config(self)

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a subcommand; it takes `--config` from then on."""
        super().add_command(with_config(cmd), name)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except HoldfastError as error:
            problems, code = sentences(error), error.exit_code
        except PermissionError as error:
            problems, code = f"{error.filename}: permission denied for user {os.geteuid()}. Run this as its owner.", 2
        for problem in problems.splitlines():
            click.echo(f"Error: {problem}", err=True)
        return ctx.exit(code)


def with_config(command: click.Command) -> click.Command:
    """Give a command the options `--config` and `-h`, once."""
    command.context_settings = {"help_option_names": ["-h", "--help"], **command.context_settings}
    if not any(parameter.name == "config" for parameter in command.params):
        command.params.append(
            click.Option(
                ["-c", "--config"],
                type=click.Path(path_type=Path),
                metavar="FILE",
                expose_value=False,
                is_eager=True,
                callback=_remember,
                help="Configuration file; else the usual places are searched.",
            )
        )
    return command
