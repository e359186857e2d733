"""The representation h of every image, as an encoder gives it. What h is worth is measured in evaluation.py."""

import torch
from torch import Tensor, nn


def extract_features(encoder: nn.Module, images: Tensor, batch_size: int = 256) -> Tensor:
    """The representation of every image, in the order of the images.

    The encoder runs in eval mode and without gradients, on the device it is on; afterwards every part of it is
    back in the mode it was in, also when it stopped with an error. `nn.Flatten()` as the encoder gives raw pixels.

    Args:
        encoder: x (N, 3, H, W) float in [0, 1] -> h (N, D).
        images: (M, 3, H, W) uint8, scaled by 1/255 here, or float in [0, 1], taken as it is.
        batch_size: images that go through the encoder at once; the last batch may be smaller.

    Returns:
        (M, D) float32 on the CPU.

    Raises:
        ValueError: no images, not four axes, or batch_size < 1.
    """
    if images.ndim != 4 or len(images) == 0:
        raise ValueError(f"images must be (M, 3, H, W) with M >= 1, not {tuple(images.shape)}.")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}.")
    device = next((weight.device for weight in encoder.parameters()), images.device)
    modes = {module: module.training for module in encoder.modules()}
    encoder.eval()
    try:
        with torch.no_grad():
            h = None  # filled row by row: parts that are put together at the end would be in memory twice
            for place, batch in zip(range(0, len(images), batch_size), images.split(batch_size), strict=True):
                rows = encoder(as_input(batch, device)).float().cpu()  # (N, D)
                h = rows.new_empty(len(images), *rows.shape[1:]) if h is None else h
                h[place : place + len(batch)] = rows
            return h
    finally:
        for module, training in modes.items():
            module.training = training


def as_input(images: Tensor, device: torch.device) -> Tensor:
    """(N, 3, H, W) uint8 or float -> float32 on the device, uint8 scaled to [0, 1]; channels last, which is faster."""
    x = images.to(device, memory_format=torch.channels_last)
    return x.float() / 255 if x.dtype == torch.uint8 else x.float()


def check_features(name: str, h: Tensor, y: Tensor | None = None) -> None:
    """ValueError, with a sentence, unless h is (M, D) finite and y, where given, is (M,)."""
    if h.ndim != 2 or len(h) == 0:
        raise ValueError(f"{name} must be (M, D) with M >= 1, not {tuple(h.shape)}.")
    if not h.isfinite().all():
        raise ValueError(f"{name} holds NaN or infinity: the encoder diverged, or its input was not finite.")
    if y is not None and tuple(y.shape) != (len(h),):
        raise ValueError(
            f"{name} has {len(h)} rows, its labels have shape {tuple(y.shape)}: one label a row is needed."
        )
