"""Images from the renderer, the network or a folder into memory: uint8, neither augmented nor normalised.

Views are made in augmentation.py. From a shell, `python -m helpers.data stl10` fetches a data set and says
what is in it. Downloads and caches lie under data/, and data/README.md describes every set.
"""

import argparse
import contextlib
import errno
import hashlib
import http.client
import io
import socket
import ssl
import sys
import tarfile
import urllib.error
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torchvision import datasets
from torchvision.datasets.utils import check_integrity

from helpers import shapes
from helpers.cache import cached
from helpers.folder import load_folder
from helpers.image_set import DataError, ImageSet

DATA = Path(__file__).resolve().parent.parent / "data"
SPLITS = ("pretrain", "train", "test")
SHAPES = {"train": (20_000, 0), "test": (4_000, 1)}  # split: (number of images, seed)
RENDERER = hashlib.sha256(Path(shapes.__file__).read_bytes()).hexdigest()  # of the source, as it was imported
STL10_CLASSES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
DISK_GB = {"cifar10": 0.4, "stl10": 5.8}  # archive and unpacked files together


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
    elif name == "folder:":
        raise DataError("folder: names no folder; write folder:PATH.")
    elif isinstance(name, str) and name.startswith("folder:"):
        images = load_folder(Path(name.removeprefix("folder:")), half, root, image_size)
    else:
        raise DataError(f'There is no data set {name!r}; there are "shapes", "cifar10", "stl10" and "folder:PATH".')
    if classes is not None:
        images = keep_classes(images, classes, f"{name} ({split})")
    if image_size is not None and images.images.shape[-1] != image_size:
        images = ImageSet(resized(images.images, image_size), images.labels, images.classes, images.factors)
    return images


def load_labelled(name: str, split: str, **settings) -> ImageSet:
    """load_images, for whoever needs labels: DataError where there are none."""
    images = load_images(name, split, **settings)
    if images.labels is None:
        raise DataError(f"{name} has no labels, and accuracies need them.")
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


def main(arguments: list[str] | None = None) -> int:
    """Fetch or read a data set and print a line a split; the exit code is 0, or 1 where it cannot be had."""
    parser = argparse.ArgumentParser(prog="python -m helpers.data", description="Fetch a data set, say what is in it.")
    parser.add_argument("name", help="shapes, cifar10, stl10 or folder:PATH")
    parser.add_argument("--root", default=DATA, help="the folder that downloads and caches go to (default: data)")
    chosen = parser.parse_args(arguments)
    name = chosen.name
    for stream in (sys.stdout, sys.stderr):  # a folder's name may hold bytes that are not UTF-8
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        for split in ("train", "test"):
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                print(f"{name} {split}: {load_images(name, split, root=chosen.root)}")
            for warning in told:
                print(f"note: {warning.message}", file=sys.stderr)
    except (DataError, OSError) as problem:
        print(problem, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"stopped; `python -m helpers.data {name}` starts again.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
