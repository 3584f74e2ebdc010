"""The active probe: a request through the real listener that the policy must deny, answered with a proof of the plan.

It connects over loopback, sees the certificate that clients see, and checks that the guard behind this listener runs
exactly this plan. Nothing else in this process believes that a policy is enforced, or that a listener is gone.
"""

from __future__ import annotations

import asyncio
import errno
import hmac
import ipaddress
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from bartizan import tasks
from bartizan.errors import ResourceRejected
from bartizan.policy.bundle import Bundle
from bartizan.policy.names import HEADER_PROBE, HEADER_PROOF
from sidecar.agent.lean_aiohttp import aiohttp
from sidecar.plan.probe import Phase, Probe, probe_header, proof

# no JSON format can read this, and an opaque one does not try
BODY = b'{"probe":'
TIMEOUT = 3.0
_NOBODY = frozenset({errno.ECONNREFUSED, errno.EADDRNOTAVAIL, errno.ENETUNREACH, errno.EHOSTUNREACH})
"""Nobody listens, or the address is none of this machine's. Other errors, such as no descriptor left, say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """`reason` is a constant word when it is not good; `at` in seconds since the epoch."""

    good: bool
    at: float
    reason: str = ""
    trace_id: str = ""


class Prober:
    """Holds the key that agent and workers share; a new one for every agent process."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.path = f"/bartizan-probe/{secrets.token_hex(16)}"
        """Secret, so that nobody else's request can be taken for a probe where only the path is known."""

    async def probe(self, bundle: Bundle, plan_hash: str, leaf_sha256: bytes | None) -> ProbeResult:
        """Every way that a request may take. leaf_sha256: the certificate that must be served, None for plain HTTP."""
        reason = ""
        # a new connection each time: what is proven is what a new client gets
        connector = aiohttp.TCPConnector(force_close=True, local_addr=_local(bundle.listener_address))
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, auto_decompress=False
        ) as session:
            for phase, body in _ways(bundle):
                reason = await self._ask(session, bundle, plan_hash, leaf_sha256, phase, body)
                if reason:
                    break
        return ProbeResult(good=not reason, at=time.time(), reason=reason)

    async def closed(self, bundle: Bundle, within: float) -> None:
        """Wait until nothing takes a connection at its listener any more: Envoy ACKs before all its threads have closed
        the port. Raises ResourceRejected after `within` seconds.
        """
        end = time.monotonic() + within
        while await _open(bundle.listener_address, bundle.listener_port):
            if time.monotonic() > end:
                raise ResourceRejected("listener_still_open")
            await asyncio.sleep(0.01)

    async def _ask(
        self,
        session: aiohttp.ClientSession,
        bundle: Bundle,
        plan_hash: str,
        leaf_sha256: bytes | None,
        phase: Phase,
        body: bytes | aiohttp.AsyncIterablePayload,
    ) -> str:
        asked = Probe(nonce=secrets.token_hex(16), phase=phase)
        scheme = "http" if leaf_sha256 is None else "https"
        url = f"{scheme}://{_target(bundle.listener_address)}:{bundle.listener_port}{self.path}"
        try:
            async with session.post(
                url,
                data=body,
                headers={
                    HEADER_PROBE: probe_header(self._key, asked.nonce, phase),
                    "content-type": "application/json",
                },
                # the pin replaces chain and name checks: what must be served is known to the byte
                ssl=True if leaf_sha256 is None else aiohttp.Fingerprint(leaf_sha256),
                allow_redirects=False,
            ) as response:
                given = response.headers.get(HEADER_PROOF, "")
                status = response.status
        except aiohttp.ServerFingerprintMismatch:
            return "wrong_certificate"
        except TimeoutError:
            return "timeout"
        except (aiohttp.ClientError, OSError):
            return "no_connection"
        if not given:
            return f"no_proof_{phase}_status_{status}"
        if not hmac.compare_digest(given, proof(self._key, asked, plan_hash)):
            return f"wrong_proof_{phase}"
        return ""


def _ways(bundle: Bundle) -> list[tuple[Phase, bytes | aiohttp.AsyncIterablePayload]]:
    """Which hop must deny which request. A body of unannounced length never comes with the ext_authz call."""
    ways: list[tuple[Phase, bytes | aiohttp.AsyncIterablePayload]] = [("authz", BODY)]
    if bundle.content_hop:
        ways.append(("content", BODY))
    if bundle.body_in_check:
        ways.append(("content", aiohttp.AsyncIterablePayload(_unannounced())))
    return ways


async def _unannounced() -> AsyncIterator[bytes]:
    yield BODY


def _target(address: str) -> str:
    parsed = ipaddress.ip_address(address)
    if parsed.is_unspecified:
        return "[::1]" if parsed.version == 6 else "127.0.0.1"
    return f"[{address}]" if parsed.version == 6 else address


async def _open(address: str, port: int) -> bool:
    host = _local(address)[0] if ipaddress.ip_address(address).is_unspecified else address
    try:
        async with tasks.timeout(TIMEOUT):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return True  # somebody listens, and does not come to it
    except OSError as error:
        return error.errno not in _NOBODY
    writer.close()
    return True


def _local(address: str) -> tuple[str, int]:
    """The probe is admitted from loopback only, also when the listener has another address of this machine."""
    return ("::1", 0) if ipaddress.ip_address(address).version == 6 else ("127.0.0.1", 0)
