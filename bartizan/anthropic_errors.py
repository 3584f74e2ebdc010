"""What the Anthropic API calls an error, by its HTTP status: Envoy's own refusals and the guard's are named alike.

https://docs.anthropic.com/en/api/errors has no 408 and no 431: these are what they say, the client was too slow, its headers too long.
"""

from __future__ import annotations

from typing import Final

OF_THE_API: Final = "api_error"
_TYPES: Final = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    431: "request_too_large",
    503: "overloaded_error",
    504: "timeout_error",
}


def error_type(status: int) -> str:
    """What a client of the Anthropic API reads as the error's type."""
    return _TYPES.get(status, "invalid_request_error" if 400 <= status < 500 else OF_THE_API)
