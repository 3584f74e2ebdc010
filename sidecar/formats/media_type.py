"""Content types as formats judge them: which are JSON, which charset is allowed."""

from __future__ import annotations

from sidecar.formats.base import FormatError
from sidecar.model.decision import Cause


def parse(content_type: str) -> tuple[str, str]:
    """Lower-case type and charset ("" if none)."""
    kind, *parameters = content_type.lower().split(";")
    charset = ""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset":
            charset = value.strip().strip('"')
    return kind.strip(), charset


def is_json(kind: str) -> bool:
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def demand_json(content_type: str) -> None:
    """Raises FormatError UNSUPPORTED_MEDIA_TYPE unless it is JSON in UTF-8."""
    kind, charset = parse(content_type)
    if not is_json(kind):
        raise FormatError(Cause.UNSUPPORTED_MEDIA_TYPE, "content type is not JSON")
    if charset not in {"", "utf-8", "utf8"}:
        raise FormatError(Cause.UNSUPPORTED_MEDIA_TYPE, "charset is not UTF-8")
