"""Images from the renderer, the network or a folder into memory: uint8, neither augmented nor normalised.

Views are made in augmentation.py. From a shell, `python -m helpers.data stl10` fetches a data set and says
what is in it. Downloads and caches lie under data/, and data/README.md describes every set.
"""

import argparse
import contextlib
import errno
import hashlib
import http.client
import json
import os
import socket
import ssl
import statistics
import sys
import tarfile
import urllib.error
import warnings
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor
from torchvision import datasets
from torchvision.datasets.utils import check_integrity

from helpers import shapes

DATA = Path(__file__).resolve().parent.parent / "data"
SPLITS = ("pretrain", "train", "test")
SHAPES = {"train": (20_000, 0), "test": (4_000, 1)}  # split: (number of images, seed)
RENDERER = hashlib.sha256(Path(shapes.__file__).read_bytes()).hexdigest()  # of the source, as it was imported
READER = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
SUFFIXES = set(".jpg .jpeg .png .gif .bmp .webp .tif .tiff .ppm .pgm .pbm .tga .jp2 .avif .heic .heif".split())
SIZES = (32, 64, 96)  # what an own folder is brought to: the first that the typical image fits into, else the last
TEST_NAMES = ("test", "val", "valid", "validation")  # of the folder beside train; the first that is there serves
STL10_CLASSES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
DISK_GB = {"cifar10": 0.4, "stl10": 5.8}  # archive and unpacked files together


class DataError(ValueError):
    """Data that cannot be had; its text says why and what to do. A notebook shows it as one line."""

    def _render_traceback_(self) -> list[str]:
        return [f"No data: {self}"]


@dataclass(frozen=True, eq=False, repr=False)
class ImageSet:
    """Images in memory, with what is known about each.

    images: (M, 3, H, W) uint8.
    labels: (M,) int64, positions in `classes`; None where the images have no labels.
    classes: C names.
    factors: {name: (M,) or (M, k)}, what each image was drawn from; empty where unknown.
    """

    images: Tensor
    labels: Tensor | None
    classes: tuple[str, ...] = ()
    factors: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self):
        if self.images.ndim != 4 or self.images.shape[1] != 3 or self.images.dtype != torch.uint8:
            raise DataError(f"images are {self.images.dtype} {tuple(self.images.shape)}; uint8 (M, 3, H, W) is wanted.")
        rows = self.factors | ({} if self.labels is None else {"labels": self.labels})
        for name, values in rows.items():
            if len(values) != len(self.images):
                raise DataError(f"{name} has {len(values)} rows for {len(self.images)} images.")
        if self.labels is not None and (self.labels.ndim != 1 or self.labels.dtype != torch.int64):
            raise DataError(f"labels are {self.labels.dtype} {tuple(self.labels.shape)}; int64 (M,) is wanted.")

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        height, width = self.images.shape[-2:]
        size = f"{len(self):,} images, {height} × {width}"
        kind = f"{len(self.classes)} classes: {', '.join(self.classes)}" if self.labels is not None else "no labels"
        return f"ImageSet({size}, {kind}" + (f"; factors: {', '.join(self.factors)})" if self.factors else ")")

    def subset(self, indices: Tensor) -> "ImageSet":
        """The images at `indices` ((K,) int64, or (M,) bool), in that order, with their labels and factors."""
        labels = None if self.labels is None else self.labels[indices]
        factors = {name: values[indices] for name, values in self.factors.items()}
        return ImageSet(self.images[indices], labels, self.classes, factors)


def load_images(
    name: str,
    split: str,
    root: str | Path = DATA,
    classes: Sequence[str] | None = None,
    image_size: int | None = None,
) -> ImageSet:
    """One split of a data set; fetched or rendered the first time, kept under `root` for the next.

    Args:
        name: "shapes" (built in), "cifar10", "stl10", or "folder:PATH" for images of your own (see data/README.md).
        split: "pretrain", "train" or "test". "pretrain" is the unlabelled split of stl10, else the same as "train".
        root: the folder that downloads and caches go to.
        classes: names of the classes to keep; labels then count 0 .. C-1 in this order. All of them by default.
            A split without labels is kept whole, and a warning says so.
        image_size: side in pixels. By default 32 (shapes, cifar10) or 96 (stl10); for a folder the first of
            32, 64 and 96 that the median image's shorter side fits into, else 96.

    Raises:
        DataError: a sentence that says what is missing and what to do about it.
    """
    if split not in SPLITS:
        raise DataError(f'There is no split {split!r}; splits are "pretrain", "train" and "test".')
    if image_size is not None and (not isinstance(image_size, int) or not 1 <= image_size <= 4096):
        raise DataError(f"image_size is a side in pixels, a whole number from 1 to 4096, not {image_size!r}.")
    root, half = Path(root).expanduser(), "test" if split == "test" else "train"
    if name == "shapes":
        images = load_shapes(half, root)
    elif name == "cifar10":
        images = load_cifar10(half, root)
    elif name == "stl10":
        images = load_stl10(split, root)
    elif isinstance(name, str) and name.startswith("folder:"):
        images = load_folder(Path(name.removeprefix("folder:")), half, root, image_size)
    else:
        raise DataError(f'There is no data set {name!r}; there are "shapes", "cifar10", "stl10" and "folder:PATH".')
    if classes is not None:
        images = keep_classes(images, classes, f"{name} ({split})")
    if image_size is not None and images.images.shape[-1] != image_size:
        images = ImageSet(resized(images.images, image_size), images.labels, images.classes, images.factors)
    return images


