"""Validation: every error at once, each with the path an author wrote, and nothing that is not enforced."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from bartizan.errors import PolicyInvalid, Problem
from bartizan.policy.validate import MAX_PROBLEMS, validate_document

JSON_FIELDS: dict[str, Any] = {
    "apiVersion": "bartizan.dev/v1alpha1",
    "kind": "ModelPolicy",
    "metadata": {"name": "sentiment", "namespace": "prod"},
    "spec": {
        "selector": {"matchLabels": {"app": "sentiment"}},
        "listener": {"tls": {"cert": "file:tls.crt", "key": "file:tls.key"}},
        "model": {"name": "sentiment", "protocol": "json_fields"},
        "routes": [
            {
                "path": "/predict",
                "inputText": ["$.text"],
                "outputText": ["$.label"],
                "outputScores": ["$.probabilities"],
            }
        ],
        "tenants": ["acme"],
        "authn": {"apiKeys": {"set": "sentiment"}},
    },
}
REMOVE = object()
JWT = {"issuer": "https://idp.example", "audiences": ["a"], "claims": {"tenant": "org"}}
ROUTE = JSON_FIELDS["spec"]["routes"][0]


def changed(**changes: Any) -> dict[str, Any]:
    """The valid document with dotted paths set: changed(**{"spec.mode": "shadow"})."""
    document = copy.deepcopy(JSON_FIELDS)
    for path, value in changes.items():
        *parents, last = path.split(".")
        place = document
        for key in parents:
            place = place.setdefault(key, {})
        if value is REMOVE:
            del place[last]
        else:
            place[last] = value
    return document


def problems(document: object) -> tuple[Problem, ...]:
    with pytest.raises(PolicyInvalid) as refusal:
        validate_document(document)
    return refusal.value.problems


def test_the_document_that_the_tables_start_from_is_valid() -> None:
    assert validate_document(JSON_FIELDS).qualified_name == "prod/sentiment"


OWN = {"model": "file:a.onnx", "sha256": "0" * 64, "tokenizer": "file:a.json", "tokenizerSha256": "1" * 64}
NAMER = {
    "file": "file:a",
    "sha256": "0" * 64,
    "tokenizer": "file:b",
    "tokenizerSha256": "1" * 64,
    "labels": {"person": [1, 2]},
}
CASES: list[tuple[str, dict[str, Any], str, str, str]] = [
    # rule, changes, path, code, part of message or hint
    ("unknown field", {"spec.tennants": []}, "spec.tennants", "unknown_field", "tenants"),
    ("snake case", {"spec.limits.body.json_depth": 3}, "spec.limits.body.json_depth", "unknown_field", "jsonDepth"),
    ("unknown at the top", {"status": {}}, "status", "unknown_field", "known"),
    ("odd names are quoted", {"spec.a b": 1}, 'spec["a b"]', "unknown_field", ""),
    ("missing section", {"spec.model": REMOVE}, "spec.model", "missing_field", "guarded model"),
    ("missing kind", {"kind": REMOVE}, "kind", "missing_field", ""),
    ("missing tenants", {"spec.tenants": REMOVE}, "spec.tenants", "missing_field", "403"),
    ("empty tenants", {"spec.tenants": []}, "spec.tenants", "invalid_value", "at least 1"),
    ("text for a list", {"spec.tenants": "acme"}, "spec.tenants", "wrong_type", "a list, not text"),
    ("text for a number", {"spec.listener.port": "8443"}, "spec.listener.port", "wrong_type", "whole number, not text"),
    ("bool for a number", {"spec.listener.port": True}, "spec.listener.port", "wrong_type", "not true or false"),
    ("port range", {"spec.listener.port": 65536}, "spec.listener.port", "invalid_value", "at most 65535"),
    ("fraction", {"spec.listener.port": 84.5}, "spec.listener.port", "wrong_type", "whole number"),
    ("whole number with a point", {"spec.listener.port": 8443.0}, "spec.listener.port", "wrong_type", "whole number"),
    ("nothing for a mapping", {"spec.authn": None}, "spec.authn", "wrong_type", "a mapping, not nothing"),
    ("enum with hint", {"spec.mode": "shadw"}, "spec.mode", "invalid_value", "did you mean shadow?"),
    ("enum of another type", {"spec.mode": 3}, "spec.mode", "wrong_type", "not a number"),
    ("name pattern", {"metadata.name": "Sentiment"}, "metadata.name", "invalid_value", "lower-case"),
    ("name with line break", {"metadata.name": "a\n"}, "metadata.name", "invalid_value", "lower-case"),
    ("api version", {"apiVersion": "v1"}, "apiVersion", "invalid_value", "bartizan.dev/v1alpha1"),
    ("other kind", {"kind": "Policy"}, "kind", "invalid_value", "ModelPolicy"),
    ("sample range", {"spec.telemetry.traceSample": 1.5}, "spec.telemetry.traceSample", "invalid_value", "at most 1"),
    ("tls word", {"spec.listener.tls": "off"}, "spec.listener.tls", "invalid_value", '"none" or a mapping'),
    ("tls list", {"spec.listener.tls": []}, "spec.listener.tls", "invalid_value", '"none" or a mapping'),
    ("tls without key", {"spec.listener.tls.key": REMOVE}, "spec.listener.tls.key", "missing_field", ""),
    ("tls path", {"spec.listener.tls.cert": "file:../x"}, "spec.listener.tls.cert", "invalid_value", "plain file name"),
    ("address", {"spec.listener.address": "localhost"}, "spec.listener.address", "invalid_value", "IP address"),
    ("zone", {"spec.listener.address": "fe80::1%eth0"}, "spec.listener.address", "invalid_value", "IP address"),
    ("same port", {"spec.listener.port": 8000}, "spec.listener.port", "conflict", "model"),
    ("label value", {"spec.selector.matchLabels": {"app": "a b"}}, "spec.selector.matchLabels.app", "invalid_value", ""),
    ("label name", {"spec.selector.matchLabels": {"": "a"}}, "spec.selector.matchLabels", "invalid_value", "label"),
    ("no label", {"spec.selector.matchLabels": {}}, "spec.selector.matchLabels", "invalid_value", "at least 1"),
    ("tenant twice", {"spec.tenants": ["a", "b", "a"]}, "spec.tenants[2]", "duplicate", "spec.tenants[0]"),
    ("header", {"spec.model.credential": {"secret": "s", "header": "host"}}, "spec.model.credential.header", "invalid_value", ""),
    ("own header", {"spec.model.credential": {"secret": "s", "header": "x-bartizan-a"}}, "spec.model.credential.header", "invalid_value", ""),
    ("blank tenant", {"spec.tenants": ["acme "]}, "spec.tenants[0]", "invalid_value", "white space"),
    ("odd label", {"spec.model.labels": {"a.b/c": "\u00e9"}}, 'spec.model.labels["a.b/c"]', "invalid_value", "63"),
    # authn
    ("no method", {"spec.authn": {}}, "spec.authn", "missing_field", "apiKeys or jwt"),
    ("empty jwt", {"spec.authn": {"jwt": []}}, "spec.authn", "missing_field", "apiKeys or jwt"),
    ("no tenant claim", {"spec.authn.jwt": [{**JWT, "claims": {"plan": "p"}}]}, "spec.authn.jwt[0].claims.tenant", "missing_field", ""),
    ("unknown claim", {"spec.authn.jwt": [{**JWT, "claims": {"tenant": "t", "planet": "p"}}]}, "spec.authn.jwt[0].claims.planet", "unknown_field", "plan"),
    ("issuer twice", {"spec.authn.jwt": [JWT, JWT]}, "spec.authn.jwt[1].issuer", "duplicate", "jwt[0]"),
    ("plain http", {"spec.authn.jwt": [{**JWT, "issuer": "http://idp"}]}, "spec.authn.jwt[0].issuer", "invalid_value", "https://"),
    ("user in url", {"spec.authn.jwt": [{**JWT, "jwksUri": "https://u:p@idp/x"}]}, "spec.authn.jwt[0].jwksUri", "invalid_value", "password"),
    ("no host", {"spec.authn.jwt": [{**JWT, "issuer": "https:///x"}]}, "spec.authn.jwt[0].issuer", "invalid_value", "host"),
    ("bad port", {"spec.authn.jwt": [{**JWT, "issuer": "https://a:99999"}]}, "spec.authn.jwt[0].issuer", "invalid_value", "host"),
    ("blank audience", {"spec.authn.jwt": [{**JWT, "audiences": [""]}]}, "spec.authn.jwt[0].audiences[0]", "invalid_value", ""),
    ("audience twice", {"spec.authn.jwt": [{**JWT, "audiences": ["a", "a"]}]}, "spec.authn.jwt[0].audiences[1]", "duplicate", ""),
    # authz
    ("unknown name", {"spec.authz": [{"name": "a", "allow": "identity.regoin == 'eu'"}]}, "spec.authz[0].allow", "invalid_expression", "identity.region"),
    ("type error", {"spec.authz": [{"name": "a", "deny": "request.path + 1"}]}, "spec.authz[0].deny", "invalid_expression", "(string, int)"),
    ("no bool", {"spec.authz": [{"name": "a", "deny": "request.path"}]}, "spec.authz[0].deny", "invalid_expression", "BOOL"),
    ("both", {"spec.authz": [{"name": "a", "allow": "true", "deny": "true"}]}, "spec.authz[0]", "conflict", "two rules"),
    ("neither", {"spec.authz": [{"name": "a"}]}, "spec.authz[0]", "missing_field", "allow nor deny"),
    ("rule twice", {"spec.authz": [{"name": "a", "deny": "true"}, {"name": "a", "deny": "false"}]}, "spec.authz[1].name", "duplicate", "authz[0]"),
    ("empty rule", {"spec.authz": [{"name": "a", "allow": ""}]}, "spec.authz[0].allow", "invalid_value", "at least 1"),
    ("body rule", {"spec.authz": [{"name": "a", "allow": "!request.stream"}]}, "spec.authz[0].allow", "not_applicable", "json_fields"),
    ("many rules", {"spec.authz": [{"name": f"r{n}", "allow": "true"} for n in range(257)]}, "spec.authz", "invalid_value", "at most 256"),
    # limits
    ("rate", {"spec.limits.requests": [{"per": "key", "rate": "5/d"}]}, "spec.limits.requests[0].rate", "invalid_value", "50/s"),
    ("per twice", {"spec.limits.requests": [{"per": "key", "rate": "5/s"}, {"per": "key", "rate": "9/m"}]}, "spec.limits.requests[1].per", "duplicate", ""),
    ("burst", {"spec.limits.requests": [{"per": "key", "rate": "5/s", "burst": 0}]}, "spec.limits.requests[0].burst", "invalid_value", "at least 1"),
    ("size", {"spec.limits.body.max": "1GiB"}, "spec.limits.body.max", "invalid_value", "1MiB"),
    ("size ceiling", {"spec.limits.body.max": "65MiB"}, "spec.limits.body.max", "invalid_value", "64MiB"),
    ("depth", {"spec.limits.body.jsonDepth": 257}, "spec.limits.body.jsonDepth", "invalid_value", "256"),
    # routes
    ("no route", {"spec.routes": []}, "spec.routes", "missing_field", "/predict"),
    ("route twice", {"spec.routes": [ROUTE, {"path": "/predict", "method": "POST"}]}, "spec.routes[1]", "duplicate", "routes[0]"),
    ("percent", {"spec.routes": [{"path": "/a%2fb"}]}, "spec.routes[0].path", "invalid_value", "absolute path"),
    ("dots", {"spec.routes": [{"path": "/a/../b"}]}, "spec.routes[0].path", "invalid_value", "normalised"),
    ("slashes", {"spec.routes": [{"path": "/a//b"}]}, "spec.routes[0].path", "invalid_value", "normalised"),
    ("field path", {"spec.routes": [{**ROUTE, "inputText": ["text"]}]}, "spec.routes[0].inputText[0]", "invalid_value", "$.text"),
    ("field twice", {"spec.routes": [{**ROUTE, "inputText": ["$.a", "$.a"]}]}, "spec.routes[0].inputText[1]", "duplicate", ""),
    ("method", {"spec.routes": [{**ROUTE, "method": "PATCH"}]}, "spec.routes[0].method", "invalid_value", "POST"),
    ("text in GET", {"spec.routes": [{**ROUTE, "method": "GET"}]}, "spec.routes[0].inputText", "not_applicable", "no body"),
    ("routes of openai", {"spec.model.protocol": "openai"}, "spec.routes", "not_applicable", "leave routes out"),
    ("fields of opaque", {"spec.model.protocol": "opaque"}, "spec.routes[0].outputScores", "not_applicable", "json_fields"),
    ("fields of kserve", {"spec.model.protocol": "kserve_v2"}, "spec.routes[0].inputText", "not_applicable", "knows where"),
    ("a name for no path", {"spec.model.protocol": "kserve_v1", "spec.routes": REMOVE, "spec.model.name": "a b"}, "spec.model.name", "invalid_value", "give routes"),
    # checks
    ("check of opaque", {"spec.model.protocol": "opaque", "spec.routes": [{"path": "/x"}], "spec.input": [{"pii": {}}]}, "spec.input[0].pii", "not_applicable", "opaque"),
    ("scores of openai", {"spec.model.protocol": "openai", "spec.routes": REMOVE, "spec.output": [{"probabilities": None}]}, "spec.output[0].probabilities", "not_applicable", "no scores"),
    ("sanitizer after a detector", {"spec.input": [{"pii": {}}, {"secrets": {}}, {"sanitize": {}}]}, "spec.input[2].sanitize", "conflict", "put sanitize first"),
    ("bounds of anthropic", {"spec.model.protocol": "anthropic", "spec.routes": REMOVE, "spec.input": [{"parameters": {"maxTokens": 9, "n": 1}}]}, "spec.input[0].parameters.n", "not_applicable", "leave it out"),
    ("patterns of ollama", {"spec.model.protocol": "ollama", "spec.routes": REMOVE, "spec.input": [{"parameters": {"logprobs": 0, "patternStates": 9}}]}, "spec.input[0].parameters.patternStates", "not_applicable", "ollama"),
    ("no scores", {"spec.routes": [{"path": "/x"}], "spec.output": [{"probabilities": {}}]}, "spec.output[0].probabilities", "missing_field", "outputScores"),
    ("no input text", {"spec.routes": [{"path": "/x"}], "spec.input": [{"secrets": {}}]}, "spec.input[0].secrets", "missing_field", "inputText"),
    ("no output text", {"spec.routes": [{"path": "/x"}], "spec.output": [{"pii": {}}]}, "spec.output[0].pii", "missing_field", "outputText"),
    ("unknown check", {"spec.input": [{"pie": {}}]}, "spec.input[0].pie", "unknown_field", "did you mean pii?"),
    ("output check", {"spec.input": [{"canary": {}}]}, "spec.input[0].canary", "unknown_field", "move it to spec.output"),
    ("input check", {"spec.output": [{"sanitize": {}}]}, "spec.output[0].sanitize", "unknown_field", "move it to spec.input"),
    ("two in one", {"spec.input": [{"pii": {}, "secrets": {}}]}, "spec.input[0]", "invalid_value", "one check"),
    ("none", {"spec.input": [{}]}, "spec.input[0]", "invalid_value", "one check"),
    ("bare word", {"spec.input": ["pii"]}, "spec.input[0]", "wrong_type", "a mapping, not text"),
    ("tagged form", {"spec.input": [{"check": "pii"}]}, "spec.input[0].check", "unknown_field", ""),
    ("hidden tag", {"spec.input": [{"pii": {"check": "secrets"}}]}, "spec.input[0].pii.check", "unknown_field", ""),
    ("number as check", {"spec.input": [{"pii": 3}]}, "spec.input[0].pii", "wrong_type", "a mapping, not a number"),
    ("a classifier without hash", {"spec.input": [{"promptInjection": {"classifier": {k: v for k, v in OWN.items() if k != "sha256"}}}]}, "spec.input[0].promptInjection.classifier.sha256", "missing_field", ""),
    ("a hash in capitals", {"spec.input": [{"promptInjection": {"classifier": OWN | {"sha256": "A" * 64}}}]}, "spec.input[0].promptInjection.classifier.sha256", "invalid_value", "lower-case hex"),
    ("a classifier elsewhere", {"spec.input": [{"promptInjection": {"classifier": OWN | {"model": "file:../a.onnx"}}}]}, "spec.input[0].promptInjection.classifier.model", "invalid_value", "file:NAME"),
    ("asked from nothing", {"spec.input": [{"promptInjection": {"model": "off", "classifier": OWN | {"askFrom": 0.2}}}]}, "spec.input[0].promptInjection.classifier.askFrom", "not_applicable", "model: off"),
    ("label twice", {"spec.input": [{"promptInjection": {"classifier": OWN | {"attackLabels": [1, 2, 1]}}}]}, "spec.input[0].promptInjection.classifier.attackLabels[2]", "duplicate", ""),
    ("a failure that opens", {"spec.input": [{"promptInjection": {"classifier": OWN | {"onFailure": "allow"}}}]}, "spec.input[0].promptInjection.classifier.onFailure", "invalid_value", "deny"),
    ("names of no type", {"spec.input": [{"pii": {"names": {}}}]}, "spec.input[0].pii.names", "not_applicable", "person"),
    ("organisations for the model that ships", {"spec.output": [{"pii": {"types": ["email", "organisation"]}}]}, "spec.output[0].pii.types[1]", "not_applicable", "model of your own"),
    ("a type that the model does not know", {"spec.input": [{"pii": {"types": ["place"], "names": {"model": NAMER}}}]}, "spec.input[0].pii.types[0]", "not_applicable", "names.model.labels"),
    ("a label of two types", {"spec.input": [{"pii": {"types": ["place"], "names": {"model": NAMER | {"labels": {"person": [1, 2], "place": [2]}}}}}]}, "spec.input[0].pii.names.model.labels.place[0]", "duplicate", ""),
    ("no labels", {"spec.input": [{"pii": {"types": ["person"], "names": {"model": {k: v for k, v in NAMER.items() if k != "labels"}}}}]}, "spec.input[0].pii.names.model.labels", "missing_field", ""),
    ("a denial in a flag", {"spec.input": [{"pii": {"types": ["person"], "action": "flag", "names": {"onFailure": "deny"}}}]}, "spec.input[0].pii.names.onFailure", "not_applicable", "flag"),
    ("tokens for names in answers", {"spec.output": [{"pii": {"types": ["person"], "replacement": "token"}}]}, "spec.output[0].pii.replacement", "not_applicable", ""),
    ("unknown type", {"spec.input": [{"secrets": {}}, {"pii": {"types": ["e-mail"]}}]}, "spec.input[1].pii.types[0]", "invalid_value", "did you mean email?"),
    ("no type", {"spec.input": [{"pii": {"types": []}}]}, "spec.input[0].pii.types", "invalid_value", "at least 1"),
    ("type twice", {"spec.input": [{"pii": {"types": ["card", "card"]}}]}, "spec.input[0].pii.types[1]", "duplicate", ""),
    ("check twice", {"spec.input": [{"pii": None}, {"pii": {}}]}, "spec.input[1].pii", "duplicate", ""),
    ("no tokens", {"spec.output": [{"canary": {}}]}, "spec.output[0].canary.tokens", "missing_field", ""),
    ("short token", {"spec.output": [{"canary": {"tokens": ["short"]}}]}, "spec.output[0].canary.tokens[0]", "invalid_value", "at least 8"),
    ("blank token", {"spec.output": [{"canary": {"tokens": [" " * 9]}}]}, "spec.output[0].canary.tokens[0]", "invalid_value", "white space"),
    ("token twice", {"spec.output": [{"canary": {"tokens": ["canary-1"]}}, {"canary": {"tokens": ["canary-1"], "action": "redact"}}]}, "spec.output[1].canary.tokens[0]", "duplicate", ""),
    ("no region", {"spec.input": [{"pii": {"regions": ["DE", "ZZ"]}}]}, "spec.input[0].pii.regions[1]", "invalid_value", "ISO 3166"),
    ("region in small letters", {"spec.input": [{"pii": {"regions": ["de"]}}]}, "spec.input[0].pii.regions[0]", "invalid_value", ""),
    ("region twice", {"spec.input": [{"pii": {"regions": ["DE", "DE"]}}]}, "spec.input[0].pii.regions[1]", "duplicate", ""),
    ("no pattern", {"spec.input": [{"pii": {"allowPatterns": ["a", "(?<=b)c"]}}]}, "spec.input[0].pii.allowPatterns[1]", "invalid_value", "RE2"),
    ("words for no type", {"spec.input": [{"pii": {"context": {"passport": ["Dokument"]}}}]}, "spec.input[0].pii.context.passport", "not_applicable", "types"),
    ("a type without words", {"spec.input": [{"pii": {"context": {"email": ["Post"]}}}]}, "spec.input[0].pii.context.email", "unknown_field", ""),
    ("tokens in answers", {"spec.output": [{"pii": {"replacement": "token"}}]}, "spec.output[0].pii.replacement", "not_applicable", "put back"),
    ("tokens of a denial", {"spec.input": [{"pii": {"replacement": "token", "action": "deny"}}]}, "spec.input[0].pii.replacement", "not_applicable", "replaces nothing"),
    ("pseudonyms without key", {"spec.input": [{"pii": {"replacement": "pseudonym"}}]}, "spec.input[0].pii.key", "missing_field", "32 bytes"),
    ("a key for nothing", {"spec.input": [{"pii": {"key": "file:a.key"}}]}, "spec.input[0].pii.key", "not_applicable", "pseudonyms"),
    ("a key in the policy", {"spec.input": [{"pii": {"replacement": "pseudonym", "key": "s3cr3t"}}]}, "spec.input[0].pii.key", "invalid_value", ""),
    ("canary of a stranger", {"spec.output": [{"canary": {"tenants": {"evil": ["canary-of-evil"]}}}]}, "spec.output[0].canary.tenants.evil", "invalid_value", "spec.tenants"),
    ("canary of two", {"spec.output": [{"canary": {"tokens": ["canary-of-all"], "tenants": {"acme": ["canary-of-all"]}}}]}, "spec.output[0].canary.tenants.acme[0]", "duplicate", ""),
    ("no span", {"spec.input": [{"extractionWatch": {"window": "1d"}}]}, "spec.input[0].extractionWatch.window", "invalid_value", ""),
    ("decimals", {"spec.output": [{"probabilities": {"decimals": 7}}]}, "spec.output[0].probabilities.decimals", "invalid_value", "at most 6"),
    # planned
    ("mtls", {"spec.authn.mtls": {"spiffe": []}}, "spec.authn.mtls", "unsupported", "planned"),
    ("tokens", {"spec.limits.tokens": []}, "spec.limits.tokens", "unsupported", "planned"),
    ("concurrency", {"spec.limits.concurrency": []}, "spec.limits.concurrency", "unsupported", "planned"),
    ("rollout", {"spec.rollout": {}}, "spec.rollout", "unsupported", "planned"),
    ("image", {"spec.input": [{"image": {}}]}, "spec.input[0].image", "not_applicable", "no pictures"),
    ("image made", {"spec.output": [{"image": {}}]}, "spec.output[0].image", "unsupported", "planned"),
    ("ml", {"spec.input": [{"promptInjection": {"model": "large"}}]}, "spec.input[0].promptInjection.model", "invalid_value", "default"),
    ("images", {"spec.model.protocol": "image"}, "spec.routes[0].inputText", "not_applicable", "where its texts"),
    ("fail open", {"spec.failure": {"content": "open"}}, "spec.failure.content", "unsupported", "planned"),
    ("mesh tls", {"spec.listener.tls": "mesh"}, "spec.listener.tls", "unsupported", "planned"),
    ("mesh policy", {"kind": "MeshPolicy", "spec": {"defaults": {}}}, "kind", "invalid_value", "expected a ModelPolicy"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "changes", "path", "code", "text"), CASES, ids=[case[0] for case in CASES])
def test_one_wrong_thing_is_one_problem(
    rule: str, changes: dict[str, Any], path: str, code: str, text: str
) -> None:
    found = [p for p in problems(changed(**changes)) if (p.path, p.code) == (path, code)]
    assert len(found) == 1, problems(changed(**changes))
    assert text in f"{found[0].message}; {found[0].hint}"


def test_one_wrong_thing_does_not_accuse_others() -> None:
    for rule, changes, path, code, _ in CASES:
        others = [p for p in problems(changed(**changes)) if (p.path, p.code) != (path, code)]
        allowed = {"fields of opaque": 2, "fields of kserve": 2}.get(rule, 0)
        assert len(others) <= allowed, (rule, others)


def test_every_problem_is_reported_at_once_structural_or_not() -> None:
    document = changed(
        **{
            "metadata.name": "Bad",
            "spec.quota": {},
            "spec.tenants": ["a", "a"],
            "spec.authz": [{"name": "x", "allow": "identity.nope"}],
            "spec.limits.body.max": "999MiB",
            "spec.input": [{"pii": {"types": ["shoe"]}}, {"canary": {}}],
        }
    )
    assert [problem.path for problem in problems(document)] == [
        "metadata.name",
        "spec.authz[0].allow",
        "spec.input[0].pii.types[0]",
        "spec.input[1].canary",
        "spec.limits.body.max",
        "spec.quota",
        "spec.tenants[1]",
    ]


def test_the_refusal_reads_well_as_text() -> None:
    with pytest.raises(PolicyInvalid) as refusal:
        validate_document(changed(**{"spec.mode": "shadw"}))
    assert str(refusal.value) == (
        "the policy has one problem\n  spec.mode: expected one of: enforce, shadow (did you mean shadow?)"
    )


@pytest.mark.parametrize(
    "document", [None, [], "text", 3, {1: 2}, {"spec": {1, 2}}, {"a": float("nan")}, object()]
)
def test_what_is_no_document_is_refused(document: object) -> None:
    assert problems(document)


def test_a_hostile_document_gets_a_bounded_answer() -> None:
    document = changed(**{"spec.authz": [{"nonsense": 1}] * 4000})
    assert len(problems(document)) == MAX_PROBLEMS
