"""`holdfast points`: which rows, what is made of them over time, and pictures of them."""

import shlex

from spool.batch import Point
from tests.spool.commands.test_plot import drawn


def test_points_are_added_up_over_spans_of_time(made) -> None:
    made.commit(12)  # two minutes of counters 1 to 12
    rows = made.json("points", "api.hits", "--agg", "1m:sum")
    assert sum(row["value"] for row in rows) == sum(range(1, 13))
    assert 2 <= len(rows) <= 3
    assert all(row["ts"] % 60 == 0 for row in rows)
    assert list(rows[0]) == ["ts", "name", "type", "tags", "stat", "value"]
    assert [row["ts"] for row in rows] == sorted((row["ts"] for row in rows), reverse=True)
    assert "TIME" in made.run("points", "--agg", "1m:max").stdout
    assert "BATCH" not in made.run("points", "--agg", "1m:max").stdout
    assert "only the newest 1 rows" in made.run("points", "--agg", "1m:max", "-n", "1").stderr


def test_spans_begin_an_hour_ago_unless_told(made) -> None:
    made.commit(400)
    assert sum(row["value"] for row in made.json("points", "api.hits", "--agg", "1m:count")) in range(350, 362)
    assert sum(row["value"] for row in made.json("points", "api.hits", "--agg", "1m:count", "--since", "1d")) == 400


def test_wrong_words_for_spans_are_usage(made) -> None:
    made.commit(1)
    assert "HOW is one of avg, sum" in made.run("points", "--agg", "1m:median", exit_code=2).stderr


def test_each_series_has_its_picture(made) -> None:
    made.commit(12)
    screen = made.run("points", "--all", "--plot", "--since", "5m").stdout
    hits, lines = screen.split("\n\n")
    assert hits.startswith("api.hits env:prod, min 1, max 12, last 12\n")
    assert lines.startswith("holdfast.lines, min 100, max 100, last 100\n")
    assert drawn(hits).strip()


def test_the_title_of_a_picture_never_steers_the_terminal(made) -> None:
    """U+009B is CSI, which ESC [ stands for; a client may have it in a name."""
    made.commit(1, said=[Point("a\u009b2J", "gauge", {"k": "\u202e"}, {"value": 1.0})])
    assert made.run("points", "a\u009b*", "--plot").stdout.startswith(r"a\x9b2J k:\u202e, min 1")


def test_a_span_is_drawn_where_it_is(made) -> None:
    made.commit(300)
    end = made.last_end // 600 * 600
    times = ["--since", f"@{end - 1200}", "--until", f"@{end}"]
    screen = made.run("points", "api.*", "--plot", "--agg", "10m:count", "--width", "30", *times).stdout
    title, top, *_ = screen.splitlines()
    assert title == "api.hits env:prod, count of 10m, min 1, max 60, last 60"
    # One window of the span that ends where the time begins, and the two spans after it: a third of the width each.
    drawn_from, drawn_to = top.partition("|")[2].find("⣿"), top.partition("|")[2].rfind("⣿")
    assert 9 <= drawn_from <= 11 and drawn_to >= 28


def test_a_picture_of_nothing_says_so(made) -> None:
    made.commit(1)
    assert "nothing is known about that time" in made.run("points", "nope", "--plot").stderr


def test_the_picture_of_several_series_is_one_file(made, tmp_path) -> None:
    made.commit(12)
    file = tmp_path / "points.svg"
    assert made.run("points", "--all", "--svg", str(file)).stdout == ""
    assert "api.hits env:prod" in file.read_text() and "holdfast.lines" in file.read_text()
    assert made.run("points", "api.hits", "--svg", "-").stdout.startswith("<svg ")
    assert made.run("points", "--svg", str(tmp_path), exit_code=2).stderr.startswith(f"Error: {tmp_path}: ")


SAID = (
    Point("deploy", "event", {"env": "prod"}, {"count": 1, "fields": {"text": "v1\nis \x1b[2Jout", "alert": "info"}}),
    Point("db.up", "service_check", {}, {"count": 3, "value": 2, "fields": {"text": "no answer"}}),
)


def test_events_and_checks_are_listed_with_their_words(made) -> None:
    made.commit(1, said=SAID)
    (event,) = made.json("points", "--kind", "event")
    assert list(event) == ["batch", "ts", "name", "type", "tags", "stat", "value", "fields"]
    assert (event["name"], event["stat"], event["value"]) == ("deploy", "count", 1)
    assert event["fields"] == {"text": "v1\nis \x1b[2Jout", "alert": "info"}
    assert [(row["stat"], row["value"]) for row in made.json("points", "--kind", "service_check")] == [
        ("count", 3),
        ("value", 2),
    ]
    assert {row["name"]: row["fields"] for row in made.json("points", "api.*")} == {"api.hits": None}
    screen = made.run("points").stdout
    assert "env:prod text=v1\\nis \\x1b[2Jout alert=info" in screen
    assert made.run("points", "--csv").stdout.startswith("batch,ts,name,type,tags,stat,value,fields\n")


def test_every_command_copes_with_events(made) -> None:
    made.commit(2, said=SAID * 2)
    words = ("list", "show 2 --points", "show 2 --raw", "explain 2", "tail", "export", "status", "points --agg 1m:max")
    for each in (*words, "points --plot", "query 'select * from recent_points'", "plot backlog"):
        made.run(*shlex.split(each))
    assert made.json("query", "select stat, sum(value) as n from points where type = 'service_check' group by 1") == [
        {"stat": "count", "n": 12},
        {"stat": "value", "n": 8},
    ]
    found = made.json("query", "select p.value ->> '$.fields.text' as text from batches b,"
                      " json_each(batch_json(b.payload)) p where p.value ->> '$.type' = 'event'")  # fmt: skip
    assert [row["text"] for row in found] == ["v1\nis \x1b[2Jout"] * 4
