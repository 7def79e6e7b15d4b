"""`holdfast export` and `import`: what went out of one spool is the same in another, under the same keys."""

import gzip
import io
import json
import math
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from shipper.protocols import influx
from spool.batch import Batch, decode
from spool.connection import FILE
from spool.reader import SpoolReader
from spool.transfer import Damaged, exported, imported, slices
from spool.writer import SpoolWriter
from tests.spool.commands.conftest import Made


@pytest.fixture
def other(tmp_path):
    """A second host's spool."""
    (tmp_path / "other").mkdir()
    place = Made(tmp_path / "other")
    place.commit(3)
    yield place
    place.close()


def held(place) -> list[Batch]:
    with SpoolReader(place.directory) as spool:
        return [spool.batch(each.id) for each in spool.headers_after(0)]


def export(place, file: Path, *options: str) -> Path:
    file.write_bytes(place.run("export", *options).stdout_bytes)
    return file


def test_an_export_is_a_document_per_line_oldest_first(made) -> None:
    made.commit(3)
    lines = made.run("export").stdout.splitlines()
    assert [json.loads(line)["id"] for line in lines] == [1, 2, 3]
    assert lines == [gzip.decompress(each.payload).decode().rstrip("\n") for each in held(made)]
    assert [
        json.loads(each)["id"] for each in made.run("export", "--since", "@" + str(made.last_end)).stdout.split()
    ] == [3]


def test_an_export_in_stored_form_is_the_stored_bytes(made) -> None:
    made.commit(3)
    assert made.run("export", "--gzip").stdout_bytes == b"".join(each.payload for each in held(made))


def test_an_export_in_line_protocol_is_what_a_destination_that_speaks_it_gets(made) -> None:
    made.commit(3)
    request = influx.encode(held(made), "http://127.0.0.1/write?db=m", None)
    exported = made.run("export", "--lp").stdout_bytes
    assert exported.count(b"\n") == sum(each.points for each in held(made)) > 0
    assert exported == gzip.decompress(request.body)


def test_an_import_has_the_same_keys_bytes_and_windows_under_ids_of_its_own(made, other, tmp_path) -> None:
    made.commit(2)
    before = held(made)
    file = export(made, tmp_path / "made.gz", "--gzip")
    assert "2 batches (4 points" in other.run("import", str(file)).stdout
    assert len(held(other)) == 3, "without --apply nothing comes in"
    assert "imported 2 batches" in other.run("import", str(file), "--apply").stdout
    new = held(other)[3:]
    assert [each.id for each in new] == [4, 5]
    assert [(each.key, each.payload, each.sha256, each.window_start, each.window_end, each.points, each.series,
             each.raw_bytes) for each in new] == [
        (each.key, each.payload, each.sha256, each.window_start, each.window_end, each.points, each.series,
         each.raw_bytes) for each in before
    ]  # fmt: skip
    assert other.json("status")["destinations"][0]["unsent_batches"] == 5
    (change,) = other.json("query", "select command, batches, ids from changes")
    assert change == {"command": "import made.gz", "batches": 2, "ids": "4-5"}


def test_a_line_export_comes_in_with_the_same_documents(made, other, tmp_path) -> None:
    made.commit(2)
    other.run("import", str(export(made, tmp_path / "made.ndjson")), "--apply")
    assert [decode(each.payload) for each in held(other)[3:]] == [decode(each.payload) for each in held(made)]
    assert [each.key for each in held(other)[3:]] == [each.key for each in held(made)]


def test_what_is_here_already_is_left_out(made, other, tmp_path) -> None:
    made.commit(2)
    file = export(made, tmp_path / "made.gz", "--gzip")
    other.run("import", str(file), "--apply")
    assert other.json("import", str(file), "--apply")["imported"] == 0
    assert "2 of them are here" in other.run("import", str(file)).stdout
    assert len(held(other)) == 5
    made.run("import", str(file), "--apply")
    assert len(held(made)) == 2


def test_imported_batches_are_no_newest_window_and_are_as_young_as_their_import(made, other, tmp_path) -> None:
    """Else limits would be judged by the clock of another host, or what comes in would go at once for its age."""
    from spool.config import SpoolConfig
    from spool.evict import Evictor, newest_of

    made.last_end -= 30 * 86_400
    made.commit(60)
    other.run("import", str(export(made, tmp_path / "made.gz", "--gzip")), "--apply")
    with SpoolReader(other.directory) as spool:
        assert newest_of(spool).end == other.last_end
    writer = SpoolWriter.open(other.directory, "web-1")
    try:
        Evictor(writer, SpoolConfig(disk_reserve_bytes=0), ["main"]).run(other.last_end)
    finally:
        writer.close()
    assert len(held(other)) == 63


def test_a_spool_put_back_from_an_older_copy_gives_no_key_again_that_an_import_shows_was_given(made, tmp_path) -> None:
    made.commit(3)
    shutil.copytree(made.directory, tmp_path / "older")
    made.commit(5)
    file = tmp_path / "newest.ndjson"
    file.write_text("\n".join(made.run("export").stdout.splitlines()[6:]))
    given = {each.key for each in held(made)}
    shutil.rmtree(made.directory)
    shutil.copytree(tmp_path / "older", made.directory)
    made.run("import", str(file), "--apply")
    made.commit(6)
    assert given.isdisjoint(each.key for each in held(made)[-6:])


