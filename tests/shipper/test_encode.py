"""`holdfast-shipper encode`: the request as it would be sent, and what stays behind."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from shipper.cli import main
from spool.batch import Window
from spool.writer import SpoolWriter
from tests.shipper.protocols.sample import MIXED, SAID

URLS = {"graphite": "tcp://127.0.0.1:1", "influx": "http://127.0.0.1:1/write?db=m", "webhook": "http://127.0.0.1:1/x"}


@pytest.mark.parametrize(
    ("protocol", "left_out"),
    [
        ("graphite", ["left out: 2 of type event, which graphite cannot carry"]),
        ("influx", []),
        ("webhook", []),
    ],
)
def test_it_says_what_a_format_cannot_carry(tmp_path: Path, protocol: str, left_out: list[str]) -> None:
    file = tmp_path / "holdfast.toml"
    table = f'[destination.main]\nprotocol = "{protocol}"\nurl = "{URLS[protocol]}"\n'
    file.write_text(f'[spool]\ndir = "{tmp_path}/spool"\n{table}')
    writer = SpoolWriter.open(tmp_path / "spool", "web-1")
    try:
        writer.commit(Window(1, 0.0, 10.0, (*MIXED, *SAID)), 10.1)
    finally:
        writer.close()
    done = CliRunner().invoke(main, ["encode", "1", "-c", str(file)])
    assert done.exit_code == 0, done.output
    assert [line for line in done.stderr.splitlines() if line.startswith("left out")] == left_out
