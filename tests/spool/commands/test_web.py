"""`holdfast web`: becomes Datasette with the files that can be read, or says in a sentence why not."""

import os
import sys

import pytest

from spool.delivery import file_name


@pytest.fixture
def became(monkeypatch):
    """The command line that the process was replaced with."""
    lines = []
    monkeypatch.setattr(os, "execv", lambda program, words: lines.append([program, *words]))
    monkeypatch.setenv("HOLDFAST_CONFIG", "")
    return lines


def test_it_becomes_datasette_with_all_files_of_the_spool(made, became) -> None:
    made.commit(1)
    made.acknowledge([1])
    made.run("web", "-p", "9000", "--setting", "base_url", "/x/")
    files = [str(made.directory / name) for name in ("spool.db", file_name("main"))]
    ours = [sys.executable, sys.executable, "-m", "datasette", "serve", *files]
    assert became == [[*ours, "-p", "9000", "--setting", "base_url", "/x/"]]
    assert os.environ["HOLDFAST_CONFIG"] == str(made.config), "the page goes by the same configuration"


def test_a_delivery_file_that_datasette_would_refuse_to_start_with_is_left_out(made, became) -> None:
    made.commit(1)
    (made.directory / file_name("main")).write_bytes(b"nonsense" * 1000)
    made.run("web")
    assert became[0][-1] == str(made.directory / "spool.db")


def test_without_a_spool_or_without_datasette_it_says_so(made, became, monkeypatch) -> None:
    assert "no such file" in made.run("web", exit_code=2).stderr
    monkeypatch.setitem(sys.modules, "datasette", None)
    assert f"{sys.executable} -m pip install '.[web]'" in made.run("web", exit_code=2).stderr
    assert became == []
