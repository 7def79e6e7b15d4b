"""What can go wrong, one class per cause that a caller treats differently.

Every message says what was seen, where, and what to do next. `exit_code` is what a command ends with when
the error reaches its top: 1 attention, 2 damage or usage, 75 try again later, 78 configuration (sysexits.h).
"""


class HoldfastError(Exception):
    """A failure with a sentence for the person who reads it."""

    exit_code = 1


class ConfigError(HoldfastError):
    """The configuration is wrong: waiting cannot fix it."""

    exit_code = 78


class SpoolMissing(HoldfastError):
    """There is no spool (yet) at the configured place. A process waits; a command says so."""

    exit_code = 2


class SpoolUnusable(HoldfastError):
    """The spool is there and cannot be used: wrong owner, wrong schema, not a database, a file in the way."""

    exit_code = 2


class SpoolTaken(SpoolUnusable):
    """Another process is what this one wanted to be in this spool: its collector, the shipper of a destination."""


class SpoolDamaged(SpoolUnusable):
    """SQLite says the file is corrupt. The collector sets it aside; everybody else waits for that."""


class SpoolBusy(HoldfastError):
    """A write could not get its lock, or the disk refused it. Nothing was written; trying again may work."""

    exit_code = 75


class PayloadError(HoldfastError):
    """A stored payload does not have its hash or its form: it must never be sent."""

    exit_code = 2


class UnknownBatch(HoldfastError):
    """An id that the spool does not hold."""

    exit_code = 2
