"""The audit names what does not add up, and nothing else. Each kind of fault is made once in otherwise right books."""

from dataclasses import replace

import pytest

from spool.accounts import BatchRow, Books, Ledger, LossRow, WindowRow, audit
from spool.audit import audited, read_books
from spool.batch import State
from spool.delivery import Delivery, Settled
from spool.errors import SpoolMissing
from spool.retention import Loss, Reason
from spool.writer import SpoolWriter
from tests.spool.damaged import window

ACK = State.ACKNOWLEDGED


def window_row(seq, first, last, points=10, **changed):
    row = WindowRow(
        seq, seq * 10.0, seq * 10.0 + 10, first, last, points, lines=5, accepted=4, rejected=1, by_reason=1, dropped=0
    )
    return row._replace(**changed)


@pytest.fixture
def books():
    """Windows 1-5, the third of two batches; 1 is gone and acknowledged, 2 was lost unsent, 6 is unsent."""
    states = {1: ACK, 3: ACK, 4: State.DEAD, 5: ACK}
    return Books(
        windows=[
            window_row(1, 1, 1),
            window_row(2, 2, 2),
            window_row(3, 3, 4, points=20),
            window_row(4, 5, 5),
            window_row(5, 6, 6),
        ],
        batches=[BatchRow(3, 3, 12), BatchRow(4, 3, 8), BatchRow(5, 4, 10), BatchRow(6, 5, 10)],
        losses=[LossRow("size", 2, 2, 2, 2, 1, 10)],
        ledgers=[Ledger("main", states, states, settled_through=5)],
        last_batch=6,
    )


def changed(sequence, at, **values):
    return [each._replace(**values) if number == at else each for number, each in enumerate(sequence)]


def test_right_books_add_up_and_every_point_is_counted_once(books):
    result = audit(books)
    assert result.problems == ()
    assert result.destinations["main"] == {"acknowledged": 32, "dead": 8, "unsent": 10, "lost": 10}
    assert sum(result.destinations["main"].values()) == result.points == 60
    assert (result.lines, result.accepted, result.rejected) == (25, 20, 5)
    assert result.exit_code == 1, "losses and a dead batch are worth a look"


def test_nothing_lost_dead_or_dropped_is_fine(books):
    states = dict.fromkeys(range(1, 6), ACK)
    result = audit(replace(books, losses=[], ledgers=[Ledger("main", states, states, 5)]))
    assert (result.problems, result.attention, result.exit_code) == ((), (), 0)


