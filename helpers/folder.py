"""A folder of your own images -> an ImageSet: square, RGB, one size. Broken files are left out and named.

Folders of folders are classes, train and test folders are splits, and without a test folder a fifth is set aside.
"""

import contextlib
import hashlib
import json
import os
import statistics
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import torch
from PIL import Image, ImageOps

from helpers.cache import cached, state_of
from helpers.image_set import DataError, ImageSet
from helpers.machine import usable_memory

READER = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
SUFFIXES = set(
    ".jpg .jpeg .jpe .jfif .png .gif .bmp .webp .tif .tiff .ppm .pgm .pbm .tga .jp2 .avif .heic .heif".split()
)
SIZES = (32, 64, 96)  # what an own folder is brought to: the first that the typical image fits into, else the last
TEST_NAMES = ("test", "val", "valid", "validation")  # of the folder beside train; the first that is there serves


class ImageFile(NamedTuple):
    path: str  # relative to the folder, with forward slashes
    size: int  # bytes, -1 where it cannot be told
    modified: int  # nanoseconds


def load_folder(folder: Path, split: str, root: Path, image_size: int | None) -> ImageSet:
    """Every readable image of one split of a folder, square and RGB; the others are named in one warning."""
    try:
        folder = folder.expanduser().absolute()
    except RuntimeError as problem:  # ~somebody, who is not there
        raise DataError(f"There is no folder {folder}: {problem}") from None
    if not folder.is_dir():
        mend = "it is a file; unpack it first and name the folder" if folder.exists() else "check the path"
        raise DataError(f"There is no folder {folder}: {mend}.")
    files = find_images(folder)
    wanted = "PATH/<class>/*.jpg, PATH/{train,test}/<class>/*.jpg or, without labels, PATH/*.jpg"
    if not files:
        raise DataError(f"There are no images in {folder}; wanted are {wanted}, as JPEG, PNG or another common format.")
    key = hashlib.sha256(json.dumps([str(folder), split, image_size]).encode()).hexdigest()
    state = f"{folder}\n{hashlib.sha256(json.dumps([READER, files]).encode()).hexdigest()}"
    cache = root / "cache" / f"folder-{key[:16]}.npz"

    def read() -> tuple[ImageSet, str]:
        forget_gone(cache.parent)
        return read_folder(folder, files, split, image_size)

    images, note = cached(cache, state, read)
    if note:
        warnings.warn(note, stacklevel=3)
    return images


def forget_gone(caches: Path) -> None:
    """Remove what is kept of folders that are no longer there."""
    for path in caches.glob("folder-*.npz"):
        with contextlib.suppress(Exception):  # damaged, or another process was faster
            if not Path(state_of(path).split("\n")[0]).is_dir():
                path.unlink()


def find_images(folder: Path) -> list[ImageFile]:
    """All image files below the folder, by their names and without hidden ones, in the same order everywhere."""
    files, closed = [], []
    around = {os.fspath(folder): {folder.resolve()}}  # of each place to come, the real folders that it lies in
    for place, folders, names in os.walk(folder, followlinks=True, onerror=closed.append):
        here, above = Path(place), around.pop(place)
        real = {name: (here / name).resolve() for name in folders if not name.startswith((".", "__"))}
        folders[:] = [name for name in real if not any(one.is_relative_to(real[name]) for one in above)]  # no way back
        around |= {os.path.join(place, name): above | {real[name]} for name in folders}
        for name in names:
            if os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith("."):
                try:
                    state = os.stat(here / name)
                    size, modified = state.st_size, state.st_mtime_ns
                except OSError:
                    size, modified = -1, 0
                files.append(ImageFile((here / name).relative_to(folder).as_posix(), size, modified))
    if closed:
        raise DataError(
            f"{closed[0].filename} cannot be opened: {closed[0].strerror}. Change its rights, or move it away."
        )
    return sorted(files)


def read_folder(folder: Path, files: list[ImageFile], split: str, image_size: int | None) -> tuple[ImageSet, str]:
    """The images of one split, and a sentence about those left out ("" where there are none)."""
    chosen, classes, left_out = choose(folder, files, split)
    if not chosen:
        raise DataError(
            f"{folder} has no images for the split {split!r}: {len(files)} are too few to set a fifth aside."
        )
    labels, skipped = [], list(left_out)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns about oddities that do no harm here
        size = image_size or typical_size(folder, files)
        need, free = len(chosen) * 3 * size**2, usable_memory(psutil.virtual_memory().available)
        if need > free:
            raise DataError(
                f"{folder} needs {need / 1e9:.1f} GB of memory at image_size={size}, and {free / 1e9:.1f} are free; "
                "choose a smaller one."
            )
        images = np.empty((len(chosen), 3, size, size), dtype=np.uint8)  # (M, 3, H, H)
        for file, label in chosen:
            try:
                images[len(labels)] = read_image(folder / file.path, size)
            except Exception as problem:  # a broken file may raise anything
                skipped.append(f"{file.path} ({explain(problem, file)})")
            else:
                labels.append(label)
    if not labels:
        raise DataError(f"None of the {len(chosen)} images in {folder} could be read: {some(skipped)}.")
    note = f"{len(skipped)} of {len(chosen) + len(left_out)} images in {folder} were left out: {some(skipped)}."
    kept = torch.from_numpy(images[: len(labels)])
    labelled = torch.tensor(labels) if labels[0] is not None else None
    return ImageSet(kept, labelled, classes), note if skipped else ""


