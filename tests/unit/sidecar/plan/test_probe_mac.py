"""Probe MACs: only the agent's own probes count, and only the plan that answered can be proved."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidecar.plan.probe import Probe, check_probe, probe_header, proof

KEY = bytes(range(32))
NONCE = "0123456789abcdef" * 2


def test_a_header_made_with_the_key_is_recognised() -> None:
    assert check_probe(KEY, probe_header(KEY, NONCE, "content")) == Probe(nonce=NONCE, phase="content")


@given(st.text(max_size=140))
def test_nothing_else_is(value: str) -> None:
    assert check_probe(KEY, value) is None


def test_another_key_an_empty_key_and_a_changed_phase_are_refused() -> None:
    header = probe_header(KEY, NONCE, "authz")
    assert check_probe(bytes(32), header) is None
    assert check_probe(b"", probe_header(b"", NONCE, "authz")) is None
    assert check_probe(KEY, header.replace("authz", "content")) is None
    assert check_probe(KEY, None) is None


def test_a_proof_holds_for_one_nonce_phase_and_plan() -> None:
    proofs = {
        proof(KEY, Probe(nonce=nonce, phase=phase), plan)
        for nonce in (NONCE, "f" * 32)
        for phase in ("authz", "content")
        for plan in ("a", "b")
    }
    assert len(proofs) == 8
