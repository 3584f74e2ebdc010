"""The process in which pictures are decoded and written anew: `python -m sidecar.checks.images.child`.

A process of its own, because decoders are C that reads hostile bytes: it has no keys, a bound on memory and processor
time, and no descriptor left to open a file or a socket with. It ends when its standard input does.
"""

from __future__ import annotations

import io
import resource
import warnings
from collections.abc import Callable
from typing import Any

from sidecar.checks.child.messages import Unfit, serve
from sidecar.checks.images.messages import Answer, Configure, Question

_DESCRIPTORS = 3
_ORIENTATION = 0x0112


def build(configure: Configure) -> Callable[[Question], Answer]:
    """Raises Unfit without Pillow."""
    try:
        reencoder = Reencoder()
    except ImportError:
        raise Unfit("Pillow is not installed: pip install 'bartizan[image]'") from None
    confine(configure.memory)

    def judge(question: Question) -> Answer:
        used = resource.getrusage(resource.RUSAGE_SELF)
        seconds = int(used.ru_utime + used.ru_stime) + 1 + configure.seconds
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.RLIM_INFINITY))
        return reencoder.judge(question)

    return judge


def confine(memory: int) -> None:
    """Take from this process, for good, what decoding does not need."""
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(
        resource.RLIMIT_NPROC, (0, 0)
    )  # root may fork all the same, but into nothing it could open
    resource.setrlimit(resource.RLIMIT_NOFILE, (_DESCRIPTORS, _DESCRIPTORS))


class Reencoder:
    """Pillow, with every module loaded that it will need: later nothing can be opened."""

    def __init__(self) -> None:
        """Raises ImportError."""
        from PIL import Image, JpegImagePlugin

        Image.init()
        Image.MAX_IMAGE_PIXELS = None  # bounded by the file's own structure before it comes here
        warnings.simplefilter("ignore")
        self._image: Any = Image
        self._jpeg: Any = JpegImagePlugin
        self._turns = {
            2: Image.Transpose.FLIP_LEFT_RIGHT,
            3: Image.Transpose.ROTATE_180,
            4: Image.Transpose.FLIP_TOP_BOTTOM,
            5: Image.Transpose.TRANSPOSE,
            6: Image.Transpose.ROTATE_270,
            7: Image.Transpose.TRANSVERSE,
            8: Image.Transpose.ROTATE_90,
        }
        for kind in ("png", "jpeg", "gif", "webp"):  # what codecs load late, they load now
            out = io.BytesIO()
            Image.new("RGB", (2, 2)).save(out, kind, save_all=kind != "jpeg")
            Image.open(io.BytesIO(out.getvalue())).load()

    def judge(self, question: Question) -> Answer:
        try:
            return self._judge(question)
        except Exception:  # decoders raise whatever they like; all of it means the same
            return Answer(good=False)

    def _judge(self, question: Question) -> Answer:
        image = self._image.open(io.BytesIO(question.data), formats=[question.kind.upper()])
        frames = 1 if question.kind == "jpeg" else getattr(image, "n_frames", 1)
        fits = image.width <= question.width and image.height <= question.height
        if not fits or frames > question.frames:
            return Answer(good=False)
        how = self._how(question, image)
        taken: list[Any] = []
        durations: list[int] = []
        for number in range(frames):
            image.seek(number)
            image.load()
            durations.append(int(image.info.get("duration", 0)))
            if question.reencode or number == 0:
                taken.append(_bare(image))
        if not question.reencode:
            return Answer(good=True)
        turn = self._turns.get(_orientation(image)) if frames == 1 else None
        if turn is not None:
            taken[0] = taken[0].transpose(turn)
        if frames > 1:
            loop = int(image.info.get("loop", 1))
            how |= {"save_all": True, "append_images": taken[1:], "duration": durations, "loop": loop}
        out = io.BytesIO()
        taken[0].save(out, question.kind, **how)
        return Answer(good=True, data=out.getvalue())

    def _how(self, question: Question, image: Any) -> dict[str, Any]:
        """Settings that lose little and take little time."""
        match question.kind:
            case "jpeg":
                sampling = self._jpeg.get_sampling(image)
                tables = {"qtables": image.quantization} if image.quantization else {"quality": 90}
                return tables if sampling < 0 else {**tables, "subsampling": sampling}
            case "png":
                return {"compress_level": 1}
            case "webp":
                quality = 0 if question.lossless else 90
                return {"lossless": question.lossless, "quality": quality, "method": 0, "exact": True}
            case _:
                return {}


def _bare(image: Any) -> Any:
    """The pixels, and of all that is said about them only which colour is transparent."""
    bare = image.copy()
    bare.info = {key: value for key, value in image.info.items() if key == "transparency"}
    return bare


def _orientation(image: Any) -> int:
    """How a picture that is loaded is meant to be turned: this goes with the metadata, so it is done to the pixels.

    Before it is loaded, asking would load it, and an error of that would be lost here.
    """
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # broken metadata, which nobody will see
        return 1


if __name__ == "__main__":
    serve(Configure, Question, build)
