"""A file is written whole or not at all: beside its place, flushed to the disk, and then renamed. And one run a folder."""

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
        flush_names(path.parent)
    finally:
        for left in (unfinished, *left_by_the_killed(path)):
            with contextlib.suppress(OSError):
                left.unlink()


def flush_names(folder: Path) -> None:
    """Bring a folder's new names to the disk, where the system can: a power cut then loses none."""
    with contextlib.suppress(OSError):  # Windows opens no folder
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """While this lasts, no other process of this host gets in here; ValueError where one is in already."""
    own = folder / f"running.{HOST}.{os.getpid()}"
    own.touch()
    try:
        others = [mark for mark in folder.glob("running.*") if mark.stem == own.stem and mark != own]
        for mark in others:
            if is_older(int(mark.suffix[1:]), mark):
                raise ValueError(
                    f"process {mark.suffix[1:]} is at work in {folder}: wait for it, or name another folder."
                )
            mark.unlink(missing_ok=True)
        yield
    finally:
        own.unlink(missing_ok=True)


def is_older(process: int, mark: Path) -> bool:
    """Is the process there, and was it before the mark? Else its number has gone to another one."""
    try:
        return psutil.Process(process).create_time() - 2 <= mark.stat().st_mtime  # seconds; the first is a rounded one
    except (psutil.NoSuchProcess, FileNotFoundError):
        return False


def left_by_the_killed(path: Path) -> list[Path]:
    """Unfinished files of this one that a process of this host began, which is gone."""
    begun = f"{path.name}.{HOST}."
    parts = [part for part in path.parent.glob("*.part") if part.name.startswith(begun)]
    return [part for part in parts if (pid := part.suffixes[-2][1:]).isdigit() and not psutil.pid_exists(int(pid))]
