"""Collectors, and receivers and committers without one, that are ended after each test, whatever happened."""

import signal
import time

import pytest

from collector.committer import Committer
from spool.config import SpoolConfig
from spool.doers import doers
from spool.errand import Errands
from spool.evict import Evictor
from tests.collector.committing import Told
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


@pytest.fixture
def committing(tmp_path):
    running = []

    def make(
        open_spool,
        interval_s=0.05,
        give_way=lambda _: 0.0,
        errands=lambda writer: Errands(writer, doers(["main"])),
        evictor=lambda writer: Evictor(writer, SpoolConfig(disk_reserve_bytes=0), ["main"]),
    ):
        told = Told()
        committer = Committer(
            open_spool,
            directory=tmp_path,
            quantiles=(0.5,),
            interval_s=interval_s,
            give_way=give_way,
            evictor=evictor,
            errands=errands,
            tell=told,
            wall=time.time,
            mono=time.monotonic,
            wait=time.sleep,
        )
        running.append(committer)
        return committer, told

    yield make
    for each in running:
        each.finish(5)
