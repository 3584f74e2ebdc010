"""Builds the demo's stack (all real, on loopback, in a folder of its own), plays the steps, and takes it down."""

from __future__ import annotations

import os
import shutil
import ssl
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import yaml
from rich.console import Console

from bartizan.local import processes
from bartizan.local.certificates import make_server_certificate
from bartizan.local.demo import access, content, faults, policy, rotation, traces
from bartizan.local.demo.runner import Step, play
from bartizan.local.demo.scene import KEY_SET, POLICY, POLICY_FILE, SECRET, SECRET_PATH, Scene
from bartizan.local.model import ExampleModel
from bartizan.local.otlp import Receiver
from bartizan.local.stack import Stack

# Seconds instead of the production minutes, so that a rotation ends while one watches; printed at the start.
ROTATION = {
    "BARTIZAN_CP_ROTATION_LEASE_SECONDS": "3",
    "BARTIZAN_CP_ROTATION_SOAK_SECONDS": "1",
    "BARTIZAN_CP_ROTATION_DRAIN_SECONDS": "2",
}


async def run(report_file: Path, console: Console) -> bool:
    """Play the demo. Returns whether every step was as expected; raises when the stack does not come up."""
    folder = Path(tempfile.mkdtemp(prefix="bartizan-demo-"))
    passed = False
    try:
        async with stage(folder, console) as scene:
            passed = await play(steps(scene), console, report_file)
            console.print(f"Written to {report_file}.")
        return passed
    finally:
        if passed:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            console.print(f"Logs of all processes are kept in {folder}.", highlight=False)


def steps(scene: Scene) -> list[Step]:
    """All steps in order."""
    return [
        *access.steps(scene),
        *content.steps(scene),
        *policy.steps(scene),
        *rotation.steps(scene),
        *faults.steps(scene),
        *traces.steps(scene),
    ]


@asynccontextmanager
async def stage(folder: Path, console: Console) -> AsyncIterator[Scene]:
    """OpenBao, control plane, model, sidecar, policy and keys, ready for the first step."""
    async with AsyncExitStack() as stack:
        collector = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")  # the user's own, if there is one
        receiver = Receiver(forward=collector)
        await receiver.start()
        stack.push_async_callback(receiver.stop)
        house = Stack(
            folder, labels={"app": "sentiment"}, otlp_endpoint=receiver.endpoint, settings=dict(ROTATION)
        )
        model = ExampleModel(folder / "model")
        certificate = make_server_certificate(house.cert_dir)
        stack.push_async_callback(model.stop)
        stack.push_async_callback(house.stop)
        with console.status("starting OpenBao, the control plane, the model and the sidecar"):
            await house.start_openbao()
            console.print(f"OpenBao answers at {house.bao.address}", highlight=False)
            await house.start_control_plane()
            console.print(f"The control plane answers at {house.api_url}", highlight=False)
            await model.start()
            console.print(f"The model answers at {model.url}", highlight=False)
            client = await stack.enter_async_context(house.client())
            port = processes.free_port()
            await client.create_key_set(KEY_SET)
            keys = {
                name: (await client.issue_key(KEY_SET, tenant=tenant)).key
                for name, tenant in (("alice", "acme"), ("visitor", "acme"), ("mallory", "evil"))
            }
            await client.put_secret(SECRET, _secret(model))
            await client.wait_rotated(SECRET, timeout_seconds=60)
            applied = await client.apply(_policy(port, model.port), reason="demo: first policy")
            await house.start_sidecar()
            status = await client.wait_enforced(POLICY, applied.version, timeout_seconds=60)
            console.print(
                f"The sidecar listens at https://127.0.0.1:{port}; policy enforced {status.summary}"
            )
            console.print(f"Rotation with lease, soak and drain of {', '.join(ROTATION.values())} seconds")
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield Scene(
            stack=house,
            model=model,
            receiver=receiver,
            url=f"https://127.0.0.1:{port}",
            tls=ssl.create_default_context(cafile=str(certificate)),
            session=session,
            client=client,
            keys=keys,
            version=applied.version,
        )


def _policy(port: int, model_port: int) -> str:
    """examples/policies/sentiment.yaml with this run's ports, on loopback."""
    document = yaml.safe_load(POLICY_FILE.read_text())
    document["spec"]["listener"].update(address="127.0.0.1", port=port)
    document["spec"]["model"]["port"] = model_port
    document["spec"]["telemetry"] = {"traceSample": 1.0}
    return yaml.safe_dump(document)


def _secret(model: ExampleModel) -> dict[str, object]:
    """The upstream key's definition: the provider is the model's private socket."""
    return {
        "name": SECRET,
        "class": "provider",
        "path": SECRET_PATH,
        "provider": {"kind": "http", "socket": str(model.socket), "key_header": "x-model-key"},
    }
