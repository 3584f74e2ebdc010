"""Fills the grammars (attacks*.toml, benign*.toml): the same seed gives the same sentences everywhere."""

from __future__ import annotations

import random
import re
import tomllib
from importlib import resources
from typing import Any, Final

_SLOT = re.compile(r"\{(\w+)\}")
_DEPTH = 4
ATTACKS: Final = (
    "attacks",
    "attacks_manners",
    "attacks_languages",
    "attacks_settings",
    "attacks_claims",
    "attacks_scripts",
)
BENIGN: Final = (
    "benign",
    "benign_manners",
    "benign_settings",
    "benign_languages",
    "benign_documents",
    "benign_tasks",
    "benign_triggers",
    "benign_reports",
    "benign_scripts",
    "benign_asking",
)


def benign(count: int, seed: int) -> list[str]:
    """`count` distinct benign sentences (fewer if the grammars are exhausted), whole sentences first."""
    return _every(BENIGN, count, seed)


def attacks(count: int, seed: int) -> list[str]:
    """`count` distinct attacks, whole sentences first."""
    return _every(ATTACKS, count, seed)


def _every(names: tuple[str, ...], count: int, seed: int) -> list[str]:
    """Each grammar's share is that of its templates."""
    grammars = [_grammar(name) for name in names]
    templates = sum(len(grammar["templates"]) for grammar in grammars)
    out: dict[str, None] = {}
    for grammar in grammars:
        share = -(-count * len(grammar["templates"]) // templates)
        out.update(dict.fromkeys(_compose(grammar, share, seed)))
    return list(out)[:count]


def _grammar(name: str) -> dict[str, Any]:
    return tomllib.loads(resources.files(__package__).joinpath(f"{name}.toml").read_text(encoding="utf-8"))


def _compose(grammar: dict[str, Any], count: int, seed: int) -> list[str]:
    templates, slots = grammar["templates"], grammar["slots"]
    rng = random.Random(seed)  # noqa: S311 - sentences, not secrets
    out = dict.fromkeys(grammar["sentences"])
    for turn in range(20 * count):
        if len(out) >= count:
            break
        text = templates[turn % len(templates)]
        for _ in range(_DEPTH):
            text = _SLOT.sub(
                lambda found: rng.choice(slots[found[1]]) if found[1] in slots else found[0], text
            )
        out[_cased(text.strip(), rng)] = None
    return list(out)


def _cased(text: str, rng: random.Random) -> str:
    text = text.replace("..", ".").replace("?.", "?").replace("  ", " ").replace(" .", ".")
    style = rng.random()
    if style < 0.7:
        return text[:1].upper() + text[1:]
    return text.rstrip(".?!") if style < 0.85 else text
