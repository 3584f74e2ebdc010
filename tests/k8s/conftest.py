"""One real API server for all tests of this folder; without the assets test_assets.py skips in place of all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.k8s.control import ROOT, KubeCluster, assets, kube_cluster
from tests.k8s.way import Way, guarded

HERE = Path(__file__).parent
if assets() is None:
    collect_ignore_glob = ["test_k8s_*.py"]  # test_assets.py says so


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("k8s"))


@pytest.fixture(scope="session")
def binaries() -> Path:
    found = assets()
    assert found is not None
    return found


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def empty_cluster(binaries: Path) -> AsyncIterator[KubeCluster]:
    async with kube_cluster(binaries) as made:
        yield made


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def cluster(empty_cluster: KubeCluster) -> KubeCluster:
    """With our CRD and field policy."""
    for file in sorted((ROOT / "deploy/k8s/base/crds").glob("*.yaml")):
        if file.name != "kustomization.yaml":
            empty_cluster.apply(file.read_text())
    done = empty_cluster.kubectl(
        "wait", "--for=condition=Established", "crd/modelpolicies.bartizan.dev", "--timeout=30s"
    )
    assert done.returncode == 0, done.stderr
    return empty_cluster


@pytest_asyncio.fixture(loop_scope="session")
async def way(cluster: KubeCluster, tmp_path: Path) -> AsyncIterator[Way]:
    async with guarded(cluster, tmp_path) as made:
        yield made
