"""The configuration examples: each is accepted by `holdfast-collector check`, and every protocol has one."""

import tomllib
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from click.testing import CliRunner

from collector.cli import main as collector
from shipper.cli import main as shipper
from shipper.exchange import Response
from shipper.outcome import Outcome
from shipper.protocols import KNOWN
from tests.processes.pipeline import free_port
from tests.shipper.protocols.sample import batch, counter

PAGE = (Path(__file__).resolve().parents[2] / "deploy/destinations/README.md").read_text()
EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "deploy/destinations").glob("*.toml"))


def test_every_protocol_has_an_example() -> None:
    tables = [tomllib.loads(each.read_text())["destination"] for each in EXAMPLES]
    assert {table["protocol"] for each in tables for table in each.values()} == set(KNOWN)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda each: each.stem)
def test_the_collectors_check_accepts_the_example(example: Path, tmp_path: Path) -> None:
    file = tmp_path / "holdfast.toml"
    ours = f'[spool]\ndir = "spool"\n[collector]\nlisten = ["udp://127.0.0.1:{free_port()}"]\n'
    file.write_text(ours + example.read_text())
    done = CliRunner().invoke(collector, ["check", "--config", str(file)])
    assert done.exit_code == 0, done.output
    file.write_text(file.read_text().replace('url = "', 'url = "gopher'))
    assert CliRunner().invoke(collector, ["check", "--config", str(file)]).exit_code == 78


@pytest.mark.parametrize(
    ("protocol", "url", "said"),
    [
        ("influx", "https://h:8086", "its path must end in /write or /write_lp"),
        ("otlp", "https://h:4318", "its path must end in /v1/metrics"),
        ("graphite", "https://h:2003", "it must begin with tcp:// or tls://"),
        ("holdfast", "tcp://h:2003", "it must begin with https:// or http://"),
        ("kafka", "https://h", "one of holdfast, influx"),
    ],
)
def test_a_url_that_the_protocol_cannot_have_is_named(protocol: str, url: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "holdfast.toml"
    file.write_text(f'[destination.main]\nprotocol = "{protocol}"\nurl = "{url}"\n')
    done = CliRunner().invoke(shipper, ["ping", "--config", str(file)])
    assert done.exit_code == 78 and said in done.output, done.output


def test_the_page_about_destinations_names_every_protocol() -> None:
    rows = {row.split("`")[1] for row in PAGE.splitlines() if row.startswith("| `")} - {"protocol"}
    assert rows == set(KNOWN)


def test_the_destination_of_the_page_is_one(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(PAGE.partition("```python\n")[2].partition("```")[0])
    spec = spec_from_file_location("own", file)
    assert spec is not None and spec.loader is not None
    own = module_from_spec(spec)
    spec.loader.exec_module(own)
    batches = [batch(1, counter("a", 2.0))]
    assert own.TRAITS.complaint("https://h/x") is None
    assert own.encode(batches, "https://h/x", "t").body == b"a 2.0 1795000010000\n"
    assert own.judge(Response(204, {}, b""), batches).acknowledged == {batches[0].key}
    assert own.judge(Response(401, {}, b""), batches).outcome is Outcome.PARK
