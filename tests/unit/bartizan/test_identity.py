"""Workload ids, the trust document and join tokens: strict to read, stable to write, silent about secrets."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bartizan.errors import IdentityRefused
from bartizan.identity import (
    JoinToken,
    TrustDocument,
    WorkloadId,
    control_plane_id,
    new_secret,
    secret_hash,
)

TOKEN = JoinToken(
    secret="canary-9d11", api="https://cp:8440", grpc="cp:18000", attest="cp:18001", trust="ab" * 32
)
_SEGMENT = st.from_regex(r"[A-Za-z0-9._-]{1,20}", fullmatch=True)


@given(st.from_regex(r"[a-z0-9._-]{1,20}", fullmatch=True), _SEGMENT, _SEGMENT)
def test_a_workload_id_survives_being_written(domain: str, namespace: str, account: str) -> None:
    workload = WorkloadId(trust_domain=domain, namespace=namespace, service_account=account)
    assert WorkloadId.parse(str(workload)) == workload


@pytest.mark.parametrize(
    "text",
    [
        "",
        "prod.example/ns/a/sa/b",
        "https://prod.example/ns/a/sa/b",
        "SPIFFE://prod.example/ns/a/sa/b",
        "spiffe://Prod.example/ns/a/sa/b",
        "spiffe:///ns/a/sa/b",
        "spiffe://prod.example/ns/a/sa/",
        "spiffe://prod.example/ns//sa/b",
        "spiffe://prod.example/ns/a/sa/b/c",
        "spiffe://prod.example/ns/a/sa/b?x",
        "spiffe://prod.example:8443/ns/a/sa/b",
        "spiffe://user@prod.example/ns/a/sa/b",
        "spiffe://prod.example/ns/a%2fb/sa/c",
        "spiffe://prod.example/control-plane",
    ],
)
def test_what_is_no_workload_id_is_refused(text: str) -> None:
    with pytest.raises(IdentityRefused):
        WorkloadId.parse(text)


def test_no_workload_can_be_named_like_the_control_plane() -> None:
    with pytest.raises(IdentityRefused):
        WorkloadId.parse(control_plane_id("prod.example"))


def test_the_digest_of_a_trust_document_does_not_depend_on_the_order_of_its_keys() -> None:
    one = TrustDocument(trust_domain="t", roots=("r",), verification_keys={"a": "1", "b": "2"})
    other = TrustDocument(trust_domain="t", roots=("r",), verification_keys={"b": "2", "a": "1"})
    assert one.digest() == other.digest()
    assert one.digest() != TrustDocument(trust_domain="u", roots=("r",), verification_keys={}).digest()


def test_a_join_token_is_one_word_and_comes_back_whole() -> None:
    text = TOKEN.encode()
    assert text.startswith("bzj1.")
    assert not set(text) & set(" \n=+/")
    assert JoinToken.decode(f"  {text}\n") == TOKEN


@pytest.mark.parametrize(
    "text", ["", "bzj1.", "bzj1.!!!", "canary-9d11", "bzj1.e30", "bzj1.bnVsbA", "bzj1.é"]
)
def test_what_is_no_join_token_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(IdentityRefused) as refusal:
        JoinToken.decode(text)
    assert "canary" not in str(refusal.value)


@given(st.text(max_size=80))
def test_any_text_is_a_join_token_or_refused(text: str) -> None:
    with contextlib.suppress(IdentityRefused):
        assert JoinToken.decode(text)


def test_secrets_are_new_each_time_and_stored_as_hashes() -> None:
    one, other = new_secret(), new_secret()
    assert one != other
    assert len(one) == 43
    assert secret_hash(one) == secret_hash(one) != secret_hash(other)
    assert one not in secret_hash(one)
