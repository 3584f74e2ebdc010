"""Problems of meaning in an authored policy: fields that are well formed alone and wrong together, all at once.

Works on the raw document and looks only at parts of the right type, so that it runs beside the structural checks and
an author sees both kinds of problem in one go. Access (who, how much) is here, content in bartizan/policy/content.py.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from bartizan.errors import InvalidInput, Problem
from bartizan.policy.content import content_problems
from bartizan.policy.defaults import BODY_MAX_CEILING, LISTENER_PORT, MODEL_PORT
from bartizan.policy.documents import join
from bartizan.policy.expressions import compile_expression
from bartizan.policy.mesh import PARTS
from bartizan.policy.protocols import facts_of
from bartizan.policy.quantities import parse_bytes
from bartizan.policy.reading import at, invalid, mapping, repeated, strings, structs

_LABEL_KEY = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_./]{0,252})?[A-Za-z0-9]", re.ASCII)
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9])?", re.ASCII)
_RESERVED_HEADERS = frozenset(
    {
        "host",
        "connection",
        "content-length",
        "content-type",
        "content-encoding",
        "transfer-encoding",
        "te",
        "trailer",
        "upgrade",
        "expect",
        "cookie",
        "keep-alive",
        "proxy-connection",
        "x-request-id",
        "x-forwarded-for",
        "x-forwarded-proto",
        "traceparent",
        "tracestate",
    }
)


def problems_of_meaning(document: Any) -> list[Problem]:
    """Every contradiction, duplicate, bad expression and value that no endpoint could have."""
    return [
        *_labels(document, "spec", "selector", "matchLabels"),
        *_labels(document, "spec", "model", "labels"),
        *_listener(document),
        *_credential(document),
        *_names(strings(document, "spec", "tenants"), "tenant"),
        *_authn(document),
        *_authz(document),
        *_limits(document),
        *content_problems(document),
    ]


def problems_of_mesh(document: Any) -> list[Problem]:
    """Of a MeshPolicy alone: what is wrong whatever endpoint it meets."""
    spec = mapping(document, "spec")
    found = [
        *_labels(document, "spec", "selector", "modelLabels"),
        *repeated(strings(document, "spec", "selector", "namespaces"), "namespace"),
        *repeated(strings(document, "spec", "selector", "protocols"), "protocol"),
    ]
    if not any(spec.get(part) for part in PARTS):
        message = "has neither defaults nor overrides: it would change nothing"
        found.append(Problem(path="spec", code="missing_field", message=message))
    for part in PARTS:
        found += [
            replace(each, path=f"spec.{part}{each.path.removeprefix('spec')}")
            for each in problems_of_meaning({"spec": spec.get(part)})
            # Which port the model has is the endpoint's to say.
            if (each.path, each.code) != ("spec.listener.port", "conflict")
        ]
    return found


def _names(values: list[tuple[str, str]], what: str) -> Iterator[Problem]:
    yield from repeated(values, what)
    for path, name in values:
        if not name or not name.isprintable() or name.strip() != name:
            yield invalid(path, f"a {what} has printable characters and no white space around them")


def _labels(document: Any, *place: str) -> Iterator[Problem]:
    path, labels = ".".join(place), mapping(document, *place)
    if len(labels) > 64:
        yield invalid(path, "expected at most 64 labels")
    for key, value in labels.items():
        if not _LABEL_KEY.fullmatch(key):
            yield invalid(
                path,
                "a label's name has letters, digits and -_./, beginning and ending with a letter or digit",
            )
        elif isinstance(value, str) and not _LABEL_VALUE.fullmatch(value):
            yield invalid(join(path, key), "a label's value has up to 63 letters, digits and -_.")


def _listener(document: Any) -> Iterator[Problem]:
    address = at(document, "spec", "listener", "address")
    loopback_too = True
    if isinstance(address, str):
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            parsed = None
        if parsed is None or "%" in address:
            yield invalid("spec.listener.address", "expected an IP address such as 0.0.0.0, 127.0.0.1 or ::")
        else:
            loopback_too = parsed.is_unspecified or parsed.is_loopback
    port = at(document, "spec", "listener", "port", default=LISTENER_PORT)
    if loopback_too and port == at(document, "spec", "model", "port", default=MODEL_PORT):
        message = "the model's own port: listener and model can't share it"
        yield Problem(path="spec.listener.port", code="conflict", message=message)


def _credential(document: Any) -> Iterator[Problem]:
    header = at(document, "spec", "model", "credential", "header")
    if isinstance(header, str) and (
        header in _RESERVED_HEADERS or header.startswith(("x-bartizan-", "x-envoy-"))
    ):
        yield invalid(
            "spec.model.credential.header", "this header has another meaning; choose the provider's own"
        )


def _authn(document: Any) -> Iterator[Problem]:
    authn = at(document, "spec", "authn")
    if isinstance(authn, dict) and authn.get("apiKeys") is None and not authn.get("jwt"):
        message = "names no method: nobody could call the endpoint"
        yield Problem(path="spec.authn", code="missing_field", message=message, hint="add apiKeys or jwt")
    issuers = list(structs(document, "spec", "authn", "jwt"))
    yield from repeated([(f"{path}.issuer", jwt.get("issuer")) for path, jwt in issuers], "issuer")
    for path, jwt in issuers:
        for field in ("issuer", "jwksUri"):
            url = jwt.get(field)
            if isinstance(url, str) and url.startswith("https://") and not _plain_url(url):
                yield invalid(
                    f"{path}.{field}", "expected an https:// URL with a host and without user or password"
                )
        yield from _names(strings(jwt, "audiences", under=path), "audience")


def _plain_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and "@" not in parts.netloc and parts.port != 0
    except ValueError:
        return False


def _authz(document: Any) -> Iterator[Problem]:
    rules = list(structs(document, "spec", "authz"))
    for side in ("allow", "deny"):  # an allow rule may be named like a deny rule that another document brings
        named = [(f"{path}.name", rule.get("name")) for path, rule in rules if side in rule]
        yield from repeated(named, f"name of a rule with {side}")
    protocol = at(document, "spec", "model", "protocol")
    for path, rule in rules:
        sides = [side for side in ("allow", "deny") if side in rule]
        if len(sides) == 2:
            yield Problem(
                path=path,
                code="conflict",
                message="has allow and deny; expected one",
                hint="make it two rules",
            )
        elif not sides:
            yield Problem(
                path=path, code="missing_field", message="has neither allow nor deny; expected one of them"
            )
        for side in sides:
            text = rule[side]
            if not isinstance(text, str) or not text:
                continue
            try:
                expression = compile_expression(text)
            except InvalidInput as refusal:
                for problem in refusal.problems:
                    yield Problem(
                        path=f"{path}.{side}", code=problem.code, message=problem.message, hint=problem.hint
                    )
                continue
            if expression.uses_body and (facts := facts_of(protocol)) and not facts.facts:
                message = f"request.model, request.stream and request.max_tokens are not known with protocol {protocol}"
                yield Problem(path=f"{path}.{side}", code="not_applicable", message=message)


def _limits(document: Any) -> Iterator[Problem]:
    limits = structs(document, "spec", "limits", "requests")
    yield from repeated([(f"{path}.per", limit.get("per")) for path, limit in limits], "limit")
    size = at(document, "spec", "limits", "body", "max")
    if isinstance(size, str):
        try:
            too_large = parse_bytes(size) > BODY_MAX_CEILING
        except InvalidInput:
            return  # a structural problem
        if too_large:
            yield invalid("spec.limits.body.max", "expected at most 64MiB")
