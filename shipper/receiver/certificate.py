"""An authority of its own and a server certificate, for a receiver on loopback where nobody else issues one.

Four files in the receiver's folder: `ca.pem` (give it to the shipper as ca_file), `ca-key.pem`, `server.pem`,
`server-key.pem`. Promises: `ensure` may be run any number of times; it makes what is missing and renews the
server certificate when less than 30 days are left; it never touches a certificate that this authority did not
issue. Does not promise revocation, nor that the authority (10 years) renews itself.
"""

import ipaddress
import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from spool.errors import HoldfastError

CA_DAYS = 3_650
LEAF_DAYS = 825
"""The longest that common clients accept."""
RENEW_DAYS = 30


class CertificateForeign(HoldfastError):
    """Files are in place that we did not make; they are left as they are."""

    exit_code = 78


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where the four files lie."""

    folder: Path

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def ca_key(self) -> Path:
        return self.folder / "ca-key.pem"

    @property
    def chain(self) -> Path:
        return self.folder / "server.pem"

    @property
    def key(self) -> Path:
        return self.folder / "server-key.pem"


def ensure(files: CertificateFiles, names: tuple[str, ...], now: datetime) -> list[Path]:
    """Make or renew what is missing or ends soon, for `names` (host names and IP addresses).

    `now` is in UTC with its time zone. Returns the files written. Raises CertificateForeign.
    """
    written: list[Path] = []
    if not files.ca.exists() and not files.chain.exists():
        _write_authority(files, now)
        written += [files.ca, files.ca_key]
    try:
        authority = x509.load_pem_x509_certificate(files.ca.read_bytes())
        if files.chain.exists():
            leaf = x509.load_pem_x509_certificate(files.chain.read_bytes())
            leaf.verify_directly_issued_by(authority)
            if leaf.not_valid_after_utc - now > timedelta(days=RENEW_DAYS) and files.key.exists():
                return written
        authority_key = serialization.load_pem_private_key(files.ca_key.read_bytes(), None)
    except (OSError, ValueError, TypeError, InvalidSignature) as error:
        why = error or "another authority signed"
        raise CertificateForeign(
            f"{files.folder}: its certificates were not all made by `init` ({why}): left as they are. "
            "Name yours with cert_file and key_file, or move them away and run init again."
        ) from None
    if not isinstance(authority_key, ec.EllipticCurvePrivateKey):
        raise CertificateForeign(f"{files.ca_key}: not a key that `init` made: left as it is.")
    _write_leaf(files, authority, authority_key, names, now)
    return [*written, files.chain, files.key]


def _write_authority(files: CertificateFiles, now: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Holdfast receiver's own authority")])
    certificate = (
        _begun(name, name, key.public_key(), now, CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write(files.ca_key, _pem(key))
    _write(files.ca, certificate.public_bytes(serialization.Encoding.PEM))


def _write_leaf(
    files: CertificateFiles,
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    names: tuple[str, ...],
    now: datetime,
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "holdfast-receiver")])
    certificate = (
        _begun(subject, authority.subject, key.public_key(), now, LEAF_DAYS)
        .add_extension(x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    _write(files.key, _pem(key))
    _write(files.chain, certificate.public_bytes(serialization.Encoding.PEM))


def _begun(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # clocks differ
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, readable by the owner alone."""
    begun = path.with_suffix(".new")
    begun.unlink(missing_ok=True)
    with os.fdopen(os.open(begun, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    begun.rename(path)
