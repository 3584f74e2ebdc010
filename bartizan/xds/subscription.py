"""State of one state-of-the-world xDS stream, both ends, without I/O: what was asked, what was sent, what is due.

The server (bartizan/xds/server.py) feeds requests in and sends what `Stream.due` returns; the client keeps one
`Interest` per type. Rules: https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from bartizan.errors import ProtocolViolation
from bartizan.policy.names import TYPE_BUNDLE, TYPE_CLUSTER, TYPE_LISTENER

T = TypeVar("T")

WILDCARD = "*"
EVERYTHING: frozenset[str] = frozenset({WILDCARD})

# A response of these types always carries the whole set: what is absent no longer exists. Bundles belong here, because
# an agent must learn that no policy selects it any longer.
FULL_STATE: frozenset[str] = frozenset({TYPE_LISTENER, TYPE_CLUSTER, TYPE_BUNDLE})
# Only for these an empty list of names in a first request means everything; other types say "*".
IMPLICIT_WILDCARD: frozenset[str] = frozenset({TYPE_LISTENER, TYPE_CLUSTER})

# Initial metadata of a stream whose session was opened.
SESSION_OPEN = "bartizan-session-open"

MAX_TYPES = 32
MAX_NAMES = 4096
MAX_REASON = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a subscriber says about one type. `error` is the reason of a NACK, None otherwise."""

    type_url: str
    names: tuple[str, ...] = ()
    version: str = ""
    nonce: str = ""
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Response(Generic[T]):
    """What a subscriber is sent; `items` by resource name."""

    type_url: str
    version: str
    nonce: str
    items: Mapping[str, T]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribed:
    """The set of wanted names is new or has changed; `names` may hold WILDCARD."""

    type_url: str
    names: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Acked:
    type_url: str
    version: str
    nonce: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Nacked:
    type_url: str
    version: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stale:
    """An answer to a response that was superseded: it changes nothing."""

    type_url: str
    nonce: str


Event = Subscribed | Acked | Nacked | Stale


@dataclass(slots=True)
class _Type(Generic[T]):
    wanted: frozenset[str] = frozenset()
    allowed: frozenset[str] = frozenset()
    explicit: bool = False
    """Names were given once: from then on an empty list means nothing, no longer everything."""
    held: str = ""
    """Version that the subscriber brought from an earlier stream; cleared by the first look at the snapshot."""
    sent: dict[str, T] = field(default_factory=dict)
    version: str = ""
    nonce: str = ""
    answered: str = ""
    """The nonce of the last response that was accepted or refused."""
    awaiting: bool = False
    owed: bool = False
    """A full-state answer is due even if nothing differs: the subscriber asked for more and must learn what is absent."""


