"""The image check and the protocol `image`, against real Envoy, agent, worker and decoder process."""

from __future__ import annotations

import base64
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support import pictures
from tests.support.field_world import EMAIL, Answer, World
from tests.support.pictures import CANARY, bomb, bytes_of, data_url, form, loaded, opened, picture
from tests.support.raw_client import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("fields")]

CHAT = "/v1/chat/completions"


def use(world: World, protocol: str = "openai", **image: Any) -> None:
    routes = [{"path": "/see", "outputScores": ["$.probabilities"]}] if protocol == "image" else None
    body = {"body": {"max": "8MiB"}}
    world.use(
        model={"name": "m", "protocol": protocol, "port": "{model}"},
        routes=routes,
        limits=body,
        input=[{"image": image}],
    )
    world.model.says = "echo" if protocol == "image" else "chat"


def chat(world: World, *urls: str, once: bool = False) -> Answer:
    parts: list[dict[str, Any]] = [{"type": "text", "text": "what is it?"}]
    parts += [{"type": "image_url", "image_url": {"url": url, "detail": "low"}} for url in urls]
    ask = world.ask_once if once else world.ask
    return ask(CHAT, {"model": "m", "messages": [{"role": "user", "content": parts}]})


def send(world: World, kind: str, body: bytes) -> Answer:
    """To the model of protocol `image`, with this content type."""
    return world.ask("/see", body, kind=kind)


def kinds(world: World, answer: Answer) -> set[tuple[str, str]]:
    found = world.record(answer).get("findings", ())
    return {(one["kind"], one["action"]) for one in found if one["check"] == "image"}


def got(world: World, number: int = 0) -> bytes:
    """A picture as the chat model got it."""
    sent = json.loads(world.model.received[-1].body)
    return bytes_of(sent["messages"][0]["content"][1 + number]["image_url"]["url"])


def test_only_listed_types_pass_by_what_they_are_not_by_what_they_are_called(world: World) -> None:
    for allowed in pictures.KINDS:
        use(world, types=[allowed])
        for kind in pictures.KINDS:
            answer = chat(world, data_url(picture(kind), kind))
            assert answer.status == (200 if kind == allowed else 403), (allowed, kind)
            if kind != allowed:
                assert kinds(world, answer) == {("type_not_allowed", "deny")}
        other = "png" if allowed != "png" else "gif"
        assert kinds(world, chat(world, data_url(picture(allowed), other))) == {("type_mismatch", "deny")}
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><script>f()</script></svg>'
    assert kinds(world, chat(world, data_url(svg, "svg+xml"))) == {("type_not_allowed", "deny")}


def test_pictures_are_bounded_in_bytes_pixels_frames_and_number(world: World) -> None:
    small, large = picture(size=(20, 20)), picture(size=(21, 20))
    for image, good, bad, kind in (
        ({"maxPixels": 400}, [small], [large], "too_many_pixels"),
        ({"maxBytes": f"{len(small)}B"}, [small], [small + b"x"], "too_large"),
        (
            {"maxFrames": 2, "types": ["gif"]},
            [picture("gif", frames=2)],
            [picture("gif", frames=3)],
            "too_many_frames",
        ),
        ({"maxCount": 2}, [small, small], [small, small, small], "too_many"),
    ):
        use(world, **image)
        name = "gif" if "maxFrames" in image else "png"
        assert chat(world, *(data_url(one, name) for one in good)).status == 200, kind
        answer = chat(world, *(data_url(one, name) for one in bad))
        assert (answer.status, kinds(world, answer)) == (403, {(kind, "deny")})
    use(world)
    answer = chat(world, data_url(bomb()))
    assert (answer.status, kinds(world, answer)) == (403, {("too_many_pixels", "deny")})


