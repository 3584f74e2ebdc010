"""A pod's network namespace, and one outside of it, joined by a cable; both real, both made and ended by the test."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
POD, OUTSIDE = "10.77.0.2", "10.77.0.1"
POD6, OUTSIDE6 = "fd77::2", "fd77::1"

# Every port answers with its word and closes, over IPv4 and IPv6.
_SERVERS = """
import asyncio, socket, sys
async def main(pairs):
    servers = []
    for pair in pairs:
        port, word = pair.split("=")
        def answer(reader, writer, word=word):
            writer.write(word.encode()); writer.close()
        for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            servers.append(await asyncio.start_server(answer, host, int(port), family=family))
    print("ready", flush=True)
    await asyncio.Event().wait()
asyncio.run(main(sys.argv[1:]))
"""
_ASK = """
import socket, sys
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=float(sys.argv[3])) as s:
        print(s.recv(100).decode() or "closed")
except TimeoutError:
    print("silent")
except OSError as error:
    print("refused")
"""


def missing() -> str:
    """Why such a network can't be made here; "" when it can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for tool in ("ip", "nft", "iptables-restore"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    if not Path("/proc/net/if_inet6").exists():
        return "this machine has no IPv6"
    # Of our own, as other processes of the same tests ask at the same time.
    name = f"bz{os.getpid() % 100000}t"
    probe = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False)
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return "" if probe.returncode == 0 else "this kernel or container makes no network namespaces"


_APPLY = """
import json, sys
from sidecar.capture.apply import apply_plan
from sidecar.capture.plan import make_plan
apply_plan(make_plan(**json.loads(sys.argv[2])), sys.argv[1])
"""
# A TLS server on each address that says which one it is; a client that asks for a name at an address.
_TLS_SERVERS = """
import asyncio, ssl, sys
async def main(chain, places):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); context.load_cert_chain(chain)
    servers = []
    for host in places:
        def answer(reader, writer, host=host):
            writer.write(host.encode()); writer.close()
        servers.append(await asyncio.start_server(answer, host, 443, ssl=context))
    print("ready", flush=True)
    await asyncio.Event().wait()
asyncio.run(main(sys.argv[1], sys.argv[2:]))
"""
_TLS_ASK = """
import socket, ssl, sys
host, port, name = sys.argv[1], int(sys.argv[2]), sys.argv[3]
context = ssl._create_unverified_context()
try:
    with socket.create_connection((host, port), timeout=30) as plain:
        with context.wrap_socket(plain, server_hostname=name) as secured:
            print(secured.recv(100).decode() or "closed")
except OSError as error:
    print("closed")
"""


@dataclass
class PodNetwork:
    """`pod` and `outside` are names of namespaces."""

    pod: str
    outside: str
    children: list[subprocess.Popen[str]] = field(default_factory=list)

    def run(
        self, where: str, *command: str, user: int = 0, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.inside(where, user), *command],
            capture_output=True,
            text=True,
            timeout=60,
            check=check,
            cwd=ROOT,
        )

    @staticmethod
    def inside(where: str, user: int = 0) -> list[str]:
        """What stands before a command that shall run there."""
        entered = ["ip", "netns", "exec", where]
        if not user:
            return entered
        # Another user, who may read this checkout wherever it lies: only the kernel's rules shall tell users apart.
        caps = "+dac_override,+dac_read_search"
        identity = [f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        return [*entered, "setpriv", *identity, f"--inh-caps={caps}", f"--ambient-caps={caps}"]

    def serve(self, where: str, **ports: int) -> None:
        """serve(ns, envoy=8443): port 8443 answers "envoy"."""
        child = subprocess.Popen(
            [
                *self.inside(where),
                sys.executable,
                "-c",
                _SERVERS,
                *(f"{port}={word}" for word, port in ports.items()),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.children.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"

    def ask(self, where: str, host: str, port: int, *, user: int = 0, patience: float = 30.0) -> str:
        """The word of who answered; "refused", or "silent" after the patience (seconds)."""
        return self.run(
            where, sys.executable, "-c", _ASK, host, str(port), str(patience), user=user
        ).stdout.strip()

    def serve_tls(self, where: str, chain: Path, *addresses: str) -> None:
        """Port 443 of each address answers with the address; chain: PEM of key and certificate."""
        child = subprocess.Popen(
            [*self.inside(where), sys.executable, "-c", _TLS_SERVERS, str(chain), *addresses],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.children.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"

    def ask_tls(self, where: str, host: str, name: str, *, user: int = 0, port: int = 443) -> str:
        """What the server said that was reached at an address under a name; "closed" for none."""
        return self.run(
            where, sys.executable, "-c", _TLS_ASK, host, str(port), name, user=user
        ).stdout.strip()

    def name(self, address: str, name: str) -> None:
        """Known to the pod's own resolver: `ip netns exec` puts such files over /etc."""
        folder = Path("/etc/netns") / self.pod
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "hosts").open("a") as file:
            file.write(f"{address} {name}\n")

    def apply(self, tool: str, **options: object) -> None:
        """The rules of a plan, without the command around them; see make_plan for the options."""
        self.run(self.pod, sys.executable, "-c", _APPLY, tool, json.dumps(options))

    def capture(self, *options: str) -> None:
        """`bartizan capture` in the pod, as its init container runs it."""
        program = Path(sys.executable).with_name("bartizan")
        done = self.run(self.pod, str(program), "capture", *options, check=False)
        assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def pod_network() -> Iterator[PodNetwork]:
    stem = f"bz{os.getpid() % 100000}"
    made = PodNetwork(f"{stem}p", f"{stem}o")
    inner, outer = f"{stem}i", f"{stem}x"
    try:
        for name in (made.pod, made.outside):
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        _ip(
            "link",
            "add",
            inner,
            "netns",
            made.pod,
            "type",
            "veth",
            "peer",
            "name",
            outer,
            "netns",
            made.outside,
        )
        for name, link, four, six in ((made.pod, inner, POD, POD6), (made.outside, outer, OUTSIDE, OUTSIDE6)):
            _ip("-n", name, "addr", "add", f"{four}/24", "dev", link)
            _ip("-n", name, "addr", "add", f"{six}/64", "dev", link, "nodad")
            _ip("-n", name, "link", "set", link, "up")
        _ip("-n", made.pod, "route", "add", "default", "via", OUTSIDE)
        yield made
    finally:
        for child in made.children:
            child.terminate()
        for child in made.children:
            child.wait(10)
            if child.stdout is not None:
                child.stdout.close()
        for name in (made.pod, made.outside):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
        shutil.rmtree(Path("/etc/netns") / made.pod, ignore_errors=True)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