def keep_classes(images: ImageSet, classes: Sequence[str], what: str) -> ImageSet:
    """Only the images of these classes, labels renumbered 0 .. C-1 in the order given."""
    if isinstance(classes, str) or not classes or len(set(classes)) != len(classes):
        raise DataError(f'classes is a tuple of different names, such as ("cat", "dog"), not {classes!r}.')
    unknown = [name for name in classes if name not in images.classes]
    if images.classes and unknown:
        raise DataError(f"{what} has no class {unknown[0]!r}; its classes are {', '.join(images.classes)}.")
    if images.labels is None:
        warnings.warn(f"{what} has no labels to choose classes by: all {len(images):,} images are kept.", stacklevel=3)
        return ImageSet(images.images, None, tuple(classes) if images.classes else (), images.factors)
    number = torch.full((len(images.classes),), -1)  # (C,) old label -> new label, -1: not kept
    for new, name in enumerate(classes):
        number[images.classes.index(name)] = new
    labels = number[images.labels]  # (M,)
    kept = ImageSet(images.images, labels, tuple(classes), images.factors).subset(labels >= 0)
    if not len(kept):
        raise DataError(f"{what} has no images of {', '.join(classes)}.")
    return kept


def resized(images: Tensor, size: int) -> Tensor:
    """(M, 3, H, H) uint8 -> (M, 3, size, size) uint8, bicubic, a few images at a time."""
    small = torch.empty(len(images), 3, size, size, dtype=torch.uint8)
    for large, result in zip(images.split(256), small.split(256), strict=True):
        result.copy_(F.interpolate(large, (size, size), mode="bicubic", antialias=True))
    return small


# Built in


def load_shapes(split: str, root: Path) -> ImageSet:
    """The rendered set. Its cache carries the hash of the renderer's source: a changed renderer renders anew."""
    count, seed = SHAPES[split]

    def render() -> tuple[ImageSet, str]:
        images, labels, factors = shapes.render(count, seed)
        return ImageSet(images, labels, tuple(shapes.CLASSES), dict(factors)), ""

    path = root / "cache" / f"shapes-{split}-{RENDERER[:12]}.npz"
    is_new = not path.exists()
    images = cached(path, RENDERER, render)[0]
    if is_new and path.exists():  # what earlier renderers left is never read again
        for old in set(path.parent.glob("shapes-*.npz")) - set(path.parent.glob(f"shapes-*-{RENDERER[:12]}.npz")):
            with contextlib.suppress(OSError):  # another process was faster, or has it open
                old.unlink()
    return images


# Downloads


def load_cifar10(split: str, root: Path) -> ImageSet:
    cifar10 = download("cifar10", datasets.CIFAR10, root, {"train": split == "train"})
    images = torch.from_numpy(cifar10.data).permute(0, 3, 1, 2).contiguous()  # (M, 32, 32, 3) -> (M, 3, 32, 32)
    return ImageSet(images, torch.tensor(cifar10.targets), tuple(cifar10.classes))


def load_stl10(split: str, root: Path) -> ImageSet:
    """STL-10, 96 × 96; "pretrain" is the unlabelled split."""
    stl10 = download("stl10", datasets.STL10, root, {"split": "unlabeled" if split == "pretrain" else split})
    images = stl10.data.transpose(0, 1, 3, 2)  # (M, 3, 96, 96) as it lies in memory, each image column by column
    for start in range(0, len(images), 256):  # turned in place: the unlabelled split fills 2.8 GB, once is enough
        images[start : start + 256] = stl10.data[start : start + 256].copy()
    labels = None if split == "pretrain" else torch.from_numpy(stl10.labels.astype(np.int64))
    return ImageSet(torch.from_numpy(images), labels, STL10_CLASSES)


