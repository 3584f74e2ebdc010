"""Demo step: one request as one tree of spans."""

from __future__ import annotations

from bartizan.local.demo.runner import Observation, Step
from bartizan.local.demo.scene import Scene
from bartizan.local.otlp import Span, tree


def steps(scene: Scene) -> list[Step]:
    async def trace_tree() -> Observation:
        answer = await scene.ask("the jacket is superb", key=scene.keys["alice"])
        record = await scene.audit_of(answer)
        trace_id = record.get("trace_id", "")
        # Envoy and the guard each tell their own part, when they like
        guard = ("bartizan.check", "bartizan.process")
        spans = await scene.receiver.wait(trace_id, "POST /predict", "router", *guard)
        return Observation(
            ok=_is_one_tree(spans),
            text=f"{len(spans)} spans, {'one' if _is_one_tree(spans) else 'no single'} tree{_handed_on(scene)}",
            trace_id=trace_id,
            details=tuple(
                f"{'  ' * depth}{span.service}: {span.name}  {(span.end - span.start) / 1e6:.2f} ms"
                for depth, span in tree(spans)
            ),
        )

    return [
        Step(
            name="trace_tree",
            story="The spans of one request.",
            expected="ingress → {check → its phases; process → its phases; router → model}",
            play=trace_tree,
        )
    ]


def _handed_on(scene: Scene) -> str:
    return f"; {scene.receiver.forwarded} batches taken by your collector" if scene.receiver.forwarded else ""


def _is_one_tree(spans: list[Span]) -> bool:
    """One root (Envoy's ingress), and below it both guard hops with their checks, and the model."""
    rows = tree(spans)
    roots = [span for depth, span in rows if depth == 0]

    def below_root(name: str) -> list[Span]:
        """Spans that are called so and hang directly under the root."""
        return [span for span in spans if name in span.name and span.parent_id == roots[0].span_id]

    def has_children(span: Span) -> bool:
        return any(other.parent_id == span.span_id for other in spans)

    return (
        len(roots) == 1
        and roots[0].service == "bartizan-envoy"
        and not roots[0].parent_id
        and any(has_children(span) for span in below_root("bartizan.check"))
        and any(has_children(span) for span in below_root("bartizan.process"))
        and bool(below_root("router"))
    )
