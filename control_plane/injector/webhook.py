"""The admission webhooks: /mutate patches pods, /validate judges them. An aiohttp application without state.

Every answer is an AdmissionReview or a clean 400; what we can't find out is a refusal (failurePolicy Fail would make
one of it anyway, but without a reason).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from aiohttp import web

from bartizan.errors import BartizanError, InvalidInput, Problem
from bartizan.policy.schema import ModelPolicy
from bartizan.telemetry.logging import get_logger
from bartizan.telemetry.metrics import ADMISSIONS
from control_plane.injector.admit import admit
from control_plane.injector.config import Config
from control_plane.injector.judge import pod_judge
from control_plane.injector.patch import Injected, Refused, Untouched, inject
from control_plane.injector.refusals import Namespace
from control_plane.injector.review import Request, allowed, denied, read_review
from control_plane.injector.webhook_configuration import MUTATE_PATH, VALIDATE_PATH

MAX_BODY: Final = 8 * 1024 * 1024
"""An object has at most 1.5 MiB in etcd; a review holds it twice."""
SECONDS: Final = 4.0
"""Less than the API server waits, so that it gets our reason."""

Namespaces = Callable[[str], Awaitable[Namespace]]
PublishedPolicies = Callable[[str], Awaitable[Sequence[ModelPolicy]]]

log = get_logger()


class Webhook:
    """namespaces: looks one up; policies: the published ones of a namespace, None where nobody can be asked."""

    def __init__(self, config: Config, namespaces: Namespaces, policies: PublishedPolicies | None) -> None:
        self._config = config
        self._namespaces = namespaces
        self._policies = policies
        self._judge = pod_judge(config)

    def application(self) -> web.Application:
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_post(MUTATE_PATH, self._handler("mutate", self._mutate))
        app.router.add_post(VALIDATE_PATH, self._handler("validate", self._validate))
        app.router.add_get("/healthz", _healthz)
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
            try:
                async with asyncio.timeout(SECONDS):
                    outcome, answer = await decide(review)
            except (BartizanError, TimeoutError) as error:
                why = str(error) or "it took too long"
                log.warning("admission_undecided", webhook=name, reason=why)
                outcome, answer = "undecided", denied(review, [_undecided(why)], code=503)
            ADMISSIONS.labels(name, outcome).inc()
            return web.Response(body=answer, content_type="application/json")

        return handle

    async def _mutate(self, review: Request) -> tuple[str, bytes]:
        """Whether the namespace is enabled was decided by the API server, by the webhook's selectors."""
        namespace = await self._namespaces(review.namespace)
        result = inject(review.object, namespace, self._config, asked=True)
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
        policies = await self._policies(review.namespace) if self._policies is not None else None
        namespace = await self._namespaces(review.namespace)
        admission = admit(review.object, namespace, self._config, self._judge, policies)
        if admission.problems:
            codes = sorted({each.code for each in admission.problems})
            log.warning("pod_not_admitted", namespace=review.namespace, codes=codes)
            return "refused", denied(review, admission.problems)
        return "admitted", allowed(review, warnings=admission.warnings)


async def _healthz(_request: web.Request) -> web.Response:
    return web.json_response({"alive": True})


def _undecided(why: str) -> Problem:
    return Problem(path="", code="undecided", message=f"could not be judged: {why}", hint="try again")
