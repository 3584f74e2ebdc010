"""Vault and OpenBao through hvac: the only module that knows them. See base.py for the port.

hvac is synchronous, without retries, and its errors carry neither status nor headers: calls.py runs it in a small
pool of threads with a deadline, and `_Adapter` keeps status and Retry-After.
"""

from __future__ import annotations

import asyncio
import base64
import random
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import hvac
import hvac.exceptions
import requests
from hvac.adapters import JSONAdapter

from bartizan import tasks
from bartizan.errors import BartizanError, Conflict, DependencyUnavailable, NotFound
from bartizan.telemetry.logging import get_logger
from control_plane.secrets.base import Health, SecretMetadata, SecretVersion
from control_plane.secrets.calls import Answered, Calls
from control_plane.secrets.flights import Flights

log = get_logger()

_CANARY = "bartizan/canary"


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultSettings:
    """Where Vault is and how patient we are. Seconds everywhere."""

    address: str
    token_file: Path
    ca_file: Path | None = None
    kv: str = "bartizan-kv"
    pki: str = "bartizan-pki"
    transit: str = "bartizan-transit"
    deadline: float = 2.0
    concurrency: int = 8
    health_interval: float = 10.0


class _Adapter(JSONAdapter):  # type: ignore[misc,unused-ignore]
    """Keeps what hvac's own errors lose, and never follows a redirect with our token."""

    def _raise_for_error(self, method: str, url: str, response: requests.Response) -> NoReturn:
        del method, url
        wait = response.headers.get("Retry-After", "")
        cas_lost = response.status_code == 400 and "check-and-set" in response.text[:4096]
        raise Answered(response.status_code, float(wait) if wait.isdecimal() else None, cas_lost)

    def request(self, *args: Any, **kwargs: Any) -> Any:
        answer = super().request(*args, **kwargs)
        if isinstance(answer, requests.Response) and answer.status_code >= 300:
            self._raise_for_error("", "", answer)
        return answer


