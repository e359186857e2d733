"""A file is written whole or not at all: beside its place, flushed to the disk, and then renamed."""

import contextlib
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import psutil

HOST = platform.node() or "here"  # a folder may be shared, and a process's number means something on its own host alone


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, which takes the place of `path` in one instant when the block ends; else all is as before.

    Folders are made. What killed processes left unfinished of the same file goes, too.
    """
    unfinished = path.with_name(f"{path.name}.{HOST}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(unfinished, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        for left in (unfinished, *left_by_the_killed(path)):
            with contextlib.suppress(OSError):
                left.unlink()


def left_by_the_killed(path: Path) -> list[Path]:
    """Unfinished files of this one that a process of this host began, which is gone."""
    begun = f"{path.name}.{HOST}."
    parts = [part for part in path.parent.glob("*.part") if part.name.startswith(begun)]
    return [part for part in parts if (pid := part.suffixes[-2][1:]).isdigit() and not psutil.pid_exists(int(pid))]
