"""The webhooks behind a real aiohttp server; what the cluster and the store would say is set by the test."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web

from bartizan.errors import DependencyUnavailable
from bartizan.local.processes import free_port
from bartizan.policy.schema import ModelPolicy
from bartizan.policy.validate import validate_document
from control_plane.injector import names
from control_plane.injector.refusals import Namespace
from control_plane.injector.webhook import Webhook
from tests.support.pod_cases import case_config

CONFIG = case_config("plain_one_port")


def policy(name: str = "chat", **spec: Any) -> ModelPolicy:
    return validate_document(policy_document(name, **spec))


def policy_document(name: str = "chat", **spec: Any) -> dict[str, Any]:
    """As its author wrote it."""
    return {
        "apiVersion": "bartizan.dev/v1alpha1",
        "kind": "ModelPolicy",
        "metadata": {"name": name, "namespace": "prod"},
        "spec": {
            "selector": {"matchLabels": {"app": "sentiment"}},
            "listener": {"tls": "none"},
            "model": {"name": "m", "protocol": "json_fields"},
            "routes": [{"path": "/x", "inputText": ["$.text"]}],
            "tenants": ["acme"],
            "authn": {"apiKeys": {"set": "chat"}},
            "limits": {"requests": [{"per": "key", "rate": "10/s"}]},
            "input": [{"promptInjection": {}}],
            **spec,
        },
    }


class Stand:
    """The webhooks, served; `labels` and `policies` are what the cluster and the store would say."""

    def __init__(self) -> None:
        self.labels: dict[str, str] = {names.INJECTION: "enabled"}
        self.annotations: dict[str, str] = {}
        self.policies: list[ModelPolicy] = [policy()]
        self.away = False
        self.trusted = False
        self.url = ""

    async def namespace(self, name: str) -> Namespace:
        if self.away:
            raise DependencyUnavailable("the Kubernetes API server: away")
        return Namespace(name=name, labels=self.labels, annotations=self.annotations)

    async def published(self, _namespace: str) -> Sequence[ModelPolicy]:
        if self.away:
            raise DependencyUnavailable("the store is away")
        return self.policies

    async def guarded_pods(self, _namespace: str) -> Sequence[dict[str, Any]]:
        if self.away:
            raise DependencyUnavailable("the Kubernetes API server: away")
        return [{"metadata": {"name": "chat-0", "labels": {"app": "sentiment", names.GUARDED: "true"}}}]

    async def get(self, path: str) -> int:
        async with aiohttp.ClientSession() as session, session.get(self.url + path) as response:
            return response.status

    def webhook(self) -> Webhook:
        return Webhook(CONFIG, self.namespace, self.published, self.guarded_pods, ready=lambda: self.trusted)

    async def post(self, path: str, body: bytes) -> tuple[int, Any]:
        async with aiohttp.ClientSession() as session, session.post(self.url + path, data=body) as response:
            return response.status, json.loads(await response.read())

    async def ask(self, path: str, document: Any, namespace: str = "prod", **more: Any) -> dict[str, Any]:
        status, answer = await self.post(path, review(document, namespace, **more))
        assert status == 200
        assert (answer["apiVersion"], answer["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
        response: dict[str, Any] = answer["response"]
        assert response["uid"] == "u-1"
        return response


def review(document: Any, namespace: str = "prod", **more: Any) -> bytes:
    """As the API server asks about a pod that is created; `more` of the request makes it something else."""
    request = {
        "uid": "u-1",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "operation": "CREATE",
        "namespace": namespace,
        "userInfo": {"username": "somebody", "groups": ["system:authenticated"]},
        "object": document,
        "oldObject": None,
        **more,
    }
    return json.dumps(
        {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    ).encode()


@asynccontextmanager
async def webhook_stand() -> AsyncIterator[Stand]:
    made = Stand()
    runner = web.AppRunner(made.webhook().application(), access_log=None)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    made.url = f"http://127.0.0.1:{port}"
    try:
        yield made
    finally:
        await runner.cleanup()
