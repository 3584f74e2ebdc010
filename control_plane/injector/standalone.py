"""`bartizan injector`: the webhooks alone, without a control plane, under a CA of their own.

Of policies it knows those that are objects of the cluster; others need the webhooks of the control plane.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from bartizan import tasks
from bartizan.errors import BartizanError
from bartizan.telemetry.logging import get_logger
from bartizan.tls import CertificateSource
from control_plane.injector.authority import LIFE, own_material
from control_plane.injector.cluster import ClusterPolicies, Namespaces
from control_plane.injector.config import load_config
from control_plane.injector.upkeep import Upkeep
from control_plane.injector.webhook import Webhook
from control_plane.kubernetes.api_server import connect
from control_plane.listening import listen_http
from control_plane.settings import Address

log = get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Standalone:
    """kubernetes: "in-cluster" or a kubeconfig; hosts: names under which the API server comes."""

    config: Path
    kubernetes: str
    listen: Address
    hosts: Sequence[str]
    life: dt.timedelta = LIFE


async def run(settings: Standalone, stop: asyncio.Event) -> None:
    """Until `stop`. Raises InvalidInput or DependencyRefused when it can't start."""
    config = load_config(settings.config)
    source = CertificateSource(own_material(settings.hosts, dt.datetime.now(dt.UTC), settings.life))
    async with connect(settings.kubernetes) as server, AsyncExitStack() as edge, asyncio.TaskGroup() as group:
        upkeep = Upkeep(server, config, lambda: source.current.roots_pem, None)
        app = Webhook(config, Namespaces(server), ClusterPolicies(server)).application()
        port = await listen_http(edge, app, "webhook", settings.listen, source)
        log.info("injector_ready", port=port)
        running = [
            tasks.start(group, upkeep.run(), name="upkeep"),
            tasks.start(group, rotate(source, settings.hosts, settings.life, upkeep), name="rotation"),
        ]
        await stop.wait()
        await tasks.cancel(*running)


async def rotate(source: CertificateSource, hosts: Sequence[str], life: dt.timedelta, upkeep: Upkeep) -> None:
    """A new CA and certificate at half of each life; served only once the API server trusts the new CA."""
    while True:
        await asyncio.sleep(life.total_seconds() * random.uniform(0.45, 0.55))  # noqa: S311 - jitter
        material = own_material(hosts, dt.datetime.now(dt.UTC), life)
        while True:
            try:
                await upkeep.publish(material.roots_pem)
                break
            except BartizanError as error:
                log.warning("webhook_certificate_not_renewed", reason=str(error))
                await asyncio.sleep(min(10.0, life.total_seconds() / 20))
        source.replace(material)
        log.info("webhook_certificate_renewed")
