"""A certificate authority of the state folder's own. Its key never leaves the folder; whoever trusts ``ca.pem`` trusts
what it has signed."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import ssl
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from skylift.core.clock import Clock
from skylift.localcloud.damage import read_state
from skylift.localcloud.state_file import write_beside, write_file

AUTHORITY = "authority"
"""The folder, below the state folder."""
CERTIFICATE, KEY = "ca.pem", "ca.key"
NAME = "skylift local certificate authority"
HERE = ("localhost", "127.0.0.1", "::1", "api.localhost", "env.localhost", "ops.localhost", "*.localhost")
"""Names of this machine. OpenSSL takes no wildcard directly below a top-level name, so MWAA's prefixes are named."""
_WITHOUT = "A new authority is then made, which nobody trusts yet; certificates of before stay as they are."
AUTHORITY_DAYS, ISSUED_DAYS = 3650, 395
"""A certificate of ACM's is valid for 13 months (ACM user guide, "Certificate characteristics")."""

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
CURVES: dict[str, type[ec.EllipticCurve]] = {"EC_prime256v1": ec.SECP256R1, "EC_secp384r1": ec.SECP384R1}


@dataclass(frozen=True)
class KeyPair:
    """A certificate with its private key, all PEM.

    Attributes:
        certificate: the certificate.
        chain: what stands between it and a root, or nothing.
        key: PKCS #8, not encrypted.
    """

    certificate: str
    chain: str
    key: str


class Authority:
    """Signs. Its files are made when first needed.

    Args:
        folder: ours alone; created with mode 0700.
        clock: seconds since the epoch.
    """

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock

    @property
    def certificate_file(self) -> Path:
        """Its certificate, for those who want to trust it. Raises ``Damaged``."""
        self._own()
        return self._folder / CERTIFICATE

    def issue(self, names: Sequence[str], algorithm: str = "EC_prime256v1") -> KeyPair:
        """A certificate for a server, with a new key.

        Raises ``Damaged``: the authority's own file cannot be read.

        Args:
            names: DNS names or IP addresses; the first is its common name.
            algorithm: of the key, in ACM's words: ``RSA_2048`` and longer, ``EC_prime256v1``, ``EC_secp384r1``.
        """
        own, own_key = self._own()
        key = new_key(algorithm)
        now = datetime.fromtimestamp(self._clock(), UTC)
        made = (
            _builder(names[0], own.subject, key, now, timedelta(days=ISSUED_DAYS))
            .add_extension(x509.SubjectAlternativeName([_general(one) for one in names]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(own_key.public_key()), critical=False)
            .sign(own_key, hashes.SHA256())
        )
        return KeyPair(pem(made), pem(own), key_text(key))

    def server_context(self) -> ssl.SSLContext:
        """For a server of this machine, with a new certificate. Raises ``Damaged``."""
        pair = self.issue(HERE)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        load(context, pair)
        return context

    def _own(self) -> tuple[x509.Certificate, PrivateKey]:
        place, shown = self._folder / KEY, self._folder / CERTIFICATE
        if not place.exists():
            self._make(place)
        certificate, key = read_state(place, _parsed, "the key of this state folder's certificate authority", _WITHOUT)
        if not shown.exists():
            write_file(shown, pem(certificate).encode())
        return certificate, key

    def _make(self, place: Path) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = new_key("EC_prime256v1")
        now = datetime.fromtimestamp(self._clock(), UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
        made = (
            _builder(NAME, subject, key, now, timedelta(days=AUTHORITY_DAYS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_signing_only(), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        new = write_beside(self._folder / f"{KEY}.{os.getpid()}", (key_text(key) + pem(made)).encode())
        with contextlib.suppress(FileExistsError):  # another process was faster: its key counts
            os.link(new, place)
        new.unlink()


def _parsed(text: str) -> tuple[x509.Certificate, PrivateKey]:
    key = cast("PrivateKey", serialization.load_pem_private_key(text.encode(), None))
    return x509.load_pem_x509_certificate(text.encode()), key


def load(context: ssl.SSLContext, pair: KeyPair) -> None:
    """Gives a context a certificate."""
    with tempfile.NamedTemporaryFile("w") as file:  # mode 0600; OpenSSL reads no other way
        file.write(pair.key + pair.certificate + pair.chain)
        file.flush()
        context.load_cert_chain(file.name)


def new_key(algorithm: str) -> PrivateKey:
    """A new key; ``algorithm`` in ACM's words."""
    if algorithm in CURVES:
        return ec.generate_private_key(CURVES[algorithm]())
    return rsa.generate_private_key(public_exponent=65537, key_size=int(algorithm.removeprefix("RSA_")))


def _builder(name: str, issuer: x509.Name, key: PrivateKey, now: datetime, valid: timedelta) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + valid)
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _signing_only() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def pem(certificate: x509.Certificate) -> str:
    """As text."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def key_text(key: PrivateKey) -> str:
    """PKCS #8, not encrypted."""
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain).decode()
