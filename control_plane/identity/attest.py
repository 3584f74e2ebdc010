"""Who may have a certificate: join tokens are traded once for an instance id, pods' tokens for one instance each, known
instances may renew.

Transport-free; attest_service.py is the gRPC shell.
"""

from __future__ import annotations

import datetime as dt
import time
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from bartizan.errors import DependencyUnavailable, Forbidden, IdentityRefused
from bartizan.identity import WorkloadId, secret_hash
from control_plane.identity.issuer import Issued, Issuer
from control_plane.identity.projected import Bound, PodTokens, check_shape
from control_plane.identity.x509_profiles import subject_key
from control_plane.store.base import AdminEvent, InstanceRow, Store, Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Attested:
    """A certificate and whose it is."""

    spiffe_id: str
    instance_id: str
    issued: Issued


class PeerLimit:
    """A token bucket per peer address, for a bounded number of addresses (least recently seen go first)."""

    def __init__(
        self, *, rate: float, burst: float, addresses: int = 4096, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate, self._burst, self._most, self._clock = rate, burst, addresses, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def admit(self, address: str) -> bool:
        now = self._clock()
        level, since = self._buckets.pop(address, (self._burst, now))
        level = min(self._burst, level + (now - since) * self._rate)
        admitted = level >= 1.0
        self._buckets[address] = (level - 1.0 if admitted else level, now)
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        return admitted

    def give_back(self, address: str) -> None:
        """What was admitted was good: a fleet behind one address is not slowed down, guessing is."""
        level, since = self._buckets.get(address, (self._burst, self._clock()))
        self._buckets[address] = (min(self._burst, level + 1.0), since)


async def _nobody_to_tell(_instance_id: str) -> None:
    return


class Attestor:
    """Attestation and renewal over the store and the issuer.

    trust_domain and pods are needed for pods' tokens; removed is told of instances whose pod has attested anew.
    """

    def __init__(
        self,
        store: Store,
        issuer: Issuer,
        *,
        certificate_life: dt.timedelta = dt.timedelta(hours=1),
        clock: Callable[[], float] = time.time,
        trust_domain: str = "",
        pods: PodTokens | None = None,
        removed: Callable[[str], Awaitable[None]] = _nobody_to_tell,
    ) -> None:
        self._store = store
        self._issuer = issuer
        self._life = certificate_life
        self._clock = clock
        self._trust_domain = trust_domain
        self._pods = pods
        self._removed = removed

    async def attest(self, join_token: str, csr_der: bytes, *, peer: str) -> Attested:
        """Spend the token. A bad request or a missing issuer leaves it unspent: all or nothing.

        Raises IdentityRefused (unknown, used or expired token: never says which), InvalidInput, DependencyError.
        """
        subject_key(csr_der)
        if not self._issuer.ready:
            raise DependencyUnavailable("no issuer at present", retry_after=5.0)
        async with self._store.begin() as work:
            now = await work.now()  # which the replica that made the token asked, too
            token = await work.join_tokens.spend(secret_hash(join_token), at=now)
            if token is None:
                raise IdentityRefused("the join token is unknown, used or expired")
            return await self._admit(work, token.spiffe_id, token.labels, csr_der, peer=peer, now=now)

    async def attest_pod(self, token: str, csr_der: bytes, *, peer: str) -> Attested:
        """For the token that kubelet projected into a pod. Its container may have started again: one pod is one instance.

        Raises IdentityRefused, InvalidInput, DependencyError.
        """
        subject_key(csr_der)
        if self._pods is None:
            raise IdentityRefused("Kubernetes tokens are not accepted here")
        if not self._issuer.ready:
            raise DependencyUnavailable("no issuer at present", retry_after=5.0)
        check_shape(token)
        pod = await self._pods.pod(token)
        bound, now = pod.bound, self._clock()
        spiffe_id = str(
            WorkloadId(
                trust_domain=self._trust_domain,
                namespace=bound.namespace,
                service_account=bound.service_account,
            )
        )
        async with self._store.begin() as work:
            earlier = await work.instances.of_pod(bound.pod_uid)
            for row in earlier:
                await work.instances.remove(row.instance_id, at=now)
            attested = await self._admit(
                work, spiffe_id, pod.labels, csr_der, peer=peer, now=now, bound=bound
            )
        for row in earlier:
            await self._removed(row.instance_id)
        return attested

    async def _admit(
        self,
        work: Work,
        spiffe_id: str,
        labels: Mapping[str, str],
        csr_der: bytes,
        *,
        peer: str,
        now: float,
        bound: Bound | None = None,
    ) -> Attested:
        instance_id = uuid.uuid4().hex
        issued = self._issuer.issue(csr_der, spiffe_id, self._life)
        await work.instances.add(
            InstanceRow(
                instance_id=instance_id,
                spiffe_id=spiffe_id,
                namespace=WorkloadId.parse(spiffe_id).namespace,
                labels=labels,
                created_at=now,
                pod_name=bound.pod_name if bound else "",
                pod_uid=bound.pod_uid if bound else "",
            )
        )
        await work.events.record(
            AdminEvent(
                time=now,
                actor=spiffe_id,
                act="instance.attest",
                target=instance_id,
                detail={"pod": bound.pod_name, "pod_uid": bound.pod_uid} if bound else {},
                peer=peer,
            )
        )
        return Attested(spiffe_id=spiffe_id, instance_id=instance_id, issued=issued)

    async def renew(self, instance_id: str, csr_der: bytes, *, spiffe_id: str) -> Attested:
        """A new certificate for the TLS peer `spiffe_id`.

        Raises Forbidden when the instance is unknown, removed or somebody else's, InvalidInput, DependencyError.
        """
        subject_key(csr_der)
        async with self._store.begin() as work:
            instance = await work.instances.get(instance_id)
        if instance is None or instance.removed_at is not None or instance.spiffe_id != spiffe_id:
            raise Forbidden("no such instance of this identity")
        issued = self._issuer.issue(csr_der, spiffe_id, self._life)
        return Attested(spiffe_id=spiffe_id, instance_id=instance_id, issued=issued)
