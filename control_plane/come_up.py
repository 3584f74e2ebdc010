"""Waiting for Vault at the first start: until there is an issuing certificate and the verification keys are known."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from bartizan.errors import BartizanError, DependencyUnavailable
from bartizan.telemetry.logging import get_logger
from control_plane.identity.issuer import Issuer
from control_plane.push.sign import TransitSigner

_log = get_logger()


async def come_up(issuer: Issuer, signer: TransitSigner, waits_for: Callable[[str], None]) -> None:
    """waits_for is told the reason each time that it could not be had."""
    pause, said = 0.2, ""
    while True:
        try:
            await issuer.start()
            await signer.refresh()
            return
        except DependencyUnavailable as error:
            reason, why = "vault_unavailable", str(error)
        except BartizanError as error:
            reason, why = "vault_refused", str(error)
        if said != reason:
            _log.warning("waiting_for_vault", reason=why)
        said = reason
        waits_for(reason)
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
        pause = min(pause * 2, 5.0)
