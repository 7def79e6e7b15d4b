"""The command as a user meets it, without a running collector."""

import json
import re
import shutil
import socket

import pytest
from click.testing import CliRunner

from collector.check import findings
from collector.cli import main
from spool.config import load


def invoke(*arguments, stdin=None):
    return CliRunner().invoke(main, [str(each) for each in arguments], input=stdin)


@pytest.fixture
def config(tmp_path):
    def write(text="", listen='["udp://127.0.0.1:0"]'):
        file = tmp_path / "holdfast.toml"
        file.write_text(f'[spool]\ndir = "{tmp_path}/spool"\n[collector]\nlisten = {listen}\n{text}\n')
        return file

    return write


def test_parse_prints_one_json_object_per_line():
    result = invoke("parse", "--json", stdin=b"a:1:2|ms|@0.5|#k:v,bare|T17\na:x|c\n\n_sc|db|1|#a:b\n")
    objects = [json.loads(each) for each in result.stdout.splitlines()]
    assert objects[0] == {
        "line": "a:1:2|ms|@0.5|#k:v,bare|T17",
        "ok": True,
        "metrics": [
            {
                "name": "a",
                "type": "timer",
                "value": None,
                "values": [1.0, 2.0],
                "delta": False,
                "rate": 0.5,
                "tags": {"bare": "", "k": "v"},
                "timestamp": 17,
            }
        ],
    }
    assert (objects[1]["ok"], objects[1]["error"], objects[1]["reason"]) == (False, "bad value 'x'", "bad_value")
    assert objects[2] == {"line": "", "ok": True, "metrics": []}
    assert (objects[3]["metrics"][0]["type"], objects[3]["metrics"][0]["value"]) == ("service_check", 1)
    assert result.exit_code == 0


def test_parse_understands_what_a_listener_is_told_to_understand():
    lines = b"a,k=v:+1|g\n_e{1,4}:a|b\\nc|p:low|h:x|d:17\n"
    result = invoke("parse", "--json", "--tags", "influx", "--gauges", "value", stdin=lines)
    gauge, event = (json.loads(each)["metrics"][0] for each in result.stdout.splitlines())
    assert (gauge["name"], gauge["tags"], gauge["delta"], gauge["value"]) == ("a", {"k": "v"}, False, 1.0)
    assert event == {
        **{"name": "a", "type": "event", "value": "b\nc", "values": ["b\nc"], "delta": False, "rate": 1.0},
        **{"tags": {"host": "x"}, "timestamp": 17, "fields": {"priority": "low"}},
    }
    assert "a,k=v" in invoke("parse", "--json", stdin=lines).stdout
    assert invoke("parse", "--tags", "x", stdin=b"").exit_code == 2


def test_parse_shows_people_what_a_line_means():
    result = invoke("parse", stdin=b"api.hits:1|c|#env:prod\napi.hits:x|c\ng:-1|g\n")
    assert [each.split() for each in result.stdout.splitlines()] == [
        ["1", "ok", "counter", "api.hits", "1.0", "env=prod"],
        ["2", "refused", "bad", "value", "'x'", "api.hits:x|c"],
        ["3", "ok", "gauge", "g", "-1.0"],
    ]


def test_parse_shows_what_is_not_printable_once_escaped():
    lines = b"a\0:1|c\n\xff:1|c\nq:1|a\\d\n" + "\u2028x\n".encode()
    assert invoke("parse", stdin=lines).stdout.splitlines() == [
        r"1  refused  control character '\x00'  a\x00:1|c",
        r"2  refused  not utf8 '\xff'  \xff:1|c",
        r"3  refused  unknown type 'a\d'  q:1|a\d",
        r"4  refused  no value '\u2028x'  \u2028x",
    ]
    first = invoke("parse", "--json", stdin=lines).stdout.splitlines()[0]
    assert json.loads(first)["error"] == r"control character '\x00'"


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_parse_takes_any_bytes_and_says_nothing_to_the_terminal(flags):
    noise = bytes(range(256)) + b"\n" + b"\x1b[2J:1|c\n" + b"x" * 100_000 + b"\n\xff\xfe:1|c"
    result = invoke("parse", *flags, stdin=noise)
    assert result.exit_code == 0, result.exception
    assert "\x1b" not in result.stdout
    assert len(result.stdout.splitlines()) == noise.count(b"\n") + 1


