"""Which pictures a policy lets pass, and what becomes of them: every rule of the image check, with the real decoder."""

from __future__ import annotations

import base64
from typing import Any, get_args

import pytest

from bartizan.policy.checks import Image, ImageType
from sidecar.checks.base import Looked
from sidecar.checks.child.process import ChildFailed
from sidecar.checks.images.check import ImageCheck, build
from sidecar.checks.images.decoder import Decoder
from sidecar.checks.images.messages import Answer, Question
from sidecar.checks.images.sources import allowed_elsewhere
from sidecar.formats.base import ImagePart
from sidecar.model.finding import Action
from tests.support.pictures import CANARY, KINDS, bomb, data_url, loaded, opened, picture

DECODER = Decoder(16_000_000)
ALL = get_args(ImageType)


def check(**config: Any) -> ImageCheck:
    return ImageCheck(Image(**{"types": ALL, **config}), DECODER)


def raw(data: bytes, declared: str = "") -> ImagePart:
    return ImagePart(location="body", kind="image", form="raw", written=data, declared=declared)


def url(written: str) -> ImagePart:
    return ImagePart(location="m", kind="image_url", form="url", written=written)


def encoded(written: str, declared: str = "") -> ImagePart:
    return ImagePart(location="m", kind="image", form="base64", written=written, declared=declared)


def look(part: ImagePart, **config: Any) -> Looked:
    (looked,) = check(**config).judge([part])
    return looked


class Slow:
    """Answers only while there is time; each picture takes one second."""

    def __init__(self) -> None:
        self.left = 2.5

    def start(self) -> None:
        pass

    def decode(self, question: Question, deadline: float) -> Answer:
        assert deadline
        self.left -= 1
        if self.left < 0:
            raise ChildFailed("late")
        return Answer(good=True, data=question.data)


def test_a_picture_for_which_no_time_is_left_refuses_all_of_them() -> None:
    made = ImageCheck(Image(types=ALL, action="flag"), Slow())
    part = raw(picture())
    assert len(made.judge([part, part])) == 2
    with pytest.raises(ChildFailed):
        ImageCheck(Image(types=ALL, action="flag"), Slow()).judge([part, part, part])


def kinds(looked: Looked) -> list[tuple[str, Action]]:
    return [(finding.kind, finding.action) for finding in looked.findings]


BASE64 = base64.b64encode(picture()).decode()
DENIED: dict[str, tuple[ImagePart, dict[str, Any]]] = {
    "type_not_allowed": (raw(picture("gif")), {"types": ("png",)}),
    "type_not_allowed svg": (raw(b"<svg onload='f()'/>"), {}),
    "type_not_allowed nested": (url(data_url(data_url(picture()).encode())), {}),
    "type_not_allowed nothing": (url("data:image/png;base64,"), {}),
    "type_mismatch": (url(data_url(picture("jpeg"), "png")), {}),
    "type_mismatch text": (raw(picture(), "text/html"), {}),
    "type_mismatch anthropic": (encoded(BASE64, "image/jpeg"), {}),
    "too_large": (raw(picture()), {"max_bytes": "64B"}),
    "too_large base64": (encoded(BASE64), {"max_bytes": "64B"}),
    "too_large huge": (encoded("A" * 30_000_000), {}),
    "too_many_pixels": (raw(bomb()), {}),
    "too_many_pixels frames": (raw(picture("gif", frames=3)), {"max_frames": 3, "max_pixels": 9000}),
    "too_many_frames": (raw(picture(frames=2)), {}),
    "malformed": (raw(picture()[:-20]), {}),
    "malformed base64": (encoded(BASE64[:-5] + "!" + BASE64[-4:]), {}),
    "malformed padding": (encoded("iVBO=Rw0KGgo"), {}),
    "malformed letters": (encoded(BASE64.replace("+", "-").replace("/", "_") + "\u00e9"), {}),
    "malformed percent": (url("data:image/png,%89PNG"), {}),
    "trailing_data": (raw(picture() + b"PK\x03\x04"), {"reencode": False}),
    "stored": (ImagePart(location="m", kind="input_image", form="stored", written=""), {}),
    "remote": (url("https://evil.example/a.png"), {"remote": ("cdn.example",)}),
}