def download(name: str, dataset: type, root: Path, options: dict):
    """A torchvision data set from `root`; fetched first (progress, checksum) where it is missing or damaged."""
    archive, url = root / dataset.filename, dataset.url
    is_new, patience = not archive.exists(), socket.getdefaulttimeout()
    instead = 'Until then the built-in set works offline: load_images("shapes", "train").'
    by_hand = f"Try again later, or fetch that file with a browser and put it into {root.absolute()}. {instead}"
    try:
        socket.setdefaulttimeout(30)  # seconds without an answer; the default waits for ever
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # these old pickles and archives make new libraries warn
            return dataset(root, download=True, **options)
    except urllib.error.HTTPError as problem:
        problem.close()
        raise DataError(f"{name}: the server answered {problem.code} {problem.reason} to {url}. {by_hand}") from None
    except (urllib.error.URLError, ConnectionError, TimeoutError, ssl.SSLError, http.client.HTTPException) as problem:
        reason = getattr(problem, "reason", "") or problem or type(problem).__name__
        raise DataError(
            f"{name} could not be fetched from {url} ({reason}). Is there a connection? {by_hand}"
        ) from None
    except (RuntimeError, tarfile.TarError, EOFError, zlib.error):
        told = f"{name}: what came from {url} is cut short or damaged (its checksum is wrong)"
        raise DataError(f"{told}. Run it again: it is then fetched anew. {instead}") from None
    except OSError as problem:
        mend = f"{name} needs about {DISK_GB[name]} GB there" if is_full(problem) else "may you write there?"
        told = f"{name} could not be written to {root.absolute()} ({problem.strerror or problem}): {mend}"
        raise DataError(f"{told}. {instead}") from None
    finally:
        socket.setdefaulttimeout(patience)
        if is_new and archive.is_file() and not check_integrity(archive, dataset.tgz_md5):
            archive.unlink()  # a part of an archive only fills the disk


def samples(root: str | Path = DATA) -> dict[str, Tensor]:
    """A few pictures to play with, (3, H, W) uint8 by name: built in, two photographs, CIFAR-10 where it lies under root.

    The photographs come with scikit-learn (CC BY 2.0; flower by vultilion, temple by danielbuechele, both on Flickr).
    """
    from sklearn.datasets import load_sample_image  # here: training does without its memory

    images, labels, _ = shapes.render(10, seed=5)
    pictures = {f"built in: {shapes.CLASSES[label]}": image for image, label in zip(images, labels.tolist())}
    pictures = dict(sorted(pictures.items()))
    for name, file in (("flower", "flower.jpg"), ("temple", "china.jpg")):
        photograph = Image.fromarray(load_sample_image(file)).resize((240, 160), Image.Resampling.BICUBIC)
        pictures[f"photograph: {name}"] = torch.from_numpy(np.array(photograph)).permute(2, 0, 1).contiguous()
    if (Path(root) / "cifar-10-batches-py").is_dir():
        cifar10 = load_images("cifar10", "test", root)
        for label, name in enumerate(cifar10.classes):
            pictures[f"CIFAR-10: {name}"] = cifar10.images[int((cifar10.labels == label).nonzero()[0])]
    return pictures


def is_full(problem: OSError) -> bool:
    return problem.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


# A folder of your own images


class ImageFile(NamedTuple):
    path: str  # relative to the folder, with forward slashes
    size: int  # bytes, -1 where it cannot be told
    modified: int  # nanoseconds


def load_folder(folder: Path, split: str, root: Path, image_size: int | None) -> ImageSet:
    """Every readable image of one split of a folder, square and RGB; the others are named in one warning."""
    folder = folder.expanduser().absolute()
    if not folder.is_dir():
        mend = "it is a file; unpack it first and name the folder" if folder.exists() else "check the path"
        raise DataError(f"There is no folder {folder}: {mend}.")
    files = find_images(folder)
    wanted = "PATH/<class>/*.jpg, PATH/{train,test}/<class>/*.jpg or, without labels, PATH/*.jpg"
    if not files:
        raise DataError(f"There are no images in {folder}; wanted are {wanted}, as JPEG, PNG or another common format.")
    key = hashlib.sha256(json.dumps([str(folder), split, image_size]).encode()).hexdigest()
    state = hashlib.sha256(json.dumps([READER, files]).encode()).hexdigest()
    cache = root / "cache" / f"folder-{key[:16]}.npz"
    images, note = cached(cache, state, lambda: read_folder(folder, files, split, image_size))
    if note:
        warnings.warn(note, stacklevel=3)
    return images