def test_check_is_fine_with_a_good_configuration_and_changes_nothing(config, tmp_path):
    result = invoke("check", "--json", "-c", config("receive_buffer_bytes = 4096"))
    checked = json.loads(result.stdout)
    assert result.exit_code == 0, checked
    assert checked["ok"] is True
    assert [each["what"] for each in checked["checks"]] == ["config", "listen", "rcvbuf", "spool", "disk", "sqlite"]
    assert not (tmp_path / "spool").exists()


def test_check_says_what_a_small_disk_means_for_the_spool(config, monkeypatch):
    def disk_of(free):
        monkeypatch.setattr("shutil.disk_usage", lambda _: shutil._ntuple_diskusage(2**40, 2**40 - free, free))
        checks = json.loads(invoke("check", "--json", "-c", config()).stdout)["checks"]
        return next((each["state"], each["detail"]) for each in checks if each["what"] == "disk")

    assert disk_of(2**30) == ("ok", "1.0 GiB free, 512.0 MiB of them reserved")
    state, detail = disk_of(40 * 2**20)
    assert state == "warn" and "0.0 GiB" not in detail
    assert detail.startswith("40.0 MiB free, no more than [spool] disk_reserve_bytes, 512.0 MiB: ")
    assert "beyond 32.0 MiB the spool lets go of its oldest batches, also unsent ones" in detail


def test_check_names_a_busy_port_and_ends_with_1(config):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        result = invoke("check", "-c", config(listen=f'["udp://127.0.0.1:{port}"]'))
    assert result.exit_code == 1
    assert f"bad   listen  udp://127.0.0.1:{port}: in use; change [collector] listen" in result.stdout


def test_check_looks_whether_others_have_an_address_unless_one_that_is_given_up_is_in_the_way(config, tmp_path):
    path = tmp_path / "s"

    def found(leaving, wanted):
        loaded = load(config(listen=f'["{wanted}"]'))
        checked = findings(loaded, [leaving, "of another release"])
        return next((each.state, each.detail) for each in checked if each.what == "listen")

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as others, socket.socket(socket.AF_UNIX) as ours:
        others.bind(("127.0.0.2", 0))
        ours.bind(str(path))
        ours.listen()
        port = others.getsockname()[1]
        url = f"udp://127.0.0.2:{port}"
        assert found(f"udp://127.0.0.1:{port}", url)[0] == "bad"
        assert found(f"udp://[::]:{port}", url)[0] == "bad"
        for leaving, wanted in (
            (url, f"udp://0.0.0.0:{port}"),
            (f"udp://0.0.0.0:{port}", url),
            (f"unix://{path}", f"unixgram://{path}"),
        ):
            assert found(leaving, wanted) == ("ok", f"{wanted} will be free")
        assert found(f"unix://{path}s", f"unixgram://{path}")[0] == "bad"


@pytest.mark.parametrize(
    ("listen", "admin", "twice"),
    [
        (["udp://127.0.0.1:{0}", "udp://127.0.0.1:{0}?gauges=value"], None, "udp://127.0.0.1:{0}: "),
        (["udp://127.0.0.1:{0}", "udp://0.0.0.0:{0}"], None, "udp://0.0.0.0:{0}: "),
        (["unix:///nowhere/s", "unixgram:///nowhere/s"], None, "unixgram:///nowhere/s: unix://"),
        (["udp://127.0.0.1:{0}", "tcp://127.0.0.1:{0}"], "127.0.0.1:{0}", "tcp://127.0.0.1:{0}: "),
        (["udp://0.0.0.0:{0}", "udp://[::]:{0}", "udp://127.0.0.1:0", "udp://127.0.0.1:0"], None, None),
    ],
)
def test_check_names_an_address_that_is_there_twice_also_to_the_collector_that_has_it(config, listen, admin, twice):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    text = f'admin = "{admin.format(port)}"' if admin else ""
    loaded = load(config(text, listen=json.dumps([each.format(port) for each in listen])))
    bad = [each.detail for each in findings(loaded, [listen[0].format(port)]) if each.state == "bad"]
    assert [each.startswith(twice.format(port)) for each in bad] == [True] if twice else bad == []


