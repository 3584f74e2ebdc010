"""What validation and compiler know of each protocol: whose routes it has, and what its bodies can be asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

from bartizan.policy.schema import Protocol

Field = Literal["inputText", "outputText", "outputScores"]
FIELDS: Final[tuple[Field, ...]] = get_args(Field)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolFacts:
    """routes: `fixed` brings its own; `default` has some, `named` some with the model's name in them, and a policy may
    replace both; `required` must be given. fields: what routes declare of where text and scores are.

    texts, scores, images: what checks find in its bodies. facts: rules may ask for request.model, .stream and
    .max_tokens.
    """

    routes: Literal["fixed", "default", "named", "required"] = "fixed"
    fields: tuple[Field, ...] = ()
    texts: bool = True
    scores: bool = False
    images: bool = False
    facts: bool = True
    chat: bool = False
    """Answers may call tools and hold structured text."""
    parameters: frozenset[str] = frozenset()
    """Fields of the check `parameters` that its requests have."""


_GENERAL = frozenset({"maxTokens", "schemaSize"})
_OPENAI = _GENERAL | {"n", "bestOf", "logprobs", "patternStates", "engineOptions"}
_OLLAMA = _GENERAL | {"contextTokens", "logprobs", "engineOptions"}

PROTOCOLS: Final[Mapping[Protocol, ProtocolFacts]] = {
    "openai": ProtocolFacts(chat=True, images=True, parameters=_OPENAI),
    "anthropic": ProtocolFacts(chat=True, images=True, parameters=_GENERAL | {"engineOptions"}),
    "ollama": ProtocolFacts(chat=True, images=True, parameters=_OLLAMA),
    "mcp": ProtocolFacts(routes="default", facts=False),
    "kserve_v2": ProtocolFacts(routes="named", scores=True, images=True, facts=False),
    "kserve_v1": ProtocolFacts(routes="named", scores=True, images=True, facts=False),
    "json_fields": ProtocolFacts(
        routes="required", fields=FIELDS, scores=True, facts=False, parameters=_OPENAI
    ),
    "image": ProtocolFacts(routes="required", fields=FIELDS[1:], scores=True, images=True, facts=False),
    "opaque": ProtocolFacts(routes="required", texts=False, facts=False),
}


def facts_of(protocol: object) -> ProtocolFacts | None:
    """None for what is no protocol: that is told elsewhere."""
    return next((facts for name, facts in PROTOCOLS.items() if name == protocol), None)
