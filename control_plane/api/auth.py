"""Who calls the API and what they may do: roles, admin tokens, the bootstrap token, and a brake on guessing.

Tokens are 256 random bits, stored as SHA-256; the lookup is by that hash, so its time says nothing about a token.
"""

from __future__ import annotations

import contextlib
import enum
import hmac
import ipaddress
import os
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path

from bartizan.api import IssuedToken, NewToken
from bartizan.errors import BartizanError, DependencyError, Forbidden, InvalidInput, NotFound, Problem
from bartizan.identity import secret_hash
from control_plane.policies.actor import Actor
from control_plane.store.base import AdminTokenRow, Store

TOKEN_PREFIX = "bzt_"
BOOTSTRAP = "bootstrap"
_EXPIRED = (
    "the token expired: make a new one with POST /v1/tokens, or on the control plane's host with `bartizan control-plane "
    "new-admin`; `bartizan up` renews the laptop's"
)
_UNLIMITED = Problem(
    path="tenants",
    code="invalid_value",
    message="only tokens of the role auditor can be limited to tenants",
    hint="leave tenants out, or make it an auditor's",
)
_TOUCH_SECONDS = 60.0


class Permission(enum.StrEnum):
    """What an operation asks for."""

    READ = "read"
    WRITE_POLICIES = "write_policies"
    WRITE_MESH = "write_mesh_policies"
    ROLL_OUT = "roll_out"
    MANAGE_KEYS = "manage_keys"
    MANAGE_FLEET = "manage_fleet"
    MANAGE_SECRETS = "manage_secrets"
    READ_AUDIT = "read_audit"
    MANAGE_TOKENS = "manage_tokens"


_READ = frozenset({Permission.READ})
ROLES: Mapping[str, frozenset[Permission]] = {
    "viewer": _READ,
    "author": _READ | {Permission.WRITE_POLICIES, Permission.ROLL_OUT},
    "platform": _READ | {Permission.WRITE_POLICIES, Permission.WRITE_MESH, Permission.ROLL_OUT},
    "operator": _READ
    | {
        Permission.ROLL_OUT,
        Permission.MANAGE_KEYS,
        Permission.MANAGE_FLEET,
        Permission.MANAGE_SECRETS,
    },
    "auditor": _READ | {Permission.READ_AUDIT},
    "admin": frozenset(Permission),
    # The bootstrap token makes the first admin token and can do nothing else.
    BOOTSTRAP: frozenset({Permission.MANAGE_TOKENS}),
}


class Unauthenticated(BartizanError):
    """No token, or one that is unknown, expired or revoked."""


