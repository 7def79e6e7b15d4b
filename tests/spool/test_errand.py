"""What an operator asks of the collector is done once somebody may write, a piece at a time, and can be taken back."""

import errno
import json
import os
import threading
import time
from functools import partial

import pytest

from spool import errand as module
from spool.batch import Point, Window
from spool.errand import Done, Errand, Errands, carry_out
from spool.errors import SpoolBusy
from spool.writer import SpoolWriter


def opener(directory):
    return partial(SpoolWriter.open, directory, "web-1")


@pytest.fixture
def writer(tmp_path):
    opened = SpoolWriter.open(tmp_path, "web-1")
    for seq in range(1, 4):
        opened.commit(Window(seq, seq * 10 - 10, seq * 10, [Point("a", "counter", {}, {"value": 1.0})]), seq * 10)
    yield opened
    opened.close()


def counting(pieces):
    def do(_writer, _errand, _data):
        for number in range(1, pieces + 1):
            yield {"pieces": number}

    return do


def ask(directory, errand=None, **given):
    errand = errand or Errand("count", "op", 1.0, given)
    module._ask(directory, errand, b"")
    return errand


def left_in(directory):
    return sorted(each.name for each in directory.glob("*errand-*"))


def test_pieces_are_done_one_at_a_time_and_told_after_each(writer, tmp_path):
    errand = ask(tmp_path)
    errands = Errands(writer, {"count": counting(2)})
    assert [errands.run()[1] for _ in range(3)] == [
        Done({"pieces": 1}, False),
        Done({"pieces": 2}, False),
        Done({"pieces": 2}, True),
    ]
    assert errands.run() is None
    assert json.loads((tmp_path / f"errand-{errand.id}.done.json").read_text())["finished"]


def test_one_that_is_taken_back_is_not_gone_on_with(writer, tmp_path):
    errand = ask(tmp_path)
    errands = Errands(writer, {"count": counting(5)})
    errands.run()
    (tmp_path / f"errand-{errand.id}.json").unlink()
    assert errands.run() is None


def test_errands_are_done_in_the_order_they_were_asked_for(writer, tmp_path):
    first, second = Errand("count", "op", 1.0, id="1-a"), Errand("count", "op", 1.0, id="2-a")
    ask(tmp_path, second)
    ask(tmp_path, first)
    errands = Errands(writer, {"count": counting(1)})
    assert [errands.run()[0].id for _ in range(4)] == ["1-a", "1-a", "2-a", "2-a"]


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"what": "count", "mood": 1}', '{"what": "fly", "who": "op", "at": 1}', ""]
)
def test_what_nobody_understands_is_answered_and_ends_nothing(writer, tmp_path, text):
    (tmp_path / "errand-1-a.json").write_text(text)
    _, done = Errands(writer, {"count": counting(1)}).run()
    assert done.finished and done.error
    assert left_in(tmp_path) == ["errand-1-a.done.json"]


def test_a_doer_that_fails_ends_its_errand_and_not_the_collector(writer, tmp_path):
    def fail(*_):
        yield {"pieces": 1}
        raise RuntimeError("cannot")

    ask(tmp_path)
    errands = Errands(writer, {"count": fail})
    assert errands.run()[1] == Done({"pieces": 1}, False)
    assert errands.run()[1] == Done({"pieces": 1}, True, "cannot")


def test_answers_that_nobody_read_are_removed_after_an_hour(writer, tmp_path):
    for name, age_s in (("errand-1-a.done.json", 3_700), ("errand-1-a.data", 3_700), ("errand-2-a.done.json", 60)):
        (tmp_path / name).write_text("{}")
        os.utime(tmp_path / name, (time.time() - age_s,) * 2)
    Errands(writer, {}).run()
    assert left_in(tmp_path) == ["errand-2-a.done.json"]


def test_while_no_collector_runs_it_is_done_here_and_health_keeps_the_collectors_start(writer, tmp_path):
    writer.close()
    os.utime(tmp_path / "collector.lock", (1_000, 1_000))
    told = []
    done = carry_out(
        tmp_path,
        opener(tmp_path),
        Errand("count", "op", 1.0),
        b"",
        {"count": counting(2)},
        pytest.fail,
        told.append,
    )
    assert done == Done({"pieces": 2}, True)
    assert [each.so_far["pieces"] for each in told] == [1, 2]
    assert left_in(tmp_path) == []
    assert (tmp_path / "collector.lock").stat().st_mtime == 1_000


def test_while_a_collector_runs_it_is_done_there(writer, tmp_path):
    stop = threading.Event()

    def collector():
        errands = Errands(writer, {"count": counting(3)})
        while not stop.is_set():
            errands.run()
            stop.wait(0.01)

    thread = threading.Thread(target=collector)
    thread.start()
    try:
        mine = {"count": lambda *_: pytest.fail("done by the wrong one")}
        done = carry_out(
            tmp_path,
            opener(tmp_path),
            Errand("count", "op", 1.0),
            b"",
            mine,
            time.sleep,
            lambda _: None,
        )
    finally:
        stop.set()
        thread.join()
    assert done == Done({"pieces": 3}, True)
    assert left_in(tmp_path) == []


def test_a_collector_that_does_no_errands_is_given_up_and_nothing_is_left_behind(writer, tmp_path):
    waited = []
    with pytest.raises(SpoolBusy, match="did not take this up within 30 s"):
        carry_out(
            tmp_path,
            opener(tmp_path),
            Errand("count", "op", 1.0),
            b"x",
            {},
            waited.append,
            lambda _: None,
        )
    assert 29 < sum(waited) < 31
    assert left_in(tmp_path) == []


def test_a_disk_without_room_for_the_request_is_a_sentence(writer, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "_write", full)
    with pytest.raises(SpoolBusy, match="No space left on device: not even what is asked for"):
        carry_out(tmp_path, opener(tmp_path), Errand("count", "op", 1.0), b"x", {}, time.sleep, lambda _: None)


def test_interrupted_it_is_taken_back(writer, tmp_path):
    def interrupt(_):
        assert len(left_in(tmp_path)) == 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        carry_out(
            tmp_path,
            opener(tmp_path),
            Errand("count", "op", 1.0),
            b"",
            {},
            interrupt,
            lambda _: None,
        )
    assert left_in(tmp_path) == []
