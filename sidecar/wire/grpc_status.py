"""gRPC's status and its way over HTTP/2: trailers, the percent-encoding of grpc-message, grpc-timeout. Pure."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

OK: Final = 0
DEADLINE_EXCEEDED: Final = 4
NOT_FOUND: Final = 5
RESOURCE_EXHAUSTED: Final = 8
UNIMPLEMENTED: Final = 12
INTERNAL: Final = 13
UNAVAILABLE: Final = 14
_HIGHEST: Final = 16
Headers = tuple[tuple[bytes, bytes], ...]

RESPONSE: Final[Headers] = ((b":status", b"200"), (b"content-type", b"application/grpc"))
"""The header block before the first message of an answer."""
FINE: Final[Headers] = ((b"grpc-status", b"0"),)
_UNITS: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_TIMEOUT: Final = re.compile(rb"([0-9]{1,8})([HMSmun])")
_MOST_TEXT: Final = 1024


def percent_encoded(text: str) -> bytes:
    """Text as grpc-message carries it: printable ASCII but %, everything else as %XX of its UTF-8."""
    raw = text.encode("utf-8", "replace")[:_MOST_TEXT]
    return b"".join(
        bytes((each,)) if 0x20 <= each <= 0x7E and each != 0x25 else b"%%%02X" % each for each in raw
    )


def trailers(code: int, text: str = "") -> Headers:
    """The trailers that end a call. A code that gRPC doesn't know becomes INTERNAL: never by accident OK."""
    if code == OK:
        return FINE
    known = code if 0 < code <= _HIGHEST else INTERNAL
    status = (b"grpc-status", b"%d" % known)
    return (status, (b"grpc-message", percent_encoded(text))) if text else (status,)


@lru_cache(maxsize=1024)  # Envoy sends the same few
def seconds(timeout: bytes) -> float:
    """grpc-timeout in seconds. Raises ValueError for anything that is not one to eight digits and a unit."""
    match = _TIMEOUT.fullmatch(timeout)
    if match is None:
        raise ValueError("malformed grpc-timeout")
    return int(match[1]) * _UNITS[match[2]]