@pytest.mark.parametrize("case", DENIED)
@pytest.mark.parametrize("action", ["deny", "flag"])
def test_a_picture_that_is_not_allowed_is_refused_or_flagged_and_stays_as_it_came(
    case: str, action: str
) -> None:
    part, config = DENIED[case]
    looked = look(part, action=action, **config)
    assert kinds(looked) == [(case.split(maxsplit=1)[0], Action[action.upper()])]
    assert looked.written is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_picture_written_anew_has_no_metadata_and_stands_as_it_was_meant(
    kind: str, orientation: int
) -> None:
    looked = look(raw(loaded(kind, orientation=orientation)))
    assert kinds(looked) == [("metadata", Action.REDACT)]
    assert isinstance(looked.written, bytes)
    assert CANARY.encode() not in looked.written
    again = opened(looked.written)
    turned = orientation == 6 and kind != "gif"
    assert (again.format, again.size) == (kind.upper(), (48, 64) if turned else (64, 48))
    assert not again.info.keys() & {"exif", "icc_profile", "comment", "xmp", "note"}
    assert not again.getexif()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "jpeg"])
def test_animations_keep_their_frames(kind: str) -> None:
    looked = look(raw(picture(kind, frames=4)), max_frames=4)
    assert isinstance(looked.written, bytes)
    again = opened(looked.written)
    assert again.n_frames == 4
    again.seek(3)
    red = again.convert("RGB").getpixel((5, 5))[0]
    assert abs(red - 120) < 16


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_lossless_pictures_keep_every_pixel(mode: str) -> None:
    import io

    from PIL import Image as Pillow

    made = Pillow.radial_gradient("L").convert("I;16" if mode == "I;16" else "RGBA").convert(mode)
    out = io.BytesIO()
    made.save(out, "png", **({"transparency": 3} if mode == "P" else {}))
    looked = look(raw(out.getvalue()))
    assert isinstance(looked.written, bytes)
    assert (
        opened(looked.written).convert("RGBA").tobytes() == opened(out.getvalue()).convert("RGBA").tobytes()
    )


@pytest.mark.parametrize(
    "part", [encoded(BASE64), url(data_url(picture())), encoded(BASE64[:40] + "\r\n" + BASE64[40:])]
)
def test_a_picture_is_written_in_the_form_in_which_it_came(part: ImagePart) -> None:
    looked = look(part)
    assert isinstance(part.written, str)
    assert isinstance(looked.written, str)
    assert looked.written.startswith("data:image/png;base64,iVBOR" if part.form == "url" else "iVBOR")
    assert look(encoded(looked.written.partition(",")[2] or looked.written)).findings == ()


def test_a_picture_as_it_came_is_decoded_all_the_same() -> None:
    broken = bytearray(picture(size=(200, 200)))
    pixels = broken.index(b"IDAT") + 4
    broken[pixels + 4 : pixels + 12] = b"\xff" * 8
    assert kinds(look(raw(bytes(broken)), reencode=False)) == [("malformed", Action.DENY)]
    assert look(raw(picture()), reencode=False) == Looked(part=raw(picture()), size=len(picture()))


def test_of_too_many_pictures_none_is_looked_at() -> None:
    looked = check(max_count=2).judge([raw(picture())] * 3)
    assert [kinds(one) for one in looked] == [[("too_many", Action.DENY)]]


def test_nothing_is_decoded_for_who_is_gone() -> None:
    assert check().judge([raw(picture())] * 3, lambda: True) == []


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("https://cdn.example", True),
        ("https://CDN.example/a?b=c", True),
        ("https://cdn.example:443/a", True),
        ("https://a.b.wide.example/", True),
        ("https://wide.example/", False),
        ("https://evilwide.example/", False),
        ("http://cdn.example/", False),
        ("https://cdn.example:8443/", False),
        ("https://user@cdn.example/", False),
        ("https://cdn.example\\@evil.example/", False),
        ("https://cdn.example.evil.example/", False),
        ("https://evil.example#cdn.example", False),
        ("https://cdn.example/a b", False),
        (" https://cdn.example/", False),
        ("https:cdn.example/", False),
        ("https://cdn%2eexample/", False),
        ("https://cdn.example\u3002evil.example/", False),
        ("https://cdn.example/\n", False),
    ],
)
def test_only_plain_https_addresses_of_listed_hosts_are_allowed(address: str, allowed: bool) -> None:
    assert allowed_elsewhere(url(address), ("cdn.example", "*.wide.example")) is allowed


def test_a_policy_makes_its_check_without_starting_anything() -> None:
    assert build(Image()).name == "image"
