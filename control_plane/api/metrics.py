"""Prometheus metrics on their own port: plain HTTP, nothing else there, no labels that name tenants or keys."""

from __future__ import annotations

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest


def metrics_application() -> web.Application:
    """GET /metrics."""

    async def metrics(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application(client_max_size=1024)
    app.router.add_get("/metrics", metrics)
    return app
