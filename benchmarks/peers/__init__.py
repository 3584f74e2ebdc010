"""Peers that `make bench ARGS=--peers` measures beside us: each in a venv of its own below build/peers, from PyPI.

They are no dependency of ours and share nothing with our environment. Each serves on PORT; HTTP and gRPC peers are
asked by Envoy's ext_authz, a proxy stands in Envoy's place. Not here: LLM Guard, whose prompt scanners load weights
from a model hub; OPA's Envoy plugin and Authorino, which are Go programs: give those with --peer.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path("build/peers")
_SCRIPTS = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """`kind` as in --peer."""

    name: str
    kind: str
    packages: tuple[str, ...]

    def text(self) -> str:
        """As --peer takes it, once it is installed."""
        venv = FOLDER / self.name
        if not (venv / "done").exists():
            subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
            pip = [str(venv / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*pip, *self.packages], check=True)
            (venv / "done").touch()
        python, script = venv.resolve() / "bin" / "python", _SCRIPTS / f"{self.name}.py"
        return f"{self.name}={self.kind}:{python} {script}"


PEERS = (
    Peer(name="aiohttp_key", kind="http", packages=("aiohttp==3.14.5",)),
    Peer(name="presidio_forms", kind="http+body", packages=("aiohttp==3.14.5", "presidio-analyzer==2.2.366")),
    Peer(name="litellm_proxy", kind="proxy", packages=("litellm[proxy]==1.108.7",)),
)


def installed() -> list[str]:
    """All of them; one that can't be installed is left out, and said so."""
    found: list[str] = []
    for peer in PEERS:
        try:
            found.append(peer.text())
        except subprocess.CalledProcessError as error:
            print(f"peer {peer.name}: not installed ({error})", file=sys.stderr)
    return found
