"""The health port: /healthz (this process runs), /readyz (the policy is enforced), /metrics, /status, /app-probes/….

Readiness is for load balancers and kubelets: 200 only while every part of the proof holds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bartizan.errors import ProcessFailed
from bartizan.telemetry.exposition import CONTENT_TYPE, exposition
from bartizan.telemetry.lean_prometheus import (
    REGISTRY,
    Collector,
    Metric,
    Sample,
    add_process_metrics,
    text_string_to_metric_families,
)
from sidecar.agent import app_probes as probing
from sidecar.agent.apply import Applier
from sidecar.agent.conditions import Conditions
from sidecar.agent.lean_aiohttp import web
from sidecar.agent.monitor import Monitor
from sidecar.agent.workers import WorkerPool


class _WithWorkers(Collector):
    """The agent's metrics with the workers' samples added to the families of the same name."""

    def __init__(self, samples: Callable[[], Mapping[str, float]]) -> None:
        self._samples = samples

    def collect(self) -> Iterable[Metric]:
        families = {family.name: family for family in REGISTRY.collect()}
        lines = "".join(f"{name} {value!r}\n" for name, value in sorted(self._samples().items()))
        for parsed in text_string_to_metric_families(lines):
            for sample in parsed.samples:
                family = _family(families, sample.name)
                _add(family, sample)
        return families.values()


def _add(family: Metric, sample: Sample) -> None:
    """One sample for each name and labels: what the agent counted itself stays in."""
    for at, own in enumerate(family.samples):
        if (own.name, own.labels) == (sample.name, sample.labels):
            family.samples[at] = own._replace(value=own.value + sample.value)
            return
    family.samples.append(sample)


def _family(families: dict[str, Metric], name: str) -> Metric:
    for suffix in ("", "_total", "_bucket", "_sum", "_count", "_created"):
        if name.endswith(suffix) and (found := families.get(name.removesuffix(suffix))):
            return found
    return families.setdefault(name, Metric(name, "From a guard worker.", "unknown"))


class Health:
    """Answers from memory only, so that it stays alive under load."""

    def __init__(
        self,
        *,
        conditions: Conditions,
        applier: Applier,
        workers: WorkerPool,
        monitor: Monitor,
        facts: Callable[[], Mapping[str, Any]],
        app_probes: probing.AppProbes,
    ) -> None:
        self._conditions = conditions
        self._applier = applier
        self._workers = workers
        self._monitor = monitor
        self._facts = facts
        self._app_probes = app_probes
        add_process_metrics()
        self._metrics = _WithWorkers(workers.metrics)

    async def start(self, host: str, port: int) -> web.AppRunner:
        """Listen; the caller cleans the runner up. Raises ProcessFailed when the port is taken."""
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._show_metrics)
        app.router.add_get("/status", self._status)
        app.router.add_get(probing.PATH + "/{container}/{kind}", self._app_probes.answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            await runner.cleanup()
            raise ProcessFailed(
                f"BARTIZAN_HEALTH_LISTEN={host}:{port} can't be listened on: {error.strerror}"
            ) from error
        return runner

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.json_response({"alive": True})

    async def _readyz(self, _request: web.Request) -> web.Response:
        self._monitor.look()
        ready = self._conditions.ready
        return web.json_response(
            {"ready": ready, "conditions": list(self._conditions)}, status=200 if ready else 503
        )

    async def _show_metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=exposition(self._metrics), headers={"content-type": CONTENT_TYPE})

    async def _status(self, _request: web.Request) -> web.Response:
        return web.json_response(self.status())

    def status(self) -> dict[str, Any]:
        """What `bartizan status` shows of this sidecar; holds no secret."""
        self._monitor.look()
        current, refused, probed = self._applier.current, self._applier.refused, self._applier.probed
        policy = None
        if current is not None:
            policy = {
                "policy": current.bundle.policy,
                "version": current.bundle.version,
                "revision": current.bundle.revision,
                "plan_hash": current.plan_hash,
                "confirmed_seconds_ago": round(time.monotonic() - self._applier.confirmed_at, 3),
                "listener": f"{current.bundle.listener_address}:{current.bundle.listener_port}",
                "probe": None
                if probed is None
                else {"good": probed.good, "at": probed.at, "reason": probed.reason},
            }
        return {
            "ready": self._conditions.ready,
            "conditions": list(self._conditions),
            "policy": policy,
            "refused": None
            if refused is None
            else {"version": refused.version, "reason": refused.reason, "path": refused.path},
            "workers": {"count": self._workers.count, "pids": self._workers.pids()},
            "secret_versions": dict(self._monitor.secrets),
            "key_set_versions": self._workers.key_set_versions(),
            **self._facts(),
        }
