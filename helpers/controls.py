"""What an accuracy has to stand beside: chance, an encoder without training, and one trained with labels."""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.encoder import build_encoder
from helpers.features import as_input, extract_features


def chance(train_y: Tensor, test_y: Tensor) -> float:
    """Test accuracy of always naming the most frequent class of train; 1/C where all C classes are equally frequent."""
    return (test_y == train_y.bincount().argmax()).double().mean().item()


def random_encoder(arch: str, small_images: bool, seed: int = 0, group_norm: bool = False) -> nn.Module:
    """The same architecture with fresh weights, in eval mode: how much do convolutions give without any training?"""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return build_encoder(arch, small_images, group_norm)[0].eval()


def fit_classifier(
    encoder: nn.Module,
    images: Tensor,
    labels: Tensor,
    num_classes: int,
    steps: int,
    batch_size: int = 128,
    base_lr: float = 2e-3,
    half: bool = False,
    seed: int = 0,
) -> nn.Module:
    """Train a copy of an encoder and a fresh linear classifier on it, all weights, with labels.

    From a random encoder this is "supervised from scratch", from a pretrained one "fine-tuned". The images are
    shifted by up to 4 pixels and flipped, each in its own way; AdamW, learning rate a one-cycle from base_lr / 25 to 0.

    Args:
        encoder: x (N, 3, H, W) -> h (N, D); stays as it is.
        images: (M, 3, H, W) uint8, with labels (M,) int64 in 0 .. num_classes-1.
        steps: optimizer steps; steps · batch_size / M epochs.
        half: compute in bfloat16, twice as fast where the hardware knows it (machine.has_bfloat16), else slower.

    Returns:
        x -> logits (N, num_classes), in eval mode; its part 0 is the trained encoder.
    """
    generator = torch.Generator().manual_seed(seed)
    device = next(encoder.parameters()).device
    feature_dim = extract_features(encoder, images[:1]).shape[1]
    linear = nn.Linear(feature_dim, num_classes)
    with torch.no_grad():
        linear.weight.normal_(0, feature_dim**-0.5, generator=generator)
        linear.bias.zero_()
    model = nn.Sequential(copy.deepcopy(encoder), linear).to(device, memory_format=torch.channels_last).train()
    for weight in model.parameters():
        weight.requires_grad_(True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=base_lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, base_lr, total_steps=steps)
    for rows in shuffled_batches(len(images), batch_size, steps, generator):
        x = as_input(shift_and_flip(images[rows], generator), device)
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            logits = model(x)  # (N, C)
        optimizer.zero_grad()
        F.cross_entropy(logits.float(), labels[rows].to(device)).backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def shuffled_batches(count: int, size: int, steps: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Rows for each of the steps, (size,) of `count`, every one of them once before any comes again."""
    order = torch.empty(0, dtype=torch.int64)
    for _ in range(steps):
        while len(order) < min(size, count):
            order = torch.cat([order, torch.randperm(count, generator=generator)])
        rows, order = order[:size], order[size:]
        yield rows


def shift_and_flip(images: Tensor, generator: torch.Generator, most: int = 4) -> Tensor:
    """(N, 3, H, W) -> the same shape: each image moved by up to `most` pixels, edges repeated, and flipped or not."""
    n, _, height, width = images.shape
    down, right = torch.randint(-most, most + 1, (2, n, 1), generator=generator)
    rows = (torch.arange(height) + down).clamp(0, height - 1)  # (N, H)
    columns = (torch.arange(width) + right).clamp(0, width - 1)  # (N, W)
    columns = torch.where(torch.rand(n, 1, generator=generator) < 0.5, columns, columns.flip(1))
    picture = torch.arange(n)[:, None, None]
    return images.permute(0, 2, 3, 1)[picture, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def accuracy(classifier: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The fraction of images whose largest logit is their label's."""
    return (extract_features(classifier, images).argmax(dim=1) == labels).double().mean().item()
