"""The built-in images: ten kinds of object, drawn from a seed in seconds, every factor known. No files are read.

The class is the content; hue, place, size, turn, light, texture and an occluder are style, independent of the class.
An object is a signed distance, negative inside its outline, positive outside. Images are the same bit for bit on every
machine: draws from PCG64, then only + - * / sqrt, remainders and comparisons, which IEEE 754 rounds alike everywhere.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

SIDE = 32  # pixels
CHUNK = 256  # images drawn at once: their work arrays fit the processor's cache
CONTRAST = 0.26  # object above background; small, so that hues, not outlines, decide which raw pixels are alike

STYLE = {  # factor: lowest value, highest value, numbers an image; drawn evenly and independently of the class
    "hue": (0, 1, 1),  # of the object, in turns of the colour circle
    "brightness": (0.7, 0.95, 1),  # of the object's strongest channel; the background's is CONTRAST less
    "position": (-0.5, 0.5, 2),  # of the object, right and up, in half image sides
    "scale": (0.45, 0.65, 1),  # of the object, in half image sides
    "rotation": (-0.3, 0.3, 1),  # of the object, anticlockwise, in radians
    "facing": (-1, 1, 1),  # below 0 the object is mirrored
    "background_hue": (0, 1, 2),  # one at either end of the image
    "background_slope": (-1, 1, 2),  # how fast the second hue takes over, to the right and upwards
    "texture": (0, 0.06, 1),  # contrast of the stripes on the background
    "texture_waves": (-4, 4, 2),  # stripes in half an image side, to the right and upwards
    "light": (-0.2, 0.2, 2),  # brightness gained in half an image side, to the right and upwards
    "occluder": (-0.9, 0.9, 2),  # centre of a grey disc, in half image sides
}


def disc(p: tuple, x: float, y: float, radius: float) -> ndarray:
    """Signed distance of the points p = (x, y) to a circle."""
    return np.sqrt((p[0] - x) ** 2 + (p[1] - y) ** 2) - radius


def polygon(p: tuple, *corners: tuple) -> ndarray:
    """Signed distance of the points p = (x, y) to the closed line through the corners."""
    nearest, inside = np.full_like(p[0], np.inf), np.zeros(p[0].shape, bool)
    for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True):
        x, y, ex, ey = p[0] - ax, p[1] - ay, bx - ax, by - ay  # from this corner to the points, and to the next corner
        share = np.clip((x * ex + y * ey) / (ex * ex + ey * ey), 0, 1)  # of the edge, where it is nearest
        nearest = np.minimum(nearest, (x - share * ex) ** 2 + (y - share * ey) ** 2)
        if ey:  # from inside, a ray to the right crosses an odd number of edges
            inside ^= ((p[1] < ay) != (p[1] < by)) & (x < y * (ex / ey))
    return np.sqrt(nearest) * np.where(inside, np.float32(-1), np.float32(1))


def box(p: tuple, left: float, bottom: float, right: float, top: float) -> ndarray:
    return polygon(p, (left, bottom), (right, bottom), (right, top), (left, top))


def union(*parts: ndarray) -> ndarray:
    return np.minimum.reduce(parts)


def without(whole: ndarray, hole: ndarray) -> ndarray:
    return np.maximum(whole, -hole)


TIPS = ((0, 1), (-0.95, 0.31), (-0.59, -0.81), (0.59, -0.81), (0.95, 0.31))  # of a star
DENTS = ((-0.24, 0.32), (-0.38, -0.12), (0, -0.4), (0.38, -0.12), (0.24, 0.32))
PETALS = ((0, 0.6), (-0.57, 0.19), (-0.35, -0.49), (0.35, -0.49), (0.57, 0.19))  # their middles, around a flower
BOLT = ((0.3, 1), (-0.6, -0.1), (-0.08, -0.1), (-0.35, -1), (0.62, 0.25), (0.1, 0.25), (0.6, 1))
KITE = ((-0.82, 0.06), (0, -0.95), (0.82, 0.06), (0, 0.5))  # the lower part of a heart
BOUGHS = ((1, 0.25, 0.52), (0.6, -0.25, 0.72), (0.1, -0.7, 0.85))  # of a tree: top, bottom, half width

OUTLINES = {  # class: signed distance of the points p, about 1 from the middle to the outline; y points up
    "star": lambda p: polygon(p, *(corner for pair in zip(TIPS, DENTS, strict=True) for corner in pair)),
    "heart": lambda p: union(disc(p, -0.44, 0.35, 0.48), disc(p, 0.44, 0.35, 0.48), polygon(p, *KITE)),
    "moon": lambda p: without(disc(p, 0, 0, 0.95), disc(p, 0.5, 0.15, 0.78)),
    "tree": lambda p: union(
        box(p, -0.16, -1, 0.16, -0.6), *(polygon(p, (0, top), (-half, low), (half, low)) for top, low, half in BOUGHS)
    ),
    "house": lambda p: union(
        without(box(p, -0.7, -0.8, 0.7, 0.2), box(p, -0.2, -0.9, 0.2, -0.2)),
        *(polygon(p, (-0.98, 0.1), (0.98, 0.1), (0, 0.95)), box(p, 0.42, 0.2, 0.7, 0.85)),
    ),
    "fish": lambda p: union(
        without(np.maximum(disc(p, -0.22, -0.5, 0.95), disc(p, -0.22, 0.5, 0.95)), disc(p, -0.62, 0.1, 0.1)),
        polygon(p, (0.3, 0), (1, 0.6), (0.82, 0), (1, -0.6)),
    ),
    "mug": lambda p: union(box(p, -0.8, -0.8, 0.4, 0.8), np.abs(disc(p, 0.42, 0, 0.4)) - 0.11),
    "key": lambda p: union(
        np.abs(disc(p, 0, 0.55, 0.31)) - 0.14,
        *(box(p, -0.13, -0.98, 0.13, 0.25), box(p, 0, -0.95, 0.48, -0.72), box(p, 0, -0.55, 0.4, -0.32)),
    ),
    "flower": lambda p: without(union(*(disc(p, *petal, 0.38) for petal in PETALS)), disc(p, 0, 0, 0.22)),
    "bolt": lambda p: polygon(p, *BOLT),
}
CLASSES = tuple(OUTLINES)


def render(count: int, seed: int) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Draw a set with as many images of each class as of any other, in random order.

    Returns:
        images (count, 3, 32, 32) uint8; labels (count,) int64, positions in CLASSES; factors {name: (count,) or
        (count, 2) float32}, with the names, ranges and units of STYLE.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    labels = rng.permutation(np.arange(count, dtype=np.int64) % len(CLASSES))  # (count,)
    factors = {}
    for name, (low, high, width) in STYLE.items():
        values = (low + (high - low) * rng.random((count, width))).astype(np.float32)  # (count, width)
        factors[name] = values[:, 0] if width == 1 else values
    images = np.empty((count, 3, SIDE, SIDE), np.uint8)
    for label, outline in enumerate(OUTLINES.values()):
        members = np.flatnonzero(labels == label)
        for rows in np.split(members, range(CHUNK, len(members), CHUNK)):
            images[rows] = paint(outline, {name: values[rows] for name, values in factors.items()})
    return torch.from_numpy(images), torch.from_numpy(labels), {k: torch.from_numpy(v) for k, v in factors.items()}


def paint(outline: Callable, factors: dict[str, ndarray]) -> ndarray:
    """(n, 3, 32, 32) uint8 images of one class with these factors: background, object, occluder, then light on all."""
    middles = (2 * np.arange(SIDE, dtype=np.float32) + 1) / SIDE - 1  # of the pixels, from -1 to 1
    x, y = middles[None, :], -middles[:, None]  # (1, 32) and (32, 1); y points up
    at = {name: values.T[..., None, None] for name, values in factors.items()}  # (n, 1, 1) or (2, n, 1, 1)
    ramp = {name: at[name][0] * x + at[name][1] * y for name in ("background_slope", "texture_waves", "light")}

    one, other = (colour(hue, 0.8, factors["brightness"] - CONTRAST) for hue in factors["background_hue"].T)
    image = one + np.clip(0.5 + ramp["background_slope"], 0, 1)[:, None] * (other - one)  # (n, 3, 32, 32)
    stripes = np.abs(ramp["texture_waves"] % 1 * 4 - 2) - 1  # (n, 32, 32) triangle wave from -1 to 1
    image *= (1 + at["texture"] * stripes)[:, None]

    half = at["rotation"] / 2 * (1 + at["rotation"] ** 2 / 12)  # tangent of half the angle, to within 0.0005
    cosine, sine = (1 - half * half) / (1 + half * half), 2 * half / (1 + half * half)
    u, v = (x - at["position"][0]) / at["scale"], (y - at["position"][1]) / at["scale"]
    u, v = cosine * u + sine * v, cosine * v - sine * u  # (n, 32, 32) along the object's own axes
    distance = outline((np.where(at["facing"] < 0, -u, u), v)) * at["scale"]
    image = cover(image, distance, colour(factors["hue"], 0.4, factors["brightness"]))
    image = cover(image, disc((x, y), *at["occluder"], 0.16), np.float32(0.5))
    image *= 1 + ramp["light"][:, None]
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def cover(image: ndarray, distance: ndarray, coat: ndarray) -> ndarray:
    """Paint over what lies inside an outline; a pixel on it takes its share, which makes edges smooth."""
    return image + np.clip(0.5 - distance * (SIDE / 2), 0, 1)[:, None] * (coat - image)


def colour(hue: ndarray, saturation: float, brightness: ndarray) -> ndarray:
    """(n,) hues in turns and (n,) values, as in HSV -> (n, 3, 1, 1) red, green, blue."""
    pure = np.clip(np.abs((6 * hue[:, None] + np.float32([0, 4, 2])) % 6 - 3) - 1, 0, 1)  # (n, 3)
    return (brightness[:, None] * (1 - saturation * (1 - pure)))[..., None, None]
