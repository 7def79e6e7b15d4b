"""The configuration: one TOML file that every process reads.

    [collector]
    interval_s = 10
    ----------   --
    key          value, checked by the rule that the key was declared with

Each process declares the tables it reads as a frozen dataclass whose fields are made by `key()`; this module
finds the file, applies the environment, checks every key and builds the dataclass. What is wrong is a
`ConfigError` that names the file, the key, the value and what is allowed. All that is wrong is said at once.

The file is the first that exists of: `--config`, `$HOLDFAST_CONFIG`, `./holdfast.toml`,
`$XDG_CONFIG_HOME/holdfast/holdfast.toml`, `/etc/holdfast/holdfast.toml`. The first two must exist. Without any,
the defaults hold. `HOLDFAST_<TABLE>_<KEY>` overrides a key; its text is read as a TOML value where it is one
and as a string otherwise, so `HOLDFAST_COLLECTOR_INTERVAL_S=1` and `HOLDFAST_DESTINATION_MAIN_URL=https://...`
both do what they look like. Paths in the file are relative to the file's folder, those from the environment
to the working directory.

Secrets are not configuration: a key names the file (`token_file`), and `read_token` reads it when it is needed.
"""

import os
import re
import stat
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from spool.errors import ConfigError

Section = TypeVar("Section")
Rule = Callable[[Any, Path], Any]
"""(raw value, folder that relative paths start from) -> checked value; ValueError says what is allowed."""

TABLES = ("spool", "collector", "shipper", "destination", "receiver")

HOSTS_OWN = Path("/etc/holdfast/holdfast.toml")
"""Where the configuration is looked for last."""

OTHER_VARIABLES = re.compile(r"HOLDFAST_(CONFIG|LOG_FORMAT|TEST_.*|SERVICE_.*|PORT(_.*)?)")
"""Variables that override no key: ours, our tests', and what Kubernetes sets for a service of the name holdfast."""

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
"""A destination's name: it becomes part of file and process names."""


def key(default: Any, rule: Rule, doc: str) -> Any:
    """Declare one key of a table: its default (None = absent means off), its rule, and its documentation."""
    return field(default=default, metadata={"rule": rule, "doc": doc})


def required(rule: Rule, doc: str) -> Any:
    """Declare a key that has no default."""
    return field(metadata={"rule": rule, "doc": doc})


_BEFORE_AT = re.compile(r"[^\s'\"]*:[^\s'\"]*@")
"""A scheme, user name and password in the text of a value: messages get into logs, and passwords must not."""
SECRET_PARAMETER = re.compile(
    r"(?<=[?&])(p|pass|passwd|password|secret|token|access_token|auth|api[_-]?key)=[^&#\s'\"]*", re.IGNORECASE
)
"""One in the query of a URL; InfluxDB 1 calls it `p`."""


def _without_secrets(value: Any) -> str:
    return SECRET_PARAMETER.sub(r"\1=(hidden)", _BEFORE_AT.sub("(hidden)@", repr(value)))


# --- rules ---------------------------------------------------------------------------------------------


def whole(low: int, high: int) -> Rule:
    """A whole number in [low, high]."""

    def rule(raw: Any, _folder: Path) -> int:
        if isinstance(raw, bool) or not isinstance(raw, int) or not low <= raw <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return raw

    return rule


def number(low: float, high: float) -> Rule:
    """A number in [low, high]; whole numbers are welcome."""

    def rule(raw: Any, _folder: Path) -> float:
        if isinstance(raw, bool) or not isinstance(raw, int | float) or not low <= raw <= high:
            raise ValueError(f"a number from {low:g} to {high:g}")
        return float(raw)

    return rule


def flag(raw: Any, _folder: Path) -> bool:
    """true or false."""
    if not isinstance(raw, bool):
        raise ValueError("true or false")  # noqa: TRY004 - every rule speaks ValueError
    return raw


def text(pattern: str, allowed: str) -> Rule:
    """Text that matches `pattern` as a whole; `allowed` says so in words."""
    matcher = re.compile(pattern)

    def rule(raw: Any, _folder: Path) -> str:
        if not isinstance(raw, str) or not matcher.fullmatch(raw):
            raise ValueError(allowed)
        return raw

    return rule


def one_of(*choices: str) -> Rule:
    """One of a closed set of words."""

    def rule(raw: Any, _folder: Path) -> str:
        if raw not in choices:
            raise ValueError("one of " + ", ".join(choices))
        return str(raw)

    return rule


def path(raw: Any, folder: Path) -> Path:
    """A path; relative ones start at the folder of the configuration file. `~` is the home folder."""
    if not isinstance(raw, str) or not raw or "\0" in raw:
        raise ValueError("a path")
    try:
        return folder / Path(raw).expanduser()
    except RuntimeError:  # ~somebody that this host does not know
        raise ValueError("a path") from None


