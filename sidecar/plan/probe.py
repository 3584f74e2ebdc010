"""The MACs of the active probe: the agent proves that a probe is its own, the guard proves which plan answered it.

Used by agent/probe.py (asks) and by the wire (answers). Pure.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Literal, cast

from sidecar.model.decision import Cause, Decision, deny
from sidecar.model.events import Refuse
from sidecar.model.value import Value

Phase = Literal["authz", "content"]
_HEADER = re.compile(r"([0-9a-f]{32})\.(authz|content)\.([0-9a-f]{64})")


class Probe(Value, frozen=True, kw_only=True):
    """One genuine probe. `nonce` is 16 bytes in hex; `phase` names the hop that must deny it."""

    nonce: str
    phase: Phase


def _mac(key: bytes, *lines: str) -> str:
    return hmac.new(key, "\n".join(lines).encode(), hashlib.sha256).hexdigest()


def probe_header(key: bytes, nonce: str, phase: Phase) -> str:
    """The value of x-bartizan-probe."""
    return f"{nonce}.{phase}.{_mac(key, 'probe', nonce, phase)}"


def check_probe(key: bytes, value: str | None) -> Probe | None:
    """The probe that a header value carries, or None when it was not made with this key."""
    match = _HEADER.fullmatch(value) if value and key else None
    if match is None:
        return None
    nonce, phase, mac = match.groups()
    if not hmac.compare_digest(mac, _mac(key, "probe", nonce, phase)):
        return None
    return Probe(nonce=nonce, phase=cast("Phase", phase))


def proof(key: bytes, probe: Probe, plan_hash: str) -> str:
    """The value of x-bartizan-proof: only a worker that runs the plan with this hash can say it."""
    return _mac(key, "proof", probe.nonce, probe.phase, plan_hash)


def probe_answer(refusal: Decision | None, *, opaque: bool) -> Refuse:
    """Every probe is refused. One that the pipeline let pass shows that it checks nothing: no proof then."""
    if refusal is None and not opaque:
        return Refuse(decision=deny(Cause.FAULT), status=500)
    return Refuse(decision=refusal or deny(Cause.CONTENT_DENIED), proves=True)
