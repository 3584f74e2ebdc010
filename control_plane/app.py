"""The control plane's composition root: every part is made and tied to the others here, and nowhere else.

The API answers from the first second (not ready, with the reason, over a makeshift certificate) so that `doctor` and
probes can see why; the planes for sidecars open when Vault has signed the issuing certificate for the first time. After that
Vault's absence stops only what needs it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from bartizan import tasks
from bartizan.errors import DependencyUnavailable
from bartizan.telemetry.logging import get_logger
from bartizan.telemetry.tracing import provider
from bartizan.tls import CertificateSource, server_credentials
from control_plane.api.auth import Tokens
from control_plane.api.metrics import metrics_application
from control_plane.api.ports import Parts
from control_plane.api.routes.catalog import operations
from control_plane.api.server import application
from control_plane.audit.ingest import AuditService
from control_plane.audit.refusals import RefusalLog
from control_plane.audit.retention import Retention
from control_plane.come_up import come_up
from control_plane.fleet.ledger import Ledger
from control_plane.fleet.service import FleetService
from control_plane.identity.attest import Attestor
from control_plane.identity.attest_service import AttestService, RenewService
from control_plane.identity.issuer import Issuer
from control_plane.identity.makeshift import makeshift_material
from control_plane.injector.webhook_configuration import webhook_hosts
from control_plane.listening import listen_grpc, listen_http
from control_plane.out_of_band import OutOfBand
from control_plane.policies.definitions import Definitions
from control_plane.policies.keys import Keys
from control_plane.policies.service import Policies
from control_plane.push.follow import follow
from control_plane.push.health import Health
from control_plane.push.publish import Publisher
from control_plane.push.replicas import Following, Replicas
from control_plane.push.service import PushService
from control_plane.push.sign import TransitSigner
from control_plane.secrets.rotation.barriers import Use
from control_plane.secrets.rotation.engine import RotationEngine
from control_plane.secrets.rotation.settings import RotationSettings
from control_plane.secrets.vault import Vault, VaultSettings
from control_plane.settings import Settings
from control_plane.sidecar_ports import attest_server, mtls_server
from control_plane.state_files import alone_in, replica_name, write_ca
from control_plane.store.clock import StoreClock
from control_plane.store.sql.store import SqlStore, open_store
from control_plane.version import own_version
from protos.gen.bartizan.identity.v1 import identity_pb2_grpc

if TYPE_CHECKING:
    from control_plane.injector.serving import ServedWebhook
    from control_plane.kubernetes.cluster import Cluster

_log = get_logger()
_GRACE_SECONDS = 1.0
_NEW_ENOUGH_SECONDS = 0.5
_MTLS_SERVICES = (
    "envoy.service.discovery.v3.AggregatedDiscoveryService",
    "bartizan.fleet.v1.Fleet",
    "bartizan.audit.v1.Audit",
    "bartizan.identity.v1.Identity",
)


class ControlPlane:
    """One replica. `run` returns after `stop` is set; a background task's failure ends it with that error."""

    def __init__(self, settings: Settings, store: SqlStore, vault: Vault, cluster: Cluster | None) -> None:
        self.settings = settings
        self.store = store
        self.vault = vault
        self.source = CertificateSource(makeshift_material(settings.advertise))
        self.issuer = Issuer(
            vault, trust_domain=settings.trust_domain, hosts=_hosts(settings), source=self.source
        )
        self.signer = TransitSigner(vault, settings.signing_key)
        self.known = OutOfBand(settings, self.issuer, self.signer)
        name = replica_name(settings.state_dir)
        following = Following(alone=not store.shared)
        clock = StoreClock()
        self.ledger = Ledger(lease=settings.rotation_lease, shared=store.shared, clock=clock)
        self.publisher = Publisher(store, self.ledger, self.issuer.sign_key_set, follows=following)
        self.refusals = RefusalLog(store)
        self.fleet = FleetService(self.ledger, store, replica=name, follows=following, clock=clock)
        self.policies = Policies(store, self.signer, self.publisher.policy_changed)
        self.cluster = cluster
        self.attestor = Attestor(
            store,
            self.issuer,
            trust_domain=settings.trust_domain,
            pods=cluster.tokens if cluster else None,
            removed=self.publisher.instance_removed,
        )
        self.engine = RotationEngine(
            store=store,
            backend=vault,
            publish=self._publish_secret,
            users=self._users,
            holder=name,
            settings=RotationSettings(
                lease=settings.rotation_lease, soak=settings.rotation_soak, drain=settings.rotation_drain
            ),
        )
        self.following = following
        self.replicas = Replicas(
            store,
            name=name,
            following=following,
            ledger=self.ledger,
            fleet=self.fleet,
            publisher=self.publisher,
            catch_up=self.engine.catch_up,
        )
        self.webhook: ServedWebhook | None = None
        if cluster is not None and settings.injector is not None:
            from control_plane.injector.serving import ServedWebhook

            roots = self.known.roots if settings.webhook else None
            self.webhook = ServedWebhook(settings, cluster.server, store, roots=roots, trust=self.known.trust)
        self.tokens = Tokens(store, settings.state_dir / "bootstrap-token")
        self.starting: tuple[str, ...] = ("starting",)
        self.ports: dict[str, int] = {}

    async def run(self, stop: asyncio.Event) -> None:
        bootstrap = await self.tokens.prepare_bootstrap()
        if bootstrap is not None:
            _log.info("bootstrap_ready", file=str(bootstrap))
        async with tasks.Group() as group:
            background: list[asyncio.Task[Any]] = [
                tasks.start(group, self.vault.run(), name="vault"),
                tasks.start(group, self.refusals.run(), name="refusals"),
            ]
            async with AsyncExitStack() as edge:
                await self._serve_api(edge)
                coming_up = tasks.start(
                    group, come_up(self.issuer, self.signer, self._waits_for), name="come-up"
                )
                stopping = tasks.start(group, stop.wait(), name="stop")
                await asyncio.wait({coming_up, stopping}, return_when=asyncio.FIRST_COMPLETED)
                background += [coming_up, stopping]
                if not stop.is_set():
                    background += await self._open_planes(group, edge)
                    await stop.wait()
            await tasks.cancel(*background)

    async def _serve_api(self, edge: AsyncExitStack) -> None:
        parts = Parts(
            store=self.store,
            policies=self.policies,
            keys=Keys(self.store, self.publisher.key_set_changed),
            tokens=self.tokens,
            ledger=self.ledger,
            secrets=Definitions(self.store, self._rotations, places=self.settings.providers),
            trust=self.known.trust,
            removed=self.publisher.instance_removed,
            join_token=self._join_token,
            not_ready=self._not_ready,
            version=own_version(),
            trust_domain=self.settings.trust_domain,
            clock=time.time,
        )
        app = application(operations(parts), self.tokens, own_version(), self.refusals.record)
        self.ports["api"] = await listen_http(edge, app, "api", self.settings.api, self.source)
        self.ports["metrics"] = await listen_http(
            edge, metrics_application(), "metrics", self.settings.metrics, None
        )
        _log.info("api_listening", address=str(self.settings.api), port=self.ports["api"])

    async def _open_planes(self, group: asyncio.TaskGroup, edge: AsyncExitStack) -> list[asyncio.Task[None]]:
        write_ca(self.settings.state_dir, self.issuer.roots_pem)
        await self.fleet.load()
        await self.publisher.start()
        await self.replicas.look()
        mtls = mtls_server()
        PushService(self.publisher, self.ledger, self.refusals.record).register(mtls)
        self.fleet.register(mtls)
        AuditService(self.store).register(mtls)
        Health(lambda: not self._not_ready(), _MTLS_SERVICES).register(mtls)
        identity_pb2_grpc.add_IdentityServicer_to_server(RenewService(self.attestor), mtls)  # type: ignore[abstract]
        attest = attest_server()
        identity_pb2_grpc.add_IdentityServicer_to_server(AttestService(self.attestor), attest)  # type: ignore[abstract]
        Health(lambda: not self._not_ready(), ("bartizan.identity.v1.Identity",)).register(attest)
        for name, server, address, client in (
            ("grpc", mtls, self.settings.grpc, True),
            ("attest", attest, self.settings.attest, False),
        ):
            credentials = server_credentials(self.source, require_client=client)
            self.ports[name] = listen_grpc(server, name, address, credentials)
            await server.start()
            edge.push_async_callback(server.stop, _GRACE_SECONDS)
        self.starting = ()
        _log.info("ready", grpc=self.ports["grpc"], attest=self.ports["attest"])
        work = {
            "issuer": self.issuer.run(),
            "replicas": self.replicas.run(),
            "ledger": self.ledger.run(),
            "reports": self.fleet.run(),
            "publisher": self.publisher.run(),
            "rotation": self.engine.run(),
            "retention": Retention(self.store, self.settings.audit_days).run(),
            "certificate": self._follow_certificate(),
            "ledger-watch": follow(self.ledger, self.publisher, self.engine.stirred),
        }
        if self.webhook is not None:
            work["injection-upkeep"] = self.webhook.upkeep.run()
            if (where := self.settings.webhook) is not None:
                app = self.webhook.application
                self.ports["webhook"] = await listen_http(edge, app, "webhook", where, self.source)
        if self.cluster is not None:
            removed = self.publisher.instance_removed
            work["kubernetes"] = self.cluster.follow(
                store=self.store, policies=self.policies, ledger=self.ledger, removed=removed
            )
        return [tasks.start(group, each, name=name) for name, each in work.items()]

    async def _follow_certificate(self) -> None:
        """A new certificate of ours signs the key sets again."""
        seen = self.source.current
        while True:
            seen = await self.source.changed(seen)
            write_ca(self.settings.state_dir, self.issuer.roots_pem)
            self.publisher.sign_again()

    async def _publish_secret(self, name: str, generation: int, value: str | None) -> None:
        self.publisher.put_secret(name, generation, value)

    async def _users(self, name: str) -> Mapping[str, Use]:
        # A barrier counts what every replica was told; how new that is matters little beside a drain.
        await self.replicas.look(within=_NEW_ENOUGH_SECONDS)
        return self.ledger.secret_users(name, self.publisher.entitled_to_secret(name))

    def _rotations(self) -> RotationEngine:
        if self.starting:
            raise DependencyUnavailable("rotations need Vault, which was not reached yet", retry_after=2.0)
        return self.engine

    def _waits_for(self, reason: str) -> None:
        self.starting = (reason,)

    def _not_ready(self) -> tuple[str, ...]:
        expired = () if self.issuer.ready else ("issuer_expired",)
        return self.starting or (*expired, *(() if self.following() else ("replicas_not_followed",)))

    async def _join_token(self, secret: str) -> str:
        if self.starting:
            raise DependencyUnavailable("sidecars can't join yet: Vault was not reached", retry_after=2.0)
        return await self.known.join_token(secret, self.ports)


