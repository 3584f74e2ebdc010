"""Demo steps: a policy's way, from an edit to proven enforcement, and what happens to broken ones."""

from __future__ import annotations

import time
from typing import Any

import yaml

from bartizan.errors import PolicyInvalid
from bartizan.local.demo.runner import Observation, Step
from bartizan.local.demo.scene import POLICY, Scene

BROKEN = """\
apiVersion: bartizan.dev/v1alpha1
kind: ModelPolicy
metadata: {name: sentiment}
spec:
  selector: {matchLabels: {app: sentiment}}
  listener: {port: 99999, tls: {cert: "file:tls.crt", key: "file:tls.key"}}
  model: {name: sentiment, protocol: json_fields, port: 8000}
  tenants: []
  authn: {apiKeys: {set: sentiment}}
  routes: [{path: /predict, inputText: [$.text]}]
  authz: [{name: typo, allow: 'identity.tenent == "acme"'}]
  limits: {requests: [{per: key, rate: fast}], tokens: [{per: key, budget: 10/day}]}
"""


def steps(scene: Scene) -> list[Step]:
    async def document() -> dict[str, Any]:
        return await scene.client.document(POLICY)

    async def policy_push() -> Observation:
        edited = await document()
        edited["spec"]["limits"]["requests"] = [{"per": "key", "rate": "5000/s", "burst": 20000}]
        started = time.perf_counter()
        applied = await scene.client.apply(yaml.safe_dump(edited), reason="demo: a higher limit")
        status = await scene.client.wait_enforced(POLICY, applied.version, timeout_seconds=60)
        took = (time.perf_counter() - started) * 1000
        answer = await scene.ask("the coffee is excellent", key=scene.keys["visitor"])
        scene.version = applied.version
        return Observation(
            ok=status.enforced and answer.status == 200,
            text=f"revision {applied.revision} enforced {status.summary} in {took:.0f} ms; "
            f"the caller that was over the limit now gets {answer.status}",
        )

    async def policy_invalid() -> Observation:
        try:
            await scene.client.apply(BROKEN, reason="demo: broken")
        except PolicyInvalid as error:
            lines = tuple(f"{problem.path}: {problem.message}" for problem in error.problems)
            status = await scene.client.status(POLICY)
            return Observation(
                ok=len(lines) >= 5 and status.version == scene.version,
                text=f"refused with {len(lines)} errors, each with its path; version {status.version} stays",
                details=lines,
            )
        return Observation(ok=False, text="the broken policy was accepted")

    async def policy_nack() -> Observation:
        edited = await document()
        edited["spec"]["listener"]["tls"]["cert"] = "file:missing.crt"
        applied = await scene.client.apply(yaml.safe_dump(edited), reason="demo: a missing file")
        status = await scene.client.wait_settled(POLICY, applied.version, timeout_seconds=60)
        refused = [row for row in status.instances if row.state == "refused"]
        answer = await scene.ask("the coffee is excellent", key=scene.keys["alice"])
        undone = await scene.client.undo(POLICY)
        after = await scene.client.wait_enforced(POLICY, undone.version, timeout_seconds=60)
        scene.version = undone.version
        reason = f"{refused[0].path}: {refused[0].reason}" if refused else "no NACK"
        return Observation(
            ok=bool(refused) and not status.enforced and answer.status == 200 and after.enforced,
            text=f"NACK ({reason}); traffic meanwhile {answer.status}; undo enforced {after.summary}",
        )

    return [
        Step(
            name="policy_push",
            story="A policy is edited through the API and proven by probe.",
            expected="enforced by probe",
            play=policy_push,
        ),
        Step(
            name="policy_invalid",
            story="A broken policy.",
            expected="refused with every error and its path",
            play=policy_invalid,
        ),
        Step(
            name="policy_nack",
            story="A policy that names a certificate which only the sidecar can miss.",
            expected="NACK shown, old policy enforced",
            play=policy_nack,
        ),
    ]
