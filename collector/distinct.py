"""How many distinct members a set has seen: exact while few, then HyperLogLog; and what sets are merged from.

    {"bits":14,"ranks":[[17,2],[4095,1]]}     register, rank: as long as that is the shorter form
    {"bits":14,"ranks":"001030000..."}        a character for each of the 2^14 registers: "0" for rank 0, "1" for 1 ...

A member's hash of 64 bits chooses a register by its first 14; the register keeps the highest rank, which is the place
of the first 1 in the other 50. The sketch travels with the point, so that sets of several windows or hosts can be
merged: each register's highest rank is the union's.

Promises: `count` is exact up to EXACT members, but for two that share a hash (1 window in 10^11); beyond it, and for
what was merged from sketches, an estimate with a standard error of 0.8 % (1.04 / sqrt(2^14)) in 16 KiB, however many
there are. What a member's length is costs nothing. Neither depends on order, process or host.

Source: Flajolet, Fusy, Gandouet, Meunier, "HyperLogLog", 2007; the estimator, which needs no correction for small or
large counts, is Ertl's, "New cardinality estimation algorithms for HyperLogLog sketches", 2017, algorithm 6.
"""

import math
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any

EXACT = 10_000
BITS = 14
_REGISTERS = 1 << BITS
_REST = 64 - BITS
_FIRST = ord("0")
_MOST_PAIRS = 2_048
"""A pair takes 8 to 10 characters, so that beyond these a character for each register is shorter."""


class Distinct:
    """Members seen. Mutable: belongs to the window that is being filled."""

    __slots__ = ("members", "registers")

    def __init__(self) -> None:
        self.members: set[int] = set()  # hashes: a member may have 8 KiB, its hash has 8 bytes
        self.registers: bytearray | None = None  # instead of them, once they are more than EXACT

    def add(self, member: str) -> None:
        """Take one member; taking it again changes nothing."""
        bits = int.from_bytes(blake2b(member.encode(), digest_size=8).digest(), "big")
        if self.registers is not None:
            _note(self.registers, bits)
            return
        self.members.add(bits)
        if len(self.members) > EXACT:
            self._spill()

    @classmethod
    def of(cls, members: set[int], registers: bytes | None) -> "Distinct":
        """One that has these `members` and `registers`."""
        made = cls()
        made.members, made.registers = members, None if registers is None else bytearray(registers)
        return made

    def merge(self, other: "Distinct") -> None:
        """Take every member that `other` has taken; exact as long as both are, and few enough."""
        if other.registers is None and self.registers is None:
            self.members |= other.members
            if len(self.members) > EXACT:
                self._spill()
            return
        if self.registers is None:
            self._spill()
        self.registers = bytearray(map(max, self._noted(), other._noted()))

    def _spill(self) -> None:
        self.registers, self.members = self._noted(), set()

    def _noted(self) -> bytearray:
        """The registers, as if there were nothing else."""
        if self.registers is not None:
            return self.registers
        registers = bytearray(_REGISTERS)
        for each in self.members:
            _note(registers, each)
        return registers

    def count(self) -> float:
        """Distinct members: exact up to EXACT, else estimated and rounded."""
        return float(len(self.members)) if self.registers is None else _estimate(self.registers)

    @property
    def numbers(self) -> int:
        """How many it is made of: hashes, or registers."""
        return len(self.members) + len(self.registers or b"")

    def summary(self) -> dict[str, Any]:
        """The statistics of a set's point: value, sketch."""
        if self.registers is not None or len(self.members) > _MOST_PAIRS:
            return {"value": self.count(), "sketch": _sketch(self._noted())}
        ranks: dict[int, int] = {}  # a few members are not worth a look at every register
        for each in self.members:
            index, rank = _register(each)
            ranks[index] = max(rank, ranks.get(index, 0))
        return {
            "value": self.count(),
            "sketch": {"bits": BITS, "ranks": [[each, ranks[each]] for each in sorted(ranks)]},
        }


def merge(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """The sketch of the union. Raises ValueError if a sketch is none of ours."""
    return _sketch(bytearray(map(max, _registers(first), _registers(second))))


def count(sketch: Mapping[str, Any]) -> float:
    """The members of the set that a sketch is of, estimated and rounded. Raises ValueError if it is none of ours."""
    return _estimate(_registers(sketch))


def _register(bits: int) -> tuple[int, int]:
    """The register of a hash, and its rank."""
    return bits >> _REST, _REST - (bits & ((1 << _REST) - 1)).bit_length() + 1


def _note(registers: bytearray, bits: int) -> None:
    index, rank = _register(bits)
    registers[index] = max(registers[index], rank)


def _sketch(registers: bytearray) -> dict[str, Any]:
    if _REGISTERS - registers.count(0) > _MOST_PAIRS:
        return {"bits": BITS, "ranks": bytes(map(_FIRST.__add__, registers)).decode("ascii")}
    return {"bits": BITS, "ranks": [[index, rank] for index, rank in enumerate(registers) if rank]}


def _registers(sketch: Mapping[str, Any]) -> bytearray:
    ranks = sketch.get("ranks")
    if sketch.get("bits") != BITS or not isinstance(ranks, str | list):
        raise ValueError(f"a sketch of a set has {BITS} bits and ranks; this one has bits {sketch.get('bits')!r}")
    pairs: Iterable[tuple[int, int]] = (
        enumerate(map(_FIRST.__rsub__, ranks.encode())) if isinstance(ranks, str) else ranks
    )
    registers = bytearray(_REGISTERS)
    for index, rank in pairs:
        if not 0 <= index < _REGISTERS or not 0 <= rank <= _REST + 1:
            raise ValueError(f"a sketch of a set has no rank {rank} in register {index}")
        registers[index] = rank
    return registers


def _estimate(registers: bytearray) -> float:
    """Ertl's estimator: the ends of the histogram of ranks, 0 and the highest, in closed form."""
    having = [registers.count(rank) for rank in range(_REST + 2)]
    if having[0] == _REGISTERS:
        return 0.0
    z = _REGISTERS * _tau(1.0 - having[-1] / _REGISTERS)
    for rank in range(_REST, 0, -1):
        z = 0.5 * (z + having[rank])
    z += _REGISTERS * _sigma(having[0] / _REGISTERS)
    return float(round(_REGISTERS**2 / (2.0 * math.log(2.0) * z)))


def _sigma(x: float) -> float:
    """x + x^2 + 2 x^4 + 4 x^8 + ..., for x in [0, 1)."""
    total, weight = x, 1.0
    while True:
        x *= x
        before, total = total, total + x * weight
        weight += weight
        if total == before:
            return total


def _tau(x: float) -> float:
    """(1 - x - (1 - x^(1/2))^2 / 2 - (1 - x^(1/4))^2 / 4 - ...) / 3, for x in [0, 1]."""
    if x in (0.0, 1.0):
        return 0.0
    total, weight = 1.0 - x, 1.0
    while True:
        x = math.sqrt(x)
        weight *= 0.5
        before, total = total, total - (1.0 - x) ** 2 * weight
        if total == before:
            return total / 3.0
