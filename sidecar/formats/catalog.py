"""Every body format of this release, by the protocol that a policy names."""

from __future__ import annotations

from bartizan.policy.bundle import GuardPlan
from bartizan.policy.checks import Image, Probabilities
from sidecar.formats.anthropic import AnthropicFormat
from sidecar.formats.base import Format
from sidecar.formats.image import ImageFormat
from sidecar.formats.json_fields import JsonFieldsFormat
from sidecar.formats.mcp import McpFormat
from sidecar.formats.ollama import OllamaFormat
from sidecar.formats.opaque import OpaqueFormat
from sidecar.formats.openai import OpenAIFormat
from sidecar.formats.predict import PredictFormat


def build_format(plan: GuardPlan) -> Format:
    """The format of a plan's model."""
    reads_text = any(not isinstance(check, Probabilities) for check in plan.output)
    conceal = reads_text and plan.mode == "enforce"
    pictures = any(isinstance(check, Image) for check in plan.input)
    match plan.model.protocol:
        case "openai":
            return OpenAIFormat(max_depth=plan.json_depth, conceal=conceal)
        case "anthropic":
            return AnthropicFormat(max_depth=plan.json_depth, conceal=conceal)
        case "ollama":
            return OllamaFormat(max_depth=plan.json_depth, conceal=conceal)
        case "mcp":
            return McpFormat(max_depth=plan.json_depth, conceal=conceal)
        case "kserve_v1" | "kserve_v2" as version:
            strict = version == "kserve_v2"
            return PredictFormat(version, strict=strict, max_depth=plan.json_depth, pictures=pictures)
        case "image":
            return ImageFormat(plan.routes, max_depth=plan.json_depth, pictures=pictures)
        case "json_fields":
            return JsonFieldsFormat(plan.routes, max_depth=plan.json_depth)
        case "opaque":
            return OpaqueFormat()
