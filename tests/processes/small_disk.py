"""What collector and shipper do on a file system of 16 MiB: one scenario per function, each on a fresh disk.

    python -m tests.processes.small_disk filled_by_us HOME

Run by test_disk_full.py, with that disk at HOME/spool (tests/needed.py). Ends with 0 if all that was promised held.
"""

import contextlib
import os
import random
import signal
import string
import sys
from pathlib import Path

from spool.reader import SpoolReader
from tests.processes.fronted import Fronted
from tests.processes.pipeline import wait_until

LINES = 420
"""Lines of one burst, of 4 KB that do not compress: about 1.3 MiB in the spool."""

chance = random.Random(20261123)


def burst(pipeline: Fronted) -> None:
    """A large window, with one counted line in it."""
    for number in range(LINES // 7):
        noise = "".join(chance.choices(string.ascii_letters + string.digits, k=4_000 * 7))
        pipeline.send(*(f"t.noise:1|c|#n{number}:{noise[4_000 * n : 4_000 * n + 4_000]}" for n in range(7)))
    pipeline.send("t.hits:1|c")


def windows(pipeline: Fronted, count: int, *, large: bool = True) -> None:
    """So many more windows are committed; each within a few seconds, however full the disk is."""
    for _ in range(count):
        seen = len(pipeline.logged())
        if large:
            burst(pipeline)
        wait_until(lambda seen=seen: len(pipeline.logged()) > seen, 10, "one more window is committed")


def all_is_well(pipeline: Fronted) -> None:
    """The newest are kept, the rest is a recorded loss or was acknowledged; nothing crashed; `status` works."""
    status = pipeline.command("spool.cli", "status", "--json", check=False)
    assert status.returncode == 0, status.stderr
    pipeline.audit()
    with SpoolReader(pipeline.spool) as spool:
        held = {each.window_seq for each in spool.headers_after(0, 10_000)}
        known = {each["seq"] for each in spool.windows(10_000)}
        lost = {n for each in spool.losses(limit=10_000) for n in range(each["first_window"], each["last_window"] + 1)}
    at_receiver = {row[0] for row in pipeline.received("SELECT window_seq FROM batches")}
    newest = max(pipeline.logged())
    assert newest in held, "the newest window is not held"
    assert pipeline.logged() <= known
    assert known <= held | lost | at_receiver, f"windows {known - held - lost - at_receiver} are unaccounted for"
    for name, process in pipeline.processes.items():
        assert process.poll() is None, f"{name} has ended: {pipeline.log(name)[-2000:]}"
        assert "Traceback" not in pipeline.log(name)


def fill_up(disk: Path) -> Path:
    """Somebody else takes the disk to its last byte."""
    hog = disk / "hog"
    with hog.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(65_536)) == 65_536:
            pass
        while True:
            file.write(b" ")
    return hog


def filled_by_us(pipeline: Fronted) -> None:
    """A server that is away, and a spool that may take more than the disk has."""
    pipeline.command("shipper.receiver.cli", "init")
    pipeline.start("collector", "shipper")
    for _ in range(30):
        windows(pipeline, 1)
        with SpoolReader(pipeline.spool) as spool:
            if spool.losses():
                break
    windows(pipeline, 3)
    all_is_well(pipeline)
    with SpoolReader(pipeline.spool) as spool:
        assert spool.losses(), "the disk was never full"
        held = sum(each.payload_bytes for each in spool.headers_after(0, 10_000))
    assert held > 2_000_000, f"only {held} bytes are held on a disk of 16 MiB"
    pipeline.start("receiver")
    wait_until(pipeline.everything_acknowledged, 60, "what is held arrives")
    all_is_well(pipeline)


def filled_by_somebody_else(pipeline: Fronted) -> None:
    """Down to the last byte; then the space comes back."""
    pipeline.start("receiver", "collector", "shipper")
    windows(pipeline, 3)
    hog = fill_up(pipeline.spool)
    for _ in range(4):
        seen = len(pipeline.logged())
        burst(pipeline)
        status = pipeline.command("spool.cli", "status", "--json", check=False)
        assert status.returncode == 0, status.stderr
        with contextlib.suppress(AssertionError):  # no window was promised here: somebody may take what we free
            wait_until(lambda seen=seen: len(pipeline.logged()) > seen, 3, "a window, perhaps")
    hog.unlink()
    seen = len(pipeline.logged())
    wait_until(lambda: len(pipeline.logged()) > seen, 2.5, "work resumes within a window (1 s) and a commit (1 s)")
    windows(pipeline, 2)
    wait_until(pipeline.everything_acknowledged, 60, "what is held arrives")
    all_is_well(pipeline)


def out_of_inodes(pipeline: Fronted) -> None:
    """Room for bytes, but not for one more file; the collector dies and starts under that, too."""
    pipeline.start("receiver", "collector", "shipper")
    windows(pipeline, 2, large=False)
    wait_until(pipeline.everything_acknowledged, 20, "the delivery file is there")
    with contextlib.suppress(OSError):
        for number in range(100_000):
            (pipeline.spool / f"junk-{number}").touch()
    windows(pipeline, 3)
    pipeline.end("collector", signal.SIGKILL)
    pipeline.start("collector")
    pipeline.end("shipper", signal.SIGKILL)
    pipeline.start("shipper")
    windows(pipeline, 2)
    wait_until(pipeline.everything_acknowledged, 30, "deliveries go on")
    all_is_well(pipeline)
    for each in pipeline.spool.glob("junk-*"):
        each.unlink()
    windows(pipeline, 2)
    all_is_well(pipeline)


SCENARIOS = {each.__name__: each for each in (filled_by_us, filled_by_somebody_else, out_of_inodes)}


def main() -> None:
    """One scenario in one folder; the logs on stderr if it failed."""
    name, home = sys.argv[1], Path(sys.argv[2])
    pipeline = Fronted(home)
    try:
        SCENARIOS[name](pipeline)
        disk = os.statvfs(pipeline.spool)
        print(f"{name}: {len(pipeline.logged())} windows, {disk.f_bavail * disk.f_frsize >> 10} KiB free at the end")
    except BaseException:
        for each in ("collector", "shipper"):
            print(f"--- {each}\n{pipeline.log(each)[-3000:]}", file=sys.stderr)
        raise
    finally:
        pipeline.stop_all()


if __name__ == "__main__":
    main()
