"""Files that nobody else can read: tokens, keys, what unseals a laptop run's OpenBao."""

from __future__ import annotations

import os
import stat
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
    """A new file of mode 0600 that takes the place of `path`, or of what the link `path` names, when the block ends well,
    and is gone when it does not. A FIFO or a device (/dev/stdout) stays what it is and is written to.

    Raises InvalidInput before the block begins where nothing can be written: what is shown only once is not lost then.
    """
    try:
        kind = _kind(path)
        target = path.resolve()
        if target.is_dir():
            raise IsADirectoryError(0, "is a folder")
        if stat.S_ISREG(kind):
            # 0600 by itself
            descriptor, partial = tempfile.mkstemp(dir=target.parent, prefix=f"{target.name}.")
        else:
            descriptor, partial = os.open(path, os.O_WRONLY), None
    except OSError as error:
        raise unusable(path, "the file can't be written", error.strerror) from None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            yield file
        if partial is not None:
            Path(partial).replace(target)
    except BaseException:
        if partial is not None:
            Path(partial).unlink(missing_ok=True)
        raise


def _kind(path: Path) -> int:
    """The kind of file, as in `st_mode`, that is there or, where nothing is, would be made."""
    try:
        return stat.S_IFMT(path.stat().st_mode)
    except FileNotFoundError:
        return stat.S_IFREG