def find_images(folder: Path) -> list[ImageFile]:
    """All image files below the folder, by their names and without hidden ones, in the same order everywhere."""
    files = []
    for place, folders, names in os.walk(folder, followlinks=True):
        here = Path(place)
        own = here.resolve()
        folders[:] = [  # neither hidden ones nor a link back to where we came from
            name
            for name in folders
            if not name.startswith((".", "__")) and not own.is_relative_to((here / name).resolve())
        ]
        for name in names:
            if os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith("."):
                try:
                    state = os.stat(here / name)
                    size, modified = state.st_size, state.st_mtime_ns
                except OSError:
                    size, modified = -1, 0
                files.append(ImageFile((here / name).relative_to(folder).as_posix(), size, modified))
    return sorted(files)


def read_folder(folder: Path, files: list[ImageFile], split: str, image_size: int | None) -> tuple[ImageSet, str]:
    """The images of one split, and a sentence about those left out ("" where there are none)."""
    chosen, classes, left_out = choose(folder, files, split)
    if not chosen:
        raise DataError(
            f"{folder} has no images for the split {split!r}: {len(files)} are too few to set a fifth aside."
        )
    size = image_size or typical_size(folder, files)
    try:
        images = np.empty((len(chosen), 3, size, size), dtype=np.uint8)  # (M, 3, H, H)
    except MemoryError:
        need = len(chosen) * 3 * size**2 / 1e9
        raise DataError(f"{folder} needs {need:.1f} GB of memory at image_size={size}; choose a smaller one.") from None
    labels, skipped = [], list(left_out)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns about oddities that do no harm here
        for file, label in chosen:
            try:
                images[len(labels)] = read_image(folder / file.path, size)
            except Exception as problem:  # a broken file may raise anything
                skipped.append(f"{file.path} ({'empty file' if file.size == 0 else explain(problem)})")
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
        beside = [file for file, parts in below.items() if parts[0].casefold() not in ("train", *TEST_NAMES)]
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


def explain(problem: Exception) -> str:
    if isinstance(problem, Image.UnidentifiedImageError) or not str(problem):
        return "not a readable image"
    return str(problem).split(": '")[0]  # without the path that the system adds


def some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


# The cache: one .npz file an image set, never a pickle; a checksum in it guards every array


def cached(path: Path, state: str, make: Callable[[], tuple[ImageSet, str]]) -> tuple[ImageSet, str]:
    """What lies at `path`, if made in this `state`; where missing, older or damaged, what `make` gives, kept there."""
    with contextlib.suppress(Exception):  # damaged in whatever way: make it again
        with open(path, "rb") as whole, np.load(whole, allow_pickle=False) as file:
            if str(file["state"]) == state:
                return from_arrays({name: file[name] for name in file.files})
    images, note = make()
    try:
        write_arrays(path, to_arrays(images, note) | {"state": np.array(state)})
    except OSError as problem:
        warnings.warn(
            f"{path} could not be written ({problem.strerror or problem}): it is made again next time.", stacklevel=4
        )
    return images, note


def to_arrays(images: ImageSet, note: str) -> dict[str, np.ndarray]:
    arrays = {"images": images.images.numpy(), "classes": np.array(images.classes, dtype=str), "note": np.array(note)}
    if images.labels is not None:
        arrays["labels"] = images.labels.numpy()
    return arrays | {f"factor_{name}": values.numpy() for name, values in images.factors.items()}


def from_arrays(arrays: dict[str, np.ndarray]) -> tuple[ImageSet, str]:
    labels = torch.from_numpy(arrays["labels"]) if "labels" in arrays else None
    factors = {name[7:]: torch.from_numpy(array) for name, array in arrays.items() if name.startswith("factor_")}
    images = ImageSet(torch.from_numpy(arrays["images"]), labels, tuple(arrays["classes"].tolist()), factors)
    return images, str(arrays["note"])


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write beside `path`, then rename: whatever interrupts it, `path` holds the old file or the new one, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with open(unfinished, "wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def main(arguments: list[str] | None = None) -> int:
    """Fetch or read a data set and print a line a split; the exit code is 0, or 1 where it cannot be had."""
    parser = argparse.ArgumentParser(prog="python -m helpers.data", description="Fetch a data set, say what is in it.")
    parser.add_argument("name", help="shapes, cifar10, stl10 or folder:PATH")
    parser.add_argument("--root", default=DATA, help="the folder that downloads and caches go to (default: data)")
    chosen = parser.parse_args(arguments)
    name = chosen.name
    try:
        for split in ("train", "test"):
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                print(f"{name} {split}: {load_images(name, split, root=chosen.root)}")
            for warning in told:
                print(f"note: {warning.message}", file=sys.stderr)
    except DataError as problem:
        print(problem, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"stopped; `python -m helpers.data {name}` starts again.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
