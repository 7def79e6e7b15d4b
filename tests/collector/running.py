"""A collector as a real process, and what it has written."""

import contextlib
import json
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from spool.batch import decode, points_of

ROOT = Path(__file__).resolve().parents[2]


class Running:
    """One collector process and its spool."""

    def __init__(self, folder, listen, interval_s, more=""):
        self.folder, self.log = folder, folder / "log"
        config = folder / "holdfast.toml"
        config.write_text(
            f'[spool]\ndir = "{folder}/spool"\n'
            f"[collector]\nlisten = {json.dumps(listen)}\ninterval_s = {interval_s}\n{more}\n"
        )
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", "collector.cli", "run", "-c", str(config)],
                cwd=ROOT,
                stderr=log,
            )

    def text(self):
        return self.log.read_text()

    def wait_for(self, pattern, count=1, within_s=15):
        """The matches of `pattern` in the log, once there are `count`."""
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            found = re.findall(pattern, self.text(), re.MULTILINE)
            if len(found) >= count:
                return found
            if self.process.poll() is not None:
                break
            time.sleep(0.01)
        raise AssertionError(f"{pattern!r} not {count} times in:\n{self.text()}")

    def ports(self, count):
        return [int(port) for port in self.wait_for(r"listening url=\S+?:(\d+) ", count)]

    def stop(self):
        """Seconds that a stop takes."""
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(10) == 0, self.text()
        assert "Traceback" not in self.text()
        return time.monotonic() - begun

    def windows(self):
        with contextlib.closing(sqlite3.connect(f"file:{self.folder}/spool/spool.db?mode=ro", uri=True)) as db:
            db.row_factory = sqlite3.Row
            return db.execute("SELECT * FROM windows ORDER BY seq").fetchall()

    def points(self):
        """Every point in the spool."""
        with contextlib.closing(sqlite3.connect(f"file:{self.folder}/spool/spool.db?mode=ro", uri=True)) as db:
            payloads = db.execute("SELECT payload FROM batches ORDER BY id").fetchall()
        return [point for (payload,) in payloads for point in points_of(decode(payload))]

    def totals(self):
        """Sum of each counter's and count of each timer's points over all batches, by name."""
        totals = {}
        for point in self.points():
            amount = point.values["value" if "value" in point.values else "count"]
            totals[point.name] = totals.get(point.name, 0) + amount
        return totals


def send(port, *datagrams, family=socket.AF_INET):
    host = "127.0.0.1" if family == socket.AF_INET else "::1"
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        for each in datagrams:
            sender.sendto(each, (host, port))
