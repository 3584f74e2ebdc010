"""Every body format of this release, by the protocol that a policy names."""

from __future__ import annotations

from bartizan.policy.bundle import GuardPlan
from bartizan.policy.checks import Probabilities
from sidecar.formats.base import Format
from sidecar.formats.json_fields import JsonFieldsFormat
from sidecar.formats.opaque import OpaqueFormat
from sidecar.formats.openai import OpenAIFormat


def build_format(plan: GuardPlan) -> Format:
    """The format of a plan's model."""
    match plan.model.protocol:
        case "openai":
            reads_text = any(not isinstance(check, Probabilities) for check in plan.output)
            return OpenAIFormat(max_depth=plan.json_depth, conceal=reads_text and plan.mode == "enforce")
        case "json_fields":
            return JsonFieldsFormat(plan.routes, max_depth=plan.json_depth)
        case "opaque":
            return OpaqueFormat()
