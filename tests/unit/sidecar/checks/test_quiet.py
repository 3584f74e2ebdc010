"""Plain words take one look for all checks, which says nothing that each check's close look would not say."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bartizan.policy.checks import Canary, Exfiltration, Markup, Pii, Secrets
from sidecar.checks.base import SpanCheck
from sidecar.checks.detectors import canary, exfiltration, markup, pii, secrets
from sidecar.checks.joined_blocks import GLUES, MOST, JoinedBlocks
from sidecar.checks.pipe import _MOST_PIECES, Pipe
from sidecar.checks.quiet import Gate, any_of, gate_of

_SECRETS = secrets.build(Secrets())
_CANARY = canary.build(
    Canary(tokens=("canary-0123456789", "the zoo is open"), tenants={"a": ("a1 e-bee-17",)})
)
_PII = pii.build(Pii())
CHECKS: dict[str, tuple[SpanCheck, ...]] = {
    "all": (_CANARY, _SECRETS, _PII),
    "all turned round": (_PII, _SECRETS, _CANARY),
    "canaries": (_CANARY,),
    "secrets": (_SECRETS,),
    "pii": (_PII,),
    "ibans": (pii.build(Pii(types=("iban",))),),
    "numbers alone": (pii.build(Pii(types=("ssn",))),),
    "links and tags": (exfiltration.build(Exfiltration(links=("a.b",))), _SECRETS, markup.build(Markup())),
    "numbers of one country": (pii.build(Pii(types=("national_id",), regions=("FR",))), _SECRETS),
    "every form of numbers": (pii.build(Pii(types=("card", "phone", "ssn", "iban"))), _CANARY),
}
WORDS = (
    *("the", "The", "t", "h", "zo", "o", "zoo", "is", "open", "a", "an", "c", "ca", "nary", "canary", "public", "river", "it's", "x" * 45),
    *("password", "secret", "token", "key", "pat", "basic", "bearer", "sq", "sl", "hvs", "born", "call", "phone", "passport", "card", "DE", "gb"),
    *(" ", " ", " ", "\n", ",", ".", "?", "'", ": ", ", ", ". ", "0", "1", "12", "1234", "89", "4111", "0123456789", " 17", "e"),
)  # fmt: skip
OTHERS = (
    *("-", "@", "x@y.de", "%40", "=", "(", "+49 30 ", "AKIAIOSFODNN7QWERTYU", "ghp_", "DE89 3704 0044 0532 0130 00", "é", "\u200b", "\uff20"),
    *("http", "https", ":", "//", "/", "www", "www.", "[a]", "](", "<", "<a ", ">", "url", "file", "@import ", "data"),
    *("4111 1111 1111 1111", "password is Hunter2horse9!", "canary-0123456789", "-----BEGIN ", "\x00", "USA", "https://u:secretpw@h/", "078-05-1120"),
)  # fmt: skip
plain = st.lists(st.sampled_from(WORDS), max_size=12)
mixed = st.lists(st.sampled_from(WORDS) | st.sampled_from(OTHERS), max_size=14)


def _piped(
    checks: tuple[SpanCheck, ...], pieces: list[str], *, gated: bool
) -> tuple[str, list[object], bool]:
    pipe = Pipe(checks, "at", shadow=False)
    if not gated:
        pipe._quiet = None  # the same pipe with a look by each check
    out = ""
    for piece in [*pieces, ""]:
        out += pipe.feed(piece, end=not piece)
        if pipe.blocked:
            break
    return out, list(pipe.findings), pipe.blocked


@given(st.lists(st.text("ab.|", min_size=1, max_size=3), min_size=1), st.text("ab.|", max_size=12))
def test_signs_that_share_a_beginning_are_all_found(signs: list[str], text: str) -> None:
    assert bool(re.search(any_of(signs), text)) == any(sign in text for sign in signs)


@pytest.mark.parametrize("name", CHECKS)
@settings(max_examples=200, deadline=None)
@given(before=mixed, words=plain)
def test_what_is_quiet_is_so_for_every_check(name: str, before: list[str], words: list[str]) -> None:
    checks = CHECKS[name]
    gate = gate_of(checks)
    assert gate is not None
    text = "".join(words)
    word = gate.passes(text)
    if word is None:
        return
    for check in checks:
        said = "".join(before)
        if said:
            said += " "
        if said and (check.matches(said) or check.settled(said) < len(said)):
            continue  # then no stage is where it could begin to be quiet
        context = said[-check.context :] if check.context else ""
        if context and check.calm(context) is None:  # type: ignore[attr-defined]
            continue
        assert check.matches(context + text, len(context)) == []
        assert check.settled(context + text) >= len(context) + word


@pytest.mark.parametrize("name", CHECKS)
@settings(max_examples=200, deadline=None)
@given(pieces=mixed)
def test_a_pipe_says_the_same_with_and_without_one_look_for_all(name: str, pieces: list[str]) -> None:
    pieces = [piece for piece in pieces if piece]
    assert _piped(CHECKS[name], pieces, gated=True) == _piped(CHECKS[name], pieces, gated=False)


LONG = [f"{word} " for word in ("river", "was", "low", "that", "summer") * 300]


@pytest.mark.parametrize("words", [1, _MOST_PIECES, _MOST_PIECES + 1, len(LONG)])
@pytest.mark.parametrize("name", CHECKS)
def test_what_flowed_long_ago_is_known_as_far_as_somebody_asks(name: str, words: int) -> None:
    said, ends = LONG[:words], ["card 4111 1111 ", "1111 1111, jane@mail.example.com"]
    gated, bare = (_piped(CHECKS[name], [*said, *ends], gated=gated) for gated in (True, False))
    assert gated == bare
    blocks = JoinedBlocks(CHECKS[name])
    pipe = Pipe(CHECKS[name], "at", shadow=False, blocks=blocks)
    flows = "".join(pipe.feed(piece, end=not piece) for piece in [*said, ""])
    assert flows == "".join(said)
    assert blocks.before == dict.fromkeys(GLUES, flows[-MOST:])


@pytest.mark.parametrize("name", CHECKS)
def test_prose_is_quiet(name: str) -> None:
    """Else the look would only cost."""
    gate = gate_of(CHECKS[name])
    assert gate is not None
    assert gate.passes("River was low; who waited, talked.\nPeople ") == 42


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("it flows under bridges", 15),
        ("low", 0),
        ("in the year 1990 people waited", 24),
        ("word17 and word18 and ", 22),
        ("in 19", None),
        ("under 12345 boats", None),
        ("de89 boats", None),
        ("USA", None),
        ("boats.com", None),
        ("a - b", None),
        ("boäts", None),
        ("x" * 49, None),
    ],
)
def test_words_and_signs_of_prose_are_quiet_and_nothing_else(text: str, word: int | None) -> None:
    assert Gate(()).passes(text) == word


def test_a_check_that_can_not_tell_is_asked_about_all() -> None:
    machines = pii.build(Pii(types=("ip", "mac")))
    assert gate_of((_SECRETS, machines)) is None
    assert gate_of((_SECRETS, canary.build(Canary(tokens=("ab-cd-ef",))))) is None
    assert gate_of(()) is None
