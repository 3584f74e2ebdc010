"""The join rule: every presented credential must be good, and all must name one caller."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from sidecar.checks.authn.base import Material, Presented, Refused, presented_credentials
from sidecar.checks.authn.join import authenticate
from sidecar.model.decision import Cause
from sidecar.model.request import Identity, RequestHead

KEY = Identity(subject="k1", tenant="acme", method="api_key", key_id="k1", plan="gold", models=("m",))
TOKEN = Identity(subject="iss#u", tenant="acme", method="jwt", region="eu")


@dataclass
class Keys:
    """Answers each key as told."""

    answers: dict[str, Identity | Refused]

    def authenticate(self, presented: Presented, material: Material, now: float) -> list[Identity | Refused]:
        return [self.answers[key] for key in presented.api_keys]


@dataclass
class Tokens:
    answer: Identity | Refused

    def authenticate(self, presented: Presented, material: Material, now: float) -> list[Identity | Refused]:
        return [self.answer for _ in presented.tokens]


def join(presented: Presented, token: Identity | Refused = TOKEN) -> Identity | Cause:
    other = Identity(subject="k2", tenant="globex", method="api_key", key_id="k2")
    keys = Keys({"good": KEY, "other": other, "bad": Refused(cause=Cause.REVOKED_CREDENTIALS)})
    outcome = authenticate(presented, (keys, Tokens(token)), Material(), 0.0)
    return outcome.cause if isinstance(outcome, Refused) else outcome


@pytest.mark.parametrize(
    ("presented", "expected"),
    [
        (Presented(), Cause.MISSING_CREDENTIALS),
        (Presented(malformed=True), Cause.INVALID_CREDENTIALS),
        (Presented(api_keys=("good",)), KEY),
        (Presented(api_keys=("good",), malformed=True), Cause.INVALID_CREDENTIALS),
        (Presented(api_keys=("good", "bad")), Cause.REVOKED_CREDENTIALS),
        (Presented(api_keys=("good", "good")), KEY),
        (Presented(api_keys=("good", "other")), Cause.CREDENTIALS_DISAGREE),
        (Presented(tokens=("t",)), TOKEN),
        (Presented(api_keys=("other",), tokens=("t",)), Cause.CREDENTIALS_DISAGREE),
    ],
)
def test_one_caller_or_none(presented: Presented, expected: Identity | Cause) -> None:
    assert join(presented) == expected


def test_key_and_token_of_one_tenant_join_without_widening_the_key() -> None:
    joined = join(Presented(api_keys=("good",), tokens=("t",)))
    assert isinstance(joined, Identity)
    assert (joined.subject, joined.key_id, joined.models) == ("iss#u", "k1", ("m",))
    assert (joined.plan, joined.region) == ("gold", "eu")


def test_key_and_token_with_different_plans_disagree() -> None:
    token = Identity(subject="iss#u", tenant="acme", method="jwt", plan="trial")
    assert join(Presented(api_keys=("good",), tokens=("t",)), token) is Cause.CREDENTIALS_DISAGREE


def test_a_credential_that_no_method_takes_is_invalid() -> None:
    keys = Keys({"good": KEY})
    presented = Presented(api_keys=("good",), tokens=("t",))
    assert authenticate(presented, (keys,), Material(), 0.0) == Refused(cause=Cause.INVALID_CREDENTIALS)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, Presented()),
        ({"x-api-key": "bzk_a"}, Presented(api_keys=("bzk_a",))),
        ({"authorization": "Bearer bzk_a"}, Presented(api_keys=("bzk_a",))),
        ({"authorization": "bearer a.b.c"}, Presented(tokens=("a.b.c",))),
        ({"x-api-key": "bzk_a", "authorization": "Bearer bzk_b"}, Presented(api_keys=("bzk_a", "bzk_b"))),
        ({"x-api-key": ""}, Presented(malformed=True)),
        ({"x-api-key": "bzk_a,bzk_b"}, Presented(malformed=True)),
        ({"x-api-key": "sk-other"}, Presented(malformed=True)),
        ({"authorization": ""}, Presented(malformed=True)),
        ({"authorization": "Bearer"}, Presented(malformed=True)),
        ({"authorization": "Bearer opaque"}, Presented(malformed=True)),
        ({"authorization": "Bearer a.b.c,Bearer d.e.f"}, Presented(malformed=True)),
        ({"authorization": "Basic bzk_a"}, Presented(malformed=True)),
    ],
)
def test_credentials_are_told_apart_by_form(headers: dict[str, str], expected: Presented) -> None:
    head = RequestHead(stream_id="", method="POST", path="/", headers=headers, source_address="")
    assert presented_credentials(head) == expected