def test_the_model_gets_pictures_written_anew_unless_told_otherwise(world: World) -> None:
    kinds_ = list(pictures.KINDS)
    use(world, types=kinds_, reencode=True)
    answer = chat(world, *(data_url(loaded(kind), kind) for kind in kinds_))
    assert (answer.status, kinds(world, answer)) == (200, {("metadata", "redact")})
    for number, kind in enumerate(kinds_):
        assert CANARY.encode() not in got(world, number), kind
        assert (opened(got(world, number)).format, opened(got(world, number)).size) == (
            kind.upper(),
            (64, 48),
        )
    assert CANARY.encode() not in world.model.received[-1].body
    use(world, types=kinds_, reencode=False)
    assert kinds(world, chat(world, data_url(loaded("png")))) == {("trailing_data", "deny")}
    plain = loaded("png").removesuffix(CANARY.encode())
    assert chat(world, data_url(plain)).status == 200
    assert got(world) == plain


def test_pictures_elsewhere_are_refused_but_for_listed_hosts(world: World) -> None:
    listed = ("https://cdn.example/a.png?b=1", "https://a.pictures.example/x")
    others = (
        "http://cdn.example/a.png",
        "https://169.254.169.254/latest/meta-data",
        "https://cdn.example@evil.example/",
        "https://evil.example/cdn.example",
        "https://cdn.example:8443/",
        "file:///etc/passwd",
    )
    use(world, remote=["cdn.example", "*.pictures.example"])
    for url in listed:
        answer = chat(world, url)
        assert answer.status == 200, url
        assert "image_url" in world.record(answer)["unscanned_reason"]
    for url in others:
        before = world.reached()
        answer = chat(world, url)
        assert (answer.status, kinds(world, answer)) == (403, {("remote", "deny")}), url
        assert world.reached() == before
    use(world)
    assert chat(world, listed[0]).status == 403


def test_a_flagged_picture_passes_as_it_came(world: World) -> None:
    for action, status in (("flag", 200), ("deny", 403)):
        use(world, types=["jpeg"], action=action)
        answer = chat(world, data_url(loaded("png")))
        assert (answer.status, kinds(world, answer)) == (status, {("type_not_allowed", action)})
    use(world, types=["jpeg"], action="flag")
    assert chat(world, data_url(loaded("png"))).status == 200
    assert got(world) == loaded("png")


def test_pictures_of_every_protocol_are_found(world: World) -> None:
    plain, hidden = base64.b64encode(b"no picture").decode(), base64.b64encode(loaded("png")).decode()
    source = {"type": "base64", "media_type": "image/png"}

    def block(data: str) -> dict[str, Any]:
        return {"type": "image", "source": {**source, "data": data}}

    cases: dict[str, tuple[str, Any]] = {
        "anthropic": (
            "/v1/messages",
            lambda data: {"max_tokens": 9, "messages": [{"role": "user", "content": [block(data)]}]},
        ),
        "ollama": (
            "/api/chat",
            lambda data: {"messages": [{"role": "user", "content": "x", "images": [data]}], "stream": False},
        ),
        "kserve_v1": ("/v1/models/m:predict", lambda data: {"instances": [{"image_bytes": {"b64": data}}]}),
        "kserve_v2": (
            "/v2/models/m/infer",
            lambda data: {"inputs": [{"name": "i", "shape": [1], "datatype": "BYTES", "data": [data]}]},
        ),
    }
    for protocol, (path, body) in cases.items():
        use(world, protocol)
        assert world.ask(path, body(hidden)).status == 200, protocol
        assert hidden.encode() not in world.model.received[-1].body
        assert b"iVBORw0KGgo" in world.model.received[-1].body
        before = world.reached()
        refused = world.ask(path, body(base64.b64encode(picture("gif")).decode()))
        assert (refused.status, kinds(world, refused)) == (403, {("type_not_allowed", "deny")}), protocol
        if protocol != "kserve_v2":  # there a string that is no picture is a text
            assert world.ask(path, body(plain)).status in {400, 403}, protocol
        assert world.reached() == before
    use(world)
    response = {
        "input": [
            {"role": "user", "content": [{"type": "input_image", "image_url": data_url(loaded("png"))}]}
        ]
    }
    assert world.ask("/v1/responses", response).status == 200
    assert hidden.encode() not in world.model.received[-1].body


