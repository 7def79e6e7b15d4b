"""The manual: a man page for each program and each of its commands, made from what `--help` prints. Pure.

    holdfast.1  holdfast-status.1  holdfast-dead.1  holdfast-dead-requeue.1  holdfast-collector.1 ...

As git has it, `man holdfast-dead-requeue` is the page of `holdfast dead requeue`. The format is that of man(7); groff's
own words for characters are in groff_char(7). Promises: what is printed can be copied, dashes and backslashes included.
Not promised: more than --help knows, but for files and environment on the page of a program.
"""

import re
from collections.abc import Iterator
from inspect import cleandoc

import click

CONFIGURATION = """\
--config FILE, $HOLDFAST_CONFIG, ./holdfast.toml, $XDG_CONFIG_HOME/holdfast/holdfast.toml, /etc/holdfast/holdfast.toml:
the first that exists."""
ENVIRONMENT = {
    "HOLDFAST_CONFIG": "The configuration file, unless --config names one.",
    "HOLDFAST_TABLE_KEY": "Overrides that key of the configuration, as in HOLDFAST_COLLECTOR_INTERVAL_S=1.",
    "NO_COLOR": "Set to anything, no colours are used on a terminal either.",
}


def every_command(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """`command` and, if it is a group, all below it, each with its full name: "holdfast dead requeue"."""
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=name)
        for each in command.list_commands(context):
            below = command.get_command(context, each)
            if below is not None and not below.hidden:
                yield from every_command(f"{name} {each}", below)


def page(name: str, command: click.Command, version: str) -> str:
    """The man page of a command whose full name is `name`, as text for troff."""
    return "\n".join(_page(name, command, version)) + "\n"


def page_name(name: str) -> str:
    """The name of the page of a command: holdfast-dead-requeue."""
    return name.replace(" ", "-")


def _page(name: str, command: click.Command, version: str) -> Iterator[str]:
    context = click.Context(command, info_name=name, **command.context_settings)
    yield f'.TH "{_plain(page_name(name).upper())}" 1 "" "Holdfast {_plain(version)}" "Holdfast"'
    yield from (".nh", ".ad l", ".SH NAME")  # words are not broken, lines not stretched
    yield f"{_plain(page_name(name))} \\- {_plain(command.get_short_help_str(limit=200).rstrip('.'))}"
    yield ".SH SYNOPSIS"
    yield f"\\fB{_plain(name)}\\fR {_plain(' '.join(command.collect_usage_pieces(context)))}"
    yield ".SH DESCRIPTION"
    yield from _paragraphs(command.help or "")
    options = [each for each in command.get_params(context) if isinstance(each, click.Option)]
    records = [record for each in options if (record := each.get_help_record(context)) is not None]
    if records:
        yield ".SH OPTIONS"
        for words, text in records:
            yield from (".TP", f"\\fB{_plain(words)}\\fR", _words(text))
    if isinstance(command, click.Group):
        yield ".SH COMMANDS"
        for each in command.list_commands(context):
            below = command.get_command(context, each)
            if below is not None and not below.hidden:
                title = f"\\fB{_plain(page_name(f'{name} {each}'))}\\fR(1)"
                yield from (".TP", title, _words(below.get_short_help_str(limit=200)))
    if " " not in name:
        yield from (".SH FILES", _plain(CONFIGURATION.replace("\n", " ")), ".SH ENVIRONMENT")
        for variable, text in ENVIRONMENT.items():
            yield from (".TP", f"\\fB{_plain(variable)}\\fR", _words(text))
    else:
        yield from (".SH SEE ALSO", f"\\fB{_plain(page_name(name.rpartition(' ')[0]))}\\fR(1)")


def _paragraphs(help_text: str) -> Iterator[str]:
    """Paragraphs of a docstring; one that begins with click's \\b is set as it stands."""
    for number, paragraph in enumerate(cleandoc(help_text).split("\n\n")):
        if number:
            yield ".PP"
        lines = paragraph.split("\n")
        if lines[0] == "\b":
            yield from (".nf", *map(_plain, lines[1:]), ".fi")
        else:
            yield _words(" ".join(line.strip() for line in lines))


def _words(text: str) -> str:
    """Prose, with `what is quoted` in bold."""
    return re.sub(r"`([^`]+)`", r"\\fB\1\\fR", _plain(text))


def _plain(text: str) -> str:
    """Text that troff prints as it is."""
    told = text.replace("\\", "\\e").replace("-", "\\-").replace("~", "\\(ti").replace("^", "\\(ha")
    told = told.replace('"', "\\(dq").replace("'", "\\(aq")
    return f"\\&{told}" if told.startswith(".") else told
