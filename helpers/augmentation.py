"""Random views of images: crop, flip, colour and blur as SimCLR draws them (Chen et al. 2020, appendix A).

The recipe on a batch, made of the operations in operations.py; the same, faster; then one image at a time, as a data
loader wants it. Nothing here reads files or draws pictures.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL.Image import Image
from torch import Generator, Tensor

from helpers.folder import in_rgb
from helpers.operations import (
    Area,
    blur_width,
    color_matrices,
    crop_boxes,
    crop_resize_flip,
    gaussian_blur,
    jitter,
    jitter_factors,
    to_grey,
    uniform,
)

TwoViewsOfBatch = Callable[[Tensor, Generator], tuple[Tensor, ...]]  # images (N, 3, H, W) -> views of them

# The recipe ---------------------------------------------------------------------------------------------------------


def view(
    images: Tensor,
    generator: Generator | None,
    size: int = 32,
    strength: float = 0.5,
    blur: bool = False,
    area: Area = (0.08, 1.0),
) -> Tensor:
    """One random view of every image: crop, flip, colour distortion and, if wanted, blur (SimCLR, appendix A).

    Args:
        images: (N, 3, H, W) uint8, or float in [0, 1]; on any device; left as they are.
        generator: source of every random number; None for torch's global one.
        size: side of a view in pixels.
        strength: s of the colour distortion, 0 to 2.5; the paper takes 1 for ImageNet, 0.5 for CIFAR-10.
        blur: blur half of the views, by lot, with σ 0.1 to 2 pixels; off for small images, as in the paper's appendix B.9.
        area: smallest and largest share of the image that a crop covers.

    Returns:
        (N, 3, size, size) float32 in [0, 1].
    """
    check_views(images, size, strength, area)
    views = distort(random_crop(images, generator, size, area), strength, generator)  # (N, 3, size, size)
    return random_blur(views, generator) if blur else views


def random_crop(images: Tensor, generator: Generator | None, size: int, area: Area = (0.08, 1.0)) -> Tensor:
    """A random box of every image of (N, 3, H, W), resized to (N, 3, size, size); half of them mirrored, by lot."""
    n, _, height, width = images.shape
    boxes = crop_boxes(n, height, width, area, generator).to(images.device)
    flipped = (uniform(n, 1, generator)[:, 0] < 0.5).to(images.device)
    return crop_resize_flip(to_unit(images), boxes, flipped, size)


def distort(images: Tensor, strength: float, generator: Generator | None, grey: float = 0.2) -> Tensor:
    """Colour distortion of (N, 3, H, W): jitter for four images in five, then grey for a share of them."""
    factors, order = jitter_factors(len(images), strength, generator)
    images = jitter(images, factors, order)
    chosen = (uniform(len(images), 1, generator)[:, 0] < grey).nonzero()[:, 0].to(images.device)
    images[chosen] = to_grey(images[chosen]).expand(-1, 3, -1, -1)
    return images


def random_blur(images: Tensor, generator: Generator | None, chance: float = 0.5) -> Tensor:
    """Half of the images of (N, 3, H, W), or another share, by lot, blurred with σ between 0.1 and 2 pixels."""
    draws = uniform(len(images), 2, generator)
    chosen = (draws[:, 0] < chance).nonzero()[:, 0]
    sigma, chosen = (0.1 + 1.9 * draws[chosen, 1]).to(images.device), chosen.to(images.device)
    images = images.clone()
    images[chosen] = gaussian_blur(images[chosen], sigma, blur_width(images.shape[-1]))
    return images


# The same recipe, faster: the colour distortion as one matrix an image --------------------------------------------------


def fast_view(
    images: Tensor,
    generator: Generator | None,
    size: int = 32,
    strength: float = 0.5,
    blur: bool = False,
    area: Area = (0.08, 1.0),
) -> Tensor:
    """`view` with its colour distortion in one matrix product: same arguments, same random draws, same statistics.

    Two things differ a little: values are clamped to [0, 1] once, not after every operation, and hue turns in the
    YIQ colour space, which is linear, not in HSV.
    """
    check_views(images, size, strength, area)
    views = random_crop(images, generator, size, area)  # (N, 3, size, size)
    factors, order = jitter_factors(len(images), strength, generator)
    grey = uniform(len(images), 1, generator)[:, 0] < 0.2
    of_pixel, of_mean = (matrix.to(images.device) for matrix in color_matrices(factors, order, grey))  # (N, 3, 3) each
    pixels = views.flatten(2)  # (N, 3, size²)
    pixels = torch.baddbmm(of_mean @ pixels.mean(dim=2, keepdim=True), of_pixel, pixels).clamp_(0, 1)
    views = pixels.view_as(views)
    return random_blur(views, generator) if blur else views


def batch_views(
    size: int, strength: float = 0.5, blur: bool = False, area: Area = (0.08, 1.0), fast: bool = False, views: int = 2
) -> TwoViewsOfBatch:
    """The function two_views(images, generator) -> (x_a, x_b) of this recipe, the one training calls.

    images: (N, 3, H, W) uint8; x_a, x_b: (N, 3, size, size) float32, row i of both from image i, each made by
    `view`, or by `fast_view` if fast. With more `views` it gives as many such batches.
    """
    check_recipe(size, strength, area)
    if views < 2:
        raise ValueError(f"views is {views}; a positive takes 2 views of an image, or more.")
    make = fast_view if fast else view

    def two_views(images: Tensor, generator: Generator) -> tuple[Tensor, ...]:
        return tuple(make(images, generator, size, strength, blur, area) for _ in range(views))

    return two_views


def each_image(two_views_of_one: Callable[[Tensor], tuple[Tensor, Tensor]]) -> TwoViewsOfBatch:
    """The same for a callable that takes one image, a TwoViews say: slower, as each image is a call of its own.

    The callable draws from torch's global random state; that is seeded from the generator, and given back afterwards.
    """

    def two_views(images: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        seed = torch.randint(2**62, (), generator=generator, device=generator.device).item()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # a GPU's state stays as it is
            pairs = [two_views_of_one(image) for image in images.cpu()]
        x_a, x_b = (torch.stack(views).to(images.device, torch.float32) for views in zip(*pairs, strict=False))
        return x_a, x_b

    return two_views


def check_recipe(size: int, strength: float, area: Area) -> None:
    """Raise ValueError, saying what is wanted, where a setting makes no sense."""
    if size < 2:
        raise ValueError(f"size is {size}; a view needs a side of at least 2 pixels.")
    if not 0 <= strength <= 2.5:
        raise ValueError(f"strength is {strength}; take 0 to 2.5, where hue reaches half a turn.")
    if not 0 < area[0] <= area[1] <= 1:
        raise ValueError(f"area is {area}; give two shares of the image, as in (0.08, 1.0).")


def check_views(images: Tensor, size: int, strength: float, area: Area) -> None:
    """The same for a batch of images and its settings."""
    check_recipe(size, strength, area)
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise ValueError(f"images are {images.dtype}; uint8, 0 to 255, or float, 0 to 1, is wanted.")
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(
            f"images have shape {tuple(images.shape)}; (N, 3, H, W) is wanted: give one image as image[None]."
        )


def to_unit(images: Tensor) -> Tensor:
    """uint8 0 to 255 -> float32 0 to 1; float images -> float32 as they are."""
    return images.float().div_(255) if images.dtype == torch.uint8 else images.float()


# The same, one image at a time --------------------------------------------------------------------------------------


def color_distortion(strength: float = 1.0) -> Callable[[Tensor], Tensor]:
    """SimCLR's colour distortion (appendix A), for one image (3, H, W), float in [0, 1].

    With probability 0.8 brightness, contrast and saturation (± 0.8 strength) and hue (± 0.2 strength) change, in random
    order; then, with probability 0.2, the colours turn grey. Draws from torch's global random state.
    """
    check_recipe(2, strength, (0.08, 1.0))
    return lambda image: distort(image[None].float(), strength, None)[0]


def simclr_transform(size: int, strength: float = 0.5, blur: bool = False) -> Callable[[Tensor], Tensor]:
    """One random view (3, size, size) of an image (3, H, W), float in [0, 1]: crop, flip, colour, blur if wanted.

    Draws from torch's global random state; the settings are those of `view`.
    """
    check_recipe(size, strength, (0.08, 1.0))
    return lambda image: view(image[None], None, size, strength, blur)[0]


class TwoViews:
    """Makes two views of one image: x_a, x_b = TwoViews(transform)(image).

    Args:
        transform: callable on a (3, H, W) float32 tensor in [0, 1] that returns one random view.
    """

    def __init__(self, transform: Callable[[Tensor], Tensor]):
        self.transform = transform

    def __call__(self, image) -> tuple[Tensor, Tensor]:
        """image: (H, W, 3) uint8 array as OpenCV or NumPy give it, PIL image, or (3, H, W) tensor, uint8 or float.

        The channels stay in the order they come in; the image stays as it is, even if the transform works in place.
        """
        return self.transform(to_image(image)), self.transform(to_image(image))


class TwoViewDataset(torch.utils.data.Dataset):
    """Two new views of images[i] at every visit: x_a, x_b = dataset[i].

    Args:
        images: (M, 3, H, W) uint8, or any sequence of images that TwoViews takes.
        transform: callable that makes one view, as for TwoViews.
    """

    def __init__(self, images: Tensor | Sequence, transform: Callable[[Tensor], Tensor]):
        self.images = images
        self.two_views = TwoViews(transform)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.two_views(self.images[index])


def to_image(image) -> Tensor:
    """Array, PIL image or tensor -> a new (3, H, W) float32 tensor in [0, 1]."""
    if isinstance(image, Tensor):
        if image.ndim != 3 or image.shape[0] != 3:
            raise ValueError(f"the tensor has shape {tuple(image.shape)}; (3, H, W) is wanted{mend_for(image)}.")
        return to_unit(image.clone())
    if not isinstance(image, np.ndarray | Image):
        raise ValueError(f"the image is a {type(image).__name__}; a tensor, an array or a PIL image is wanted.")
    pixels = np.array(image if isinstance(image, np.ndarray) else in_rgb(image))  # (H, W, 3), no negative strides
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise ValueError(f"the array has shape {pixels.shape} and type {pixels.dtype}; (H, W, 3) uint8 is wanted.")
    return to_unit(torch.from_numpy(pixels).permute(2, 0, 1).contiguous())  # (3, H, W)


def mend_for(image: Tensor) -> str:
    """What makes (3, H, W) of a tensor that is not, as the end of a sentence."""
    if image.ndim == 4:
        return ": give one image of the batch at a time"
    if image.ndim == 3 and image.shape[2] == 3:
        return ": try image.permute(2, 0, 1)"
    channels = image.shape[0] if image.ndim == 3 else 0
    return {1: ": try image.expand(3, -1, -1)", 4: ": try image[:3], without transparency"}.get(channels, "")


def histogram_similarity(x_a: Tensor, x_b: Tensor) -> float:
    """Overlap of two views' colour histograms: 1 for the same colours in the same shares, 0 for no colour in common.

    Each channel gets a histogram of 32 equal bins over [0, 1], as shares of the view's pixels (1.0 falls into the last
    bin). The overlap of two histograms is the sum over bins of the smaller share; the result is its mean over channels.

    Args:
        x_a, x_b: (3, H, W) float in [0, 1]; they may differ in size.

    Source: histogram intersection, Swain and Ballard 1991; SimCLR, figure 6.
    """
    return histogram_similarities(x_a[None], x_b[None]).item()


def histogram_similarities(x_a: Tensor, x_b: Tensor) -> Tensor:
    """histogram_similarity of every view in x_a (N, 3, H, W) with every view in x_b (M, 3, H', W'): (N, M)."""
    shares_a, shares_b = color_histograms(x_a), color_histograms(x_b)
    return torch.minimum(shares_a[:, None], shares_b[None]).sum(dim=3).mean(dim=2)


def color_histograms(views: Tensor, bins: int = 32) -> Tensor:
    """(N, 3, bins) share of the pixels of (N, 3, H, W), uint8 or float in [0, 1], whose red, green, blue falls into each bin."""
    place = (to_unit(views).flatten(2) * bins).long().clamp(0, bins - 1)  # (N, 3, H·W)
    counts = torch.zeros(*place.shape[:2], bins, device=views.device)
    return counts.scatter_add_(2, place, torch.ones_like(counts[:, :, :1]).expand_as(place)) / place.shape[2]
