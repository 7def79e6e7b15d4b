"""The plugin for sqlite-utils: one function for its connections, one command, and it breaks nothing else."""

import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import sqlite_utils

from spool import sqlite_utils_plugin
from spool.batch import Point, Window
from spool.writer import SpoolWriter


def test_the_view_points_works_with_the_plugin(tmp_path: Path) -> None:
    writer = SpoolWriter.open(tmp_path, "web-1")
    writer.commit(Window(1, 0.0, 10.0, [Point("api.hits", "counter", {}, {"value": 2.0})]), 10.1)
    writer.close()
    db = sqlite_utils.Database(tmp_path / "spool.db")  # loads the plugin by its entry point
    assert list(db.query("SELECT name, value FROM points")) == [{"name": "api.hits", "value": 2.0}]
    assert list(db.query("SELECT name, value FROM recent_points")) == [{"name": "api.hits", "value": 2.0}]
    db.close()


def test_the_plugin_changes_no_setting_of_the_connection() -> None:
    def settings(connection: sqlite3.Connection) -> list[object]:
        names = ("busy_timeout", "synchronous", "foreign_keys", "query_only", "journal_mode", "trusted_schema")
        return [connection.execute(f"PRAGMA {name}").fetchone() for name in names]

    connection = sqlite3.connect(":memory:")
    before = settings(connection)
    connection.row_factory, connection.text_factory = lambda *_: {}, bytes
    sqlite_utils_plugin.prepare_connection(connection)
    connection.row_factory, connection.text_factory = None, str
    assert settings(connection) == before
    assert connection.execute("SELECT batch_json(x'00')").fetchone()[0].startswith('[{"name": "!undecodable"')
    connection.close()


def test_loading_the_plugin_loads_nothing_of_ours_beside_it() -> None:
    script = "import sys, spool.sqlite_utils_plugin; print(sorted(n for n in sys.modules if n.startswith('spool')))"
    found = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "['spool', 'spool.sqlite_utils_plugin']"


def run_without(missing: tuple[str, ...], *words: str) -> subprocess.CompletedProcess[str]:
    """`sqlite-utils WORDS` where the modules `missing` cannot be imported."""
    script = (
        f"import sys; sys.modules |= dict.fromkeys({missing!r}); from sqlite_utils.cli import cli; cli({list(words)!r})"
    )
    root = Path(__file__).parents[2]
    return subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=False)


def test_what_an_extra_would_bring_is_not_needed(tmp_path: Path) -> None:
    writer = SpoolWriter.open(tmp_path, "web-1")
    writer.commit(Window(1, 0.0, 10.0, [Point("api.hits", "counter", {}, {"value": 2.0})]), 10.1)
    writer.close()
    extras = ("datasette", "cheroot", "cryptography", "requests", "urllib3", "supervisor", "zstandard")
    done = run_without(extras, "query", str(tmp_path / "spool.db"), "select value from points")
    assert (done.stdout, done.returncode) == ('[{"value": 2.0}]\n', 0), done.stderr


WRITING = ("vacuum", "optimize", "analyze", "drop-table losses", "create-index windows lines", "duplicate windows w")
WRITING_SQL = ("update windows set lines = 0", "alter table windows rename to old", "pragma wal_checkpoint", "reindex")
READING_SQL = ("select count(*) from points", "vacuum into '{}'", "pragma journal_mode", "create temp table t (a)")


def test_nobody_writes_to_a_spool_whose_collector_runs(tmp_path: Path) -> None:
    path = str(tmp_path / "spool.db")
    writer = SpoolWriter.open(tmp_path, "web-1")
    writer.commit(Window(1, 0.0, 10.0, [Point("api.hits", "counter", {}, {"value": 2.0})]), 10.1)
    with closing(sqlite3.connect(path)) as reader:
        version = reader.execute("PRAGMA data_version").fetchone()
        for command, *words in [each.split() for each in WRITING] + [["query", each] for each in WRITING_SQL]:
            done = run_without((), command, path, *words)
            assert re.fullmatch(f"Error: {path}: .* `holdfast prune` .*\n", done.stderr), (command, words, done.stderr)
            assert done.returncode == 1
        for sql in READING_SQL:
            done = run_without((), "query", path, sql.format(tmp_path / "copy.db"))
            assert done.returncode == 0, (sql, done.stderr)
        db = sqlite_utils.Database(path)
        with pytest.raises(sqlite3.DatabaseError, match="authoriz"), pytest.warns(match="`holdfast prune`"):
            db.vacuum()
        assert reader.execute("PRAGMA data_version").fetchone() == version
    writer.close()
    db.vacuum()  # nobody waits for a spool that is stopped
    db.close()


def test_an_installation_in_pieces_does_not_stop_sqlite_utils() -> None:
    done = run_without(("spool.batch_sql", "spool.cli"), "memory", "select 1 as one")
    assert (done.stdout, done.returncode) == ('[{"one": 1}]\n', 0), done.stderr


def test_the_operators_commands_are_sqlite_utils_commands_too(tmp_path: Path) -> None:
    assert "holdfast" in run_without((), "--help").stdout
    assert "Usage: sqlite-utils holdfast show [OPTIONS]" in run_without((), "holdfast", "show", "--help").stdout
    config = tmp_path / "holdfast.toml"
    config.write_text('[spool]\ndir = "nowhere"\n')
    done = run_without((), "holdfast", "-c", str(config), "status", "--json")
    assert done.returncode == 2 and "no such file" in done.stderr
