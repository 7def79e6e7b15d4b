"""What an operator does to a spool leaves it adding up: `holdfast audit` is asked after each."""

from pathlib import Path

from spool.batch import State
from spool.delivery import Settled
from spool.reader import SpoolReader
from spool.replay import SETTLED, apply, between, plans, settled_again
from spool.writer import SpoolWriter


def adds_up(made) -> bool:
    return made.run("audit", exit_code=1).stdout.rstrip().endswith("adds up")  # 1: there are dead ones or losses


def test_prune_drop_and_import_leave_a_spool_that_adds_up(made, tmp_path: Path) -> None:
    made.commit(10, rejected={"bad_value": 2})
    made.acknowledge(range(1, 5))
    made.delivery().settle({5: Settled(State.DEAD, "400"), 6: Settled(State.DEAD, "400")}, 1.0)
    exported = tmp_path / "export.gz"
    exported.write_bytes(made.run("export", "--gzip").stdout_bytes)
    assert adds_up(made)
    made.run("dead", "drop", "5", "--apply")
    assert adds_up(made)
    made.run("prune", "--keep-age", "15s", "--apply")
    assert adds_up(made)
    made.run("import", str(exported), "--apply")
    assert adds_up(made)
    made.run("prune", "--keep-size", "0", "--unsent", "--apply")
    assert adds_up(made)


def test_a_replay_leaves_what_was_evicted_since_its_plan_as_it_was(made) -> None:
    made.commit(5, rejected={"bad_value": 2})
    made.acknowledge(range(1, 6))
    with SpoolReader(made.directory) as spool:
        (plan,) = plans(between(spool, 0, 1e12), {"main": made.delivery()}, SETTLED, {}, 0.0)
        writer = SpoolWriter.open(made.directory, "web-1")
        writer.evict([], [1, 3], 1.0)  # acknowledged and too old: no loss
        writer.close()
        assert apply(made.directory, made.spool_id, plan, SETTLED, 1.0, "ann", lambda _: None) == 3
        assert settled_again(made.delivery(), spool, plan.ids) == {"acknowledged": 2}
        made.acknowledge([4, 5])
        writer = SpoolWriter.open(made.directory, "web-1")
        writer.evict([], [2], 1.0)
        writer.close()
        assert settled_again(made.delivery(), spool, plan.ids) == {"acknowledged": 4, "evicted": 1}
    made.acknowledge([2])
    assert made.run("audit").stdout.rstrip().endswith("adds up")