def test_a_body_that_is_a_picture_or_a_form_is_read(world: World) -> None:
    use(world, "image")
    answer = send(world, "image/png", loaded("png"))
    assert (answer.status, kinds(world, answer)) == (200, {("metadata", "redact")})
    assert CANARY.encode() not in world.model.received[-1].body
    assert send(world, "image/jpeg", loaded("png")).status == 403
    assert send(world, "application/json", b"{}").status == 415
    world.use(
        model={"name": "m", "protocol": "image", "port": "{model}"},
        routes=[{"path": "/see", "outputScores": ["$.probabilities"]}],
        input=[{"image": {}}, {"pii": {"types": ["email"]}}],
        output=[{"probabilities": {"decimals": 1}}],
    )
    kind, body = form(
        ('"prompt"', f"I am {EMAIL}".encode()),
        ('"image"; filename="jane@example.org.png"\r\nContent-Type: image/png', loaded("png")),
    )
    answer = send(world, kind, body)
    assert answer.status == 200
    sent = world.model.received[-1].body
    assert b"I am [EMAIL]\r\n" in sent
    assert b'filename="[EMAIL]"' in sent
    assert CANARY.encode() not in sent
    assert answer.json()["probabilities"] == {"good": 0.9, "bad": 0.1}
    before = world.reached()
    assert send(world, kind, body.replace(b"\r\n\r\n", b"\n\n")).status == 400
    assert send(world, kind, body.replace(b"\x89PNG", b"\x89XNG")).status == 403
    for field, status in (
        ('"image"', 403),
        ('"image"\r\nContent-Type: image/png', 400),
        ('"model"; filename="m"', 400),
    ):
        kind, other = form((field, b"http://169.254.169.254/latest"))
        assert send(world, kind, other).status == status
    assert world.reached() == before


def test_a_picture_that_grows_arrives_within_the_bodys_limit_and_never_as_it_came(world: World) -> None:
    use(world)
    large = pictures.noise("jpeg", (1600, 1200), quality=95)
    assert chat(world, data_url(large, "jpeg")).status == 200
    assert opened(got(world)).size == (1600, 1200)
    packed = pictures.noise("png", (800, 800), blocks=10, compress_level=9)
    for limit, status in ((4 * len(packed), 200), (len(packed), 413)):
        world.use(
            model={"name": "m", "protocol": "image", "port": "{model}"},
            routes=[{"path": "/see"}],
            limits={"body": {"max": f"{limit}B"}},
            input=[{"image": {}}],
        )
        before = world.reached()
        assert send(world, "image/png", packed).status == status
        assert world.reached() - before == (status == 200)
        if status == 200:
            assert len(world.model.received[-1].body) > len(packed)


def children(world: World) -> list[int]:
    workers: list[int] = world.sidecar.status()["workers"]["pids"]
    found: list[int] = []
    for worker in workers:
        for listed in Path(f"/proc/{worker}/task").glob("*/children"):
            found += [int(child) for child in listed.read_text().split()]
    return found


def test_a_decoder_that_dies_or_hangs_lets_nothing_pass_and_comes_back(world: World) -> None:
    use(world)
    good = data_url(picture())
    assert chat(world, good).status == 200
    assert children(world)
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for child in children(world):
            os.kill(child, number)
        before = world.reached()
        answer = chat(world, data_url(loaded("png")), once=True)
        assert answer.status in {200, 503}
        if answer.status == 200:
            assert CANARY.encode() not in got(world)
        else:
            assert world.reached() == before
            assert answer.headers["retry-after"]
        assert wait_until(lambda: chat(world, good, once=True).status == 200)
    assert wait_until(lambda: b"bartizan_check_child_faults_total{" in world.sidecar.fetch("/metrics"))