class Stream(Generic[T]):
    """The server's end of one stream. At most one response per type is unanswered, so slow subscribers coalesce."""

    def __init__(self, nonces: Callable[[], str], *, full_state: frozenset[str] = FULL_STATE) -> None:
        self._nonces = nonces
        self._full_state = full_state
        self._types: dict[str, _Type[T]] = {}

    @property
    def types(self) -> tuple[str, ...]:
        """Type URLs asked for so far, in order of their first request."""
        return tuple(self._types)

    def receive(self, request: Request) -> tuple[Event, ...]:
        """Take a request in. After a Subscribed event the caller must `allow` names before anything is due.

        Raises ProtocolViolation when the subscriber asks for more than this process is willing to remember.
        """
        state = self._types.get(request.type_url)
        first = state is None
        if state is None:
            if len(self._types) >= MAX_TYPES:
                raise ProtocolViolation("too many resource types on one stream")
            state = _Type(held=request.version)
        # A change of names that crosses a response carries the nonce before it. It answers nothing, but it counts: who
        # drops a name and wants it again meanwhile has nothing of it any more.
        late = not first and bool(request.nonce) and request.nonce != state.nonce
        if late and request.nonce != state.answered:
            return (Stale(type_url=request.type_url, nonce=request.nonce),)
        if len(request.names) > MAX_NAMES:
            raise ProtocolViolation("too many resource names in one request")
        self._types[request.type_url] = state

        events: list[Event] = []
        if request.nonce and state.awaiting and not late:
            state.awaiting, state.answered = False, request.nonce
            if request.error is None:
                events.append(Acked(type_url=request.type_url, version=state.version, nonce=request.nonce))
            else:
                reason = request.error[:MAX_REASON]
                events.append(Nacked(type_url=request.type_url, version=state.version, reason=reason))

        wanted = self._wanted(request, state)
        if first or wanted != state.wanted:
            state.owed = state.owed or bool(wanted - state.wanted)
            state.wanted = wanted
            events.append(Subscribed(type_url=request.type_url, names=wanted))
        elif late:
            events.append(Stale(type_url=request.type_url, nonce=request.nonce))
        return tuple(events)

    def _wanted(self, request: Request, state: _Type[T]) -> frozenset[str]:
        names = frozenset(request.names)
        if names:
            state.explicit = True
        elif not state.explicit and request.type_url in IMPLICIT_WILDCARD:
            return EVERYTHING
        return EVERYTHING if WILDCARD in names else names

    def allow(self, type_url: str, names: frozenset[str]) -> None:
        """Set which of the wanted names this subscriber may get; what it lost is forgotten, so it can be sent anew."""
        state = self._types[type_url]
        state.allowed = names
        if WILDCARD not in names:
            state.sent = {name: item for name, item in state.sent.items() if name in names}

    def due(self, type_url: str, version: str, items: Mapping[str, T]) -> Response[T] | None:
        """What to send now, given the newest resources of a type, or None. Calling it counts as sending.

        Never due: to a type nobody asked for, while a response of that type is unanswered, and what did not change
        for this subscriber, also when the last response was refused.
        """
        state = self._types.get(type_url)
        if state is None or state.awaiting:
            return None
        visible = self._visible(state, items)
        held, state.held = state.held, ""
        if type_url in self._full_state:
            if held and held == version and WILDCARD in state.allowed:
                state.sent, state.version, state.owed = visible, version, False
                return None
            if not state.owed and visible == state.sent:
                return None
            payload = visible
        else:
            payload = {name: item for name, item in visible.items() if state.sent.get(name) != item}
            if not payload:
                state.sent = visible
                return None
        state.sent, state.version, state.nonce = visible, version, self._nonces()
        state.awaiting, state.owed = True, False
        return Response(type_url=type_url, version=version, nonce=state.nonce, items=payload)

    @staticmethod
    def _visible(state: _Type[T], items: Mapping[str, T]) -> dict[str, T]:
        if WILDCARD in state.allowed:
            return dict(items)
        return {name: items[name] for name in state.allowed if name in items}


@dataclass(slots=True)
class Interest:
    """The client's end for one type. `version` is the newest accepted one and survives the stream; `nonce` does not."""

    type_url: str
    names: frozenset[str] = EVERYTHING
    version: str = ""
    nonce: str = ""
    error: str | None = None

    def new_stream(self) -> None:
        """Nonces have no meaning outside of the stream that made them."""
        self.nonce, self.error = "", None

    def want(self, names: frozenset[str]) -> None:
        """Change the wanted names. Whoever wants more has no version in full any longer and must not claim one."""
        if WILDCARD not in self.names and not names <= self.names:
            self.version = ""
        self.names = names

    def accepted(self, version: str, nonce: str | None) -> None:
        """`nonce` is None when the stream that brought the response is gone: there is nobody to answer."""
        self.version = version
        if nonce is not None:
            self.nonce, self.error = nonce, None

    def rejected(self, reason: str, nonce: str | None) -> None:
        if nonce is not None:
            self.nonce, self.error = nonce, reason[:MAX_REASON]

    def request(self) -> Request:
        """The request to send now. A reason of refusal is told once."""
        error, self.error = self.error, None
        return Request(
            type_url=self.type_url,
            names=tuple(sorted(self.names)),
            version=self.version,
            nonce=self.nonce,
            error=error,
        )