def choose(
    folder: Path, files: list[ImageFile], split: str
) -> tuple[list[tuple[ImageFile, int | None]], tuple[str, ...], list[str]]:
    """Which files make up a split: (file, label) pairs, the class names, and what is left out, with the reason."""
    below = {file: file.path.split("/") for file in files}  # path inside the folder, later inside train or test
    tops = {parts[0].casefold(): parts[0] for parts in below.values() if len(parts) > 1}
    train = tops.get("train")
    test = next((tops[name] for name in TEST_NAMES if name in tops), None)
    if train and not test and len(tops) > 1 and all(len(parts) < 3 for parts in below.values() if parts[0] == train):
        train = None  # no split: a class of trains, among others
    if train is None and "test" in tops:
        raise DataError(f"{folder} has a folder test but none named train (with images in it); add it or rename test.")
    left_out = []
    if train:  # what stands beside train and test does not count
        beside = [file for file, parts in below.items() if parts[0] not in (train, test)]
        left_out = [f"{file.path} (beside {train})" for file in beside]
        below = {file: parts[1:] for file, parts in below.items() if parts[0] in (train, test)}
    classes = tuple(sorted({parts[0] for parts in below.values() if len(parts) > 1}))  # of both splits: numbered alike
    if train and test:
        wanted = test if split == "test" else train
        below = {file: parts for file, parts in below.items() if file.path.startswith(wanted + "/")}
    groups: dict[str | None, list[ImageFile]] = {}  # class name, or None for a file in no class folder
    for file, parts in below.items():
        groups.setdefault(parts[0] if len(parts) > 1 else None, []).append(file)
    loose = groups.pop(None, []) if len(groups) > 1 else []
    left_out += [f"{file.path} (beside the class folders)" for file in loose]
    if not (train and test):
        groups = {name: fifth(group, split) for name, group in groups.items()}
    label = {name: number for number, name in enumerate(classes)}
    return [(file, label.get(name)) for name, group in groups.items() for file in group], classes, left_out


def fifth(files: list[ImageFile], split: str) -> list[ImageFile]:
    """A fifth of the files for "test", the others for "train": drawn by a hash of the names, always the same."""
    by_hash = sorted(files, key=lambda file: hashlib.sha256(json.dumps(file.path).encode()).digest())
    test = set(by_hash[: max(round(len(files) / 5), min(1, len(files) - 1))])
    return [file for file in files if (file in test) == (split == "test")]


def typical_size(folder: Path, files: list[ImageFile]) -> int:
    """The first of SIZES that the median image's shorter side fits into, else the last; some 1,000 files are asked."""
    sides = []
    for file in files[:: len(files) // 1000 + 1]:
        with contextlib.suppress(Exception), Image.open(folder / file.path) as image:
            sides.append(min(image.size))
    middle = statistics.median(sides) if sides else 0
    return next((size for size in SIZES if middle <= size), SIZES[-1])


def read_image(path: Path, size: int) -> np.ndarray:
    """One file, of an animation the first frame, as (3, size, size) uint8: upright, RGB, the middle square, bicubic."""
    with Image.open(path) as image:
        image.draft(None, (2 * size, 2 * size))  # a large JPEG is decoded at about the size needed
        with contextlib.suppress(Exception):  # damaged EXIF: as if there were none
            ImageOps.exif_transpose(image, in_place=True)
        square = ImageOps.fit(in_rgb(image), (size, size), Image.Resampling.BICUBIC)
        return np.asarray(square).transpose(2, 0, 1)  # (H, W, 3) -> (3, H, W)


def in_rgb(image: Image.Image) -> Image.Image:
    """The same picture with 8 bits of red, green and blue: on white, if transparent; 16-bit grey divided by 256."""
    if image.mode.startswith("I"):
        grey = np.asarray(image).clip(0, 65535) // 256  # Pillow would clip at 255
        image = Image.fromarray(grey.astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("floating-point pixels have no fixed range")
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def explain(problem: Exception, file: ImageFile) -> str:
    """Why a file is left out, for the warning."""
    if file.size == 0:
        return "empty file"
    if isinstance(problem, Image.UnidentifiedImageError) or not str(problem):
        save_as = "; save it as JPEG" if file.path.lower().endswith((".heic", ".heif")) else ""
        return f"not a readable image{save_as}"
    return str(problem).split(": '")[0]  # without the path that the system adds


def some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
