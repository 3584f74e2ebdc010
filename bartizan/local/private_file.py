"""Files that nobody else can read: tokens, keys, what unseals a laptop run's OpenBao."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from bartizan.local.files import unusable


def write_private(path: Path, text: str) -> None:
    """Replace a file atomically; nobody else can read it at any moment."""
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


@contextmanager
def private_file(path: Path) -> Iterator[IO[str]]:
    """A new file of mode 0600 that takes the place of `path` when the block ends well, and is gone when it does not.

    Raises InvalidInput before the block begins where no file can be made: what is shown only once is not lost then.
    """
    try:
        descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")  # 0600 by itself
        if path.is_dir():
            Path(partial).unlink()
            raise IsADirectoryError(0, "is a folder")
    except OSError as error:
        raise unusable(path, "the file can't be written", error.strerror) from None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            yield file
        Path(partial).replace(path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
