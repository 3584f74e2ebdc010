"""What went wrong with each secret at the last try on this replica: a constant word for the API, the text for the log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bartizan.errors import BartizanError, DependencyError, DependencyRefused, NotFound
from bartizan.telemetry.logging import get_logger
from control_plane.secrets.providers.base import ProviderRefused, ProviderUnavailable
from control_plane.secrets.rotation.effects import ValueUnusable

log = get_logger()

TROUBLES = frozenset({"vault_away", "verifier_refuses_new_key"})
"""What a rotation's machine waits for although it should not have to."""


class Faults:
    """One word for each secret, forgotten after a try without fault."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, str]] = {}
        self._failing: set[str] = set()

    def word(self, name: str) -> str:
        """Constant snake_case; "" when all went well."""
        return self._known.get(name, ("", ""))[0]

    @contextmanager
    def trying(self, name: str) -> Iterator[None]:
        """One try: what is not told again is mended."""
        self._failing.discard(name)
        try:
            yield
        finally:
            if name not in self._failing:
                self._known.pop(name, None)

    def tell(self, name: str, error: BartizanError) -> None:
        """Logged once per change: a rotation that waits for hours fills no log."""
        fault = _word(error), str(error)
        self._failing.add(name)
        if self._known.get(name) != fault:
            self._known[name] = fault
            log.warning("rotation_waits", secret_name=name, error=fault[0], reason=fault[1])


def _word(error: BartizanError) -> str:
    match error:
        case ProviderUnavailable():
            return "provider_unavailable"
        case ProviderRefused():
            return "provider_refused"
        case ValueUnusable():
            return "value_unusable"
        case NotFound():
            return "value_missing"
        case DependencyRefused():
            return "vault_refused"
        case DependencyError():
            return "vault_unavailable"
        case _:
            return "definition_unusable"
