"""[collector]: what is taken, and what an error says."""

from pathlib import Path

import pytest

from collector.config import CollectorConfig, Listen, listen_url
from collector.statsd import Dialect
from spool.config import load
from spool.errors import ConfigError


def section(tmp_path, text, **environment):
    file = tmp_path / "holdfast.toml"
    file.write_text("[collector]\n" + text)
    return load(file, environment).section(CollectorConfig, "collector")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("udp://127.0.0.1:8125", Listen("udp", "127.0.0.1", 8125)),
        ("udp://[::1]:0", Listen("udp", "::1", 0)),
        ("tcp://127.0.0.2:1?gauges=value", Listen("tcp", "127.0.0.2", 1, gauges="value")),
        ("unixgram:///run/x.sock?gauges=delta", Listen("unixgram", path="/run/x.sock", gauges="delta")),
        ("udp://127.0.0.1:1?tags=influx&gauges=value", Listen("udp", "127.0.0.1", 1, gauges="value", tags="influx")),
        ("unix:///run/x.sock?tags=graphite", Listen("unix", path="/run/x.sock", tags="graphite")),
        ("unix:///run/x.sock", Listen("unix", path="/run/x.sock")),
    ],
)
def test_a_listen_url_is_understood(url, expected):
    assert listen_url(url, Path()) == expected
    assert str(expected) == url.partition("?")[0]


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1",
        "udp://127.0.0.1",
        "udp://127.0.0.1:65536",
        "udp://127.0.0.1:x",
        "udp://localhost:1",
        "udp://:8125",
        "udp://::1:8125",
        "udp://127.0.0.1:1/path",
        "udp://user@127.0.0.1:1",
        "udp://127.0.0.1:1?gauges=both",
        "udp://127.0.0.1:1?signs=value",
        "udp://127.0.0.1:1?tags=dogstatsd",
        "udp://127.0.0.1:1?tags",
        "udp://127.0.0.1:1?gauges",
        "udp://[::1",
        "unix://run/x.sock",
        "unixgram:///" + "x" * 107,
        "127.0.0.1:8125",
        "",
        8125,
    ],
)
def test_a_bad_listen_url_is_named_with_what_is_allowed(tmp_path, url):
    with pytest.raises(ConfigError) as raised:
        section(tmp_path, f"listen = ['{url}']" if isinstance(url, str) else f"listen = [{url}]")
    assert str(url) in str(raised.value)
    assert "[collector] listen" in str(raised.value)
    assert "udp://IP:PORT" in str(raised.value)


def test_the_defaults_hold_without_a_file(tmp_path):
    ours = section(tmp_path, "")
    assert ours.listen == (Listen("udp", "127.0.0.1", 8125),)
    assert (ours.interval_s, ours.gauge_expiry_s, ours.gauge_signs, ours.admin) == (10, None, "delta", None)


def test_what_is_spoken_at_an_address_is_its_own_word_or_else_everybodys(tmp_path):
    ours = section(
        tmp_path,
        "name_tags = 'influx'\ngauge_signs = 'value'\nlisten = ['udp://127.0.0.1:1?tags=none', 'udp://127.0.0.1:2']",
    )
    assert [ours.dialect(each) for each in ours.listen] == [Dialect("value", "none"), Dialect("value", "influx")]


def test_one_url_may_stand_alone_in_the_environment(tmp_path):
    ours = section(tmp_path, "", HOLDFAST_COLLECTOR_LISTEN="udp://127.0.0.1:9")
    assert ours.listen == (Listen("udp", "127.0.0.1", 9),)


@pytest.mark.parametrize(
    "text",
    [
        "interval_s = 0",
        "interval_s = 1.5",
        "interval_s = 3601",
        "quantiles = [0]",
        "quantiles = [1.0]",
        "quantiles = [nan]",
        "quantiles = 0.5",
        "listen = []",
        "max_series = 0",
        "gauge_expiry_s = 0",
        "gauge_signs = 'both'",
        "name_tags = 'statsd'",
        "admin = '127.0.0.1'",
        "admin = '127.0.0.1:99999'",
        "admin = 'x:1'",
        "host = ''",
    ],
)
def test_a_bad_value_is_an_error_that_names_its_key(tmp_path, text):
    with pytest.raises(ConfigError) as raised:
        section(tmp_path, text)
    assert text.partition(" ")[0] in str(raised.value)
    assert raised.value.exit_code == 78


def test_every_key_is_documented():
    for name, field in CollectorConfig.__dataclass_fields__.items():
        assert field.metadata["doc"], name
