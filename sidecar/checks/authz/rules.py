"""Authorization rules in CEL: no deny may be true, and where allow rules exist one must be; an error denies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bartizan.policy.schema import AuthzRule
from sidecar.model.request import BodyFacts, Identity, RequestHead

_NO_BODY = BodyFacts()
_MOST_KNOWN = 4096
Evaluate = Callable[[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One compiled rule."""

    name: str
    denies: bool
    evaluate: Evaluate


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSet:
    """The rules of one phase, and the model as they see it."""

    model: Mapping[str, Any]
    denies: tuple[Rule, ...] = ()
    allows: tuple[Rule, ...] = ()
    _known: dict[tuple[Identity, str, str, str], str | None] = field(default_factory=dict, repr=False)

    def __bool__(self) -> bool:
        return bool(self.denies or self.allows)

    def refuses_head(self, identity: Identity, head: RequestHead) -> str | None:
        """`refuses` before the body is known. Rules are functions of what they may name, so that the outcome for the same
        caller, method, path and address is kept.
        """
        if not (self.denies or self.allows):
            return None
        case = (identity, head.method, head.path, head.source_address)
        try:
            return self._known[case]
        except KeyError:
            outcome = self.refuses(identity, head, _NO_BODY)
            if identity.brief:
                if len(self._known) >= _MOST_KNOWN:
                    self._known.clear()
                self._known[case] = outcome
            return outcome

    def refuses(self, identity: Identity, head: RequestHead, facts: BodyFacts) -> str | None:
        """The name of what refused ("no_allow_rule" when none held), or None when the caller may go on."""
        if not self:
            return None
        who: dict[str, Any] = {
            "subject": identity.subject,
            "tenant": identity.tenant,
            "method": identity.method,
            "key_id": identity.key_id,
            "plan": identity.plan,
            "region": identity.region,
            "models": list(identity.models),
        }
        what: dict[str, Any] = {
            "method": head.method,
            "path": head.path,
            "source_address": head.source_address,
            "model": facts.model,
            "stream": facts.stream,
            "max_tokens": facts.max_tokens,
        }
        granted = not self.allows
        for rule in (*self.denies, *self.allows):
            try:
                held = rule.evaluate(who, what, self.model)
            except Exception:
                # Also when another allow rule holds: what can't be decided is refused, in whatever order rules stand.
                return rule.name
            if held and rule.denies:
                return rule.name
            granted = granted or held
        return None if granted else "no_allow_rule"


def build_rules(rules: Sequence[AuthzRule], model: Mapping[str, Any]) -> RuleSet:
    """Compile rules. Raises InvalidInput when an expression does not compile."""
    if not rules:
        return RuleSet(model=model)
    # brings CEL along, which neither the agent nor a policy without rules needs
    from bartizan.policy.expressions import compile_expression

    denies: list[Rule] = []
    allows: list[Rule] = []
    for rule in rules:
        if isinstance(rule.deny, str):
            denies.append(Rule(name=rule.name, denies=True, evaluate=compile_expression(rule.deny).evaluate))
        if isinstance(rule.allow, str):
            allows.append(
                Rule(name=rule.name, denies=False, evaluate=compile_expression(rule.allow).evaluate)
            )
    return RuleSet(model=model, denies=tuple(denies), allows=tuple(allows))
