"""The settings of a pretraining run, and what follows from them: the model, the views, how many steps there are.

Nothing is trained here.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from helpers import augmentation, encoder
from helpers.augmentation import TwoViewsOfBatch
from helpers.projection_head import SimCLR, head_for


@dataclass(frozen=True)
class Recipe:
    """All settings of one pretraining run. The defaults suit the built-in pictures and two CPU cores."""

    arch: str = "resnet8"  # the shortest h, 128 numbers; resnet18 needs 9 times the arithmetic
    small_images: bool = False  # ImageNet's stem has a twelfth of the arithmetic; True (3×3) sees more, given time
    group_norm: bool = False  # in the encoder, in place of batch norm: then no image of a batch changes another
    view_size: int = 32  # pixels; the side of the images
    epochs: float = 20  # times every image is seen; 2.5 ends in the middle of the third epoch
    batch_size: int = 128  # N images, so 2N views and 2N - 2 negatives for each anchor
    views: int = 2  # of every image of a batch; with more, every pair is a positive (Tian et al. 2020)
    optimizer: str = "adamw"  # or "muon", which learns more in few steps, or "lars", the paper's, for large batches
    base_lr: float = 3e-3  # reached at the end of the warm-up
    weight_decay: float = 0.01  # of AdamW, decoupled, per unit of learning rate; Muon has none, LARS its own
    warmup_fraction: float = 0.05  # of all steps; the paper warms up for 10 of its 100 or more epochs
    temperature: float = 0.2  # of NT-Xent; the paper's best on ImageNet is 0.1 (table 5), its code has 0.5 for CIFAR-10
    decoupled: bool = False  # NT-Xent without the positive in its denominator: losses.decoupled
    strength: float = 1.0  # of the colour distortion; the paper uses 1 on ImageNet and 0.5 on CIFAR-10
    blur: bool = False  # the paper leaves blur out on small images (appendix B.9)
    fused: bool = False  # views by augmentation.fast_view: sooner made, but see data/results/choices_cifar10.json
    area: tuple[float, float] = (0.5, 1.0)  # share of the image a crop covers; the paper's 0.08 can miss a small object
    hidden_dim: int = 512  # width of the projection head
    head_norm: bool = False  # batch normalisation in the head's hidden layers, as in SimCLR's own code
    out_dim: int = 128  # numbers in z, as in the paper
    seed: int = 0  # of the weights, the order of the images and the views


def recipe_for(name: str, side: int, **settings) -> Recipe:
    """A recipe for a data set, by its name and the side of its images in pixels; settings are fields of Recipe.

    Photographs get an encoder four times as wide, h from quarters, four views each, half the colour strength, smaller
    crops, a lower temperature, the decoupled loss, Muon and a batch norm in the head; `make choices` takes such choices
    back one by one, and its results file says which were measured. Up to 64 pixels a side they get the small-image stem.
    Our small encoders then train on views of half the side, where an encoder twice as wide costs no more; things in a
    crop look smaller than in the whole picture, which comes later. On the built-in pictures only the larger encoders get
    the small-image stem. LARS gets the paper's rate, 0.075 · √batch size (appendix B.1): it is a share of a layer's
    length, and far larger than AdamW's.
    """
    arch = settings.get("arch", Recipe.arch if name == "shapes" else "resnet8x4-quarters")
    narrow, small = arch in encoder.NARROW, side <= 64
    chosen = {"arch": arch, "view_size": side, "small_images": small and not narrow}
    if name != "shapes":
        chosen |= {"view_size": side // 2 if small and narrow else side, "small_images": small, "strength": 0.5}
        chosen |= {"area": (0.12, 1.0), "views": 4, "batch_size": 512 // (settings.get("views") or 4)}  # 512 views
        chosen |= {"optimizer": "muon", "base_lr": 2e-3, "temperature": 0.1, "decoupled": True, "head_norm": True}
    recipe = Recipe(**(chosen | settings))
    if "weight_decay" in settings and recipe.optimizer != "adamw":
        raise ValueError(
            f"weight_decay is AdamW's, and the optimizer is {recipe.optimizer}: leave it out, or take adamw."
        )
    lars = recipe.optimizer == "lars" and "base_lr" not in settings
    return replace(recipe, base_lr=0.075 * recipe.batch_size**0.5) if lars else recipe


def settings_in(words: Sequence[str], **settings) -> dict:
    """Fields of Recipe, as a command line gives them: ["views=2", "area=0.2,1", "blur=true"].

    Args:
        settings: fields that have a value already; they are part of what is returned.

    Raises:
        ValueError: no such field, a value of another kind than its default, or a second value for a field.
    """
    known = {field.name: field for field in fields(Recipe)}
    for word in words:
        name, _, text = word.partition("=")
        if name not in known:
            raise ValueError(f"A recipe has no {name!r}; it has {', '.join(known)}.")
        if name in settings:
            raise ValueError(f"{name} is given twice; give it once.")
        try:
            settings[name] = read_as(known[name].type, text)
        except (ValueError, KeyError):
            default = str(known[name].default).strip("()").replace(" ", "")
            raise ValueError(f"{word} cannot be read; write it as {name}={default}.") from None
    return settings


def read_as(kind, text: str):
    """The text as a bool, int, float, str or a pair of floats; ValueError or KeyError if it is none."""
    if kind is bool:
        return {"true": True, "false": False}[text.lower()]
    if kind not in (int, float, str):
        low, high = text.split(",")
        return float(low), float(high)
    return kind(text)


def build_model(recipe: Recipe) -> SimCLR:
    """A fresh SimCLR model of the recipe, in train mode on the CPU; its random weights depend on recipe.seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(recipe.seed)  # a GPU's state stays as it is
        body, feature_dim = encoder.build_encoder(recipe.arch, recipe.small_images, recipe.group_norm)
        return SimCLR(body, head_for(feature_dim, recipe.hidden_dim, recipe.out_dim, recipe.head_norm))


