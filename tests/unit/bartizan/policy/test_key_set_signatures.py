"""Signed key sets: only a control plane of this trust domain, under a root known out of band, and never backwards."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
from dataclasses import dataclass, field
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from bartizan.errors import ResourceRejected, RolledBack, SignatureInvalid
from bartizan.policy.canonical import canonical
from bartizan.policy.keyset import KeyRecord, KeySet
from bartizan.policy.signing import key_set_input, verify_key_set
from tests.support.chains import (
    DOMAIN,
    HOUR,
    NOW,
    SIGNER,
    Made,
    make_ca,
    make_certificate,
    make_leaf,
    only,
    uri,
    usage,
)

KEYS = KeySet(name="sentiment", version=5, keys=(KeyRecord(id="k1", hash="ab" * 32, tenant="acme"),))
ROOT = make_ca("root", None, ends=NOW + 10 * HOUR)
ISSUING = make_ca("issuing", ROOT, 0, extensions=[only(DOMAIN)])
LEAF = make_leaf(ISSUING)
PAYLOAD = canonical(KEYS)


def _sign(key: Any, payload: bytes = PAYLOAD) -> bytes:
    signature: bytes = key.sign(key_set_input(payload), ec.ECDSA(hashes.SHA256()))
    return signature


SIGNATURE = _sign(LEAF.key)
CHAIN = [LEAF.der, ISSUING.der]


def _verify(
    chain: list[bytes],
    signature: bytes = SIGNATURE,
    payload: bytes = PAYLOAD,
    *,
    name: str = "sentiment",
    roots: tuple[str, ...] = (ROOT.pem,),
    newest_seen: int = 0,
    now: dt.datetime = NOW,
) -> KeySet:
    return verify_key_set(name, payload, signature, chain, roots, DOMAIN, newest_seen, now)


def test_a_good_key_set_comes_back_as_it_was_signed() -> None:
    assert _verify(CHAIN) == KEYS


def test_the_root_may_be_sent_along_and_may_be_one_of_several() -> None:
    other = make_ca("root", None)
    assert _verify([*CHAIN, ROOT.der], roots=(other.pem + ROOT.pem,)) == KEYS


@dataclass(frozen=True, kw_only=True)
class BadChain:
    rule: str
    chain: list[Made]
    roots: tuple[str, ...] = field(default=(ROOT.pem,))


_WITHOUT_CA = make_certificate("issuing", ROOT, [(usage(key_cert_sign=True), True)])
_NO_CERT_SIGN = make_certificate(
    "issuing", ROOT, [(x509.BasicConstraints(ca=True, path_length=0), True), (usage(crl_sign=True), True)]
)
_SUB = make_ca("sub", ISSUING, extensions=[only(DOMAIN)])
_ELSEWHERE = make_ca("issuing", ROOT, 0, extensions=[only("other.example")])
_BELOW = make_ca("issuing", ROOT, 0, extensions=[only(".prod.example")])
_EXCLUDING = make_ca(
    "issuing",
    ROOT,
    0,
    extensions=[
        (
            x509.NameConstraints(
                permitted_subtrees=None, excluded_subtrees=[x509.UniformResourceIdentifier(DOMAIN)]
            ),
            True,
        )
    ],
)
_EXPIRED = make_ca("issuing", ROOT, 0, begins=NOW - 3 * HOUR, ends=NOW - HOUR)
_OLD_ROOT = make_ca("old root", None, begins=NOW - 3 * HOUR, ends=NOW - HOUR)
_FOREIGN = make_ca("root", None)
_STRANGE = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")


@pytest.mark.parametrize(
    "case",
    [
        BadChain(rule="the chain is not empty", chain=[]),
        BadChain(rule="the chain has a bounded length", chain=[LEAF, *[ISSUING] * 4]),
        BadChain(rule="the issuing certificate is not left out", chain=[LEAF]),
        BadChain(rule="the leaf comes first", chain=[ISSUING, LEAF]),
        BadChain(rule="the root is a known one", chain=[LEAF, ISSUING], roots=(_FOREIGN.pem,)),
        BadChain(rule="there is a root", chain=[LEAF, ISSUING], roots=()),
        BadChain(rule="a root of the same name does not do", chain=[make_leaf(_FOREIGN)]),
        BadChain(rule="a trusted root is no signer", chain=[ROOT]),
        BadChain(rule="a self-signed leaf is no signer", chain=[make_leaf(make_ca("self", None))]),
        BadChain(
            rule="the leaf is the control plane",
            chain=[make_leaf(ISSUING, f"spiffe://{DOMAIN}/ns/a/sa/b"), ISSUING],
        ),
        BadChain(
            rule="the trust domain is ours", chain=[make_leaf(ROOT, "spiffe://other.example/control-plane")]
        ),
        BadChain(rule="the leaf has one name", chain=[make_leaf(ISSUING, SIGNER, f"{SIGNER}/x"), ISSUING]),
        BadChain(rule="the leaf has a name", chain=[make_certificate("control plane", ISSUING, []), ISSUING]),
        BadChain(
            rule="the leaf is no CA",
            chain=[make_ca("control plane", ROOT, extensions=[uri(SIGNER)])],
        ),
        BadChain(
            rule="the leaf may sign",
            chain=[
                make_certificate("cp", ISSUING, [uri(SIGNER), (usage(key_agreement=True), True)]),
                ISSUING,
            ],
        ),
        BadChain(rule="issuers are CAs", chain=[make_leaf(_WITHOUT_CA), _WITHOUT_CA]),
        BadChain(rule="issuers may sign certificates", chain=[make_leaf(_NO_CERT_SIGN), _NO_CERT_SIGN]),
        BadChain(rule="a workload's certificate issues nothing", chain=[make_leaf(LEAF), LEAF, ISSUING]),
        BadChain(rule="path lengths hold", chain=[make_leaf(_SUB), _SUB, ISSUING]),
        BadChain(rule="permitted names hold", chain=[make_leaf(_ELSEWHERE), _ELSEWHERE]),
        BadChain(rule="a permitted subdomain is not the domain", chain=[make_leaf(_BELOW), _BELOW]),
        BadChain(rule="excluded names hold", chain=[make_leaf(_EXCLUDING), _EXCLUDING]),
        BadChain(rule="expired issuers end the chain", chain=[make_leaf(_EXPIRED), _EXPIRED]),
        BadChain(rule="expired roots end it too", chain=[make_leaf(_OLD_ROOT)], roots=(_OLD_ROOT.pem,)),
        BadChain(
            rule="unknown critical extensions are refused",
            chain=[make_leaf(ISSUING, more=[(_STRANGE, True)]), ISSUING],
        ),
        BadChain(
            rule="the key is P-256",
            chain=[make_leaf(ISSUING, key=ec.generate_private_key(ec.SECP384R1())), ISSUING],
        ),
    ],
    ids=lambda case: case.rule.replace(" ", "_"),
)
def test_a_bad_chain_is_refused(case: BadChain) -> None:
    signature = _sign(case.chain[0].key) if case.chain else SIGNATURE
    with pytest.raises(SignatureInvalid):
        _verify([made.der for made in case.chain], signature, roots=case.roots)


def test_extensions_that_are_not_critical_and_other_key_usages_do_not_matter() -> None:
    both = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    leaf = make_leaf(ISSUING, more=[(_STRANGE, False), (both, False)])
    assert _verify([leaf.der, ISSUING.der], _sign(leaf.key)) == KEYS


@pytest.mark.parametrize(
    ("now", "valid"),
    [
        (NOW - HOUR - dt.timedelta(seconds=59), True),
        (NOW - HOUR - dt.timedelta(seconds=61), False),
        (NOW + HOUR + dt.timedelta(seconds=59), True),
        (NOW + HOUR + dt.timedelta(seconds=61), False),
    ],
)
def test_clocks_may_differ_by_a_minute(now: dt.datetime, valid: bool) -> None:
    leaf = make_leaf(ROOT)
    if valid:
        assert _verify([leaf.der], _sign(leaf.key), roots=(_LONG_ROOT.pem,), now=now) == KEYS
    else:
        with pytest.raises(SignatureInvalid, match=r"valid|expired"):
            _verify([leaf.der], _sign(leaf.key), roots=(_LONG_ROOT.pem,), now=now)


_LONG_ROOT = make_ca("root", None, begins=NOW - 10 * HOUR, ends=NOW + 10 * HOUR, key=ROOT.key)


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@given(st.integers(0, 1), st.data())
def test_any_flipped_byte_of_the_chain_is_refused(which: int, data: st.DataObject) -> None:
    changed = bytearray(CHAIN[which])
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    chain = list(CHAIN)
    chain[which] = bytes(changed)
    with pytest.raises(SignatureInvalid):
        _verify(chain)


@given(st.integers(1, 7))
def test_a_certificate_has_one_encoding_only(bits: int) -> None:
    # an even last byte leaves room for unused bits that some parsers tolerate
    while (leaf := make_leaf(ISSUING)).der[-1] % 2:
        pass
    changed = bytearray(leaf.der)
    changed[-len(leaf.certificate.signature) - 1] = bits
    with pytest.raises(SignatureInvalid):
        _verify([bytes(changed), ISSUING.der], _sign(leaf.key))


@given(st.data())
def test_any_flipped_byte_of_payload_or_signature_is_refused(data: st.DataObject) -> None:
    parts = {"payload": bytearray(PAYLOAD), "signature": bytearray(SIGNATURE)}
    changed = parts[data.draw(st.sampled_from(sorted(parts)))]
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SignatureInvalid):
        _verify(CHAIN, bytes(parts["signature"]), bytes(parts["payload"]))


def test_a_signature_made_for_something_else_is_refused() -> None:
    with pytest.raises(SignatureInvalid):
        _verify(CHAIN, LEAF.key.sign(PAYLOAD, ec.ECDSA(hashes.SHA256())))


def test_a_key_set_under_another_name_is_refused() -> None:
    with pytest.raises(SignatureInvalid, match="not other"):
        _verify(CHAIN, name="other")


@pytest.mark.parametrize(("newest_seen", "taken"), [(0, True), (5, True), (6, False)])
def test_versions_never_go_back(newest_seen: int, taken: bool) -> None:
    if taken:
        assert _verify(CHAIN, newest_seen=newest_seen).version == 5
    else:
        with pytest.raises(RolledBack):
            _verify(CHAIN, newest_seen=newest_seen)


@pytest.mark.parametrize("payload", [b"", b"{}", b"[1]", b"\xff"])
def test_signed_nonsense_is_refused_without_a_fault(payload: bytes) -> None:
    with pytest.raises(ResourceRejected):
        _verify(CHAIN, _sign(LEAF.key, payload), payload)


_HOSTS: list[x509.GeneralName] = [
    x509.UniformResourceIdentifier(DOMAIN),
    x509.DNSName("cp.example"),
    x509.IPAddress(ipaddress.ip_network("10.1.0.0/16")),
]


@pytest.mark.parametrize(
    ("host", "permitted", "excluded"),
    [
        (x509.DNSName("cp.example"), True, True),
        (x509.DNSName("a.CP.example"), True, True),
        (x509.DNSName("evilcp.example"), False, False),
        (x509.DNSName("example"), False, False),
        (x509.IPAddress(ipaddress.ip_address("10.1.2.3")), True, True),
        (x509.IPAddress(ipaddress.ip_address("10.2.2.3")), False, False),
        (x509.IPAddress(ipaddress.ip_address("::1")), False, False),
    ],
)
def test_hosts_of_the_signer_are_held_to_what_its_ca_may_issue(
    host: x509.GeneralName, permitted: bool, excluded: bool
) -> None:
    names = (x509.SubjectAlternativeName([x509.UniformResourceIdentifier(SIGNER), host]), False)
    for limits, good in (
        (x509.NameConstraints(permitted_subtrees=_HOSTS, excluded_subtrees=None), permitted),
        (x509.NameConstraints(permitted_subtrees=None, excluded_subtrees=_HOSTS[1:]), not excluded),
    ):
        authority = make_ca("issuing", ROOT, 0, extensions=[(limits, True)])
        leaf = make_certificate("control plane", authority, [names, (usage(digital_signature=True), True)])
        with (
            contextlib.nullcontext() if good else pytest.raises(SignatureInvalid, match="a name in the chain")
        ):
            _verify([leaf.der, authority.der], _sign(leaf.key))
