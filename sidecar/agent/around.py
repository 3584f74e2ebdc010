"""Whether the model answers at the pod's own address, around Envoy: asked every few seconds, in Kubernetes only.

The policy can only speak for what comes through the listener. With capture `port` nothing may answer at the model's
port but on loopback; with `redirect` the kernel leads every such connection to Envoy, which shows its certificate or
its decision. A NetworkPolicy can't be seen from inside of the pod, so it does not count here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import aiohttp

from bartizan.policy.bundle import Bundle
from bartizan.policy.names import CLUSTER_MODEL, HEADER_DECISION
from bartizan.telemetry.logging import get_logger
from sidecar.agent import conditions as names
from sidecar.agent.apply import Applier
from sidecar.agent.conditions import Conditions
from sidecar.pod_settings import Capture

TIMEOUT = 2.0
EVERY = 10.0
LOOK_EVERY = 0.5

log = get_logger()


class AroundWatch:
    """Keeps two conditions true: reachable around, and not looked yet. The ledger takes neither for enforcement."""

    def __init__(
        self, addresses: tuple[str, ...], capture: Capture, applier: Applier, conditions: Conditions
    ) -> None:
        self._addresses = addresses
        self._capture = capture
        self._applier = applier
        self._conditions = conditions
        conditions.set(names.MODEL_UNCHECKED_AROUND, holds=bool(capture))

    async def run(self) -> None:
        """Until cancelled; ends at once outside of Kubernetes."""
        looked_at: object = None
        due = 0.0
        while self._capture and self._addresses:
            current = self._applier.current
            if current is not None and (time.monotonic() >= due or looked_at != current.bundle.version):
                leaf = current.pair.leaf_sha256 if current.pair else None
                reachable = await self._look(current.bundle, leaf)
                if reachable and names.MODEL_REACHABLE_AROUND not in self._conditions:
                    log.warning("model_reachable_around", ports=sorted(model_ports(current.bundle)))
                self._conditions.set(names.MODEL_REACHABLE_AROUND, holds=reachable)
                self._conditions.set(names.MODEL_UNCHECKED_AROUND, holds=False)
                looked_at, due = current.bundle.version, time.monotonic() + EVERY
            await asyncio.sleep(LOOK_EVERY)

    async def _look(self, bundle: Bundle, leaf_sha256: bytes | None) -> bool:
        checks = [
            reachable_around(address, port, leaf_sha256, self._capture)
            for address in self._addresses
            for port in sorted(model_ports(bundle))
        ]
        return any(await asyncio.gather(*checks))


def model_ports(bundle: Bundle) -> frozenset[int]:
    """The ports on which Envoy reaches the model."""
    return frozenset(
        _port(endpoint["endpoint"]["address"])
        for cluster in bundle.envoy.clusters
        if cluster.get("name") == CLUSTER_MODEL
        for locality in cluster["load_assignment"]["endpoints"]
        for endpoint in locality["lb_endpoints"]
    )


async def reachable_around(address: str, port: int, leaf_sha256: bytes | None, capture: Capture) -> bool:
    """True when something else than our Envoy takes the connection. leaf_sha256: what Envoy serves, None for HTTP."""
    try:
        async with asyncio.timeout(TIMEOUT):
            _, writer = await asyncio.open_connection(address, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return capture == "port" or not await _is_envoy(address, port, leaf_sha256)


async def _is_envoy(address: str, port: int, leaf_sha256: bytes | None) -> bool:
    host = f"[{address}]" if ":" in address else address
    url = f"{'http' if leaf_sha256 is None else 'https'}://{host}:{port}/"
    try:
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(force_close=True),
                timeout=aiohttp.ClientTimeout(total=TIMEOUT),
                auto_decompress=False,
            ) as session,
            session.get(
                url,
                ssl=True if leaf_sha256 is None else aiohttp.Fingerprint(leaf_sha256),
                allow_redirects=False,
            ) as response,
        ):
            return HEADER_DECISION in response.headers
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
        return False


def _port(address: Mapping[str, Any]) -> int:
    return int(address["socket_address"]["port_value"])
