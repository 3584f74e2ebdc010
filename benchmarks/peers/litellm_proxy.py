"""LiteLLM's proxy with its own content filter (forms of personal data, requests and answers), before our upstream.

It is a proxy itself: it takes Envoy's place. One worker, no database, no telemetry, no logs of requests.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

PATTERNS = ("email", "visa", "us_ssn")


def configuration() -> Path:
    """YAML is a superset of JSON."""
    model = {
        "model": "openai/bench",
        "api_base": f"{os.environ['UPSTREAM']}/v1",
        "api_key": "none",
    }
    filtered = {
        "guardrail": "litellm_content_filter",
        "mode": ["pre_call", "post_call"],
        "default_on": True,
        "patterns": [
            {"pattern_type": "prebuilt", "pattern_name": name, "action": "MASK"} for name in PATTERNS
        ],
    }
    document = {
        "model_list": [{"model_name": "bench", "litellm_params": model}],
        "guardrails": [{"guardrail_name": "forms", "litellm_params": filtered}],
        "litellm_settings": {"telemetry": False, "set_verbose": False},
        "general_settings": {"master_key": os.environ["API_KEY"]},
    }
    file = Path(tempfile.mkdtemp(prefix="bartizan-bench-")) / "litellm.yaml"
    file.write_text(json.dumps(document))
    return file


def main() -> None:
    """Become the proxy."""
    command = str(Path(sys.executable).with_name("litellm"))
    arguments = ["--host", "127.0.0.1", "--port", os.environ["PORT"], "--config", str(configuration())]
    os.environ |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "NO_DOCS": "True"}
    os.execv(command, [command, *arguments, "--num_workers", "1", "--telemetry", "False"])  # noqa: S606


if __name__ == "__main__":
    main()
