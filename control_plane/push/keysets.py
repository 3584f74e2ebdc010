"""Signed key sets, ready to be sent: read from the store when they change, signed once for the whole fleet."""

from __future__ import annotations

from collections.abc import Callable

from google.protobuf.any_pb2 import Any as AnyMessage

from bartizan.errors import DependencyError
from bartizan.policy.keyset import KeySet
from bartizan.telemetry.logging import get_logger
from bartizan.xds.snapshot import pack
from control_plane.store.base import Work
from protos.gen.bartizan.identity.v1 import identity_pb2

logger = get_logger()

SignKeySet = Callable[[KeySet], identity_pb2.KeySet]
"""Signs with the control plane's own certificate key; raises DependencyUnavailable before there is one."""


class SignedKeySets:
    """The newest version of every key set that some policy names."""

    def __init__(self, sign: SignKeySet) -> None:
        self._sign = sign
        self._sets: dict[str, KeySet] = {}
        self._signed: dict[str, tuple[int, AnyMessage]] = {}

    def get(self, name: str) -> tuple[int, AnyMessage] | None:
        """Version and signed message; None for a set that is not loaded, does not exist or can't be signed now."""
        return self._signed.get(name)

    def newest(self, name: str) -> int:
        """The version that all shall have, signed or not; 0 when there is no such set."""
        return self._sets[name].version if name in self._sets else 0

    async def load(self, work: Work, name: str) -> bool:
        """Read a set again; True when there is something new to send."""
        key_set = await work.key_sets.get(name)
        if key_set is None:
            return self.forget(name)
        if key_set == self._sets.get(name) and self._signed.get(name, (0,))[0] == key_set.version:
            return False
        self._sets[name] = key_set
        return self._try_signing(name)

    def sign_again(self) -> None:
        """With a new certificate: an old signature ends with the old one."""
        for name in self._sets:
            self._try_signing(name)

    def forget(self, name: str) -> bool:
        self._signed.pop(name, None)
        return self._sets.pop(name, None) is not None

    def _try_signing(self, name: str) -> bool:
        try:
            self._signed[name] = (self._sets[name].version, pack(self._sign(self._sets[name])))
        except DependencyError as error:
            # The old signature, if there is one, is better than none; `sign_again` comes with the certificate.
            logger.warning("key_set_not_signed", key_set=name, reason=str(error))
            return False
        return True
