"""The certificate that clients of `bartizan up` see: copied into the sidecar's folder, beyond which the agent reads nothing,
not through links either.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import NamedTuple

from cryptography import x509

from bartizan.local.certificates import make_server_certificate
from bartizan.local.private_file import write_private

_DAYS = 365
_RENEWED_DAYS = 30


class Pair(NamedTuple):
    """Files (PEM) of a chain and its key."""

    cert: Path
    key: Path


def self_signed(folder: Path) -> Pair:
    """The pair in this folder; made anew where there is none, or not for long."""
    made = Pair(folder / "tls.crt", folder / "tls.key")
    if not (made.key.exists() and _lasts(made.cert)):
        make_server_certificate(folder, days=_DAYS)
    return made


def _lasts(cert: Path) -> bool:
    try:
        ends = x509.load_pem_x509_certificate(cert.read_bytes()).not_valid_after_utc
    except (OSError, ValueError):
        return False
    return ends - dt.datetime.now(dt.UTC) > dt.timedelta(days=_RENEWED_DAYS)


def serve(pair: Pair, folder: Path) -> None:
    """Bring the folder's tls.crt and tls.key to what the pair's files hold. Raises OSError where they can't be read, and
    ValueError where they are no text; the folder then keeps what it has.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, text in [("tls.crt", pair.cert.read_text()), ("tls.key", pair.key.read_text())]:
        served = folder / name
        if served.is_symlink() or not served.exists() or served.read_text() != text:
            write_private(served, text)