def list_of(rule: Rule, at_least: int = 0) -> Rule:
    """A list whose items all keep `rule`."""

    def check(raw: Any, folder: Path) -> tuple[Any, ...]:
        if not isinstance(raw, list) or len(raw) < at_least:
            raise ValueError("a list" + (f" of at least {at_least}" if at_least else ""))
        try:
            return tuple(rule(item, folder) for item in raw)
        except ValueError as error:
            raise ValueError(f"a list of which each is {error}") from None

    return check


# --- the file ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Config:
    """The file as read: nothing checked yet but TOML itself and the names of its tables.

    `source` is for messages ("holdfast.toml" or "(no configuration file)"), `tables` holds raw values by
    table name ("spool", "destination.main"), `folder` is where relative paths start.
    """

    source: str
    file: Path | None
    folder: Path
    tables: Mapping[str, Mapping[str, Any]]
    environment: Mapping[str, str]

    def section(self, kind: type[Section], name: str) -> Section:
        """Table `name`, checked and built. Raises ConfigError that lists everything wrong with it."""
        problems: list[str] = []
        known = {each.name: each for each in fields(kind)}  # type: ignore[arg-type]
        raw: dict[str, tuple[Any, Path, str]] = {
            each: (value, self.folder, f"[{name}] {each}") for each, value in self.tables.get(name, {}).items()
        }
        prefix = _prefix(name)
        longer = tuple(each for each in map(_prefix, self.tables) if each != prefix and each.startswith(prefix))
        for variable, value in self.environment.items():
            if variable.startswith(prefix) and not variable.startswith(longer):  # theirs, not ours: main, main-2
                each = variable.removeprefix(prefix).lower()
                raw[each] = (_from_text(value), Path.cwd(), f"${variable}")
        values = {}
        for each, (value, folder, where) in raw.items():
            if each not in known:
                problems.append(f"{where}: no such key; known are {', '.join(sorted(known))}")
                continue
            try:
                values[each] = known[each].metadata["rule"](value, folder)
            except ValueError as error:
                problems.append(f"{where} = {_without_secrets(value)}: allowed is {error}")
        problems += [
            f"[{name}] {each.name}: missing; it is {each.metadata['doc']}"
            for each in known.values()
            if each.default is MISSING and each.name not in raw
        ]
        if not problems:
            try:
                return kind(**values)
            except ValueError as error:  # rules over several keys, in __post_init__
                problems.append(f"[{name}] {error}")
        raise ConfigError("\n".join(f"{self.source}: {problem}" for problem in problems))

    def raw(self, table: str, name: str, default: Any) -> Any:
        """A key of a table that another package declares: as written, environment applied, not checked."""
        override = self.environment.get(_prefix(table) + name.upper())
        return self.tables.get(table, {}).get(name, default) if override is None else _from_text(override)

    def window_s(self) -> int:
        """[collector] interval_s, by which others judge how old a commit may be."""
        value = self.raw("collector", "interval_s", 10)  # the default must agree with collector/config.py
        return value if isinstance(value, int) else 10

    def strays(self) -> list[str]:
        """What is wrong with variables that name a table that is not there, and so override nothing."""
        known = dict.fromkeys([*(each for each in TABLES if each != "destination"), *self.tables])
        return [
            f"${variable}: overrides no key: write HOLDFAST_<TABLE>_<KEY>; the tables are {', '.join(known)}"
            for variable in self.environment
            if variable.startswith("HOLDFAST_")
            and not variable.startswith(tuple(map(_prefix, known)))
            and not OTHER_VARIABLES.fullmatch(variable)
        ]

    def destinations(self) -> list[str]:
        """Names of the configured destinations, in the order of the file."""
        return [name.removeprefix("destination.") for name in self.tables if name.startswith("destination.")]


def _prefix(table: str) -> str:
    return "HOLDFAST_" + re.sub(r"[^A-Z0-9]", "_", table.upper()) + "_"


def _is(kind: Callable[[Path], bool], path: Path) -> bool:
    try:
        return kind(path)
    except PermissionError:  # $HOME may still be root's in a process that gave root up
        return False


def _from_text(value: str) -> Any:
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return value


def find(named: Path | None, environment: Mapping[str, str]) -> Path | None:
    """The configuration file in force, or None. Raises ConfigError if one was named and is not there."""
    for origin, wanted in (("--config", named), ("$HOLDFAST_CONFIG", environment.get("HOLDFAST_CONFIG"))):
        if wanted:
            if _is(Path.is_dir, Path(wanted)):
                raise ConfigError(f"{origin} names {wanted}: is a folder. Name the file itself.")
            if not _is(Path.is_file, Path(wanted)):
                raise ConfigError(f"{origin} names {wanted}: no such file. Name another, or write one there.")
            return Path(wanted)
    return next((each for each in usual_places(environment) if _is(Path.is_file, each)), None)


