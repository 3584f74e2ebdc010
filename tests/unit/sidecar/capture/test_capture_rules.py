"""The plan's words, and the rules that are made of it; what the kernel does with them is in tests/integration."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from bartizan.cli.root import cli
from bartizan.errors import InvalidInput, ProcessFailed
from control_plane.injector.capture import capture_command
from sidecar.capture.apply import apply_plan
from sidecar.capture.iptables import iptables_tables
from sidecar.capture.nftables import nft_script
from sidecar.capture.plan import EGRESS, Plan, make_plan
from sidecar.capture.resolver import name_servers
from tests.support.pod_cases import case_config

PLAN = Plan(to_port=8443, sidecar_uid=10443, excluded=(15020,))


def test_every_mistake_of_the_options_is_said_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        make_plan(
            to_port=0, sidecar_uid=0, excluded="15020,x,70000", egress="shut", allowed="10.0.0.1/8,::/0"
        )
    assert sorted(each.path for each in caught.value.problems) == [
        "--allow-egress", "--egress", "--exclude-inbound", "--exclude-inbound", "--sidecar-uid", "--to-port",
    ]  # fmt: skip


def test_the_listener_and_the_excluded_ports_are_left_alone_in_every_chain() -> None:
    for text in (nft_script(PLAN), iptables_tables(PLAN, 4).restore, iptables_tables(PLAN, 6).restore):
        assert text.count("8443, 15020") + text.count("8443,15020") == 3


def test_many_excluded_ports_fit_into_iptables_matches() -> None:
    plan = Plan(to_port=8443, sidecar_uid=1, excluded=tuple(range(9000, 9040)))
    for line in iptables_tables(plan, 4).restore.splitlines():
        if "--dports" in line:
            assert len(line.split("--dports ")[1].split()[0].split(",")) <= 15


@pytest.mark.parametrize("egress", EGRESS)
def test_each_ip_version_gets_its_own_networks_only(egress: str) -> None:
    plan = make_plan(to_port=8443, sidecar_uid=1, excluded="", egress=egress, allowed="10.1.0.0/16,fd00::/64")
    assert all(":" not in each for each in plan.blocked(4))
    assert all(":" in each for each in plan.blocked(6))
    assert bool(plan.blocked(4)) == (egress != "open")
    assert ("fd00::/64" in iptables_tables(plan, 4).restore) is False


def test_metadata_services_are_internal() -> None:
    plan = make_plan(to_port=8443, sidecar_uid=1, excluded="", egress="public")
    assert "169.254.0.0/16" in plan.blocked(4)
    assert "fc00::/7" in plan.blocked(6)


def test_name_servers_are_read_and_junk_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("nameserver 10.96.0.10\nnameserver fe80::1%eth0\nnameserver x\n# nameserver 1.1.1.1\n")
    assert name_servers(file) == ("10.96.0.10", "fe80::1")
    assert name_servers(tmp_path / "none") == ()


def test_without_tools_the_pod_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ProcessFailed, match="NET_ADMIN"):
        apply_plan(PLAN)


def test_the_command_takes_what_the_injector_writes() -> None:
    config = case_config("redirect_egress_public")
    program, *arguments = capture_command(config, 8443, (9100,))
    assert program == "bartizan"
    result = CliRunner().invoke(cli, [*arguments, "--print"])
    assert result.exit_code == 0, result.output
    assert "tcp dport != { 8443, 9100, 15020 } redirect to :8443" in result.output
    assert "10.20.0.0/16" in result.output
