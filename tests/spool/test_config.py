"""Whatever is wrong with the configuration is said with file, key, value and what is allowed. All of it at once."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from spool import config as module
from spool.config import (
    SpoolConfig,
    check_all,
    flag,
    key,
    list_of,
    load,
    number,
    one_of,
    path,
    read_token,
    required,
    spool_dir,
    text,
    whole,
)
from spool.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Sample:
    """A table with one key of each rule."""

    url: str = required(text(r"https?://\S+", "a URL"), "the server's address")
    count: int = key(1, whole(1, 10), "a count")
    share: float = key(0.5, number(0, 1), "a share")
    on: bool = key(False, flag, "a switch")
    mode: str = key("a", one_of("a", "b"), "a mode")
    file: Path | None = key(None, path, "a file")
    sizes: tuple[int, ...] = key((1,), list_of(whole(0, 9), at_least=1), "some sizes")

    def __post_init__(self):
        if self.on and self.mode == "b":
            raise ValueError("on: not together with mode = 'b'")


@pytest.fixture
def write(tmp_path):
    def write(document):
        file = tmp_path / "holdfast.toml"
        file.write_text(document, encoding="utf-8")
        return file

    return write


def section(file, environment=None, name="destination.main"):
    return load(file, environment or {}).section(Sample, name)


def test_what_is_not_written_has_its_default(write):
    assert section(write('[destination.main]\nurl = "http://a"')) == Sample(url="http://a")


def test_paths_start_at_the_folder_of_the_file(write, tmp_path):
    config = section(write('[destination.main]\nurl = "http://a"\nfile = "token"'))
    assert config.file == tmp_path / "token"
    assert section(write('[destination.main]\nurl = "http://a"\nfile = "/etc/t"')).file == Path("/etc/t")


@pytest.mark.parametrize(
    ("line", "allowed"),
    [
        ("count = 11", "a whole number from 1 to 10"),
        ("count = 1.0", "a whole number from 1 to 10"),
        ("count = true", "a whole number from 1 to 10"),
        ('count = "3"', "a whole number from 1 to 10"),
        ("share = 1.5", "a number from 0 to 1"),
        ("share = nan", "a number from 0 to 1"),
        ("share = inf", "a number from 0 to 1"),
        ("share = false", "a number from 0 to 1"),
        ("on = 1", "true or false"),
        ('mode = "c"', "one of a, b"),
        ("mode = 1", "one of a, b"),
        ('file = ""', "a path"),
        ("file = 3", "a path"),
        ('file = "~nobody-of-this-name/x"', "a path"),
        ("sizes = 3", "a list of at least 1"),
        ("sizes = []", "a list of at least 1"),
        ("sizes = [1, 10]", "a list of which each is a whole number from 0 to 9"),
        ('url = "ftp://a"', "a URL"),
        ("url = 1", "a URL"),
    ],
)
def test_a_bad_value_names_file_key_value_and_what_is_allowed(write, line, allowed):
    name, _, written = line.partition(" = ")
    url = "" if name == "url" else 'url = "http://a"\n'
    file = write(f"[destination.main]\n{url}{line}")
    with pytest.raises(ConfigError) as caught:
        section(file)
    start, _, end = str(caught.value).partition(": allowed is ")
    assert start.startswith(f"{file}: [destination.main] {name} = ")
    value = start.rpartition(" = ")[2]
    assert value == repr(eval(written, {"true": True, "false": False, "nan": float("nan"), "inf": float("inf")}))
    assert end == allowed
    assert caught.value.exit_code == 78


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("http://agent:s3cret@proxy:3128", "'(hidden)@proxy:3128'"),
        ("agent:s3c@ret/@proxy:3128", "'(hidden)@proxy:3128'"),
        ("http://proxy:3128/a@b", "'(hidden)@b'"),
        ("me@proxy", "'me@proxy'"),
        ("https://h/write?db=m&u=me&p=s3cret&precision=ms", "'https://h/write?db=m&u=me&p=(hidden)&precision=ms'"),
        ("https://h/in?API_KEY=s3cret#x", "'https://h/in?API_KEY=(hidden)#x'"),
    ],
)
def test_a_password_in_a_value_is_in_no_message(write, value, shown):
    with pytest.raises(ConfigError) as caught:
        load(write(f'[spool]\nmax_bytes = "{value}"\n')).section(SpoolConfig, "spool")
    assert f"max_bytes = {shown}: allowed is" in str(caught.value) and "s3c" not in str(caught.value)


def test_an_unknown_key_is_told_what_is_known(write):
    with pytest.raises(ConfigError, match=r"\[destination.main\] ulr: no such key; known are count, file, .*url"):
        section(write('[destination.main]\nulr = "http://a"\nurl = "http://a"'))


def test_a_missing_key_is_told_what_it_is(write):
    with pytest.raises(ConfigError, match=r"\[destination.main\] url: missing; it is the server's address"):
        section(write("[destination.main]\ncount = 2"))


def test_everything_that_is_wrong_is_said_at_once(write):
    file = write("[destination.main]\ncount = 0\nshare = 7\nulr = 1")
    with pytest.raises(ConfigError) as caught:
        section(file, {"HOLDFAST_DESTINATION_MAIN_MODE": "z"})
    lines = str(caught.value).splitlines()
    assert len(lines) == 5
    assert all(line.startswith(f"{file}: ") for line in lines)
    assert "$HOLDFAST_DESTINATION_MAIN_MODE = 'z': allowed is one of a, b" in lines[3]


def test_a_rule_over_several_keys_is_reported_like_the_others(write):
    with pytest.raises(ConfigError, match=r"holdfast.toml: \[destination.main\] on: not together"):
        section(write('[destination.main]\nurl = "http://a"\non = true\nmode = "b"'))


# --- environment -------------------------------------------------------------------------------------------


def test_the_environment_goes_before_the_file(write):
    file = write('[destination.main]\nurl = "http://a"\ncount = 2')
    environment = {
        "HOLDFAST_DESTINATION_MAIN_URL": "https://b/x?y=z",
        "HOLDFAST_DESTINATION_MAIN_COUNT": "3",
        "HOLDFAST_DESTINATION_MAIN_SIZES": "[4, 5]",
        "HOLDFAST_DESTINATION_MAIN_ON": "true",
        "HOLDFAST_DESTINATION_MAIN_FILE": "token",
    }
    config = section(file, environment)
    assert (config.url, config.count, config.sizes, config.on) == ("https://b/x?y=z", 3, (4, 5), True)
    assert config.file == Path.cwd() / "token"


def test_a_key_that_does_not_exist_is_an_error_in_the_environment_too(write):
    file = write('[destination.main]\nurl = "http://a"')
    with pytest.raises(ConfigError, match=r"\$HOLDFAST_DESTINATION_MAIN_ULR: no such key"):
        section(file, {"HOLDFAST_DESTINATION_MAIN_ULR": "http://b"})


@pytest.mark.parametrize("named", ["COLECTOR_INTERVAL_S", "DESTINATION_MIAN_URL", "SPOOLDIR"])
def test_a_variable_that_names_no_table_is_told_of_with_the_tables(write, named):
    stray = f"HOLDFAST_{named}"
    file = write('[destination.main]\nurl = "https://a"\ntoken_file = "t"')
    others = dict.fromkeys(("HOLDFAST_CONFIG", "HOLDFAST_LOG_FORMAT", "HOLDFAST_PORT", "HOLDFAST_SERVICE_HOST"), "")
    with pytest.raises(ConfigError, match=rf"^\${stray}: overrides no key.*spool, collector, .*, destination.main$"):
        check_all(load(file, {stray: "1", "HOLDFAST_SPOOL_DIR": "/tmp", **others}))
    check_all(load(file, {"HOLDFAST_SPOOL_DIR": "/tmp", **others}))


def test_destinations_whose_names_begin_alike_do_not_get_each_others_environment(write):
    file = write('[destination.main]\nurl = "http://a"\n[destination.main-2]\nurl = "http://b"')
    environment = {"HOLDFAST_DESTINATION_MAIN_2_COUNT": "7", "HOLDFAST_DESTINATION_MAIN_COUNT": "3"}
    assert section(file, environment).count == 3
    assert section(file, environment, "destination.main-2").count == 7


# --- the file ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ("[spol]", r"\[spol\]: no such table; known are spool, collector, shipper, destination.NAME, receiver"),
        ("spool = 3", r"spool = 3: allowed is a table, written \[spool\]"),
        ("[[spool]]", "allowed is a table"),
        ("destination = 3", "allowed is a table"),
        ("[destination.Main]", r"\[destination.Main\]: allowed is a table named with up to 32 of a-z 0-9 _ -"),
        ("[destination]\nmain = 3", r"\[destination.main\]: allowed is a table"),
        ("[spool", "not TOML"),
        ("[spool]\ndir = 1\ndir = 2", "not TOML"),
    ],
)
def test_a_file_of_the_wrong_form_is_one_clear_error(write, document, complaint):
    file = write(document)
    with pytest.raises(ConfigError, match=complaint) as caught:
        load(file, {})
    assert str(caught.value).startswith(f"{file}: ")


def test_a_file_that_is_not_utf8_is_one_clear_error(tmp_path):
    (tmp_path / "holdfast.toml").write_bytes(b"[spool]\ndir = '\xff'")
    with pytest.raises(ConfigError, match="not TOML"):
        load(tmp_path / "holdfast.toml", {})


def test_destinations_keep_the_order_of_the_file(write):
    config = load(write("[destination.b]\n[spool]\n[destination.a]\n"), {})
    assert config.destinations() == ["b", "a"]


def test_a_file_that_was_named_must_be_there(tmp_path):
    with pytest.raises(ConfigError, match=r"--config names .*nowhere.toml: no such file"):
        load(tmp_path / "nowhere.toml", {})
    with pytest.raises(ConfigError, match=r"\$HOLDFAST_CONFIG names .*nowhere.toml: no such file"):
        load(None, {"HOLDFAST_CONFIG": str(tmp_path / "nowhere.toml")})
    with pytest.raises(ConfigError, match=r"--config names .*: is a folder. Name the file itself."):
        load(tmp_path, {})


def test_the_file_is_looked_for_in_the_documented_order(tmp_path, monkeypatch):
    places = [
        tmp_path / each
        for each in ("named.toml", "env.toml", "holdfast.toml", "xdg/holdfast/holdfast.toml", "etc.toml")
    ]
    monkeypatch.setattr(module, "HOSTS_OWN", places[-1])
    for number_, place in enumerate(places, start=1):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f'[destination.main]\nurl = "http://a"\ncount = {number_}')
    monkeypatch.chdir(tmp_path)
    environment = {"HOLDFAST_CONFIG": str(places[1]), "XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    assert section(places[0], environment).count == 1
    assert section(None, environment).count == 2
    del environment["HOLDFAST_CONFIG"]
    assert section(None, environment).count == 3
    places[2].unlink()
    assert section(None, environment).count == 4
    places[3].unlink()
    assert section(None, environment).count == 5


def test_without_a_file_the_defaults_hold(tmp_path, monkeypatch):
    assert Path("/etc/holdfast/holdfast.toml") == module.HOSTS_OWN
    monkeypatch.setattr(module, "HOSTS_OWN", tmp_path / "etc.toml")  # this host may have one
    monkeypatch.chdir(tmp_path)
    nowhere = {"XDG_CONFIG_HOME": str(tmp_path)}
    config = load(None, {**nowhere, "HOLDFAST_SPOOL_MAX_AGE_SENT_S": "5"})
    assert config.section(SpoolConfig, "spool") == SpoolConfig(max_age_sent_s=5)
    with pytest.raises(ConfigError, match=r"^\(no configuration file\): \$HOLDFAST_SPOOL_MAX_BYTES = 1"):
        load(None, {**nowhere, "HOLDFAST_SPOOL_MAX_BYTES": "1"}).section(SpoolConfig, "spool")


AS_NOBODY = """
import os
from spool.config import load
if os.geteuid() == 0:
    os.setuid(65534)
