"""Windows for a committer, and what it says of them."""

import threading

from collector.aggregate import Aggregate
from collector.finished import Finished
from collector.selfmetrics import Circumstances
from collector.tally import Tally
from collector.window import Bounds


def finished(lines=b"a:1|c", end=10.0):
    aggregate = Aggregate(1000)
    Tally().fold([lines], aggregate)
    return Finished(Bounds(end - 10, end, False), aggregate.close(end), Circumstances())


class Told:
    """What the committer said, and a way to wait for it."""

    def __init__(self):
        self.outcomes = []
        self._changed = threading.Condition()

    def __call__(self, outcome):
        with self._changed:
            self.outcomes.append(outcome)
            self._changed.notify_all()

    def wait_for(self, kind, count=1):
        with self._changed:
            done = self._changed.wait_for(
                lambda: sum(isinstance(each, kind) for each in self.outcomes) >= count, timeout=10
            )
        assert done, self.outcomes
        return [each for each in self.outcomes if isinstance(each, kind)]
