"""`make test-images`: deploy/images/Dockerfile, every line of it, and what its images can do then.

No container engine is asked: tests/images/dockerfile.py plays it. Root, Linux, Debian, a registry of Python packages and,
for the firewall's rules, Debian's; minutes on two cores. So it is no part of `make test`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from bartizan.policy.capabilities import CLASSIFIER, IMAGE, SUPPORTED, WAF
from tests.images.dockerfile import Asked, Done, Plan
from tests.support.classifiers import made
from tests.support.pictures import picture

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(3600)

VERSION = ("bartizan", "--version")
ENVOY = ("envoy", "--version")
ANNOUNCED = (
    "python", "-c",
    "import json; from sidecar.checks.installed import capabilities; print(json.dumps(sorted(capabilities())))",
)  # fmt: skip
WRITES = ("sh", "-c", "id -u; ! touch /opt/bartizan/x /x; touch /run/bartizan/x")
CHILDREN = """\
import sys, time, msgspec
from bartizan.policy.checks import Classifier
from sidecar.checks.classifier.process import ClassifierProcess
from sidecar.checks.images import decoder, messages as images
from sidecar.checks.waf import firewall, messages as waf
config = msgspec.json.decode(sys.argv[1], type=Classifier)
classifier = ClassifierProcess(config)
classifier.start()
print(classifier.judge(config.self_test.attack).score > 0.9)
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Done]:
    """What each image answered; built once for all tests."""
    folder = tmp_path_factory.mktemp("models")
    asked: list[tuple[str, Asked]] = []
