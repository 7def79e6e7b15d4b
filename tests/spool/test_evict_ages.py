"""What time does to a spool whose batches nobody needs room of: when they go, and when what was told of them goes."""

from spool.accounts import audit
from spool.audit import read_books
from spool.batch import Point, State, Window
from spool.config import SpoolConfig
from spool.delivery import Settled
from spool.evict import Evictor
from spool.reader import SpoolReader

AT = 1_764_000_000.0


def evictor(writer, **ages):
    others = dict.fromkeys(("max_age_unsent_s", "max_age_sent_s", "max_age_dead_s"), 10**9)
    return Evictor(writer, SpoolConfig(**{"disk_reserve_bytes": 0, **others, **ages}), ["main"])


def commit(writer, windows, later_s=0.0):
    """Commit that many windows of 10 s, all of them that much later than their numbers say."""
    for _ in range(windows):
        seq = writer.next_window_seq()
        end = AT + 10 * seq + later_s
        point = Point("hits", "counter", {}, {"value": 1.0})
        writer.commit(Window(seq, end - 10, end, [point], lines=3, accepted=3), end + 0.1)


def settle(delivery, state, *ids):
    delivery.settle({each: Settled(state) for each in ids}, AT)


def lost(writer):
    with SpoolReader(writer.directory) as reader:
        return [(row["reason"], row["first_batch"], row["last_batch"]) for row in reversed(reader.losses())]


def test_what_an_operator_made_unsent_again_has_its_time_to_be_sent_however_old_it_is(writer, main):
    commit(writer, 30)
    settle(main, State.ACKNOWLEDGED, *range(4, 31))
    settle(main, State.DEAD, 1, 2, 3)
    main.hold([4], AT + 300, "ann")  # changes nothing: it is acknowledged
    main.make_unsent([1, 3], AT + 301, "ann", "dead requeue", [State.DEAD])
    limited = evictor(writer, max_age_unsent_s=100)
    assert limited.run(AT).by_reason == {}
    commit(writer, 10)
    main.hold([1], AT + 390, "ann")
    assert limited.run(AT).by_reason == {}, "a hundred seconds from then on"
    commit(writer, 1)
    assert limited.run(AT).by_reason == {"age_unsent": 2}
    assert lost(writer) == [("age_unsent", 1, 1), ("age_unsent", 3, 3)]


# --- history -----------------------------------------------------------------------------------------------

MONTH_S = 31 * 86_400


def windows(writer):
    with SpoolReader(writer.directory) as reader:
        return [row["seq"] for row in reversed(reader.windows(1_000_000))]


def problems(writer):
    return audit(read_books(writer.directory, ["main"])).problems


def test_old_windows_and_losses_are_forgotten_but_never_the_sequence(writer, main):
    commit(writer, 3)
    settle(main, State.DEAD, 2)
    settle(main, State.ACKNOWLEDGED, 1, 3)
    evictor(writer, max_age_dead_s=5, max_age_sent_s=5).run(AT)
    assert lost(writer) == [("age_dead", 2, 2)]
    commit(writer, 1, 40 * 86_400)
    evictor(writer, max_age_sent_s=5).run(AT + 40 * 86_400)
    assert (windows(writer), lost(writer)) == ([4], [])
    assert writer.next_window_seq() == 5


def test_a_window_is_remembered_as_long_as_a_batch_of_it_or_of_an_older_one_is_held(writer, main):
    commit(writer, 10)  # the host is switched off then, for a month
    settle(main, State.ACKNOWLEDGED, 1, 2, 5)
    commit(writer, 1, MONTH_S)
    evictor(writer, max_age_sent_s=50).run(AT + MONTH_S)
    assert windows(writer) == list(range(3, 12)), "nobody holds 1, 2 and 5"
    assert problems(writer) == ()


def test_a_loss_is_remembered_as_long_as_a_window_that_it_tells_of(writer, main):
    commit(writer, 1_500)
    evictor(writer, max_age_unsent_s=100).run(AT)
    evictor(writer, max_age_unsent_s=100).run(AT)
    evictor(writer, max_age_unsent_s=100).run(AT)
    commit(writer, 1, MONTH_S)
    evictor(writer).run(AT + MONTH_S)  # forgets a thousand at a time
    assert windows(writer)[0] == 1_001
    assert problems(writer) == ()


def test_a_clock_that_was_ahead_for_a_while_leaves_no_gap_in_what_is_remembered(writer, main):
    commit(writer, 5)
    commit(writer, 5, 3 * MONTH_S)
    commit(writer, 5)
    settle(main, State.ACKNOWLEDGED, *range(1, 16))
    commit(writer, 1, MONTH_S)
    evictor(writer, max_age_sent_s=5).run(AT + MONTH_S)
    assert problems(writer) == ()
