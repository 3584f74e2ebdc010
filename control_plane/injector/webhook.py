"""The admission webhooks: /mutate patches pods, /validate judges them, policies and connections. An aiohttp application without state.

Every answer is an AdmissionReview or a clean 400; what we can't find out is a refusal (failurePolicy Fail would make
one of it anyway, but without a reason).
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from aiohttp import web

from bartizan import tasks
from bartizan.errors import BartizanError, InvalidInput, Problem
from bartizan.policy.schema import ModelPolicy
from bartizan.telemetry.logging import get_logger
from bartizan.telemetry.metrics import ADMISSION_SECONDS, ADMISSIONS
from control_plane.injector.admit import Admission, admit, admit_connection, admit_policy
from control_plane.injector.config import Config
from control_plane.injector.connections import (
    connection_variables,
    refused_connections,
    watched_connections,
)
from control_plane.injector.judge import Judge, pod_judge
from control_plane.injector.patch import Injected, Refused, Untouched, inject
from control_plane.injector.refusals import Namespace, no_trust
from control_plane.injector.review import Request, allowed, denied, read_review
from control_plane.injector.webhook_configuration import MUTATE_PATH, VALIDATE_PATH
from control_plane.kubernetes.objects import PLURAL

MAX_BODY: Final = 8 * 1024 * 1024
"""An object has at most 1.5 MiB in etcd; a review holds it twice."""
SECONDS: Final = 4.0
"""Less than the API server waits, so that it gets our reason."""

Namespaces = Callable[[str], Awaitable[Namespace]]
Pods = Callable[[str], Awaitable[Sequence[dict[str, Any]]]]
PublishedPolicies = Callable[[str], Awaitable[Sequence[ModelPolicy]]]

log = get_logger()


class Webhook:
    """namespaces: looks one up; policies: the published ones of a namespace, None where nobody can be asked; pods: the
    guarded ones of a namespace; ready: whether the API server was told under which root we serve.
    """

    def __init__(
        self,
        config: Config,
        namespaces: Namespaces,
        policies: PublishedPolicies | None,
        pods: Pods,
        *,
        ready: Callable[[], bool],
    ) -> None:
        self._config = config
        self._namespaces = namespaces
        self._policies = policies
        self._pods = pods
        self._ready = ready
        self._judge = pod_judge(config)
        named = connection_variables(config)
        self._refused = Judge(refused_connections(config), named)
        self._watched = Judge(watched_connections(config), named)

    def application(self) -> web.Application:
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_post(MUTATE_PATH, self._handler("mutate", self._mutate))
        app.router.add_post(VALIDATE_PATH, self._handler("validate", self._validate))
        app.router.add_get("/healthz", _healthz)
        app.router.add_get("/readyz", self._readyz)
        return app

    def _handler(
        self, name: str, decide: Callable[[Request], Awaitable[tuple[str, bytes]]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            try:
                review = read_review(await request.read())
            except InvalidInput as error:
                ADMISSIONS.labels(name, "unreadable").inc()
                return web.json_response({"error": str(error)}, status=400)
            began = time.perf_counter()
            try:
                async with tasks.timeout(SECONDS):
                    outcome, answer = await decide(review)
            except (BartizanError, TimeoutError) as error:
                why = str(error) or "it took too long"
                log.warning("admission_undecided", webhook=name, reason=why)
                outcome, answer = "undecided", self._without_knowing(review, why)
            ADMISSION_SECONDS.labels(name).observe(time.perf_counter() - began)
            ADMISSIONS.labels(name, outcome).inc()
            return web.Response(body=answer, content_type="application/json")

        return handle

    def _without_knowing(self, review: Request, why: str) -> bytes:
        """A refusal, but where only a warning could have come of it."""
        if review.operation == "DELETE" and self._config.pods_without_policy == "warn":
            return allowed(review, warnings=[f"who is left without a policy could not be found out: {why}"])
        return denied(review, [_undecided(why)], code=503)

    async def _mutate(self, review: Request) -> tuple[str, bytes]:
        """Whether the namespace is enabled was decided by the API server, by the webhook's selectors."""
        namespace = await self._namespaces(review.namespace)
        result = inject(review.object, namespace, self._config, asked=True)
        if isinstance(result, Injected) and not namespace.trusted:
            result = Refused(problems=(no_trust(namespace),))
        match result:
            case Injected():
                log.info("pod_injected", namespace=review.namespace, guess=result.guess.shown())
                return "injected", allowed(review, result.operations)
            case Untouched():
                return "untouched", allowed(review)
            case Refused():
                codes = sorted({each.code for each in result.problems})
                log.warning("pod_refused", namespace=review.namespace, codes=codes)
                return "refused", denied(review, result.problems)

    async def _validate(self, review: Request) -> tuple[str, bytes]:
        if review.resource.resource == PLURAL:
            what, admission = "policy", await self._judge_policy(review)
        elif review.operation == "CONNECT":
            what = "connection"
            admission = admit_connection(review, self._config, self._refused, self._watched)
        else:
            what, admission = "pod", await self._judge_pod(review)
        told = {"namespace": review.namespace, "object": review.name, "user": review.user_info.username}
        if admission.problems:
            codes = sorted({each.code for each in admission.problems})
            log.warning("not_admitted", what=what, codes=codes, **told)
            return "refused", denied(review, admission.problems)
        if what == "connection":
            log.info("connection_admitted", into=review.sub_resource, **told)
        return "admitted", allowed(review, warnings=admission.warnings)

    async def _judge_pod(self, review: Request) -> Admission:
        policies = await self._policies(review.namespace) if self._policies is not None else None
        namespace = await self._namespaces(review.namespace)
        return admit(review.object, namespace, self._config, self._judge, policies)

    async def _judge_policy(self, review: Request) -> Admission:
        if review.operation == "CREATE" or self._policies is None:
            return admit_policy(review, self._config, (), ())
        published = await self._policies(review.namespace)
        others = [each for each in published if each.metadata.name != review.name]
        return admit_policy(review, self._config, others, await self._pods(review.namespace))

    async def _readyz(self, _request: web.Request) -> web.Response:
        ready = self._ready()
        return web.json_response({"ready": ready}, status=200 if ready else 503)


async def _healthz(_request: web.Request) -> web.Response:
    return web.json_response({"alive": True})


def _undecided(why: str) -> Problem:
    return Problem(path="", code="undecided", message=f"could not be judged: {why}", hint="try again")
