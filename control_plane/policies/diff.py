"""What changed between two revisions, and what does this loosen? Pure.

Lists whose items have a name (checks, rules, limits, routes) are compared by that name, so that a removal reads as a
removal and not as a shift of everything behind it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from bartizan.api import Change
from bartizan.errors import InvalidInput
from bartizan.policy.mesh import MeshPolicy
from bartizan.policy.quantities import parse_bytes, parse_rate
from bartizan.policy.schema import ModelPolicy

_MISSING: Any = object()
_STRENGTH = {"flag": 0, "redact": 1, "clamp": 1, "cut": 2, "deny": 3}


def differences(before: ModelPolicy, after: ModelPolicy) -> tuple[Change, ...]:
    """Every difference in document order; each with what it loosens, or ""."""
    old, new = _explicit(before), _explicit(after)
    return tuple(
        _change(path, kind, one, other, _loosens(path, one, other))
        for path, kind, one, other in _walk("", old, new)
    )


def mesh_differences(before: MeshPolicy, after: MeshPolicy) -> tuple[Change, ...]:
    """Every difference of two MeshPolicies. What it loosens only their endpoints can say."""
    walked = _walk("", {"spec": _plain(before.spec)}, {"spec": _plain(after.spec)})
    return tuple(_change(path, kind, one, other, "") for path, kind, one, other in walked)


def _change(path: str, kind: Any, one: Any, other: Any, loosens: str) -> Change:
    before, after = [None if value is _MISSING else value for value in (one, other)]
    return Change(path=path, kind=kind, before=before, after=after, loosens=loosens)


def _explicit(policy: ModelPolicy) -> dict[str, Any]:
    """The document with its defaults written out: leaving out and writing a default are the same."""
    return {"metadata": _plain(policy.metadata), "spec": _plain(policy.spec)}


def _plain(value: Any) -> Any:
    match value:
        case msgspec.Struct():
            fields = {
                field.encode_name: _plain(getattr(value, field.name))
                for field in msgspec.structs.fields(value)
            }
            tag = value.__struct_config__.tag
            if tag is not None:
                fields[str(value.__struct_config__.tag_field)] = tag
            return {name: item for name, item in fields.items() if item is not msgspec.UNSET}
        case tuple() | list():
            return [_plain(item) for item in value]
        case dict():
            return dict(value)
        case _:
            return value


def _walk(path: str, one: Any, other: Any) -> Iterator[tuple[str, Any, Any, Any]]:
    if one is _MISSING or other is _MISSING:
        yield path, "added" if one is _MISSING else "removed", one, other
    elif isinstance(one, dict) and isinstance(other, dict):
        for name in [*one, *(name for name in other if name not in one)]:
            below = f"{path}.{name}" if path else name
            yield from _walk(below, one.get(name, _MISSING), other.get(name, _MISSING))
    elif isinstance(one, list) and isinstance(other, list):
        old, new = _by_identity(one), _by_identity(other)
        for name in [*old, *(name for name in new if name not in old)]:
            yield from _walk(f"{path}[{name}]", old.get(name, _MISSING), new.get(name, _MISSING))
    elif one != other:
        yield path, "changed", one, other


def _by_identity(items: list[Any]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for item in items:
        name = _identity(item)
        number = 2
        unique = name
        while unique in named:
            unique, number = f"{name}#{number}", number + 1
        named[unique] = item
    return named


def _identity(item: Any) -> str:
    if not isinstance(item, dict):
        return str(item)
    if "path" in item:
        return f"{item.get('method', '')} {item['path']}".strip()
    for side in ("allow", "deny"):
        if side in item and "name" in item:
            return f"{side} {item['name']}"
    for key in ("check", "name", "per", "issuer"):
        if key in item:
            return str(item[key])
    return str(sorted(item.items()))


def _loosens(path: str, one: Any, other: Any) -> str:
    for pattern, judge in _RULES:
        match = pattern.fullmatch(path)
        if match is not None:
            return judge(match.groupdict(), one, other)
    return ""


Judge = Callable[[Mapping[str, str], Any, Any], str]


def _removed(what: str) -> Judge:
    def judge(names: Mapping[str, str], _one: Any, other: Any) -> str:
        return what.format(**names) if other is _MISSING else ""

    return judge


def _added(what: str) -> Judge:
    def judge(names: Mapping[str, str], one: Any, _other: Any) -> str:
        return what.format(**names) if one is _MISSING else ""

    return judge


def _grew(what: str, read: Callable[[Any], float]) -> Judge:
    def judge(names: Mapping[str, str], one: Any, other: Any) -> str:
        try:
            grew = read(other) > read(one)
        except (InvalidInput, TypeError, ValueError):
            grew = True
        return f"{what.format(**names)}: {one} -> {other}" if grew else ""

    return judge


def _unbounded(what: str, read: Callable[[Any], float]) -> Judge:
    """As _grew, of a bound that may be left out."""
    grew = _grew(what, read)

    def judge(names: Mapping[str, str], one: Any, other: Any) -> str:
        if other is _MISSING:
            return f"{what.format(**names)}: {one} -> any number"
        return "" if one is _MISSING else grew(names, one, other)

    return judge


def _any(what: str) -> Judge:
    def judge(names: Mapping[str, str], _one: Any, _other: Any) -> str:
        return what.format(**names)

    return judge


def _became(value: str | bool, what: str) -> Judge:
    def judge(names: Mapping[str, str], _one: Any, other: Any) -> str:
        return what.format(**names) if other == value else ""

    return judge


def _weaker(names: Mapping[str, str], one: Any, other: Any) -> str:
    weaker = _STRENGTH.get(str(other), -1) < _STRENGTH.get(str(one), -1)
    return f"{names['side']} check {names['check']} does less: {one} -> {other}" if weaker else ""


def _opened(_names: Mapping[str, str], one: Any, other: Any) -> str:
    """From one address to all of them, or from this machine to a network."""
    if other in {"0.0.0.0", "::"} or (_loopback(one) and not _loopback(other)):
        return f"others may connect: {one} -> {other}"
    return ""


def _loopback(address: Any) -> bool:
    return str(address).startswith("127.") or address == "::1"


def _rule(names: Mapping[str, str], one: Any, other: Any) -> str:
    """A deny rule that goes or an allow rule that comes opens something; a removed last allow rule too."""
    if other is _MISSING:
        return f"authorization rule {names['name']} is gone"
    if one is _MISSING and isinstance(other, dict) and "allow" in other:
        return f"authorization rule {names['name']} allows more callers where allow rules stood before"
    return ""


_RULES: tuple[tuple[re.Pattern[str], Judge], ...] = tuple(
    (re.compile(pattern), judge)
    for pattern, judge in (
        (r"spec\.mode", _became("shadow", "nothing is blocked any more: enforce -> shadow")),
        (r"spec\.tenants\[(?P<tenant>.*)\]", _added("tenant {tenant} may call")),
        (r"spec\.(?P<side>input|output)\[(?P<check>[^\]]*)\]", _removed("{side} check {check} is gone")),
        (r"spec\.(?P<side>input|output)\[(?P<check>[^\]]*)\]\.action", _weaker),
        (
            r"spec\.(?P<side>input|output)\[(?P<check>[^\]]*)\]\.(?P<field>types|strip|tokens)\[.*\]",
            _removed("{side} check {check} looks for less ({field})"),
        ),
        (
            r"spec\.(?P<side>input|output)\[(?P<check>[^\]]*)\]\.(?P<field>allow|allowPatterns|links|labels)\[.*\]",
            _added("{side} check {check} lets more pass ({field})"),
        ),
        (
            r"spec\.(?P<side>input|output)\[(?P<check>[^\]]*)\]\.(regions|replacement|context\..*|tenants\..*)(\[.*\])?",
            _any("{side} check {check} reads or replaces differently"),
        ),
        (r"spec\.input\[promptInjection\]\.classifier", _removed("no classifier judges requests any more")),
        (
            r"spec\.input\[promptInjection\]\.classifier\.(threshold|askFrom)",
            _grew("the classifier denies less", float),
        ),
        (
            r"spec\.input\[promptInjection\]\.classifier\.onFailure",
            _became("flag", "what the classifier did not judge passes"),
        ),
        (
            r"spec\.input\[promptInjection\]\.classifier\.(model|sha256|tokenizer|tokenizerSha256|attackLabels.*)",
            _any("another classifier judges requests"),
        ),
        (
            r"spec\.(?P<side>input|output)\[pii\]\.names\.threshold",
            _grew("{side} check pii finds fewer names", float),
        ),
        (
            r"spec\.(?P<side>input|output)\[pii\]\.names\.onFailure",
            _became("flag", "{side} check pii: texts that were not read for names pass"),
        ),
        (
            r"spec\.(?P<side>input|output)\[pii\]\.names\.model.*",
            _any("{side} check pii: another model finds names"),
        ),
        (
            r"spec\.input\[parameters\]\.(?P<field>maxTokens|contextTokens|n|bestOf|logprobs|patternStates|schemaSize)",
            _unbounded("requests may ask more of the engine ({field})", float),
        ),
        (
            r"spec\.input\[parameters\]\.engineOptions",
            _became(True, "requests may say how the engine is run"),
        ),
        (r"spec\.input\[extractionWatch\]\.(maxQueries|spread)", _grew("more queries are no finding", float)),
        (r"spec\.input\[sanitize\]\.unicode", _became("none", "text is no longer normalised")),
        (r"spec\.output\[probabilities\]\.decimals", _grew("probabilities are shown finer", float)),
        (r"spec\.limits\.requests\[(?P<per>[^\]]*)\]", _removed("the request limit per {per} is gone")),
        (r"spec\.limits\.requests\[(?P<per>[^\]]*)\]\.rate", _grew("more requests per {per}", parse_rate)),
        (r"spec\.limits\.requests\[(?P<per>[^\]]*)\]\.burst", _grew("larger bursts per {per}", float)),
        (r"spec\.limits\.body\.max", _grew("larger bodies", parse_bytes)),
        (r"spec\.limits\.body\.jsonDepth", _grew("deeper JSON", float)),
        (r"spec\.authz\[(allow|deny) (?P<name>[^\]]*)\]", _rule),
        (r"spec\.authz\[(allow|deny) (?P<name>[^\]]*)\]\.(allow|deny)", _any("authorization rule {name} reads differently")),
        (r"spec\.routes\[(?P<route>[^\]]*)\]", _added("{route} can be called")),
        (r"spec\.routes\[(?P<route>[^\]]*)\]\.(inputText|outputText|outputScores)\[.*\]", _removed("{route}: a field is no longer checked")),
        (r"spec\.authn\.apiKeys", _added("API keys are accepted")),
        (r"spec\.authn\.apiKeys\.set", _any("another set of API keys is accepted")),
        (r"spec\.authn\.jwt\[(?P<issuer>[^\]]*)\]", _added("tokens of {issuer} are accepted")),
        (r"spec\.authn\.jwt\[(?P<issuer>[^\]]*)\]\.audiences\[(?P<audience>.*)\]", _added("tokens for {audience} are accepted")),
        (r"spec\.authn\.jwt\[(?P<issuer>[^\]]*)\]\.(claims|jwksUri).*", _any("tokens of {issuer} are read differently")),
        (r"spec\.listener\.address", _opened),
        (r"spec\.listener\.tls", _became("none", "the listener takes plain HTTP")),
        (r"spec\.selector\.matchLabels(\..*)?", _any("another set of sidecars is selected: some may lose this policy")),
    )
)  # fmt: skip
