"""The guard's spans hang below Envoy's, follow its sampling, and are always exported for refusals."""

from __future__ import annotations

from bartizan.policy import names
from tests.support.guard import KEY, TRACE, GuardWorker, check_request, guard_plan, guard_worker

TRACE_ID, SPAN_ID = TRACE.split("-")[1:3]
UNSAMPLED = TRACE.removesuffix("01") + "00"


async def ask(worker: GuardWorker, headers: dict[str, str], traceparent: str) -> None:
    await worker.check_raw(check_request(headers), (("traceparent", traceparent),))


async def test_spans_form_a_tree_below_envoys_span() -> None:
    async with guard_worker(traces=True) as worker:
        await worker.load(guard_plan())
        await ask(worker, {"x-api-key": KEY}, UNSAMPLED)
        await ask(worker, {"x-api-key": KEY}, TRACE)
        tree = await worker.next_spans(4)
        top = tree["bartizan.check"]
        assert (top.trace_id.hex(), top.parent_span_id.hex()) == (TRACE_ID, SPAN_ID)
        for name in ("bartizan.authn", "bartizan.admission", "bartizan.authz"):
            assert tree[name].parent_span_id == top.span_id
            assert top.start_time_unix_nano <= tree[name].start_time_unix_nano
            assert tree[name].end_time_unix_nano <= top.end_time_unix_nano
        attributes = {item.key: item.value.string_value for item in top.attributes}
        assert attributes["bartizan.cause"] == "allowed"
        assert attributes["bartizan.tenant"] == "acme"
        assert KEY not in str(tree)
        assert not worker.spans  # nothing of the unsampled request, which came first


async def test_a_refusal_is_exported_although_not_sampled() -> None:
    async with guard_worker(traces=True) as worker:
        await worker.load(guard_plan())
        await ask(worker, {}, UNSAMPLED)
        tree = await worker.next_spans(2)
        assert tree["bartizan.check"].trace_id.hex() == TRACE_ID
        assert set(tree) == {"bartizan.check", "bartizan.authn"}


async def test_without_envoys_tracer_the_requests_own_id_names_the_trace() -> None:
    drawn = "9f0c1d2e-3b4a-4c5d-8e6f-708192a3b4c5"
    async with guard_worker(traces=True) as worker:
        await worker.load(guard_plan())
        await worker.check_raw(check_request({"x-api-key": KEY, "x-request-id": drawn}))
        await worker.check_raw(check_request({"x-request-id": drawn}))
        tree = await worker.next_spans(2)
        assert tree["bartizan.check"].trace_id.hex() == drawn.replace("-", "")
        assert set(tree) == {"bartizan.check", "bartizan.authn"}  # of the refusal only


async def test_without_envoys_tracer_the_guard_draws_as_the_route_says() -> None:
    least = 3000 * 2**32 // names.TRACE_STEPS
    first, second = (f"{at:08x}-3b4a-4c5d-8e6f-708192a3b4c5" for at in (least - 1, least))
    async with guard_worker(traces=True) as worker:
        await worker.load(guard_plan())
        for drawn in (second, first):
            headers = {"x-api-key": KEY, "x-request-id": drawn}
            await worker.check_raw(check_request(headers, trace_steps=3000))
        tree = await worker.next_spans(4)
        assert {span.trace_id.hex() for span in tree.values()} == {first.replace("-", "")}
        assert tree["bartizan.check"].parent_span_id.hex() == first.replace("-", "")[16:]
        assert not worker.spans  # nothing of the other, which came first
