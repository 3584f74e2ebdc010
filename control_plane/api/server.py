"""The REST API's server: routes, limits, authentication and errors around the handlers of control_plane/api/routes.

A call's way: request id -> route -> token -> permission -> query and body decoded -> handler, within its deadline.
Only what is declared in an Operation is served.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator

import msgspec
from aiohttp import web
from aiohttp.typedefs import Middleware
from opentelemetry import trace

from bartizan import tasks
from bartizan.errors import DependencyUnavailable, Forbidden
from bartizan.tasks import Shelter
from bartizan.telemetry.logging import get_logger
from bartizan.telemetry.metrics import API_REQUESTS
from bartizan.telemetry.tracing import below
from control_plane.api.auth import BOOTSTRAP, Tokens, Unauthenticated, check_permission
from control_plane.api.decode import body_of, query_of
from control_plane.api.door import Door, Limits
from control_plane.api.errors import response_to
from control_plane.api.openapi import MAX_BODY, Call, Operation, Reply, openapi
from control_plane.policies.actor import Actor
from control_plane.store.base import AdminEvent

_log = get_logger()
_tracer = trace.get_tracer("bartizan.control_plane.api")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}", re.ASCII)
_ID = web.RequestKey("request_id", str)
_PUBLIC = Actor(token_id="", name="anonymous", role="")
_MOST_CALLS = 512
_FINISH_SECONDS = 5.0
_SHOWN_PATH = 200
NextHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Strict-Transport-Security": "max-age=31536000",
    "Referrer-Policy": "no-referrer",
}


def application(
    operations: Iterable[Operation], tokens: Tokens, version: str, refused: Callable[[AdminEvent], None]
) -> web.Application:
    """The aiohttp application of these operations, with /openapi.json. `refused` is told of every call that its caller may
    not do, and must not block.
    """
    listed = list(operations)
    document = msgspec.json.encode(openapi(listed, version))
    app = web.Application(client_max_size=MAX_BODY, middlewares=[_outermost, _bounded()])
    shelter = Shelter()
    for operation in listed:
        app.router.add_route(operation.method, operation.path, _endpoint(operation, tokens, shelter, refused))

    async def finish(_app: web.Application) -> None:
        await shelter.close(_FINISH_SECONDS)

    app.on_cleanup.append(finish)

    async def serve_document(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=document, content_type="application/json")

    app.router.add_get("/openapi.json", serve_document)
    return app


async def serve(
    app: web.Application,
    host: str,
    port: int,
    context: ssl.SSLContext | None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> tuple[web.AppRunner, int]:
    """Listen; returns the runner (its `cleanup()` ends serving) and the port that was taken. Raises OSError."""
    doors: list[Door] = []

    @web.middleware
    async def heard(request: web.Request, handler: NextHandler) -> web.StreamResponse:
        for door in doors:
            door.heard(request.protocol)
        return await handler(request)

    async def leave(_app: web.Application) -> None:
        for door in doors:
            await door.close()

    app.middlewares.insert(0, heard)
    app.on_cleanup.append(leave)
    runner = web.AppRunner(
        app, access_log=None, keepalive_timeout=60, handler_cancellation=True, shutdown_timeout=5
    )
    await runner.setup()
    assert runner.server is not None
    door = Door(runner.server, context, limits)
    doors.append(door)
    try:
        return runner, door.open(host, port)
    except BaseException:
        await runner.cleanup()
        raise


@web.middleware
async def _outermost(request: web.Request, handler: NextHandler) -> web.StreamResponse:
    given = request.headers.get("X-Request-Id", "")
    request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(16)
    request[_ID] = request_id
    response: web.StreamResponse
    try:
        response = await handler(request)
    except Exception as error:
        response = response_to(error, request_id)
        if response.status == 500:
            _log.exception("api_failed", request_id=request_id, error=type(error).__name__)
    response.headers.update(_HEADERS)
    response.headers["X-Request-Id"] = request_id
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else "(none)"
    API_REQUESTS.labels(route=f"{request.method if resource else ''} {route}", status=response.status).inc()
    return response


def _bounded() -> Middleware:
    """More calls at once than we can hold are told to come back; liveness is always answered."""
    running = 0

    @web.middleware
    async def bounded(request: web.Request, handler: NextHandler) -> web.StreamResponse:
        nonlocal running
        if running >= _MOST_CALLS and request.path != "/healthz":
            raise DependencyUnavailable("too many calls at once", retry_after=1.0)
        running += 1
        try:
            return await handler(request)
        finally:
            running -= 1

    return bounded


def _endpoint(
    operation: Operation, tokens: Tokens, shelter: Shelter, refused: Callable[[AdminEvent], None]
) -> NextHandler:
    async def endpoint(request: web.Request) -> web.StreamResponse:
        async with tasks.timeout(operation.timeout):
            actor, token = await _actor(operation, tokens, request)
            try:
                return await answer(request, actor, token)
            except Forbidden:
                asked = {"role": actor.role, "path": request.rel_url.raw_path[:_SHOWN_PATH]}
                refused(actor.event(time.time(), "api.refuse", operation.id, asked))
                raise

    async def answer(request: web.Request, actor: Actor, token: str) -> web.StreamResponse:
        _check(operation, actor)
        call = Call(
            actor=actor,
            token=token,
            path=dict(request.match_info),
            query=query_of(operation, request),
            body=await body_of(operation, request),
            headers=request.headers,
        )
        with _traced(operation, request) as span:
            if operation.method == "GET":
                response = _response(operation, await operation.handler(call))
            else:
                # What changes something is not left half done when the caller hangs up.
                done = await shelter.run(operation.handler(call), name=operation.id)
                response = _response(operation, done)
            span.set_attribute("http.response.status_code", response.status)
            return response

    return endpoint


@contextlib.contextmanager
def _traced(operation: Operation, request: web.Request) -> Iterator[trace.Span]:
    """The operation's span. Only a caller that we know may say which trace it belongs to."""
    known = operation.permission is not None
    opened = (
        _tracer.start_as_current_span(
            operation.id,
            context=below(request.headers.get("traceparent", "")) if known else None,
            kind=trace.SpanKind.SERVER,
            attributes={
                "http.request.method": operation.method,
                "http.route": operation.path,
                "bartizan.request_id": request[_ID],
            },
            # Messages of exceptions are for the caller, not for who reads traces.
            record_exception=False,
            set_status_on_exception=False,
        )
        if operation.path.startswith("/v1/")  # a kubelet asks for the others every few seconds, for ever
        else contextlib.nullcontext(trace.INVALID_SPAN)
    )
    with opened as span:
        try:
            yield span
        except Exception as error:
            status = response_to(error, request[_ID]).status
            span.set_attribute("http.response.status_code", status)
            if status >= 500:
                span.set_status(trace.StatusCode.ERROR, type(error).__name__)
                _log.warning("api_call_failed", operation=operation.id, status=status)
            raise


