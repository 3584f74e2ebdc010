"""The issuing CA of this replica: an intermediate in memory, signed by Vault's PKI, so that issuing needs no Vault call.

It issues workload certificates, the control plane's own server certificate, and signs key sets with the latter's key.
While Vault is away everything goes on until the intermediate ends (24 h, renewed at half of it).
"""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bartizan.errors import BartizanError, DependencyUnavailable, IdentityRefused
from bartizan.identity import WorkloadId, control_plane_id
from bartizan.policy.canonical import canonical
from bartizan.policy.keyset import KeySet
from bartizan.policy.signing import key_set_input
from bartizan.telemetry.logging import get_logger
from bartizan.tls import CertificateSource, KeyMaterial
from control_plane.identity import x509_profiles as profiles
from control_plane.secrets.base import SecretBackend
from protos.gen.bartizan.identity.v1 import identity_pb2

log = get_logger()
_PEM, _DER = serialization.Encoding.PEM, serialization.Encoding.DER
_SHORTEST = dt.timedelta(seconds=30)
_LONGEST_SLEEP = 60.0


def utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A certificate chain, DER, leaf first, without the root. `ttl` until notAfter, in seconds."""

    chain: tuple[bytes, ...]
    roots: tuple[bytes, ...]
    ttl: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Authority:
    """One intermediate: its key never leaves this process."""

    key: ec.EllipticCurvePrivateKey = field(repr=False)
    certificate: x509.Certificate
    above: tuple[x509.Certificate, ...]
    root: x509.Certificate


class Issuer:
    """Call `start` once (needs Vault), then keep `run` running."""

    def __init__(
        self,
        backend: SecretBackend,
        *,
        trust_domain: str,
        hosts: tuple[str, ...],
        source: CertificateSource,
        intermediate_life: dt.timedelta = dt.timedelta(hours=24),
        now: Callable[[], dt.datetime] = utc_now,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`hosts`: what clients call this control plane besides localhost. `source` gets our server certificate."""
        self._backend = backend
        self._trust_domain = trust_domain
        self._hosts = tuple(dict.fromkeys(("localhost", "127.0.0.1", *hosts)))
        self._source = source
        self._life = intermediate_life
        self._now = now
        self._sleep = sleep
        self._authority: _Authority | None = None
        self._own_key = ec.generate_private_key(ec.SECP256R1())
        self._own_chain: tuple[bytes, ...] = ()

    @property
    def ready(self) -> bool:
        """There is an intermediate with enough life left to issue from."""
        return self._authority is not None and self._left(self._authority) > _SHORTEST

    @property
    def roots_pem(self) -> tuple[str, ...]:
        """The trust bundle. Raises DependencyUnavailable before `start`."""
        return (self._current().root.public_bytes(_PEM).decode(),)

    async def start(self) -> None:
        """Get the first intermediate. Raises DependencyError when Vault is away or refuses."""
        await self.renew()

    async def run(self) -> None:
        """Renew the intermediate at half its life, trying again with jitter while Vault is away."""
        while True:
            authority = self._current()
            whole = authority.certificate.not_valid_after_utc - authority.certificate.not_valid_before_utc
            await self._sleep(1.0)
            keep = whole * random.uniform(0.45, 0.55)  # noqa: S311 - jitter
            while (due := (self._left(authority) - keep).total_seconds()) > 0:
                # In short steps: sleep is by a clock that stands still while the machine is suspended.
                await self._sleep(min(due, _LONGEST_SLEEP))
            try:
                await self.renew()
            except BartizanError as error:
                left = self._left(authority).total_seconds()
                log.warning("intermediate_not_renewed", reason=str(error), seconds_left=round(left))
                await self._sleep(random.uniform(1.0, 15.0))  # noqa: S311

    async def renew(self) -> None:
        """A new intermediate and a new certificate of our own; the old ones stay valid until their end."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = f"Bartizan issuing CA {secrets.token_hex(4)}"
        request = profiles.intermediate_request(key, name, self._trust_domain, self._hosts)
        chain = await self._backend.pki_sign_intermediate(request, name, round(self._life.total_seconds()))
        root = x509.load_pem_x509_certificate((await self._backend.pki_root_pem()).encode())
        self._authority = _Authority(
            key=key,
            certificate=profiles.check_intermediate(chain, key, self._trust_domain, self._hosts),
            above=tuple(x509.load_pem_x509_certificate(pem.encode()) for pem in chain[1:]),
            root=root,
        )
        self._certify_ourselves()
        log.info("intermediate_issued", seconds=round(self._left(self._authority).total_seconds()))

    def issue(self, csr_der: bytes, spiffe_id: str, ttl: dt.timedelta) -> Issued:
        """A workload's certificate, never longer than the intermediate's own life.

        Raises InvalidInput (bad CSR), IdentityRefused (not a workload of our trust domain), DependencyUnavailable.
        """
        if WorkloadId.parse(spiffe_id).trust_domain != self._trust_domain:
            raise IdentityRefused(f"{spiffe_id} is not of the trust domain {self._trust_domain}")
        return self._issue(profiles.subject_key(csr_der), spiffe_id, (), ttl)

    def sign_key_set(self, key_set: KeySet) -> identity_pb2.KeySet:
        """The signed message, verifiable with the roots alone. Raises DependencyUnavailable before `start`."""
        if not self._own_chain:
            raise DependencyUnavailable("no issuer yet: Vault has not signed the intermediate")
        payload = canonical(key_set)
        signature = self._own_key.sign(key_set_input(payload), ec.ECDSA(hashes.SHA256()))
        return identity_pb2.KeySet(
            name=key_set.name, payload=payload, signature=signature, chain=self._own_chain
        )

    def _issue(self, key: profiles.PublicKey, uri: str, hosts: tuple[str, ...], ttl: dt.timedelta) -> Issued:
        authority, now = self._current(), self._now()
        until = min(now + ttl, authority.certificate.not_valid_after_utc)
        if until - now < min(_SHORTEST, ttl):
            raise DependencyUnavailable(
                "the issuing certificate has ended and Vault has not signed a new one"
            )
        certificate = profiles.leaf(
            key=key,
            uri=uri,
            hosts=hosts,
            issuer=authority.certificate,
            issuer_key=authority.key,
            now=now,
            until=until,
        )
        chain = (certificate, authority.certificate, *authority.above)
        return Issued(
            chain=tuple(each.public_bytes(_DER) for each in chain),
            roots=(authority.root.public_bytes(_DER),),
            ttl=(certificate.not_valid_after_utc - now).total_seconds(),
        )

    def _certify_ourselves(self) -> None:
        """Our certificate lives as long as the intermediate, so one renewal serves both."""
        own_key = ec.generate_private_key(ec.SECP256R1())
        name = control_plane_id(self._trust_domain)
        issued = self._issue(own_key.public_key(), name, self._hosts, self._life)
        self._own_key, self._own_chain = own_key, issued.chain
        chain_pem = b"".join(x509.load_der_x509_certificate(der).public_bytes(_PEM) for der in issued.chain)
        private = own_key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        self._source.replace(
            KeyMaterial(key_pem=private, chain_pem=chain_pem, roots_pem="".join(self.roots_pem).encode())
        )

    def _current(self) -> _Authority:
        if self._authority is None:
            raise DependencyUnavailable("no issuer yet: Vault has not signed the intermediate")
        return self._authority

    def _left(self, authority: _Authority) -> dt.timedelta:
        return authority.certificate.not_valid_after_utc - self._now()
