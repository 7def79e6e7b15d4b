"""What may be in the way of a command: each time one sentence that names it, an exit code, and nothing is made."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from spool.cli import COMMANDS, cli
from tests.spool.commands.conftest import Made

ROOT = Path(__file__).parents[3]
NOBODY = 65_534

EACH = {
    "status": [[]], "list": [[]], "show": [["1"]], "explain": [["1"]], "tail": [[]], "points": [[], ["--plot"]],
    "query": [["select 1"]], "plot": [["backlog"], ["delivery"]], "attempts": [[]], "losses": [[]], "hangs": [[]],
    "replay": [["1"], ["--since", "1h"]], "hold": [["1"]], "release": [["--all"]],
    "dead": [["list"], ["show", "1"], ["requeue", "1"], ["drop", "--all"]],
    "drain": [["--deadline", "1s"]], "prune": [["--keep-age", "1h"]], "export": [[]], "import": [["{file}"]],
    "backup": [["{folder}/open/copy"]], "audit": [[]], "check": [[]], "salvage": [["{file}"]],
}  # fmt: skip
"""Each command that needs a spool, as somebody would call it."""

NOT_TRIED = {"watchdog", "manual", "web"}
"""Those that need no spool, and one that becomes another program."""


def calls(folder: Path) -> Iterator[list[str]]:
    file = folder / "file"
    file.write_text("")
    (folder / "open").mkdir()
    (folder / "open").chmod(0o777)
    for name, ways in EACH.items():
        for way in ways:
            yield [name, *(word.format(file=file, folder=folder) for word in way)]


def test_no_command_is_forgotten_here() -> None:
    assert set(EACH) | NOT_TRIED == set(COMMANDS)


def test_a_missing_spool_is_one_sentence_for_every_command(made) -> None:
    for call in calls(made.folder):
        result = made.run(*call, exit_code=2)
        said = result.stderr or result.stdout
        assert len(said.splitlines()) == 1, (call, said)
        assert str(made.directory / "spool.db") in said and "no such file" in said, (call, said)
    assert not os.path.lexists(made.directory)


def test_an_unknown_id_is_one_sentence_for_every_command_that_takes_one(made) -> None:
    made.commit(2)
    made.acknowledge([1, 2])
    context = click.Context(cli)
    takes_ids = {
        name
        for name in COMMANDS
        for parameter in cli.get_command(context, name).params  # type: ignore[union-attr]
        if isinstance(parameter, click.Argument) and parameter.name in ("batch_id", "batch_ids")
    }
    assert takes_ids == {"show", "explain", "replay", "hold", "release"}
    for call in (*([each] for each in takes_ids), ["dead", "show"], ["dead", "requeue"], ["dead", "drop"]):
        result = made.run(*call, "9", exit_code=2)
        assert len(result.stderr.splitlines()) == 1 and "9" in result.stderr, (call, result.stderr)
        assert "batch" in result.stderr or "dead" in result.stderr
        assert made.run(*call, "0", exit_code=2).stderr.count("Error") == 1


@pytest.fixture
def open_to_all() -> Iterator[Made]:
    """A configuration in a folder that every user may enter, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        made = Made(Path(folder))
        yield made
        made.close()


def as_nobody(made, calls: list[list[str]]) -> list[tuple[list[str], int, str, str]]:
    """What each call gives to a user who is not the owner: call, exit code, stdout, stderr."""
    script = f"""
import json, os, sys
from click.testing import CliRunner
from spool.cli import cli, COMMANDS
for name in COMMANDS: cli.get_command(None, name)  # imported while this may be read
import spool.doers, click._termui_impl, difflib, tabulate, termios
os.setgid({NOBODY}); os.setuid({NOBODY})
for call in json.loads(sys.argv[2]):
    result = CliRunner().invoke(cli, ["-c", sys.argv[1], *call])
    assert isinstance(result.exception, SystemExit | None), (call, result.exception)
    print(json.dumps([call, result.exit_code, result.stdout, result.stderr]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(made.config), json.dumps(calls)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@needs_root
def test_the_spool_of_another_user_is_one_sentence_for_every_command(open_to_all) -> None:
    made = open_to_all
    made.commit(2)
    made.acknowledge([1, 2])
    made.directory.chmod(0o700)
    for call, code, out, err in as_nobody(made, list(calls(made.folder))):
        said = err or out
        assert code == 2, (call, said)
        assert len(said.splitlines()) == 1, (call, said)
        assert str(made.directory) in said and "owner" in said, (call, said)


@needs_root
def test_a_stopped_spool_in_a_folder_that_cannot_be_written_is_one_sentence_for_every_command(open_to_all) -> None:
    made = open_to_all
    made.commit(2)
    made.acknowledge([1, 2])
    made.close()
    for path in made.directory.iterdir():
        path.chmod(0o644)
    made.directory.chmod(0o755)
    assert not list(made.directory.glob("*-wal")), "stopped: without a -wal and -shm"
    for call, code, out, err in as_nobody(made, list(calls(made.folder))):
        said = err or out
        assert code == 2, (call, said)
        assert len(said.splitlines()) == 1, (call, said)
        assert "A stopped spool can be read only by a user who may write its folder" in said, (call, said)
