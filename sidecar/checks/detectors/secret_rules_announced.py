"""Secrets without a form of their own: what stands after "password=", in an Authorization header, behind `curl -u`.

A name announces the value, and the value must look random (entropy, kinds of characters) or, after the name of a
password, be no word. L: values are at most 56 characters, one word: a stream holds back that word and no more.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Final

from sidecar.checks.detectors.secret_rule import SecretRule

_LONGEST: Final = 56
_MIN_BITS: Final = 3.0
"""Shannon entropy per character: English words have less, random letters and digits of this length more."""
_PLACEHOLDER: Final = re.compile(
    r"(?i)example|changeme|change_me|your|placeholder|dummy|redacted|password|passwd|secret|token|api.?key|xxx|\*\*\*|1234567|abcdef"
    r"|^(?:true|false|null|none|test)|^[a-z_]+\(|\$\{|\{\{|^<|%s|\.\.|[\-_]v?[0-9]+\.[0-9.]+$"
)
_NAMES: Final = (
    r"(?:[A-Za-z0-9_.\-]{0,24}(?:api[_\-]?key|apikey|secret[_\-]?key|client[_\-]?secret|app[_\-]?secret|access[_\-]?key|auth[_\-]?token|access[_\-]?token"
    r"|refresh[_\-]?token|private[_\-]?key|secret|token|credential)s?)"
)
_PASSWORDS: Final = r"(?:[A-Za-z0-9_.\-]{0,24}(?:password|passwd|pwd|passphrase|pass))"
_IS: Final = r"[\"'`]?(?: ?(?:[:=]{1,2}|=>|:=) ?| (?:is|as) )[\"'`]?"
_OTHER: Final = r"\s\x00-\x1f\x7f-\U0010ffff"
"""A value is one word of ASCII, as secrets.py takes words for its hold-back."""
_END: Final = r"(?![A-Za-z0-9_~+/.\-][A-Za-z0-9])(?![A-Za-z0-9])"


def random_looking(value: str) -> bool:
    """Letters and digits mixed, no placeholder, and more entropy than words have."""
    if _PLACEHOLDER.search(value) or not (any(map(str.isdigit, value)) and any(map(str.isalpha, value))):
        return False
    return entropy(value) >= _MIN_BITS


def no_word(value: str) -> bool:
    """A password: three kinds of characters of lower case, upper case, digits and signs."""
    if _PLACEHOLDER.search(value):
        return False
    kinds = (str.islower, str.isupper, str.isdigit, lambda char: not char.isalnum())
    return sum(any(kind(char) for char in value) for kind in kinds) >= 3


def credentials(value: str) -> bool:
    """A name and a password with a digit or a sign in it."""
    if "-u" in value:
        return False  # a next option, which will be looked at
    password = value.partition(":")[2]
    return (
        not _PLACEHOLDER.search(password)
        and re.search(r"[0-9]|[^\w\-]", password) is not None
        and not password.isdigit()
    )


def entropy(value: str) -> float:
    """Bits per character."""
    counts = Counter(value).values()
    return -sum(count / len(value) * math.log2(count / len(value)) for count in counts)


def _named(hints: tuple[str, ...]) -> tuple[SecretRule, ...]:
    pattern = re.compile(rf"(?i:{_NAMES}){_IS}([A-Za-z0-9_~+/=.\-]{{16,{_LONGEST}}}){_END}")
    return tuple(
        SecretRule("announced_secret", hint, pattern, valid=random_looking, score=0.7) for hint in hints
    )


def _password(hints: tuple[str, ...]) -> tuple[SecretRule, ...]:
    pattern = re.compile(
        rf"(?i:{_PASSWORDS}){_IS}([^{_OTHER}\"'`,;<>()\[\]{{}}]{{8,{_LONGEST}}})(?![^{_OTHER}\"'`,;<>()\[\]{{}}])"
    )
    return tuple(SecretRule("announced_password", hint, pattern, valid=no_word, score=0.7) for hint in hints)


ANNOUNCED: Final[tuple[SecretRule, ...]] = (
    *_named(
        (
            "ecret",
            "ECRET",
            "oken",
            "OKEN",
            "pi_key",
            "pi-key",
            "pikey",
            "piKey",
            "piKEY",
            "PI_KEY",
            "ccess_key",
            "CCESS_KEY",
        )
    ),
    *_password(("assword", "ASSWORD", "asswd", "ASSWD", "wd=", "wd:", "WD=", "assphrase")),
    SecretRule(
        "http_credentials",
        "uthorization",
        re.compile(
            r"(?i:authorization[\"']?\s{0,2}[:=]\s{0,2}[\"']?(?:basic|token|api-token|apikey|digest) )"
            r"((?=[A-Za-z._~+/\-]{0,64}[0-9])[A-Za-z0-9+/=_.~\-]{16,512})"
        ),
        opening=re.compile(r"[aA]\Z"),
        touching=False,
        score=0.8,
    ),
    *(
        SecretRule(
            "command_line_credentials",
            hint,
            re.compile(
                rf"{hint}[ =]{{1,2}}[\"']?((?![$<{{/])[^{_OTHER}:\"'$<{{/]{{1,24}}:(?![$<{{*/])[^{_OTHER}\"'$<{{/]{{6,30}})(?![^{_OTHER}\"'$<{{/])"
            ),
            leads=True,
            valid=credentials,
            score=0.7,
        )
        for hint in ("-u", "--user")
    ),
)
