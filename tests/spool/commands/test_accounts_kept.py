"""What an operator does to a spool leaves it adding up: `holdfast audit` is asked after each."""

from pathlib import Path

from spool.batch import State
from spool.delivery import Settled


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
