"""Is this chain the control plane's? Path validation for certificates whose name is one SPIFFE id (a URI).

Used by signing.py for key sets. Our own, because cryptography's verifier knows no URI name constraints. It takes the
chain as sent (leaf first, each issued by the next) and searches for no other path; what it doesn't know it refuses.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import itertools
from collections.abc import Sequence
from typing import TypeVar
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

from bartizan.errors import SignatureInvalid
from bartizan.identity import control_plane_id

LEEWAY = dt.timedelta(seconds=60)
MAX_CHAIN = 4
_KNOWN_CRITICAL = (x509.BasicConstraints, x509.KeyUsage, x509.ExtendedKeyUsage, x509.NameConstraints)
_JUDGED = (x509.UniformResourceIdentifier, x509.DNSName, x509.IPAddress)
_E = TypeVar("_E", bound=x509.ExtensionType)
_STRONG_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)


def verify_control_plane_chain(
    chain_der: Sequence[bytes], roots_pem: Sequence[str], trust_domain: str, now: dt.datetime
) -> x509.Certificate:
    """The leaf of a chain that ends at one of the roots and names the control plane. Raises SignatureInvalid."""
    if not 1 <= len(chain_der) <= MAX_CHAIN:
        raise SignatureInvalid(f"a chain of {len(chain_der)} certificates; expected 1 to {MAX_CHAIN}")
    try:
        chain = [_load(der) for der in chain_der]
        roots = [root for pem in roots_pem for root in x509.load_pem_x509_certificates(pem.encode())]
        path = _complete(chain, roots)
        leaf = path[0]
        _check_leaf(leaf, control_plane_id(trust_domain))
        for depth, certificate in enumerate(path):
            _check_validity(certificate, now)
            _check_critical(certificate)
            if depth > 0:
                _check_authority(certificate, path[:depth])
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.InvalidVersion) as error:
        raise SignatureInvalid("the chain holds something that is no well-formed certificate") from error
    return leaf


def _load(der: bytes) -> x509.Certificate:
    certificate = x509.load_der_x509_certificate(der)
    # cryptography tolerates unused bits in the signature's BIT STRING: one certificate would have several encodings
    if not der.endswith(b"\x00" + certificate.signature):
        raise SignatureInvalid("the chain holds a certificate in an unusual encoding")
    return certificate


def _complete(chain: list[x509.Certificate], roots: list[x509.Certificate]) -> list[x509.Certificate]:
    """The chain with a trusted root at its end, every link verified."""
    if len(chain) > 1 and chain[-1] in roots:
        chain = chain[:-1]
    for certificate, issuer in itertools.pairwise(chain):
        if not _issued(certificate, issuer):
            raise SignatureInvalid("the chain is broken: a certificate was not issued by the next one")
    for root in roots:
        if chain[-1] != root and _issued(chain[-1], root):
            return [*chain, root]
    raise SignatureInvalid("the chain does not end at a trusted root")


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    algorithm = certificate.signature_hash_algorithm
    if algorithm is not None and not isinstance(algorithm, _STRONG_HASHES):
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _check_validity(certificate: x509.Certificate, now: dt.datetime) -> None:
    if now < certificate.not_valid_before_utc - LEEWAY:
        raise SignatureInvalid("a certificate of the chain is not yet valid; check the clocks")
    if now > certificate.not_valid_after_utc + LEEWAY:
        raise SignatureInvalid("a certificate of the chain has expired")


def _check_critical(certificate: x509.Certificate) -> None:
    for extension in certificate.extensions:
        # an empty subject makes the SAN critical (RFC 5280, 4.2.1.6); we read it, so that is fine
        known = isinstance(extension.value, (*_KNOWN_CRITICAL, x509.SubjectAlternativeName))
        if extension.critical and not known:
            raise SignatureInvalid("a certificate has a critical extension that is not known here")


def _check_leaf(leaf: x509.Certificate, expected: str) -> None:
    constraints = _extension(leaf, x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        raise SignatureInvalid("the chain begins with a CA, not with the control plane's certificate")
    usage = _extension(leaf, x509.KeyUsage)
    if usage is not None and not usage.digital_signature:
        raise SignatureInvalid("the control plane's certificate may not sign")
    names = _extension(leaf, x509.SubjectAlternativeName)
    uris = [] if names is None else names.get_values_for_type(x509.UniformResourceIdentifier)
    if uris != [expected]:
        raise SignatureInvalid(f"the signer is not {expected}")


def _check_authority(authority: x509.Certificate, below: list[x509.Certificate]) -> None:
    constraints = _extension(authority, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        raise SignatureInvalid("a certificate of the chain was issued by one that is no CA")
    # path length counts the intermediates between this CA and the leaf
    if constraints.path_length is not None and len(below) - 1 > constraints.path_length:
        raise SignatureInvalid("the chain is longer than one of its CAs allows")
    usage = _extension(authority, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        raise SignatureInvalid("a CA of the chain may not sign certificates")
    limits = _extension(authority, x509.NameConstraints)
    if limits is not None:
        for certificate in below:
            _check_names(certificate, limits)


def _check_names(certificate: x509.Certificate, limits: x509.NameConstraints) -> None:
    """By RFC 5280, 4.2.1.10, for URIs, DNS names and addresses. Names of another kind that is constrained are refused."""
    names = _extension(certificate, x509.SubjectAlternativeName)
    permitted, excluded = limits.permitted_subtrees or [], limits.excluded_subtrees or []
    kinds = {type(subtree) for subtree in permitted}
    for name in names or []:
        constrained = type(name) in kinds | {type(subtree) for subtree in excluded}
        if constrained and not isinstance(name, _JUDGED):
            raise SignatureInvalid("a CA of the chain constrains names of a kind not known here")
        if any(_within(name, subtree) for subtree in excluded):
            raise SignatureInvalid("a name in the chain is excluded by one of its CAs")
        if type(name) in kinds and not any(_within(name, subtree) for subtree in permitted):
            raise SignatureInvalid("a name in the chain is outside of what its CA may issue")


def _within(name: x509.GeneralName, subtree: x509.GeneralName) -> bool:
    match name, subtree:
        case x509.UniformResourceIdentifier(), x509.UniformResourceIdentifier():
            host, domain = urlsplit(name.value).hostname or "", subtree.value.lower()
            return host.endswith(domain) and host != domain if domain.startswith(".") else host == domain
        case x509.DNSName(), x509.DNSName():
            # Unlike a URI's, a DNS name's constraint covers what is below it too.
            host, domain = name.value.lower(), subtree.value.lower().removeprefix(".")
            return not domain or host == domain or host.endswith("." + domain)
        case x509.IPAddress(), x509.IPAddress():
            network = subtree.value
            return (
                isinstance(network, ipaddress.IPv4Network | ipaddress.IPv6Network) and name.value in network
            )
        case _:
            return False


def _extension(certificate: x509.Certificate, kind: type[_E]) -> _E | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
