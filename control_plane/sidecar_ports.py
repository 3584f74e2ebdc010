"""The two gRPC servers that sidecars talk to, with the bounds on what one caller may take of them."""

from __future__ import annotations

import grpc.aio

from bartizan.xds.server import SERVER_OPTIONS
from control_plane.first_word import FirstWord, address, identity

# Streams of a large fleet (four for each sidecar); who attests stays for one short call.
_MOST_CALLS = 20_000
_MOST_ATTESTING = 256
# Who waits to say its first word: all sidecars of one identity after a break; at the other port whoever is behind one address.
_MOST_SILENT = 1024
_MOST_SILENT_ATTESTING = 64
# Of all callers together: half of all calls, so that whoever has something to say finds a place.
_SILENT_OF_ALL = _MOST_CALLS // 2
_SILENT_ATTESTING_OF_ALL = _MOST_ATTESTING // 2
# A sidecar has a handful of calls open on its one connection.
MTLS_OPTIONS = (*SERVER_OPTIONS, ("grpc.max_concurrent_streams", 64))
# Anybody may connect there: it is for one call, and whoever does not make it goes.
ATTEST_OPTIONS = (*SERVER_OPTIONS, ("grpc.max_connection_idle_ms", 10_000))


def mtls_server() -> grpc.aio.Server:
    """For callers with a certificate of ours."""
    return grpc.aio.server(
        options=MTLS_OPTIONS,
        maximum_concurrent_rpcs=_MOST_CALLS,
        interceptors=(FirstWord(identity, most=_MOST_SILENT, of_all=_SILENT_OF_ALL),),
    )


def attest_server() -> grpc.aio.Server:
    """For anybody, who has yet to become one of those."""
    return grpc.aio.server(
        options=ATTEST_OPTIONS,
        maximum_concurrent_rpcs=_MOST_ATTESTING,
        interceptors=(FirstWord(address, most=_MOST_SILENT_ATTESTING, of_all=_SILENT_ATTESTING_OF_ALL),),
    )
