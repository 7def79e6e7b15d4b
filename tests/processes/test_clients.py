"""Clients that people use send to a real collector; the same numbers arrive at a real receiver, exactly once."""

import json
import os
import shutil
import socket
import subprocess
from pathlib import Path

import datadog.dogstatsd
import pytest
import statsd

from tests.processes.pipeline import Pipeline, wait_until


def arrived(pipeline: Pipeline, name: str, stat: str, value: float) -> None:
    """Wait for a total at the receiver, and compare it with what the operator's command says of the spool."""
    wait_until(lambda: pipeline.received_sum(name, stat) == value, 10, f"{name} {stat} = {value} at the receiver")
    rows = [each for each in pipeline.operator("points", name, "--limit", "100000") if each["stat"] == stat]
    assert sum(each["value"] for each in rows) == value


def settled(pipeline: Pipeline) -> None:
    """Two windows later nothing has been added: exactly once."""
    seq = pipeline.windows()[-1]["seq"]
    wait_until(lambda: pipeline.windows()[-1]["seq"] >= seq + 2, 10, "two more windows")
    wait_until(pipeline.everything_acknowledged, 10, "all acknowledged")


@pytest.fixture
def running(pipeline: Pipeline) -> Pipeline:
    pipeline.start("receiver", "collector", "shipper")
    return pipeline


def test_numbers_of_the_statsd_client_arrive(running: Pipeline) -> None:
    client = statsd.StatsClient(*running.statsd, prefix="py")
    for _ in range(10):
        client.incr("hits", 3)
    client.decr("hits", 5)
    client.gauge("temperature", 21.5)
    client.gauge("temperature", 2, delta=True)
    for milliseconds in (10, 20, 30, 40):
        client.timing("lat", milliseconds)
    client.set("users", "alice")
    client.set("users", "bob")
    client.set("users", "alice")
    with client.pipeline() as several:
        several.incr("hits", 100)
        several.timing("lat", 50)
    client.close()
    arrived(running, "py.hits", "value", 125)
    arrived(running, "py.lat", "sum", 150)
    arrived(running, "py.lat", "count", 5)
    arrived(running, "py.users", "value", 2)
    wait_until(
        lambda: running.received("SELECT 1 FROM points WHERE name = 'py.temperature' AND value = 23.5"), 10, "gauge"
    )
    settled(running)
    assert running.received_sum("py.hits") == 125


def test_numbers_of_the_datadog_client_arrive_with_their_tags(running: Pipeline) -> None:
    host, port = running.statsd
    client = datadog.dogstatsd.DogStatsd(
        host=host, port=port, constant_tags=["env:prod"], disable_telemetry=True, disable_buffering=False
    )
    for _ in range(7):
        client.increment("dd.hits", 2, tags=["route:/a,b", "bare"])
    client.histogram("dd.sizes", 100)
    client.distribution("dd.sizes2", 7)
    client.timing("dd.lat", 12)
    client.gauge("dd.level", -4)
    client.set("dd.users", "x")
    client.flush()
    client.stop()
    arrived(running, "dd.hits", "value", 14)
    arrived(running, "dd.sizes", "sum", 100)
    arrived(running, "dd.sizes2", "p50", 7)
    arrived(running, "dd.lat", "max", 12)
    arrived(running, "dd.users", "value", 1)
    tags = running.received("SELECT DISTINCT tags FROM points WHERE name = 'dd.hits'")
    assert len(tags) == 1 and '"env":"prod"' in tags[0][0] and '"bare":""' in tags[0][0]
    settled(running)


