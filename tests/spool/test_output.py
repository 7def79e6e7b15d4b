"""Rows in each form."""

import csv
import io
import json

import click
import pytest

from spool.output import Column, Form, aligned, print_rows, printable, row_options

ROWS = [
    {"id": 1, "at": 1764000000.0, "name": 'a,"b"', "tags": {"k": "v"}, "blob": b"\x00\xff", "none": None},
    {"id": 20, "at": 1764000010.5, "name": "\x1b[31mred\n", "tags": {}, "blob": b"", "none": None},
]


def printed(capsys: pytest.CaptureFixture[str], rows: list[dict[str, object]], form: Form) -> str:
    assert print_rows(iter(rows), form) == len(rows)
    return capsys.readouterr().out


def test_json_is_one_array_also_of_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(printed(capsys, ROWS, Form("json")))
    assert document[0]["blob"] == {"$base64": True, "encoded": "AP8="}
    assert document[1]["name"] == "\x1b[31mred\n"
    assert json.loads(printed(capsys, [], Form("json"))) == []


def test_infinity_does_not_break_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(printed(capsys, [{"x": float("inf")}], Form("nl"))) == {"x": None}


def test_nl_is_one_object_per_line(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, ROWS, Form("nl")).splitlines()
    assert [json.loads(line)["id"] for line in lines] == [1, 20]


@pytest.mark.parametrize(("name", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_separated_values_can_be_read_back(capsys: pytest.CaptureFixture[str], name: str, delimiter: str) -> None:
    head, first, second = csv.reader(io.StringIO(printed(capsys, ROWS, Form(name))), delimiter=delimiter)
    assert head == list(ROWS[0])
    assert first == ["1", "1764000000.0", 'a,"b"', '{"k": "v"}', "AP8=", ""]
    assert second[2] == "\x1b[31mred\n"


@pytest.mark.parametrize("name", ["text", "csv", "tsv", "table"])
def test_titles_may_be_left_out(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert "name" in printed(capsys, ROWS, Form(name)) and "a," in printed(capsys, ROWS, Form(name))
    assert "name" not in printed(capsys, ROWS, Form(name, titles=False))
    assert "a," in printed(capsys, ROWS, Form(name, titles=False))


def test_a_table_shows_instants_in_full_and_escapes_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, ROWS, Form("table", "github"))
    assert "1764000000.0" in text
    assert "\x1b" not in text
    assert "\\x1b[31mred\\n" in text


def test_text_is_aligned_and_never_steers_the_terminal() -> None:
    columns = [Column("ID", lambda row: str(row["id"]), right=True), Column("NAME", lambda row: row["name"])]
    assert list(aligned(ROWS, columns)) == ["ID  NAME", ' 1  a,"b"', "20  \\x1b[31mred\\n"]
    assert printable("grün ▁█") == "grün ▁█"


@pytest.mark.parametrize(
    ("flags", "form"),
    [
        ([], Form()),
        (["--json"], Form("json")),
        (["--nl"], Form("nl")),
        (["--csv"], Form("csv")),
        (["--tsv"], Form("tsv")),
    ]
    + [(["-t"], Form("table")), (["--table"], Form("table")), (["--fmt", "github"], Form("table", "github"))],
)
def test_flags_choose_the_form(flags: list[str], form: Form) -> None:
    @click.command()
    @row_options
    def command(form: Form) -> Form:
        return form

    assert command.main(flags, standalone_mode=False) == form