def _hosts(settings: Settings) -> tuple[str, ...]:
    service = webhook_hosts(settings.kubernetes_namespace) if settings.webhook else ()
    return (settings.advertise, *service)


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Everything from opening the store to closing it. Raises BartizanError, or an ExceptionGroup with what failed."""
    settings.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    settings.state_dir.chmod(0o700)
    exporter = provider("bartizan-control-plane", settings.otlp_endpoint)
    async with AsyncExitStack() as stack:
        stack.enter_context(alone_in(settings.state_dir))
        if exporter is not None:
            trace.set_tracer_provider(exporter)
            stack.push_async_callback(asyncio.to_thread, exporter.shutdown)
        store = await open_store(settings.store)
        stack.push_async_callback(store.close)
        vault = Vault(
            VaultSettings(
                address=settings.vault_address,
                token_file=settings.vault_token_file,
                ca_file=settings.vault_ca_file,
                kv=settings.vault_kv,
                pki=settings.vault_pki,
                transit=settings.vault_transit,
            )
        )
        stack.push_async_callback(vault.close)
        cluster = None
        if settings.kubernetes:
            from control_plane.kubernetes.cluster import open_cluster

            cluster = await stack.enter_async_context(open_cluster(settings))
        await ControlPlane(settings, store, vault, cluster).run(stop)