async def _actor(operation: Operation, tokens: Tokens, request: web.Request) -> tuple[Actor, str]:
    if operation.permission is None:
        return _PUBLIC, ""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or len(token) > 256:
        raise Unauthenticated("an admin token is needed: Authorization: Bearer bzt_…")
    return await tokens.authenticate(token, request.remote or "", request[_ID]), token


def _check(operation: Operation, actor: Actor) -> None:
    """Raises Forbidden, Unauthenticated."""
    if operation.permission is None:
        return
    check_permission(actor, operation.permission)
    if actor.role == BOOTSTRAP and (operation.method, operation.path) != ("POST", "/v1/tokens"):
        raise Unauthenticated("the bootstrap token only makes the first admin token: POST /v1/tokens")


def _response(operation: Operation, value: object) -> web.Response:
    reply = value if isinstance(value, Reply) else Reply(value=value)
    status = reply.status or operation.status
    if reply.raw is not None:
        return web.Response(
            status=status, body=reply.raw, content_type="application/json", headers=dict(reply.headers)
        )
    if reply.value is None:
        return web.Response(status=status, headers=dict(reply.headers))
    return web.Response(
        status=status,
        body=msgspec.json.encode(reply.value),
        content_type="application/json",
        headers=dict(reply.headers),
    )
