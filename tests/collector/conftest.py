"""Collectors, and receivers without one, that are ended after each test, whatever happened."""

import signal

import pytest

from tests.collector.receiving import Receiving
from tests.collector.running import Running


@pytest.fixture
def start(tmp_path):
    started = []

    def make(listen=("udp://127.0.0.1:0",), interval_s=3600, name="one", more=""):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        started.append(Running(folder, list(listen), interval_s, more))
        return started[-1]

    yield make
    for each in started:
        if each.process.poll() is None:
            each.process.send_signal(signal.SIGCONT)
            each.process.kill()
            each.process.wait()


@pytest.fixture
def receiver():
    made = Receiving()
    yield made
    made.close()