class TooManyFailures(BartizanError):
    """The address presented too many bad tokens; `retry_after` in seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("too many failed attempts from this address")
        self.retry_after = retry_after


class Brake:
    """A token bucket of failures per address (IPv6: per /64), bounded: the address idle longest is forgotten."""

    def __init__(self, *, burst: int = 10, refill_seconds: float = 6.0, addresses: int = 4096) -> None:
        self._burst = burst
        self._refill = refill_seconds
        self._addresses = addresses
        self._spent: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, peer: str, now: float) -> float:
        """Seconds until this address may try again; 0 when it may now."""
        used = self._used(_network(peer), now)
        return 0.0 if used <= self._burst - 1 else (used - self._burst + 1) * self._refill

    def failed(self, peer: str, now: float) -> None:
        network = _network(peer)
        self._spent[network] = (self._used(network, now) + 1, now)
        self._spent.move_to_end(network)
        while len(self._spent) > self._addresses:
            self._spent.popitem(last=False)

    def _used(self, network: str, now: float) -> float:
        used, at = self._spent.get(network, (0.0, now))
        return max(0.0, used - (now - at) / self._refill)


class Tokens:
    """Makes, checks and revokes admin tokens."""

    def __init__(
        self,
        store: Store,
        bootstrap_file: Path,
        *,
        clock: Callable[[], float] = time.time,
        brake: Brake | None = None,
    ) -> None:
        self._store = store
        self._bootstrap_file = bootstrap_file
        self._clock = clock
        self._brake = brake or Brake()
        # Recently good hashes: their owners are not locked out when somebody behind the same address guesses.
        self._good: OrderedDict[str, None] = OrderedDict()

    async def prepare_bootstrap(self) -> Path | None:
        """The bootstrap token's file (mode 0600), made when no admin token is alive; None when one is.

        A restart after the last admin token ended is therefore the way back in, for who can read the state folder.
        """
        if await self._has_admin():
            self._bootstrap_file.unlink(missing_ok=True)
            return None
        while True:
            if self._bootstrap_file.exists() and not _is_token(self._bootstrap_file):
                # Cut short by a crash while it was written.
                self._bootstrap_file.unlink()
            with contextlib.suppress(FileExistsError):
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
                with os.fdopen(os.open(self._bootstrap_file, flags, 0o600), "w", encoding="ascii") as file:
                    file.write(_new_token() + "\n")
            digest = secret_hash(self._bootstrap_file.read_text(encoding="ascii").strip())
            # In the store, because the administrator's next call may come to another replica.
            async with self._store.begin() as work:
                if await work.tokens.offer_bootstrap(digest, at=self._clock()):
                    return self._bootstrap_file
            self._bootstrap_file.unlink()  # spent, at another replica

    async def authenticate(self, token: str, peer: str, request_id: str) -> Actor:
        """Raises Unauthenticated or TooManyFailures."""
        now = self._clock()
        digest = secret_hash(token)
        wait = self._brake.wait(peer, now)
        if wait > 0 and digest not in self._good:
            raise TooManyFailures(wait)
        if token.startswith(TOKEN_PREFIX):
            row = await self._find(digest, now)
            if row is not None and row.expires_at <= now:
                # Who knows the whole secret guesses nothing, and is told what to do.
                self._good.pop(digest, None)
                raise Unauthenticated(_EXPIRED)
            if row is not None:
                self._remember(digest)
                return Actor(
                    token_id=row.id,
                    name=row.name,
                    role=row.role,
                    tenants=row.tenants,
                    peer=peer,
                    request_id=request_id,
                )
            async with self._store.begin() as work:
                if await work.tokens.is_bootstrap(digest):
                    return Actor(
                        token_id=BOOTSTRAP, name=BOOTSTRAP, role=BOOTSTRAP, peer=peer, request_id=request_id
                    )
        self._good.pop(digest, None)
        self._brake.failed(peer, now)
        raise Unauthenticated("no valid admin token was presented")

    async def create(self, ask: NewToken, actor: Actor, *, act: str = "token.create") -> IssuedToken:
        """act: what its event is called. Raises Forbidden when the bootstrap token asks for another role than admin, or comes second, or when the
        actor is limited itself; InvalidInput for limits that the role would not keep.
        """
        if ask.tenants and ask.role != "auditor":
            raise InvalidInput("the token was refused", [_UNLIMITED])
        if actor.tenants:
            raise Forbidden("a token that is limited to tenants makes no tokens")
        now = self._clock()
        token, token_id = _new_token(), secrets.token_hex(8)
        row = AdminTokenRow(
            id=token_id,
            hash=secret_hash(token),
            name=ask.name,
            role=ask.role,
            tenants=ask.tenants,
            created_at=now,
            created_by=actor.label,
            expires_at=now + ask.ttl_seconds,
        )
        bootstrap = actor.role == BOOTSTRAP
        if bootstrap and ask.role != "admin":
            raise Forbidden("the bootstrap token makes the first admin token and nothing else")
        async with self._store.begin() as work:
            spent = bootstrap and any(_alive_admin(other, now) for other in await work.tokens.all())
            if spent or (bootstrap and not await work.tokens.spend_bootstrap(at=now)):
                raise Forbidden("the bootstrap token was spent")
            await work.tokens.add(row)
            detail = {"role": ask.role, "name": ask.name, "ttl_seconds": ask.ttl_seconds}
            await work.events.record(actor.event(now, act, token_id, detail))
        if bootstrap:
            self._bootstrap_file.unlink(missing_ok=True)
        return IssuedToken(id=token_id, token=token, role=ask.role, expires_at=row.expires_at)

    async def revoke(self, token_id: str, actor: Actor) -> None:
        """Raises NotFound."""
        now = self._clock()
        async with self._store.begin() as work:
            if not await work.tokens.revoke(token_id, at=now):
                raise NotFound(f"no valid token {token_id}")
            await work.events.record(actor.event(now, "token.revoke", token_id))

    async def _find(self, digest: str, now: float) -> AdminTokenRow | None:
        async with self._store.begin() as work:
            row = await work.tokens.by_hash(digest)
            if row is None or not hmac.compare_digest(row.hash, digest) or row.revoked_at is not None:
                return None
        if _alive(row, now) and now - (row.used_at or 0.0) >= _TOUCH_SECONDS:
            # A full disk must not lock out who comes to look.
            with contextlib.suppress(DependencyError):
                async with self._store.begin() as work:
                    await work.tokens.touch(row.id, at=now)
        return row

    async def _has_admin(self) -> bool:
        async with self._store.begin() as work:
            return any(_alive_admin(row, self._clock()) for row in await work.tokens.all())

    def _remember(self, digest: str) -> None:
        self._good[digest] = None
        self._good.move_to_end(digest)
        while len(self._good) > 1024:
            self._good.popitem(last=False)


def check_permission(actor: Actor, permission: Permission) -> None:
    """Raises Forbidden; the message names what is missing, and who has it."""
    if permission not in ROLES.get(actor.role, frozenset()):
        able = ", ".join(role for role, permissions in ROLES.items() if permission in permissions)
        raise Forbidden(f"role {actor.role} lacks the permission {permission.value}, which have: {able}")


def _is_token(path: Path) -> bool:
    text = path.read_bytes().strip()
    return text.startswith(TOKEN_PREFIX.encode()) and len(text) >= len(TOKEN_PREFIX) + 43


def _new_token() -> str:
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def _alive(row: AdminTokenRow, now: float) -> bool:
    return row.revoked_at is None and row.expires_at > now


def _alive_admin(row: AdminTokenRow, now: float) -> bool:
    return row.role == "admin" and _alive(row, now)


def _network(peer: str) -> str:
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
