"""What comes out of a parcel is what went in, however its bytes are cut."""

import random

import pytest

from collector.sketch import EXACT
from collector.tally import Tally
from collector.workers.parcel import PIECE_SERIES, Parcels, pieces
from collector.workers.share import Sharing


def share(seed, series=2 * PIECE_SERIES + 1):
    """A share with more series of each kind than go into one piece, some of them large."""
    chance = random.Random(seed)
    sharing, tally = Sharing(100_000), Tally()
    lines = [b"", b"bad", b"_e{1,2}:t|x\xc3\xa9|#a:b", b"_sc|db.up|2|d:1764000000|m:no answer"]
    for n in range(series):
        tags = b"|#env:\xc3\xa9,n:%d" % n
        lines += [
            b"c%d:%d|c" % (n, n) + tags,
            b"g%d:-%d|g" % (n, n) + tags,
            b"s%d:%d|s" % (n, n),
            b"t%d:%d|ms" % (n, n),
        ]
        lines.append(b"t%d:%f|ms|@0.3" % (n, chance.lognormvariate(0, 9)))
    lines += [b"large:%f|ms" % chance.gauss(0, 100) for _ in range(EXACT + 7)]
    lines += [b"many:%d|s" % n for n in range(10_007)]
    lines += [b"set:7|g", b"set:+1|g", b"after:0.1|g", b"zero:0|ms"]
    tally.fold(lines, sharing)
    sharing.turned(123.4567890123)
    tally.fold([b"after:+0.2|g", b"after:+0.7|g"], sharing)
    sharing.turned(234.5)
    return sharing.give()


def content(share):
    """All of it, so that it can be compared."""
    closed = share.closed
    return (
        closed.cells,
        {name: each.kept() for name, each in closed.timers.items()},
        {name: (each.members, each.registers) for name, each in closed.sets.items()},
        (closed.datagrams, closed.lines, closed.accepted, closed.rejected, closed.overflowed, closed.overflowed_by),
        closed.examples,
        (share.sets, share.moves, share.notices, share.taken),
    )


@pytest.mark.parametrize("at_a_time", [7, 65_536])
def test_shares_come_out_whole_and_in_order(at_a_time):
    sent = [share(seed) for seed in ((1,) if at_a_time < 100 else (1, 2))]
    stream = b"".join(piece for each in sent for piece in pieces(each))
    parcels, came = Parcels(), []
    for start in range(0, len(stream), at_a_time):
        came += parcels.take(stream[start : start + at_a_time])
    assert [content(each) for each in came] == [content(each) for each in sent]
    assert came[0].closed.timers["large"].exact is False
    assert came[0].moves["after"] == (pytest.approx(0.9), 234.5)


def test_a_share_is_made_in_pieces_of_few_series():
    sizes = [len(each) for each in pieces(share(1, series=10 * PIECE_SERIES))]
    assert len(sizes) > 40
    assert max(sizes) < 120_000


def test_an_empty_share_is_one_piece():
    sharing = Sharing(10)
    (piece,) = pieces(sharing.give())
    (came,) = Parcels().take(piece)
    assert content(came) == content(sharing.give())