def usual_places(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """Where a configuration that nothing names is looked for, in this order."""
    home = Path(environment.get("XDG_CONFIG_HOME") or Path(environment.get("HOME", "/")) / ".config")
    return Path("holdfast.toml"), home / "holdfast/holdfast.toml", HOSTS_OWN


def load(named: Path | None = None, environment: Mapping[str, str] | None = None) -> Config:
    """Find and read the configuration. Raises ConfigError for a missing, unreadable or malformed file."""
    environment = os.environ if environment is None else environment
    file = find(named, environment)
    if file is None:
        return Config("(no configuration file)", None, Path.cwd(), {}, environment)
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}. Check its owner and mode.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not TOML: {error}") from None
    tables: dict[str, Mapping[str, Any]] = {}
    for name, table in document.items():
        if name not in TABLES:
            raise ConfigError(
                f"{file}: [{name}]: no such table; known are spool, collector, shipper, destination.NAME, receiver"
            )
        if not isinstance(table, dict):
            raise ConfigError(f"{file}: {name} = {table!r}: allowed is a table, written [{name}]")
        if name != "destination":
            tables[name] = table
            continue
        for each, inner in table.items():
            if not NAME.fullmatch(each) or not isinstance(inner, dict):
                raise ConfigError(
                    f"{file}: [destination.{each}]: allowed is a table named with up to 32 of a-z 0-9 _ -"
                )
            tables[f"destination.{each}"] = inner
    return Config(str(file), file, file.absolute().parent, tables, environment)


def check_all(config: Config) -> None:
    """Check every table, whoever reads it, and what the environment overrides. Raises one ConfigError with everything.

    The dataclasses come from the entry points `holdfast.config`, so that no package imports a sibling.
    """
    from importlib.metadata import entry_points  # noqa: PLC0415 - 20 ms, which `holdfast status` need not pay

    problems = config.strays()
    for entry in sorted(entry_points(group="holdfast.config"), key=lambda each: each.name):
        tables = [f"destination.{each}" for each in config.destinations()]
        for name in tables if entry.name == "destination" else [entry.name]:
            try:
                config.section(entry.load(), name)
            except ConfigError as error:
                problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))


def _without_waiting(file: str, flags: int) -> int:
    return os.open(file, flags | os.O_NONBLOCK)  # a pipe is open at once, and seen to be none of ours


def read_token(file: Path) -> str:
    """The secret in `file`, read anew each time so that it can be changed in place.

    Raises ConfigError if it is no regular file, cannot be read, may be read by everybody, or holds anything but one
    token. The token is in no message.
    """
    try:
        with open(file, encoding="ascii", opener=_without_waiting) as opened:
            mode = os.fstat(opened.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise ConfigError(f"token_file {file}: is no regular file; it is read anew each time.")
            if mode & stat.S_IROTH:
                raise ConfigError(f"token_file {file}: every user of this host may read it. Do: chmod o-rwx {file}")
            token = opened.read().strip()
    except OSError as error:
        raise ConfigError(f"token_file {file}: {error.strerror}. Check its path, owner and mode.") from None
    except UnicodeDecodeError:
        token = ""
    if not token or not token.isprintable() or " " in token:
        raise ConfigError(f"token_file {file}: allowed is one line of printable ASCII without spaces: the token.")
    return token


# --- our own table -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SpoolConfig:
    """[spool]: where committed data waits, for how long, and how much of the disk it may take."""

    dir: Path | None = key(
        None,
        path,
        "the spool's folder; absent: $STATE_DIRECTORY, else /var/lib/holdfast for root, else $XDG_STATE_HOME/holdfast",
    )
    max_bytes: int = key(1_073_741_824, whole(4_194_304, 2**50), "the most that the whole folder may take, bytes")
    max_age_unsent_s: int = key(604_800, whole(60, 2**31), "unsent batches older than this become losses")
    max_age_sent_s: int = key(86_400, whole(0, 2**31), "acknowledged batches are kept this long for replay")
    max_age_dead_s: int = key(2_592_000, whole(0, 2**31), "dead and expired batches are kept this long")
    disk_reserve_bytes: int = key(
        536_870_912, whole(0, 2**50), "the disk's last bytes, left free but for 32 MiB that the spool may always have"
    )


def spool_dir(config: Config) -> Path:
    """The spool's folder as configured, or where the conventions of the host put it."""
    named = config.section(SpoolConfig, "spool").dir
    if named is not None:
        return named
    environment = config.environment
    if environment.get("STATE_DIRECTORY"):
        return Path(environment["STATE_DIRECTORY"])
    if os.geteuid() == 0:
        return Path("/var/lib/holdfast")
    return Path(environment.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "holdfast"
