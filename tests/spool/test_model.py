"""The spool and two delivery files against a plain model: whatever is done in whatever order, nothing is mislaid.

The model is a dictionary of the batches that must be held, with what each destination thinks of them, and the number
of points that were committed and given up. Limits are shrunk, so that windows of several batches and evictions are
common; the clock jumps by hours; the disk is full at times; processes crash, also in the middle of an operator's prune;
operators change states between a shipper's look and what it does about it, and take in batches of other spools.

A crash is the files as they lie there, copied away and opened anew: what a process that is killed leaves behind.
"""

import hashlib
import shutil
import tempfile
from contextlib import closing
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from spool import batch, prune
from spool.batch import Point, State, Window
from spool.config import SpoolConfig
from spool.delivery import AttemptRow, Condition, Delivery, Settled, ranges
from spool.errand import Errand
from spool.errors import SpoolBusy
from spool.evict import Evictor
from spool.reader import SpoolReader
from spool.retention import Standing
from spool.writer import Asked, SpoolWriter

NAMES = ("main", "copy")
INTERVAL_S = 10
AGE = {Standing.ACKNOWLEDGED: 5, Standing.DEAD: 9, Standing.UNSENT: 12}
"""Age limits in windows."""


IN_MEMORY = Path("/dev/shm")
"""A disk that has nothing to wait for: what is lost with power is not what this is about."""

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
        self.patched.setattr(prune, "CHUNK", 3)
        self.folder = tempfile.TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None)
        self.lives = 1
        self.directory = Path(self.folder.name) / "1"
        self.clock = 1_764_000_000.0
        self.jumped = False
        self.held: dict[int, dict] = {}  # id -> seq, points, sha256, and a state and renewals per destination
        self.committed = self.lost = self.given_up_sent = 0
        self.last_id = self.last_seq = self.guests = self.pruned = 0
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

    def _standing(self, number):
        states = [self.held[number][name] for name in NAMES]
        if State.UNSENT in states or State.HELD in states:
            return Standing.UNSENT
        return Standing.ACKNOWLEDGED if set(states) == {State.ACKNOWLEDGED} else Standing.DEAD

    def _newest_window(self):
        """The newest that this spool collected itself, if it still holds one."""
        return max((each["seq"] for each in self.held.values() if not each["guest"]), default=None)

    def _ids(self):
        with SpoolReader(self.directory) as reader:
            return {each.id for each in reader.headers_after(0)}

    def _gone(self, number):
        """Take out of the model what was deleted, and count what that means."""
        if self._standing(number) is Standing.ACKNOWLEDGED:
            self.given_up_sent += self.held[number]["points"]
        else:
            self.lost += self.held[number]["points"]
        del self.held[number]

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
            self._hold(each, guest=False)
        self.committed += points
        self.newest_end = self.clock

    def _hold(self, each, guest):
        facts = {"seq": each.window_seq, "points": each.points, "sha256": each.sha256, "guest": guest}
        facts["again"] = float("-inf")
        self.held[each.id] = facts | dict.fromkeys(NAMES, State.UNSENT) | {"renewals": dict.fromkeys(NAMES, 0)}

    @rule(points=st.integers(0, 5))
    def the_disk_is_full_for_a_moment(self, points):
        connection = self.writer._connection
        pages, free = (connection.execute(f"PRAGMA {each}").fetchone()[0] for each in ("page_count", "freelist_count"))
        connection.execute(f"PRAGMA max_page_count = {pages}")
        # Twenty names that do not get smaller by packing, more than fits into what is free.
        names = [hashlib.shake_256(bytes([n])).hexdigest(4_000 + 500 * free) for n in range(20 + points)]
        given = [Point(each, "counter", {}, {"value": 1.0}) for each in names]
        window = Window(self.writer.next_window_seq(), self.clock, self.clock, given)
        try:
            with pytest.raises(SpoolBusy):
                self.writer.commit(window, self.clock)
        finally:
            connection.execute("PRAGMA max_page_count = 4294967294")

    @rule(by_s=st.sampled_from([-86_400, -3_600, 3_600, 86_400]))
    def clock_jumps(self, by_s):
        self.clock += by_s
        self.jumped = True

    @rule()
    def reopen(self):
        self._close()
        self._open()

    @rule()
    def crash(self):
        self.lives += 1
        left_behind = self.directory.with_name(str(self.lives))
        shutil.copytree(self.directory, left_behind)
        self._close()
        shutil.rmtree(self.directory)
        self.directory = left_behind
        self._open()

    @rule()
    def evict(self):
        if not self.held:
            return
        limits = SpoolConfig(
            max_age_sent_s=AGE[Standing.ACKNOWLEDGED] * INTERVAL_S,
            max_age_dead_s=AGE[Standing.DEAD] * INTERVAL_S,
            max_age_unsent_s=AGE[Standing.UNSENT] * INTERVAL_S,
            disk_reserve_bytes=0,
        )
        Evictor(self.writer, limits, NAMES).run(self.clock)
        kept, newest = self._ids(), self._newest_window()
        for number in list(self.held):
            standing, age = self._standing(number), (newest or 0) - self.held[number]["seq"]
            due = newest is not None and age > AGE[standing]
            if standing is Standing.UNSENT:  # an operator who makes it so gives it its time once more
                due = due and self.newest_end - self.held[number]["again"] > AGE[standing] * INTERVAL_S
            if number in kept:
                # A clock set back makes labels lie, on the safe side only; an import takes a number but no time.
                assert not due or self.jumped or self.guests
                continue
            assert due
            self._gone(number)

    @rule(max_bytes=st.sampled_from([1, 100_000, 200_000, 400_000]))
    def evict_for_room(self, max_bytes):
        Evictor(self.writer, SpoolConfig(max_bytes=max_bytes, disk_reserve_bytes=0), NAMES).run(self.clock)
        self._went_in_order(self._ids(), unsent=True)

    def _went_in_order(self, kept, unsent):
        """What every destination has went first, then the dead, then the oldest; never the newest window."""
        gone = set(self.held) - kept
        order = {number: (self._standing(number), number) for number in self.held}
        assert not any(self.held[number]["seq"] == self._newest_window() for number in gone)
        assert unsent or all(order[number][0] is not Standing.UNSENT for number in gone)
        stayed = [order[each] for each in kept if self.held[each]["seq"] != self._newest_window()]
        assert not gone or all(max(order[each] for each in gone) < each for each in stayed)
        for number in gone:
            self._gone(number)

    # --- the shippers ---

    @rule(name=destination, places=some, state=st.sampled_from(SENDING))
    def settle(self, name, places, state):
        ids = self._chosen(places)
        self.shippers[name].settle({each: Settled(state) for each in ids}, self.clock)
        for each in ids:
            if self.held[each][name] is State.UNSENT or state is State.ACKNOWLEDGED:
                self.held[each][name] = state

    @rule(name=destination, places=some, good=some, outcome=st.sampled_from(["acknowledged", "retry", "park", "dead"]))
    def attempt(self, name, places, good, outcome):
        """One request: of the batches sent some are acknowledged, or all refused, or nothing is known."""
        ids = self._chosen(places)
        if not ids:
            return
        settled = {each: Settled(State.ACKNOWLEDGED) for each in self._chosen(good & places)}
        if outcome != "acknowledged":
            settled = {each: Settled(State.DEAD, "400") for each in ids} if outcome == "dead" else {}
        self.shippers[name].record(_attempt(ids, outcome, self.clock), settled, Condition(failures=len(ids)))
        for each, then in settled.items():
            if self.held[each][name] is State.UNSENT or then.state is State.ACKNOWLEDGED:
                self.held[each][name] = then.state
        assert self.shippers[name].attempts(limit=1)[0]["ids"] == ranges(ids)
        assert self.shippers[name].condition().failures == len(ids)

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

    @rule(
        name=destination, places=some, of=st.sets(st.sampled_from([*SENDING, State.HELD]), min_size=1),
        as_new=st.booleans(),
    )  # fmt: skip
    def make_unsent(self, name, places, of, as_new=False):
        ids = self._chosen(places)
        meant = [each for each in ids if self.held[each][name] in of]
        assert self.operators[name].make_unsent(ids, self.clock, "op", "replay", of, as_new) == len(meant)
        for each in ids:
            self.held[each]["again"] = max(self.clock, self.held[each]["again"])
        for each in meant:
            self.held[each][name] = State.UNSENT
            self.held[each]["renewals"][name] += as_new

    @rule(name=destination, places=some)
    def give_up(self, name, places):
        ids = self._chosen(places)
        dead = [each for each in ids if self.held[each][name] is State.DEAD]
        assert self.operators[name].give_up(ids, self.clock, "op") == len(dead)
        for each in dead:
            self.held[each][name] = State.EXPIRED

    @rule(
        windows=st.integers(0, 12) | st.none(), size_bytes=st.integers(0, 8_000) | st.none(), unsent=st.booleans(),
        steps=st.integers(0, 20),
    )  # fmt: skip
    def prune(self, windows, size_bytes, unsent, steps):
        """Perhaps interrupted after some steps; then what went is what would have gone first."""
        age_s = None if windows is None else windows * INTERVAL_S
        keep = prune.Keep(age_s, size_bytes, unsent, self.last_id)
        pieces = prune.pieces(self.writer, Errand("prune", "op", self.clock, prune.given(keep)), NAMES)
        with closing(pieces):
            told = [dict(each) for each in islice(pieces, steps)]
        kept, newest = self._ids(), self._newest_window()
        self.pruned += len(self.held) - len(kept)
        assert len(self.held) - len(kept) == (told[-1]["batches"] if told else 0)
        old = set() if windows is None or newest is None else {
            number for number, each in self.held.items() if newest - each["seq"] > windows
        }  # fmt: skip
        for number in old - kept:
            assert unsent or self._standing(number) is not Standing.UNSENT
            self._gone(number)
        if set(self.held) - kept:
            assert size_bytes is not None
            self._went_in_order_of_size(kept, unsent)

    def _went_in_order_of_size(self, kept, unsent):
        if unsent:
            self._went_in_order(kept, unsent=True)
        else:  # those that wait stay wherever they are
            waiting = {each for each in kept if self._standing(each) is Standing.UNSENT}
            spared = {each: self.held.pop(each) for each in waiting if self.held[each]["seq"] != self._newest_window()}
            self._went_in_order(kept & set(self.held), unsent=False)
            self.held |= spared

    @rule(count=st.integers(1, 4), again=st.booleans())
    def take_in(self, count, again):
        """Batches of another spool, some perhaps for the second time."""
        self.guests += 0 if again else count
        window = Window(7, self.clock - 86_400, self.clock - 86_390, [Point("g", "counter", {}, {"value": 1.0})])
        numbers = range(max(1, self.guests - count + 1), self.guests + 1)
        guests = [batch.encode("guest", number, "host-2", window, window.points, 0.0) for number in numbers]
        with SpoolReader(self.directory) as reader:
            new = [each for each in guests if not reader.holds(each.key)]
        adopted = self.writer.adopt(guests, self.clock, Asked("op", "import"))
        assert [(each.key, each.payload) for each in adopted] == [(each.key, each.payload) for each in new]
        for each in adopted:
            assert each.id > self.last_id and each.window_seq > self.last_seq
            self.last_id = each.id
            self._hold(each, guest=True)
            self.committed += each.points
        self.last_seq = max([self.last_seq, *(each.window_seq for each in adopted)])

    # --- what always holds ---

    @invariant()
    def each_destination_sees_what_it_has_to_send(self):
        for name in NAMES if self.held else ():
            unsent = [each for each in sorted(self.held) if self.held[each][name] is State.UNSENT]
            with SpoolReader(self.directory, name) as reader:
                assert [each.id for each in reader.unsent_oldest()] == unsent
                assert reader.backlog().points == sum(self.held[each]["points"] for each in unsent)
            states = self.shippers[name].states(0, self.last_id)
            renewals = self.shippers[name].renewals(0, self.last_id)
            for number, each in self.held.items():
                assert states.get(number, State.UNSENT) is each[name]
                assert renewals.get(number, 0) == each["renewals"][name]

    @invariant()
    def every_point_is_held_or_sent_or_a_recorded_loss(self):
        with SpoolReader(self.directory) as reader:
            headers, losses, changes = reader.headers_after(0), reader.losses(), reader.changes()
            for each in headers:
                assert reader.batch(each.id).verified()
                assert reader.batch(each.id).sha256 == self.held[each.id]["sha256"]
        assert [each.id for each in headers] == sorted(self.held)
        assert sum(each["points"] for each in losses) == self.lost
        assert sum(each["batches"] for each in changes if each["command"].startswith("prune")) == self.pruned
        assert sum(each.points for each in headers) + self.lost + self.given_up_sent == self.committed


def _attempt(ids, outcome, at):
    numbers = {name: 0.0 for name in AttemptRow.__dataclass_fields__ if name.endswith("_ms")}
    return AttemptRow(
        started_at=at, lane="live", first_batch=ids[0], last_batch=ids[-1], batches=len(ids), ids=ranges(ids), points=1,
        body_bytes=1, outcome=outcome, phase="read", status=None, error=None, sent_bytes=0, received_bytes=0,
        address=None, **numbers,
    )  # fmt: skip


Spool.TestCase.settings = settings(max_examples=40, stateful_step_count=40, suppress_health_check=list(HealthCheck))
test_whatever_is_done_in_whatever_order_nothing_is_mislaid = Spool.TestCase
