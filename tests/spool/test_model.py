"""The spool and two delivery files against a plain model: whatever is done in whatever order, nothing is mislaid.

The model is a dictionary of the batches that must be held, with what each destination thinks of them, and the number
of points that were committed and given up. Limits are shrunk, so that windows of several batches and evictions are
common; the clock jumps; operators change states between a shipper's look and what it does about it.
"""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from spool import batch
from spool.batch import Point, State, Window
from spool.config import SpoolConfig
from spool.delivery import Delivery, Settled
from spool.evict import Evictor
from spool.reader import SpoolReader
from spool.writer import SpoolWriter

NAMES = ("main", "copy")
INTERVAL_S = 10
AGE = {"sent": 5, "dead": 9, "unsent": 12}
"""Age limits in windows."""

SENDING = (State.ACKNOWLEDGED, State.DEAD, State.EXPIRED)
destination = st.sampled_from(NAMES)
some = st.sets(st.integers(0, 30), max_size=8)
"""Places in the list of what is held, the oldest first; those beyond its end mean nothing."""


class Spool(RuleBasedStateMachine):
    """One collector, a shipper per destination, and an operator, one step at a time."""

    @initialize()
    def open(self):
        self.patched = pytest.MonkeyPatch()
        self.patched.setattr(batch, "MAX_POINTS", 2)
        self.folder = tempfile.TemporaryDirectory()
        self.directory = Path(self.folder.name)
        self.clock = 1_764_000_000.0
        self.jumped = False
        self.held: dict[int, dict] = {}  # id -> seq, points, sha256, and a state per destination
        self.committed = self.lost = self.given_up_sent = 0
        self.last_id = self.last_seq = 0
        self._open()

    def _open(self):
        self.writer = SpoolWriter.open(self.directory, "host-1")
        spool_id = self.writer.spool_id
        self.shippers = {name: Delivery.open(self.directory, name, spool_id) for name in NAMES}
        self.operators = {name: Delivery.open(self.directory, name, spool_id) for name in NAMES}

    def _close(self):
        self.writer.close()
        for each in (*self.shippers.values(), *self.operators.values()):
            each.close()

    def teardown(self):
        self._close()
        self.folder.cleanup()
        self.patched.undo()

    def _chosen(self, places):
        ids = sorted(self.held)
        return [ids[place] for place in sorted(places) if place < len(ids)]

    # --- the collector ---

    @rule(windows=st.integers(1, 4), points=st.integers(0, 5))
    def collect(self, windows, points):
        for _ in range(windows):
            self._commit(points)

    def _commit(self, points):
        start, self.clock = self.clock, self.clock + INTERVAL_S
        seq = self.writer.next_window_seq()
        assert seq > self.last_seq
        self.last_seq = seq
        given = [Point(f"p{n}", "counter", {}, {"value": 1.0}) for n in range(points)]
        for each in self.writer.commit(Window(seq, start, self.clock, given), self.clock):
            assert each.id > self.last_id
            self.last_id = each.id
            self.held[each.id] = {"seq": seq, "points": each.points, "sha256": each.sha256} | dict.fromkeys(
                NAMES, State.UNSENT
            )
        self.committed += points

    @rule(by_s=st.sampled_from([-86_400, -3_600, 3_600, 86_400]))
    def clock_jumps(self, by_s):
        self.clock += by_s
        self.jumped = True

    @rule()
    def reopen(self):
        self._close()
        self._open()

    @rule()
    def evict(self):
        if not self.held:
            return
        limits = SpoolConfig(
            max_age_sent_s=AGE["sent"] * INTERVAL_S,
            max_age_dead_s=AGE["dead"] * INTERVAL_S,
            max_age_unsent_s=AGE["unsent"] * INTERVAL_S,
            disk_reserve_bytes=0,
        )
        Evictor(self.writer, limits, NAMES).run(self.clock)
        with SpoolReader(self.directory) as reader:
            kept = {each.id for each in reader.headers_after(0)}
        newest = max(each["seq"] for each in self.held.values())
        for number, each in list(self.held.items()):
            states = [each[name] for name in NAMES]
            unsent = any(state in (State.UNSENT, State.HELD) for state in states)
            sent = all(state is State.ACKNOWLEDGED for state in states)
            age = newest - each["seq"]
            due = age > AGE["unsent" if unsent else "sent" if sent else "dead"]
            if number in kept:
                assert not due or self.jumped  # a clock set back makes labels lie, on the safe side only
                continue
            assert due
            del self.held[number]
            if sent:
                self.given_up_sent += each["points"]
            else:
                self.lost += each["points"]

    # --- the shippers ---

    @rule(name=destination, places=some, state=st.sampled_from(SENDING))
    def settle(self, name, places, state):
        ids = self._chosen(places)
        self.shippers[name].settle({each: Settled(state) for each in ids}, self.clock)
        for each in ids:
            if self.held[each][name] is State.UNSENT or state is State.ACKNOWLEDGED:
                self.held[each][name] = state

    @rule(name=destination, most=st.integers(1, 60))
    def drain(self, name, most):
        with SpoolReader(self.directory, name) as reader:
            ids = [each.id for each in reader.unsent_oldest(most)]
        self.shippers[name].settle({each: Settled(State.ACKNOWLEDGED) for each in ids}, self.clock)
        for each in ids:
            self.held[each][name] = State.ACKNOWLEDGED

    @rule(name=destination, meanwhile=some)
    def note_how_far_all_is_settled(self, name, meanwhile):
        with SpoolReader(self.directory, name) as reader:
            newest, oldest = reader.headers_before(None, 1), reader.unsent_oldest(1)
        if meanwhile:
            self.make_unsent(name, meanwhile, {*SENDING, State.HELD})
        self.shippers[name].settle_through(oldest[0].id - 1 if oldest else newest[0].id if newest else 0)

    @rule(name=destination)
    def forget(self, name):
        self.shippers[name].forget(self.clock, min(self.held, default=0))

    # --- the operator ---

    @rule(name=destination, places=some)
    def hold(self, name, places):
        ids = self._chosen(places)
        unsent = [each for each in ids if self.held[each][name] is State.UNSENT]
        assert self.operators[name].hold(ids, self.clock, "op") == len(unsent)
        for each in unsent:
            self.held[each][name] = State.HELD

    @rule(name=destination, places=some, of=st.sets(st.sampled_from([*SENDING, State.HELD]), min_size=1))
    def make_unsent(self, name, places, of):
        ids = self._chosen(places)
        meant = [each for each in ids if self.held[each][name] in of]
        assert self.operators[name].make_unsent(ids, self.clock, "op", "replay", of) == len(meant)
        for each in meant:
            self.held[each][name] = State.UNSENT

    # --- what always holds ---

    @invariant()
    def each_destination_sees_what_it_has_to_send(self):
        for name in NAMES if self.held else ():
            unsent = [each for each in sorted(self.held) if self.held[each][name] is State.UNSENT]
            with SpoolReader(self.directory, name) as reader:
                assert [each.id for each in reader.unsent_oldest()] == unsent
                assert reader.backlog().points == sum(self.held[each]["points"] for each in unsent)
            states = self.shippers[name].states(0, self.last_id)
            for number, each in self.held.items():
                assert states.get(number, State.UNSENT) is each[name]

    @invariant()
    def every_point_is_held_or_sent_or_a_recorded_loss(self):
        with SpoolReader(self.directory) as reader:
            headers, losses = reader.headers_after(0), reader.losses()
            for each in headers:
                assert reader.batch(each.id).verified()
                assert reader.batch(each.id).sha256 == self.held[each.id]["sha256"]
        assert [each.id for each in headers] == sorted(self.held)
        assert sum(each["points"] for each in losses) == self.lost
        assert sum(each.points for each in headers) + self.lost + self.given_up_sent == self.committed


Spool.TestCase.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
test_whatever_is_done_in_whatever_order_nothing_is_mislaid = Spool.TestCase
