"""Problems of meaning inside of one detector's configuration: personal data, canaries, classifiers. Called by
bartizan/policy/content.py for every check of a document that may be wrong anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import phonenumbers
import re2

from bartizan.errors import Problem
from bartizan.policy.checks import NAME_TYPES, Pii
from bartizan.policy.documents import join
from bartizan.policy.reading import invalid, repeated, strings

SHIPPED_NAMES = frozenset({"person", "place"})
"""Types that the model of bartizan[names] knows."""


def personal_data(config: dict[str, Any], place: str, *, of_answers: bool) -> Iterator[Problem]:
    """Of one `pii`: what its replacement needs, and words, regions and patterns that could never be used."""
    style, key = config.get("replacement"), config.get("key")
    if style == "token" and of_answers:
        message = "tokens are put back in answers: in an answer itself nobody would read them"
        hint = "use placeholder, mask or pseudonym"
        yield Problem(path=f"{place}.replacement", code="not_applicable", message=message, hint=hint)
    if style == "pseudonym" and key is None:
        message = "pseudonyms are made with a key"
        hint = "add key: file:NAME, a file of 32 bytes or more in the sidecar's certificate folder"
        yield Problem(path=f"{place}.key", code="missing_field", message=message, hint=hint)
    if style != "pseudonym" and key is not None:
        message = "only pseudonyms are made with a key"
        yield Problem(path=f"{place}.key", code="not_applicable", message=message, hint="leave it out")
    if style in {"pseudonym", "token", "mask"} and config.get("action", "redact") != "redact":
        message = f"action {config['action']} replaces nothing"
        yield Problem(path=f"{place}.replacement", code="not_applicable", message=message)
    yield from _names(config, place)
    regions = strings(config, "regions", under=place)
    yield from repeated(regions, "region")
    for path, region in regions:
        if region not in phonenumbers.SUPPORTED_REGIONS:
            yield invalid(path, "no country has this code (ISO 3166-1, two capital letters)")
    yield from _context(config, place)
    for path, pattern in strings(config, "allowPatterns", under=place):
        try:
            re2.compile(pattern, _quiet())
        except re2.error:
            yield invalid(path, "is no regular expression of RE2")


def classifier(config: dict[str, Any], place: str) -> Iterator[Problem]:
    """Of one `promptInjection`: a model of the operator's own that could never be asked, or not as it is written."""
    own = config.get("classifier")
    if not isinstance(own, dict):
        return
    path = f"{place}.classifier"
    if config.get("model") == "off" and own.get("askFrom"):
        message = "with model: off there is no probability to ask from"
        yield Problem(path=f"{path}.askFrom", code="not_applicable", message=message, hint="leave it out")
    labels: Any = own.get("attackLabels")
    for at, label in enumerate(labels if isinstance(labels, list | tuple) else ()):
        if label in labels[:at]:
            yield Problem(path=f"{path}.attackLabels[{at}]", code="duplicate", message="the same label again")


def canaries(config: dict[str, Any], place: str, tenants: frozenset[str]) -> Iterator[Problem]:
    """Of one `canary`: whose tokens there are."""
    own = config.get("tenants")
    if not config.get("tokens") and not own:
        message = "names no token"
        hint = "add tokens, or tokens of each tenant under tenants"
        yield Problem(path=f"{place}.tokens", code="missing_field", message=message, hint=hint)
    for tenant in own if isinstance(own, dict) else ():
        if tenant not in tenants:
            yield invalid(join(f"{place}.tenants", str(tenant)), "is none of spec.tenants")


def canary_tokens(config: dict[str, Any], place: str) -> list[tuple[str, str]]:
    """Path and text of every token, whosever it is."""
    found = strings(config, "tokens", under=place)
    own = config.get("tenants")
    for tenant, tokens in own.items() if isinstance(own, dict) else ():
        items = tokens if isinstance(tokens, list) else []
        path = join(f"{place}.tenants", str(tenant))
        found += [(f"{path}[{at}]", token) for at, token in enumerate(items) if isinstance(token, str)]
    return found


def _context(config: dict[str, Any], place: str) -> Iterator[Problem]:
    words = config.get("context")
    types = config.get("types", Pii.__struct_defaults__[0])
    for kind in words if isinstance(words, dict) else ():
        path = f"{place}.context.{kind}"
        if isinstance(types, list | tuple) and kind not in types:
            message = "words for a type that `types` does not name"
            yield Problem(path=path, code="not_applicable", message=message)
        yield from repeated(strings(words, str(kind), under=f"{place}.context"), "word")


def _names(config: dict[str, Any], place: str) -> Iterator[Problem]:
    """What is said of names where none are looked for, and names that the model does not know."""
    types = config.get("types", ())
    wanted = [kind for kind in types if kind in NAME_TYPES] if isinstance(types, list | tuple) else []
    if "names" in config and not wanted:
        message = f"`types` has none of {', '.join(sorted(NAME_TYPES))}"
        yield Problem(path=f"{place}.names", code="not_applicable", message=message, hint="leave it out")
    names = config.get("names")
    names = names if isinstance(names, dict) else {}
    model = names.get("model")
    labels = model.get("labels") if isinstance(model, dict) else SHIPPED_NAMES
    for at, kind in enumerate(types if wanted else ()):
        if kind in NAME_TYPES and isinstance(labels, dict | frozenset) and kind not in labels:
            hint = "name its outputs in names.model.labels" if model else "name a model of your own in names"
            message = "the model of names does not know this type"
            yield Problem(path=f"{place}.types[{at}]", code="not_applicable", message=message, hint=hint)
    if names.get("onFailure") == "deny" and config.get("action") == "flag":
        message = "action flag lets everything pass, also what was not read"
        yield Problem(path=f"{place}.names.onFailure", code="not_applicable", message=message)
    yield from _same_label(labels, f"{place}.names.model.labels")


def _same_label(labels: Any, path: str) -> Iterator[Problem]:
    seen: set[int] = set()
    for kind, numbers in labels.items() if isinstance(labels, dict) else ():
        for at, number in enumerate(numbers if isinstance(numbers, list | tuple) else ()):
            if isinstance(number, int) and number in seen:
                message = "the same label again"
                yield Problem(path=f"{join(path, str(kind))}[{at}]", code="duplicate", message=message)
            seen |= {number} if isinstance(number, int) else set()


def _quiet() -> Any:
    options = re2.Options()
    options.log_errors = False
    return options
