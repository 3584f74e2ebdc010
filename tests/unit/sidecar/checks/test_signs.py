"""Signs in ASCII texts are found wherever they stand, in texts of any length."""

from __future__ import annotations

import pytest

from sidecar.checks import signs

CONTROLS = bytes([*range(0x09), 0x7F])


@pytest.mark.parametrize("length", [1, signs._LONG - 1, signs._LONG, signs._LONG + 1, 50_000])
def test_one_sign_anywhere_is_enough_and_others_are_not(length: int) -> None:
    text = ("calm \t\n\x0b~" * length)[:length]
    assert not signs.holds_any(text, CONTROLS)
    for at in {0, length // 2, length - 1}:
        for sign in ("\x00", "\x08", "\x7f"):
            assert signs.holds_any(text[:at] + sign + text[at + 1 :], CONTROLS)


def test_an_empty_text_holds_none() -> None:
    assert not signs.holds_any("", CONTROLS)
