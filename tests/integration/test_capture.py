"""Redirect rules in a real kernel: from outside and from within, every port leads to Envoy's, and nothing gets around."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.pod_network import OUTSIDE, OUTSIDE6, POD, POD6, PodNetwork, missing, pod_network

pytestmark = [
    pytest.mark.xdist_group("capture"),
    pytest.mark.skipif(bool(missing()), reason=f"redirect rules are not tried: {missing()}"),
]
SIDECAR, MODEL = 10443, 1000
TOOLS = ("nft", "iptables")


@pytest.fixture
def network() -> Iterator[PodNetwork]:
    with pod_network() as made:
        yield made


def captured(network: PodNetwork, tool: str, **options: object) -> None:
    network.apply(tool, **{"to_port": 8443, "sidecar_uid": SIDECAR, "excluded": "15020", **options})


@pytest.mark.parametrize("tool", TOOLS)
def test_every_connection_meets_envoy_whatever_port_it_asked_for(network: PodNetwork, tool: str) -> None:
    network.serve(network.pod, envoy=8443, model=8000, health=15020, metrics=9100)
    assert network.ask(network.outside, POD, 8000) == "model", "so it would be without rules"
    captured(network, tool, excluded="15020,9100")
    asked = {
        (where, host, port): network.ask(where, host, port)
        for where, host, port in (
            (network.outside, POD, 8000),
            (network.outside, POD, 8443),
            (network.outside, POD, 22),
            (network.outside, POD6, 8000),
            (network.outside, POD, 15020),
            (network.outside, POD, 9100),
            (network.pod, POD, 8000),
            (network.pod, POD6, 8000),
            (network.pod, "127.0.0.1", 8000),
            (network.pod, "::1", 8000),
        )
    }
    assert list(asked.values()) == [
        "envoy", "envoy", "envoy", "envoy", "health", "metrics", "envoy", "envoy", "model", "model",
    ]  # fmt: skip
    assert network.ask(network.pod, POD, 8000, user=SIDECAR) == "envoy", (
        "so the agent sees that the rules hold"
    )


@pytest.mark.parametrize("tool", TOOLS)
def test_where_the_redirect_is_lost_the_model_is_silent_not_open(network: PodNetwork, tool: str) -> None:
    network.serve(network.pod, envoy=8443, model=8000)
    captured(network, tool)
    if tool == "nft":
        network.run(network.pod, "nft", "delete", "chain", "inet", "bartizan", "inbound")
    else:
        network.run(network.pod, "iptables", "-t", "nat", "-F")
    assert network.ask(network.outside, POD, 8000, patience=1.0) == "silent"
    assert network.ask(network.outside, POD, 8443) == "envoy"


@pytest.mark.parametrize("tool", TOOLS)
def test_writing_the_rules_again_changes_nothing(network: PodNetwork, tool: str) -> None:
    def rules() -> str:
        if tool == "nft":
            return network.run(network.pod, "nft", "list", "table", "inet", "bartizan").stdout
        return "".join(
            network.run(network.pod, program, "-t", table, "-S").stdout
            for program in ("iptables", "ip6tables")
            for table in ("nat", "filter")
        )

    captured(network, tool, egress="public")
    first = rules()
    captured(network, tool, egress="public")
    assert rules() == first
    assert "8443" in first


@pytest.mark.parametrize("tool", TOOLS)
def test_what_may_go_out_is_what_the_plan_says_but_for_the_sidecar(network: PodNetwork, tool: str) -> None:
    network.serve(network.outside, internal=9000, dns=53)
    # An address that is public by its number, on the outside's cable.
    network.run(network.outside, "ip", "addr", "add", "203.0.113.7/32", "dev", "lo")
    network.run(network.outside, "ip", "addr", "add", "169.254.169.254/32", "dev", "lo")
    places = {"public": ("203.0.113.7", 9000), "internal": (OUTSIDE, 9000), "v6": (OUTSIDE6, 9000), "metadata": ("169.254.169.254", 9000)}  # fmt: skip

    def reached(user: int) -> set[str]:
        return {
            name
            for name, (host, port) in places.items()
            if network.ask(network.pod, host, port, user=user) == "internal"
        }

    assert reached(MODEL) == {"public", "internal", "v6", "metadata"}
    captured(network, tool, egress="public")
    assert reached(MODEL) == {"public"}
    assert reached(SIDECAR) == {"public", "internal", "v6", "metadata"}
    if tool == "nft":
        captured(network, tool, egress="none")
        assert reached(MODEL) == set()
        captured(network, tool, egress="none", allowed=f"{OUTSIDE}/32,{OUTSIDE6}/128")
        assert reached(MODEL) == {"internal", "v6"}


def test_name_servers_stay_open_for_names_alone(
    network: PodNetwork, tmp_path_factory: pytest.TempPathFactory
) -> None:
    network.serve(network.outside, internal=9000, dns=53)
    file = tmp_path_factory.mktemp("resolver") / "resolv.conf"
    file.write_text(f"search example\nnameserver {OUTSIDE}\nnameserver broken\noptions ndots:5\n")
    # The whole command, as the init container runs it.
    options = ("--exclude-inbound", "15020", "--egress", "none", "--resolv-conf", str(file))
    network.capture("--to-port", "8443", "--sidecar-uid", str(SIDECAR), *options)
    assert network.ask(network.pod, OUTSIDE, 53, user=MODEL) == "dns"
    assert network.ask(network.pod, OUTSIDE, 9000, user=MODEL) == "refused"
    assert network.ask(network.pod, OUTSIDE6, 53, user=MODEL) == "refused"


@pytest.mark.parametrize("tool", TOOLS)
def test_what_is_blocked_is_led_to_the_way_out_but_for_the_sidecar(network: PodNetwork, tool: str) -> None:
    network.serve(network.outside, internal=9000)
    network.serve(network.pod, way_out=15001)
    captured(network, tool, egress="none", egress_port=15001)
    asked = {user: network.ask(network.pod, OUTSIDE, 9000, user=user) for user in (MODEL, SIDECAR)}
    assert asked == {MODEL: "way_out", SIDECAR: "internal"}
    assert network.ask(network.pod, OUTSIDE6, 9000, user=MODEL) == "refused"
