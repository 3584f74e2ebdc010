"""What a check writes in place of a find is known for that, and nothing else in brackets is."""

from __future__ import annotations

from typing import get_args

import pytest

from bartizan.policy.checks import Pii, PiiType
from sidecar.checks.base import CheckSet
from sidecar.checks.detectors import canary, exfiltration, markup, secrets
from sidecar.checks.detectors.pii_names import STANDS_FOR, NamesCheck
from sidecar.checks.detectors.pii_replacement import Pseudonyms
from sidecar.checks.tokens import MOST, Tokens
from tests.unit.sidecar.checks.detectors.test_pii_names import ALL, SAID, Words, left


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("[PERSON] <PERSON_1> [Anna] <Anna_1>", "[PERSON] <PERSON_1> [[PERSON]] <[PERSON]>"),
        ("[ANNA] [RIVERA] from [BOGOTA]", "[[PERSON]] [[PERSON]] from [[PLACE]]"),
        ("[ANNA_RIVERA]", "[[PERSON]]"),
        ("<ANNA_1> [PLACE:bogota]", "<[PERSON]> [[PLACE]]"),
        ("<PERSON_0> <PERSON_10000> <NOBODY_1>", "<[PERSON]> <[PERSON]> <NOBODY_1>"),
        ("Anna[PERSON]Rivera's [EMAIL]", "[PERSON][PERSON][PERSON] [EMAIL]"),
    ],
)
def test_no_word_in_brackets_passes_but_what_stands_for_a_find(text: str, wanted: str) -> None:
    check = NamesCheck(Pii(types=ALL), Words(SAID))
    assert left(CheckSet(texts=(check,)), text) == wanted


def test_all_that_checks_write_in_place_of_a_find_stands_for_it() -> None:
    kinds = [*get_args(PiiType), *ALL]
    pseudonyms, tokens = Pseudonyms(b"a" * 32, "acme"), Tokens()
    said = [one.PLACEHOLDER for one in (canary, exfiltration, markup, secrets)]
    for kind in kinds:
        said += [f"[{kind.upper()}]", pseudonyms(kind, "x"), tokens.token(kind, "x")]
    said += [tokens.token("driving_licence", str(number)) for number in range(MOST - len(kinds))][-1:]
    assert [one for one in said if not STANDS_FOR.fullmatch(one)] == []
