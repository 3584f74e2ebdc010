"""The kernel's table of sockets says who can be reached from outside of the pod; what can't be read is never "nobody"."""

from __future__ import annotations

import socket

import pytest

from sidecar.agent.listening import ByteOrder, Listening, beyond_loopback, parse, read

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
REST = " 00000000:0000 {} 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000 100 0 0 10 0\n"
POD = ("10.1.2.3", "fd00::3")


def line(local: str, state: str = "0A") -> str:
    return f"   0: {local}{REST.format(state)}"


@pytest.mark.parametrize(
    ("local", "byteorder", "address", "port"),
    [
        ("0100007F:1F40", "little", "127.0.0.1", 8000),
        ("7F000001:1F40", "big", "127.0.0.1", 8000),
        ("00000000:0016", "little", "0.0.0.0", 22),
        ("0302010A:238C", "little", "10.1.2.3", 9100),
        ("00000000000000000000000000000000:1F90", "little", "::", 8080),
        ("00000000000000000000000001000000:1F90", "little", "::1", 8080),
        ("000000FD000000000000000003000000:0050", "little", "fd00::3", 80),
        ("FD000000000000000000000000000003:0050", "big", "fd00::3", 80),
        ("0000000000000000FFFF00000302010A:0050", "little", "10.1.2.3", 80),
        ("0000000000000000FFFF00000100007F:0050", "little", "127.0.0.1", 80),
    ],
)
def test_a_listening_socket_is_read(local: str, byteorder: ByteOrder, address: str, port: int) -> None:
    (found,) = parse(HEAD + line(local), byteorder)
    assert (found.address, found.port) == (address, port)


def test_connections_are_passed_over() -> None:
    assert [*parse(HEAD + line("0100007F:1F40", "01") + line("00000000:0016", "06"))] == []


@pytest.mark.parametrize(
    "table", [HEAD + "x\n", HEAD + line("zz:1"), HEAD + line("0000:1"), HEAD + line("00000000:")]
)
def test_what_is_no_table_is_a_fault(table: str) -> None:
    with pytest.raises(ValueError):
        [*parse(table)]


@pytest.mark.parametrize(
    ("address", "asked"),
    [
        ("127.0.0.1", set()),
        ("127.0.0.9", set()),
        ("::1", set()),
        ("0.0.0.0", {"10.1.2.3"}),
        ("::", {"10.1.2.3", "fd00::3"}),
        ("10.1.2.3", {"10.1.2.3"}),
        ("192.168.7.7", {"192.168.7.7"}),
    ],
)
def test_a_socket_is_asked_at_every_address_that_leads_to_it_from_outside(
    address: str, asked: set[str]
) -> None:
    sockets = [Listening(address=address, port=80)]
    assert beyond_loopback(sockets, POD) == {(each, 80) for each in asked}


def test_a_pods_own_address_counts_even_when_it_is_a_loopback_one() -> None:
    assert beyond_loopback([Listening(address="127.0.0.7", port=80)], ["127.0.0.7"]) == {("127.0.0.7", 80)}


@pytest.mark.parametrize(
    ("family", "host", "address"),
    [
        (socket.AF_INET, "127.0.0.8", "127.0.0.8"),
        (socket.AF_INET, "0.0.0.0", "0.0.0.0"),
        (socket.AF_INET6, "::1", "::1"),
    ],
)
def test_the_kernels_own_table_has_this_tests_socket(
    family: socket.AddressFamily, host: str, address: str
) -> None:
    try:
        server = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    with server:
        port = server.getsockname()[1]
        assert Listening(address=address, port=port) in read()
    assert Listening(address=address, port=port) not in read()
