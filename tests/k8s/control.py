"""A real Kubernetes API server for tests: kube-apiserver and etcd on loopback, from KUBEBUILDER_ASSETS.

No kubelet, scheduler or controllers: what they would do, the tests do.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
import ipaddress
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from bartizan.errors import BartizanError
from bartizan.local.processes import Child, free_port, start
from control_plane.kubernetes.api_server import ApiServer, connect

ROOT = Path(__file__).parents[2]
ISSUER = "https://kubernetes.default.svc.cluster.local"
KUBECTL = Path(sys.executable).with_name("kubectl")


def assets() -> Path | None:
    """Where kube-apiserver and etcd are, if they are."""
    place = os.environ.get("KUBEBUILDER_ASSETS", "")
    folder = Path(place) if place else None
    if folder is None or not all((folder / name).exists() for name in ("kube-apiserver", "etcd")):
        return None
    return folder


class Authority:
    """The cluster's CA, for its server and its users."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test cluster")])
        self.certificate = self._sign(name, self.key.public_key(), name, ca=True)

    def _sign(self, subject: x509.Name, key: Any, issuer: x509.Name, *, ca: bool = False) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        loopback = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(loopback), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
            )
            .sign(self.key, hashes.SHA256())
        )

    def issue(self, user: str, group: str = "") -> tuple[bytes, bytes]:
        """Certificate and key (PEM)."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.NameAttribute(NameOID.COMMON_NAME, user)]
        if group:
            names.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, group))
        made = self._sign(x509.Name(names), key.public_key(), self.certificate.subject)
        return made.public_bytes(serialization.Encoding.PEM), _pem(key)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)


@dataclass
class KubeCluster:
    """`server` speaks as cluster admin; `kubectl` is the real one."""

    folder: Path
    port: int
    authority: Authority
    server: ApiServer
    children: list[Child] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "admin.kubeconfig"

    def kubeconfig_of(self, name: str, token: str) -> Path:
        """For a service account's token."""
        path = self.folder / f"{name}.kubeconfig"
        path.write_text(json.dumps(_kubeconfig(self.url, self.authority.pem, {"token": token})))
        return path

    def kubectl(self, *arguments: str, manifest: Any = None) -> subprocess.CompletedProcess[str]:
        text = None
        if manifest is not None:
            text = manifest if isinstance(manifest, str) else yaml.safe_dump(manifest)
        return subprocess.run(
            [KUBECTL, "--kubeconfig", self.kubeconfig, *arguments],
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def apply(self, manifest: Any) -> None:
        """kubectl apply, server-side; all or a failed test."""
        done = self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", manifest=manifest)
        assert done.returncode == 0, done.stderr

    async def token(
        self, namespace: str, account: str, *, pod: dict[str, Any] | None = None, **spec: Any
    ) -> str:
        """What kubelet asks for: a token of this account, bound to the pod."""
        ask: dict[str, Any] = {"audiences": ["bartizan"], "expirationSeconds": 3600, **spec}
        if pod is not None:
            metadata = pod["metadata"]
            ask["boundObjectRef"] = {
                "kind": "Pod",
                "apiVersion": "v1",
                "name": metadata["name"],
                "uid": metadata["uid"],
            }
        made = await self.server.post(
            f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token",
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": ask},
        )
        token: str = made["status"]["token"]
        return token


@asynccontextmanager
async def kube_cluster(binaries: Path) -> AsyncIterator[KubeCluster]:
    folder = Path(tempfile.mkdtemp(prefix="bz-k8s-"))
    authority, port = Authority(), free_port()
    children: list[Child] = []
    try:
        etcd, peer = free_port(), free_port()
        children.append(
            await start(
                "etcd",
                [
                    str(binaries / "etcd"),
                    f"--data-dir={folder}/etcd",
                    f"--listen-client-urls=http://127.0.0.1:{etcd}",
                    f"--advertise-client-urls=http://127.0.0.1:{etcd}",
                    f"--listen-peer-urls=http://127.0.0.1:{peer}",
                    "--unsafe-no-fsync",
                ],
                log=folder / "etcd.log",
            )
        )
        _write_files(folder, authority)
        children.append(
            await start(
                "kube-apiserver", _command(binaries, folder, port, etcd), log=folder / "apiserver.log"
            )
        )
        cert, key = authority.issue("admin", "system:masters")
        user = {"client-certificate-data": _b64(cert), "client-key-data": _b64(key)}
        kubeconfig = folder / "admin.kubeconfig"
        kubeconfig.write_text(json.dumps(_kubeconfig(f"https://127.0.0.1:{port}", authority.pem, user)))
        async with connect(str(kubeconfig)) as server:
            made = KubeCluster(folder, port, authority, server, children)
            await _ready(made)
            yield made
    finally:
        for child in reversed(children):
            await child.stop()


async def _ready(cluster: KubeCluster) -> None:
    """Until RBAC's own roles are there, too."""
    async with asyncio.timeout(120):
        while True:
            for child in cluster.children:
                child.check()
            with contextlib.suppress(BartizanError):
                await cluster.server.get("/apis/rbac.authorization.k8s.io/v1/clusterroles/cluster-admin")
                await cluster.server.get("/api/v1/namespaces/default")
                return
            await asyncio.sleep(0.2)


def _command(binaries: Path, folder: Path, port: int, etcd: int) -> list[str]:
    return [
        str(binaries / "kube-apiserver"),
        f"--etcd-servers=http://127.0.0.1:{etcd}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={port}",
        f"--tls-cert-file={folder}/server.crt",
        f"--tls-private-key-file={folder}/server.key",
        f"--client-ca-file={folder}/ca.crt",
        "--authorization-mode=RBAC",
        "--service-cluster-ip-range=10.96.0.0/24",
        f"--service-account-issuer={ISSUER}",
        f"--service-account-key-file={folder}/sa.key",
        f"--service-account-signing-key-file={folder}/sa.key",
        f"--cert-dir={folder}",
    ]


def _write_files(folder: Path, authority: Authority) -> None:
    certificate, key = authority.issue("kube-apiserver")
    (folder / "ca.crt").write_bytes(authority.pem)
    (folder / "server.crt").write_bytes(certificate)
    (folder / "server.key").write_bytes(key)
    (folder / "sa.key").write_bytes(_pem(rsa.generate_private_key(public_exponent=65537, key_size=2048)))


def _kubeconfig(url: str, ca: bytes, user: dict[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": url, "certificate-authority-data": _b64(ca)}}],
        "users": [{"name": "test", "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    }


def _pem(key: Any) -> bytes:
    made: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
