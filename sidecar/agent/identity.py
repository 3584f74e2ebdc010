"""Who this sidecar is: a key made here, a certificate from attestation, renewed at half its life.

The key never leaves this process, except sealed: with a seal key a restart finds its identity again and needs no new
join token.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import time
from typing import NamedTuple

import grpc
import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from bartizan.errors import BartizanError, DependencyUnavailable, IdentityRefused, TrustError
from bartizan.identity import TrustDocument, WorkloadId
from bartizan.telemetry.logging import get_logger
from bartizan.tls import CertificateSource, KeyMaterial, channel_credentials, make_csr, new_key
from bartizan.xds.client import KEEPALIVE
from protos.gen.bartizan.identity.v1 import identity_pb2, identity_pb2_grpc
from sidecar.agent import conditions as names
from sidecar.agent.conditions import Conditions
from sidecar.agent.sealed import Seal
from sidecar.agent.trust import fetch_trust, read_join_token, read_pod_token, read_trust_file
from sidecar.agent.verify import verification_keys
from sidecar.settings import Settings

TIMEOUT = 5.0
LONGEST_SLEEP = 60.0
_PEM = serialization.Encoding.PEM

log = get_logger()


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What the sealed identity file holds."""

    instance_id: str
    key_pem: bytes
    chain_pem: bytes
    roots_pem: bytes
    trust: TrustDocument
    grpc: str
    expires_at: float


class _Proof(NamedTuple):
    """What attests this sidecar, where, and under which trust."""

    request: identity_pb2.AttestRequest
    trust: TrustDocument
    attest: str
    grpc: str