class Vault:
    """The adapter. `run()` is the background part (token renewal, health); calls work without it."""

    def __init__(self, settings: VaultSettings) -> None:
        self._settings = settings
        self._calls = Calls(
            deadline=settings.deadline,
            concurrency=settings.concurrency,
            new_credential=self._reread_token,
            misshapen=(hvac.exceptions.VaultError,),
        )
        self._flights = Flights()
        self._health = Health(healthy=False, reason="not_checked", checked_at=0.0)
        verify: bool | str = str(settings.ca_file) if settings.ca_file else True
        self._session = requests.Session()
        self._session.verify = verify
        self._session.trust_env = False  # no proxies, no .netrc: the address is what the operator set
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, requests.adapters.HTTPAdapter(pool_maxsize=settings.concurrency))
        self._client = hvac.Client(
            url=settings.address,
            token=_read_token(settings.token_file),
            session=self._session,
            timeout=settings.deadline,  # type: ignore[arg-type]  # the stub says int, requests takes float
            allow_redirects=False,
            adapter=_Adapter,
        )
        self._kv: Any = self._client.secrets.kv.v2  # hvac has type stubs for parts only
        self._pki: Any = self._client.secrets.pki
        self._transit: Any = self._client.secrets.transit

    @property
    def healthy(self) -> bool:
        return self._health.healthy

    @property
    def health(self) -> Health:
        return self._health

    async def close(self) -> None:
        """Give up connections; threads that still wait for a hung server end at their own timeout."""
        self._session.close()
        self._calls.close()

    async def run(self) -> None:
        """Renew the token at half its life and check health until cancelled."""
        async with tasks.Group() as group:
            group.create_task(self._keep_token(), name="vault-token")
            group.create_task(self._watch_health(), name="vault-health")

    async def kv_read(self, path: str, version: int | None = None) -> SecretVersion:
        def work() -> SecretVersion:
            answer = self._kv.read_secret_version(
                path, version=version, mount_point=self._settings.kv, raise_on_deleted_version=True
            )
            data = answer["data"]
            return SecretVersion(version=data["metadata"]["version"], data=data["data"])

        return await self._flights.share(
            ("kv", path, version), lambda: self._calls.run("kv_read", work, safe=True)
        )

    async def kv_write(self, path: str, data: Mapping[str, str], cas: int) -> int:
        def work() -> int:
            answer = self._kv.create_or_update_secret(
                path, dict(data), cas=cas, mount_point=self._settings.kv
            )
            return int(answer["data"]["version"])

        try:
            return await self._calls.run("kv_write", work)
        finally:  # a read that started before this write must not answer for one that starts after it
            self._flights.forget(lambda key: key[:2] in {("kv", path), ("meta", path)})

    async def kv_metadata(self, path: str) -> SecretMetadata:
        def work() -> SecretMetadata:
            answer = self._kv.read_secret_metadata(path, mount_point=self._settings.kv)
            versions = {int(number): about for number, about in answer["data"]["versions"].items()}
            return SecretMetadata(
                current_version=answer["data"]["current_version"],
                versions=tuple(sorted(versions)),
                destroyed=frozenset(number for number, about in versions.items() if about["destroyed"]),
            )

        return await self._flights.share(
            ("meta", path), lambda: self._calls.run("kv_metadata", work, safe=True)
        )

    async def kv_destroy(self, path: str, version: int) -> None:
        def work() -> None:
            self._kv.destroy_secret_versions(path, [version], mount_point=self._settings.kv)

        await self._calls.run("kv_destroy", work, safe=True)

    async def transit_sign(self, key: str, data: bytes, key_version: int | None = None) -> bytes:
        def work() -> bytes:
            answer = self._transit.sign_data(
                key,
                base64.b64encode(data).decode(),
                key_version=key_version,
                mount_point=self._settings.transit,
            )
            _, _, encoded = answer["data"]["signature"].split(":", 2)
            signature = base64.b64decode(encoded, validate=True)
            if len(signature) != 64:
                raise ValueError("not an Ed25519 signature")
            return signature

        return await self._calls.run("transit_sign", work, safe=True)

    async def transit_public_keys(self, key: str) -> Mapping[int, bytes]:
        def work() -> Mapping[int, bytes]:
            answer = self._transit.read_key(key, mount_point=self._settings.transit)
            if answer["data"]["type"] != "ed25519":
                raise ValueError("not an Ed25519 key")
            return {
                int(number): base64.b64decode(about["public_key"], validate=True)
                for number, about in answer["data"]["keys"].items()
            }

        return await self._flights.share(
            ("transit", key), lambda: self._calls.run("transit_public_keys", work, safe=True)
        )

    async def pki_sign_intermediate(
        self, csr_pem: str, common_name: str, ttl_seconds: int
    ) -> tuple[str, ...]:
        def work() -> tuple[str, ...]:
            # use_csr_values is the only way to a URI name constraint: sign-intermediate has parameters for DNS names
            # only, but takes over the extensions that the CSR asks for.
            answer = self._pki.sign_intermediate(
                csr_pem,
                common_name,
                extra_params={
                    "ttl": f"{ttl_seconds}s",
                    "max_path_length": 0,
                    "use_csr_values": True,
                    "not_before_duration": "300s",  # clocks differ
                },
                mount_point=self._settings.pki,
            )
            root = self._pki.read_certificate("ca", mount_point=self._settings.pki)
            certificate, root_pem = answer["data"]["certificate"], root["data"]["certificate"].strip()
            above = [pem.strip() for pem in answer["data"].get("ca_chain") or []]
            return (
                certificate.strip(),
                *(pem for pem in above if pem not in {certificate.strip(), root_pem}),
            )

        return await self._calls.run("pki_sign_intermediate", work)

    async def pki_root_pem(self) -> str:
        def work() -> str:
            answer = self._pki.read_certificate("ca", mount_point=self._settings.pki)
            return str(answer["data"]["certificate"])

        return await self._flights.share(("root",), lambda: self._calls.run("pki_root", work, safe=True))

    async def renew_self(self) -> float:
        def work() -> float:
            return float(self._client.auth.token.renew_self()["auth"]["lease_duration"])

        return await self._calls.run("renew_self", work, safe=True)

    async def check(self) -> Health:
        """One canary write and read within one deadline."""
        reason = ""
        try:
            async with tasks.timeout(self._settings.deadline):
                await self._canary()
        except TimeoutError:
            reason = "timeout"
        except DependencyUnavailable:
            reason = "unavailable"
        except (BartizanError, ValueError):
            reason = "refused"
        if reason != self._health.reason:
            log.warning("vault_health_changed", reason=reason or "healthy")
        self._health = Health(healthy=not reason, reason=reason, checked_at=time.time())
        return self._health

    async def _canary(self) -> None:
        try:
            current = (await self.kv_metadata(_CANARY)).current_version
        except NotFound:
            current = 0
        nonce = secrets.token_hex(8)
        try:
            version = await self.kv_write(_CANARY, {"nonce": nonce}, current)
        except Conflict:
            return  # another replica wrote in between: Vault took a write and answered
        if (await self.kv_read(_CANARY, version)).data.get("nonce") != nonce:
            raise DependencyUnavailable("Vault did not give back what it stored")

    async def _watch_health(self) -> None:
        while True:
            await self.check()
            await asyncio.sleep(self._settings.health_interval)

    async def _keep_token(self) -> None:
        delay = 0.0
        while True:
            await asyncio.sleep(delay)
            try:
                life = await self.renew_self()
            except BartizanError as error:
                log.warning("vault_token_not_renewed", reason=str(error))
                delay = random.uniform(1.0, 10.0)  # noqa: S311 - jitter, not a secret
            else:
                delay = max(1.0, life * random.uniform(0.45, 0.55))  # noqa: S311

    def _reread_token(self) -> bool:
        """True when the token file holds another token than the one we use: its owner replaced it."""
        token = _read_token(self._settings.token_file)
        changed = bool(token) and token != self._client.token
        if changed:
            self._client.token = token
        return changed


def _read_token(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
