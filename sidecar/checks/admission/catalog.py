"""Which admission checks a plan uses: one line per kind of limit."""

from __future__ import annotations

from bartizan.policy.bundle import GuardPlan
from sidecar.checks.admission.base import Admission
from sidecar.checks.admission.request_rate import Buckets, RequestRate


def build_admissions(plan: GuardPlan, buckets: Buckets) -> tuple[Admission, ...]:
    """The plan's limits."""
    admissions: list[Admission] = []
    if plan.rate_limits:
        admissions.append(RequestRate(policy=plan.policy, limits=plan.rate_limits, buckets=buckets))
    return tuple(admissions)
