"""Other policies for making views, to compare with SimCLR's: AutoAugment, RandAugment, and SupCon's SimAugment.

AutoAugment and RandAugment are torchvision's; SimAugment and its sparse warp are written out, for a whole batch at once.
"""

import torch
from torch import Generator, Tensor
from torch.nn import functional as F
from torchvision.transforms import v2

from helpers.augmentation import TwoViewsOfBatch, distort, random_blur, random_crop, view
from helpers.operations import uniform

CONTROL_POINTS = (  # of the warp, x and y as shares of the side
    (1 / 3, 1 / 3), (2 / 3, 1 / 3), (1 / 3, 2 / 3), (2 / 3, 2 / 3),
)  # fmt: skip
LARGEST_SHIFT = 23 / 224  # of a control point, as a share of the side: standard deviation of the strongest warp
NAMES = ("SimCLR", "AutoAugment", "RandAugment", "SimAugment")


def two_policies(first: str, second: str, size: int) -> TwoViewsOfBatch:
    """The function two_views(images, generator) -> (x_a, x_b) that `pretrain` takes: x_a by one policy, x_b by another.

    images: (N, 3, H, W) uint8; x_a, x_b: (N, 3, size, size) float32. The names are those of `policy_views`.
    """
    for name in (first, second):
        check_name(name)
    return lambda images, generator: (
        policy_views(first, images, generator, size),
        policy_views(second, images, generator, size),
    )


def check_name(name: str) -> None:
    if name not in NAMES:
        raise ValueError(f"There is no policy {name!r}; there are {', '.join(NAMES)}.")


def policy_views(name: str, images: Tensor, generator: Generator, size: int) -> Tensor:
    """One view of every image by a policy: each crops and flips as SimCLR does, then changes the crop in its own way.

    Args:
        name: "SimCLR" (Chen et al. 2020), "AutoAugment" (Cubuk et al. 2019, found for CIFAR-10), "RandAugment" (Cubuk et
            al. 2020, two operations of magnitude 9) or "SimAugment" (Khosla et al. 2020).
        images: (N, 3, H, W) uint8.
        generator: source of every random number.
        size: side of a view in pixels.

    Returns:
        (N, 3, size, size) float32 in [0, 1].
    """
    check_name(name)
    if name == "SimCLR":
        return view(images, generator, size, blur=size > 32)
    if name == "SimAugment":
        return sim_augment(images, generator, size)
    crops = (255 * random_crop(images, generator, size)).round().byte()  # (N, 3, size, size)
    policy = v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10) if name == "AutoAugment" else v2.RandAugment()
    seed = torch.randint(2**62, (), generator=generator, device=generator.device).item()
    with torch.random.fork_rng(devices=[]):  # torchvision draws from torch's global random state
        torch.default_generator.manual_seed(seed)  # a GPU's state stays as it is
        views = torch.stack([policy(crop) for crop in crops])  # one by one: a batch would get one operation for all
    return views / 255


def sim_augment(images: Tensor, generator: Generator, size: int, strength: float = 0.5) -> Tensor:
    """SupCon's SimAugment: SimCLR's crop, flip and colours, then for every other image a sparse warp, then blur.

    Source: the authors' code (google-research/supcon), where strength is 0.5 and warp and blur have probability 0.5.

    Returns:
        (N, 3, size, size) float32 in [0, 1].
    """
    views = distort(random_crop(images, generator, size), strength, generator)
    draws = uniform(len(views), 2, generator)
    shifts = torch.randn(len(views), len(CONTROL_POINTS), 2, generator=generator, device=draws.device)
    shifts *= LARGEST_SHIFT * draws[:, 1, None, None] * (draws[:, 0, None, None] < 0.5)
    return random_blur(sparse_warp(views, shifts.to(views.device)), generator)


def sparse_warp(images: Tensor, shifts: Tensor) -> Tensor:
    """Move four points of every image and bend the rest smoothly along: a thin-plate spline through the points.

    Args:
        images: (N, 3, H, W) float in [0, 1].
        shifts: (N, 4, 2) how far the CONTROL_POINTS move, right and down, as shares of the side.

    Returns:
        (N, 3, H, W); a pixel from outside is the nearest one of the edge.
    """
    n, _, height, width = images.shape
    moved = images.new_tensor(CONTROL_POINTS) + shifts  # (N, 4, 2) where the points come to lie
    ones, zeros = moved.new_ones(n, len(CONTROL_POINTS), 1), moved.new_zeros(n, 3, 3)
    plane = torch.cat([ones, moved], dim=2)  # (N, 4, 3)
    bend = thin_plate(torch.cdist(moved, moved)) + 1e-6 * torch.eye(len(CONTROL_POINTS), device=images.device)
    system = torch.cat([torch.cat([bend, plane], dim=2), torch.cat([plane.mT, zeros], dim=2)], dim=1)  # (N, 7, 7)
    wanted = torch.cat([shifts, zeros[:, :, :2]], dim=1)  # (N, 7, 2)
    weights = torch.linalg.solve(system, wanted)  # (N, 7, 2) of the shift at any point
    y, x = ((torch.arange(side, device=images.device) + 0.5) / side for side in (height, width))
    at = (
        torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=2).reshape(1, -1, 2).expand(n, -1, -1)
    )  # (N, H·W, 2)
    basis = torch.cat([thin_plate(torch.cdist(at, moved)), torch.ones_like(at[:, :, :1]), at], dim=2)  # (N, H·W, 7)
    source = at - basis @ weights  # (N, H·W, 2) where each new pixel comes from
    grid = (2 * source - 1).view(n, height, width, 2)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def thin_plate(distance: Tensor) -> Tensor:
    """r² log r, 0 at 0: how a thin metal plate bends around a point."""
    return distance.square() * distance.clamp(min=1e-10).log()
