"""What is watched while a model trains: k-NN accuracy of h, alignment and uniformity of z, the model itself at moments.

A monitor takes the model after an epoch and gives numbers for the history; it changes nothing.
"""

import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from helpers import checkpoints, data, evaluation
from helpers.augmentation import TwoViewsOfBatch
from helpers.recipe import Recipe

Monitor = Callable[[nn.Module], dict[str, float]]


def knn_monitor(train: data.ImageSet, queries: int = 1000, bank: int = 4000, k: int = 20, seed: int = 0) -> Monitor:
    """A monitor(model) -> {"knn": accuracy of h}, on train images held apart from each other; test is never touched.

    Args:
        train: images with labels.
        queries: images whose class is asked for; at most a fifth of all.
        bank: other images, whose classes are known.
        seed: draws which images are which.
    """
    if train.labels is None:
        raise ValueError("A k-NN monitor needs labels, and these images have none; pass monitor=None.")
    order = torch.randperm(len(train.images), generator=torch.Generator().manual_seed(seed))
    queries = max(1, min(queries, len(order) // 5))
    ask, known = order[:queries], order[queries : queries + bank]

    def monitor(model: nn.Module) -> dict[str, float]:
        both = train.images[torch.cat([known, ask])]  # (bank + queries, 3, H, W)
        h = evaluation.extract_features(model.encoder, both, batch_size=128)  # (bank + queries, D)
        bank_h, query_h = h[: len(known)], h[len(known) :]
        knn = evaluation.knn_accuracy(bank_h, train.labels[known], query_h, train.labels[ask], k=min(k, len(known)))
        return {"knn": knn}

    return monitor


def monitor_for(images: data.ImageSet, **sizes) -> Monitor | None:
    """knn_monitor(images, **sizes); None where there is nothing to ask: without labels, or, and it says so, of one class."""
    if images.labels is None:
        return None
    if len(images.labels.unique()) < 2:
        print(f"All images are of one class, {images.classes[0]!r}, so there is no k-NN to watch.")
        return None
    return knn_monitor(images, **sizes)


def geometry_monitor(images: Tensor, two_views: TwoViewsOfBatch, count: int = 256, seed: int = 0) -> Monitor:
    """A monitor(model) -> {"alignment": ..., "uniformity": ...} of z, on the same two views of some images every time.

    Args:
        images: (M, 3, H, W) uint8, of which `count` are drawn.
    """
    generator = torch.Generator().manual_seed(seed)
    some = images[torch.randperm(len(images), generator=generator)[:count].to(images.device)]
    x_a, x_b = two_views(some, generator)[:2]

    def monitor(model: nn.Module) -> dict[str, float]:
        whole = nn.Sequential(model.encoder, model.head)
        z_a, z_b = (evaluation.extract_features(whole, x) for x in (x_a, x_b))  # (count, D) each
        return {"alignment": float(evaluation.alignment(z_a, z_b)), "uniformity": float(evaluation.uniformity(z_a))}

    return monitor


def keep_moments(folder: Path, model: nn.Module, recipe: Recipe, done: int, monitor: Monitor | None = None) -> Monitor:
    """A monitor that also keeps what the model was before training and after 1, 2, 4, 8, ... epochs, to look back on.

    Args:
        folder: gets one small checkpoint a moment, epoch-000.pt and so on, its weights as float16.
        done: epochs that an earlier, stopped part of the run has behind it.
        monitor: called as well; its numbers are handed on.
    """
    state = {"epoch": done}

    def keep(model: nn.Module) -> None:
        path = folder / f"epoch-{state['epoch']:03d}.pt"
        checkpoints.save_checkpoint(path, {"model": checkpoints.halved(model), "recipe": asdict(recipe)})

    def watched(model: nn.Module) -> dict[str, float]:
        state["epoch"] += 1
        if state["epoch"].bit_count() == 1 or state["epoch"] == math.ceil(recipe.epochs):
            keep(model)
        return monitor(model) if monitor else {}

    if done == 0:
        for old in folder.glob("epoch-*.pt"):  # of an earlier run
            old.unlink()
        keep(model)
    return watched
