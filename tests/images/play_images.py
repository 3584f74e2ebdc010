"""`make test-images`: every line of deploy/images/Dockerfile, and what its images can do then.

No container engine is asked: tests/images/dockerfile.py plays it. It needs root, Linux, Debian, a registry of Python
packages and Debian's mirror, and minutes; so it is no part of `make test`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from bartizan.policy.capabilities import CLASSIFIER, IMAGE, NAMES, SHIPPED_NAMES, SUPPORTED, WAF
from tests.images.dockerfile import Asked, Done, Plan
from tests.support.classifiers import made

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(3600)
SIDECARS = ("sidecar", "sidecar-full")

VERSION = ("bartizan", "--version")
WRITES = (
    "sh",
    "-c",
    'for place in / /opt/bartizan "$TMPDIR"; do touch $place/x && echo $place; done 2>/dev/null; id -u',
)
ANNOUNCED = (
    "python",
    "-c",
    "from sidecar.checks.installed import capabilities; print(*sorted(capabilities()))",
)
_FOUND = """\
import os
from sidecar.settings import load
envoy = load(os.environ | {"BARTIZAN_BUNDLE_FILE": "/etc/hosts", "BARTIZAN_TRUST_FILE": "/etc/hosts"}).envoy
os.execv(envoy, [envoy, "--version"])
"""
ENVOY = ("python", "-c", _FOUND)
CHILDREN = """\
import io, sys, time, msgspec
from PIL import Image
from bartizan.policy.checks import Classifier, Names
from sidecar.checks.classifier.process import ClassifierProcess
from sidecar.checks.images import messages as images
from sidecar.checks.images.decoder import Decoder
from sidecar.checks.names.process import NamesProcess
from sidecar.checks.waf import messages as waf
from sidecar.checks.waf.firewall import Firewall

config = msgspec.json.decode(sys.argv[1], type=Classifier)
classifier = ClassifierProcess(config)
classifier.start()
print("classifier", classifier.judge(config.self_test.attack).score >= config.threshold)
attack = waf.Question(method="GET", target="/?q=1%27+OR+1=1--+", headers=(("host", "model.example"),))
print("waf", Firewall(1).judge(attack).exceeded)
picture = io.BytesIO()
Image.new("RGB", (8, 8)).save(picture, "png")
question = images.Question(kind="png", data=picture.getvalue(), width=8, height=8, frames=1, lossless=True, reencode=True)
print("image", Decoder(1_000_000).decode(question, time.monotonic() + 20).good)
names = NamesProcess(Names())
names.start()
print("names", names.find(["Please write to Maria Keller in Boston."]).read == 1)
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, tuple[str, ...]], Done]:
    """What each image said to each command; all are built once."""
    models = made(tmp_path_factory.mktemp("models"))
    models.folder.chmod(0o755)
    config = msgspec.json.encode(models.config).decode()
    asked = [
        Asked(target="control-plane", argv=VERSION),
        *(Asked(target=each, argv=argv) for each in SIDECARS for argv in (VERSION, WRITES, ANNOUNCED, ENVOY)),
        Asked(target="sidecar-full", argv=("python", "-c", CHILDREN, config), models=str(models.folder)),
    ]
    plan = Plan(file=str(ROOT / "deploy/images/Dockerfile"), context=str(ROOT), asked=tuple(asked))
    played = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", sys.executable, "-m", "tests.images.dockerfile"],
        input=msgspec.json.encode(plan), stdout=subprocess.PIPE, cwd=ROOT, check=True,
    )  # fmt: skip
    done = msgspec.json.decode(played.stdout, type=list[Done])
    return {(one.target, one.argv[:3]): each for one, each in zip(asked, done, strict=True)}


Answers = dict[tuple[str, tuple[str, ...]], Done]


@pytest.mark.parametrize("image", ["control-plane", *SIDECARS])
def test_the_command_starts_in_every_image(answers: Answers, image: str) -> None:
    done = answers[image, VERSION]
    assert (done.returncode, done.output.startswith("bartizan")) == (0, True), done.output


@pytest.mark.parametrize("image", SIDECARS)
def test_a_sidecar_is_nobody_and_writes_into_its_own_folders_alone(answers: Answers, image: str) -> None:
    assert answers[image, WRITES].output.split() == ["/run/bartizan", "10443"]


@pytest.mark.parametrize("image", SIDECARS)
def test_envoy_is_there_and_can_be_run_by_the_images_user(answers: Answers, image: str) -> None:
    done = answers[image, ENVOY]
    assert (done.returncode, "version:" in done.output) == (0, True), done.output


@pytest.mark.parametrize(
    ("image", "lacks"), [("sidecar", {WAF, IMAGE, CLASSIFIER, NAMES, SHIPPED_NAMES}), ("sidecar-full", set())]
)
def test_an_image_announces_what_its_libraries_can_enforce(
    answers: Answers, image: str, lacks: set[str]
) -> None:
    assert set(answers[image, ANNOUNCED].output.split()) == SUPPORTED - lacks


def test_every_extra_works_in_the_full_image_without_a_writable_root(answers: Answers) -> None:
    done = answers["sidecar-full", ("python", "-c", CHILDREN)]
    assert done.output.split("\n")[:4] == ["classifier True", "waf True", "image True", "names True"], (
        done.output
    )
