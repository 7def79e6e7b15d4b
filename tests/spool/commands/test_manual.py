"""`holdfast manual`: every command has a page that troff sets without a complaint, and the shells' files are there."""

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from spool.cli import cli
from spool.manual import page
from tests import readme


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("manual")
    result = CliRunner().invoke(cli, ["manual", str(folder)])
    assert result.exit_code == 0, result.output
    return folder


def set_by_troff(*pages: Path) -> str:
    done = subprocess.run(
        ["groff", "-man", "-ww", "-K", "utf8", "-Tutf8", "-P-c", *pages], capture_output=True, check=True, timeout=60
    )
    assert done.stderr == b""
    return done.stdout.decode().replace("\b", "\\b")


def test_there_is_a_page_for_every_command_of_every_program(written: Path) -> None:
    names = {name.replace(" ", "-") for program in readme.PROGRAMS for name, _ in readme.commands(program)}
    assert {path.stem for path in (written / "share/man/man1").iterdir()} == names


def test_troff_has_nothing_to_complain_of(written: Path) -> None:
    assert "holdfast" in set_by_troff(*sorted((written / "share/man/man1").iterdir()))


def test_a_page_says_what_help_says(written: Path) -> None:
    text = subprocess.run(
        ["man", "-l", written / "share/man/man1/holdfast-query.1"],
        env={"PATH": "/usr/bin:/bin", "MANWIDTH": "100", "LANG": "C.UTF-8"},
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    assert "holdfast query [OPTIONS] SQL" in text
    assert "       points         batch, ts, name, type, tags, stat, value: all that is held\n" in text
    assert "-p, --param" in text and "-h, --help" in text and "holdfast(1)" in text


def test_what_troff_would_take_for_itself_is_printed() -> None:
    @click.command(help='Say `this`.\n\n.SH is no request, \'nor is this; C:\\new ~ ^ "quoted" --long-option')
    def odd() -> None: ...

    said = " ".join(page("odd", odd, "1").split("\n"))
    assert ".SH is no" not in said.replace("\\&.SH is no", "")
    for each in ("\\fBthis\\fR", "C:\\enew", "\\-\\-long\\-option", "\\(dqquoted\\(dq", "\\(aqnor"):
        assert each in said


def test_it_may_be_repeated_and_changes_nothing_then(written: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in written.rglob("*")}
    assert CliRunner().invoke(cli, ["manual", str(written)]).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in written.rglob("*")} == before


def test_a_program_that_cannot_run_here_is_left_out_and_named(tmp_path: Path) -> None:
    script = "import sys; sys.modules['cheroot'] = None; from spool.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script, "manual", tmp_path], capture_output=True, text=True, check=True, timeout=30
    )
    assert "left out holdfast-receiver" in done.stderr
    pages = {path.name for path in (tmp_path / "share/man/man1").iterdir()}
    assert "holdfast-shipper-run.1" in pages and "holdfast-receiver.1" not in pages


def test_a_folder_that_cannot_be_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "share").write_text("")
    result = CliRunner().invoke(cli, ["manual", str(tmp_path)])
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1 and "Name another folder" in result.stderr
