"""`bartizan injector …`: the admission webhooks alone, and the manifests that belong to a configuration."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import click

from bartizan.telemetry.logging import configure

CONFIG = click.option(
    "--config",
    envvar="BARTIZAN_INJECTOR_CONFIG",
    required=True,
    type=click.Path(path_type=Path),
    help="The injector's configuration (injector.yaml).",
)


@click.group()
def injector() -> None:
    """Kubernetes admission: pods get sidecars, enforced namespaces admit none without."""


@injector.command()
@CONFIG
@click.option("--kubernetes", default="in-cluster", help='"in-cluster" or the path of a kubeconfig.')
@click.option("--listen", default="0.0.0.0:9443", help="HOST:PORT, TLS.")
@click.option(
    "--metrics-listen", default="", help="HOST:PORT of /metrics (Prometheus), plain HTTP; none if not given."
)
@click.option(
    "--namespace",
    default="bartizan-system",
    help="Where Bartizan and its Service bartizan-webhook are; must be one of exemptNamespaces.",
)
@click.option("--host", "more_hosts", multiple=True, help="Another name under which the API server comes.")
@click.option("--log-level", default="info", type=click.Choice(["debug", "info", "warning", "error"]))
def run(
    config: Path,
    kubernetes: str,
    listen: str,
    metrics_listen: str,
    namespace: str,
    more_hosts: tuple[str, ...],
    log_level: str,
) -> None:
    """Serve the admission webhooks without a control plane, under a CA of their own.

    Of policies they know those that are ModelPolicy objects of the cluster: in an enforced namespace a pod needs one
    with rate limits and content checks. Policies kept in the control plane's own API count only where the control
    plane serves the webhooks (BARTIZAN_CP_WEBHOOK_LISTEN).
    """
    from control_plane.injector.standalone import Standalone
    from control_plane.injector.standalone import run as serve
    from control_plane.injector.webhook_configuration import webhook_hosts
    from control_plane.setting_values import read_address

    settings = Standalone(
        config=config,
        kubernetes=kubernetes,
        listen=read_address(listen),
        metrics=read_address(metrics_listen) if metrics_listen else None,
        namespace=namespace,
        hosts=(*webhook_hosts(namespace), *more_hosts),
    )
    configure("injector", log_level)

    async def until_signal() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await serve(settings, stop)

    asyncio.run(until_signal())


@injector.command()
@CONFIG
@click.option(
    "--namespace",
    default="bartizan-system",
    help="Where Bartizan and its Service bartizan-webhook are; must be one of exemptNamespaces.",
)
def manifests(config: Path, namespace: str) -> None:
    """Print the admission policies and the webhook configurations for a configuration, for kubectl apply."""
    from control_plane.injector.config import load_config
    from control_plane.injector.manifests import admission_manifests

    click.echo(admission_manifests(load_config(config), namespace), nl=False)
