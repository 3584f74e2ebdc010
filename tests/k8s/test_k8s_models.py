"""Models of the guard's own in pods: where their files come from, and what an image without them does not enforce."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from control_plane.injector import names
from control_plane.injector.container import MODELS_MOUNT
from tests.k8s.kubelet import Kubelet
from tests.k8s.way import IMAGE, NAMESPACE, Way, created, serve_model, trusted
from tests.support import classifiers

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]


async def test_a_policy_that_an_image_can_not_enforce_is_shown_as_that_and_enforced_by_no_half(
    way: Way, tmp_path: Path
) -> None:
    """The image lacks the firewall's rules; a model for the classifier came from a ConfigMap."""
    cluster, stand = way.cluster, way.stand
    files = classifiers.made(tmp_path)
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "guard-models", "namespace": NAMESPACE},
        "binaryData": {
            each.name: base64.b64encode(each.read_bytes()).decode()
            for each in (tmp_path / "guard.onnx", tmp_path / "tokenizer.json")
        },
    }
    await asyncio.to_thread(cluster.apply, config_map)
    await stand.put(way.policy(waf={"crs": {}}))
    pod = await created(way, way.pod(**{names.MODEL_FILES: "configmap/guard-models"}))
    await trusted(way)
    runner, reached = await serve_model(way.model)
    image = {"BARTIZAN_CRS_DIR": str(tmp_path / "none"), "BARTIZAN_MODEL_DIR": MODELS_MOUNT}
    kubelet = Kubelet(cluster, stand.folder / "pod", image=image)
    try:
        stand.stack.sidecar = await kubelet.start(pod, names.SIDECAR)

        def incapable(status: dict[str, Any]) -> bool:
            return [one["reason"] for one in status.get("missing", [])] == ["incapable: waf.crs"]

        status = await stand.until(NAMESPACE, "sentiment", incapable)
        assert status["summary"] == "PENDING 0/1"

        checked = [{"promptInjection": {"classifier": files.written()}}]
        await stand.put(way.policy(input=checked))
        await stand.until(NAMESPACE, "sentiment", lambda status: status["summary"] == "ENFORCED 1/1")
        async with stand.stack.client() as client:
            key = (await client.issue_key("sentiment", tenant="acme")).key

        async def ask(text: str) -> int:
            url = f"http://127.0.0.1:{way.listener}/predict"
            async with (
                aiohttp.ClientSession() as session,
                session.post(url, json={"text": text}, headers={"x-api-key": key}) as answer,
            ):
                return answer.status

        async with asyncio.timeout(60):
            while await ask(classifiers.BENIGN) != 200:  # the key travels on its own
                await asyncio.sleep(0.1)
        assert await ask(classifiers.ATTACK) == 403

        # what it can't enforce changes nothing of what it does
        await stand.put(way.policy(waf={"crs": {}}, input=checked, tenants=["other"]))
        await stand.until(NAMESPACE, "sentiment", incapable)
        assert (await ask(classifiers.BENIGN), await ask(classifiers.ATTACK)) == (200, 403)
        assert set(reached) == {classifiers.BENIGN}
    finally:
        if kubelet.child is not None:
            await kubelet.child.stop()
        await runner.cleanup()


async def test_every_source_of_model_files_is_taken_by_an_enforced_namespace(way: Way) -> None:
    await way.stand.put(way.policy())
    kinds = {"claim/x": "persistentVolumeClaim", "configmap/x": "configMap", f"image/{IMAGE}": "image"}
    for told, kind in kinds.items():
        pod = await created(way, way.pod(f"with-{kind.lower()}", **{names.MODEL_FILES: told}))
        (volume,) = [each for each in pod["spec"]["volumes"] if each["name"] == names.MODELS_VOLUME]
        assert kind in volume
        (mount,) = [
            each
            for each in pod["spec"]["initContainers"][0]["volumeMounts"]
            if each["name"] == names.MODELS_VOLUME
        ]
        assert (mount["mountPath"], mount["readOnly"]) == (MODELS_MOUNT, True)
