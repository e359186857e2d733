"""Image operations on a batch, every image with parameters of its own: crop, resize, flip, colour and blur.

First the random parameters (Chen et al. 2020, appendix A), then what is done with them. Which of them make a view, and
how often, is said in augmentation.py.
"""

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

Area = tuple[float, float]  # of a crop, from and to, as shares of the image

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
    narrow = torch.bmm(images.reshape(n, channels * height, width), columns.mT)  # (N, 3·H, T)
    narrow = narrow.view(n, channels, height, columns.shape[1])  # (N, 3, H, T)
    return (rows[:, None] @ narrow).clamp_(0, 1)  # (N, 3, S, T)


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
    weights = (old - centre).abs_().div_(-scale.clamp(min=1)).add_(1).clamp_(min=0)  # (N, size, extent), 1 at a centre
    weights *= (start < old) & (old < start + length)
    return weights.div_(weights.sum(dim=2, keepdim=True))


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


# The colour operations as one matrix an image --------------------------------------------------------------------------


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
    images, of_pixel, of_mean = torch.arange(len(factors)), identity, torch.zeros_like(identity)
    lost = (order == CONTRAST) * (1 - factors[:, CONTRAST, None])  # (N, 4): 0 but where it is contrast's turn
    for turn, share in zip(order.T, lost.T, strict=True):  # (N,) each: whose turn it is
        step = steps[turn, images]  # (N, 3, 3)
        of_mean = step @ of_mean + share[:, None, None] * (to_grey @ (of_pixel + of_mean))
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
