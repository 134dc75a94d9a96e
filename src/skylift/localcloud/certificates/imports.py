"""Certificates that people bring: what ACM refuses of them, and what can be read in a certificate. Pure.

Source: ACM user guide, "Prerequisites for importing certificates". Most texts of AWS's refusals are not documented;
where one is ours, it says what is wrong.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from skylift.localcloud.certificates.authority import CURVES, KeyPair, PrivateKey, key_text, pem
from skylift.wire.errors import AwsError

_BITS = (1024, 2048, 3072, 4096)
_CURVES = {curve.name: name for name, curve in CURVES.items()} | {"secp521r1": "EC_secp521r1"}


def checked_pair(certificate: bytes, key: bytes, chain: bytes, now: float) -> KeyPair:
    """What an import brings, as it is kept. Raises ``AwsError`` for what ACM refuses."""
    found = _certificates(certificate, "certificate")
    if len(found) != 1:
        words = "The certificate field contains more than one certificate. You can specify only one certificate"
        raise refused(f"{words} in this field.")
    own = found[0]
    secret = _private_key(key)
    _check_readable(own)
    if _public(secret.public_key()) != _public(own.public_key()):
        raise refused("The private key does not match the certificate.")
    if not own.not_valid_before_utc.timestamp() <= now < own.not_valid_after_utc.timestamp():
        raise refused("The certificate is not within its validity period.")
    above = _certificates(chain, "certificate chain") if chain.strip() else []
    for one, signer in zip([own, *above], above, strict=False):
        try:
            one.verify_directly_issued_by(signer)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            raise refused("Could not validate the certificate with the certificate chain.") from None
    return KeyPair(pem(own), "".join(map(pem, above)), key_text(secret))


def refused(message: str) -> AwsError:
    """``ValidationException``."""
    return AwsError("ValidationException", message)


def read_certificate(text: str) -> dict[str, Any]:
    """What DescribeCertificate tells of a certificate itself."""
    found = x509.load_pem_x509_certificate(text.encode())
    serial = f"{found.serial_number:x}"
    serial = serial.zfill(len(serial) + len(serial) % 2)
    usages = [one for one in ("digital_signature", "key_encipherment") if _has_usage(found, one)]
    return {
        "Serial": ":".join(serial[at : at + 2] for at in range(0, len(serial), 2)),
        "Subject": found.subject.rfc4514_string(),
        "Issuer": _common_name(found.issuer),
        "NotBefore": found.not_valid_before_utc,
        "NotAfter": found.not_valid_after_utc,
        "KeyAlgorithm": algorithm_of(found),
        "SignatureAlgorithm": _signature_of(found),
        "KeyUsages": [{"Name": one.upper()} for one in usages],
        "ExtendedKeyUsages": [{"Name": "TLS_WEB_SERVER_AUTHENTICATION", "OID": "1.3.6.1.5.5.7.3.1"}],
    }


def names_of(text: str) -> list[str]:
    """The names that a certificate is for; the common name first."""
    found = x509.load_pem_x509_certificate(text.encode())
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        listed = [str(one) for kind in (x509.DNSName, x509.IPAddress) for one in names.get_values_for_type(kind)]
    except x509.ExtensionNotFound:
        listed = []
    return list(dict.fromkeys([name for name in (_common_name(found.subject), *listed) if name]))


def algorithm_of(certificate: x509.Certificate) -> str:
    """The key's algorithm in ACM's words. Raises ``AwsError``: ACM has none for it."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size in _BITS:
        return f"RSA_{key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return _CURVES[key.curve.name]
    raise refused(
        "The key of the certificate is not supported: use RSA of 1024 to 4096 bits, or the curves P-256 to P-521."
    )


def utc(seconds: float) -> datetime:
    """Seconds since the epoch as the wire wants them."""
    return datetime.fromtimestamp(seconds, UTC)


def _check_readable(certificate: x509.Certificate) -> None:
    """Whether everything that is told of it later can be read. Raises ``AwsError``."""
    text = pem(certificate)
    try:
        read_certificate(text)
        names_of(text)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise refused(f"The certificate cannot be read: {error}.") from None


def _certificates(text: bytes, what: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(text)
    except ValueError:
        raise refused(f"The {what} is not valid: it must be PEM, -----BEGIN CERTIFICATE----- first.") from None


def _private_key(text: bytes) -> PrivateKey:
    try:
        found = serialization.load_pem_private_key(text, None)
    except TypeError:
        raise refused("The private key is encrypted: remove its passphrase.") from None
    except (ValueError, UnsupportedAlgorithm):
        raise refused("The private key is not valid: it must be PEM, and not encrypted.") from None
    if not isinstance(found, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise refused("The private key is not supported: use RSA, or an elliptic curve.")
    return found


def _public(key: Any) -> bytes:
    found: bytes = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return found


def _common_name(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""


def _signature_of(certificate: x509.Certificate) -> str:
    digest = certificate.signature_hash_algorithm
    kind = "RSA" if "rsa" in certificate.signature_algorithm_oid._name.lower() else "ECDSA"
    return f"{digest.name.upper()}WITH{kind}" if digest is not None else kind


def _has_usage(certificate: x509.Certificate, name: str) -> bool:
    try:
        return bool(getattr(certificate.extensions.get_extension_for_class(x509.KeyUsage).value, name))
    except x509.ExtensionNotFound:
        return name == "digital_signature"
