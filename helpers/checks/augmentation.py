"""Checks of 01: views are random, so they are judged by what many draws show, never by one stream of random numbers.

Each test picture is made so that its views give away how they were made: a ring of colours tells brightness, contrast,
saturation and hue apart, two ramps tell where a crop came from, tiles tell blur. Every statistical test raises a
false alarm less than once in 10^6 runs.
"""

import itertools
import math
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Generator, Tensor

from helpers.checks.core import NotYet, call, check, close, expect, expect_close, expect_tensor

__all__ = [
    "check_color_distortion",
    "check_histogram_similarity",
    "check_simclr_transform",
    "check_two_view_dataset",
    "check_two_views",
]

ROUNDING = 2.5 / 255  # what a trip through 8-bit pixels may change


# Tools ----------------------------------------------------------------------------------------------------------


def plausible(count: int, draws: int, lowest: float, highest: float | None = None) -> bool:
    """Whether `count` of `draws` may come from a chance between lowest and highest; false alarm: once in 10^7."""
    highest = lowest if highest is None else highest

    def probability(counts: range, chance: float) -> float:
        return sum(math.comb(draws, k) * chance**k * (1 - chance) ** (draws - k) for k in counts)

    return min(probability(range(count + 1), lowest), probability(range(count, draws + 1), highest)) > 5e-8


def draw_views(what: str, transform: Callable, image: Tensor, count: int, size: tuple[int, int]) -> Tensor:
    """(count, 3, *size) float32 results of transform(image), each looked at for type, shape and range."""
    original = image.clone()
    views = []
    for _ in range(count):
        view = call(what, transform, image)
        if not views or not isinstance(view, Tensor) or view.shape != views[0].shape or view.dtype != views[0].dtype:
            look_at_view(what, view, image, size)
        views.append(view)
    expect(torch.equal(image, original), f"{what} changes the image it is given; make a new tensor instead.")
    views = torch.stack(views).float()
    low, high = views.min().item(), views.max().item()
    expect(math.isfinite(views.sum().item()), f"{what} gave values that are not numbers (nan or inf).")
    scale = " Leave normalisation with mean and standard deviation out." if low < -0.5 else " Clamp them."
    scale = " Divide by 255." if high > 3 else scale
    expect(
        low > -1e-3 and high < 1 + 1e-3,
        f"{what} gave values between {low:.3g} and {high:.3g}; 0 to 1 is wanted.{scale}",
    )
    return views


def look_at_view(what: str, view, image: Tensor, size: tuple[int, int]) -> None:
    """Type and shape of one view."""
    expect(
        not isinstance(view, tuple | list),
        f"{what} gave {len(view) if isinstance(view, tuple | list) else 0} things; one view is wanted.",
    )
    expect(not isinstance(view, Image.Image), f"{what} gave a PIL image; a (3, H, W) float tensor is wanted.")
    if isinstance(view, Tensor) and view.shape[-2:] == size and view.ndim == 3 and view.shape[0] == 1:
        raise NotYet(f"{what} gave one channel; a grey view still has three, all equal: {(3, *size)} is wanted.")
    if (
        isinstance(view, Tensor)
        and view.ndim == 3
        and view.shape[0] == 3
        and tuple(view.shape[1:]) != size != image.shape[1:]
    ):
        raise NotYet(f"{what} has shape {tuple(view.shape)}; {(3, *size)} is wanted: resize every crop to size × size.")
    expect_tensor(what, view, (3, *size))
    expect(view.dtype.is_floating_point, f"{what} has dtype {view.dtype}; float in [0, 1] is wanted.")


def is_grey(views: Tensor) -> Tensor:
    """(n,) bool: are the three channels of (n, 3, H, W) equal everywhere?"""
    return (views.amax(dim=1) - views.amin(dim=1)).flatten(1).amax(dim=1) < ROUNDING


def expect_share(what: str, count: int, draws: int, wanted: float, always: str, never: str, otherwise: str) -> None:
    """`count` of `draws` is what a chance of `wanted` gives; else the sentence for all, none, or another share."""
    if plausible(count, draws, wanted):
        return
    saw = f"{what} in {count} of {draws} draws; a share near {wanted:.2g} is wanted"
    raise NotYet(f"{saw}: {always if count == draws else never if count == 0 else otherwise}")


# color_distortion -----------------------------------------------------------------------------------------------


def color_ring() -> Tensor:
    """(3, 16, 24): above, greys from 0.35 to 0.55; below, colours of all hues with these as their ends.

    At strength 0.5 or less no operation clamps, and brightness, contrast, saturation and hue can be read off exactly.
    """
    grey = torch.linspace(0.35, 0.55, 192).expand(3, -1)  # (3, 192)
    hue = torch.arange(192) / 192
    away = (hue - torch.tensor([[0.0], [1 / 3], [2 / 3]]) + 0.5).remainder(1) - 0.5  # from each channel's own hue
    color = 0.35 + 0.2 * (2 - 6 * away.abs()).clamp(0, 1)  # (3, 192)
    return torch.cat([grey, color], dim=1).reshape(3, 16, 24).contiguous()


def hue_of(pixels: Tensor) -> Tensor:
    """(n, 3, P) -> (n, P) hue angle in turns, from the three channels seen as forces 120° apart."""
    red, green, blue = pixels.unbind(dim=1)
    high, low = pixels.amax(dim=1), pixels.amin(dim=1)
    chroma = (high - low).clamp(min=1e-6)
    hue = torch.where(high == green, 2 + (blue - red) / chroma, 4 + (red - green) / chroma)
    return torch.where(high == red, (green - blue) / chroma, hue) / 6


