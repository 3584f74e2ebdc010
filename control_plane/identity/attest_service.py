"""gRPC shells around attest.py: Attest on the port without client certificates, Renew on the mTLS port, never both."""

from __future__ import annotations

from typing import NoReturn

import grpc
import grpc.aio

from bartizan.errors import BartizanError, DependencyError, Forbidden, IdentityRefused, InvalidInput
from bartizan.telemetry.logging import get_logger
from bartizan.xds.server import peer_info
from control_plane.first_word import address
from control_plane.identity.attest import Attested, Attestor, PeerLimit
from protos.gen.bartizan.identity.v1 import identity_pb2, identity_pb2_grpc

log = get_logger()
AttestContext = grpc.aio.ServicerContext[identity_pb2.AttestRequest, identity_pb2.Certificate]
RenewContext = grpc.aio.ServicerContext[identity_pb2.RenewRequest, identity_pb2.Certificate]


class AttestService(identity_pb2_grpc.IdentityServicer):
    """For the attestation port. Renew is answered UNIMPLEMENTED there."""

    def __init__(self, attestor: Attestor, limit: PeerLimit | None = None) -> None:
        self._attestor = attestor
        self._limit = limit or PeerLimit(rate=5.0, burst=50.0)

    async def Attest(  # noqa: N802 - gRPC names it
        self, request: identity_pb2.AttestRequest, context: AttestContext
    ) -> identity_pb2.Certificate:
        peer = address(context)
        if not self._limit.admit(peer):
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many attestations from this address")
        try:
            if request.WhichOneof("proof") == "kubernetes_token":
                attested = await self._attestor.attest_pod(request.kubernetes_token, request.csr, peer=peer)
            else:
                attested = await self._attestor.attest(request.join_token, request.csr, peer=peer)
        except BartizanError as error:
            # The text is ours and never holds the token; the peer gets it too.
            log.warning("attestation_refused", peer=peer, reason=type(error).__name__, detail=str(error))
            await _abort(context, error)
        self._limit.give_back(peer)
        log.info("attested", spiffe_id=attested.spiffe_id, instance_id=attested.instance_id)
        return _certificate(attested)


class RenewService(identity_pb2_grpc.IdentityServicer):
    """For the mTLS port. Attest is answered UNIMPLEMENTED there."""

    def __init__(self, attestor: Attestor) -> None:
        self._attestor = attestor

    async def Renew(  # noqa: N802
        self, request: identity_pb2.RenewRequest, context: RenewContext
    ) -> identity_pb2.Certificate:
        spiffe_id = peer_info(context).spiffe_id
        try:
            if spiffe_id is None:
                raise Forbidden("the peer's certificate names no workload")
            attested = await self._attestor.renew(request.instance_id, request.csr, spiffe_id=spiffe_id)
        except BartizanError as error:
            log.warning("renewal_refused", spiffe_id=spiffe_id, reason=type(error).__name__)
            await _abort(context, error)
        return _certificate(attested)


async def _abort(context: AttestContext | RenewContext, error: BartizanError) -> NoReturn:
    match error:
        case IdentityRefused():
            code = grpc.StatusCode.UNAUTHENTICATED
        case InvalidInput():
            code = grpc.StatusCode.INVALID_ARGUMENT
        case Forbidden():
            code = grpc.StatusCode.PERMISSION_DENIED
        case DependencyError():
            code = grpc.StatusCode.UNAVAILABLE
        case _:
            code = grpc.StatusCode.INTERNAL
    await context.abort(code, str(error) if code is not grpc.StatusCode.INTERNAL else "internal error")
    raise AssertionError("abort raises")


def _certificate(attested: Attested) -> identity_pb2.Certificate:
    message = identity_pb2.Certificate(
        spiffe_id=attested.spiffe_id,
        instance_id=attested.instance_id,
        chain=attested.issued.chain,
        roots=attested.issued.roots,
    )
    message.ttl.FromMilliseconds(round(attested.issued.ttl * 1000))
    return message