class Identity:
    """`source` holds the current key and certificate; `trust` and `grpc_address` are known once `obtain` returned."""

    def __init__(self, settings: Settings, seal: Seal | None, conditions: Conditions) -> None:
        self._settings = settings
        self._seal = seal
        self._conditions = conditions
        self._file = settings.state_dir / "identity.sealed"
        self.source = CertificateSource()
        self.instance_id = ""
        self.grpc_address = settings.control_plane
        self.trust: TrustDocument | None = (
            read_trust_file(settings.trust_file) if settings.trust_file is not None else None
        )
        self._ends = 0.0
        """When the certificate ends, by `_now`."""
        self._ttl = 0.0

    @property
    def left(self) -> float:
        """Seconds until the certificate ends; below 0 afterwards."""
        return self._ends - _now()

    def read_kept(self) -> bool:
        """Take the identity that a predecessor left sealed, if it is still valid; True when there is one.

        What it knew of trust is taken in any case: that lets the last good bundle be verified while nobody is there.
        """
        kept = self._open()
        if kept is None:
            return False
        self.trust = self.trust or kept.trust
        self.grpc_address = self._settings.control_plane or kept.grpc
        material = KeyMaterial(key_pem=kept.key_pem, chain_pem=kept.chain_pem, roots_pem=kept.roots_pem)
        try:
            material.check()
        except TrustError as error:
            log.warning("kept_identity_unusable", reason=str(error))
            return False
        self.instance_id = kept.instance_id
        self._ttl = (material.not_after - material.not_before).total_seconds()
        # the wall clock may be wrong, but never is there more left than a whole life
        self._ends = _now() + max(0.0, min(self._ttl, kept.expires_at - time.time()))
        self.source.replace(material)
        return True

    async def attest(self) -> None:
        """Trade the token for a certificate. Raises DependencyUnavailable, IdentityRefused or TrustError."""
        proof = await self._proof()
        key = new_key()
        request, trust = proof.request, proof.trust
        request.csr = make_csr(key)
        credentials = grpc.ssl_channel_credentials("\n".join(trust.roots).encode())
        async with grpc.aio.secure_channel(proof.attest, credentials, list(KEEPALIVE)) as channel:
            stub = identity_pb2_grpc.IdentityStub(channel)
            try:
                certificate = await stub.Attest(request, timeout=TIMEOUT)
            except grpc.aio.AioRpcError as error:
                raise _translated("attestation", error) from None
        self.trust = trust
        self.grpc_address = self._settings.control_plane or proof.grpc
        await self._take(certificate, key, trust)
        log.info("attested", instance_id=self.instance_id, spiffe_id=certificate.spiffe_id)

    async def _proof(self) -> _Proof:
        """What this sidecar may show, read anew: kubelet renews a pod's token and the trust document beside it."""
        settings = self._settings
        if settings.kubernetes_token_file is not None and settings.trust_file is not None:
            token = read_pod_token(settings.kubernetes_token_file)
            trust = read_trust_file(settings.trust_file)
            return _Proof(
                identity_pb2.AttestRequest(kubernetes_token=token),
                trust,
                settings.attest,
                settings.control_plane,
            )
        if settings.join_token_file is None:
            raise IdentityRefused(
                "there is no valid identity and no join token: set BARTIZAN_JOIN_TOKEN_FILE"
            )
        join = read_join_token(settings.join_token_file)
        known = self.trust
        if settings.trust_file is None:
            known = await fetch_trust(settings.api or join.api, join.trust)
        if known is None:
            raise TrustError("no trust document")
        request = identity_pb2.AttestRequest(join_token=join.secret)
        return _Proof(request, known, settings.attest or join.attest, join.grpc)

    async def refresh_trust(self) -> None:
        """The mounted file may be a newer trust document (a new signing key), the join token may name one."""
        try:
            newest = await self._newest_trust()
        except BartizanError as error:
            log.warning("trust_document_kept", reason=str(error))
            return
        if newest is not None and newest != self.trust:
            self.trust = newest
            log.info("trust_document_replaced")
            # at once: what is sealed from now on may be signed by a key that only this one names
            await asyncio.to_thread(self._save, self.source.current, newest)

    async def _newest_trust(self) -> TrustDocument | None:
        """None: no other one is at hand. Raises DependencyUnavailable, IdentityRefused or TrustError."""
        settings, known = self._settings, self.trust
        if known is None:
            return None
        if settings.trust_file is not None:
            newest = read_trust_file(settings.trust_file)
        elif settings.join_token_file is not None and settings.join_token_file.exists():
            token = read_join_token(settings.join_token_file)
            if token.trust == known.digest():
                return None
            newest = await fetch_trust(settings.api or token.api, token.trust)
        else:
            return None
        verification_keys(newest)
        if newest.trust_domain != known.trust_domain:
            raise TrustError(f"the trust document is of {newest.trust_domain}, not of {known.trust_domain}")
        return newest

    async def renew(self) -> None:
        """A new key and certificate for the same instance, under the newest trust document. Raises as `attest`."""
        await self.refresh_trust()
        assert self.trust is not None
        key = new_key()
        credentials = channel_credentials(self.source.current)
        async with grpc.aio.secure_channel(self.grpc_address, credentials, list(KEEPALIVE)) as channel:
            stub = identity_pb2_grpc.IdentityStub(channel)
            request = identity_pb2.RenewRequest(instance_id=self.instance_id, csr=make_csr(key))
            try:
                certificate = await stub.Renew(request, timeout=TIMEOUT)
            except grpc.aio.AioRpcError as error:
                raise _translated("renewal", error) from None
        await self._take(certificate, key, self.trust)
        log.info("identity_renewed", instance_id=self.instance_id)

    async def keep_fresh(self) -> None:
        """Until cancelled: renew at half of each certificate's life, +-10 %; sooner and sooner when that fails."""
        while True:
            await until(self._ends - self._ttl * random.uniform(0.45, 0.55))  # noqa: S311 - jitter
            try:
                await self.renew()
                self._conditions.set(names.IDENTITY_EXPIRED, holds=False)
            except BartizanError as error:
                log.warning("identity_not_renewed", reason=str(error))
                expired = self.left < 0
                self._conditions.set(names.IDENTITY_EXPIRED, holds=expired)
                if expired:
                    await self._attest_again()
                await asyncio.sleep(random.uniform(2.0, 10.0))  # noqa: S311 - jitter

    async def _attest_again(self) -> None:
        try:
            await self.attest()
            self._conditions.set(names.IDENTITY_EXPIRED, holds=False)
        except BartizanError as error:
            log.error("identity_expired", reason=str(error))

    async def _take(self, certificate: identity_pb2.Certificate, key: bytes, trust: TrustDocument) -> None:
        """Check what came before it replaces anything. Raises TrustError, IdentityRefused."""
        try:
            chain = b"".join(
                x509.load_der_x509_certificate(der).public_bytes(_PEM) for der in certificate.chain
            )
        except ValueError as error:
            raise TrustError("the issued certificate can't be read") from error
        # roots come from the trust document alone: what a peer sends as roots is not out of band
        material = KeyMaterial(key_pem=key, chain_pem=chain, roots_pem="\n".join(trust.roots).encode())
        ttl = certificate.ttl.ToMilliseconds() / 1000
        # the sidecar's clock may be wrong: check as of a moment at which the certificate is surely valid
        material.check(material.not_before + dt.timedelta(seconds=1))
        if WorkloadId.parse(material.spiffe_id).trust_domain != trust.trust_domain:
            raise IdentityRefused("the issued certificate is of another trust domain")
        if not certificate.instance_id or ttl <= 0:
            raise TrustError("the issued certificate has no instance id or no life")
        self.instance_id, self._ttl, self._ends = certificate.instance_id, ttl, _now() + ttl
        self.source.replace(material)
        await asyncio.to_thread(self._save, material, trust)

    def _save(self, material: KeyMaterial, trust: TrustDocument) -> None:
        if self._seal is None:
            return
        kept = _Kept(
            instance_id=self.instance_id,
            key_pem=material.key_pem,
            chain_pem=material.chain_pem,
            roots_pem=material.roots_pem,
            trust=trust,
            grpc=self.grpc_address,
            expires_at=time.time() + self.left,
        )
        try:
            self._seal.save(self._file, msgspec.msgpack.encode(kept))
        except OSError as error:
            log.error("identity_not_saved", reason=error.strerror)

    def _open(self) -> _Kept | None:
        if self._seal is None:
            return None
        try:
            raw = self._seal.open(self._file)
            return None if raw is None else msgspec.msgpack.decode(raw, type=_Kept)
        except (TrustError, msgspec.MsgspecError) as error:
            log.error("kept_identity_unreadable", reason=str(error))
            return None


async def until(moment: float) -> None:
    """Wait for a moment by `_now`, in short steps: sleep is by a clock that stands still while the machine is suspended."""
    while True:
        left = moment - _now()
        if left <= 0:
            return
        await asyncio.sleep(min(left, LONGEST_SLEEP))


def _now() -> float:
    """Seconds that nobody sets and that go on while the machine sleeps: when to renew does not follow the wall clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _translated(what: str, error: grpc.aio.AioRpcError) -> BartizanError:
    code = error.code()
    if code in {
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.INVALID_ARGUMENT,
    }:
        return IdentityRefused(f"{what} refused: {code.name.lower()}")
    return DependencyUnavailable(f"{what}: {code.name.lower()}")
