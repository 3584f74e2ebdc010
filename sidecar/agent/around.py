"""Whether anything but Envoy answers at the pod's own address: asked every few seconds, in Kubernetes only.

The policy can only speak for what comes through the listener. With capture `port` nothing may take a connection but on
loopback: neither at the model's port nor at any other that the pod listens on (listening.py), for nobody can tell what
answers there. With `redirect` the kernel leads every such connection to Envoy, which shows its certificate or its
decision. A NetworkPolicy can't be seen from inside of the pod, so it does not count here.
"""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from bartizan import tasks
from bartizan.policy.bundle import Bundle
from bartizan.policy.names import CLUSTER_MODEL, HEADER_DECISION
from bartizan.telemetry.logging import get_logger
from sidecar.agent import conditions as names
from sidecar.agent import listening
from sidecar.agent.apply import Applier
from sidecar.agent.conditions import Conditions
from sidecar.agent.lean_aiohttp import aiohttp
from sidecar.pod_settings import Capture
from sidecar.settings import Settings

TIMEOUT = 2.0
EVERY = 10.0
AT_ONCE = 16
LOOK_EVERY = 0.5
_UNASKED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""This process, or the machine, had nothing left to ask with."""

log = get_logger()


class AroundWatch:
    """Keeps two conditions true: reachable around, and not looked yet. The ledger takes neither for enforcement."""

    def __init__(self, settings: Settings, applier: Applier, conditions: Conditions) -> None:
        self._addresses = settings.pod_ips
        self._capture = settings.capture
        self._health_port = settings.health_port
        self._excluded = settings.open_ports
        self._applier = applier
        self._conditions = conditions
        self._open: tuple[int, ...] = ()
        conditions.set(names.MODEL_UNCHECKED_AROUND, holds=bool(settings.capture))

    @property
    def shown(self) -> dict[str, Any]:
        """For /status: ports that answer around Envoy, and those that are left open on purpose, with the reason."""
        return {
            "open_ports": list(self._open),
            "excluded_ports": {str(port): why for port, why in self._excluded.items()},
        }

    async def run(self) -> None:
        """Until cancelled; ends at once outside of Kubernetes."""
        looked_at: object = None
        due = 0.0
        while self._capture and self._addresses:
            current = self._applier.current
            if current is not None and (time.monotonic() >= due or looked_at != current.bundle.version):
                leaf = current.pair.leaf_sha256 if current.pair else None
                await self._note(current.bundle, leaf)
                looked_at, due = current.bundle.version, time.monotonic() + EVERY
            await asyncio.sleep(LOOK_EVERY)

    async def _note(self, bundle: Bundle, leaf_sha256: bytes | None) -> None:
        ours = {bundle.listener_port, self._health_port}
        model, passed = model_ports(bundle), ours | self._excluded.keys()
        try:
            sockets = await asyncio.to_thread(listening.read)
            found = await self._answering(targets(sockets, self._addresses, model, passed), leaf_sha256)
        except (OSError, ValueError) as error:
            # What can't be looked at is not taken for closed.
            log.warning("sockets_unreadable", reason=type(error).__name__)
            self._conditions.set(names.MODEL_UNCHECKED_AROUND, holds=True)
            return
        if found and found != self._open:
            log.warning("model_reachable_around", ports=found)
        self._open = found
        self._conditions.set(names.MODEL_REACHABLE_AROUND, holds=bool(found))
        self._conditions.set(names.MODEL_UNCHECKED_AROUND, holds=False)

    async def _answering(self, targets: set[tuple[str, int]], leaf_sha256: bytes | None) -> tuple[int, ...]:
        places = asyncio.Semaphore(AT_ONCE)

        async def ask(address: str, port: int) -> int:
            async with places:
                return port if await reachable_around(address, port, leaf_sha256, self._capture) else 0

        answers = await asyncio.gather(*(ask(*each) for each in sorted(targets)))
        return tuple(sorted({port for port in answers if port}))


def targets(
    sockets: Iterable[listening.Listening],
    addresses: Iterable[str],
    model: AbstractSet[int],
    passed: AbstractSet[int],
) -> set[tuple[str, int]]:
    """Where to ask: the model's ports at every address in any case, and whatever else listens but on `passed` ports."""
    own = tuple(addresses)
    others = listening.beyond_loopback(sockets, own)
    return {(each, port) for each in own for port in model} | {
        (address, port) for address, port in others if port not in passed
    }


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
    """True when something else than our Envoy takes the connection. leaf_sha256: what Envoy serves, None for HTTP.

    Raises OSError when there is no descriptor or memory left to ask with.
    """
    try:
        async with tasks.timeout(TIMEOUT):
            _, writer = await asyncio.open_connection(address, port)
    except (OSError, TimeoutError) as error:
        if isinstance(error, OSError) and error.errno in _UNASKED:
            raise
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
