"""`holdfast manual`: man pages and shell completion, put where man and the shells look for them."""

from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import click
from click.shell_completion import ShellComplete, get_completion_class

from spool.errors import HoldfastError
from spool.human import counted
from spool.manual import every_command, page, page_name
from spool.shell import own_version

COMPLETIONS = {
    "bash": "share/bash-completion/completions/{}",
    "zsh": "share/zsh/site-functions/_{}",
    "fish": "share/fish/vendor_completions.d/{}.fish",
}
"""Where each shell looks for what it loads when a command is completed for the first time."""


class NotInstalled(HoldfastError):
    """The programs cannot be found, or the folder cannot be written."""

    exit_code = 2


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def manual(folder: Path) -> None:
    """Write man pages and shell completion of all Holdfast's programs below FOLDER.

    FOLDER is ~/.local for yourself or /usr/local for everybody: man, bash (with the package bash-completion) and fish
    find them there by themselves; zsh needs FOLDER/share/zsh/site-functions in its fpath. Afterwards `man holdfast`,
    `man holdfast-replay`, and the tab key: it knows commands, options, destinations, batches and names of metrics.
    """
    files = dict(_files(_programs()))
    try:
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise NotInstalled(f"{error.filename}: {error.strerror}. Name another folder, like ~/.local.") from None
    pages = sum(name.endswith(".1") for name in files)
    click.echo(
        f"{folder / 'share'}: {counted(pages, 'man page', 'man pages')}, completion for {', '.join(COMPLETIONS)}"
    )


def _programs() -> Mapping[str, click.Group]:
    """Our console scripts, found as they were installed: this package does not import its siblings."""
    try:
        scripts = distribution("holdfast").entry_points.select(group="console_scripts")
    except PackageNotFoundError:
        raise NotInstalled("Holdfast is not installed here: see `pip install` in the README.") from None
    programs = {}
    for each in scripts:
        try:
            programs[each.name] = each.load()
        except ImportError as error:  # the receiver's extra is not installed
            click.echo(f"holdfast: left out {each.name}, which cannot run here: {error}", err=True)
    return programs


def _files(programs: Mapping[str, click.Group]) -> Iterator[tuple[str, str]]:
    version = own_version()
    for program, group in programs.items():
        for name, command in every_command(program, group):
            yield f"share/man/man1/{page_name(name)}.1", page(name, command, version)
        for shell, place in COMPLETIONS.items():
            yield place.format(program), _completion(shell, program, group)


def _completion(shell: str, program: str, group: click.Group) -> str:
    """What `_PROGRAM_COMPLETE=SHELL_source PROGRAM` prints, without asking an installed shell for its version."""
    completer = get_completion_class(shell)
    assert completer is not None
    variable = f"_{program}_COMPLETE".replace("-", "_").upper()
    return ShellComplete.source(completer(group, {}, program, variable))
