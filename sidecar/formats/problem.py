"""Error bodies of protocols that have none of their own: RFC 9457."""

from __future__ import annotations

import json
from http import HTTPStatus


def problem_body(status: int, message: str, decision_id: str) -> tuple[str, bytes]:
    """application/problem+json of a denial."""
    problem = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": message,
        "decision": decision_id,
    }
    return "application/problem+json", json.dumps(problem).encode()
