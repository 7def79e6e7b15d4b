"""Windows reach the spool, or stay in memory until they do, or are recorded as lost. Real spool, real thread."""

import signal
import threading
import time
from dataclasses import replace

import pytest

from collector import committer as module
from collector.committer import Committed, Kept, Lost, lost
from collector.finished import Finished
from collector.selfmetrics import Circumstances
from spool import salvage
from spool.again import SIGNALS, hold_signals, release_signals
from spool.batch import decode, points_of
from spool.errand import Done, Errand
from spool.errors import SpoolBusy
from spool.evict import Evicted, Evictor
from spool.heartbeat import heartbeats
from spool.reader import SpoolReader
from spool.writer import SpoolWriter
from tests.collector.committing import finished


def test_a_window_is_committed_with_its_points_and_the_collectors_own(committing, tmp_path):
    committer, told = committing(lambda: SpoolWriter.open(tmp_path, "web-1"))
    committer.start()
    committer.hand_over(finished(b"a:1|c\nbad"))
    (done,) = told.wait_for(Committed)
    points = {p.name: p for p in points_of(decode(done.batches[0].payload))}
    assert points["a"].values == {"value": 1.0}
    assert points["holdfast.rejected"].values == {"value": 1.0}
    assert (done.window.seq, done.window.lines, done.window.accepted) == (1, 2, 1)
    assert committer.commit_ms > 0
    assert committer.finish(5)
    assert heartbeats(tmp_path)["collector"]["last_window"] == 1


