"""The doctor sees where a port is open."""

from __future__ import annotations

import socket

import pytest

from bartizan.local.doctor import listening_addresses


@pytest.mark.parametrize(
    ("family", "bind", "seen"),
    [
        (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
        (socket.AF_INET, "0.0.0.0", "0.0.0.0"),
        (socket.AF_INET6, "::1", "::1"),
    ],
)
def test_a_listening_socket_is_found_with_its_address(
    family: socket.AddressFamily, bind: str, seen: str
) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as server:
        try:
            server.bind((bind, 0))
        except OSError:
            pytest.skip("this machine has no IPv6 loopback")
        server.listen()
        assert listening_addresses(server.getsockname()[1]) == {seen}


def test_a_closed_port_has_no_address() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        assert listening_addresses(server.getsockname()[1]) == set()
