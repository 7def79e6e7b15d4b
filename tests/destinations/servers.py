"""Real servers from Debian packages as plain processes on loopback, each asked in its own language.

All that a server writes lies in the folder it is given. `start` waits until it answers; `stop` ends it.
"""

import json
import os
import re
import subprocess
import urllib.parse
import urllib.request
from collections import defaultdict
from pathlib import Path
from typing import Any

from tests.processes.pipeline import free_port, wait_until

Samples = dict[int, float]
"""Unix seconds -> value."""


def fetch(url: str, **form: str) -> bytes:
    """The body of a GET, or of a POST where there is a form."""
    data = urllib.parse.urlencode(form).encode() if form else None
    with urllib.request.urlopen(url, data, timeout=10) as answer:
        return bytes(answer.read())


def answers(url: str) -> bool:
    """Whether an HTTP server answers there with success."""
    try:
        fetch(url)
    except OSError:
        return False
    return True


class Server:
    """A process that a test starts and ends; `port` is where it is written to."""

    def __init__(self, home: Path) -> None:
        self.home, self.port = home, free_port()
        self.process: subprocess.Popen[bytes] | None = None
        home.mkdir(parents=True, exist_ok=True)

    def run(self, *command: str, **environment: str) -> None:
        """Start the process; what it says goes to `log`."""
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self.home, env={**os.environ, **environment}
            )

    def stop(self) -> None:
        """End the process, if it runs."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)


class InfluxDB(Server):
    """InfluxDB 1, with a database `m`, user `u`, password `secret`."""

    def start(self) -> None:
        (self.home / "influxdb.conf").write_text(f"""
reporting-disabled = true
bind-address = "127.0.0.1:{free_port()}"
[meta]
dir = "{self.home}/meta"
[data]
dir = "{self.home}/data"
wal-dir = "{self.home}/wal"
[http]
bind-address = "127.0.0.1:{self.port}"
auth-enabled = true
[monitor]
store-enabled = false
""")
        self.run("influxd", "-config", str(self.home / "influxdb.conf"))
        wait_until(lambda: answers(f"http://127.0.0.1:{self.port}/ping"), 20, "InfluxDB answers")
        fetch(f"http://127.0.0.1:{self.port}/query", q="CREATE USER u WITH PASSWORD 'secret' WITH ALL PRIVILEGES")
        self.query("CREATE DATABASE m")

    def query(self, text: str) -> list[dict[str, Any]]:
        """The series of an InfluxQL answer."""
        url = f"http://127.0.0.1:{self.port}/query?db=m&epoch=ms&u=u&p=secret"
        (result,) = json.loads(fetch(url, q=text))["results"]
        assert "error" not in result, result
        return list(result.get("series", []))

    def samples(self, name: str, field: str = "value") -> Samples:
        """Every point of one measurement, by second."""
        series = self.query(f'SELECT "{field}" FROM "{name}"')
        return {at // 1000: value for each in series for at, value in each["values"]}


class PromQL(Server):
    """One that answers PromQL."""

    def query(self, text: str) -> list[dict[str, Any]]:
        """The result of an instant query in PromQL."""
        url = f"http://127.0.0.1:{self.port}/api/v1/query?{urllib.parse.urlencode({'query': text})}"
        return list(json.loads(fetch(url))["data"]["result"])


class VictoriaMetrics(PromQL):
    """VictoriaMetrics; `graphite` is its port for Graphite. Copies are merged, as its documentation advises."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.graphite = free_port()

    def start(self) -> None:
        self.run(
            "victoria-metrics",
            f"-storageDataPath={self.home}/data",
            f"-httpListenAddr=127.0.0.1:{self.port}",
            f"-graphiteListenAddr=127.0.0.1:{self.graphite}",
            "-retentionPeriod=1",
            "-search.latencyOffset=0s",
            "-dedup.minScrapeInterval=1ms",
        )
        wait_until(lambda: answers(f"http://127.0.0.1:{self.port}/health"), 20, "VictoriaMetrics answers")

    def samples(self, name: str) -> Samples:
        """Every sample of the series with one name."""
        fetch(f"http://127.0.0.1:{self.port}/internal/force_flush")
        query = urllib.parse.urlencode({"match[]": f'{{__name__="{name}"}}', "reduce_mem_usage": "0"})
        found: Samples = {}
        for line in fetch(f"http://127.0.0.1:{self.port}/api/v1/export?{query}").splitlines():
            series = json.loads(line)
            found |= {at // 1000: value for at, value in zip(series["timestamps"], series["values"], strict=True)}
        return found


class Prometheus(PromQL):
    """Prometheus that takes remote writes; `window` is its out_of_order_time_window."""

    def __init__(self, home: Path, window: str | None = None) -> None:
        super().__init__(home)
        self.window = window

    def start(self) -> None:
        storage = f"storage: {{tsdb: {{out_of_order_time_window: {self.window}}}}}" if self.window else ""
        (self.home / "prometheus.yml").write_text(f"global: {{scrape_interval: 1h}}\n{storage}\n")
        self.run(
            "prometheus",
            f"--config.file={self.home}/prometheus.yml",
            f"--storage.tsdb.path={self.home}/data",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--web.enable-remote-write-receiver",
        )
        wait_until(lambda: answers(f"http://127.0.0.1:{self.port}/-/ready"), 30, "Prometheus is ready")

    def samples(self, name: str) -> Samples:
        """Every sample of the last hour of the series with one name."""
        return {int(float(at)): float(value) for each in self.query(f"{name}[1h]") for at, value in each["values"]}


class Carbon(Server):
    """Graphite's carbon-cache with 1 s slots."""

    def start(self) -> None:
        (self.home / "storage-schemas.conf").write_text("[all]\npattern = .*\nretentions = 1s:1h\n")
        (self.home / "carbon.conf").write_text(f"""
[cache]
USER =
STORAGE_DIR = {self.home}
LOCAL_DATA_DIR = {self.home}/whisper
CONF_DIR = {self.home}
LOG_DIR = {self.home}/logs
PID_DIR = {self.home}
MAX_CREATES_PER_MINUTE = inf
MAX_UPDATES_PER_SECOND = 5000
ENABLE_TAGS = False
TAG_HASH_FILENAMES = False
LINE_RECEIVER_INTERFACE = 127.0.0.1
LINE_RECEIVER_PORT = {self.port}
PICKLE_RECEIVER_INTERFACE = 127.0.0.1
PICKLE_RECEIVER_PORT = {free_port()}
CACHE_QUERY_INTERFACE = 127.0.0.1
CACHE_QUERY_PORT = {free_port()}
""")
        conf = f"--config={self.home}/carbon.conf"
        self.run("carbon-cache", conf, "--instance=a", "--nodaemon", "start", GRAPHITE_ROOT=str(self.home))
        wait_until(self.listening, 20, "carbon listens")

    def listening(self) -> bool:
        """Whether the port is bound (a connection would be logged as a client)."""
        return f":{self.port:04X} 00000000:0000 0A" in Path("/proc/net/tcp").read_text()

    def samples(self, name: str) -> Samples:
        """What the archive of one path, whatever its tags, has in its slots."""
        found: Samples = defaultdict(float)
        for file in (self.home / "whisper").rglob(name.replace(".", "_DOT_") + ";*.wsp"):
            done = subprocess.run(["whisper-fetch", str(file)], capture_output=True, text=True, check=True, timeout=20)
            for at, value in re.findall(r"^(\d+)\t([\d.e+-]+)$", done.stdout, re.MULTILINE):
                found[int(at)] += float(value)
        return dict(found)
