"""An ImageSet in a file, so that it is read or rendered once: an .npz, never a pickle. What is damaged is made again."""

import contextlib
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from helpers.files import written_whole
from helpers.image_set import ImageSet


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


def state_of(path: Path) -> str:
    """What a file was made from."""
    with open(path, "rb") as whole, np.load(whole, allow_pickle=False) as file:
        return str(file["state"])


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
    """Write an .npz; whatever interrupts it, `path` holds the old file or the new one, whole."""
    with written_whole(path) as file:
        np.savez(file, **arrays)