def test_events_and_service_checks_of_the_datadog_client_arrive_with_their_words(running: Pipeline) -> None:
    host, port = running.statsd
    client = datadog.dogstatsd.DogStatsd(host=host, port=port, constant_tags=["env:prod"], disable_telemetry=True)
    client.event("Deploy", "v1.2 is out\nby \u00e9mile", alert_type="info", priority="low", tags=["team:web"])
    client.service_check("db.up", client.CRITICAL, message="no answer", hostname="db-7")
    client.flush()
    client.stop()
    wait_until(lambda: len(running.received("SELECT * FROM events")) == 2, 10, "both at the receiver")
    (event,) = running.operator("points", "--kind", "event")
    assert (event["name"], event["tags"]) == ("Deploy", {"env": "prod", "team": "web"})
    assert event["fields"] == {"text": "v1.2 is out\nby \u00e9mile", "alert": "info", "priority": "low"}
    settled(running)
    received = {row[0]: row[1:] for row in running.received("SELECT name, value, tags, fields FROM events")}
    assert received["Deploy"][0] is None and json.loads(received["Deploy"][2]) == event["fields"]
    assert received["db.up"][0] == 2 and json.loads(received["db.up"][1]) == {"env": "prod", "host": "db-7"}
    assert json.loads(received["db.up"][2]) == {"text": "no answer"}


def test_shell_one_liners_arrive_over_ipv4_and_ipv6(running: Pipeline) -> None:
    # Not `nc -w0`, as is often seen: it ends at once if its input is not there yet, and has sent nothing.
    port, port6 = running.statsd[1], running.statsd6[1]
    shell = f"""
    echo -n 'sh.hits:1|c|@0.1' > /dev/udp/127.0.0.1/{port}
    printf 'sh.hits:5|c\\nsh.lat:1:2:3|ms|@0.5|#env:prod\\n' | nc -u -q0 127.0.0.1 {port}
    printf 'sh.hits:2|c' | nc -6 -u -q0 ::1 {port6}
    """
    subprocess.run(["bash", "-ec", shell], check=True, timeout=20)
    arrived(running, "sh.hits", "value", 17)
    arrived(running, "sh.lat", "count", 6)
    arrived(running, "sh.lat", "mean", 2)


def test_numbers_of_an_npm_client_arrive(running: Pipeline, tmp_path: Path) -> None:
    host, port = running.statsd
    script = tmp_path / "send.js"
    script.write_text(f"""
        const StatsD = require('hot-shots');
        const client = new StatsD({{host: '{host}', port: {port}, globalTags: {{env: 'prod'}}, maxBufferSize: 400}});
        for (let i = 0; i < 50; i++) client.increment('js.hits', 2, {{route: 'r' + (i % 2)}});
        client.timing('js.lat', 30);
        client.gauge('js.level', 5);
        client.unique('js.users', 'u1');
        client.close(error => process.exit(error ? 1 : 0));
    """)
    node = shutil.which("node")
    assert node, "node is missing: run tests/run, which installs it"
    subprocess.run([node, str(script)], env={**os.environ, "NODE_PATH": node_modules()}, check=True, timeout=30)
    arrived(running, "js.hits", "value", 100)
    arrived(running, "js.lat", "sum", 30)
    arrived(running, "js.users", "value", 1)
    assert len(running.received("SELECT DISTINCT tags FROM points WHERE name = 'js.hits'")) == 2


def node_modules() -> str:
    """Where tests/run has put the npm client."""
    folder = os.environ.get("HOLDFAST_TEST_NODE_MODULES", "")
    assert folder, "HOLDFAST_TEST_NODE_MODULES is not set: run tests/run, which installs the npm client"
    return folder


def test_bad_input_is_counted_by_reason_and_stops_nothing(running: Pipeline) -> None:
    bad = [
        b"a:1e400|c",
        b"a:nan|g",
        b"a:inf|ms",
        b"n" * 65_000 + b":1|c",
        bytes(range(256)) * 8,
        b"\x00\xff\xfe",
        b"no colon",
        b":1|c",
        b"a:1|",
        b"a:1|c|@0",
        b"",
    ]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        for each in bad:
            out.sendto(each, running.statsd)
        out.sendto(b"fine:-0|c\nfine:1|c", running.statsd)
    arrived(running, "fine", "value", 1)
    status = running.operator("status")
    intake = status["intake"]
    assert intake["rejected"] >= 10 and intake["lines"] == intake["accepted"] + intake["rejected"]
    assert len(intake["rejected_by"]) >= 4
    assert "Traceback" not in running.log("collector")
    assert running.processes["collector"].poll() is None
