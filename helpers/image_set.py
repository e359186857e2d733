"""Images in memory, uint8, with what is known about each. Where they come from is said in data.py and folder.py."""

from dataclasses import dataclass, field

import torch
from torch import Tensor


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
