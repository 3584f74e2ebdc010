"""The pool of guard workers: keeps them alive, and knows all they must hold, so that a successor gets it at once.

apply.py asks it to load and drop plans; key sets and JWKS go through here to every worker, now and after a restart.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from bartizan.errors import ProcessFailed, ResourceRejected
from bartizan.policy.bundle import GuardPlan
from bartizan.policy.canonical import plan_hash
from bartizan.policy.keyset import KeySet
from bartizan.telemetry import metrics
from bartizan.telemetry.logging import get_logger
from sidecar.agent.changes import Changes
from sidecar.agent.messages import (
    AgentMessage,
    Configure,
    Drop,
    Listen,
    Load,
    SetJwks,
    SetKeys,
    SetPseudonymKeys,
)
from sidecar.agent.supervisor import Restarts
from sidecar.agent.worker import Worker

LOAD_TIMEOUT = 30.0
_COUNTERS = ("_total", "_bucket", "_sum", "_count", "_created")

log = get_logger()


def _nobody(_request: bytes) -> None:
    """Takes spans of which a worker was told that nobody takes them."""


class WorkerPool:
    """N workers on guard-0.sock … guard-N.sock in the run folder."""

    def __init__(
        self,
        *,
        count: int,
        run_dir: Path,
        probe_key: bytes,
        environment: Mapping[str, str],
        changes: Changes,
        on_audit: Callable[[tuple[bytes, ...]], None],
        on_lost: Callable[[], None],
        on_spans: Callable[[bytes], None] | None = None,
    ) -> None:
        """`on_lost`: a worker ended with records that nobody can count; `on_spans`: who takes spans, if anybody does."""
        self.count = count
        self._run_dir = run_dir
        self._probe_key = probe_key
        self._environment = environment
        self._changes = changes
        self._on_audit = on_audit
        self._on_lost = on_lost
        self._on_spans = on_spans
        self._instance_id = ""
        self._plans: dict[str, GuardPlan] = {}
        self._key_sets: dict[str, KeySet] = {}
        self._jwks: dict[str, dict[str, Any]] = {}
        self._pseudonym_keys: dict[str, bytes] = {}
        self._workers: dict[int, Worker] = {}
        self._buried: Counter[str] = Counter()
        self._stopping = False

    def start(self, group: asyncio.TaskGroup) -> None:
        """Start and supervise all workers in the process's group."""
        for index in range(self.count):
            group.create_task(self._supervise(index), name=f"worker-{index}")

    async def stop(self, deadline: float) -> None:
        """Let every worker finish and hand in its last records; those that take longer are killed with their tasks."""
        self._stopping = True
        for worker in self._workers.values():
            worker.terminate()
        ended = await self._changes.until(lambda: not self._workers, deadline)
        if not ended and any(worker.may_owe for worker in self._workers.values()):
            self._on_lost()

    def set_instance(self, instance_id: str) -> None:
        """The id that audit records carry; known only after attestation."""
        if instance_id != self._instance_id:
            self._instance_id = instance_id
            for worker in self._workers.values():
                worker.tell(self._configure(worker.index))

    async def load(self, plan: GuardPlan) -> str:
        """Every worker builds the plan beside its current one. Returns the plan's hash, equal in all of them.

        Raises ResourceRejected when one can't build it; the workers then hold what they held under its id before.
        """
        wanted = plan_hash(plan)
        before = self._plans.get(plan.id)
        self._tell_plan(plan)

        def answered() -> bool:
            return len(self._workers) == self.count and all(
                plan.id in worker.loaded and worker.listening for worker in self._workers.values()
            )

        if not await self._changes.until(answered, LOAD_TIMEOUT):
            self._put_back(plan.id, before)
            raise ResourceRejected("worker_timeout")
        answers = [worker.loaded[plan.id] for worker in self._workers.values()]
        errors = [answer.error for answer in answers if answer.error]
        if errors:
            self._put_back(plan.id, before)
            raise ResourceRejected(f"plan_not_loadable: {errors[0]}")
        if any(answer.hash != wanted for answer in answers):
            self._put_back(plan.id, before)
            raise ResourceRejected("plan_hash_mismatch")
        return wanted

    def _tell_plan(self, plan: GuardPlan) -> None:
        self._plans[plan.id] = plan
        for worker in self._workers.values():
            worker.loaded.pop(plan.id, None)
            worker.tell(Load(plan=plan))

    def _put_back(self, plan_id: str, before: GuardPlan | None) -> None:
        """Never drop what routes may still name."""
        if before is None:
            self.drop(plan_id)
        else:
            self._tell_plan(before)

    def drop(self, plan_id: str) -> None:
        """Forget a plan that no route names any more."""
        if self._plans.pop(plan_id, None) is None:
            return
        for worker in self._workers.values():
            worker.loaded.pop(plan_id, None)
            worker.tell(Drop(plan_id=plan_id))

    def set_keys(self, key_set: KeySet) -> None:
        """Give every worker a verified key set."""
        self._key_sets[key_set.name] = key_set
        for worker in self._workers.values():
            worker.tell(SetKeys(key_set=key_set))

    def set_jwks(self, issuer: str, jwks: dict[str, Any]) -> None:
        """Give every worker an issuer's keys; a set without any takes them all away."""
        self._jwks[issuer] = jwks
        if not jwks["keys"]:
            del self._jwks[issuer]  # a successor starts with none
        for worker in self._workers.values():
            worker.tell(SetJwks(issuer=issuer, jwks=jwks))

    @property
    def plans(self) -> tuple[GuardPlan, ...]:
        """What workers hold: a plan stays until no route names it any more."""
        return tuple(self._plans.values())

    def set_pseudonym_keys(self, keys: Mapping[str, bytes]) -> None:
        """Give every worker the keys of pseudonyms: these and no others."""
        self._pseudonym_keys = dict(keys)
        for worker in self._workers.values():
            worker.tell(SetPseudonymKeys(keys=self._pseudonym_keys))

    def loaded(self, plan_id: str) -> int:
        """How many workers answer Envoy with this plan now."""
        return sum(
            1
            for worker in self._workers.values()
            if worker.listening and plan_id in worker.loaded and not worker.loaded[plan_id].error
        )

    def key_set_versions(self) -> dict[str, int]:
        """Of each set, the oldest version that a worker uses (missing in one: not listed)."""
        workers = list(self._workers.values())
        return {
            name: min(worker.key_sets[name] for worker in workers)
            for name in self._key_sets
            if len(workers) == self.count and all(name in worker.key_sets for worker in workers)
        }

    def pids(self) -> list[int]:
        """Process ids of the running workers, for status and fault tests."""
        return [worker.pid for worker in self._workers.values() if worker.pid is not None]

    def metrics(self) -> dict[str, float]:
        """Samples of all workers added up; counters of dead workers stay in, so that they never fall."""
        total = Counter(self._buried)
        for worker in self._workers.values():
            total.update(worker.metrics)
        return dict(total)

    def _configure(self, index: int) -> Configure:
        return Configure(
            instance_id=self._instance_id,
            worker=index,
            workers=self.count,
            probe_key=self._probe_key,
            traces=self._on_spans is not None,
        )

    def _state(self, index: int) -> list[AgentMessage]:
        """Keys before plans: a plan never answers for a moment without its keys. It listens when it has everything."""
        return [
            self._configure(index),
            *(SetKeys(key_set=key_set) for key_set in self._key_sets.values()),
            *(SetJwks(issuer=issuer, jwks=jwks) for issuer, jwks in self._jwks.items()),
            SetPseudonymKeys(keys=self._pseudonym_keys),
            *(Load(plan=plan) for plan in self._plans.values()),
            Listen(),
        ]

    async def _supervise(self, index: int) -> None:
        restarts = Restarts()
        while True:
            worker = Worker(
                index,
                self._run_dir / f"guard-{index}.sock",
                self._environment,
                self._changes.notify,
                self._on_audit,
                self._on_spans or _nobody,
            )
            self._workers[index] = worker
            try:
                await worker.run(partial(self._state, index))
            except (ProcessFailed, OSError) as error:
                if worker.may_owe:
                    self._on_lost()
                if self._stopping:
                    return
                log.warning("worker_ended", worker=index, reason=str(error))
            finally:
                self._bury(worker)
            metrics.CHILD_RESTARTS.labels("worker").inc()
            await asyncio.sleep(restarts.died(time.monotonic()))

    def _bury(self, worker: Worker) -> None:
        self._workers.pop(worker.index, None)
        self._buried.update(
            {
                name: value
                for name, value in worker.metrics.items()
                if name.partition("{")[0].endswith(_COUNTERS)
            }
        )
        self._changes.notify()
