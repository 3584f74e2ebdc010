"""Who stays out of an enforced namespace without a sidecar: only images that the namespace's owner listed, never a model."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane.injector import names
from control_plane.injector.refusals import Namespace
from tests.support.broken_pods import Pod
from tests.support.pod_cases import case_pod
from tests.unit.control_plane.injector.test_rules import codes


def out(*images: str, init: str = "", debug: str = "") -> Pod:
    """A pod of these images that opts out."""
    spec: dict[str, Any] = {"containers": [{"name": f"c{n}", "image": one} for n, one in enumerate(images)]}
    if init:
        spec["initContainers"] = [{"name": "init", "image": init}]
    if debug:
        spec["ephemeralContainers"] = [{"name": "debug", "image": debug}]
    return {"metadata": {"labels": {names.INJECT: "false"}}, "spec": spec}


def listing(images: str) -> Namespace:
    return Namespace(name="prod", annotations={names.OPT_OUT_IMAGES: images})


DIGEST = f"sha256:{'a' * 64}"


@pytest.mark.parametrize(
    ("pod", "listed", "admitted"),
    [
        (out("redis:7"), "redis", True),
        (out(f"redis@{DIGEST}"), "redis", True),
        (out(f"redis:7@{DIGEST}"), "redis", True),
        (out("redis"), "busybox, redis ,", True),
        (out(f"redis@{DIGEST}"), f"redis@{DIGEST}", True),
        (out("reg.example:5000/cache/redis:7"), "reg.example:5000/cache/redis", True),
        (out("redis:7", "busybox:1", init="busybox:1"), "redis,busybox", True),
        (out("redis:7"), "", False),
        (out("custom/server:1"), "redis", False),
        (out("redis:7", "custom/server:1"), "redis", False),
        (out("redis:7", init="custom/server:1"), "redis", False),
        (out("redis:7", debug="custom/server:1"), "redis", False),
        (out("redis-evil:7"), "redis", False),
        (out("redis:5000/custom/server"), "redis", False),
        (out("redis/custom"), "redis", False),
        (out("redis:8"), "redis:7", False),
        (out(f"redis:7@{DIGEST}"), f"redis@sha256:{'b' * 64}", False),
        (out("redis:7"), "redis:", False),
        (out(":7"), ",", False),
    ],
)
def test_who_opts_out_needs_every_image_listed_by_the_namespaces_owner(
    pod: Pod, listed: str, admitted: bool
) -> None:
    expected = [] if admitted else ["opt_out_not_granted"]
    assert codes(pod, namespace=listing(listed)) == expected


def test_a_pods_own_annotation_grants_nothing_and_without_any_nobody_opts_out() -> None:
    pod = out("custom/server:1")
    pod["metadata"]["annotations"] = {names.OPT_OUT_IMAGES: "custom/server"}
    assert codes(pod) == ["opt_out_not_granted"]


def test_who_opts_out_must_not_be_a_model_even_when_it_is_listed() -> None:
    vllm, kserve = (case_pod(case) for case in ("vllm_image", "kserve_raw"))
    for pod in (vllm, kserve):
        pod["metadata"]["labels"].update({names.INJECT: "false"})
        containers = [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]
        listed = ",".join(each["image"] for each in containers)
        assert codes(pod, namespace=listing(listed)) == ["model_opted_out"]
