"""The command `bartizan …`."""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
    from bartizan.cli import root

    root.cli()


if __name__ == "__main__":
    main()
