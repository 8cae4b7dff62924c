"""TLS: what a node shows, and whom it trusts.

What is wrong with a file is found out when a node begins to serve, not when somebody dials it: the
certificate is tried once, by a handshake in memory.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

from mesh.errors import CertificateError
from mesh.node import Tls

ADVICE: Final = "`mesh cert init` makes an authority, a certificate and its key"


def serving(tls: Tls, where: str) -> ssl.SSLContext:
    """Return what a node serves with.

    Args:
        tls: Its files; it has a certificate and a key.
        where: Where that is written, for people.

    Raises:
        CertificateError: If they cannot be used: what is wrong with which, and what to do.

    """
    assert tls.cert is not None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _readable(tls.cert, "the certificate", where)
    if tls.key is not None:
        _readable(tls.key, "the key", where)
    try:
        context.load_cert_chain(tls.cert, tls.key, password=_no_password)
    except _PasswordWantedError:
        raise CertificateError(
            f"{where}: the key {tls.key} has a password, and nobody is there to type it; "
            f"write it without one: openssl pkey -in {tls.key} -out NEW"
        ) from None
    except ssl.SSLError as exc:
        raise CertificateError(f"{where}: {_unusable(tls, exc)}; {ADVICE}") from exc
    _try(context, tls.cert, where)
    return context


def trusting(tls: Tls) -> ssl.SSLContext:
    """Return what a node is dialled with: its authority is trusted, else those of the system.

    Raises:
        CertificateError: If the authority cannot be read.

    """
    if tls.authority is not None:
        _readable(tls.authority, "the authority", "`tls:`")
    try:
        return ssl.create_default_context(cafile=tls.authority)
    except ssl.SSLError as exc:
        raise CertificateError(
            f"`tls:`: the authority {tls.authority} is no certificate (PEM); {ADVICE}"
        ) from exc


def why_untrusted(exc: OSError) -> str:
    """Return why a handshake failed, and what to do."""
    if isinstance(exc, ssl.SSLCertVerificationError):
        words = str(exc.verify_message).rstrip(".")
        return (
            f"its certificate is not trusted ({words}); if it is of an authority of your own, name that: "
            f"`tls: {{authority: FILE}}`"
        )
    words = str(getattr(exc, "reason", None) or exc) or "it hung up"
    return f"no TLS was possible ({words}); perhaps it serves without, and `tls:` is to be removed"


class _PasswordWantedError(Exception):
    """The key is encrypted."""


def _no_password() -> str:
    raise _PasswordWantedError


def _readable(path: str, what: str, where: str) -> None:
    try:
        Path(path).open("rb").close()
    except OSError as exc:
        words = (exc.strerror or str(exc)).lower()
        raise CertificateError(f"{where}: cannot read {what} {path}: {words}; {ADVICE}") from exc


def _unusable(tls: Tls, exc: ssl.SSLError) -> str:
    if "KEY_VALUES_MISMATCH" in str(exc.reason):
        return f"the key {tls.key or tls.cert} does not belong to the certificate {tls.cert}"
    probe = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    assert tls.cert is not None
    try:
        probe.load_verify_locations(tls.cert)
    except ssl.SSLError:
        return f"{tls.cert} is no certificate (PEM)"
    return f"{tls.key or tls.cert} is no key (PEM)"


def _try(serving: ssl.SSLContext, cert: str, where: str) -> None:
    """Raise if who trusts this very certificate would refuse it: it has expired, or is not for servers."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(cert)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server),
        serving.wrap_bio(to_server, to_client, server_side=True),
    ]
    try:
        while ends:
            for end in list(ends):
                try:
                    end.do_handshake()
                except ssl.SSLWantReadError:
                    continue
                ends.remove(end)
    except ssl.SSLCertVerificationError as exc:
        words = str(exc.verify_message).rstrip(".")
        raise CertificateError(
            f"{where}: nobody would trust the certificate {cert}: {words}; make a new one: {ADVICE}"
        ) from exc
