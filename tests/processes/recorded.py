"""The writes of a process as strace recorded them, and the disks that a power cut among them could have left.

    recorded = list(read(log))                     every write, sync, truncation, creation, removal; every log line
    disk = Disk(folder); disk.apply(each) ...      what is durable, and what is only in the page cache
    disk.left(Keep.SOME, chance)                   name -> bytes, as a reboot could find them

The model is POSIX at its strictest: a file's bytes and length are durable once fsync or fdatasync of that file has
returned; a name is durable once its folder was synced. Of everything else any part may be on the disk: nothing, all,
or each sector of 512 bytes by the throw of a coin. Names appear in the order in which they were made.
"""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

CALLS = "openat,pwrite64,write,fdatasync,fsync,ftruncate,unlink,rename,mkdir"
SECTOR_BYTES = 512

_LINE = re.compile(r"^(?P<pid>\d+) +(?P<text>.*)$")
_CALL = re.compile(r"^(?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+)")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_FD = re.compile(r"\d+<((?:\\x[0-9a-f]{2})*)>")


def tracer(log: Path) -> list[str]:
    """The command before the one to record. `-D`: the process id is the recorded program's."""
    return ["strace", "-D", "-f", "-qq", "-y", "-xx", "-s", "16777216", "-e", f"trace={CALLS}", "-o", str(log)]


@dataclass(frozen=True, slots=True)
class Call:
    """One finished system call. `path` is what it was about; `data` was written at `offset`."""

    name: str
    path: str
    data: bytes = b""
    offset: int = 0
    to: str = ""


def _bytes(escaped: str) -> bytes:
    return bytes.fromhex(escaped.replace("\\x", ""))


def read(log: Path) -> Iterator[Call]:
    """The calls that succeeded, in the order in which they returned. A call that another one interrupts in the log
    (`<unfinished ...>`, `<... resumed>`) counts where it returned."""
    begun: dict[str, str] = {}
    with log.open(encoding="ascii") as lines:
        for line in lines:
            match = _LINE.match(line.rstrip("\n"))
            if match is None:
                continue
            pid, text = match["pid"], match["text"]
            if text.endswith("<unfinished ...>"):
                begun[pid] = text.removesuffix("<unfinished ...>")
                continue
            if text.startswith("<..."):
                text = begun.pop(pid, "") + text.partition(" resumed>")[2]
            done = _CALL.match(text)
            if done is not None and int(done["result"]) >= 0:
                call = _call(done["name"], done["arguments"], text[done.end("arguments") :], int(done["result"]))
                if call is not None:
                    yield call


def _call(name: str, arguments: str, rest: str, result: int) -> Call | None:
    texts = [_bytes(each) for each in _TEXT.findall(arguments)]
    about = [_bytes(path).decode() for path in _FD.findall(arguments + rest)]
    last = arguments.rpartition(", ")[2]
    call: Call | None = None
    match name:
        case "openat" if "O_CREAT" in arguments or "O_TRUNC" in arguments:  # `rest` has the file that was opened
            call = Call("truncate" if "O_TRUNC" in arguments else "create", about[-1])
        case "pwrite64":
            call = Call("write", about[0], texts[0][:result], int(last))
        case "write":
            call = Call("log" if arguments.startswith("2<") else "append", about[0], texts[0][:result])
        case "fdatasync" | "fsync":
            call = Call("sync", about[0])
        case "ftruncate":
            call = Call("size", about[0], offset=int(last))
        case "rename":
            call = Call("rename", texts[0].decode(), to=texts[1].decode())
        case "mkdir" | "unlink":
            call = Call(name, texts[0].decode())
    return call


class Keep(Enum):
    """What of the unsynced is on the disk after the cut."""

    NOTHING = "nothing"
    SOME = "some"
    ALL = "all"


def _write(content: bytearray, offset: int, data: bytes) -> None:
    content.extend(bytes(max(0, offset + len(data) - len(content))))
    content[offset : offset + len(data)] = data


@dataclass(slots=True)
class _File:
    durable: bytearray = field(default_factory=bytearray)
    pending: list[Call] = field(default_factory=list)

    def now(self, keep: Keep, chance: random.Random) -> bytes:
        content = bytearray(self.durable)
        for call in self.pending if keep is not Keep.NOTHING else ():
            if call.name == "size":
                if keep is Keep.ALL or chance.random() < 0.5:
                    del content[call.offset :]
                    content.extend(bytes(call.offset - len(content)))
                continue
            for first in range(0, len(call.data), SECTOR_BYTES):
                if keep is Keep.ALL or chance.random() < 0.5:
                    _write(content, call.offset + first, call.data[first : first + SECTOR_BYTES])
        return bytes(content)

    def sync(self) -> None:
        self.durable = bytearray(self.now(Keep.ALL, random.Random()))
        self.pending.clear()


class Disk:
    """One folder, made while recording; other paths are not looked at. `syncs=False` is a disk that lies about them."""

    def __init__(self, folder: Path, *, syncs: bool = True) -> None:
        self._folder, self._syncs = str(folder), syncs
        self._parent_synced = False
        self._names: dict[str, _File] = {}  # as the process sees them
        self._durable: dict[str, _File] = {}
        self._changes: list[dict[str, _File]] = []  # the names after each change since the folder was synced

    def apply(self, call: Call) -> None:
        """One more call has returned."""
        folder, _, name = call.path.rpartition("/")
        if call.name == "sync" and self._syncs:
            if call.path == self._folder:
                self._durable, self._changes = dict(self._names), []
            elif call.path == str(Path(self._folder).parent):
                self._parent_synced = True
            elif folder == self._folder and name in self._names:
                self._names[name].sync()
        if folder != self._folder or call.name in ("sync", "mkdir", "log"):
            return
        if call.name in ("create", "truncate"):
            if name not in self._names:
                self._changed(self._names | {name: _File()})
            elif call.name == "truncate":
                self._names[name].pending.append(Call("size", call.path))
        elif call.name == "unlink":
            self._changed({each: file for each, file in self._names.items() if each != name})
        elif call.name == "rename":
            left = {each: file for each, file in self._names.items() if each != name}
            self._changed(left | {call.to.rpartition("/")[2]: self._names[name]})
        elif name in self._names:
            self._names[name].pending.append(call)

    def _changed(self, names: dict[str, _File]) -> None:
        self._names = names
        self._changes.append(names)

    def left(self, keep: Keep, chance: random.Random) -> dict[str, bytes] | None:
        """The files after a power cut now, by name; None if the folder itself need not be there."""
        if not self._parent_synced and keep is Keep.NOTHING:
            return None
        names = self._durable
        if keep is Keep.ALL:
            names = self._names
        elif keep is Keep.SOME:
            names = chance.choice([self._durable, *self._changes])
        return {name: file.now(keep, chance) for name, file in names.items()}
