"""The last processor of every log line: fields that may carry secrets or content never get out.

Code does not log them in the first place; this is the net below.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import Any

_SENSITIVE = re.compile(
    r"(authorization|api[-_]?key|password|passwd|secret|token|cookie|private|prompt|body|content|payload)",
    re.IGNORECASE,
)
_SHAPES = re.compile(
    r"(bzk_[A-Za-z0-9_-]{8,}|bzj1\.[A-Za-z0-9_-]{8,}|bzt_[A-Za-z0-9_-]{8,}|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_.-]+"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----"
    # Tokens of Vault and OpenBao: service, batch and recovery.
    r"|\bhv[sbr]\.[A-Za-z0-9_-]{20,}|\b[sbr]\.[A-Za-z0-9]{20,}|Bearer\s+\S{8,})",
    re.DOTALL,
)
# Names that only look sensitive.
_HARMLESS = frozenset(
    {"secret_name", "secret_versions", "key_set", "token_id", "content_type", "content_hop"}
)
MASK = "[redacted]"


def redact_text(text: str) -> str:
    """Mask everything in `text` that has the shape of a credential."""
    return _SHAPES.sub(MASK, text)


def redact_event(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor."""
    for key, value in event.items():
        if key in _HARMLESS:
            continue
        if key != "event" and _SENSITIVE.search(key):
            event[key] = MASK
        elif isinstance(value, str):
            event[key] = redact_text(value)
    return event