def views_of(r: Recipe) -> TwoViewsOfBatch:
    """The batched two_views of the recipe."""
    return augmentation.batch_views(r.view_size, r.strength, r.blur, r.area, r.fused, r.views)


def steps_of(recipe: Recipe, images: int) -> int:
    """How many steps a run on so many images has, at least one of each epoch; an incomplete last batch is dropped."""
    return max(1, math.ceil(recipe.epochs * (images // recipe.batch_size) - 1e-6))


def check_sizes(images: Tensor, recipe: Recipe) -> None:
    """ValueError, with what to do, for a run that cannot start."""
    if not 0 < recipe.epochs < math.inf:
        raise ValueError(f"epochs is {recipe.epochs}; a number above 0 is wanted.")
    if not 0 < recipe.base_lr < math.inf:
        raise ValueError(f"base_lr is {recipe.base_lr}; a learning rate is a number above 0.")
    if not 0 < recipe.temperature < math.inf:
        raise ValueError(f"temperature must be a positive number, such as 0.5; it is {recipe.temperature}.")
    if not 0 <= recipe.weight_decay < math.inf:
        raise ValueError(f"weight_decay is {recipe.weight_decay}; a number from 0 on is wanted.")
    if not 0 <= recipe.warmup_fraction <= 1:
        raise ValueError(f"warmup_fraction is {recipe.warmup_fraction}; it is a share of all steps, 0 to 1.")
    if recipe.batch_size < 2:
        raise ValueError(f"batch_size is {recipe.batch_size}; with fewer than 2 images there are no negatives.")
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype != torch.uint8:
        raise ValueError(f"images must be (M, 3, H, W) uint8, not {tuple(images.shape)} {images.dtype}.")
    if len(images) < 2:
        raise ValueError("There is one image; training needs others to tell it from, as many as a batch has.")
    if len(images) < recipe.batch_size:
        raise ValueError(
            f"{len(images)} images are fewer than one batch of {recipe.batch_size}, and incomplete batches are "
            f"dropped: set batch_size to {len(images)} or less."
        )
