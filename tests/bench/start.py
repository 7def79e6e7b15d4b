"""How long a collector takes from its start to listening on a large spool: `python -m tests.bench.start [MIB]`.

The spool (1 GiB) was left by a SIGKILL with its log uncut. Rows are payloads of 100 KB that do not compress. The bar is
2 s; beside it the same on an empty folder.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import spool.writer
from spool.batch import Batch, Window, batch_key, encode
from spool.writer import SpoolWriter
from tests.bench.measure import table
from tests.processes.pipeline import Pipeline

PAYLOAD_BYTES = 100_000


def left_behind(place: Path, size_bytes: int) -> None:
    """Fill the spool in a child that kills itself."""
    child = os.fork()
    if child == 0:
        chance = random.Random(1)
        like = Window(1, 0.0, 10.0, [])
        batch = encode("id", 1, "host-1", like, [], 10.0)

        def take(spool_id: str, batch_id: int, *_: object) -> Batch:
            payload = chance.randbytes(PAYLOAD_BYTES)
            return replace(batch, id=batch_id, key=batch_key(spool_id, batch_id), payload=payload)

        spool.writer.encode = take  # type: ignore[assignment]
        writer = SpoolWriter.open(place, "host-1")
        now = time.time()
        for seq in range(1, size_bytes // PAYLOAD_BYTES + 1):
            writer.commit(Window(seq, now - 10, now, []), now)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


def start_s(home: Path, size_bytes: int) -> float:
    """Seconds from starting the process to its line `listening`."""
    pipeline = Pipeline(home)
    if size_bytes:
        left_behind(pipeline.spool, size_bytes)
        assert (pipeline.spool / "spool.db-wal").stat().st_size > 0
    began = time.perf_counter()
    collector = [sys.executable, "-m", "collector.cli", "run"]
    process = subprocess.Popen(collector, env=pipeline.environment(), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if " listening " in line:
            break
    taken_s = time.perf_counter() - began
    process.kill()
    process.stderr.close()
    process.wait()
    return taken_s


def main() -> None:
    """An empty spool and a large one."""
    mib = int(sys.argv[1]) if len(sys.argv) > 1 else 1024
    with tempfile.TemporaryDirectory() as folder:
        empty_s = min(start_s(Path(folder) / f"empty{n}", 0) for n in range(3))
        large_s = start_s(Path(folder) / "large", mib << 20)
    table(
        ("spool", "seconds to listening", "ratio"),
        [("empty", empty_s, 1.0), (f"{mib} MiB, unclean", large_s, large_s / empty_s)],
    )
    print("\nbar 2 s")


if __name__ == "__main__":
    main()
