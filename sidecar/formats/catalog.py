"""Every body format of this release, by the protocol that a policy names; imported when a plan needs it."""

from __future__ import annotations

from bartizan.policy.bundle import GuardPlan
from bartizan.policy.checks import Image, Probabilities
from sidecar.formats.base import Format


def build_format(plan: GuardPlan) -> Format:
    """The format of a plan's model."""
    reads_text = any(not isinstance(check, Probabilities) for check in plan.output)
    conceal = reads_text and plan.mode == "enforce"
    pictures = any(isinstance(check, Image) for check in plan.input)
    match plan.model.protocol:
        case "openai":
            from sidecar.formats.openai import OpenAIFormat

            return OpenAIFormat(max_depth=plan.json_depth, conceal=conceal)
        case "anthropic":
            from sidecar.formats.anthropic import AnthropicFormat

            return AnthropicFormat(max_depth=plan.json_depth, conceal=conceal)
        case "ollama":
            from sidecar.formats.ollama import OllamaFormat

            return OllamaFormat(max_depth=plan.json_depth, conceal=conceal)
        case "mcp":
            from sidecar.formats.mcp import McpFormat

            return McpFormat(max_depth=plan.json_depth, conceal=conceal)
        case "kserve_v1" | "kserve_v2" as version:
            from sidecar.formats.predict import PredictFormat

            strict = version == "kserve_v2"
            return PredictFormat(version, strict=strict, max_depth=plan.json_depth, pictures=pictures)
        case "image":
            from sidecar.formats.image import ImageFormat

            return ImageFormat(plan.routes, max_depth=plan.json_depth, pictures=pictures)
        case "json_fields":
            from sidecar.formats.json_fields import JsonFieldsFormat

            return JsonFieldsFormat(plan.routes, max_depth=plan.json_depth)
        case "opaque":
            from sidecar.formats.opaque import OpaqueFormat

            return OpaqueFormat()
