"""ModelPolicy objects become policies, and what is proven of them becomes their status.

One replica does this at a time (election.py). The cluster holds the master copy: what is in it is applied, what is gone
from it is deleted, at every start and every ten minutes anew, so that neither a missed event nor a store from a backup
makes a lasting difference. No finalizer: deleting a namespace never waits for us.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Protocol

from bartizan import tasks
from bartizan.api import Applied, PolicyStatus
from bartizan.errors import BartizanError, DependencyError, NotFound, PolicyInvalid
from bartizan.telemetry.logging import get_logger
from bartizan.telemetry.metrics import RECONCILES
from control_plane.kubernetes.objects import KIND, Gone, PolicyObject
from control_plane.kubernetes.status import SIDECARS, Fate, Outcome, Unit, differs, plain, status_of
from control_plane.policies.actor import Actor
from control_plane.policies.revisions import PolicyConflict
from control_plane.policies.service import KeptElsewhere
from control_plane.store.base import PolicyRow

GATHER_SECONDS = 0.2
MOST_SPENT = 1.0
"""A round that waited for the API server, too, does not make the next one late (seconds)."""
RETRY_SECONDS = 5.0
RELIST_SECONDS = 600.0
log = get_logger()


class Objects(Protocol):
    """cluster_policies.py, as far as it is used here."""

    async def list(self) -> tuple[Sequence[PolicyObject], str]: ...
    def watch(self, version: str) -> AsyncIterator[tuple[str, PolicyObject | None, str]]: ...
    async def put_status(self, one: PolicyObject, status: dict[str, Any]) -> PolicyObject | None: ...


class Service(Protocol):
    """Policies or MeshPolicies, as far as they are used here."""

    async def apply(self, text: bytes, actor: Actor, *, reason: str, expected: int | None) -> Applied: ...
    async def delete(self, name: str, actor: Actor) -> None: ...
    async def state(self, name: str) -> State: ...
    async def states(self) -> Sequence[State]: ...


class State(Protocol):
    @property
    def row(self) -> PolicyRow: ...


class Reconciler:
    """`run` until cancelled. proven: the status of a policy by its name; changed: waits for the next change of any.

    leads: whether this replica still holds the lease. One that was stopped wakes with objects and proofs that may be old.
    """

    def __init__(
        self,
        objects: Objects,
        policies: Service,
        *,
        proven: Callable[[str], PolicyStatus],
        changed: Callable[[int], Any],
        leads: Callable[[], bool] = lambda: True,
        now: Callable[[], str] | None = None,
        retry: float = RETRY_SECONDS,
        relist: float = RELIST_SECONDS,
    ) -> None:
        self._cluster = objects
        self._policies = policies
        self._proven = proven
        self._changed = changed
        self._leads = leads
        self._now = now or _now
        self._retry = retry
        self._relist = relist
        self._known: dict[str, PolicyObject] = {}
        self._outcomes: dict[str, Outcome] = {}
        # What is known of an object and what is applied of it change together: an older word never overtakes a newer.
        self._turn = asyncio.Lock()
        self._wake = asyncio.Event()

    _kind: str = KIND
    _unit: Unit = SIDECARS

    async def run(self) -> None:
        async with tasks.Group() as group:
            tasks.start(group, self._follow_cluster(), name="kubernetes-watch")
            tasks.start(group, self._follow_fleet(), name="kubernetes-fleet")
            tasks.start(group, self._show(), name="kubernetes-status")
            tasks.start(group, self._try_again(), name="kubernetes-retry")

    # cluster -> policies

    async def _follow_cluster(self) -> None:
        said = ""
        while True:
            try:
                version = await self._take_all()
                said = ""
                await self._watch(version)
            except Gone:
                await asyncio.sleep(GATHER_SECONDS)  # for a server that always says so
            except BartizanError as error:
                if str(error) != said:
                    log.warning("cluster_not_followed", reason=str(error))
                said = str(error)
                await asyncio.sleep(self._retry)

    async def _watch(self, version: str) -> None:
        """Goes on where an ended watch stopped; returns when it is time to list anew."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._relist
        said = ""
        while loop.time() < until:
            try:
                async for kind, one, reached in self._cluster.watch(version):
                    if one is not None:
                        await (self._drop(one) if kind == "DELETED" else self._take(one))
                    # Only now: what could not be done (the store is away) comes again.
                    version = reached or version
                said = ""
            except DependencyError as error:
                # The API server restarts, a proxy cuts: nothing is missed as long as the version is known there.
                if str(error) != said:
                    log.info("watch_broken", reason=str(error))
                said = str(error)
                await asyncio.sleep(self._retry)

    async def _take_all(self) -> str:
        objects, version = await self._cluster.list()
        listed = {one.qualified_name for one in objects}
        for one in objects:
            await self._take(one, anew=True)
        for name in self._known.keys() - listed:
            await self._drop(self._known[name])
        for state in await self._policies.states():
            if state.row.origin == "kubernetes" and state.row.name not in listed:
                log.info("policy_without_object", policy=state.row.name)
                await self._delete(state.row.name)
        return version

    async def _take(self, one: PolicyObject, *, anew: bool = False) -> None:
        name = one.qualified_name
        async with self._turn:
            self._known[name] = one
            done = self._outcomes.get(name)
            same = done is not None and (done.uid, done.generation) == (
                one.metadata.uid,
                one.metadata.generation,
            )
            if anew or not same:
                await self._apply(one)
        self._wake.set()

    async def _apply(self, one: PolicyObject) -> None:
        name = one.qualified_name
        outcome = await self._outcome(one)
        if self._outcomes.get(name) != outcome:
            log.info("model_policy", policy=name, generation=outcome.generation, result=outcome.fate)
        RECONCILES.labels(outcome.fate).inc()
        self._outcomes[name] = outcome

    async def _outcome(self, one: PolicyObject) -> Outcome:
        def made(fate: Fate, message: str = "", **more: Any) -> Outcome:
            generation, uid = one.metadata.generation, one.metadata.uid
            return Outcome(generation=generation, uid=uid, fate=fate, message=message, **more)

        try:
            newest = await self._newest(one.qualified_name)
            if not self._leads():
                return made("Waiting", "another replica reconciles")
            reason = f"generation {one.metadata.generation}"
            applied = await self._policies.apply(
                one.document(), self._actor(one.qualified_name), reason=reason, expected=newest
            )
        except PolicyInvalid as error:
            return made("Invalid", error.summary, problems=error.problems)
        except PolicyConflict as error:
            return made("Conflict", "another policy stands in the way", problems=error.problems)
        except KeptElsewhere as error:
            return made("KeptElsewhere", str(error))
        except BartizanError as error:
            return made("Waiting", str(error))
        return made("Accepted", warnings=applied.warnings)

    async def _newest(self, name: str) -> int:
        try:
            return (await self._policies.state(name)).row.revision
        except NotFound:
            return 0

    async def _drop(self, one: PolicyObject) -> None:
        name = one.qualified_name
        async with self._turn:
            done = self._outcomes.get(name)
            if done is not None and done.uid != one.metadata.uid:
                return  # a late word about a predecessor of the same name
            self._known.pop(name, None)
            self._outcomes.pop(name, None)
            await self._delete(name)

    async def _delete(self, name: str) -> None:
        if not self._leads():
            return
        try:
            await self._policies.delete(name, self._actor(name))
        except (NotFound, KeptElsewhere):
            return
        except PolicyInvalid as refusal:
            # A MeshPolicy whose defaults an endpoint needs: it holds on, and the next listing tries again.
            log.warning("policy_still_needed", policy=name, reason=str(refusal))
            return
        RECONCILES.labels("Deleted").inc()
        log.info("model_policy", policy=name, result="Deleted")
        self._wake.set()

    async def _try_again(self) -> None:
        """What others stand in the way of may be free now."""
        while True:
            await asyncio.sleep(self._retry)
            for name in list(self._outcomes):
                async with self._turn:
                    # looked up in turn: meanwhile it may be another object, or none
                    one, outcome = self._known.get(name), self._outcomes.get(name)
                    if one is not None and outcome is not None and outcome.hangs_on_others:
                        await self._apply(one)
                        self._wake.set()

    # policies -> status

    async def _follow_fleet(self) -> None:
        generation = -1
        while True:
            generation = await self._changed(generation)
            self._wake.set()

    async def _show(self) -> None:
        loop = asyncio.get_running_loop()
        spent = 0.0
        said: dict[str, str] = {}
        while True:
            await self._wake.wait()
            # A large fleet that stirs all the time costs a tenth of this process at most.
            await asyncio.sleep(max(GATHER_SECONDS, 9 * spent))
            self._wake.clear()
            began, failed = loop.time(), said
            said = {}
            for name in list(self._known):
                try:
                    await self._show_one(name)
                except NotFound:
                    continue  # deleted meanwhile; its event is on the way
                except BartizanError as error:
                    said[name] = str(error)
                    if failed.get(name) != said[name]:
                        log.warning("status_not_written", policy=name, reason=said[name])
                    # later, without keeping the others waiting
                    loop.call_later(self._retry, self._wake.set)
                await asyncio.sleep(0)  # others' turn: judging thousands of sidecars takes milliseconds
            spent = min(loop.time() - began, MOST_SPENT)

    async def _show_one(self, name: str) -> None:
        one, outcome = self._known.get(name), self._outcomes.get(name)
        if one is None or outcome is None:
            return
        # Of a name that is kept elsewhere nothing is ours to tell.
        ours = outcome.fate != "KeptElsewhere"
        proven = await self._proof(name if ours else "")
        status = plain(status_of(outcome, proven, one.status, self._now(), self._unit))
        if not differs(status, one.status) or not self._leads():
            return
        shown = await self._cluster.put_status(one, status)
        now = self._known.get(name)
        if shown is not None and now is not None and now.metadata == one.metadata:
            self._known[name] = shown

    async def _proof(self, name: str) -> PolicyStatus:
        return self._proven(name)

    def _actor(self, name: str) -> Actor:
        kind = f"{self._kind} {name}"
        return Actor(token_id="kubernetes", name=kind, role="kubernetes", origin="kubernetes")


def _now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
