"""What agent and worker do not import before a policy asks for it: each of these costs every pod megabytes and time."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

NEVER = {
    "sqlalchemy",
    "hvac",
    "kubernetes_asyncio",
    "alembic",
    "jsonschema",
    "rich",
    "pygments",
    "greenlet",
    "click",
    "prometheus_client.exposition",
}
LATER = {
    "numpy",
    "phonenumbers",
    "joserfc",
    "cel_expr_python",
    "opentelemetry.sdk",
    "opentelemetry.proto",
    "yaml",
    "libmodsecurity",
}
AGENT = NEVER | LATER | {"re2", "sidecar.checks.pipeline", "sidecar.exchange", "sidecar.worker"}
WORKER = NEVER | LATER | {"cryptography", "grpc", "aiohttp", "sidecar.app", "sidecar.formats.anthropic"}
COMMAND = """
import click
from bartizan.cli.root import cli
assert cli.get_command(click.Context(cli), "sidecar")
import sidecar.__main__
"""
KEYS_ALONE = """
import sidecar.worker
import sidecar.wire.engine_http2, sidecar.wire.http2_session
from sidecar.checks.admission.request_rate import Buckets
from sidecar.plan.load import load_plan
from bartizan.policy.bundle import GuardModel, GuardPlan
plan = GuardPlan(id="1.1", policy="a/b", revision=1, model=GuardModel(name="m", protocol="openai"), tenants=("t",), api_key_set="k")
load_plan(plan, Buckets(clock=float))
"""


@pytest.mark.parametrize(
    ("start", "unwanted"),
    [
        pytest.param("import sidecar.__main__", AGENT, id="agent"),
        pytest.param(COMMAND, AGENT - {"click"}, id="agent by the images' command"),
        pytest.param(KEYS_ALONE, WORKER, id="worker with a policy of API keys"),
        pytest.param(
            f"{KEYS_ALONE}import sidecar.wire.span_export", WORKER, id="the same, and its requests are traced"
        ),
    ],
)
def test_a_process_starts_without(start: str, unwanted: set[str]) -> None:
    code = f"{start}\nimport json, sys\nprint(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not unwanted & set(json.loads(done.stdout))


@pytest.mark.parametrize(
    "start",
    [
        pytest.param("import sidecar.__main__", id="agent"),
        pytest.param(COMMAND, id="agent by the images' command"),
    ],
)
def test_an_agent_reads_certificate_authorities_when_it_first_trusts_them(start: str) -> None:
    code = f"""{start}
import gc, ssl
def trusted():
    return sorted(context.cert_store_stats()["x509"] for context in gc.get_objects() if isinstance(context, ssl.SSLContext))
before = trusted()
from sidecar.agent.lean_aiohttp import authorities
made = authorities().cert_store_stats()["x509"]
print(before, made == ssl.create_default_context().cert_store_stats()["x509"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[0,", "0]", "True"]
