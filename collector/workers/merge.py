"""The shares of several workers, merged into one window.

Promises: counters add, timers' distributions are what they were if all values had come to one process, sets unite, of
notices what was said last stands last; series are bounded as in one process. A gauge is what it was set to last, by
whichever worker, plus what it was moved by since.

Does not promise an order of what two workers took within one turn (about 20 ms). And of a gauge that is set at one
worker and moved at another, a worker's moves since its own last share or set count together: all of them if the last
came after the other worker set the gauge, else none. All that comes from one socket is taken by one worker, in order.
"""

from collections.abc import Sequence
from operator import itemgetter

from collector.aggregate import Aggregate
from collector.rules import Reason
from collector.workers.share import Share

SPARE = 10_000
"""When a gauge was set is remembered of twice as many as are held, and of these: enough to forget the others seldom."""


class Merge:
    """Fills `into`, which is an ordinary window: it holds gauges, and knows what expires."""

    def __init__(self, into: Aggregate) -> None:
        self.into = into
        self.set_at: dict[str, float] = {}  # of the gauges that `into` holds, and of some that it does not any more

    def take(self, shares: Sequence[Share]) -> None:
        """Take shares of one window, and of earlier ones that come late; they are not to be used any more."""
        for share in shares:
            self.into.absorb(share.closed)
        said = [each for share in shares for each in share.notices]
        for notice, times, _ in sorted(said, key=itemgetter(2)):
            if not self.into.notices.take(notice, times):
                self.into.not_taken(Reason.TOO_MANY_NOTICES, notice.name.encode())[0] += times
        self._take_gauges(shares)

    def _take_gauges(self, shares: Sequence[Share]) -> None:
        held = self.into.held().gauges
        if len(self.set_at) > 2 * len(held) + SPARE:
            self.set_at = {series: at for series, at in self.set_at.items() if series in held}
        set_at, came = self.set_at, self.set_at.get
        values: dict[str, float] = {}
        for share in shares:
            for series, (value, at) in share.sets.items():
                if at >= came(series, at):
                    set_at[series], values[series] = at, value
        for series, value in values.items():
            self.into.gauge(series, value, delta=False)
        for share in shares:
            for series, (by, at) in share.moves.items():
                if at >= came(series, at):
                    self.into.gauge(series, by, delta=True)