def test_an_errand_without_end_holds_no_window_up(committing, tmp_path):
    class Endless:
        pieces = 0

        def run(self):
            self.pieces += 1
            return Errand("prune", "test", 0.0), Done({}, self.pieces > 1_000)

    endless = Endless()
    committer, told = committing(lambda: SpoolWriter.open(tmp_path, "web-1"), errands=lambda _: endless)
    committer.start()
    for end in (10.0, 20.0, 30.0):
        before = endless.pieces
        give_up = time.monotonic() + 10
        while endless.pieces == before and time.monotonic() < give_up:
            time.sleep(0.001)
        committer.hand_over(finished(end=end))
        told.wait_for(Committed, end // 10)
    assert endless.pieces < 1_000


def test_an_eviction_that_takes_long_holds_no_stop_up(committing, tmp_path):
    class Endless:
        begun = threading.Event()

        def run(self, _now):
            self.begun.set()
            time.sleep(0.001)
            return Evicted({}, 0, 0, 0, 0, more=True)

    endless = Endless()
    committer, told = committing(lambda: SpoolWriter.open(tmp_path, "web-1"), evictor=lambda _: endless)
    committer.start()
    committer.hand_over(finished())
    told.wait_for(Committed)
    assert endless.begun.wait(10)
    assert committer.finish(5)


@pytest.mark.parametrize(("interval_s", "in_all_s"), [(0.8, 0.4), (3_600.0, 2.0)])
def test_work_on_a_window_gives_way_to_reception_within_bounds(committing, tmp_path, interval_s, in_all_s):
    asked = []

    def give_way(at_most_s):
        asked.append(at_most_s)
        return at_most_s

    committer, told = committing(lambda: SpoolWriter.open(tmp_path, "web-1"), interval_s=interval_s, give_way=give_way)
    committer.start()
    for end in (10.0, 20.0):
        committer.hand_over(finished(b"\n".join(b"name.%d:1|c" % n for n in range(900)), end))
        told.wait_for(Committed, end // 10)
        assert sum(asked) == pytest.approx(in_all_s)
        assert max(asked) <= 0.1, "a stop is seen soon"
        asked.clear()


@pytest.mark.parametrize("stops", [False, True])
def test_who_has_to_hurry_gives_way_to_nothing(committing, tmp_path, stops):
    waiting, entered, leave = [], threading.Event(), threading.Event()

    def give_way(_):
        waiting.append(committer.waiting)
        entered.set()
        leave.wait(10)
        return 0.001

    many = b"\n".join(b"name.%d:1|c" % n for n in range(900))
    committer, told = committing(lambda: SpoolWriter.open(tmp_path, "web-1"), interval_s=8.0, give_way=give_way)
    committer.start()
    committer.hand_over(finished(many, 10.0))
    assert entered.wait(10)
    if stops:
        assert not committer.finish(0.0)
    else:
        committer.hand_over(finished(many, 20.0))
    leave.set()
    told.wait_for(Committed, 1 if stops else 2)
    assert committer.finish(10)
    assert set(waiting) == {1}  # that is, never while a second one waited
    assert len(waiting) == 1 or not stops


def test_windows_wait_for_a_spool_that_cannot_be_opened_and_keep_their_order(committing, tmp_path):
    willing = threading.Event()

    def open_spool():
        if not willing.is_set():
            raise SpoolBusy("disk full")
        return SpoolWriter.open(tmp_path, "web-1")

    committer, told = committing(open_spool)
    committer.start()
    for n in range(3):
        committer.hand_over(finished(end=10.0 * (n + 1)))
    told.wait_for(Kept, 2)
    assert committer.waiting == 3
    willing.set()
    done = told.wait_for(Committed, 3)
    assert [each.window.end for each in done] == [10.0, 20.0, 30.0]
    assert [each.window.seq for each in done] == [1, 2, 3]
    assert committer.waiting == 0


def test_room_is_made_between_windows_that_a_full_disk_kept_waiting(committing, tmp_path, monkeypatch):
    held = []

    def run(self, now):
        with SpoolReader(tmp_path) as spool:
            held.append(spool.extent()["batches"])
        return Evicted({}, 0, 0, 0, 0, more=False)

    monkeypatch.setattr(Evictor, "run", run)
    committer, told = committing(lambda: SpoolWriter.open(tmp_path, "web-1"))
    for n in range(3):
        committer.hand_over(finished(end=10.0 * (n + 1)))
    committer.start()
    told.wait_for(Committed, 3)
    assert committer.finish(5)
    assert held[:2] == [1, 2]


def test_beyond_the_bound_the_oldest_is_shed_and_recorded_as_a_loss(committing, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "KEEP_BYTES", 3 * finished().size_bytes)
    willing = threading.Event()

    def open_spool():
        if not willing.is_set():
            raise SpoolBusy("disk full")
        return SpoolWriter.open(tmp_path, "web-1")

    committer, told = committing(open_spool)
    for n in range(5):
        committer.hand_over(finished(end=10.0 * (n + 1)))
    assert committer.take_shed() == 2
    committer.start()
    told.wait_for(Kept)
    willing.set()
    assert told.wait_for(Lost) == [Lost(2, 2, "memory full")]
    assert [each.window.end for each in told.wait_for(Committed, 3)] == [30.0, 40.0, 50.0]


def test_what_is_shed_is_added_up_by_neither_the_receive_loop_nor_a_thread_that_the_spool_may_hold(
    committing, tmp_path, monkeypatch
):
    size = finished(lines := b"a:1|c\nb:1|c").size_bytes
    monkeypatch.setattr(module, "KEEP_BYTES", size)
    held, refused, adders, counted = threading.Event(), threading.Event(), [], Finished.counted

    def open_spool():
        refused.set()
        held.wait(20)
        return SpoolWriter.open(tmp_path, "web-1")

    def noted(finished):
        adders.append(threading.current_thread())
        try:
            return counted(finished)
        finally:
            added.set()

    added = threading.Event()
    monkeypatch.setattr(Finished, "counted", noted)
    committer, told = committing(open_spool)
    committer.start()
    assert refused.wait(10)
    for end in (10.0, 20.0):
        committer.hand_over(finished(lines, end))
    assert added.wait(10)  # and so what it took of memory is free again
    held.set()
    assert told.wait_for(Lost) == [Lost(1, 2, "memory full")]
    assert [each.name for each in adders] == ["adder_0"]
    assert committer.finish(5)
    with SpoolReader(tmp_path) as spool:
        (row,) = spool.losses(10)
    assert (row["window_end"], row["points"]) == (10.0, 2)


def test_the_thread_that_adds_up_is_there_from_the_start_and_takes_no_signal_that_was_held_then(
    committing, tmp_path, monkeypatch
):
    monkeypatch.setattr(module, "KEEP_BYTES", finished().size_bytes)
    held, refused, masks, counted = threading.Event(), threading.Event(), [], Finished.counted

    def open_spool():
        refused.set()
        held.wait(20)
        return SpoolWriter.open(tmp_path, "web-1")

    def noted(finished):
        masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        return counted(finished)

    def no_more_threads(_thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Finished, "counted", noted)
    committer, told = committing(open_spool)
    hold_signals()
    try:
        committer.start()
    finally:
        release_signals()
    assert refused.wait(10)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", no_more_threads)
        for end in (10.0, 20.0):
            committer.hand_over(finished(end=end))
    held.set()
    assert told.wait_for(Lost) == [Lost(1, 1, "memory full")]
    assert [each.issuperset(SIGNALS) for each in masks] == [True]


def test_lines_that_went_with_a_worker_are_recorded_as_a_loss_beside_their_window(committing, tmp_path):
    committer, told = committing(lambda: SpoolWriter.open(tmp_path, "web-1"))
    committer.hand_over(replace(finished(), around=Circumstances(worker_lost_lines=7)))
    committer.start()
    told.wait_for(Committed)
    assert told.wait_for(Lost) == [Lost(1, 7, "worker ended")]
    assert committer.take_shed() == 0
    assert committer.finish(5)
    with SpoolReader(tmp_path) as spool:
        (row,) = spool.losses(10)
    assert (row["reason"], row["lines"], row["window_start"], row["window_end"]) == ("worker ended", 7, 0.0, 10.0)


def test_finish_commits_what_was_just_handed_over(committing, tmp_path):
    committer, told = committing(lambda: SpoolWriter.open(tmp_path, "web-1"))
    committer.start()
    committer.hand_over(finished())
    committer.hand_over(finished())
    assert committer.finish(5)
    assert sum(isinstance(each, Committed) for each in told.outcomes) == 2


def test_what_finish_cannot_commit_is_told_as_lost_and_recorded_by_the_next_start(committing, tmp_path):
    def open_spool():
        raise SpoolBusy("disk full")

    committer, told = committing(open_spool)
    committer.start()
    committer.hand_over(finished())
    committer.hand_over(finished())
    committer.finish(5)
    assert told.outcomes[-1] == Lost(2, 2, "stopped while the spool took nothing")
    salvage.open_spool(tmp_path, "web-1", 1.0, lambda _replaced: None).close()
    with SpoolReader(tmp_path) as spool:
        (loss,) = spool.losses()
    assert (loss["last_window"], loss["lines"], loss["reason"]) == (2, 2, "stopped while the spool took nothing")


def test_handing_over_never_waits_for_a_spool_that_hangs(committing):
    release = threading.Event()

    def open_spool():
        release.wait(10)
        raise SpoolBusy("late")

    committer, told = committing(open_spool)
    committer.start()
    begun = time.monotonic()
    for _ in range(100):
        committer.hand_over(finished())
    assert time.monotonic() - begun < 2
    assert committer.waiting == 100
    assert not committer.finish(0.05)
    assert lost(committer.left(), "hung") == Lost(100, 100, "hung")
    release.set()
    told.wait_for(Kept)


def test_a_folder_that_was_removed_is_made_anew_and_the_window_is_committed_there(committing, tmp_path):
    folder = tmp_path / "spool"
    committer, told = committing(lambda: SpoolWriter.open(folder, "web-1"))
    committer.start()
    committer.hand_over(finished(b"a:1|c"))
    told.wait_for(Committed)
    folder.rename(tmp_path / "removed")  # at one instant: what is deleted file by file is still written to
    committer.hand_over(finished(b"a:2|c"))
    told.wait_for(Committed, 2)
    with SpoolReader(folder) as reader:
        assert [each.window_seq for each in reader.headers_after(0)] == [1]


def test_what_waits_is_estimated_with_the_length_of_its_names():
    few, long = finished(b"a:1|c"), finished(b"a" * 1000 + b":1|c|#" + b"b" * 5000)
    assert long.size_bytes - few.size_bytes >= 5_999


@pytest.mark.parametrize(
    ("line", "times", "numbers"),
    [
        (b"a:1|c", 100_000, 1),  # only counted
        (b"a:125|c", 100_000, 0),
        (b"a:5|g", 100_000, 0),
        (b"a:5|ms", 1_000, 1_000),
        (b"a:5|ms", 100_000, 673),  # the last of them, and the bucket of all others
        (b"a:5|ms|@0.5", 1_000, 1_000),
        (b"a:%d|s", 1_000, 1_000),
        (b"a:%d|s", 20_000, 1 << 14),
    ],
)
def test_what_waits_is_estimated_by_what_is_kept_not_by_how_much_came(line, times, numbers):
    lines = b"\n".join(line % n if b"%" in line else line for n in range(times))
    nothing = finished(b"a:5|g").size_bytes
    assert finished(lines).size_bytes - nothing == pytest.approx(100 * numbers, abs=700)


def test_of_very_many_timers_each_line_is_taken_for_kept(monkeypatch):
    monkeypatch.setattr("collector.finished.MEASURED", 2)
    lines = b"\n".join(b"t.%d:5|ms" % n for n in (0, 1, 2, *[0] * 10_000))
    assert finished(lines).size_bytes > 100 * 10_000
