"""The reading side: what a page is told, at a cost that does not grow with the database."""

import sqlite3
import threading
import time
from itertools import count

import pytest

from shipper.receiver.curves import Series, Steps
from shipper.receiver.intake import documents
from shipper.receiver.reader import AT_ONCE, StoreReader, TooMuch
from shipper.receiver.store import StoreBusy
from spool.batch import Point, Window, encode

START = 1_764_000_000.0


def arrivals(*batches):
    return documents(b"".join(each.payload for each in batches), gzipped=True, limit_bytes=10_000_000)


@pytest.fixture
def filled(store, batch):
    store.add(arrivals(*(batch(number) for number in range(1, 13))), START)
    store.add(arrivals(*(batch(number, 10.0, host="web-2", spool="beef") for number in range(1, 7))), START)
    return store


def test_readings_are_summed_up_by_steps_that_end_at_the_end(filled, reader) -> None:
    [hits, _] = reader.series("hits", "", 10)
    found = reader.readings([hits], ["value"], Steps(START, START + 120, 60))
    assert [(each.step_end - START, each.windows, each.sum) for each in found] == [(60, 6, 6.0), (120, 6, 6.0)]
    [level, _] = reader.series("level", "", 10)
    [early, late] = reader.readings([level], ["value"], Steps(START, START + 115, 60))
    assert (early.step_end, early.min, early.max) == (START + 55, 1.0, 5.0)
    assert (late.step_end, late.min, late.max) == (START + 115, 6.0, 11.0)


def test_windows_outside_the_time_and_statistics_not_asked_for_are_left_out(filled, reader) -> None:
    wanted = reader.series("lat", "", 10)
    found = reader.readings(wanted, ["p50", "count"], Steps(START + 20, START + 40, 10))
    assert {(each.stat, each.step_end - START) for each in found} == {
        (stat, at) for stat in ("p50", "count") for at in (30, 40)
    }
    assert {each.series for each in found} == {each.id for each in wanted}


def test_the_series_of_one_host_come_first_and_statistics_are_those_of_the_newest_batch(filled, reader) -> None:
    assert [each.host for each in reader.series("hits", "", 10)] == ["web-1", "web-2"]
    assert [each.host for each in reader.series("hits", "web-2", 1)] == ["web-2"]
    [lat, _] = reader.series("lat", "", 10)
    assert reader.stats(lat.id) == ["count", "p50", "sum"]
    assert reader.stats(999) == []


def test_names_are_found_by_what_they_contain_whatever_the_case(filled, reader) -> None:
    assert reader.names("", 10) == ["hits", "lat", "level"]
    assert reader.names("L", 10) == ["lat", "level"]
    assert reader.names("", 2) == ["hits", "lat"]
    assert reader.names("%", 2) == []


def test_the_newest_window_is_that_of_the_host_which_is_a_little_behind_and_not_of_one_far_behind(
    filled, reader, batch
) -> None:
    far = START + 1_000
    assert reader.newest_window(["web-1"], far) == (START + 120, 10.0)
    assert reader.newest_window(["web-1", "web-2"], far) == (START + 120, 10.0)
    filled.add(arrivals(batch(11, host="web-2", spool="beef")), START)
    assert reader.newest_window(["web-1", "web-2"], far) == (START + 110, 10.0)
    assert reader.newest_window(["web-1"], START + 35) == (START + 30, 10.0)
    assert reader.newest_window(["nobody"], START + 35) == (START + 35, 0.0)


def test_a_last_window_cut_short_by_a_stop_does_not_pass_for_the_length_of_windows(filled, reader) -> None:
    point = Point("hits", "counter", {"env": "prod"}, {"value": 1.0})
    window = Window(13, START + 120, START + 123, [point])
    filled.add(arrivals(encode("cafe", 13, "web-1", window, [point], START + 123)), START)
    assert reader.newest_window(["web-1"], START + 1_000) == (START + 123, 10.0)


def test_hosts_that_only_checked_in_are_hosts_and_each_has_its_own_last_checkin(filled, reader) -> None:
    for number, host in enumerate(("web-9", "web-1", "web-9")):
        filled.check_in(host, f'{{"host":"{host}","n":{number}}}', START + number)
    found = {each["host"]: each["checkin"] and each["checkin"]["body"]["n"] for each in reader.hosts()}
    assert found == {"web-1": 1, "web-2": None, "web-9": 2}
    assert [each["host"] for each in reader.hosts("web-9")] == ["web-9"]
    assert reader.hosts("nobody") == []
    assert [at for at, _ in reader.checkins("web-9", 1)] == [START + 2]


def test_no_query_of_a_page_reads_a_table_from_one_end_to_the_other(filled, monkeypatch) -> None:
    asked = []
    connect = sqlite3.connect

    def watched(*args, **kwargs):
        connection = connect(*args, **kwargs)
        connection.set_trace_callback(asked.append)
        return connection

    monkeypatch.setattr("shipper.receiver.reader.sqlite3.connect", watched)
    reader = StoreReader(filled.path, time.monotonic)
    wanted = reader.series("hits", "web-1", 10)
    reader.stats(wanted[0].id)
    reader.newest_window(["web-1"], START)
    reader.readings(wanted, ["value"], Steps(START, START + 120, 10))
    reader.names("h", 10)
    reader.checkins("web-1", 10)
    reader.notices("web-1", START, 10)
    monkeypatch.undo()
    selects = [each for each in asked if each.startswith(("select", "with"))]
    assert len(selects) >= 7
    connection = connect(filled.path)
    plans = {sql: [row[3] for row in connection.execute(f"explain query plan {sql}")] for sql in selects}
    connection.close()
    scans = [(step, sql) for sql, plan in plans.items() for step in plan if step.startswith("SCAN")]
    assert [each for each in scans if not each[0].startswith("SCAN names")] == []
    assert all("SCAN names" not in step or "recursive" in sql for step, sql in scans)


def test_what_takes_too_long_is_cut_off_and_says_what_to_do(filled) -> None:
    def series(number):
        return Series(number, "web-1", "counter", "{}")

    instants = count()
    reader = StoreReader(filled.path, lambda: float(next(instants)))  # a second passes whenever anybody looks
    with pytest.raises(TooMuch, match="Choose a shorter time"):
        reader.readings([series(number) for number in range(1, 3_000)], ["value"], Steps(0, START + 120, 10))
    assert reader.counts()["batches"] == 18  # and the turn was given back
    assert issubclass(TooMuch, StoreBusy)


def test_a_page_that_is_being_read_delays_no_batch_and_only_a_few_are_made_at_once(filled, reader, batch) -> None:
    inside, done = threading.Barrier(AT_ONCE + 1), threading.Event()

    def look():
        with reader._looking() as db:
            db.execute("select count(*) from readings").fetchone()
            inside.wait(10)
            done.wait(10)

    threads = [threading.Thread(target=look) for _ in range(AT_ONCE)]
    for each in threads:
        each.start()
    try:
        inside.wait(10)
        assert filled.add(arrivals(batch(50)), START).accepted == ["cafe-50"]
        with pytest.raises(StoreBusy, match="other pages"):
            reader.names("", 1)
    finally:
        done.set()
        for each in threads:
            each.join()
    assert reader.names("", 1) == ["hits"]
