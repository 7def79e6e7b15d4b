"""P1 under power loss, simulated: what was not synced is lost, and no committed window is.

**What is simulated.** A real collector runs under strace, which records every write, truncation, creation, removal and
sync, and the log line `window_committed`, in the order in which the calls returned. From that record the folder is put
together as a power cut at that instant could leave it (recorded.py: POSIX at its strictest, sectors of 512 bytes kept
or lost one by one, torn pages, names without a synced folder gone), with rubbish for the -shm file. The spool is then
opened by SpoolWriter, has to pass `integrity_check`, and must hold, with the right hash, every window that was logged
as committed before the cut.

**What is not.** A disk that acknowledges a flush and loses it, for which no program has a cure; sectors that change
without having been written; file systems that put a file's name and length in another order than its data *after* a
sync. No real power was cut, and no kernel's file system code was run through it: dm-flakey needs device-mapper, LazyFS
needs FUSE tools, and neither is asked for here. The delivery files are not replayed: losing one costs duplicates only.
"""

import random
import shutil
import signal
import sqlite3
import string
from contextlib import closing
from pathlib import Path

import pytest

from spool.errors import HoldfastError
from spool.reader import SpoolReader
from spool.writer import SpoolWriter
from tests.processes.fronted import Fronted
from tests.processes.pipeline import wait_until
from tests.processes.recorded import Call, Disk, Keep, read, tracer

SEED = 20261123


def record(home: Path, windows: int) -> tuple[Path, list[Call]]:
    """What a collector wrote from its first start on: windows of about 1 MiB, so that the log is checkpointed."""
    chance = random.Random(SEED)
    pipeline = Fronted(home)
    try:
        pipeline.start_under("collector", tracer(home / "strace"))
        wait_until(lambda: " listening " in pipeline.log("collector"), 30, "the collector listens")
        for _ in range(windows):
            seen = len(pipeline.logged())
            for number in range(100):
                noise = "".join(chance.choices(string.ascii_letters + string.digits, k=6_000))
                pipeline.send(*(f"t.big:1|c|#n{number}:{part}{noise}" for part in range(3)))
            wait_until(lambda seen=seen: len(pipeline.logged()) > seen, 30, "one more window")
        pipeline.end("collector", signal.SIGKILL)
    finally:
        pipeline.stop_all()
    return pipeline.spool, list(read(home / "strace"))


def problems(folder: Path, promised: set[int]) -> str:
    """What is wrong with the spool that a power cut left; "" if nothing."""
    if not promised and not folder.exists():
        return ""
    try:
        SpoolWriter.open(folder, "host-1").close()
        with SpoolReader(folder) as spool, closing(sqlite3.connect(folder / "spool.db")) as connection:
            verdict = connection.execute("PRAGMA integrity_check").fetchone()[0]
            held = {each["seq"] for each in spool.windows(100_000)}
            for header in spool.headers_after(0, 100_000):
                spool.batch(header.id).verified()
            batches = {each.window_seq for each in spool.headers_after(0, 100_000)}
    except HoldfastError as error:
        return str(error)
    if verdict != "ok":
        return f"integrity_check: {verdict}"
    missing = promised - (held & batches)
    return f"windows {sorted(missing)} are missing" if missing else ""


def cut(spool: Path, calls: list[Call], scratch: Path, samples: int, *, syncs: bool = True) -> list[str]:
    """The problems found at cuts beside each sync and at `samples` other instants; each cut leaves three disks."""
    chance = random.Random(SEED)
    about = [n for n, each in enumerate(calls) if each.path.startswith(f"{spool}/spool.db") or each.name == "log"]
    edges = {n + d for n in about for d in (0, 1) if calls[n].name in ("sync", "log", "size", "create")}
    instants = edges | set(chance.sample(about, min(samples, len(about))))
    disk, promised, found, tried = Disk(spool, syncs=syncs), set(), [], 0
    for number, call in enumerate(calls):
        if number in instants:
            for keep in Keep:
                tried += 1
                left = disk.left(keep, chance)
                if left is not None:
                    scratch.mkdir()
                    for name in {"spool.db", "spool.db-wal", "spool.db-journal"} & set(left):
                        (scratch / name).write_bytes(left[name])
                    if "spool.db-shm" in left:
                        (scratch / "spool.db-shm").write_bytes(chance.randbytes(32_768))
                wrong = problems(scratch, promised)
                if wrong:
                    at = f"cut before call {number}, {call.name} {call.path[-20:]}"
                    found.append(f"{at}, {keep.value} of the unsynced kept: {wrong}")
                shutil.rmtree(scratch, ignore_errors=True)
        disk.apply(call)
        if call.name == "log" and b" window_committed seq=" in call.data:
            promised.add(int(call.data.partition(b" seq=")[2].split()[0]))
    print(f"{tried} power cuts among {len(calls)} calls, {len(promised)} windows committed: {len(found)} problems")
    assert len(promised) >= 3
    return found


def test_no_committed_window_is_lost_by_a_power_cut_at_any_instant(tmp_path: Path) -> None:
    spool, calls = record(tmp_path / "holdfast", 5)
    checkpoints = sum(each.name == "sync" and each.path.endswith("/spool.db") for each in calls)
    assert checkpoints >= 1, "nothing was checkpointed"
    assert cut(spool, calls, tmp_path / "left", 40) == []
    assert cut(spool, calls, tmp_path / "left", 0, syncs=False), "a disk without syncs must lose something"


@pytest.mark.soak
@pytest.mark.timeout(1_800)
def test_no_committed_window_is_lost_by_a_power_cut_at_any_of_many_instants(tmp_path: Path) -> None:
    spool, calls = record(tmp_path / "holdfast", 30)
    assert cut(spool, calls, tmp_path / "left", 2_000) == []
