"""`bartizan sidecar`: a sidecar's agent, configured by BARTIZAN_* variables. It runs in every pod, so it imports no more."""

from __future__ import annotations

import click


@click.command()
def sidecar() -> None:
    """Run a sidecar's agent with Envoy and its guard workers. Settings: BARTIZAN_* variables."""
    from sidecar.__main__ import main

    raise SystemExit(main())
