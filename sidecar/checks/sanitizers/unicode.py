"""Normalises a request's text, so that detectors and the model read the same: NFKC or NFC, hidden characters out,
at most 30 combining marks in a row.

A zero-width joiner or variation selector inside an emoji stays, or families and flags would fall apart; between
anything else it goes. So do zero-width non-joiners and joiners of scripts that need them for spelling (Persian,
Indic): they stay between two letters of such a script.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import re2

from bartizan.policy.checks import Sanitize
from sidecar.checks.base import CLEAN, Evidence, Explanation, Inspection, TextCheck
from sidecar.checks.normal_form import normal_form
from sidecar.checks.signs import holds_any
from sidecar.formats.base import TextPart
from sidecar.model.finding import Action, Edit, Finding

_EMOJI = "\u00a9\u00ae\u203c-\u3299\U0001f000-\U0001faff"
_JOINING = "\u0600-\u08ff\u0900-\u0dff\u1000-\u109f\u1780-\u17ff"
_SUSPECTS = {
    "zero-width": "[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200d\u2060-\u2064\u206a-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0"
    "\U000e0100-\U000e01ef]",
    "bidi": "[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]",
    "tags": "[\U000e0000-\U000e007f]",
    "control": "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]",
}
"""Characters without which nothing of a kind is stripped."""
_SUSPECT = re2.compile("|".join(_SUSPECTS.values()))
"""Any of these, found in one fast pass: most texts hold none."""
_SUSPECT_KINDS = tuple((kind, re2.compile(signs)) for kind, signs in _SUSPECTS.items())
_CONTROLS = bytes(code for code in range(0x80) if re.match(_SUSPECTS["control"], chr(code)))
"""All that is ever stripped from ASCII; in a third of the time of that search."""
_STRIPPED = {
    # begins with all of them and looks back: Python's search passes at sight over what is none
    "zero-width": re.compile(
        f"{_SUSPECTS['zero-width']}(?:(?<![\u200c\u200d\ufe00-\ufe0f])"
        f"|(?<=[\u200c\u200d])(?:(?<![{_EMOJI}\ufe0f{_JOINING}].)|(?![{_EMOJI}{_JOINING}]))"
        f"|(?<=[\ufe00-\ufe0f])(?<![{_EMOJI}#*0-9].))"
    ),
    **{kind: re.compile(_SUSPECTS[kind]) for kind in ("bidi", "tags", "control")},
}


class UnicodeSanitizer:
    """TextCheck whose one edit replaces the whole text; a finding for each kind of character that went."""

    name = "sanitize"
    max_match = 2**31 - 1
    """Not for streams: normalisation looks at any neighbourhood."""

    def __init__(self, form: Literal["nfkc", "nfc", "none"], strip: Sequence[str]) -> None:
        self._form = form
        self._strip = frozenset(strip)

    def inspect(self, part: TextPart) -> Inspection:
        text = part.text
        if text.isascii() and not holds_any(text, _CONTROLS):
            return CLEAN
        suspect = _SUSPECT.search(text) is not None
        findings: list[Finding] = []
        for kind, sign in _SUSPECT_KINDS if suspect else ():
            if kind not in self._strip or not sign.search(text):
                continue
            text, count = _STRIPPED[kind].subn("", text)
            if count:
                findings.append(
                    Finding(check=self.name, kind=kind, action=Action.FLAG, location=part.location)
                )
        if self._form != "none":
            text = normal_form("NFKC" if self._form == "nfkc" else "NFC", text)
        if text == part.text:
            return CLEAN
        edit = Edit(start=0, end=len(part.text), replacement=text)
        return Inspection(findings=tuple(findings), edits=(edit,))

    def explain(self, part: TextPart) -> Explanation:
        """Where the first and the last character of each kind stood that went."""
        inspection = self.inspect(part)
        evidence: list[Evidence] = []
        for finding in inspection.findings:
            places = [found.span() for found in _STRIPPED[finding.kind].finditer(part.text)]
            evidence.append(
                Evidence(
                    kind=finding.kind,
                    action=finding.action,
                    start=places[0][0] if places else 0,
                    end=places[-1][1] if places else len(part.text),
                    score=0.5,
                    rule=f"strip/{finding.kind}",
                )
            )
        return Explanation(score=0.5 if evidence else 0.0, evidence=tuple(evidence), edits=inspection.edits)


def build(config: Sanitize) -> TextCheck:
    return UnicodeSanitizer(config.unicode, config.strip)
