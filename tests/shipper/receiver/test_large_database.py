"""Millions of points: pages stay quick, and batches that arrive meanwhile are stored as if nobody looked."""

import threading
import time
from statistics import quantiles

import pytest

from shipper.receiver.intake import documents
from shipper.receiver.reader import LOOK_S

NOW = 1_764_000_000.0
HOSTS, WINDOWS, SERIES = 5, 8_640, 20
PERCENTILES = ("count", "max", "mean", "min", "p50", "p90", "p95", "p99", "stddev", "sum")


@pytest.fixture
def large(store):
    """A day of five hosts, 2.8 million readings, put in by hand: what arrives over HTTP would take an hour."""
    db = store._connection
    db.execute("pragma synchronous = off")
    db.execute("begin")
    who = [(host * SERIES + n, f"host-{host}", f"m.{n:02}", "gauge" if n % 4 else "timer") for host in range(HOSTS)
           for n in range(SERIES)]  # fmt: skip
    db.executemany("insert into series values (?, ?, ?, ?, '{}')", who)
    for window in range(WINDOWS):
        end = NOW - 10 * (WINDOWS - 1 - window)
        for host in range(HOSTS):
            batch = window * HOSTS + host
            seq = window + 1
            db.execute(
                "insert into batches values (?, ?, ?, ?, '', ?, ?, ?, ?, ?)",
                (batch, f"{host}-{seq}", f"host-{host}", str(host), end - 10, end, seq, end, SERIES),
            )
            db.executemany(
                "insert into readings values (?, ?, ?, ?)",
                [
                    (batch, host * SERIES + n, stat, float(window % 100))
                    for n in range(SERIES)
                    for stat in (("value",) if n % 4 else PERCENTILES)
                ],
            )
    for host in range(HOSTS):
        db.execute(
            "insert into hosts values (?, ?, ?, ?, ?, ?)", (f"host-{host}", WINDOWS, WINDOWS * SERIES, 0, NOW, NOW)
        )
        db.execute("insert into runs values (?, ?, 1, ?, 0, ?)", (f"host-{host}", str(host), WINDOWS, NOW))
    db.execute("commit")
    db.execute("pragma synchronous = full")
    return store


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_pages_of_millions_of_points_are_quick_and_delay_no_batch(large, client_of, batch, capsys) -> None:
    client = client_of(clock=lambda: NOW + 3)
    paths = ("/", "/host?name=host-3", "/chart", "/chart?name=m.00&span=1h", "/chart?name=m.00&span=24h",
             "/chart?name=m.01&span=24h&each=sum", "/chart?name=m.01&span=30d")  # fmt: skip
    took = {}
    for path in paths:
        begun = time.monotonic()
        assert client("GET", path).status == 200
        took[path] = time.monotonic() - begun
    assert max(took.values()) < LOOK_S, took

    def add(first):
        """Seconds for each of a hundred bodies."""
        for number in range(first, first + 100):
            body = batch(number, host="new", spool="beef").payload
            begun = time.monotonic()
            large.add(documents(body, gzipped=True, limit_bytes=10**6), NOW)
            yield time.monotonic() - begun

    alone = list(add(1))
    stop = threading.Event()

    def look():
        while not stop.is_set():
            client("GET", "/chart?name=m.00&span=24h")

    lookers = [threading.Thread(target=look) for _ in range(4)]
    for each in lookers:
        each.start()
    try:
        meanwhile = list(add(1_001))
    finally:
        stop.set()
        for each in lookers:
            each.join()
    with capsys.disabled():
        print({path: f"{1000 * each:.0f} ms" for path, each in took.items()})
        for name, times in (("alone", alone), ("meanwhile", meanwhile)):
            print(name, f"p50 {1000 * quantiles(times, n=100)[49]:.1f} ms, worst {1000 * max(times):.1f} ms")
    assert max(meanwhile) < 1.0, "the shipper gives a whole attempt 20 s; a page must not take a second of it"