@pytest.mark.parametrize(("length", "state"), [("10", "warn"), ("512", "ok")])
def test_check_says_how_many_datagrams_may_wait_in_a_unix_socket(config, tmp_path, monkeypatch, length, state):
    file = tmp_path / "max_dgram_qlen"
    file.write_text(length + "\n")
    monkeypatch.setattr("collector.listeners.QUEUE_LENGTH", file)
    said = invoke("check", "-c", config(listen=f'["unixgram://{tmp_path}/s"]')).stdout
    assert re.search(rf"^{state} +queue +{length} datagrams may wait", said, re.MULTILINE)
    assert ("raise net.unix.max_dgram_qlen to 512" in said) == (state == "warn")
    assert "queue" not in invoke("check", "-c", config()).stdout


def test_check_names_a_spool_path_that_is_a_file(config, tmp_path):
    (tmp_path / "spool").write_text("")
    result = invoke("check", "-c", config())
    assert result.exit_code == 1
    assert "is a file; [spool] dir must name a folder" in result.stdout


def test_check_ends_with_78_for_a_bad_configuration(config):
    result = invoke("check", "-c", config("interval_s = 0"))
    assert result.exit_code == 78
    assert "interval_s = 0" in result.stdout
    assert invoke("check", "--json", "-c", "/nowhere.toml").exit_code == 78


@pytest.mark.parametrize("scheme", ["unix", "unixgram"])
def test_check_finds_a_stale_and_a_wrong_socket_file(config, tmp_path, scheme):
    path = tmp_path / "s"
    listen = f'["{scheme}://{path}"]'
    kind = socket.SOCK_DGRAM if scheme == "unixgram" else socket.SOCK_STREAM
    with socket.socket(socket.AF_UNIX, kind) as live:
        live.bind(str(path))
        if scheme == "unix":
            live.listen()
        assert "in use" in invoke("check", "-c", config(listen=listen)).stdout
    assert "will be replaced" in invoke("check", "-c", config(listen=listen)).stdout
    path.unlink()
    path.write_text("")
    assert "not a socket" in invoke("check", "-c", config(listen=listen)).stdout
    assert path.exists()


def test_an_error_is_one_line_and_has_its_exit_code():
    result = invoke("run", "-c", "/nowhere.toml")
    assert result.exit_code == 78
    assert result.stderr == "Error: --config names /nowhere.toml: no such file. Name another, or write one there.\n"


def test_send_sends_the_line_that_it_prints(config):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5)
        port = server.getsockname()[1]
        file = config(listen=f'["tcp://127.0.0.1:1", "udp://127.0.0.1:{port}"]')
        result = invoke(
            "send", "-c", file, "a.b", "-5", "--type", "g", "--tag", "k:v", "--tag", "bare", "--rate", "0.5"
        )
        assert result.exit_code == 0, result.output
        assert server.recv(100) == b"a.b:-5|g|@0.5|#k:v,bare"


def test_send_refuses_what_the_collector_would_refuse():
    result = invoke("send", "a", "x", "--to", "udp://127.0.0.1:9")
    assert result.exit_code == 2
    assert "bad value 'x'" in result.stderr


def test_send_says_when_nobody_listens():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    result = invoke("send", "a", "1", "--to", f"udp://127.0.0.1:{port}")
    assert result.exit_code == 1
    assert "Is the collector running there?" in result.stderr
