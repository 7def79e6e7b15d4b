"""The watchdog condemns who is silent while it looks, and nobody else."""

import pytest

from spool.silence import Silence

TICK_S = 5.0


class Watched:
    """One program that is looked at every TICK_S."""

    def __init__(self, stale_after_s: float = 60.0) -> None:
        self.silence, self.clock, self.pid = Silence(stale_after_s), 1000.0, 7
        self.beat = {"pid": 7, "at": 50.0, "phase": "collecting", "touched_at": 50.0}

    def looks(self, times: int, every_s: float = TICK_S) -> list[float]:
        """The silences of those that were found stuck in so many looks."""
        found = []
        for _ in range(times):
            self.clock += every_s
            stuck = self.silence.look({"collector": self.pid}, {"collector": dict(self.beat)}, self.clock)
            found += [each.silent_s for each in stuck]
        return found


def test_who_does_not_beat_for_longer_than_the_limit_is_stuck() -> None:
    watched = Watched()
    assert watched.looks(13) == []
    assert watched.looks(1) == [65.0]


@pytest.mark.parametrize("sign", ["at", "touched_at"])
def test_who_beats_is_never_stuck_also_when_only_the_file_can_be_touched(sign: str) -> None:
    watched = Watched()
    for _ in range(10):
        assert watched.looks(12) == []
        watched.beat[sign] += 1.0


def test_a_heartbeat_of_another_process_condemns_nobody() -> None:
    watched = Watched()
    watched.pid = 8
    assert watched.looks(100) == []


def test_a_restarted_program_has_all_the_time_again() -> None:
    watched = Watched()
    watched.looks(13)
    watched.pid = watched.beat["pid"] = 8
    assert watched.looks(13) == []
    assert watched.looks(1) != []


def test_what_is_not_running_or_has_never_beaten_is_not_judged() -> None:
    silence = Silence(60.0)
    for clock in range(0, 1000, 5):
        assert silence.look({"receiver": 7}, {"collector": {"pid": 7, "at": 1.0, "phase": "x"}}, clock) == []


def test_time_in_which_nobody_looked_is_not_silence() -> None:
    watched = Watched()
    watched.looks(2)
    assert watched.looks(1, every_s=3600) == []  # the host slept, or the watchdog itself was frozen
    assert watched.looks(5) == []


def test_a_phase_that_may_last_longer_is_waited_for() -> None:
    watched = Watched()
    watched.beat["at_most_s"] = 120.0
    assert watched.looks(27) == []
    assert watched.looks(1) == [135.0]
    watched.beat |= {"at": 60.0, "at_most_s": 1.0}
    assert watched.looks(13) == []  # the general limit holds for a short one
    assert watched.looks(1) == [65.0]
