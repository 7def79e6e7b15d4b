"""The plugin for Datasette: a live spool can be read with SQL, and the page says what the commands say."""

import json
import re
import sqlite3
from urllib.parse import quote

import pytest

from spool.batch import Point, State, Window
from spool.delivery import Condition, Settled, file_name
from spool.hangfile import head
from spool.human import count
from spool.writer import SpoolWriter

HOSTILE = '"><script>alert(1)</script>'


def rows(answer):
    assert answer.status_code == 200, answer.text
    return json.loads(answer.text)["rows"]


def sql(statement):
    return f"/spool.json?sql={quote(statement)}"


def test_points_and_the_delivery_files_can_be_asked_in_sql_while_the_writer_writes(made, get) -> None:
    made.commit(3)
    made.acknowledge([1, 2])
    with_delivery = "SELECT p.value, s.destination, s.state FROM points p LEFT JOIN states s USING (batch)"
    assert rows(get(sql(f"{with_delivery} WHERE name = 'api.hits' ORDER BY batch"))) == [
        [1.0, "main", "acknowledged"],
        [2.0, "main", "acknowledged"],
        [3.0, None, None],
    ]
    made.commit(1)
    assert rows(get(sql("SELECT count(*) FROM recent_points WHERE name = 'api.hits'"))) == [[4]]


def test_a_delivery_file_that_cannot_be_read_breaks_neither_sql_nor_page(made, get) -> None:
    made.commit(3)
    made.acknowledge([1])
    made.close()
    (made.directory / file_name("main")).write_bytes(b"nonsense" * 1000)
    assert rows(get(sql("SELECT count(*) FROM points WHERE name = 'api.hits'"))) == [[3]]
    assert rows(get(sql("SELECT count(*) FROM attempts"))) == [[0]]
    page = get("/-/holdfast")
    assert page.status_code == 200
    assert "delivery-main.db" in page.text and "All that is held counts as unsent." in page.text


def test_the_page_says_what_status_says(made, get) -> None:
    made.commit(30)
    made.acknowledge(range(1, 11))
    facts = made.json("status")
    page = get("/-/holdfast")
    assert page.status_code == 200
    assert f">{facts['state']}</strong>" in page.text
    for reason in facts["reasons"]:
        assert re.sub(r"\d+s", "", reason) in re.sub(r"\d+s", "", page.text)
    (main,) = facts["destinations"]
    assert f"{count(main['unsent_batches'])} batches, {count(main['unsent_points'])} points" in page.text


def test_the_page_draws_what_plot_draws(made, get) -> None:
    made.commit(30)
    made.acknowledge(range(1, 21))
    titles = [made.run("plot", what, "--since", "1h").stdout.splitlines()[0] for what in ("rate", "delivery")]
    page = get("/-/holdfast?since=1h")
    assert titles[1].endswith("20 batches")
    for title in titles:
        assert f"<figcaption>{title}</figcaption>" in page.text and f"<title>{title}</title>" in page.text


def test_the_page_is_safe_to_open(made, get) -> None:
    made.commit(1)
    page = get("/-/holdfast")
    assert "<script" not in page.text and "http://" not in page.text.replace("http://www.w3.org/2000/svg", "")
    assert page.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert page.headers["cache-control"] == "no-store"


def test_an_empty_spool_has_a_page(made, get) -> None:
    SpoolWriter.open(made.directory, "web-1").close()
    page = get("/-/holdfast")
    assert page.status_code == 200
    assert "has committed nothing yet" in page.text
    assert "No batch of that time is held." in page.text and "No losses are recorded" in page.text
    assert "Its shipper has not run yet" in page.text


def test_a_parked_destination_says_so_and_why(made, get) -> None:
    made.commit(3)
    made.delivery().set_condition(Condition(parked_since=made.last_end - 600, parked_reason=f"401 {HOSTILE}"))
    page = get("/-/holdfast")
    assert "Parked for 10m" in page.text
    assert HOSTILE not in page.text and "401 &quot;&gt;&lt;script&gt;" in page.text


def test_losses_and_hangs_are_listed_and_a_dump_can_be_read(made, get) -> None:
    made.commit(1)
    writer = SpoolWriter.open(made.directory, "web-1")
    writer.shed([Window(7, made.last_end, made.last_end + 10, [], lines=1234, accepted=0)], made.last_end, "memory")
    writer.close()
    name = "deadline-20261123T080000.000000Z-shipper-main.txt"
    (made.directory / "hangs").mkdir()
    (made.directory / "hangs" / name).write_text(head("shipper-main", 7, f"was {HOSTILE}", {"phase": "wait"}))
    page = get("/-/holdfast")
    assert "<td>memory</td>" in page.text and "1,234" in page.text
    assert HOSTILE not in page.text
    link = re.search(r'href="(/-/holdfast/spool/hangs/[^"]+)"', page.text)
    assert link is not None
    dump = get(link[1])
    assert dump.text.startswith("shipper-main, process 7, was") and dump.headers["content-type"].startswith(
        "text/plain"
    )
    assert get("/-/holdfast/spool/hangs/..~2Fspool~2Edb").status_code == 404