def read_factors(views: Tensor) -> dict[str, Tensor]:
    """What jitter did to the color_ring in each of (n, 3, 16, 24) views: factors around 1, hue in turns around 0."""
    ring = color_ring().flatten(1)[None]  # (1, 3, 384)
    pixels = views.flatten(2)  # (n, 3, 384)
    slope = pixels[:, :, :192].mean(dim=1).std(dim=1) / ring[:, :, :192].mean(dim=1).std(dim=1)  # brightness · contrast
    brightness = pixels.mean(dim=(1, 2)) / ring.mean()
    color, wanted = pixels[:, :, 192:], ring[:, :, 192:]
    chroma = ((color.amax(dim=1) - color.amin(dim=1)) / (wanted.amax(dim=1) - wanted.amin(dim=1))).mean(dim=1)
    turn = 2 * math.pi * (hue_of(color) - hue_of(wanted))
    hue = torch.atan2(turn.sin().mean(dim=1), turn.cos().mean(dim=1)) / (2 * math.pi)
    contrast = slope / brightness.clamp(min=1e-3)
    return {"brightness": brightness, "contrast": contrast, "saturation": chroma / slope.clamp(min=1e-3), "hue": hue}


@check
def check_color_distortion(color_distortion, generator: Generator):
    try:
        distort = call("color_distortion(1.0)", color_distortion, 1.0)
    except NotYet as problem:  # torchvision turns a hue by half the circle at most
        more = " It turns by ± 0.2 · strength; yours is as strong as the rest." if "hue values" in str(problem) else ""
        raise NotYet(f"{problem}{more}") from None
    expect(
        callable(distort) and not isinstance(distort, Tensor),
        f"color_distortion(1.0) gave a {type(distort).__name__}; something that can be called on an image is wanted.",
    )
    height = int(torch.randint(9, 14, (), generator=generator))
    colors = (1.6 * torch.rand(3, height * (height + 3) // 2, generator=generator) - 0.3).clamp(0, 1)
    order = torch.randperm(colors.shape[1], generator=generator)
    extreme = torch.cat([colors, colors[:, order]], dim=1).reshape(3, height, height + 3)  # every color in two places
    views = draw_views("color_distortion(1.0)(image)", distort, extreme, 25, (height, height + 3)).flatten(2)
    here, there = views.split(colors.shape[1], dim=2)
    expect(
        close(here[:, :, order].double(), there.double(), ROUNDING),
        "color_distortion(1.0)(image) makes two colours of one, depending on where its pixels are: it changes colours "
        "only. Blur and crop belong to simclr_transform.",
    )

    ring, what = color_ring(), "color_distortion(0.5)(image)"
    views = draw_views(what, call("color_distortion(0.5)", color_distortion, 0.5), ring, 900, (16, 24))
    expect(
        not close(views[1:].double(), views[:1].expand(len(views) - 1, -1, -1, -1).double(), 1e-6),
        f"{what} gives the same result at every call; draw new random numbers inside the callable.",
    )
    grey, untouched = is_grey(views), is_untouched(views)
    if int(grey.sum()) in (0, len(views)) or int(untouched.sum()) in (0, int((~grey).sum())):
        expect_coins_at_every_call(color_distortion, views)
    expect_share(
        f"{what} is grey",
        int(grey.sum()),
        len(views),
        0.2,
        "always grey. Turn the colours grey with probability 0.2.",
        "never grey. Turn the colours grey with probability 0.2.",
        "is that the probability of grey?",
    )
    same_greys = (views - ring)[:, :, :8].abs().flatten(1).amax(dim=1) < ROUNDING
    steady = grey & same_greys & ((views.mean(dim=(1, 2, 3)) / ring.mean() - 1).abs() < 0.008)
    apart = (
        f"{what} is grey without jitter in {int(steady.sum())} of {len(views)} draws, 1 in 25 is wanted: "
        "jitter and grey are drawn each for itself, neither inside nor instead of the other."
    )
    expect(bool(untouched.any()) or int(steady.sum()) < 0.9 * int(grey.sum()), apart)  # grey instead of jitter
    expect_share(
        f"{what} leaves the colours alone, where it is not grey,",
        int(untouched.sum()),
        int((~grey).sum()),
        0.2,
        "no jitter. Change brightness, contrast, saturation and hue with probability 0.8.",
        "jitter always. The four changes together happen with probability 0.8.",
        "the four changes together happen with probability 0.8.",
    )
    look_at_strength(color_distortion, views[~grey & ~untouched])
    expect(plausible(int(steady.sum()), len(views), 0.0395, 0.042), apart)


def is_untouched(views: Tensor) -> Tensor:
    """(n,) bool: is it the color_ring as it was?"""
    return (views - color_ring()).abs().flatten(1).amax(dim=1) < ROUNDING


def expect_coins_at_every_call(color_distortion, views: Tensor) -> None:
    """Where all views agree on a coin, ask new callables: if those do not, the coin is flipped when one is made."""
    what = "color_distortion(0.5)"
    fresh = [
        draw_views(f"{what}(image)", call(what, color_distortion, 0.5), color_ring(), 1, (16, 24)) for _ in range(80)
    ]
    fresh = torch.cat(fresh)
    for saw, name, coin in (
        ("gives grey", "grey", is_grey),
        ("leaves the colours alone", "jitter", lambda some: is_untouched(some[~is_grey(some)])),
    ):
        old, new = coin(views), coin(fresh)
        if len(old) and not new.all() and new.any() and bool(old.all() or not old.any()):
            raise NotYet(
                f"{what} {saw} in {int(old.sum())} of {len(old)} draws of one callable, but {int(new.sum())} of "
                f"{len(new)} newly made ones do: decide on {name} at every call of the callable, not once when it is made."
            )


def look_at_strength(color_distortion, jittered: Tensor) -> None:
    """How far the four operations reach, at strength 0.5 (views given) and at a weaker one."""
    what, ring = "color_distortion(0.5)", color_ring()
    weak = draw_views(
        "color_distortion(0.2)(image)", call("color_distortion(0.2)", color_distortion, 0.2), ring, 240, (16, 24)
    )
    weak = weak[~is_grey(weak) & ((weak - ring).abs().flatten(1).amax(dim=1) > ROUNDING / 2)]
    factors, weaker = read_factors(jittered), read_factors(weak)
    spread = {name: values.std().item() for name, values in factors.items()}
    if spread["brightness"] < 1.5 * weaker["brightness"].std().item() and spread["brightness"] > 0.02:
        raise NotYet("color_distortion(0.2) distorts as much as color_distortion(0.5): the strength is ignored.")
    for name, reach in (("hue", 0.1), ("brightness", 0.4), ("contrast", 0.4), ("saturation", 0.4)):
        middle = 0.0 if name == "hue" else 1.0
        saw = (factors[name] - middle).abs()
        uniform = reach / math.sqrt(3)  # standard deviation of a uniform draw from ± reach
        rule = "0.2 · strength" if name == "hue" else "0.8 · strength"
        wanted = f"± {reach:g} ({rule}) is wanted"
        if spread[name] < 0.02 * reach:
            raise NotYet(f"{what} leaves {name} as it is; {wanted}.")
        if name == "hue" and spread[name] > 0.6 * spread["brightness"]:
            raise NotYet(f"{what} turns the hue by up to {saw.max():.2f}; {wanted}. Your hue is as strong as the rest.")
        slack = 1.2 if name == "saturation" else 1.1  # a hue turned in another space than HSV moves saturation a little
        least = 0.86 if name in ("brightness", "contrast") else 0.75  # hue and saturation are read less exactly
        expect(
            least * uniform < spread[name] < 1.3 * uniform and saw.max() < slack * reach + 0.02,
            f"{what} changes {name} by up to {saw.max():.2f}; {wanted}.",
        )
        expect(
            abs(factors[name].mean().item() - middle) < 0.3 * reach,
            f"{what} changes {name} around {factors[name].mean():.2f}, not around {middle:g}; {wanted}.",
        )
    for one, other in itertools.combinations(factors, 2):
        together = torch.corrcoef(torch.stack([factors[one], factors[other]]))[0, 1].abs()
        expect(
            together < 0.3,
            f"{what} changes {one} and {other} together (correlation {together:.2f}); each of the four changes has a "
            "random number of its own.",
        )


# simclr_transform -------------------------------------------------------------------------------------------------


def ramps(height: int, width: int) -> Tensor:
    """(3, H, W): red grows from 0.1 to 0.9 with x, green with y, blue is 0.5: a view's colours tell its place."""
    image = torch.full((3, height, width), 0.5)
    image[0] = 0.1 + 0.8 * (torch.arange(width) + 0.5) / width
    image[1] = (0.1 + 0.8 * (torch.arange(height) + 0.5) / height)[:, None]
    return image


def read_boxes(views: Tensor) -> Tensor:
    """Where (n, 3, S, S) views of `ramps` were cut: (n, 2 axes x y, 2) middle and signed side, in images."""
    size = views.shape[-1]
    inside = slice(size // 6, size - size // 6)  # borders bend the ramp
    across, down = views[:, 0].mean(dim=1)[:, inside], views[:, 1].mean(dim=2)[:, inside]  # (n, inner)
    lines = (torch.stack([across, down], dim=1) - 0.1) / 0.8  # (n, 2, inner) places in the image
    steps = torch.arange(lines.shape[-1]) - (lines.shape[-1] - 1) / 2
    slope = (lines * steps).sum(dim=2) / (steps**2).sum()  # (n, 2) image shares a pixel
    return torch.stack([lines.mean(dim=2), slope * size], dim=2)


def edge_widths(views: Tensor) -> Tensor:
    """(n,) variance, in pixels², of the edges that (n, 3, S, S) views of `tiles` show; nan where no edge is whole.

    An edge's steps from pixel to pixel are what the resize made of it, smeared by the blur's kernel, and variances add.
    """
    reach = 4  # an edge and its smear are looked for this far to both sides
    lines = torch.stack([views.mean(dim=(1, 2)), views.mean(dim=(1, 3))], dim=1)  # (n, 2, S)
    height = (lines.amax(dim=2) - lines.amin(dim=2))[:, :, None]  # (n, 2, 1)
    steps = lines.diff(dim=2).unfold(2, 2 * reach + 1, 1)  # (n, 2, S - 9, 9): what is around each place
    away = torch.arange(-reach, reach + 1.0)
    step = steps.sum(dim=3)
    share = steps / torch.where(step.abs() < 1e-3, torch.nan, step)[..., None]
    middle = (share * away).sum(dim=3)
    whole = (height > 0.2) & (step.abs() > 0.75 * height) & (middle.abs() <= 0.5)  # one edge, in the middle
    variance = (share * away**2).sum(dim=3) - middle**2
    return torch.where(whole, variance, torch.nan).flatten(1).nanmean(dim=1)


def kernel_variance(width: int, sigma: Tensor) -> Tensor:
    """Variance in pixels² of a Gaussian kernel that ends after `width` pixels; sigma: (m,)."""
    away = torch.arange(width) - width // 2
    weights = torch.exp(-(away**2) / (2 * sigma[:, None] ** 2))  # (m, width)
    return (weights * away**2).sum(dim=1) / weights.sum(dim=1)


@check
def check_simclr_transform(simclr_transform, generator: Generator):
    size = 2 * int(torch.randint(10, 15, (), generator=generator))
    plain = call(f"simclr_transform({size})", simclr_transform, size)
    expect(
        callable(plain) and not isinstance(plain, Tensor),
        f"simclr_transform({size}) gave a {type(plain).__name__}; something that can be called on an image is wanted.",
    )
    still = call(f"simclr_transform({size}, strength=0.0)", simclr_transform, size, strength=0.0)
    height, width = 88, 104
    what = f"simclr_transform({size}, strength=0.0)(image)"
    views = draw_views(what, still, ramps(height, width), 320, (size, size))
    expect(
        not close(views[1:].double(), views[:1].expand(len(views) - 1, -1, -1, -1).double(), 1e-6),
        f"{what} gives the same view at every call; draw new random numbers inside the callable.",
    )
    grey = is_grey(views)
    expect_share(
        f"{what} is grey",
        int(grey.sum()),
        len(views),
        0.2,
        "the colour distortion is always grey.",
        "the colour distortion is missing, or has no grey.",
        "one view in five turns grey.",
    )
    moved = (views[~grey, 2] - 0.5).abs().flatten(1).amax(dim=1) > 3 * ROUNDING
    expect(not moved.any(), f"{what} still jitters the colours: hand the strength on to color_distortion.")
    look_at_colors(plain, f"simclr_transform({size})(image)", size, generator)
    look_at_boxes(read_boxes(views[~grey]), width / height)
    look_at_blur(simclr_transform)


def look_at_colors(transform: Callable, what: str, size: int, generator: Generator) -> None:
    """Views of an image of one colour: crop, flip and blur leave it alone, so what is left is the colour distortion."""
    color = torch.tensor([0.5, 0.36, 0.3])[torch.randperm(3, generator=generator)]
    views = draw_views(what, transform, color[:, None, None].expand(3, 40, 36).clone(), 600, (size, size))
    untouched = (views - color[:, None, None]).abs().flatten(1).amax(dim=1) < ROUNDING
    expect_share(
        f"{what} keeps every colour",
        int(untouched.sum()),
        len(views),
        0.16,
        "the colour distortion is missing.",
        "the colours are jittered always, not with probability 0.8.",
        "is the whole distortion left out at times? It draws its own probabilities, 0.8 and 0.2; apply it always."
        if plausible(int(untouched.sum()), len(views), 1 - 0.8 * 0.84)
        else "colours are jittered with probability 0.8 and grey with probability 0.2.",
    )
    changed = views[~untouched & ~is_grey(views)]
    brightness = changed.mean(dim=(1, 2, 3)) / color.mean()  # hue and saturation hardly move it
    spread = brightness.std().item() / (0.4 / math.sqrt(3))
    expect(
        0.65 < spread < 1.45,
        f"{what} jitters brightness {spread:.1f} times as much as strength 0.5 does: "
        "0.5 is the strength if none is given.",
    )


def look_at_boxes(boxes: Tensor, image_ratio: float) -> None:
    """Crops (n, 2, 2), as read_boxes gives them: their area, ratio, place and flips."""
    middle, side = boxes.unbind(dim=2)  # (n, 2) each
    n, what = len(boxes), "simclr_transform"
    expect(
        not bool((side[:, 1] < 0).any()), f"{what} turns some views upside down; only left and right may be swapped."
    )
    flips = int((side[:, 0] < 0).sum())
    expect_share(
        f"{what} swaps left and right",
        flips,
        n,
        0.5,
        "flip always. Flip with probability 0.5.",
        "no flip. Flip left to right with probability 0.5.",
        "flip with probability 0.5.",
    )
    side = side.abs()
    area, ratio = side.prod(dim=1), (side[:, 0] / side[:, 1] * image_ratio).log()
    smallest, largest = area.min().item(), area.max().item()
    if smallest > 0.97:
        raise NotYet(f"{what} always shows the whole image: the crop is missing.")
    whole = (area > 0.97).double().mean().item()
    expect(whole < 0.1, f"{what} shows the whole image in {whole:.0%} of {n} draws: crop every view, not some.")
    if area.std() < 0.1:
        raise NotYet(
            f"{what} always cuts out about {area.mean():.0%} of the image: "
            "the crop's area is not random (8 % to 100 %)."
        )
    expect(
        0.066 < smallest < 0.16 and 0.75 < largest < 1.06,
        f"{what} cuts out {smallest:.0%} to {largest:.0%} of the image's area in {n} draws; 8 % to 100 % is wanted.",
    )
    average = area.mean().item()
    expect(
        0.38 < average < 0.62,
        f"{what} cuts out {average:.0%} of the image's area on average; about half is wanted: every area between 8 % "
        "and 100 % is as likely as any other.",
    )
    stretch = ratio.abs().max().exp().item()
    expect(
        stretch < 4 / 3 * 1.09,
        f"{what} cuts out boxes up to {stretch:.2f} times as long as wide; the ratio is 3/4 to 4/3.",
    )
    expect(
        ratio.std() > 0.07, f"{what} cuts out boxes of one shape; the ratio of width to height is random, 3/4 to 4/3."
    )
    small = area < 0.6
    free = ((middle - side / 2) / (1 - side).clamp(min=1e-3))[small]  # (n, 2) 0 at one border, 1 at the other
    expect(
        bool((free.std(dim=0) > 0.17).all()), f"{what} cuts small boxes at nearly one place; the place is random too."
    )
    inner, together = ((free - 0.5).abs() < 0.25).all(dim=1).double().mean().item(), free.T.corrcoef()[0, 1].item()
    expect(inner > 0.05, f"{what} cuts small boxes along the borders alone; they may lie anywhere in the image.")
    expect(
        abs(together) < 0.5,
        f"{what} cuts small boxes along a diagonal: draw the place from the left and the place from the top "
        "each for itself.",
    )


VISIBLE = 0.2  # pixels² that a blur adds to an edge's variance: σ = 0.5


def look_at_blur(simclr_transform) -> None:
    """Views of tiles with blur off and on: how many are softer than resizing makes them, and by how much."""
    stripes = 0.3 * (torch.arange(200) // 34 % 2)
    tiles = (0.2 + stripes + stripes[:, None]).expand(3, 200, 200).contiguous()
    widths = []
    for blur, count in ((False, 100), (True, 480)):
        what = f"simclr_transform(50, blur={blur})"
        transform = call(what, simclr_transform, 50, strength=0.0, blur=blur)
        views = draw_views(f"{what}(image)", transform, tiles, count, (50, 50))
        widths.append(edge_widths(views).nan_to_num(9.0))  # no edge is whole where the blur is as wide as the tiles
    sharp, either = widths
    soft, n = int((sharp > 0.55).sum()), len(sharp)  # a resize alone makes 0 to 0.3
    expect(soft <= n // 8, f"simclr_transform(size, blur=False) blurs: {soft} of {n} views are soft.")
    resize, added = sharp - sharp.median(), either - sharp.median()
    visible = added[added > VISIBLE]
    what = "simclr_transform(size, blur=True)"
    expect(not plausible(len(visible), len(added), 1e-3, 0.05), f"{what} does not blur.")
    if not any(sigmas_are_even(visible, recipe_variances(width, resize)) for width in (3, 5, 7, 9)):
        raise NotYet(f"{what} {describe_sigmas(visible, resize)}")
    least, most = share_between(recipe_variances(5, resize), VISIBLE, math.inf)
    expect(
        plausible(len(visible), len(added), least, most),
        f"{what} blurs {len(visible)} of {len(added)} views visibly, about {(least + most) / 2 * len(added):.0f} are "
        "wanted: blur with probability 0.5 and σ between 0.1 and 2 pixels.",
    )


def recipe_variances(width: int, resize: Tensor) -> Tensor:
    """(r, 400) what the recipe adds to an edge's variance, with a kernel of this width: for every second view nothing.

    Args:
        resize: (r,) how far the variances of views without blur lie from their middle.
    """
    kernels = kernel_variance(width, torch.linspace(0.1, 2, 200))
    rare = torch.stack([resize.min() - 0.12, resize.max() + 0.12]).repeat(3)  # r views need not have shown all
    return torch.cat([kernels, torch.zeros(200)]) + torch.cat([resize, rare])[:, None]


def share_between(variances: Tensor, low: float, high: float, above: float = -math.inf) -> tuple[float, float]:
    """The least and the largest share that may lie between low and high, of what lies above a mark.

    Args:
        variances: (r, 400) as recipe_variances gives them; r views without blur tell only so much of what resizing does.
    """
    bounds, seen = [], (variances > above).double().mean()
    for sign in (1, -1):
        inside = (variances > max(low, above) + sign * 0.02) & (variances <= high - sign * 0.02)
        shares = inside.double().mean(dim=1)  # (r,)
        unsure = 6 * shares.std() / math.sqrt(len(shares))
        bounds.append((shares.mean() - sign * unsure) / seen)
    least, most = torch.stack(bounds).clamp(0, 1).tolist()
    return least, most


def sigmas_are_even(visible: Tensor, wanted: Tensor) -> bool:
    """Whether, of the variances that show, as many lie between any two marks as of the recipe's."""
    marks = [VISIBLE, 0.45, 0.58, 0.75, 1.15, 1.75, math.inf]
    for low, high in itertools.combinations(marks, 2):
        count = int(((visible > low) & (visible <= high)).sum())
        if not plausible(count, len(visible), *share_between(wanted, low, high, above=VISIBLE)):
            return False
    return True


def describe_sigmas(visible: Tensor, resize: Tensor) -> str:
    """What is wrong with the σ of the blurs that add these variances."""
    tenths = torch.tensor([0.1, 0.9])
    if visible.quantile(tenths).diff() < resize.quantile(tenths).diff() + 0.06:
        return "blurs all views that it blurs nearly alike. Draw σ anew each time, between 0.1 and 2."
    widest = (visible.quantile(0.98) - resize.quantile(0.9)).item()
    width = next((width for width in (3, 5, 7) if widest < (width**2 - 1) / 12 + 0.03), 9)  # a flat kernel's variance
    sigmas = torch.linspace(0.05, 6, 600)
    marks = torch.searchsorted(kernel_variance(width, sigmas), visible.quantile(torch.tensor([0.02, 0.98])))
    low, high = sigmas[marks.clamp(max=len(sigmas) - 1)].tolist()
    saw = f"blurs visibly with σ of about {low:.1f} to {high:.1f} pixels, if its kernel is {width} wide"
    if low < 0.7 and 1.8 < high < 2.3:
        return f"{saw}, but not evenly: draw σ evenly between 0.1 and 2."
    return f"{saw}. Draw σ between 0.1 and 2 (below 0.5 it does not show)."


# TwoViews and TwoViewDataset ----------------------------------------------------------------------------------------


class Recorder:
    """A transform that keeps what it is given and marks what it returns with a number, a new one at every call."""

    def __init__(self, in_place: bool = False):
        self.given, self.made, self.in_place = [], [], in_place

    def __call__(self, image):
        self.given.append(image.clone() if isinstance(image, Tensor) else image)
        if not isinstance(image, Tensor) or not image.dtype.is_floating_point:
            look_at_given("The transform", image, None)
        view = image.mul_(0.5) if self.in_place else image * 0.5
        view = view.add_(0.01 * len(self.given)) if self.in_place else view + 0.01 * len(self.given)
        self.made.append(view.clone())
        return view


def look_at_given(what: str, given, wanted: Tensor | None) -> None:
    """The tensor that a transform was handed: (3, H, W) float in [0, 1], channels as they came."""
    expect(
        isinstance(given, Tensor),
        f"{what} was handed a {type(given).__name__}; hand it a (3, H, W) float tensor in [0, 1].",
    )
    expect(
        given.dtype.is_floating_point,
        f"{what} was handed {given.dtype}; hand it float in [0, 1]: the pixels divided by 255.",
    )
    if wanted is None:
        return
    shape = tuple(wanted.shape)
    layout = " Channels come first: .permute(2, 0, 1)." if tuple(given.shape) == (*shape[1:], 3) else ""
    expect(
        tuple(given.shape) == shape,
        f"{what} was handed a tensor of shape {tuple(given.shape)}; {shape} is wanted.{layout}",
    )
    mistakes = {
        "the pixels are still 0 to 255: divide by 255.": 255 * wanted,
        "divided by 255 once too often; only uint8 is 0 to 255, a float image is in [0, 1] already.": wanted / 255,
        "the channels are reversed; leave them as they come, BGR or RGB.": wanted.flip(0),
    }
    given = given.detach().cpu().double()
    for sentence, wrong in mistakes.items():
        if close(given, wrong.double(), 1e-3) and not close(given, wanted.double(), ROUNDING):
            raise NotYet(f"{what} was handed values up to {given.max():.3g}: {sentence}")
    expect(
        close(given, wanted.double(), ROUNDING),
        f"{what} was handed another picture than the image: {describe(given, wanted)}",
    )


def describe(given: Tensor, wanted: Tensor) -> str:
    if given.ndim == 3 and given.shape[1] == given.shape[2] and close(given.mT, wanted.double(), ROUNDING):
        return "rows and columns are swapped. Use .permute(2, 0, 1)."
    return "were pixels only reshaped? .permute(2, 0, 1) moves the channels first, .reshape scrambles them."


def expect_pair(what: str, pair) -> tuple[Tensor, Tensor]:
    """(x_a, x_b), two tensors."""
    expect(
        not isinstance(pair, Tensor),
        f"{what} gave one tensor{f' of shape {tuple(pair.shape)}' if isinstance(pair, Tensor) else ''}; two views "
        "(x_a, x_b) are wanted.",
    )
    expect(
        isinstance(pair, tuple | list) and len(pair) == 2,
        f"{what} gave a {type(pair).__name__}{f' of {len(pair)}' if isinstance(pair, tuple | list) else ''}; "
        "a pair (x_a, x_b) is wanted.",
    )
    for name, view in zip(("x_a", "x_b"), pair, strict=False):
        expect(isinstance(view, Tensor), f"{name} of {what} is a {type(view).__name__}; a tensor is wanted.")
    return tuple(pair)


def expect_two_draws(what: str, recorder: Recorder, pair, wanted: Tensor) -> None:
    """The pair is what two calls of the recorder made, each from the image itself."""
    x_a, x_b = expect_pair(what, pair)
    expect(len(recorder.given) > 0, f"{what} never calls the transform.")
    for given in recorder.given:
        if recorder.made and any(given.shape == made.shape and torch.equal(given, made) for made in recorder.made):
            if not close(given.double(), wanted.double(), 1e-6):
                raise NotYet(f"{what} makes one view from the other; make both from the image itself.")
    look_at_given(f"{what}: the transform", recorder.given[0], wanted)
    if x_a.shape == x_b.shape and torch.equal(x_a, x_b):
        raise NotYet(f"{what} gave the same view twice: call the transform once for each view.")
    for given in recorder.given[1:]:
        if not close(given.double(), wanted.double(), ROUNDING):
            look_at_given(f"{what}: for x_b, the transform", given, wanted)
    made = [view.double() for view in recorder.made]
    for name, view in (("x_a", x_a), ("x_b", x_b)):
        expect(
            any(close(view.double(), one, 1e-6) for one in made),
            f"{name} of {what} is not what the transform returned; hand its result on as it is.",
        )


@check
def check_two_views(TwoViews, generator: Generator):
    height = int(torch.randint(5, 9, (), generator=generator))
    pixels = torch.randint(0, 256, (4, height, height + 4, 3), generator=generator).numpy().astype(np.uint8)
    first = pixels[0].copy()
    wanted = torch.tensor(first).permute(2, 0, 1) / 255  # (3, H, W)
    kinds = {
        "an (H, W, 3) uint8 array": first,
        "a uint8 tensor": (255 * wanted).round().to(torch.uint8),
        "a float tensor": wanted.clone(),
        "a PIL image": Image.fromarray(first.copy()),
    }
    for kind, image in kinds.items():
        for in_place in (False, True):
            recorder, before = Recorder(in_place), snapshot(image)
            two_views = call("TwoViews(transform)", TwoViews, recorder)
            expect(callable(two_views), "TwoViews(transform) cannot be called; write its __call__(self, image).")
            what = f"TwoViews(transform)({kind})"
            pair = call(what, two_views, image)
            if not np.array_equal(before, snapshot(image)):
                raise NotYet(
                    f"{what} changed the caller's image. A transform may work in place: hand it a copy."
                    if in_place
                    else f"{what} changed the caller's image in place; make a new tensor instead."
                )
            if (
                in_place
                and len(recorder.given) > 1
                and not close(recorder.given[1].double(), wanted.double(), ROUNDING)
            ):
                raise NotYet("After a transform that works in place, x_b starts from x_a; hand each call its own copy.")
            if not in_place:
                expect_two_draws(what, recorder, pair, wanted)

    flipped = pixels[1, :, :, ::-1]  # BGR to RGB, as one does after cv2.imread: a view with a negative stride
    recorder = Recorder()
    two_views = call("TwoViews(transform)", TwoViews, recorder)
    expect_two_draws(
        "TwoViews(transform)(array[:, :, ::-1])",
        recorder,
        call("TwoViews(transform)(array[:, :, ::-1])", two_views, flipped),
        torch.tensor(flipped.copy()).permute(2, 0, 1) / 255,
    )
    recorder.given.clear(), recorder.made.clear()
    pair = call("TwoViews(transform)(second image)", two_views, pixels[2].copy())
    stale = bool(recorder.given) and close(
        recorder.given[0].double(), (torch.tensor(flipped.copy()).permute(2, 0, 1) / 255).double(), 1e-3
    )
    expect(not stale, "TwoViews(transform) shows the first image again when it is called with a second one.")
    expect_two_draws(
        "TwoViews(transform)(second image)", recorder, pair, torch.tensor(pixels[2]).permute(2, 0, 1) / 255
    )
    night, recorder = (first > 127).astype(np.uint8), Recorder()  # 0 and 1 of 255: all but black
    pair = call("TwoViews(transform)(a dark uint8 array)", TwoViews(recorder), night)
    expect(
        not recorder.given or not isinstance(recorder.given[0], Tensor) or recorder.given[0].max() < 0.5,
        "TwoViews(transform)(a dark uint8 array) took its brightest pixel, 1 of 255, for white. Ask for the dtype, not "
        "for the largest value: uint8 is 0 to 255, float is 0 to 1.",
    )
    expect_two_draws(
        "TwoViews(transform)(a dark uint8 array)", recorder, pair, torch.tensor(night).permute(2, 0, 1) / 255
    )
    x_a, x_b = call("TwoViews(transform)(image)", TwoViews(lambda image: image * torch.rand(())), first)
    expect(
        not torch.equal(x_a, x_b),
        "TwoViews resets the random numbers between the views, so x_a and x_b are the same view twice.",
    )


def snapshot(image) -> np.ndarray:
    """The image's pixels, copied."""
    return image.numpy().copy() if isinstance(image, Tensor) else np.array(image)


@check
def check_two_view_dataset(TwoViewDataset, generator: Generator):
    count = int(torch.randint(5, 9, (), generator=generator))
    images = torch.randint(0, 256, (count, 3, 6, 9), generator=generator).to(torch.uint8)
    before, seen = images.clone(), []

    def transform(image):  # the image itself, with a little noise
        seen.append(image)
        look_at_given("The transform", image, None)
        return image + 0.02 * torch.rand(())

    def origin(view: Tensor) -> int:
        distance = (view.double() - images.double() / 255).abs().flatten(1).mean(dim=1)  # (M,)
        return int(distance.argmin())

    dataset = call("TwoViewDataset(images, transform)", TwoViewDataset, images, transform)
    early = len(seen)
    length = call("len(TwoViewDataset(images, transform))", len, dataset)
    expect(length == count, f"len(dataset) is {length} for {count} images; one item an image is wanted.")
    for index in (0, count - 1, int(torch.randint(1, count - 1, (), generator=generator))):
        what = f"dataset[{index}]"
        seen.clear()
        x_a, x_b = expect_pair(what, call(what, dataset.__getitem__, index))
        expect(bool(seen) or early > 0, f"{what} never calls the transform.")
        for given in seen:
            look_at_given("The transform", given, given if given.shape == (3, 6, 9) else images[index] / 255)
            if given.max() > 1.5:
                look_at_given("The transform", given, images[index] / 255)
        expect_tensor(f"x_a of {what}", x_a, (3, 6, 9))
        expect_tensor(f"x_b of {what}", x_b, (3, 6, 9))
        places = origin(x_a), origin(x_b)
        expect(
            places[0] == places[1],
            f"{what} gave views of different images, {places[0]} and {places[1]}: "
            f"both views come from images[{index}].",
        )
        expect(places[0] == index, f"{what} gave views of image {places[0]}; image {index} is wanted.")
        expect(not torch.equal(x_a, x_b), f"{what} gave the same view twice: draw twice.")
        again = call(what, dataset.__getitem__, index)
        expect(
            not torch.equal(x_a, again[0]) and not torch.equal(x_b, again[1]),
            f"{what} gave the same views at the second visit{' (they were made in __init__)' if early else ''}: "
            "draw new ones at every visit.",
        )
    recorder = Recorder(in_place=True)
    dataset_in_place = call("TwoViewDataset(images, transform)", TwoViewDataset, images, recorder)
    call("dataset[1]", dataset_in_place.__getitem__, 1)
    again = recorder.given[1:] and recorder.given[-1].double()
    expect(
        not len(again) or close(again, recorder.given[0].double(), ROUNDING),
        "After a transform that works in place, x_b of the dataset starts from x_a; hand each call its own copy.",
    )
    loader = torch.utils.data.DataLoader(dataset, batch_size=count)
    batch = expect_pair("A batch of the dataset", call("A DataLoader of the dataset", lambda: next(iter(loader))))
    for name, views in zip(("x_a", "x_b"), batch, strict=False):
        expect_tensor(f"{name} of a batch of {count}", views, (count, 3, 6, 9))
    expect(torch.equal(images, before), "TwoViewDataset changed the images it was given.")


# histogram_similarity -------------------------------------------------------------------------------------------------


def shares(image: Tensor, bins: int = 32, low: float = 0.0, high: float = 1.0) -> Tensor:
    """(3, bins) share of each channel's pixels that falls into each bin, counted one by one."""
    counts = torch.zeros(3, bins, dtype=torch.float64)
    for channel, values in enumerate(image.double().flatten(1).tolist()):
        for value in values:
            counts[channel, min(max(int((value - low) / (high - low) * bins), 0), bins - 1)] += 1 / len(values)
    return counts


def overlap(a: Tensor, b: Tensor) -> float:
    """Mean over channels of the overlap of two histograms (3, bins)."""
    return torch.minimum(a, b).sum(dim=1).mean().item()


ROUNDED = (
    "the values are rounded, so the first and the last bin are half as wide as the others; round down, after 32 · x."
)


def usual_mistakes(x_a: Tensor, x_b: Tensor) -> dict[str, float]:
    """{sentence: the value that mistake gives}."""
    a, b, pixels = shares(x_a), shares(x_b), x_a[0].numel()
    low, high = min(x_a.min(), x_b.min()).item(), max(x_a.max(), x_b.max()).item()
    own = [shares(x, 32, x.min().item(), x.max().item() + 1e-9) for x in (x_a, x_b)]
    by_channel = [
        torch.cat([shares(channel[None], 32, channel.min().item(), channel.max().item() + 1e-9)[:1] for channel in x])
        for x in (x_a, x_b)
    ]
    pooled = [shares(x.reshape(1, -1).expand(3, -1)[:, :, None]) for x in (x_a, x_b)]
    grey = [
        shares((x.double() * torch.tensor([0.299, 0.587, 0.114]).double()[:, None, None]).sum(0).expand(3, -1, -1))
        for x in (x_a, x_b)
    ]
    joint = torch.minimum(*[joint_shares(x) for x in (x_a, x_b)]).sum().item()
    mistakes = {
        "the histograms are counts; divide them by the number of pixels.": overlap(a, b) * pixels,
        "that is the sum over the channels; take their mean.": 3 * overlap(a, b),
        "that is a distance, 0 for equal histograms; the similarity is 1 minus it.": 1 - overlap(a, b),
        "all channels are in one histogram; make one for each channel.": overlap(*pooled),
        "that is the histogram of the grey values; make one for each channel.": overlap(*grey),
        "the bins span what values occur; they must span 0 to 1.": overlap(*own),
        "the bins span what values occur in each channel; they must span 0 to 1.": overlap(*by_channel),
        "the bins span what values occur in both; they must span 0 to 1.": overlap(
            *[shares(x, 32, low, high + 1e-9) for x in (x_a, x_b)]
        ),
        "that is one histogram over three channels at once; make one for each channel.": joint,
        "that is the share of the union; sum the smaller shares only.": (
            torch.minimum(a, b).sum() / torch.maximum(a, b).sum()
        ).item(),
        "take the smaller share of each bin, not the larger.": torch.maximum(a, b).sum(dim=1).mean().item(),
        "that is the cosine of the histograms; sum the smaller share of each bin.": torch.cosine_similarity(a, b, dim=1)
        .mean()
        .item(),
        "that compares pixel with pixel; compare the histograms.": 1 - (x_a - x_b).abs().mean().item(),
        "that is the mean over the bins; sum over them.": overlap(a, b) / 32,
        ROUNDED: overlap(*[shares((31 * x.double()).round() / 32 + 0.01) for x in (x_a, x_b)]),
    }
    for bins in (31, 33, 4, 5, 8, 10, 16, 20, 50, 64, 100, 128, 255, 256):
        mistakes[f"that is what {bins} bins give; 32 are wanted."] = overlap(shares(x_a, bins), shares(x_b, bins))
    return mistakes


def joint_shares(image: Tensor, bins: int = 32) -> Tensor:
    """(bins³,) share of the pixels in each bin of red, green and blue together."""
    place = (image.double() * bins).long().clamp(0, bins - 1)
    return (
        torch.bincount(place[0].flatten() * bins**2 + place[1].flatten() * bins + place[2].flatten(), minlength=bins**3)
        / image[0].numel()
    )


@check
def check_histogram_similarity(histogram_similarity, generator: Generator):
    def draw(height: int, width: int, lowest: int, highest: int) -> Tensor:
        """Values away from the borders of bins, so that rounding decides nothing; another range in each channel."""
        places = torch.randint(lowest, highest, (3, height, width), generator=generator)
        inside = 0.2 + 0.6 * torch.rand(3, height, width, generator=generator)
        return (places + torch.tensor([0, 2, 4])[:, None, None] + inside) / 32

    def similarity(x_a: Tensor, x_b: Tensor) -> float:
        copies = x_a.clone(), x_b.clone()
        value = call("histogram_similarity(x_a, x_b)", histogram_similarity, x_a, x_b)
        expect(
            torch.equal(x_a, copies[0]) and torch.equal(x_b, copies[1]),
            "histogram_similarity changes a view it is given.",
        )
        if isinstance(value, Tensor | np.ndarray) and value.ndim:
            raise NotYet(
                f"histogram_similarity(x_a, x_b) has shape {tuple(value.shape)}; "
                "one number is wanted: the mean over channels."
            )
        expect(
            isinstance(value, float | int | Tensor | np.ndarray | np.number) and not isinstance(value, bool),
            f"histogram_similarity(x_a, x_b) gave a {type(value).__name__}; a number is wanted.",
        )
        return float(value)

    def plain(place: float) -> Tensor:
        """A picture of one value, given in bins."""
        return torch.full((3, 3, 4), place / 32)

    pairs = [(draw(9, 11, 4, 18), draw(9, 11, 9, 26)), (draw(12, 10, 2, 20), draw(12, 10, 9, 27))]
    x_a, x_b = pairs[0]
    what = "histogram_similarity(x_a, x_b)"
    found = torch.tensor([similarity(*pair) for pair in pairs])
    wanted = torch.tensor([overlap(shares(a), shares(b)) for a, b in pairs])
    first, second = (usual_mistakes(*pair) for pair in pairs)
    both = {said: torch.tensor([first[said], second[said]]) for said in first}  # one value a mistake may hit by chance
    expect_close(f"{what} of two pairs", found, wanted, both, 1e-4)
    for low, high, share in ((0.2, 0.8, 1.0), (31.2, 31.8, 1.0), (0.8, 1.2, 0.0), (30.8, 31.2, 0.0)):
        pair = plain(low), plain(high)
        where = f"{what} of two pictures, one all {low:g}/32 and one all {high:g}/32,"
        rounded = {ROUNDED: float(round(31 * low / 32) == round(31 * high / 32))}
        expect_close(where, similarity(*pair), share, rounded, 1e-4, "Bin k holds what lies from k/32 to (k + 1)/32.")
    places = torch.arange(32).reshape(1, 4, 8).expand(3, 4, 8)
    expect_close(
        f"{what} of two pictures, each with one pixel in every bin,",
        similarity((places + 0.2) / 32, (places + 0.8) / 32),
        1.0,
        tolerance=1e-4,
        hint="Bin k holds what lies from k/32 to (k + 1)/32.",
    )
    expect_close(f"{what} of a view with itself", similarity(x_a, x_a), 1.0, tolerance=1e-4)
    shuffled = x_a.flatten(1)[:, torch.randperm(99, generator=generator)].reshape(3, 9, 11)
    expect_close(f"{what} of the same pixels in another order", similarity(x_a, shuffled), 1.0, tolerance=1e-4)
    expect_close(
        f"{what} of black and white", similarity(torch.zeros(3, 4, 4), torch.ones(3, 4, 4)), 0.0, tolerance=1e-4
    )
    white = torch.ones(3, 5, 4)
    expect_close(
        f"{what} of white with itself",
        similarity(white, white),
        1.0,
        {"the value 1.0 belongs to the last bin.": 0.0},
        1e-4,
    )
    larger = draw(13, 17, 6, 22)
    counts = torch.minimum(99 * shares(x_a), 221 * shares(larger)).sum(dim=1).mean()
    mistakes = {
        "the views differ in size; divide each histogram by its own number of pixels.": counts / 99,
        "the views differ in size; divide each histogram by its own number of pixels, both.": counts / 221,
    }
    expect_close(
        f"{what} of views that differ in size",
        similarity(x_a, larger),
        overlap(shares(x_a), shares(larger)),
        mistakes,
        1e-4,
    )
    expect_close(f"{what} with the views swapped", similarity(larger, x_a), similarity(x_a, larger), tolerance=1e-4)
