"""The tab key: a real bash with the file that `holdfast manual` wrote, on a real spool."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from spool.batch import State
from spool.cli import cli
from spool.delivery import Settled

PROGRAM = Path(sys.executable).parent / "holdfast"


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("manual")
    assert CliRunner().invoke(cli, ["manual", str(folder)]).exit_code == 0
    return folder / "share/bash-completion/completions/holdfast"


def offered(script: Path, config: Path, *words: str) -> list[str]:
    """What bash offers for the last of `words`."""
    line = " ".join(f"'{word}'" for word in ("holdfast", *words))
    complete = f"COMP_WORDS=({line}); COMP_CWORD={len(words)}; _holdfast_completion '{PROGRAM}'"
    done = subprocess.run(
        ["bash", "--norc", "-c", f"source '{script}'; {complete}; printf '%s\\n' \"${{COMPREPLY[@]}}\""],
        env={**os.environ, "HOLDFAST_CONFIG": str(config)}, capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.split()


def test_commands_options_and_choices_are_offered(script, made) -> None:
    assert offered(script, made.config, "st") == ["status"]
    assert offered(script, made.config, "dead", "re") == ["requeue"]
    assert offered(script, made.config, "list", "--st") == ["--state"]
    assert offered(script, made.config, "list", "--state", "") == [str(each) for each in State]


def test_destinations_batches_and_names_are_those_of_the_spool(script, made) -> None:
    made.commit(12)
    made.acknowledge([1])
    made.acknowledge([1], "old")
    made.delivery().settle({7: Settled(State.DEAD, "400"), 9: Settled(State.HELD)}, time.time())
    assert offered(script, made.config, "list", "-d", "") == ["main", "old"]
    assert offered(script, made.config, "show", "1") == ["12", "11", "10", "1"]
    assert offered(script, made.config, "replay", "12", "1") == ["11", "10", "1"]
    assert offered(script, made.config, "dead", "requeue", "") == ["7"]
    assert offered(script, made.config, "release", "") == ["9"]
    assert offered(script, made.config, "points", "") == ["api.hits", "holdfast.lines"]
    (made.directory / "hangs").mkdir()
    (made.directory / "hangs/hang-1.txt").write_text("stuck")
    (made.directory / "hangs/shipper-main-2.txt").write_text("")
    assert offered(script, made.config, "hangs", "") == ["hang-1.txt"]


def test_where_there_is_nothing_to_offer_nothing_is_said(script, made) -> None:
    assert offered(script, made.config, "show", "") == []
    made.config.write_text("not toml")
    assert offered(script, made.config, "list", "-d", "") == []
    assert offered(script, made.config, "points", "") == []
