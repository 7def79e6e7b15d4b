"""[receiver]: defaults, the safe rule, and what is said about a wrong value."""

from pathlib import Path

import pytest

from shipper.receiver.config import Listen, ReceiverConfig, receiver_dir
from spool.config import load
from spool.errors import ConfigError


def settings_of(tmp_path: Path, text: str, environment: dict[str, str] | None = None) -> ReceiverConfig:
    file = tmp_path / "holdfast.toml"
    file.write_text(text)
    return load(file, environment or {}).section(ReceiverConfig, "receiver")


def test_the_table_may_be_missing(tmp_path) -> None:
    settings = settings_of(tmp_path, "")
    assert str(settings.listen) == "https://127.0.0.1:8443"
    assert settings.max_body_bytes == 8 * 2**20
    assert settings.max_raw_bytes == 64 * 2**20


def test_the_folder_is_beside_the_configuration_or_where_it_says(tmp_path) -> None:
    file = tmp_path / "holdfast.toml"
    file.write_text("")
    assert receiver_dir(load(file, {})) == tmp_path / "data/receiver"
    assert receiver_dir(load(file, {"HOLDFAST_RECEIVER_DIR": "/srv/x"})) == Path("/srv/x")


@pytest.mark.parametrize(
    ("raw", "listen"),
    [
        ("http://127.0.0.1:0", Listen("http", "127.0.0.1", 0)),
        ("https://[::1]:8443/", Listen("https", "::1", 8443)),
        ("http://localhost:80", Listen("http", "localhost", 80)),
    ],
)
def test_an_address_is_read(tmp_path, raw, listen) -> None:
    assert settings_of(tmp_path, f'[receiver]\nlisten = "{raw}"').listen == listen
    assert listen.loopback


@pytest.mark.parametrize(
    "raw",
    [
        '"127.0.0.1:8443"',
        '"ftp://127.0.0.1:1"',
        '"https://127.0.0.1"',
        '"https://127.0.0.1:99999"',
        '"https://metrics.example.net:8443"',
        '"https://127.0.0.1:8443/v1/batches"',
        '"https://user@127.0.0.1:8443"',
        '"https://[::1:8443"',
        "8443",
        '""',
    ],
)
def test_a_wrong_address_is_named_with_what_is_allowed(tmp_path, raw) -> None:
    with pytest.raises(ConfigError, match=r"\[receiver\] listen = .*allowed is http or https"):
        settings_of(tmp_path, f"[receiver]\nlisten = {raw}")


def test_beyond_loopback_only_https_with_a_token_is_allowed(tmp_path) -> None:
    with pytest.raises(ConfigError, match="only https"):
        settings_of(tmp_path, '[receiver]\nlisten = "http://0.0.0.0:80"\ntoken_file = "t"')
    with pytest.raises(ConfigError, match="token_file must be set"):
        settings_of(tmp_path, '[receiver]\nlisten = "https://0.0.0.0:8443"')
    settings = settings_of(tmp_path, '[receiver]\nlisten = "https://0.0.0.0:8443"\ntoken_file = "t"')
    assert settings.token_file == tmp_path / "t"


def test_certificate_and_key_come_together(tmp_path) -> None:
    with pytest.raises(ConfigError, match="both, or none"):
        settings_of(tmp_path, '[receiver]\ncert_file = "c.pem"')
