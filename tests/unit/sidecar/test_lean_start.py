"""What agent and worker do not import before a policy asks for it: each of these costs every pod megabytes and time."""

from __future__ import annotations

import hashlib
import hmac
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
    "aiohttp",
    "http.client",
    "http.server",
    "prometheus_client.exposition",
    "google.protobuf.text_format",
    "tempfile",
    "zipfile",
}
LATER = {
    "numpy",
    "phonenumbers",
    "joserfc",
    "cel_expr_python",
    "grpc",
    "opentelemetry",
    "yaml",
    "tomllib",
    "libmodsecurity",
    "importlib.metadata",
}
AGENT = NEVER | LATER | {"re2", "uvloop", "sidecar.checks.pipeline", "sidecar.exchange", "sidecar.worker"}
WORKER = (
    NEVER | LATER | {"cryptography", "ssl", "_ssl", "_hashlib", "sidecar.app", "sidecar.formats.anthropic"}
)
KEYS_ALONE = """
from sidecar.worker_start import import_loops
import_loops()
import sidecar.worker
from sidecar.wire.engine_ngh2 import Ngh2Engine
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
        pytest.param(KEYS_ALONE, WORKER, id="worker with a policy of API keys"),
    ],
)
def test_a_process_starts_without(start: str, unwanted: set[str]) -> None:
    code = f"{start}\nimport json, sys\nprint(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not unwanted & set(json.loads(done.stdout))


def test_digests_without_openssl_are_the_same_and_tls_can_still_be_had() -> None:
    code = """
from sidecar.worker_start import import_loops
import_loops()
import hashlib, hmac, asyncio, uvloop
assert "libcrypto" not in open("/proc/self/maps").read()
print(hashlib.sha256(b"a").hexdigest(), hashlib.blake2b(b"a", digest_size=8, key=b"k").hexdigest())
print(hmac.new(b"k", b"a", hashlib.sha256).hexdigest(), hmac.digest(b"k", b"a", "sha256").hex())
import ssl
ssl.create_default_context()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    mac = hmac.new(b"k", b"a", hashlib.sha256).hexdigest()
    assert done.stdout.split() == [
        hashlib.sha256(b"a").hexdigest(),
        hashlib.blake2b(b"a", digest_size=8, key=b"k").hexdigest(),
        mac,
        mac,
    ]
