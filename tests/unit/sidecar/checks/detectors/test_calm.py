"""A detector's quick look says nothing that its close look would not say."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bartizan.policy.checks import Canary, Pii, Secrets
from sidecar.checks.base import CalmCheck
from sidecar.checks.detectors import canary, pii, secrets

CHECKS = {
    "pii": pii.build(Pii()),
    "ibans": pii.build(Pii(types=("iban",))),
    "numbers": pii.build(Pii(types=("phone", "card"))),
    "addresses": pii.build(Pii(types=("email",))),
    "numbers alone": pii.build(Pii(types=("ssn", "coordinates"))),
    "forms that begin with words": pii.build(Pii(types=("birth_date", "national_id", "address"))),
    "machines": pii.build(Pii(types=("ip", "mac", "crypto"))),
    "secrets": secrets.build(Secrets()),
    "canaries": canary.build(Canary(tokens=("canary-0123456789", "zzz-token-aa"))),
    "short canaries": canary.build(Canary(tokens=("ab-cd-ef", "canary-0123456789"))),
}
PIECES = (
    *("the", " ", "a", "can", "ca nary", " c", "canary", "zzz", "- token", "-", "0", "1234", "0123456789", "DE89", "GB", " AB", "\n"),
    *("AKIA", "ABCDEFGHIJKLMNOP", "sk", "secret", "token", " is ", "password", ":", "=", ".", "!", "@", "x@y.de", "%40", "(", "+49 "),
    *("'", "pat", "ghp_", " Basic ", "é", "\u200b", "\x00", "\uff20", "born on ", "March ", "aa:bb", "fe80::1", "f" * 30, "z" * 70, "~", "/"),
)  # fmt: skip


@pytest.mark.parametrize("name", CHECKS)
@settings(max_examples=150, deadline=None)
@given(pieces=st.lists(st.sampled_from(PIECES), max_size=14))
def test_a_quick_look_agrees_with_a_close_one(name: str, pieces: list[str]) -> None:
    check: CalmCheck = CHECKS[name]  # type: ignore[assignment]
    text = "".join(pieces)
    calm = check.calm(text)
    if calm is not None:
        assert check.matches(text) == []
        assert calm == max(len(text) - check.max_match + 1, check.settled(text))


@pytest.mark.parametrize("name", CHECKS)
@settings(max_examples=150, deadline=None)
@given(
    before=st.lists(st.sampled_from(PIECES), max_size=8),
    following=st.lists(st.sampled_from(PIECES), max_size=5),
    forgotten=st.integers(0, 40),
)
def test_what_was_calm_before_changes_no_answer(
    name: str, before: list[str], following: list[str], forgotten: int
) -> None:
    check: CalmCheck = CHECKS[name]  # type: ignore[assignment]
    if check.calm(known := "".join(before)) is None:
        return
    known = known[forgotten:]
    text = known + "".join(following)
    assert check.calm(text, len(known)) == check.calm(text)


@pytest.mark.parametrize("cut", range(1, 30))
@pytest.mark.parametrize(("name", "sign"), [("secrets", "password: hunter2"), ("pii", "4111111111111111")])
def test_signs_that_begin_in_what_was_calm_are_seen(name: str, sign: str, cut: int) -> None:
    check: CalmCheck = CHECKS[name]  # type: ignore[assignment]
    text = f"the {sign} said"
    assert check.calm(text) is None
    if check.calm(text[:cut]) is not None:
        assert check.calm(text, len(text[:cut])) is None


@pytest.mark.parametrize("name", ["pii", "secrets", "canaries"])
def test_prose_takes_no_closer_look(name: str) -> None:
    """Else the quick look would only cost."""
    check: CalmCheck = CHECKS[name]  # type: ignore[assignment]
    assert check.calm("The river was low; who waited, talked.\n") is not None
