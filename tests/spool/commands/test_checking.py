"""The commands that look whether all is well: audit, check, and salvage, which puts right what can be."""

import json
import re
import shutil
import sqlite3
import time
from contextlib import closing

import pytest

from spool.aside import set_aside
from spool.connection import FILE
from spool.reader import SpoolReader
from spool.salvage import open_spool, pieces
from spool.writer import SpoolWriter


def test_the_command_shows_a_plan_and_applies_it_without_a_collector(made):
    made.commit(5)
    aside = made.folder / "elsewhere.db"
    shutil.copy(made.directory / FILE, aside)
    writer = SpoolWriter.open(made.directory, "web-1")
    with writer.transaction() as db:
        db.execute("DELETE FROM batches WHERE id IN (2, 3)")
    writer.close()
    plan = made.json("salvage", str(aside))
    assert plan == {"applied": False, "readable": 5, "held": 3, "rotten": 0, "windows": 5}
    with SpoolReader(made.directory) as reader:
        assert len(reader.headers_after(0)) == 3
    done = made.json("salvage", str(aside), "--apply")
    assert (done["saved"], done["known"], done["lost"]) == (2, 3, 0)
    with SpoolReader(made.directory) as reader:
        assert [each.id for each in reader.headers_after(0)] == [1, 2, 3, 4, 5]
    assert made.run("salvage", str(made.folder / "nothing"), exit_code=2)


@pytest.mark.parametrize("content", [b"hello", b"", b"another program"], ids=["text", "empty", "database"])
def test_a_file_that_is_no_spool_is_refused_and_nothing_is_booked(made, content):
    made.commit(3)
    other = made.folder / "f"
    other.write_bytes(content)
    if content == b"another program":
        other.unlink()
        with closing(sqlite3.connect(other)) as connection:
            connection.execute("CREATE TABLE notes (words)")
    for words in ([], ["--apply"]):
        told = made.run("salvage", str(other), *words, exit_code=2).stderr
        assert told.startswith(f"Error: {other}: is no spool file: ") and len(told.splitlines()) == 1
    with SpoolReader(made.directory) as reader:
        assert reader.losses() == []
    aside = made.directory / f"{FILE}.corrupt-20261123T153012Z"
    aside.write_bytes(content)
    assert made.json("salvage", str(aside))["readable"] == 0, "what was set aside may be as broken as that"


def test_check_says_that_what_damage_took_of_sent_batches_cannot_be_replayed(made):
    made.commit(3)
    aside = made.directory / f"{FILE}.corrupt-20261123T153012Z"
    shutil.copy(made.directory / FILE, aside)
    made.run("salvage", str(aside), "--apply")
    told = json.loads(made.run("check", "--json", exit_code=2).stdout)["findings"]  # 2: its windows do not add up
    seen = {each["what"]: each["seen"] for each in told}["set aside"]
    assert seen.startswith("1 damaged file set aside; what could be read was saved")
    assert seen.endswith("what was sent cannot be replayed")


def test_check_grades_what_it_sees(made):
    made.commit(3, rejected={"no_value": 2})
    made.acknowledge([1, 2, 3])
    made.close()
    fine = made.json("check")
    assert {each["what"]: each["grade"] for each in fine["findings"]}["payloads"] == 0
    assert fine["exit_code"] in (0, 1)
    assert made.run("check", "--nagios", exit_code=fine["exit_code"]).output.startswith("HOLDFAST ")
    writer = SpoolWriter.open(made.directory, "web-1")
    with writer.transaction() as db:
        db.execute("UPDATE batches SET payload = zeroblob(length(payload)) WHERE id = 2")
    writer.close()
    bad = made.run("check", "--full", exit_code=2).output
    assert "batches 2" in bad
    assert "CRITICAL" in made.run("check", "--nagios", exit_code=2).output
    made.directory.chmod(0o755)
    assert "open to others" in made.run("check", exit_code=2).output


def test_check_says_once_what_is_in_the_way_of_everything(made):
    made.commit(3)
    path = made.directory / FILE
    path.write_bytes(b"x" * path.stat().st_size)
    told = made.run("check", exit_code=2).stdout
    assert told.count("header is broken") + told.count("file is not a database") == 1, told
    made.run("check", "--nagios", exit_code=2)


def test_a_monitor_hears_one_line_whatever_is_wrong(made):
    def heard(code, *words):
        lines = made.run("check", "--nagios", *words, exit_code=code).stdout.splitlines()
        assert len(lines) == 1
        return lines[0]

    assert heard(2).startswith("HOLDFAST CRITICAL - ") and "no such file" in heard(2)
    made.directory.write_text("a file where the folder should be")
    assert heard(2).startswith("HOLDFAST CRITICAL - ")
    made.directory.unlink()
    made.directory.mkdir()
    (made.directory / FILE).mkdir()
    assert heard(3).startswith("HOLDFAST UNKNOWN - ")
    made.config.write_text("[spool]\nmax_bytes = 1\ndisk_reserve_bytes = -1\n")
    assert heard(3).startswith("HOLDFAST UNKNOWN - ") and "; " in heard(3)


def test_a_monitor_gets_numbers_to_draw(made):
    made.commit(5, rejected={"no_value": 2})
    made.acknowledge([1, 2, 3])
    made.close()
    words, bar, numbers = made.run("check", "--nagios").stdout.strip().partition(" | ")
    assert words == "HOLDFAST OK - all is well" and bar
    values = dict(each.split("=") for each in numbers.split())
    assert values["main_unsent"] == "2" and re.fullmatch(r"\d\ds;300;1800", values["main_oldest"])
    assert (values["lines_1h"], values["rejected_1h"], values["drops_1h"], values["lost_7d"]) == ("500", "10", "0", "0")
    assert re.fullmatch(r"\d+B", values["free"]) and re.fullmatch(r"\d+B", values["spool"])


def test_audit_says_what_adds_up_and_names_what_does_not(made):
    made.commit(4, rejected={"no_value": 2})
    made.acknowledge([1, 2])
    made.close()
    fine = made.json("audit")
    assert (fine["problems"], fine["attention"], fine["exit_code"]) == ([], [], 0)
    assert fine["destinations"] == {"main": {"acknowledged": 4, "unsent": 4}}
    assert "verdict      adds up" in made.run("audit").output
    writer = SpoolWriter.open(made.directory, "web-1")
    with writer.transaction() as db:
        db.execute("DELETE FROM batches WHERE id = 4")
    writer.close()
    wrong = made.run("audit", exit_code=2).output
    assert "PROBLEM      batches 4 of window 4: gone" in wrong


def test_a_row_of_damage_that_lost_nothing_says_so(made):
    made.commit(3, rejected={"no_value": 2})
    made.acknowledge([1, 2, 3])
    made.close()
    aside = set_aside(made.directory / FILE, 1_764_000_000.0)
    writer = open_spool(made.directory, "web-1", time.time(), lambda _: None)
    list(pieces(writer, aside, ["main"], time.time()))
    writer.close()
    (row,) = made.json("losses")
    assert (row["reason"], row["batches"], row["points"]) == ("damage", 0, 0)
    assert "damage (nothing lost)" in made.run("losses").stdout
    assert made.json("audit")["problems"] == []
