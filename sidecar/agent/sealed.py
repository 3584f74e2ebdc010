"""Files that survive a restart: written atomically and fsynced, sealed (AES-256-GCM) where they hold secrets.

The seal key comes from a mounted file; its SHA-256 is the AES key, so any file of enough entropy serves. The file's
name is bound in as associated data: a sealed file under another name does not open.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bartizan.errors import TrustError

_MAGIC = b"bzs1"
_NONCE = 12


def write_atomically(path: Path, data: bytes) -> None:
    """Replace `path` by `data`, mode 0600: afterwards there is the old or the new file, never half of one.

    Raises OSError (disk full, read-only): the old file is then untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class Seal:
    """Seals and opens what lies on disk."""

    def __init__(self, key_material: bytes) -> None:
        self._aead = AESGCM(hashlib.sha256(b"bartizan seal\n" + key_material).digest())

    @classmethod
    def from_file(cls, path: Path) -> Seal:
        """Raises TrustError when the file is unreadable or too short to be a key."""
        try:
            material = path.read_bytes()
        except OSError as error:
            raise TrustError(f"seal key {path} is unreadable: {type(error).__name__}") from error
        if len(material) < 32 or not material.strip():  # random bytes may begin or end with white space
            raise TrustError(
                f"seal key {path} is too short: at least 32 bytes, for instance `openssl rand 32`"
            )
        return cls(material)

    def save(self, path: Path, data: bytes) -> None:
        """Seal and write. Raises OSError."""
        nonce = secrets.token_bytes(_NONCE)
        write_atomically(path, _MAGIC + nonce + self._aead.encrypt(nonce, data, path.name.encode()))

    def open(self, path: Path) -> bytes | None:
        """The data, or None without such a file. Raises TrustError when it does not open with this key."""
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise TrustError(f"{path.name} is unreadable: {type(error).__name__}") from error
        start = len(_MAGIC) + _NONCE
        if not raw.startswith(_MAGIC) or len(raw) < start:
            raise TrustError(f"{path.name} is no sealed file")
        try:
            return self._aead.decrypt(raw[len(_MAGIC) : start], raw[start:], path.name.encode())
        except InvalidTag as error:
            raise TrustError(f"{path.name} was changed or sealed with another key") from error
