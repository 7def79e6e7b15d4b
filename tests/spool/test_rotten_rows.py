"""Rows that the disk changed and that SQLite gives out all the same: it looks at types and words when it writes."""

import sqlite3
from contextlib import closing

import pytest

from spool.aside import set_aside_if_damaged
from spool.audit import audited
from spool.batch import State
from spool.errors import SpoolDamaged
from spool.evict import Evictor
from tests.spool.damaged import overwrite
from tests.spool.test_evict import AT, commit, limits, settle


def test_a_state_that_the_disk_changed_means_unsent_until_the_shipper_sets_its_file_aside(writer, main):
    commit(writer, 20)
    settle(main, State.ACKNOWLEDGED, *range(1, 11))
    overwrite(main.path, "states", "state = 'acknowledgee'", "batch = 3")
    assert Evictor(writer, limits(max_age_sent_s=50), ["main"]).run(AT).by_reason == {}
    assert "not a valid State" in audited(writer.directory, ["main"], lambda _: None).attention[0]
    with pytest.raises(SpoolDamaged, match="Its shipper sets a damaged file aside"):
        main.state_row(3)
    main.close()
    assert set_aside_if_damaged(writer.directory, "main", AT) is not None


@pytest.mark.parametrize("assignment", ["window_seq = NULL", "window_end = 'x'", "points = NULL"])
def test_a_row_that_lost_a_value_is_damage_and_no_end_of_all_eviction(writer, assignment):
    commit(writer, 20)
    overwrite(writer.path, "batches", assignment, "id = 5")
    with pytest.raises(SpoolDamaged):
        Evictor(writer, limits(max_age_unsent_s=50), []).run(AT)
    overwrite(writer.path, "batches", "points = 'x'", "id = 5")
    with pytest.raises(SpoolDamaged):
        audited(writer.directory, [], lambda _: None)


def test_a_table_whose_columns_the_disk_renamed_is_damage(writer, main):
    commit(writer, 20)
    settle(main, State.ACKNOWLEDGED, *range(1, 11))
    main.close()
    with closing(sqlite3.connect(main.path, isolation_level=None)) as db:
        db.execute("PRAGMA writable_schema = 1")
        db.execute("UPDATE sqlite_master SET sql = replace(sql, 'state TEXT', 'stqte TEXT') WHERE name = 'states'")
    assert Evictor(writer, limits(max_age_sent_s=50), ["main"]).run(AT).by_reason == {}
    assert "no such column" in audited(writer.directory, ["main"], lambda _: None).attention[0]
