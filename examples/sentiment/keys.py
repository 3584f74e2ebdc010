"""The provider side of the example: which upstream keys the model accepts. Stored as hashes in one JSON file."""

from __future__ import annotations

import hashlib
import json
import secrets
from pathlib import Path


class KeyStore:
    """Keys by id; the whole state is written at every change, so a restart forgets nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._keys: dict[str, dict[str, str]] = json.loads(path.read_text()) if path.exists() else {}

    def create(self, name: str) -> tuple[str, str]:
        """A new key: its id and the key itself, shown only now."""
        key_id, key = secrets.token_hex(6), "sk-sentiment-" + secrets.token_urlsafe(24)
        self._keys[key_id] = {"name": name, "hash": _hash(key)}
        self._save()
        return key_id, key

    def list(self) -> list[dict[str, str]]:
        """Ids and names, never keys."""
        return [{"id": key_id, "name": record["name"]} for key_id, record in self._keys.items()]

    def revoke(self, key_id: str) -> bool:
        """True when there was such a key."""
        if self._keys.pop(key_id, None) is None:
            return False
        self._save()
        return True

    def accepts(self, key: str | None) -> bool:
        """Whether a request with this key may pass."""
        return key is not None and any(record["hash"] == _hash(key) for record in self._keys.values())

    def _save(self) -> None:
        temporary = self._path.with_suffix(".new")
        temporary.write_text(json.dumps(self._keys))
        temporary.chmod(0o600)
        temporary.replace(self._path)


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
