"""Who asks waits while reception is behind, and no longer than it is ready to."""

import threading
import time

from collector.precedence import Precedence


def test_who_gives_way_waits_until_reception_has_caught_up():
    precedence, waited = Precedence(time.monotonic), []
    assert precedence.give_way(60.0) == 0.0
    precedence.claim(True)
    other = threading.Thread(target=lambda: waited.append(precedence.give_way(60.0)))
    other.start()
    other.join(0.05)
    assert other.is_alive()
    precedence.claim(False)
    other.join(10.0)
    assert 0 < waited[0] < 10.0


def test_who_gives_way_does_so_no_longer_than_it_said():
    precedence = Precedence(time.monotonic)
    precedence.claim(True)
    assert precedence.give_way(0.0) == 0.0
    assert 0.01 <= precedence.give_way(0.01) < 10.0
