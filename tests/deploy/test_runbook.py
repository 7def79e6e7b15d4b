"""Every command in deploy/README.md exists, with every option that it is shown with."""

import re
import shlex
import time
from pathlib import Path

import click
import pytest

from spool.commands.place import Place
from tests import readme

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
RUNBOOK = (DEPLOY / "README.md").read_text()
ALIASES = {"hf": ["holdfast"], "ctl": ["supervisorctl"]}
PLAIN = {
    "systemctl",
    "supervisorctl",
    "kill",
    "tar",
    "mkdir",
    "chown",
    "df",
    "grep",
    "sysctl",
    "alias",
    "install",
    "deploy/install",
}
"""Not ours, or not Python's: that they exist is not for this test to say."""


def commands() -> list[str]:
    """What stands behind a prompt in the console blocks."""
    blocks = re.findall(r"^```console\n(.*?)^```$", RUNBOOK, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    assert all(line.startswith(("$ ", "# ")) for line in lines), "a console block holds commands only"
    return [line[2:] for line in lines]


def bare(words: list[str]) -> list[str]:
    """Without sudo, env and aliases."""
    if words[:2] == ["sudo", "-u"]:
        words = words[3:]
    if words[0] == "env":
        words = [each for each in words[1:] if not re.match(r"[A-Z_]+=", each)]
    return ALIASES.get(words[0], [words[0]]) + words[1:]


@pytest.mark.parametrize("line", sorted(set(commands())))
def test_a_command_of_the_runbook_is_understood_by_its_program(line: str) -> None:
    program, *rest = bare(shlex.split(line))
    if program not in readme.PROGRAMS:
        assert program in PLAIN
        return
    command: click.Command = dict(readme.commands(program))[program]
    place = Place(named=lambda: None, clock=time.time, wait=time.sleep)
    context = click.Context(command, info_name=program, obj=place)
    while isinstance(command, click.Group):
        if rest[0] == "-c":  # the file that deploy/install writes, see the aliases
            assert rest[1] == "/etc/holdfast/holdfast.toml"
            rest = rest[2:]
        name, *rest = rest
        found = command.get_command(context, name)
        assert found is not None, f"no command {name}"
        command = found
    command.make_context(line, list(rest), parent=context)  # only parses: UsageError for what there is not


def test_the_runbook_has_commands_and_a_way_out_of_each_trouble() -> None:
    assert len(commands()) > 40
    troubles = RUNBOOK.split("\n## ")[2:-2]
    for each in troubles:
        assert "**Over when**" in each, each.splitlines()[0]
        assert "**Seen:**" in each or each.startswith("Moving"), each.splitlines()[0]


def test_the_words_that_install_prints_about_itself_are_its_options() -> None:
    script = (DEPLOY / "install").read_text()
    for option in re.findall(r"deploy/install (--[a-z]+)", RUNBOOK):
        assert f"{option})" in script