def test_an_import_into_an_older_copy_does_not_pass_for_what_was_delivered_under_its_ids(made, other, tmp_path) -> None:
    made.commit(3)
    shutil.copy(made.directory / FILE, tmp_path / FILE)
    made.commit(5)
    made.acknowledge(range(1, 9))
    shutil.copy(tmp_path / FILE, made.directory / FILE)
    told = made.run("import", str(export(other, tmp_path / "other.gz", "--gzip")), "--apply").stderr
    assert "knows batches to 3, but 8 was committed" in told
    states = {row["id"]: row["states"]["main"] for row in made.json("list")}
    assert sorted(states.values()) == ["acknowledged"] * 3 + ["unsent"] * 3
    assert min(each for each in states if states[each] == "unsent") > 8


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_makes_in_a_spool_belongs_to_its_owner(made, other, tmp_path) -> None:
    made.commit(1)
    (made.directory / "collector.lock").unlink()
    for each in (made.directory, *made.directory.iterdir()):
        os.chown(each, 12_345, 12_345)
    made.run("import", str(export(other, tmp_path / "other.gz", "--gzip")), "--apply")
    assert {each.name: each.stat().st_uid for each in made.directory.iterdir() if each.stat().st_uid != 12_345} == {}


def test_what_is_no_batch_is_named_and_the_rest_comes_in(made, other, tmp_path) -> None:
    made.commit(3)
    lines = made.run("export").stdout.splitlines()
    file = tmp_path / "made.ndjson"
    file.write_text("\n".join([lines[0], '{"v": 1}', lines[1][:50], "", lines[2]]) + "\n")
    result = other.run("import", str(file), "--apply", exit_code=2)
    assert "batch 2 of the file" in result.stderr and "batch 3 of the file" in result.stderr
    assert "imported 2 batches" in result.stdout
    assert len(held(other)) == 5


def test_a_file_that_is_no_export_is_one_sentence(made, tmp_path) -> None:
    made.commit(1)
    file = tmp_path / "README.md"
    file.write_text("# Holdfast\n\nHolds.\n" * 100)
    (told,) = made.run("import", str(file), exit_code=2).stderr.splitlines()
    assert f"{file}: is no export: it holds no batch, but " in told


def test_a_rotten_payload_is_not_exported(made) -> None:
    made.commit(3)
    with sqlite3.connect(made.directory / "spool.db") as db:
        db.execute("UPDATE batches SET payload = zeroblob(100) WHERE id = 2")
    db.close()
    result = made.run("export", exit_code=2)
    assert [json.loads(line)["id"] for line in result.stdout.splitlines()] == [1, 3]
    assert "left out batch 2" in result.stderr


def test_an_import_that_would_push_out_what_is_held_is_refused(made, other, tmp_path) -> None:
    made.commit(2)
    file = export(made, tmp_path / "made.gz", "--gzip")
    other.config.write_text(other.config.read_text().replace("[spool]", "[spool]\nmax_bytes = 16_777_216"))
    (other.directory / "filler").write_bytes(b"x" * 16_000_000)
    assert "would evict what is held" in other.run("import", str(file), "--apply", exit_code=1).stderr
    assert len(held(other)) == 3


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\x1f\x8bnonsense", "not gzip"),
        (gzip.compress(b"{}\n")[:-4], "ends in the middle"),
        (gzip.compress(b'{"v":1,"points":[]}\n'), "is not a batch"),
        (b'{"v":1,"key":"","id":1,"window":{"start":0,"end":1,"seq":1},"points":[]}', "key ''"),
        (b'{"v":1,"key":"a","id":1,"window":{"start":0,"end":NaN,"seq":1},"points":[]}', "window 0.0 to nan"),
        (b'{"v":1,"key":"a","id":1,"window":{"start":2,"end":1,"seq":1},"points":[]}', "window 2.0 to 1.0"),
        (b'{"v":1,"key":"a","id":1,"window":3,"points":[{}]}', "TypeError"),
        (b'{"v":1,"key":"a","id":1e999,"window":{"start":0,"end":1,"seq":1},"points":[]}', "OverflowError"),
        (b'{"v":1,"key":"a","id":1,"window":{"start":0,"end":1,"seq":1},"points":[],"a":"\\ud800"}', "surrogates"),
        (b"[" * 100_000, "recursion"),
        (b"{}", "is not a batch"),
    ],
)  # fmt: skip
def test_nonsense_is_told_and_never_raised(content: bytes, why: str) -> None:
    (damaged,) = imported(io.BytesIO(content))
    assert isinstance(damaged, Damaged) and why in damaged.why


def test_nothing_at_all_is_nothing() -> None:
    assert list(imported(io.BytesIO(b""))) == []


def test_slices_are_bounded_by_bytes_and_number(made, monkeypatch) -> None:
    made.commit(5)
    with SpoolReader(made.directory) as spool:
        file = io.BytesIO(b"".join(exported(spool, -math.inf, math.inf)))
    found = list(imported(file))
    monkeypatch.setattr("spool.transfer.SLICE_BATCHES", 2)
    assert [len(each) for each in slices(found)] == [2, 2, 1]
    monkeypatch.setattr("spool.transfer.SLICE_BYTES", 1)
    assert [len(each) for each in slices(found)] == [1] * 5
