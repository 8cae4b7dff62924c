"""An authority of one's own, and a certificate that it signs: so that nobody has to know how.

The files are ``authority.crt``, which all who dial have to trust, ``authority.key``, which only the next
certificate needs, and ``node.crt`` with ``node.key`` for those that serve.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mesh.errors import MeshError
from mesh.text import listing

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate, GeneralName

AUTHORITY: Final = "authority.crt"
AUTHORITY_KEY: Final = "authority.key"
CERT: Final = "node.crt"
KEY: Final = "node.key"

OWN: Final = ("localhost", "127.0.0.1", "::1")
"""The hosts that every certificate is for."""

# Browsers take none that is valid for longer.
_NODE_DAYS = 397
_AUTHORITY_DAYS = 3650


class CannotCertifyError(MeshError):
    """A certificate cannot be made; says why, and what to do."""


def init(folder: Path, hosts: Sequence[str]) -> list[Path]:
    """Make a certificate for localhost and some hosts, and the authority for it if there is none.

    Args:
        folder: Where; it is made if it is not there.
        hosts: Names and addresses.

    Returns:
        The files that were made.

    Raises:
        CannotCertifyError: If one of them is there already, or the library for it is missing.

    """
    try:
        import cryptography  # noqa: F401 - so that it is missing here, with advice, and not below
    except ImportError:
        raise CannotCertifyError(
            "making certificates needs the library cryptography, which is not installed; "
            "install it: pip install 'sketchmesh[tls]'"
        ) from None
    there = [name for name in (CERT, KEY) if (folder / name).exists()]
    if there:
        raise CannotCertifyError(
            f"{folder / there[0]} is there already, and nothing is overwritten; for a new one of the same "
            f"authority delete {listing((CERT, KEY))} there, or name another folder"
        )
    names = [_name(host) for host in dict.fromkeys((*OWN, *hosts))]
    made: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / AUTHORITY).exists() or (folder / AUTHORITY_KEY).exists():
            authority, authority_key = _read(folder)
        else:
            authority_key = _new_key()
            authority = _signed(authority_key, None, authority_key)
            made += _write(folder, AUTHORITY, authority, AUTHORITY_KEY, authority_key)
        key = _new_key()
        made += _write(folder, CERT, _signed(key, authority, authority_key, names), KEY, key)
    except OSError as exc:
        words = (exc.strerror or str(exc)).lower()
        raise CannotCertifyError(f"cannot write to {folder}: {words}; name another folder") from exc
    return made


def _name(host: str) -> GeneralName:
    from cryptography.x509 import DNSName, IPAddress

    try:
        return IPAddress(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        pass
    try:
        return DNSName(host.encode("idna").decode())
    except UnicodeError:
        raise CannotCertifyError(
            f"{host!r} is no name of a host; write it as --host pi.local or --host 192.168.1.7"
        ) from None


def _new_key() -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _signed(
    key: EllipticCurvePrivateKey,
    authority: Certificate | None,
    by: EllipticCurvePrivateKey,
    names: Iterable[GeneralName] = (),
) -> Certificate:
    """Return a certificate for a key: of a node, or without names of an authority, which signs itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    is_authority = authority is None
    words = "sketchmesh authority" if is_authority else "sketchmesh node"
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, words)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if authority is None else authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # for clocks that are late
        .not_valid_after(now + timedelta(days=_AUTHORITY_DAYS if is_authority else _NODE_DAYS))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=0 if is_authority else None), True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                key_cert_sign=is_authority,
                crl_sign=is_authority,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            ),
            True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), False)
    )
    if not is_authority:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), False).add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False
        )
    return builder.sign(by, SHA256())


def _read(folder: Path) -> tuple[Certificate, EllipticCurvePrivateKey]:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from cryptography.x509 import load_pem_x509_certificate

    advice = f"make {AUTHORITY} and {AUTHORITY_KEY} readable, or name another folder for a new authority"
    try:
        authority = load_pem_x509_certificate((folder / AUTHORITY).read_bytes())
        key = load_pem_private_key((folder / AUTHORITY_KEY).read_bytes(), None)
    except (OSError, ValueError, TypeError) as exc:
        words = getattr(exc, "strerror", None) or str(exc)
        raise CannotCertifyError(f"the authority in {folder} cannot be used: {words}; {advice}") from exc
    if not isinstance(key, EllipticCurvePrivateKey) or key.public_key() != authority.public_key():
        raise CannotCertifyError(f"the key in {folder} is not that of the authority there; {advice}")
    return authority, key


def _write(
    folder: Path, name: str, certificate: Certificate, key_name: str, key: EllipticCurvePrivateKey
) -> list[Path]:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    # The key first: a certificate without its key would be of no use.
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _create(folder / key_name, secret, 0o600)
    _create(folder / name, certificate.public_bytes(Encoding.PEM), 0o644)
    return [folder / name, folder / key_name]


def _create(path: Path, data: bytes, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