print(load(None, {"HOME": os.environ["NOT_OURS"]}).source)
"""


def test_a_home_folder_of_somebody_else_is_passed_over(tmp_path):
    """As in a service that began as root and gave it up: $HOME is still /root."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    if os.geteuid() != 0:
        home.chmod(0)
    ran = subprocess.run(
        [sys.executable, "-c", AS_NOBODY],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, "NOT_OURS": str(home)},
    )
    home.chmod(0o700)
    assert (ran.returncode, ran.stderr) == (0, "")


# --- [spool] -----------------------------------------------------------------------------------------------


def test_the_spools_folder_is_configured_or_where_the_host_puts_it(write, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    named = write('[spool]\ndir = "data/spool"')
    bare = tmp_path / "bare.toml"
    bare.write_text("")
    assert spool_dir(load(named, {"STATE_DIRECTORY": "/var/lib/x"})) == tmp_path / "data/spool"
    assert spool_dir(load(bare, {"STATE_DIRECTORY": "/var/lib/x"})) == Path("/var/lib/x")
    assert spool_dir(load(bare, {"XDG_STATE_HOME": "/s"})) == Path("/s/holdfast")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert spool_dir(load(bare, {})) == Path("/var/lib/holdfast")


def test_check_all_tells_of_every_table(write, monkeypatch):
    class Entry:
        def __init__(self, name, kind):
            self.name, self._kind = name, kind

        def load(self):
            return self._kind

    entries = [Entry("spool", SpoolConfig), Entry("destination", Sample)]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: entries)
    file = write('[spool]\nmax_bytes = 1\n[destination.a]\n[destination.b]\nurl = "http://b"')
    with pytest.raises(ConfigError) as caught:
        check_all(load(file, {}))
    assert [line.split(": ")[1].split(" = ")[0] for line in str(caught.value).splitlines()] == [
        "[destination.a] url",
        "[spool] max_bytes",
    ]
    file.write_text('[destination.b]\nurl = "http://b"')
    check_all(load(file, {}))


def _pipe(file):
    os.mkfifo(file, 0o600)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_pipe, "is no regular file"),
        (Path.mkdir, "Is a directory"),
        (lambda file: None, "No such file"),
        (lambda file: file.touch(0o600), "one line of printable ASCII"),
        (lambda file: (file.touch(0o600), file.write_bytes(b"\xff")), "one line of printable ASCII"),
        (lambda file: (file.touch(0o600), file.write_text("two words")), "one line of printable ASCII"),
        (lambda file: file.touch(0o604), "chmod o-rwx"),
    ],
)
@pytest.mark.timeout(10)  # a pipe would be waited for
def test_what_is_no_token_is_said_with_the_file(tmp_path, make, said):
    make(file := tmp_path / "token")
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(ConfigError, match=f"^token_file {file}: .*{said}"):
        read_token(file)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_token_is_read_without_its_line_end(tmp_path):
    file = tmp_path / "token"
    file.touch(0o640)
    file.write_text("s3cret\n")
    assert read_token(file) == "s3cret"
