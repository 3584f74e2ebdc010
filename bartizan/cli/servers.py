"""`bartizan control-plane` and `bartizan sidecar`: the long-running processes, configured by BARTIZAN_* variables."""

from __future__ import annotations

import click


@click.command("control-plane")
def control_plane() -> None:
    """Run the control plane. Settings: BARTIZAN_CP_* variables, see docs/operations.md."""
    from control_plane.__main__ import main

    main()


@click.command()
def sidecar() -> None:
    """Run a sidecar's agent with Envoy and its guard workers. Settings: BARTIZAN_* variables."""
    from sidecar.__main__ import main

    raise SystemExit(main())
