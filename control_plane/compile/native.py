"""When Envoy may let a caller in by itself, and by which rule. Pure text; compile/envoy says it in Envoy's own terms.

Envoy's jwt_authn verifies the signature. What the guard demands besides (sidecar/checks/authn/jwt.py) is one CEL
expression over the verified token, so that Envoy lets in nobody whom the guard would refuse. Whatever is not plainly
good is asked of the guard, which says exactly why not: the rule may be stricter than the guard, never laxer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from msgspec import UNSET

from bartizan.policy import names
from bartizan.policy.schema import Jwt, ModelPolicySpec

LEEWAY_SECONDS = 60
"""By how much clocks may differ, as for the guard."""
ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
"""Those of the guard that Envoy knows by the same name."""
TYPES = ("JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", "application/jwt", "")
"""As issuers spell them; the guard takes any case."""
LONGEST_HEADER = 4096
"""Characters of an authorization header that Envoy judges; the guard takes longer ones."""


def why_guard(spec: ModelPolicySpec, *, bodies: bool) -> str:
    """What of a policy Envoy can't decide exactly as the guard does; "" when its tokens need no guard.

    bodies: whether anything asks for a body: checks, rules, virtual patches.
    """
    if not spec.authn.jwt:
        return "there are no tokens that Envoy could verify"
    reasons = {
        "API keys are known by hash to the guard only": spec.authn.api_keys is not UNSET,
        "rates count authenticated callers": bool(spec.limits.requests),
        "rules in CEL are evaluated there": bool(spec.authz),
        "bodies are judged there": bodies,
        "shadow mode records what would be refused": spec.mode == "shadow",
    }
    return "; ".join(reason for reason, holds in reasons.items() if holds)


def issuers(spec: ModelPolicySpec) -> dict[str, Jwt]:
    """By issuer; of two entries for one the later counts, as for the guard."""
    return {jwt.issuer: jwt for jwt in spec.authn.jwt}


def token_rule(spec: ModelPolicySpec) -> str:
    """The CEL expression that holds for tokens which the guard would accept. An error in it counts as false."""
    return " && ".join([*_header(), *_times(), f"({' || '.join(_claims(spec))})"])


def _header() -> Iterator[str]:
    header = f'metadata.filter_metadata["{names.JWT_METADATA}"]["header"]'
    yield f"size(request.headers['authorization']) <= {LONGEST_HEADER}"
    yield f"{header}['alg'] in {_text(ALGORITHMS)}"
    yield _filled(f"{header}['kid']")
    yield f"!('crit' in {header}) && !('b64' in {header})"
    yield f"(!('typ' in {header}) || {header}['typ'] in {_text(TYPES)})"


def _times() -> Iterator[str]:
    """request.time in whole seconds is up to one second early: the guard's leeway is not exceeded."""
    now, payload = "double(int(request.time))", _PAYLOAD
    yield f"{payload}['exp'] < 1e12 && {payload}['exp'] > {now} - {LEEWAY_SECONDS - 1}.0"
    for moment in ("nbf", "iat"):
        yield (f"(!('{moment}' in {payload}) || {payload}['{moment}'] <= {now} + {LEEWAY_SECONDS}.0)")


def _claims(spec: ModelPolicySpec) -> Iterator[str]:
    """One alternative for each issuer."""
    for issuer, jwt in issuers(spec).items():
        audience = f"{_PAYLOAD}['aud']"
        wanted = " || ".join(f"{_text(one)} in {audience}" for one in jwt.audiences)
        tenant, subject = jwt.claims.get("tenant", ""), jwt.claims.get("subject", "sub")
        parts = [
            f"{_PAYLOAD}['iss'] == {_text(issuer)}",
            # a list; `in` would take the keys of an object, too
            f"({audience} in {_text(jwt.audiences)} || ({audience}[0].startsWith('') && ({wanted})))",
            _filled(_claim(subject)),
            f"{_claim(tenant)} in {_text(spec.tenants)}",
        ]
        names = (jwt.claims.get(attribute, "") for attribute in ("plan", "region"))
        parts += [
            f"(!({_text(name)} in {_PAYLOAD}) || {_claim(name)}.startsWith(''))" for name in names if name
        ]
        yield f"({' && '.join(parts)})"


_PAYLOAD = f'metadata.filter_metadata["{names.JWT_METADATA}"]["payload"]'


def _text(value: object) -> str:
    """Text or a list of texts as CEL writes them."""
    return json.dumps(value, ensure_ascii=False)


def _filled(value: str) -> str:
    """A text that is not empty. A regex would say it shorter, but Envoy would compile it for every request."""
    return f"{value}.startsWith('') && {value} != ''"


def _claim(name: str) -> str:
    return f"{_PAYLOAD}[{_text(name)}]"
