"""P8, and the disk's other ways to refuse: nothing crashes, the newest data is kept, losses are recorded, and work
resumes within one window once there is space.

Full disks and used-up inodes are real, on file systems of 16 MiB in mount namespaces of their own (small_disk.py). I/O
errors and a file system that has become read-only are what the kernel's calls return for a while, injected by strace; a
limit that statvfs knows nothing of, like a quota, is RLIMIT_FSIZE.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from spool.heartbeat import heartbeats
from spool.reader import SpoolReader
from tests.needed import on_small_disk
from tests.processes.fronted import ROOT, Fronted, steady_load
from tests.processes.pipeline import wait_until
from tests.processes.small_disk import burst

DISKS = {
    "filled_by_us": "size=16m",
    "filled_by_somebody_else": "size=16m",
    "out_of_inodes": "size=16m,nr_inodes=60",
}


@pytest.fixture
def fronted(tmp_path: Path) -> Iterator[Fronted]:
    pipeline = Fronted(tmp_path / "holdfast")
    yield pipeline
    if "collector" in pipeline.processes:
        pipeline.audit()
    for each in ("collector", "shipper"):
        print(f"--- {each}\n{pipeline.log(each)[-3000:]}")
    pipeline.stop_all()


def test_on_small_disks_the_newest_windows_are_kept_and_work_resumes(tmp_path: Path) -> None:
    """All scenarios at the same time: most of each is waiting for windows."""
    running = {}
    for scenario, options in DISKS.items():
        (tmp_path / scenario / "spool").mkdir(mode=0o700, parents=True)
        alone = on_small_disk(tmp_path / scenario / "spool", options)
        running[scenario] = subprocess.Popen(
            [*alone, sys.executable, "-m", "tests.processes.small_disk", scenario, tmp_path / scenario],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
    said = {scenario: process.communicate(timeout=110) for scenario, process in running.items()}
    for scenario, (out, err) in said.items():
        print(out)
        assert running[scenario].returncode == 0, err


def refused(fronted: Fronted, calls: str, error: str) -> None:
    """Some calls on the log fail, and with them some commits. The windows of that time wait in memory, none is lost."""
    first, last = (3, 5) if "sync" in calls else (12, 16)
    inject = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-P", str(fronted.spool / "spool.db-wal")]
    inject += ["-e", f"trace={calls}", "-e", f"inject={calls}:error={error}:when={first}..{last}"]
    fronted.start_under("collector", inject)
    wait_until(lambda: " listening " in fronted.log("collector"), 20, "the collector listens")
    with steady_load(fronted, 200) as steady:
        wait_until(lambda: "window_kept" in fronted.log("collector"), 30, "a commit fails")
        seen = len(fronted.logged())
        wait_until(lambda: len(fronted.logged()) >= seen + 3, 30, "windows are committed again")
    wait_until(lambda: sum(fronted.committed().values()) >= steady.sent, 20, "every line is in a window")
    assert sum(fronted.committed().values()) == steady.sent
    seqs = [each["seq"] for each in fronted.windows()]
    assert seqs == list(range(1, len(seqs) + 1))
    assert "Traceback" not in fronted.log("collector")


@pytest.mark.parametrize(
    ("calls", "error"),
    [("fdatasync,fsync", "EIO"), ("pwrite64", "EROFS")],
    ids=["its_syncs_fail", "its_file_system_is_read_only"],
)
def test_nothing_is_lost_while_the_disk_refuses(calls: str, error: str, fronted: Fronted) -> None:
    refused(fronted, calls, error)


@pytest.mark.soak
def test_windows_that_were_lost_at_a_stop_on_a_full_disk_are_a_loss_at_the_next_start(fronted: Fronted) -> None:
    inject = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-P", str(fronted.spool / "spool.db-wal")]
    fronted.start_under("collector", [*inject, "-e", "trace=pwrite64", "-e", "inject=pwrite64:error=ENOSPC:when=12+"])
    wait_until(lambda: " listening " in fronted.log("collector"), 20, "the collector listens")
    with steady_load(fronted, 200) as steady:
        wait_until(lambda: over(fronted), 30, "two windows wait")
    fronted.end("collector")
    assert " windows_lost " in fronted.log("collector")
    fronted.start("collector")
    with SpoolReader(fronted.spool) as spool:
        (loss,) = spool.losses()
        assert loss["reason"] == "stopped while the spool took nothing"
        assert loss["lines"] + sum(each["lines"] for each in spool.windows()) == steady.sent
    after = len(fronted.logged())
    wait_until(lambda: len(fronted.logged()) >= after + 2, 10, "windows are committed again")


@pytest.mark.soak
@pytest.mark.parametrize("error", ["EIO", "EDQUOT", "ENOSPC"])
def test_nothing_is_lost_while_writes_fail(error: str, fronted: Fronted) -> None:
    refused(fronted, "pwrite64", error)


@pytest.mark.soak
def test_under_a_limit_that_no_look_at_the_disk_shows_windows_wait_in_memory(fronted: Fronted) -> None:
    """No file over 3 MB: the spool cannot grow, although the disk and [spool] allow it. Then the limit goes."""
    fronted.start_under("collector", ["prlimit", "--fsize=3000000:"])
    wait_until(lambda: " listening " in fronted.log("collector"), 20, "the collector listens")
    for _ in range(20):
        seen = len(fronted.logged())
        burst(fronted)
        wait_until(lambda seen=seen: len(fronted.logged()) > seen or over(fronted), 10, "the next window's fate")
        if over(fronted):
            break
    assert over(fronted), "the limit was never reached"
    assert fronted.command("spool.cli", "status", "--json", check=False).returncode == 0
    process, seen = fronted.processes["collector"], len(fronted.logged())
    assert seen >= 4, "the log was not cut when it was in the way"
    subprocess.run(["prlimit", f"--pid={process.pid}", "--fsize=unlimited:"], check=True)
    wait_until(lambda: len(fronted.logged()) > seen, 3, "work resumes")
    seqs = [each["seq"] for each in fronted.windows()]
    assert seqs == list(range(1, len(seqs) + 1))
    assert process.poll() is None and "Traceback" not in fronted.log("collector")


def over(fronted: Fronted) -> bool:
    """Whether windows are kept for good: two and more wait."""
    beat = heartbeats(fronted.spool).get("collector", {})
    return int(beat.get("windows_waiting", 0)) >= 2
