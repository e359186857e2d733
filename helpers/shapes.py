"""The built-in images: ten kinds of object, drawn from a seed in seconds, every factor known. No files are read.

The class is the content; hue, place, size, turn, light, texture and an occluder are style, independent of the class.
An object is a signed distance, negative inside its outline and positive outside, about 1 in radius. Images are the same
bit for bit on every machine: random bits from PCG64, then only + - * / sqrt, remainders and comparisons, which IEEE 754
rounds alike everywhere; no sine, no matrix product.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

SIDE = 32  # pixels
CHUNK = 256  # images drawn at once: their work arrays fit the processor's cache


def disc(x: ndarray, y: ndarray, centre: tuple, radius: float) -> ndarray:
    return np.sqrt((x - centre[0]) ** 2 + (y - centre[1]) ** 2) - radius


def ring(x: ndarray, y: ndarray, centre: tuple, radius: float, width: float) -> ndarray:
    return np.abs(disc(x, y, centre, radius)) - width / 2


def polygon(x: ndarray, y: ndarray, *corners: tuple) -> ndarray:
    nearest, inside = np.full_like(x, np.inf), np.zeros(x.shape, bool)
    for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True):
        px, py, ex, ey = x - ax, y - ay, bx - ax, by - ay  # from the corner to the point, and to the next corner
        share = np.clip((px * ex + py * ey) / (ex * ex + ey * ey), 0, 1)  # of the edge, to the place nearest the point
        nearest = np.minimum(nearest, (px - share * ex) ** 2 + (py - share * ey) ** 2)
        if ey:  # from inside, a ray to the right crosses an odd number of edges
            inside ^= ((y < ay) != (y < by)) & (px < py * (ex / ey))
    return np.where(inside, -1, 1) * np.sqrt(nearest)


def box(x: ndarray, y: ndarray, left: float, bottom: float, right: float, top: float) -> ndarray:
    return polygon(x, y, (left, bottom), (right, bottom), (right, top), (left, top))


def union(*parts: ndarray) -> ndarray:
    return np.minimum.reduce(parts)


def without(whole: ndarray, *holes: ndarray) -> ndarray:
    return np.maximum.reduce([whole, *(-hole for hole in holes)])


STAR = ((0, 1), (-0.24, 0.32), (-0.95, 0.31), (-0.38, -0.12), (-0.59, -0.81), (0, -0.4))  # left half, top to bottom
STAR += ((0.59, -0.81), (0.38, -0.12), (0.95, 0.31), (0.24, 0.32))
BOLT = ((0.3, 1), (-0.6, -0.1), (-0.08, -0.1), (-0.35, -1), (0.62, 0.25), (0.1, 0.25), (0.6, 1))
PETALS = ((0, 0.6), (-0.57, 0.19), (-0.35, -0.49), (0.35, -0.49), (0.57, 0.19))

OUTLINES = {  # class: signed distance of the points (x, y); x points right, y up
    "star": lambda x, y: polygon(x, y, *STAR),
    "heart": lambda x, y: union(
        *(disc(x, y, (side, 0.35), 0.48) for side in (-0.44, 0.44)),
        polygon(x, y, (-0.82, 0.06), (0, -0.95), (0.82, 0.06), (0, 0.5)),
    ),
    "moon": lambda x, y: without(disc(x, y, (0, 0), 0.95), disc(x, y, (0.5, 0.15), 0.78)),
    "tree": lambda x, y: union(
        polygon(x, y, (0, 1), (-0.52, 0.25), (0.52, 0.25)),
        polygon(x, y, (0, 0.6), (-0.72, -0.25), (0.72, -0.25)),
        polygon(x, y, (0, 0.1), (-0.85, -0.7), (0.85, -0.7)),
        box(x, y, -0.16, -1, 0.16, -0.6),
    ),
    "house": lambda x, y: without(
        union(
            box(x, y, -0.7, -0.8, 0.7, 0.2),
            polygon(x, y, (-0.98, 0.1), (0.98, 0.1), (0, 0.95)),
            box(x, y, 0.42, 0.2, 0.7, 0.85),
        ),
        box(x, y, -0.2, -0.9, 0.2, -0.2),
    ),
    "fish": lambda x, y: without(
        union(
            np.maximum(disc(x, y, (-0.22, -0.5), 0.95), disc(x, y, (-0.22, 0.5), 0.95)),
            polygon(x, y, (0.3, 0), (1, 0.6), (0.82, 0), (1, -0.6)),
        ),
        disc(x, y, (-0.62, 0.1), 0.1),
    ),
    "mug": lambda x, y: union(box(x, y, -0.8, -0.8, 0.4, 0.8), ring(x, y, (0.42, 0), 0.4, 0.22)),
    "key": lambda x, y: union(
        ring(x, y, (0, 0.55), 0.31, 0.28),
        box(x, y, -0.13, -0.98, 0.13, 0.25),
        box(x, y, 0, -0.95, 0.48, -0.72),
        box(x, y, 0, -0.55, 0.4, -0.32),
    ),
    "flower": lambda x, y: without(union(*(disc(x, y, petal, 0.38) for petal in PETALS)), disc(x, y, (0, 0), 0.22)),
    "bolt": lambda x, y: polygon(x, y, *BOLT),
}
CLASSES = tuple(OUTLINES)

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
CONTRAST = 0.26  # small, so that hues, not outlines, decide which raw pixels are alike


def render(count: int, seed: int) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Draw `count` images, as many of each class as of any other, in random order.

    Returns:
        images (count, 3, 32, 32) uint8; labels (count,) int64, positions in CLASSES; factors {name: (count,) or
        (count, 2) float32}, with the names, ranges and units of STYLE.

    Raises:
        ValueError: a negative count.
    """
    if count < 0:
        raise ValueError(f"count is {count}; draw 0 images or more.")
    rng = np.random.Generator(np.random.PCG64(seed))
    labels = rng.permutation(np.arange(count) % len(CLASSES))  # (count,)
    factors = {name: uniform(rng, count, *drawn) for name, drawn in STYLE.items()}
    images = np.empty((count, 3, SIDE, SIDE), np.uint8)
    for label, outline in enumerate(OUTLINES.values()):
        members = np.flatnonzero(labels == label)
        for rows in np.split(members, range(CHUNK, len(members), CHUNK)):
            images[rows] = paint(outline, {name: values[rows] for name, values in factors.items()})
    return torch.from_numpy(images), torch.from_numpy(labels), {k: torch.from_numpy(v) for k, v in factors.items()}


