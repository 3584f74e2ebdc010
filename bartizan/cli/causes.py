"""What each cause of a decision means to who is asked about it, and what may be done. docs/telemetry.md has statuses."""

from __future__ import annotations

from typing import NamedTuple


class Cause(NamedTuple):
    """why: one sentence. mend: what to do, "" where nothing is wrong. field: of the policy that asked for it, if one did."""

    why: str
    mend: str = ""
    field: str = ""


_KEY = "let the caller send one key of the policy's set in x-api-key, or one token of its issuers"
_SENDER = "the caller's program has to send another body"
_SOON = "it ends by itself within seconds; if it stays, see `bartizan status` and `bartizan doctor`"
_SIZE = "send less, or raise the bound"

CAUSES: dict[str, Cause] = {
    "allowed": Cause("nothing stood against it"),
    "missing_credentials": Cause("it had neither an API key nor a token", _KEY, "authn"),
    "invalid_credentials": Cause("its key or token is not one that the policy takes", _KEY, "authn"),
    "expired_credentials": Cause("the time of its key or token is over", "issue a new one", "authn"),
    "revoked_credentials": Cause(
        "its key was revoked", "`bartizan events --act key.revoke` says by whom", "authn"
    ),
    "credentials_disagree": Cause("key and token are good and name two callers", "send one of them", "authn"),
    "rate_limited": Cause(
        "it came faster than the limit", "wait as Retry-After says, or raise the limit", "limits.requests"
    ),
    "tenant_not_allowed": Cause(
        "the caller's tenant may not use this model", "add the tenant if it may", "tenants"
    ),
    "model_not_allowed": Cause(
        "the key is bound to other models", "issue one with `--model` of this one, or without"
    ),
    "forbidden": Cause("a rule forbids it, or it wanted an upgrade or sent a header that only we set", "", "authz"),
    "undeclared": Cause("the policy declares no such path and method", "compare path and method", "routes"),
    "engine_route": Cause(
        "it is an administration or metrics route of the engine", "`expose` opens health, metadata, metrics", "model"
    ),
    "malformed_body": Cause(
        "the body is not what the protocol or the route declares: no JSON, or a declared field is missing",
        _SENDER,
        "routes",
    ),
    "body_too_deep": Cause("the JSON is nested too deeply", _SIZE, "limits.body"),
    "duplicate_keys": Cause("a key stands twice in one JSON object: two readers could differ", _SENDER),
    "ambiguous_body": Cause("two readers could take the body for two things", _SENDER),
    "query_not_allowed": Cause("it had a query (?…), which no check reads", "leave the query out", "input"),
    "body_too_large": Cause("the body is larger than allowed", _SIZE, "limits.body"),
    "waf_body_limit": Cause("it has more text than the firewall looks at", "send less", "waf"),
    "unsupported_media_type": Cause(
        "its content type is not the protocol's", "send content-type: application/json", "model"
    ),
    "unsupported_encoding": Cause("its body has another encoding than gzip", "send it plain or as gzip"),
    "virtual_patch": Cause("it looks like the use of a known vulnerability of the engine", "", "model"),
    "waf": Cause("the firewall's score is above its threshold", "", "waf"),
    "content_denied": Cause("a check of requests found what it must refuse", "", "input"),
    "answer_denied": Cause("a check of answers found what must not leave", "", "output"),
    "answer_cut": Cause("a check of answers ended the stream where it found something", "", "output"),
    "answer_malformed": Cause("the model's answer can't be read as its protocol", "see the model", "model"),
    "answer_encoded": Cause("the model's answer is compressed", "let the model answer plain", "model"),
    "answer_too_large": Cause("the model's answer is above 16 MiB", "let it answer less", "model"),
    "model_error": Cause("the model answered with an error; its body was replaced", "see the model's log"),
    "model_unavailable": Cause(
        "the model refused the connection, broke off or was silent", "start the model; `bartizan doctor` looks for it"
    ),
    "guard_unavailable": Cause("no guard worker answered Envoy", _SOON),
    "no_policy": Cause("the guard was asked without a revision", _SOON),
    "revision_unknown": Cause("Envoy and guard held different revisions for a moment", _SOON),
    "context_missing": Cause("the first hop's result did not reach the second", _SOON),
    "overloaded": Cause("too many requests waited", "give the sidecar more cores and workers (BARTIZAN_WORKERS)"),
    "deadline": Cause("the checks did not end in time", "give the sidecar more cores; shorter texts take less"),
    "fault": Cause("the guard itself failed, and refused", "see the sidecar's log at that time"),
    "client_gone": Cause("the client left first"),
    "protocol": Cause("it was not well-formed HTTP, or its path had a forbidden form", "see the caller's program"),
    "native": Cause("Envoy refused it by itself", "see the sidecar's log at that time"),
}  # fmt: skip
