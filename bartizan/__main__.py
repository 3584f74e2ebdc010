"""The command `bartizan …`."""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
    from bartizan.cli.root import cli

    cli()


if __name__ == "__main__":
    main()
