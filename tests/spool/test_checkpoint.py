"""A large log does not keep commits waiting."""

import re
import subprocess
import sys
import time
from pathlib import Path

from spool.checkpoint import log_bytes
from spool.connection import WAL_LIMIT_BYTES
from spool.writer import SpoolWriter
from tests.spool.test_writer import noisy

ROOT = Path(__file__).parents[2]
SLOW_US = 250
"""What each page takes on its way into the file. All of them together: more than a second."""

LARGE_LOG = """
import os, sqlite3, sys, time
from pathlib import Path
from spool.checkpoint import log_bytes
from spool.connection import WAL_LIMIT_BYTES
from spool.writer import SpoolWriter
from tests.spool.test_writer import noisy

writer = SpoolWriter.open(Path(sys.argv[1]), "host-1")
seqs = iter(range(1, 1000))
reader = sqlite3.connect(writer.path, isolation_level=None)
reader.execute("BEGIN")
reader.execute("SELECT * FROM meta").fetchall()
while log_bytes(writer.path) < WAL_LIMIT_BYTES * 1.1:
    writer.commit(noisy(next(seqs), 900_000), 1.0)
if "kill" in sys.argv:
    os._exit(0)
reader.close()
longest_s = 0.0
for _ in range(10):
    began = time.monotonic()
    writer.commit(noisy(writer.next_window_seq(), 1_000), 1.0)
    longest_s = max(longest_s, time.monotonic() - began)
print(f"longest={longest_s}", flush=True)
for _ in range(100):
    if log_bytes(writer.path) <= WAL_LIMIT_BYTES:
        os._exit(0)
    time.sleep(0.1)
    writer.commit(noisy(writer.next_window_seq(), 1_000), 1.0)
sys.exit("the log did not become small again")
"""


def with_a_large_log(folder: Path, *options: str, slow: bool = True) -> float:
    """The longest commit (s) beside the moving of a log that a reader had pinned."""
    slowly = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", str(folder / "spool.db"), "-e", "trace=pwrite64"]
    slowly += ["-e", f"inject=pwrite64:delay_exit={SLOW_US}"]
    command = [*(slowly if slow else []), sys.executable, "-c", LARGE_LOG, folder, *options]
    run = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    found = re.search(r"longest=(\S+)", run.stdout)
    return float(found[1]) if found else 0.0


def test_a_large_log_is_moved_beside_the_commits_when_its_reader_has_gone(tmp_path):
    SpoolWriter.open(tmp_path, "host-1").close()
    began = time.monotonic()
    longest_s = with_a_large_log(tmp_path)
    assert longest_s < 0.5
    assert time.monotonic() - began > WAL_LIMIT_BYTES / 4096 * SLOW_US / 1e6, "the disk was not slow"


def test_a_large_log_that_a_killed_process_left_delays_no_start_and_loses_nothing(tmp_path):
    SpoolWriter.open(tmp_path, "host-1").close()
    with_a_large_log(tmp_path, "kill", slow=False)
    large, before = log_bytes(tmp_path / "spool.db"), (tmp_path / "spool.db").stat().st_size
    assert large > WAL_LIMIT_BYTES
    writer = SpoolWriter.open(tmp_path, "host-1")
    assert (tmp_path / "spool.db").stat().st_size == before, "it was moved by the start"
    first = writer.next_window_seq()
    writer.commit(noisy(first, 1_000), 1.0)
    writer.close()  # in the middle of moving
    assert log_bytes(tmp_path / "spool.db") == 0
    writer = SpoolWriter.open(tmp_path, "host-1")
    assert writer.next_window_seq() == first + 1 > WAL_LIMIT_BYTES // 900_000
    writer.close()


COMMITS = """
import sys
from pathlib import Path
from spool.writer import SpoolWriter
from tests.spool.test_writer import noisy

writer = SpoolWriter.open(Path(sys.argv[1]), "host-1")
for seq in range(1, 1 + int(sys.argv[2])):
    writer.commit(noisy(seq, 1_000), 1.0)
writer.close()
"""


def times_asked_for(folder: Path, commits: int) -> int:
    """How often a process that commits so many windows asked for the facts of its log, its times among them."""
    traced, command = folder / "traced", [sys.executable, "-c", COMMITS, folder / "spool", str(commits)]
    folder.mkdir()
    strace = ["strace", "-f", "-qq", "-y", "-o", traced, "-e", "trace=%%stat"]
    subprocess.run([*strace, *command], check=True, cwd=ROOT, capture_output=True, timeout=60)
    lines = traced.read_text().splitlines()
    assert any("/spool.db" in line for line in lines), "strace saw nothing"
    return sum("/spool.db-wal" in line for line in lines)


def test_a_commit_does_not_make_the_next_one_slower_by_asking_for_the_times_of_its_log(tmp_path):
    assert times_asked_for(tmp_path / "few", 2) == times_asked_for(tmp_path / "more", 12)


def test_a_large_log_is_seen_also_by_a_process_that_has_no_descriptor_left(tmp_path):
    (tmp_path / "spool.db-wal").write_bytes(b"1234567")
    script = (
        "import resource, sys; from pathlib import Path; from spool.checkpoint import log_bytes;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0)); print(log_bytes(Path(sys.argv[1])))"
    )
    command = [sys.executable, "-c", script, tmp_path / "spool.db"]
    assert subprocess.run(command, check=True, cwd=ROOT, capture_output=True, timeout=60).stdout == b"7\n"
