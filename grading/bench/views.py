"""Two random views of every image, in several ways: crop, flip, jitter of half strength, grey, no blur (CIFAR-10's).

All start from uint8 images and end with float tensors in [0, 1]; every image has parameters of its own.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import transforms

from helpers import augmentation, shapes

EXACT, FUSED, PIL, KORNIA = "Two Views", "Two Views, fused", "torchvision, PIL", "kornia"


def pictures(count: int, side: int = 32) -> Tensor:
    """(count, 3, side, side) uint8 from the built-in set, scaled up where side is larger than 32."""
    images, _, _ = shapes.render(count, seed=0)
    if side != images.shape[-1]:
        images = F.interpolate(images.float(), size=(side, side), mode="bilinear", antialias=True).round().byte()
    return images


def runners(images: Tensor) -> dict[str, Callable[[], tuple[Tensor, Tensor]]]:
    """Each makes two views of all images, x_a, x_b, (N, 3, side, side) each."""
    side, generator = images.shape[-1], torch.Generator().manual_seed(0)

    def ours(view: Callable) -> Callable[[], tuple[Tensor, Tensor]]:
        return lambda: tuple(view(images, generator, side, 0.5, False, (0.08, 1.0)) for _ in "ab")

    found = {EXACT: ours(augmentation.view), FUSED: ours(augmentation.fast_view)}
    return found | {PIL: lambda: torchvision_pil(images, side), KORNIA: kornia_batch(images, side)}


def torchvision_pil(images: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """torchvision's transforms on one PIL image after the other, as its data sets hand them out."""
    transform = transforms.Compose([
        transforms.RandomResizedCrop(side),
        transforms.RandomHorizontalFlip(),
        transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
        transforms.RandomGrayscale(0.2),
        transforms.ToTensor(),
    ])  # fmt: skip
    opened = [transforms.functional.to_pil_image(image) for image in images]
    return tuple(torch.stack([transform(image) for image in opened]) for _ in "ab")


def kornia_batch(images: Tensor, side: int) -> Callable[[], tuple[Tensor, Tensor]]:
    """kornia's transforms on the whole batch."""
    import kornia.augmentation as K

    transform = nn.Sequential(
        K.RandomResizedCrop((side, side), scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3)),
        K.RandomHorizontalFlip(),
        K.ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8),
        K.RandomGrayscale(p=0.2),
    )
    return lambda: tuple(transform(images.float() / 255) for _ in "ab")
