"""Whatever fails, the committer's thread goes on: what came is in the spool as soon as that takes anything."""

import errno
import threading

from collector import committer as module
from collector.committer import Committed, Kept
from spool.errors import SpoolBusy
from spool.evict import Evicted
from spool.writer import SpoolWriter
from tests.collector.committing import finished


class Fails:
    """Whatever is asked of it, the first time."""

    def __init__(self, error, answer=None):
        self.error, self.answer = error, answer

    def __call__(self, *_):
        error, self.error = self.error, None
        if error is not None:
            raise error
        return self.answer

    run = __call__


NO_DESCRIPTOR = OSError(errno.EMFILE, "Too many open files")


def test_an_error_that_nobody_foresaw_does_not_end_the_thread(committing, tmp_path):
    attempts = []

    def open_spool():
        attempts.append(1)
        if len(attempts) == 1:
            raise RuntimeError("unforeseen")
        return SpoolWriter.open(tmp_path, "web-1")

    committer, told = committing(open_spool)
    committer.start()
    committer.hand_over(finished())
    assert "unforeseen" in str(told.wait_for(Kept)[0].error)
    told.wait_for(Committed)


def test_an_errand_that_cannot_be_looked_for_does_not_end_the_thread(committing, tmp_path):
    committer, told = committing(lambda: SpoolWriter.open(tmp_path, "web-1"), errands=lambda _: Fails(NO_DESCRIPTOR))
    committer.start()
    committer.hand_over(finished())
    assert told.wait_for(Kept)[0].error is NO_DESCRIPTOR
    committer.hand_over(finished(end=20.0))
    told.wait_for(Committed, 2)
    assert committer.finish(5)


def test_what_fails_after_a_commit_was_refused_does_not_end_the_thread(committing, tmp_path, monkeypatch):
    refuse, commit = Fails(SpoolBusy("disk full")), SpoolWriter.commit
    monkeypatch.setattr(SpoolWriter, "commit", lambda *given: refuse() or commit(*given))
    evictor = Fails(MemoryError(), Evicted({}, 0, 0, 0, 0, more=False))
    evictor.free_ballast = lambda: False
    committer, told = committing(lambda: SpoolWriter.open(tmp_path, "web-1"), evictor=lambda _: evictor)
    committer.hand_over(finished())
    committer.start()
    told.wait_for(Kept)
    told.wait_for(Committed)
    assert committer.finish(5)


def test_a_spool_of_which_nothing_can_be_known_does_not_end_the_thread(committing, tmp_path, monkeypatch):
    willing = threading.Event()

    def open_spool():
        if not willing.is_set():
            raise NO_DESCRIPTOR
        return SpoolWriter.open(tmp_path, "web-1")

    known = Fails(NO_DESCRIPTOR, {})
    monkeypatch.setattr(module, "heartbeats", known)
    committer, told = committing(open_spool)
    committer.start()
    told.wait_for(Kept)
    committer.hand_over(finished())
    willing.set()
    told.wait_for(Committed)
    assert known.error is None
