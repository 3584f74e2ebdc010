"""`bartizan injector`: the webhooks alone, without a control plane, under a CA of their own.

Of policies it knows those that are objects of the cluster; others need the webhooks of the control plane.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bartizan import tasks
from bartizan.errors import BartizanError
from bartizan.telemetry.logging import get_logger
from bartizan.telemetry.metrics import WEBHOOK_CERTIFICATE_ENDS
from bartizan.tls import CertificateSource, KeyMaterial
from control_plane.api.metrics import metrics_application
from control_plane.injector.authority import LIFE, own_material
from control_plane.injector.cluster import ClusterPolicies, GuardedPods, Namespaces
from control_plane.injector.config import check_exempt, load_config
from control_plane.injector.upkeep import Upkeep
from control_plane.injector.webhook import Webhook
from control_plane.kubernetes.api_server import connect
from control_plane.listening import listen_http
from control_plane.setting_values import Address

SETTLE_SECONDS: Final = 10.0
"""Between writing a new root and serving under it: API servers take a changed configuration in by watching it."""
LONGEST_SLEEP: Final = 60.0

log = get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Standalone:
    """kubernetes: "in-cluster" or a kubeconfig; namespace: our own; hosts: names under which the API server comes."""

    config: Path
    kubernetes: str
    listen: Address
    namespace: str
    hosts: Sequence[str]
    metrics: Address | None = None
    life: dt.timedelta = LIFE


async def run(settings: Standalone, stop: asyncio.Event) -> None:
    """Until `stop`. Raises InvalidInput or DependencyRefused when it can't start."""
    config = load_config(settings.config)
    check_exempt(config, settings.namespace, str(settings.config))
    if config.placeholder:
        log.warning("image_is_placeholder", config=str(settings.config))
    source = CertificateSource(_material(settings.hosts, settings.life))
    async with connect(settings.kubernetes) as server, AsyncExitStack() as edge, tasks.Group() as group:
        upkeep = Upkeep(server, config, lambda: source.current.roots_pem, None)
        webhook = Webhook(
            config,
            Namespaces(server),
            ClusterPolicies(server),
            GuardedPods(server),
            ready=lambda: upkeep.published,
        )
        port = await listen_http(edge, webhook.application(), "webhook", settings.listen, source)
        if settings.metrics is not None:
            await listen_http(edge, metrics_application(), "metrics", settings.metrics, None)
        log.info("injector_listening", port=port)
        running = [
            tasks.start(group, upkeep.run(), name="upkeep"),
            tasks.start(group, rotate(source, settings.hosts, settings.life, upkeep), name="rotation"),
        ]
        await stop.wait()
        await tasks.cancel(*running)


async def rotate(source: CertificateSource, hosts: Sequence[str], life: dt.timedelta, upkeep: Upkeep) -> None:
    """A new CA and certificate at half of each life; served only once the API server trusts the new CA."""
    WEBHOOK_CERTIFICATE_ENDS.set(_ends(source.current))
    pause = min(SETTLE_SECONDS, life.total_seconds() / 20)
    while True:
        await _until(_ends(source.current) - life.total_seconds() * random.uniform(0.45, 0.55))  # noqa: S311 - jitter
        material = _material(hosts, life)
        while True:
            if _ends(material) - time.time() < life.total_seconds() / 2:
                material = _material(
                    hosts, life
                )  # an API server that was away for days: this one is old already
            try:
                await upkeep.publish(material.roots_pem)
                break
            except BartizanError as error:
                log.warning("webhook_certificate_not_renewed", reason=str(error))
                await asyncio.sleep(pause)
        await asyncio.sleep(pause)
        source.replace(material)
        WEBHOOK_CERTIFICATE_ENDS.set(_ends(material))
        log.info("webhook_certificate_renewed")


async def _until(moment: float) -> None:
    while True:
        left = moment - time.time()
        if left <= 0:
            return
        # In short steps: sleep is by a clock that stands still while the machine is suspended.
        await asyncio.sleep(min(left, LONGEST_SLEEP))


def _material(hosts: Sequence[str], life: dt.timedelta) -> KeyMaterial:
    return own_material(hosts, dt.datetime.now(dt.UTC), life)


def _ends(material: KeyMaterial) -> float:
    return material.not_after.timestamp()
