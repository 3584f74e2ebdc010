"""What rules say before the body is known is kept for each caller and request line, and is never another case's."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bartizan.policy.schema import AuthzRule
from sidecar.checks.authz import rules as module
from sidecar.checks.authz.rules import build_rules
from sidecar.model.request import BodyFacts, Identity, RequestHead

RULES = build_rules(
    (
        AuthzRule(name="trial", deny='identity.plan == "trial" && request.path == "/b"'),
        AuthzRule(name="far", deny='request.source_address == "2001:db8::1" && request.method == "PUT"'),
        AuthzRule(name="known", allow='identity.region == "eu" || identity.models.exists(m, m == "big")'),
    ),
    {"name": "m", "protocol": "openai", "labels": {}},
)
identities = st.builds(
    Identity,
    subject=st.sampled_from(["s", "s" * 6000]),
    tenant=st.just("t"),
    method=st.just("api_key"),
    plan=st.sampled_from(["trial", ""]),
    region=st.sampled_from(["eu", "us"]),
    models=st.sampled_from([(), ("big",)]),
)
heads = st.builds(
    RequestHead,
    stream_id=st.just("1"),
    method=st.sampled_from(["PUT", "GET"]),
    path=st.sampled_from(["/a", "/b"]),
    headers=st.just({}),
    source_address=st.sampled_from(["2001:db8::1", "127.0.0.1"]),
)


@given(st.lists(st.tuples(identities, heads), max_size=30), st.integers(1, 4))
def test_a_kept_outcome_is_what_evaluating_says(asked: list[tuple[Identity, RequestHead]], room: int) -> None:
    RULES._known.clear()
    before, module._MOST_KNOWN = module._MOST_KNOWN, room
    try:
        for identity, head in asked:
            expected = RULES.refuses(identity, head, BodyFacts())
            assert RULES.refuses_head(identity, head) == expected
            assert len(RULES._known) <= room
            assert all(len(case[0].subject) == 1 for case in RULES._known)
    finally:
        module._MOST_KNOWN = before
