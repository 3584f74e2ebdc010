"""A collector that takes spans and drops them: python -m benchmarks.collector PORT. With one, guard workers export as shipped."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc


class _Takes(grpc.GenericRpcHandler):
    """Says to everything what OTLP's Export answers when all is well: an empty message."""

    def service(self, _call: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(lambda _message, _context: b"")


def main() -> None:
    """Serve until killed."""
    server = grpc.server(ThreadPoolExecutor(max_workers=2))
    server.add_generic_rpc_handlers((_Takes(),))
    server.add_insecure_port(f"127.0.0.1:{int(sys.argv[1])}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
