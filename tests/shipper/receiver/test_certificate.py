"""Our own authority: made once, renewed in time, never in the way of somebody else's certificates."""

import ssl
import stat
from datetime import UTC, datetime, timedelta

import pytest
import trustme
from cryptography import x509

from shipper.receiver.certificate import CertificateFiles, CertificateForeign, ensure

NOW = datetime(2026, 11, 23, tzinfo=UTC)
NAMES = ("localhost", "127.0.0.1", "::1")


def test_everything_is_made_once_for_its_owner_alone(tmp_path) -> None:
    files = CertificateFiles(tmp_path)
    assert ensure(files, NAMES, NOW) == [files.ca, files.ca_key, files.chain, files.key]
    before = {each: each.read_bytes() for each in tmp_path.iterdir()}
    assert ensure(files, NAMES, NOW + timedelta(days=700)) == []
    assert {each: each.read_bytes() for each in tmp_path.iterdir()} == before
    assert {stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()} == {0o600}


def test_the_certificate_holds_for_loopback_and_825_days(tmp_path) -> None:
    files = CertificateFiles(tmp_path)
    ensure(files, NAMES, NOW)
    leaf = x509.load_pem_x509_certificate(files.chain.read_bytes())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    assert leaf.not_valid_after_utc == NOW + timedelta(days=825)
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(files.chain, files.key)


def test_with_less_than_30_days_left_it_is_renewed_under_the_same_authority(tmp_path) -> None:
    files = CertificateFiles(tmp_path)
    ensure(files, NAMES, NOW)
    authority = files.ca.read_bytes()
    later = NOW + timedelta(days=796)
    assert ensure(files, NAMES, later) == [files.chain, files.key]
    assert files.ca.read_bytes() == authority
    assert x509.load_pem_x509_certificate(files.chain.read_bytes()).not_valid_after_utc > later + timedelta(days=800)


@pytest.mark.parametrize("with_authority", [False, True])
def test_a_foreign_certificate_is_never_touched(tmp_path, with_authority) -> None:
    files = CertificateFiles(tmp_path)
    if with_authority:
        ensure(files, NAMES, NOW)
    foreign = trustme.CA().issue_cert("localhost")
    foreign.cert_chain_pems[0].write_to_path(files.chain)
    foreign.private_key_pem.write_to_path(files.key)
    before = {each: each.read_bytes() for each in tmp_path.iterdir()}
    with pytest.raises(CertificateForeign, match="left as they are"):
        ensure(files, NAMES, NOW)
    assert {each: each.read_bytes() for each in tmp_path.iterdir()} == before


def test_a_lost_server_key_is_made_again(tmp_path) -> None:
    files = CertificateFiles(tmp_path)
    ensure(files, NAMES, NOW)
    files.key.unlink()
    assert ensure(files, NAMES, NOW) == [files.chain, files.key]
