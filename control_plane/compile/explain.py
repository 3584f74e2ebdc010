"""Says which process and filter enforces each part of a policy, and why there: `bartizan policy compile --explain`."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import UNSET

from bartizan.policy.checks import Image, InputCheck, OutputCheck
from bartizan.policy.schema import ModelPolicy
from control_plane.compile.envoy.filters import ext_authz, ext_proc
from control_plane.compile.errors import check
from control_plane.compile.native import why_guard
from control_plane.compile.resolve import Resolved, resolve

_WIDTH = 26
_MAY = {"deny": "may refuse", "cut": "may cut off", "flag": "records what it finds in"}
"""What a check may do to what it reads, by its action; all others may change it."""


def explain(policy: ModelPolicy) -> list[str]:
    """One line a part: "part -> where: why". Raises PolicyInvalid like compile_bundle."""
    check(policy)
    resolved = resolve(policy, revision=0, version=0)
    return [f"{part:<{_WIDTH}} -> {where}: {why}" for part, where, why in _lines(resolved)]


def _lines(resolved: Resolved) -> Iterator[tuple[str, str, str]]:
    spec = resolved.spec
    if resolved.tls:
        yield (
            "listener.tls",
            "Envoy listener, SDS",
            "the agent reads the files; the port opens when both are there",
        )
    else:
        yield (
            "listener.tls: none",
            "nobody",
            "clients reach the port in plain text; something else must encrypt",
        )
    yield (
        "edge",
        "Envoy rbac and connection manager",
        "spoofed headers, path tricks and upgrades end before any check",
    )
    yield "routes", f"Envoy routes ({len(resolved.routes)})", "exact path and method; everything else is 404"
    for exposed in resolved.exposed:
        yield f"expose {exposed.path}", "Envoy routes", "authenticated and limited; bodies are not read"
    if resolved.closed:
        yield (
            f"engine {spec.model.engine}",
            f"Envoy routes ({len(resolved.closed)})",
            "administration, debugging and metrics are 403, recorded as engine_route",
        )
    yield from _headers_only(resolved)
    yield "limits.body.max", f"Envoy buffer, {resolved.body_max} bytes", "413 before anybody reads the body"
    yield from _content(resolved)
    if resolved.answers_checked:
        yield "the model's errors", "guard worker in ext_proc", "5xx and stack traces get a body of ours"
    elif spec.mode == "enforce":
        yield (
            "the model's errors",
            "Envoy custom_response",
            "5xx, redirects and what is not JSON get a body of ours",
        )
    if resolved.credential:
        header = resolved.credential.header
        yield (
            "model.credential",
            f"Envoy credential_injector, {header}",
            "by SDS after all checks; the guard never has it",
        )
    if spec.mode == "shadow":
        yield (
            "mode: shadow",
            "guard worker",
            "denials after authentication and all edits are recorded, not done",
        )
    yield (
        "telemetry.traceSample",
        "Envoy routes" if resolved.envoy_traces else "guard worker",
        f"{spec.telemetry.trace_sample:.2%} of requests, drawn by us only; {_who_traces(resolved)}",
    )


def _who_traces(resolved: Resolved) -> str:
    if resolved.envoy_traces:
        return "Envoy's tracer, as it lets tokens in by itself"
    return "Envoy's spans are made of its access log"


def _headers_only(resolved: Resolved) -> Iterator[tuple[str, str, str]]:
    spec, guard = resolved.spec, "guard worker in ext_authz"
    if spec.authn.api_keys is not UNSET:
        yield "authn.apiKeys", guard, "keys never appear in Envoy's configuration; hashes are compared"
    if spec.authn.jwt and resolved.native_tokens:
        yield (
            "authn.jwt, tenants",
            "Envoy jwt_authn and rbac, no guard call",
            "nothing else of the policy needs the guard",
        )
        yield (
            "tokens not plainly good",
            guard,
            "it says why; Envoy only lets in, and no more than the guard would",
        )
        return
    if spec.authn.jwt:
        yield (
            "authn.jwt",
            guard,
            f"with the keys that the agent fetched; {why_guard(spec, bodies=resolved.content_hop)}",
        )
    if resolved.rate_limits:
        yield (
            "limits.requests",
            guard,
            "per authenticated key; an unauthenticated caller can't refill a bucket",
        )
    yield "tenants", guard, "known once the caller is authenticated"
    for rule in resolved.authz:
        yield f"authz {rule.name}", guard, "asks for headers and identity only"


def _content(resolved: Resolved) -> Iterator[tuple[str, str, str]]:
    spec, guard = resolved.spec, "guard worker in ext_proc"
    if resolved.body_in_check:
        guard = "guard worker in ext_authz"
    if not resolved.content_hop:
        yield (
            "bodies",
            "Envoy only",
            "no rule asks for them: no content hop, compressed ones are refused (415)",
        )
        return
    if resolved.body_in_check:
        size = ext_authz.largest_body(resolved)
        yield (
            "bodies",
            f"one ext_authz call with the body, up to {size} bytes",
            "no check changes a body or reads an answer",
        )
        yield (
            "larger, chunked, gzip ones",
            "ext_authz, then ext_proc",
            "the same checks; Envoy holds no more for a caller who is not known yet",
        )
    else:
        yield "bodies", "ext_authz, then ext_proc", _why_two(resolved)
    yield "gzip bodies", "Envoy decompressor", "guard and model read the same plain bytes"
    for rule in resolved.body_authz:
        yield f"authz {rule.name}", guard, "asks for the body"
    yield "limits.body.jsonDepth", guard, "counted while the body is decoded"
    if spec.waf is not UNSET:
        crs = spec.waf.crs
        shown = "prompts left out" if crs.prompt_fields == "skip" else "prompts included"
        yield "waf.crs", "process beside the guard worker", f"level {crs.paranoia}, {crs.mode}, {shown}"
    if resolved.patches:
        ids = ", ".join(dict.fromkeys(rule.id for rule in resolved.patches))
        yield "model.virtualPatches", guard, f"JSON requests: {ids}"
    for reader in spec.input:
        back = "; tokens are put back in the answer" if reader.restores else ""
        yield (
            f"input {reader.__struct_config__.tag}",
            guard,
            f"reads and {_may(reader)} the request body{back}",
        )
    for filtering in spec.output:
        yield (
            f"output {filtering.__struct_config__.tag}",
            guard,
            f"reads and {_may(filtering)} the answer, also a streamed one",
        )
    yield (
        "failure.content: closed",
        "Envoy ext_proc",
        f"no answer in {ext_proc.message_timeout(resolved)} s is 503, never a pass",
    )


def _may(check: InputCheck | OutputCheck) -> str:
    anew = isinstance(check, Image) and check.reencode
    return "may change" if anew else _MAY.get(getattr(check, "action", ""), "may change")


def _why_two(resolved: Resolved) -> str:
    """Why one ext_authz call is not enough."""
    if resolved.answers_checked:
        return "answers are read"
    editing = [check.__struct_config__.tag for check in resolved.spec.input if check.edits]
    return f"{', '.join(map(str, editing))} may change the body"