FAULTS = {
    "a line is neither accepted nor rejected": (
        lambda b: replace(b, windows=changed(b.windows, 3, lines=6)),
        "window 4: 6 lines are not 4 accepted + 1 rejected",
    ),
    "rejected lines without a reason": (
        lambda b: replace(b, windows=changed(b.windows, 0, by_reason=0)),
        "window 1: 1 lines rejected, 0 by reason",
    ),
    "a held batch has too few points": (
        lambda b: replace(b, batches=changed(b.batches, 3, points=9)),
        "window 5: 10 points committed, its batches hold 9",
    ),
    "a held batch has too many points": (
        lambda b: replace(b, batches=changed(b.batches, 0, points=13)),
        "window 3: 20 points committed, its batches hold 21",
    ),
    "a batch is gone without a trace": (
        lambda b: replace(b, batches=b.batches[:3]),
        "batches 6 of window 5: gone, in no row of losses, not settled at main",
    ),
    "a window is missing": (
        lambda b: replace(b, windows=[*b.windows[:3], b.windows[4]], batches=[*b.batches[:2], b.batches[3]]),
        "windows 4 to 4: neither",
    ),
    "a batch is in no window": (
        lambda b: replace(b, batches=[*b.batches, BatchRow(7, 6, 1)], last_batch=7),
        "batches 7: held, and in no window",
    ),
    "a batch says it is of another window": (
        lambda b: replace(b, batches=changed(b.batches, 2, window_seq=9)),
        "batches 5: within window 4",
    ),
    "a state of a batch that never was": (
        lambda b: replace(b, last_batch=5, windows=b.windows[:4], batches=b.batches[:3],
                          ledgers=[replace(b.ledgers[0], before={**b.ledgers[0].before, 6: ACK})]),
        "main: has states of batches 6; the newest batch ever is 5",
    ),
    "an unsent batch is passed over": (
        lambda b: replace(b, ledgers=[replace(b.ledgers[0], settled_through=6)]),
        "main: batches 6 are unsent and counted as settled",
    ),
    "a loss has the wrong points": (
        lambda b: replace(b, losses=[b.losses[0]._replace(points=9)]),
        "loss of batches 2 to 2: 9 points, they had 10",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_named_and_nothing_else_is(books, name):
    fault, said = FAULTS[name]
    result = audit(fault(books))
    assert len(result.problems) == 1, result.problems
    assert result.problems[0].startswith(said)
    assert result.exit_code == 2


def test_a_batch_that_two_windows_claim_is_named(books):
    result = audit(replace(books, windows=changed(books.windows, 4, first_batch=5)))
    assert "windows 4 and 5: both claim batch 5" in result.problems


def test_what_a_destination_was_never_owed_is_no_fault_but_counted_by_itself(books):
    younger = Ledger("later", {3: ACK, 4: ACK, 5: ACK}, {3: ACK, 4: ACK, 5: ACK}, 5)
    unreadable = Ledger("broken", problem="file is not a database")
    result = audit(replace(books, ledgers=[*books.ledgers, younger, unreadable]))
    assert result.problems == ()
    assert result.destinations["later"] == {"acknowledged": 30, "unsent": 10, "untold": 10, "lost": 10}
    assert any("broken: file is not" in each for each in result.attention)


def test_what_is_settled_while_the_books_are_read_is_settled(books):
    main = books.ledgers[0]
    after = {**main.after, 6: ACK}
    result = audit(replace(books, batches=books.batches[:3], ledgers=[replace(main, after=after)]))
    assert result.problems == ()


def test_windows_that_went_with_a_damaged_file_are_told_of_by_its_loss(books):
    rows = [books.windows[0], *books.windows[2:]]
    without = replace(books, windows=rows, losses=[LossRow("damage", 2, 2, 2, 2, 1, 0)])
    assert audit(without).problems == ()
    assert audit(replace(without, losses=[])).problems == ("windows 2 to 2: neither kept nor lost",)


@pytest.fixture
def spool(tmp_path):
    writer = SpoolWriter.open(tmp_path / "spool", "web-1")
    for seq in range(1, 7):
        writer.commit(window(seq, points=5), seq * 10.0)
    delivery = Delivery.open(writer.directory, "main", writer.spool_id)
    delivery.settle({each: Settled(ACK) for each in (1, 2)}, 100.0)
    yield writer, delivery
    delivery.close()
    writer.close()


def test_a_real_spool_is_audited_through_acknowledgement_eviction_and_loss(spool):
    writer, _ = spool
    loss = Loss(Reason.SIZE, 3, 3, 3, 3, 30.0, 40.0, 1, 5, ("main",))
    writer.evict([], [1], 200.0)
    writer.evict([loss], [3], 200.0)
    result = audited(writer.directory, ["main"], lambda _: None)
    assert result.problems == ()
    assert result.destinations["main"] == {"acknowledged": 10, "unsent": 15, "lost": 5}


def test_a_batch_deleted_behind_everyones_back_is_found(spool):
    writer, _ = spool
    with writer.transaction() as db:
        db.execute("DELETE FROM batches WHERE id = 4")
    waited = []
    result = audited(writer.directory, ["main"], waited.append)
    assert result.problems == ("batches 4 of window 4: gone, in no row of losses, not settled at main",)
    assert len(waited) == 2, "it is read again before it is believed"


def test_reading_the_books_leaves_no_snapshot_behind(spool):
    writer, _ = spool
    read_books(writer.directory, ["main"])
    writer.commit(window(7), 70.0)
    writer.checkpoint()
    assert (writer.directory / "spool.db-wal").stat().st_size == 0


def test_a_spool_that_is_not_set_up_yet_is_missing(spool):
    writer = spool[0]
    with writer.transaction() as db:
        db.execute("DELETE FROM meta WHERE name = 'spool_id'")
    with pytest.raises(SpoolMissing, match="not set up yet"):
        audited(writer.directory, ["main"], lambda _: None)


def test_what_was_settled_before_a_destination_was_added_that_has_sent_nothing_yet_adds_up(books):
    result = audit(replace(books, ledgers=[*books.ledgers, Ledger("new")]))
    assert result.problems == ()
    assert result.destinations["new"] == {"unsent": 40, "untold": 10, "lost": 10}
    alone = audit(replace(books, ledgers=[Ledger("new")]))
    assert [each for each in alone.problems if "not settled at new" in each], "nobody had it"
