"""The README says what the code does: generated parts are current, and everything a user meets is in it."""

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import click
import pytest

from collector.rules import Reason
from collector.selfmetrics import SELF_METRICS
from shipper.outcome import Outcome, of_status
from spool.config import check_all, load
from tests import readme

ROOT = Path(__file__).resolve().parents[1]
GENERATED = ("collector/README.md", "deploy/reference/commands.md", "deploy/reference/configuration.md")
README = "".join((ROOT / each).read_text() for each in ("README.md", *GENERATED))


def test_generated_parts_of_the_docs_are_current() -> None:
    cog = [sys.executable, "-m", "cogapp", "--check", "--diff", *GENERATED]
    done = subprocess.run(cog, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-3000:]}{done.stderr}\nDo: python -m cogapp -r {' '.join(GENERATED)}"


@pytest.mark.parametrize("program", readme.PROGRAMS)
def test_every_command_and_option_has_help_and_is_in_the_readme(program: str) -> None:
    for name, command in readme.commands(program):
        assert command.help, f"{name} has no help"
        assert f"<code>{name}</code>" in README
        for parameter in command.params:
            for option in parameter.opts:
                assert not option.startswith("-") or option in README, f"{name} {option}"
            assert isinstance(parameter, click.Argument) or parameter.help, f"{name} {parameter.name} has no help"


@pytest.mark.parametrize("table", readme.SECTIONS)
def test_every_configuration_key_is_in_the_readme(table: str) -> None:
    for each in fields(readme.SECTIONS[table]):
        assert f"| `{each.name}` |" in README


def test_every_self_metric_and_every_reason_is_in_the_readme() -> None:
    for metric in SELF_METRICS:
        assert f"`{metric.name}`" in README
    for reason in Reason:
        assert f"`{reason}`" in README


def test_the_outcome_table_of_the_readme_is_the_codes() -> None:
    rows = {row.split("|")[2].strip()[:4]: row.split("|")[1] for row in README.splitlines() if row.startswith("| 4")}
    parks = next(row for row in README.splitlines() if "the destination parks" in row)
    for status in range(400, 500):
        assert (of_status(status) is Outcome.PARK) == (str(status) in parks), status
    dead = next(row for row in rows.values() if "422" in row)
    assert {int(each) for each in re.findall(r"\d{3}", dead)} == {
        status for status in range(400, 500) if of_status(status) is Outcome.DEAD
    }


def test_every_file_that_the_readme_names_is_there() -> None:
    named = set(re.findall(r"(?:tests|deploy|spool|shipper|collector)/[\w/]+(?:\.\w+)?", README))
    assert len(named) > 15
    assert not {each for each in named if not (ROOT / each).exists()}


def test_the_shipped_configuration_is_valid(tmp_path: Path) -> None:
    file = tmp_path / "holdfast.toml"
    file.write_text((ROOT / "deploy/holdfast.toml").read_text())
    check_all(load(file, {}))
