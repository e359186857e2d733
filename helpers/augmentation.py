"""Random views of images: crop, flip, colour and blur as SimCLR draws them (Chen et al. 2020, appendix A).

First the operations, on a batch, every image with parameters of its own; then the recipe; then the same recipe for
one image at a time, as a data loader wants it. Nothing here reads files or draws pictures.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from helpers.data import in_rgb

Area = tuple[float, float]  # of a crop, from and to, as shares of the image
TwoViewsOfBatch = Callable[[Tensor, Generator], tuple[Tensor, ...]]  # images (N, 3, H, W) -> views of them

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)  # columns of `factors`
TRIES = 10  # boxes drawn before the centre crop is taken, as in torchvision


# Random parameters: one row an image ------------------------------------------------------------------------------


def uniform(count: int, columns: int, generator: Generator | None) -> Tensor:
    """(count, columns) numbers in [0, 1), drawn and left where the generator lives (None: torch's global one, the CPU).

    With a generator on the CPU, a GPU therefore makes the same views.
    """
    return torch.rand(count, columns, generator=generator, device="cpu" if generator is None else generator.device)


def crop_boxes(
    count: int,
    height: int,
    width: int,
    area: Area,
    generator: Generator | None,
    widest: float = 4 / 3,
) -> Tensor:
    """Boxes of random area (a share of the image) and ratio of width to height (1 / widest to widest, even in its log).

    Of ten drawn boxes the first that fits the image is taken, else the largest central one: torchvision's
    RandomResizedCrop, for many images at once.

    Returns:
        (N, 4) int64 top, left, height, width in pixels.
    """
    draws = uniform(count, 2 * TRIES + 2, generator)
    wanted = height * width * (area[0] + (area[1] - area[0]) * draws[:, :TRIES])  # (N, 10) pixels in the box
    ratio = widest ** (2 * draws[:, TRIES : 2 * TRIES] - 1)  # (N, 10) width / height
    widths, heights = (wanted * ratio).sqrt().round(), (wanted / ratio).sqrt().round()
    fits = (0 < widths) & (widths <= width) & (0 < heights) & (heights <= height)
    some, first = fits.any(dim=1), fits.int().argmax(dim=1, keepdim=True)  # argmax: the first that fits
    box_width = torch.where(some, widths.gather(1, first)[:, 0], min(width, round(height * widest)))  # (N,)
    box_height = torch.where(some, heights.gather(1, first)[:, 0], min(height, round(width * widest)))
    top, left = height - box_height, width - box_width  # what is left of the image
    top = torch.where(some, draws[:, -2] * (top + 1), top / 2).floor()
    left = torch.where(some, draws[:, -1] * (left + 1), left / 2).floor()
    return torch.stack([top, left, box_height, box_width], dim=1).long()


def jitter_factors(
    count: int,
    strength: float,
    generator: Generator | None,
    parts: tuple[float, float, float, float] = (0.8, 0.8, 0.8, 0.2),
    chance: float = 0.8,
) -> tuple[Tensor, Tensor]:
    """Factors for brightness, contrast and saturation (1 ± 0.8 s, not below 0), a shift for hue (± 0.2 s turns).

    Args:
        parts: what stands above as 0.8, 0.8, 0.8 and 0.2. chance: share of the images that change at all.

    Returns:
        (N, 4) factors, in the order BRIGHTNESS, CONTRAST, SATURATION, HUE; neutral (1, 1, 1, 0) for one image in five,
        and (N, 4) int64, each row the order in which its image meets the four.
    """
    draws = uniform(count, 9, generator)
    reach = draws.new_tensor(parts) * strength
    neutral = draws.new_tensor([1, 1, 1, 0])
    lowest = torch.cat([(neutral - reach)[:HUE].clamp(min=0), -reach[HUE:]])
    factors = lowest + (neutral + reach - lowest) * draws[:, :4]  # (N, 4)
    return torch.where(draws[:, 8:] < chance, factors, neutral), draws[:, 4:8].argsort(dim=1)


# Operations: images (N, 3, H, W) float in [0, 1] and one parameter an image, new images out ---------------------------


def resample(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Every pixel of the result is a weighted sum of a row's and a column's pixels: crop, resize, flip and blur are.

    Args:
        images: (N, 3, H, W) float in [0, 1].
        rows, columns: (N, S, H) and (N, T, W) weights, each image its own.

    Returns:
        (N, 3, S, T).
    """
    n, channels, height, width = images.shape
    new_height, new_width = rows.shape[1], columns.shape[1]
    narrow = torch.bmm(images.reshape(n, channels * height, width), columns.mT)  # (N, 3·H, T)
    narrow = narrow.view(n, channels, height, new_width).transpose(1, 2)  # (N, H, 3, T)
    small = torch.bmm(rows, narrow.reshape(n, height, channels * new_width))  # (N, S, 3·T)
    return small.view(n, new_height, channels, new_width).transpose(1, 2).contiguous().clamp_(0, 1)  # (N, 3, S, T)


def crop_resize_flip(images: Tensor, boxes: Tensor, flipped: Tensor, size: int) -> Tensor:
    """Cut out a box an image, resize it to size × size (bilinear, antialiased), mirror it left to right where told.

    Args:
        boxes: (N, 4) int64 top, left, height, width. flipped: (N,) bool.
    """
    top, left, height, width = boxes.T
    rows = resize_weights(top, height, size, images.shape[2], torch.zeros_like(flipped))
    columns = resize_weights(left, width, size, images.shape[3], flipped)
    return resample(images, rows, columns)


def resize_weights(start: Tensor, length: Tensor, size: int, extent: int, flipped: Tensor) -> Tensor:
    """Weights that resize pixels start ... start + length - 1 of a line of `extent` pixels to `size` pixels.

    A triangle around each new pixel's centre, as wide as one pixel, of the old or the new grid, whichever is larger.

    Returns:
        (N, size, extent), rows that add up to 1.
    """
    start, length, flipped = start[:, None, None], length[:, None, None], flipped[:, None, None]
    old = torch.arange(extent, device=start.device) + 0.5  # centres of the old pixels
    new = torch.arange(size, device=start.device)[:, None] + 0.5  # (size, 1)
    scale = length / size  # (N, 1, 1) old pixels a new one
    centre = start + scale * torch.where(flipped, size - new, new)  # (N, size, 1)
    weights = (1 - (old - centre).abs() / scale.clamp(min=1)).clamp(min=0)  # (N, size, extent)
    weights *= (start < old) & (old < start + length)
    return weights / weights.sum(dim=2, keepdim=True)


def to_grey(images: Tensor) -> Tensor:
    """(N, 1, H, W) luminance, ITU-R 601."""
    red, green, blue = images.unbind(dim=1)
    return (0.2989 * red + 0.587 * green + 0.114 * blue)[:, None]


def adjust_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Away from black, or towards it. factor: (N,), 1 changes nothing."""
    return (images * factor[:, None, None, None]).clamp_(0, 1)


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Away from the image's mean grey, or towards it. factor: (N,), 1 changes nothing."""
    mean = to_grey(images).flatten(1).mean(dim=1)[:, None, None, None]  # (N, 1, 1, 1)
    return torch.lerp(mean, images, factor[:, None, None, None]).clamp_(0, 1)


def adjust_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Away from each pixel's own grey, or towards it. factor: (N,), 1 changes nothing."""
    return torch.lerp(to_grey(images), images, factor[:, None, None, None]).clamp_(0, 1)


def adjust_hue(images: Tensor, shift: Tensor) -> Tensor:
    """Turn every colour on the HSV circle; value and saturation stay. shift: (N,) in turns, 0 changes nothing."""
    red, green, blue = images.unbind(dim=1)  # (N, H, W) each
    value = torch.maximum(torch.maximum(red, green), blue)
    chroma = value - torch.minimum(torch.minimum(red, green), blue)
    sixths = (6 * chroma).clamp_(min=1e-12).reciprocal_()  # of a turn; a grey pixel has no hue, any number will do
    hue = torch.where(value == green, 1 / 3 + (blue - red) * sixths, 2 / 3 + (red - green) * sixths)
    hue = torch.where(value == red, (green - blue) * sixths, hue) + shift[:, None, None]  # (N, H, W) in turns
    turned = torch.empty_like(images)
    for channel, opposite in enumerate((1 / 2, 5 / 6, 1 / 6)):  # the hue that has nothing of this channel
        lacking = (hue + (2.5 - opposite)).frac_().sub_(0.5).abs_().mul_(-6).add_(2).clamp_(0, 1)  # 1 within 1/6 turn
        torch.addcmul(value, chroma, lacking, value=-1, out=turned[:, channel])
    return turned


OPERATIONS = (adjust_brightness, adjust_contrast, adjust_saturation, adjust_hue)


def jitter(images: Tensor, factors: Tensor, order: Tensor) -> Tensor:
    """Brightness, contrast, saturation and hue, each image in an order of its own.

    Args:
        factors, order: (N, 4) each, from jitter_factors.
    """
    images = images.clone()
    changed = (factors != factors.new_tensor([1, 1, 1, 0])).any(dim=1)  # (N,)
    for turn in order.T:  # (N,) whose turn it is
        for index in turn[changed].unique().tolist():
            mine = ((turn == index) & changed).nonzero()[:, 0]  # (n,) images that this operation meets now
            factor, mine = factors[mine, index].to(images.device), mine.to(images.device)
            images[mine] = OPERATIONS[index](images[mine], factor)
    return images


def gaussian_blur(images: Tensor, sigma: Tensor, width: int) -> Tensor:
    """Gaussian blur, mirrored at the border. sigma: (N,) in pixels, width: of the kernel, odd, in pixels."""
    rows, columns = (blur_weights(sigma, width, extent) for extent in images.shape[2:])
    return resample(images, rows, columns)


def blur_weights(sigma: Tensor, width: int, extent: int) -> Tensor:
    """(N, extent, extent) weights that blur a line of pixels; a pixel outside is its mirror image inside."""
    steps = torch.arange(width // 2 + 1, device=sigma.device)
    bell = torch.exp(-0.5 * (steps / sigma[:, None]) ** 2)  # (N, reach + 1)
    bell = F.pad(bell / (2 * bell.sum(dim=1, keepdim=True) - 1), (0, 1))  # adds up to 1 both ways; then 0 beyond reach
    here = torch.arange(extent, device=sigma.device)
    mirrored = (here, -here[1:], 2 * (extent - 1) - here[:-1])  # inside, left of the border, right of it
    weights = bell.new_zeros(len(sigma), extent, extent)
    for there, pixels in zip(mirrored, (slice(None), slice(1, None), slice(-1)), strict=False):
        distance = (there - here[:, None]).abs().clamp(max=width // 2 + 1)  # (extent, pixels)
        weights[:, :, pixels] += bell[:, distance]
    return weights


def blur_width(size: int) -> int:
    """An odd number of pixels, about a tenth of the side, at least 3."""
    return max(3, size // 10 | 1)


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
        blur: blur every other view with σ 0.1 to 2 pixels; off for small images, as in the paper's appendix B.9.
        area: smallest and largest share of the image that a crop covers.

    Returns:
        (N, 3, size, size) float32 in [0, 1].
    """
    check_views(images, size, strength, area)
    views = distort(random_crop(images, generator, size, area), strength, generator)  # (N, 3, size, size)
    return random_blur(views, generator) if blur else views


def random_crop(images: Tensor, generator: Generator | None, size: int, area: Area = (0.08, 1.0)) -> Tensor:
    """A random box of every image of (N, 3, H, W), resized to (N, 3, size, size); every other one is mirrored."""
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
    """Every other image of (N, 3, H, W), or another share, blurred with σ between 0.1 and 2 pixels."""
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


def color_matrices(factors: Tensor, order: Tensor, grey: Tensor) -> tuple[Tensor, Tensor]:
    """Brightness, contrast, saturation, hue and grey of every image as P and Q: a pixel x becomes P x + Q mean(x).

    Every operation but contrast multiplies a pixel by a matrix A, so P becomes A P and Q becomes A Q. Contrast also adds
    a share of the mean's grey, and the mean itself is (P + Q) mean(x) by then.

    Args:
        factors, order: (N, 4) each, from jitter_factors. grey: (N,) bool.

    Returns:
        P and Q, (N, 3, 3) each.
    """
    identity = torch.eye(3, device=factors.device).expand(len(factors), 3, 3)
    to_grey = factors.new_tensor([0.2989, 0.587, 0.114]).expand(3, 3)  # of one pixel, as a matrix
    brightness, contrast, saturation = factors[:, :HUE, None, None].unbind(dim=1)  # (N, 1, 1) each
    faded = saturation * identity + (1 - saturation) * to_grey
    steps = torch.stack([brightness * identity, contrast * identity, faded, hue_matrices(factors[:, HUE])])
    of_pixel, of_mean = identity, torch.zeros_like(identity)
    for turn in order.T:  # (N,) whose turn it is
        step = steps[turn, torch.arange(len(factors))]  # (N, 3, 3)
        lost = torch.where((turn == CONTRAST)[:, None, None], 1 - contrast, 0)  # (N, 1, 1)
        of_mean = step @ of_mean + lost * (to_grey @ (of_pixel + of_mean))
        of_pixel = step @ of_pixel
    last = torch.where(grey[:, None, None], to_grey, identity)
    return last @ of_pixel, last @ of_mean


def hue_matrices(shift: Tensor) -> Tensor:
    """(N, 3, 3): turn the plane of colours I, Q of the YIQ space by (N,) shifts in turns; the grey Y stays."""
    to_yiq = shift.new_tensor([[0.2989, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
    turn = torch.zeros(len(shift), 3, 3, device=shift.device)
    turn[:, 0, 0] = 1
    angle = -2 * torch.pi * shift  # as HSV counts: red, green, blue
    turn[:, 1, 1] = turn[:, 2, 2] = angle.cos()
    turn[:, 2, 1] = angle.sin()
    turn[:, 1, 2] = -turn[:, 2, 1]
    return torch.linalg.solve(to_yiq, turn @ to_yiq)


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
            torch.manual_seed(seed)
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
            raise ValueError(
                f"the tensor has shape {tuple(image.shape)}; (3, H, W) is wanted: try image.permute(2, 0, 1)."
            )
        return to_unit(image.clone())
    pixels = np.array(image if isinstance(image, np.ndarray) else in_rgb(image))  # (H, W, 3), no negative strides
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise ValueError(f"the array has shape {pixels.shape} and type {pixels.dtype}; (H, W, 3) uint8 is wanted.")
    return to_unit(torch.from_numpy(pixels).permute(2, 0, 1).contiguous())  # (3, H, W)


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
    """(N, 3, bins) share of the pixels of (N, 3, H, W), float in [0, 1], whose red, green, blue falls into each bin."""
    place = (views.flatten(2) * bins).long().clamp(0, bins - 1)  # (N, 3, H·W)
    counts = torch.zeros(*place.shape[:2], bins, device=views.device)
    return counts.scatter_add_(2, place, torch.ones_like(counts[:, :, :1]).expand_as(place)) / place.shape[2]