@pytest.mark.parametrize("since", ["1h", "1d"])
def test_a_metric_is_drawn_and_hostile_names_are_words(made, get, since) -> None:
    writer = SpoolWriter.open(made.directory, "web-1")
    for seq in range(1, 4):
        points = [Point(HOSTILE, "counter", {HOSTILE: HOSTILE}, {"value": 10.0 * seq})]
        end = made.last_end - 30 + 10 * seq
        writer.commit(Window(seq, end - 10, end, points, series=1, lines=1), end)
    writer.close()
    listed = get(f"/-/holdfast?since={since}")
    assert HOSTILE not in listed.text
    link = re.search(r'href="(\?[^"]+name=%22%3E%3Cscript[^"]+)#metric"', listed.text)
    assert link is not None
    drawn = get(f"/-/holdfast/spool{link[1].replace('&amp;', '&')}")
    assert HOSTILE not in drawn.text and "<script" not in drawn.text
    numbers = drawn.text.partition("over time.</desc>")[2]
    assert '<td class="number">30</td>' in numbers and "&lt;script&gt;" in numbers


def test_what_is_asked_wrongly_is_named_and_the_rest_is_shown(made, get) -> None:
    made.commit(1)
    page = get("/-/holdfast?since=someday&name=api.hits")
    assert "since: &#x27;someday&#x27;: allowed is" in page.text
    assert 'value="api.hits"' in page.text and page.text.count("<svg") == 2


@pytest.mark.parametrize("limit", ["READ_S", "MOST_POINTS"])
def test_reading_points_has_an_end(made, get, monkeypatch, limit) -> None:
    made.commit(30)
    assert "too much for one page" not in get("/-/holdfast?name=api.hits").text
    monkeypatch.setattr(f"spool.web.report.{limit}", -1)
    assert "too much for one page" in get("/-/holdfast?name=api.hits").text


def test_a_copy_is_judged_without_the_configuration_of_the_live_one(made, get, tmp_path) -> None:
    made.commit(2)
    copy = tmp_path / "copy"
    made.run("backup", str(copy))
    page = get("/-/holdfast", files=[copy / "spool.db"])
    assert page.status_code == 200
    assert "not about this one" in page.text


def test_several_spools_lead_to_each_other(made, get, tmp_path) -> None:
    made.commit(2)
    copy = tmp_path / "copy"
    made.run("backup", str(copy))
    page = get("/-/holdfast", files=[made.directory / "spool.db", copy / "spool.db"])
    (other,) = re.findall(r'href="(/-/holdfast/[^"?#]+)"', page.text)
    assert str(copy) in get(other, files=[made.directory / "spool.db", copy / "spool.db"]).text


def test_without_a_spool_it_says_what_to_do(made, get, tmp_path) -> None:
    other = tmp_path / "other.db"
    sqlite3.connect(other).execute("CREATE TABLE t (x)").connection.close()
    page = get("/-/holdfast", files=[other])
    assert page.status_code == 404 and "No spool.db is open here" in page.text
    assert "Holdfast</a>" not in get("/", files=[other]).text
    foreign = tmp_path / "foreign" / "spool.db"
    foreign.parent.mkdir()
    other.rename(foreign)
    page = get("/-/holdfast", files=[foreign])
    assert page.status_code == 503 and "is a database of another program" in page.text
    assert rows(get(sql("SELECT 1"), files=[foreign])) == [[1]]


def test_the_page_is_in_datasettes_menu(made, get) -> None:
    made.commit(1)
    assert '<a href="/-/holdfast">Holdfast</a>' in get("/").text


def test_who_may_not_see_the_database_does_not_see_the_page(made, get) -> None:
    made.commit(1)
    refused = {"databases": {"spool": {"allow": {"id": "ann"}}}}
    assert get("/-/holdfast/spool", metadata=refused).status_code == 403


def test_nothing_that_was_shown_pins_the_write_ahead_log(made, get) -> None:
    made.commit(5)
    writer = SpoolWriter.open(made.directory, "web-1")
    assert get("/-/holdfast?name=api.hits").status_code == 200
    assert get(sql("SELECT * FROM points")).status_code == 200
    check = sqlite3.connect(made.directory / "spool.db")
    assert check.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    check.close()
    writer.close()


@pytest.mark.parametrize("state", [State.DEAD, State.EXPIRED])
def test_what_did_not_arrive_is_no_dot(made, get, state) -> None:
    made.commit(5)
    made.delivery().settle({3: Settled(state)}, made.last_end)
    assert "acknowledged (up), 0 batches" in get("/-/holdfast").text
