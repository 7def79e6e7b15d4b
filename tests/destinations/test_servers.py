"""From StatsD lines to the answers of real servers' query languages, through an outage, and once more by replay.

One collector's windows go to every destination: while no server is there nothing is lost or given up; when they come,
everything arrives, and what they are asked for then is exactly what the spool has. OTLP, Datadog and webhooks, for
which there is no Debian package, go to a scripted server and are read by opentelemetry-proto and as JSON.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from shipper.outcome import Outcome
from shipper.protocols import by_name
from shipper.transport import Transport
from spool.ledger import State
from tests.destinations.dashboard import QUERIES
from tests.destinations.fleet import Fleet
from tests.destinations.scripted import Scripted, scripted
from tests.destinations.servers import Carbon, InfluxDB, Prometheus, Samples, VictoriaMetrics
from tests.processes.pipeline import free_port, wait_until

ANSWERS: dict[str, tuple[int, object]] = {
    "/v1/metrics": (200, {"partialSuccess": {}}),
    "/api/v2/series": (202, {"errors": []}),
    "/hook": (200, {}),
}


@dataclass
class Delivered:
    """What happened so far: the servers, what the shippers said during the outage, and what they said after it."""

    fleet: Fleet
    influx: InfluxDB
    victoria: VictoriaMetrics
    prometheus: Prometheus
    window: Prometheus
    carbon: Carbon
    scripted: Scripted
    during: dict[str, tuple[int, str]]
    after: dict[str, tuple[int, str]]


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Delivered]:
    home: Path = tmp_path_factory.mktemp("destinations")
    influx, victoria = InfluxDB(home / "influx"), VictoriaMetrics(home / "victoria")
    prometheus, window = Prometheus(home / "prometheus"), Prometheus(home / "window", window="1h")
    carbon, other = Carbon(home / "carbon"), free_port()
    http = "http://127.0.0.1:"
    fleet = Fleet(
        home / "holdfast",
        {
            "influx": {
                "protocol": "influx",
                "url": f"{http}{influx.port}/write?db=m",
                "token_file": "influx-token",
            },
            "vm-influx": {"protocol": "influx", "url": f"{http}{victoria.port}/api/v2/write?bucket=m"},
            "vm-prom": {"protocol": "prometheus", "url": f"{http}{victoria.port}/api/v1/write"},
            "vm-datadog": {"protocol": "datadog", "url": f"{http}{victoria.port}/datadog/api/v1/series"},
            "vm-graphite": {"protocol": "graphite", "url": f"tcp://127.0.0.1:{victoria.graphite}"},
            "prom": {"protocol": "prometheus", "url": f"{http}{prometheus.port}/api/v1/write"},
            "prom-window": {"protocol": "prometheus", "url": f"{http}{window.port}/api/v1/write"},
            "carbon": {"protocol": "graphite", "url": f"tcp://127.0.0.1:{carbon.port}"},
            "otlp": {"protocol": "otlp", "url": f"{http}{other}/v1/metrics"},
            "datadog": {"protocol": "datadog", "url": f"{http}{other}/api/v2/series"},
            "webhook": {"protocol": "webhook", "url": f"{http}{other}/hook"},
        },
    )
    (fleet.home / "influx-token").write_text("u:secret\n")
    (fleet.home / "influx-token").chmod(0o600)
    real = (influx, victoria, prometheus, window, carbon)
    try:
        fleet.start("collector")
        for number in range(1, 5):
            known = len(fleet.windows())
            fleet.send(f"t.hits:{number}|c|#env:prod", "t.hits:0.5|c|#env:prod", f"t.depth:{number}|g")
            fleet.send('_e{8,10}:t.deploy|v1\\n "out"', f"_sc|t.up|{number - 1}|m:no answer", "_sc|t.up|0")
            fleet.send("t.lat:1|ms", "t.lat:2.5|ms", f"t.lat:{number * 10}|ms", "t.users:a|s", f"t.users:{number}|s")
            wait_until(lambda: len(fleet.windows()) > known, 10, "the next window")  # noqa: B023
        wait_until(lambda: len(fleet.truth("t.hits")) >= 4, 10, "the last lines in a window of their own")
        fleet.end("collector")
        during = fleet.ship(fleet.tables, wait_s=0)
        for server in real:
            server.start()
        with ExitStack() as stack:
            listening = stack.enter_context(scripted(other, ANSWERS))
            after = fleet.ship(fleet.tables)
            yield Delivered(fleet, influx, victoria, prometheus, window, carbon, listening, during, after)
    finally:
        fleet.stop_all()
        for server in real:
            server.stop()
            log = server.home / "log"
            print(f"--- {log}\n{log.read_text(errors='replace')[-2000:] if log.exists() else ''}")


def test_while_no_server_is_there_everything_is_kept(delivered: Delivered) -> None:
    assert {name: code for name, (code, _) in delivered.during.items()} == dict.fromkeys(delivered.fleet.tables, 75)
    assert all("connection refused" in said for _, said in delivered.during.values())


def test_when_they_come_every_destination_acknowledges_everything(delivered: Delivered) -> None:
    assert {name: said for name, (code, said) in delivered.after.items() if code} == {}
    states = {name: delivered.fleet.states(name) for name in delivered.fleet.tables}
    assert all(each == {State.ACKNOWLEDGED} for each in states.values()), states


def lately(delivered: Delivered, destination: str, name: str, stat: str = "value") -> Samples:
    """What the server behind `destination` says about one metric of the spool, in its own language."""
    at = delivered
    kind = {"t.hits": "counters", "t.depth": "gauges", "t.users": "sets", "t.lat": "timers"}[name]
    flat = name.replace(".", "_")
    remote = {"counters": f"{flat}_delta", "gauges": flat, "sets": f"{flat}_unique", "timers": f"{flat}_{stat}"}[kind]
    path = f"stats.{kind}.{name}" + {"counters": ".count", "gauges": "", "sets": ".count", "timers": f".{stat}"}[kind]
    if destination == "influx":
        return at.influx.samples(name, stat)
    if destination.startswith("vm-"):
        named = name if stat == "value" else f"{name}.{stat}"
        called = {"vm-influx": f"{name}_{stat}", "vm-prom": remote, "vm-datadog": named, "vm-graphite": path}
        return at.victoria.samples(called[destination])
    if destination == "carbon":
        return at.carbon.samples(path)
    return {"prom": at.prometheus, "prom-window": at.window}[destination].samples(remote)


REAL = ["influx", "vm-influx", "vm-prom", "vm-datadog", "vm-graphite", "prom", "prom-window", "carbon"]
METRICS = [("t.hits", "value"), ("t.users", "value"), ("t.lat", "count"), ("t.lat", "sum"), ("t.lat", "max")]


def missing(delivered: Delivered) -> dict[tuple[str, str, str], tuple[Samples, Samples]]:
    """Where a server's answer is not the spool's content: what it says, what is true."""
    different = {}
    for name, stat in METRICS:
        true = delivered.fleet.truth(name, stat)
        assert len(true) == 4
        for destination in REAL:
            seen = lately(delivered, destination, name, stat)
            if seen != true:
                different[destination, name, stat] = seen, true
    return different


def test_every_server_says_exactly_what_the_spool_has(delivered: Delivered) -> None:
    assert sum(delivered.fleet.truth("t.hits").values()) == 1 + 2 + 3 + 4 + 4 * 0.5
    wait_until(lambda: not missing(delivered), 15, "carbon writes what it has read")


def test_a_gauge_keeps_its_value_and_tags_and_quantiles_are_there(delivered: Delivered) -> None:
    assert set(lately(delivered, "prom", "t.depth").values()) == {1, 2, 3, 4}
    (series,) = delivered.influx.query('SELECT last("value") FROM "t.hits" GROUP BY *')
    assert series["tags"]["env"] == "prod" and series["tags"]["metric_type"] == "counter" and series["tags"]["host"]
    found = delivered.prometheus.query('max_over_time(t_lat{quantile="0.5"}[1h])')
    assert [float(each["value"][1]) for each in found] == [2.5]


def test_the_dashboard_shows_what_came_by_either_protocol(delivered: Delivered) -> None:
    always = [each for each in QUERIES if "rejected" not in each]
    for query in always:
        now = query.replace("$__interval_ms", "3600000").replace("$__interval", "1h").replace("$host", ".*")
        assert delivered.prometheus.query(now), now
        assert delivered.victoria.query(now), now


def test_a_service_check_is_its_latest_status_everywhere_and_influx_has_the_words(delivered: Delivered) -> None:
    at = delivered
    ends = dict.fromkeys(at.fleet.truth("t.hits"), 0.0)
    assert at.prometheus.samples("t_up_status") == at.victoria.samples("t_up_status") == ends
    assert at.victoria.samples("t.up.status") == at.victoria.samples("stats.service_checks.t.up") == ends
    wait_until(lambda: at.carbon.samples("stats.service_checks.t.up") == ends, 15, "carbon writes what it has read")
    (checks,) = at.influx.query('SELECT "value", "text" FROM "t.up" WHERE "value" > 0')
    assert [each[1:] for each in checks["values"]] == [[status, "no answer"] for status in (1, 2, 3)]
    (events,) = at.influx.query('SELECT "count", "text" FROM "t.deploy"')
    assert [each[1:] for each in events["values"]] == [[1, 'v1  "out"']] * 4


def test_the_sum_that_prometheus_computes_is_the_total(delivered: Delivered) -> None:
    (found,) = delivered.prometheus.query("sum(sum_over_time(t_hits_delta[1h]))")
    assert float(found["value"][1]) == sum(delivered.fleet.truth("t.hits").values())


def test_status_says_where_an_acknowledgement_proves_little(delivered: Delivered) -> None:
    lines = delivered.fleet.command("spool.cli", "status").stdout.splitlines()
    assert {line.split()[0] for line in lines if line.endswith("best effort")} == {"carbon", "vm-graphite"}


def queries(language: str) -> list[str]:
    page = Path(__file__).resolve().parents[2] / "deploy/destinations/README.md"
    return page.read_text().partition(f"```{language}\n")[2].partition("```")[0].splitlines()


def test_the_queries_for_holdfasts_own_numbers_have_answers(delivered: Delivered) -> None:
    true = sum(delivered.fleet.truth("holdfast.lines").values())
    by_influx = [delivered.influx.query(each) for each in queries("influxql")]
    by_prometheus = [delivered.prometheus.query(each) for each in queries("promql")]
    assert len(by_influx) == len(by_prometheus) == 4 and all(by_influx) and all(by_prometheus)
    assert by_influx[0][0]["values"][0][1] == float(by_prometheus[0][0]["value"][1]) == true > 0


def bodies(delivered: Delivered, path: str) -> list[bytes]:
    return [body for where, _, body in delivered.scripted.received if where == path]


def test_otlp_arrives_as_its_own_library_reads_it(delivered: Delivered) -> None:
    hits, counts = 0.0, 0
    for body in bodies(delivered, "/v1/metrics"):
        for resource in json_format.Parse(body, ExportMetricsServiceRequest()).resource_metrics:
            for metric in resource.scope_metrics[0].metrics:
                if metric.name == "t.hits":
                    hits += sum(each.as_double for each in metric.sum.data_points)
                if metric.name == "t.lat":
                    counts += sum(each.count for each in metric.exponential_histogram.data_points)
    assert hits == sum(delivered.fleet.truth("t.hits").values())
    assert counts == sum(delivered.fleet.truth("t.lat", "count").values())


def test_datadog_and_the_webhook_get_every_window(delivered: Delivered) -> None:
    true = delivered.fleet.truth("t.hits")
    series = [each for body in bodies(delivered, "/api/v2/series") for each in json.loads(body)["series"]]
    points = [point for each in series if each["metric"] == "t.hits" for point in each["points"]]
    assert {each["timestamp"]: each["value"] for each in points} == true
    lines = [json.loads(line) for body in bodies(delivered, "/hook") for line in body.splitlines()]
    assert len({each["key"] for each in lines}) == len(lines) == len(delivered.fleet.windows())


def test_the_empty_request_of_ping_is_acknowledged_by_every_server(delivered: Delivered) -> None:
    network = Transport()
    for name, table in delivered.fleet.tables.items():
        protocol = by_name(table["protocol"])
        attempt = network.attempt(protocol.encode([], table["url"], "u:secret"), 5.0)
        assert attempt.response is not None, (name, attempt.error)
        assert protocol.judge(attempt.response, []).outcome is Outcome.ACKNOWLEDGED, (name, attempt.response)
        network.close()


def test_ping_says_of_each_what_an_acknowledgement_means(delivered: Delivered) -> None:
    for name, words in {
        "influx": "stored by InfluxDB",
        "carbon": "best effort",
        "otlp": "accepted by the OTLP",
    }.items():
        said = json.loads(delivered.fleet.command("shipper.cli", "ping", "-d", name, "--json").stdout)
        assert said["ok"] and words in said["proof"] and said["write_ms"] is not None, said
    assert "left out  event\n" in delivered.fleet.command("shipper.cli", "ping", "-d", "carbon").stdout


def test_what_encode_prints_is_taken_by_the_servers(delivered: Delivered, tmp_path: Path) -> None:
    """`encode --curl` is run as it is printed: the servers know these points already, so nothing changes."""
    (tmp_path / "holdfast-shipper").write_text(f'#!/bin/sh\nexec {sys.executable} -m shipper.cli "$@"\n')
    (tmp_path / "holdfast-shipper").chmod(0o755)
    environment = {**delivered.fleet.environment(), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    for name, words in {
        "influx": "204 No Content",
        "vm-influx": "204 No Content",
        "vm-datadog": "202 Accepted",
        "prom-window": "204 No Content",
        "carbon": "",
    }.items():
        text = delivered.fleet.command("shipper.cli", "encode", "2", "-d", name, "--curl").stdout
        assert "secret" not in text
        done = subprocess.run(
            ["sh", "-c", text], env=environment, capture_output=True, text=True, timeout=30, check=True
        )
        assert done.returncode == 0 and words in done.stdout, done
    wait_until(lambda: not missing(delivered), 15, "the same answers")


def test_a_replay_is_announced_with_what_each_server_will_make_of_it(delivered: Delivered) -> None:
    for name, doubtful, old in (
        ("prom", True, "unless out_of_order_time_window"),
        ("influx", False, "beyond the retention"),
        ("otlp", False, "may refuse them"),
    ):
        (plan,) = delivered.fleet.operator("replay", "--since", "1h", "-d", name)["plans"]
        assert plan["batches"] and plan["doubtful"] == plan["batches"] * doubtful and old in plan["terms"]["old"]
    assert "counts twice" in plan["terms"]["again"]


def test_replayed_twice_the_totals_do_not_change(delivered: Delivered) -> None:
    """Where copies overwrite. Prometheus without a window for old samples says so, and the batches end as expired."""
    wait_until(lambda: not missing(delivered), 15, "carbon writes what it has read")
    for _ in range(2):
        for name in REAL:
            delivered.fleet.command("spool.cli", "replay", "--since", "1h", "-d", name, "--apply")
        again = delivered.fleet.ship(REAL)
        assert {name: said for name, (code, said) in again.items() if code} == {}
    wait_until(lambda: not missing(delivered), 15, "the same answers")
    for name in REAL:
        wanted = {State.ACKNOWLEDGED, State.EXPIRED} if name.startswith("prom") else {State.ACKNOWLEDGED}
        assert delivered.fleet.states(name) <= wanted, name
