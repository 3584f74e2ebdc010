"""GuardPlan (what travels) -> Plan (what runs). Everything that can fail, fails here and not during a request."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from bartizan.errors import BartizanError, InvalidInput, ResourceRejected
from bartizan.policy.bundle import GuardPlan
from bartizan.policy.canonical import plan_hash
from bartizan.policy.checks import Pii
from sidecar.checks.admission.catalog import build_admissions
from sidecar.checks.admission.request_rate import Buckets
from sidecar.checks.authn.catalog import build_authenticators
from sidecar.checks.authz.rules import build_rules
from sidecar.checks.authz.tenant import TenantGate
from sidecar.checks.catalog import build_checks
from sidecar.checks.pipe import span_check
from sidecar.checks.pipeline import HeadChecks
from sidecar.checks.query_history import QueryHistory
from sidecar.checks.quiet import gate_of
from sidecar.checks.validators.patches import Patches
from sidecar.checks.waf.check import WafCheck
from sidecar.checks.waf.firewall import Firewall
from sidecar.formats.catalog import build_format
from sidecar.plan.plan import Plan

NO_KEYS: Mapping[str, bytes] = {}


def load_plan(
    plan: GuardPlan,
    buckets: Buckets,
    keys: Mapping[str, bytes] = NO_KEYS,
    history: QueryHistory | None = None,
    *,
    clock_ns: Callable[[], int] = time.time_ns,
) -> Plan:
    """Build a plan. `keys`, `history`: the worker's own; keys may be renewed while the plan runs.

    Raises ResourceRejected with the reason when this worker can't enforce all of it.
    """
    if not plan.api_key_set and not plan.jwt:
        raise ResourceRejected("the plan names no authentication method", "spec.authn")
    if not plan.tenants:
        raise ResourceRejected("the plan names no tenant", "spec.tenants")
    if any(
        isinstance(check, Pii) and check.key_name not in {"", *keys} for check in (*plan.input, *plan.output)
    ):
        raise ResourceRejected("the key of pseudonyms is not here", "spec.input")
    model: dict[str, Any] = {
        "name": plan.model.name,
        "protocol": plan.model.protocol,
        "labels": dict(plan.model.labels),
    }
    try:
        head = HeadChecks(
            methods=build_authenticators(plan),
            admissions=build_admissions(plan, buckets),
            tenants=TenantGate(tenants=frozenset(plan.tenants), model=plan.model.name),
            rules=build_rules(plan.authz, model),
            shadow=plan.mode == "shadow",
            clock_ns=clock_ns,
        )
        checks = build_checks(plan.input)
        answers = build_checks(plan.output, restores=any(check.restores for check in plan.input))
        checks.start()
        answers.start()
        gate_of([span_check(check) for check in answers.texts])  # compiled now, not while a client waits
        return Plan(
            id=plan.id,
            policy=plan.policy,
            hash=plan_hash(plan),
            head=head,
            body_rules=build_rules(plan.body_authz, model),
            format=build_format(plan),
            input=checks,
            output=answers,
            answers_ask=bool(answers.asking),
            patches=Patches(plan.patches),
            waf=None if plan.waf is None else WafCheck(plan.waf, Firewall(plan.waf.paranoia)),
            routes=frozenset((route.method, route.path) for route in plan.routes),
            max_body_bytes=plan.max_body_bytes,
            shadow=plan.mode == "shadow",
            keys=keys,
            history=history or QueryHistory(clock=time.monotonic),
        )
    except InvalidInput as error:
        raise ResourceRejected(str(error)) from error
    except BartizanError:
        raise
    except (msgspec.MsgspecError, ValueError, KeyError, TypeError) as error:
        raise ResourceRejected(f"the plan can't be built: {type(error).__name__}: {error}") from error