def uniform(rng: np.random.Generator, count: int, low: float, high: float, width: int) -> ndarray:
    """(count,) float32 between low and high, or (count, width) for a width above 1."""
    values = low + (high - low) * rng.random((count, width))
    return (values[:, 0] if width == 1 else values).astype(np.float32)


def paint(outline: Callable, factors: dict[str, ndarray]) -> ndarray:
    """(n, 3, 32, 32) uint8 images of one class with these factors: background, object, occluder, then light on all."""
    middles = (2 * np.arange(SIDE, dtype=np.float32) + 1) / SIDE - 1  # of the pixels, from -1 to 1
    x, y = middles[None, :], -middles[:, None]  # (1, 32) and (32, 1); y points up
    at = {name: values.T[..., None, None] for name, values in factors.items()}  # (n, 1, 1) or (2, n, 1, 1)

    def along(arrows: ndarray) -> ndarray:
        return arrows[0] * x + arrows[1] * y  # (2, n, 1, 1) -> (n, 32, 32)

    front = colour(factors["hue"], 0.4, factors["brightness"])  # (n, 3, 1, 1)
    one, other = (colour(hue, 0.8, factors["brightness"] - CONTRAST) for hue in factors["background_hue"].T)
    image = one + np.clip(0.5 + along(at["background_slope"]), 0, 1)[:, None] * (other - one)  # (n, 3, 32, 32)
    stripes = np.abs(along(at["texture_waves"]) % 1 * 4 - 2) - 1  # (n, 32, 32) triangle wave from -1 to 1
    image *= (1 + at["texture"] * stripes)[:, None]

    u, v = turned(x - at["position"][0], y - at["position"][1], at["rotation"])  # (n, 32, 32) the object's own axes
    u = np.where(at["facing"] < 0, -u, u)
    image = cover(image, outline(u / at["scale"], v / at["scale"]) * at["scale"], front)
    image = cover(image, disc(x, y, at["occluder"], 0.16), np.float32(0.5))
    image *= 1 + along(at["light"])[:, None]
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def cover(image: ndarray, distance: ndarray, paint: ndarray) -> ndarray:
    """Paint over what lies inside an outline; a pixel on it takes its share, which makes edges smooth."""
    share = np.clip(0.5 - distance * (SIDE / 2), 0, 1)[:, None]  # (n, 1, 32, 32)
    return image + share * (paint - image)


def turned(x: ndarray, y: ndarray, angle: ndarray) -> tuple[ndarray, ndarray]:
    """Coordinates in axes turned anticlockwise by a small angle in radians (within 0.001 up to 0.3)."""
    half = angle / 2 * (1 + angle * angle / 12)  # tangent of half the angle; its sine and cosine are then exact
    cosine, sine = (1 - half * half) / (1 + half * half), 2 * half / (1 + half * half)
    return cosine * x + sine * y, cosine * y - sine * x


def colour(hue: ndarray, saturation: float, brightness: ndarray) -> ndarray:
    """(n,) hues in turns, (n,) brightness -> (n, 3, 1, 1) red, green, blue, as in HSV."""
    pure = np.clip(np.abs((6 * hue[:, None] + np.float32([0, 4, 2])) % 6 - 3) - 1, 0, 1)  # (n, 3)
    return (brightness[:, None] * (1 - saturation * (1 - pure)))[..., None, None]
