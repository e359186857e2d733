"""The embedding explorer of notebook 06: maps of a representation to point at. Its JavaScript is evaluation.js.

All of it happens in the browser: hovering, the lasso, neighbours and the slider through training need no kernel.
"""

import math

from matplotlib import colormaps
from matplotlib.colors import to_hex
from torch import Tensor, nn
from traitlets import Bytes, Dict, Float, Int, List

from helpers import plots
from helpers.data import ImageSet
from helpers.latent_space import EmbeddingMap
from helpers.widgets.core import Widget, encode, montage

MOST = 10_000  # images; what was tried at 30 frames a second without a graphics card
PALETTE = (  # petroff10: ten colours that stay apart for colour-blind readers
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
BINS = 16  # colours of a scale


class Explorer(Widget):
    """Maps of M images; `selection` holds the images inside the lasso, in their order, once it is closed."""

    script = "evaluation.js"
    sprites = Bytes().tag(sync=True)  # a JPEG with the M pictures, row by row
    side, columns, count, each = (Int().tag(sync=True) for _ in range(4))  # pixels; pictures a row; M; neighbours
    maps = List().tag(sync=True)  # of {name, of: the representation, knn, training}
    places = Bytes().tag(sync=True)  # uint16 (maps, M, 2), 65535 is the right or upper edge
    neighbours = Bytes().tag(sync=True)  # uint16 (maps, M, each)
    classes = List().tag(sync=True)  # C names; empty without labels
    labels = Bytes().tag(sync=True)  # uint8 (M,)
    colourings = List().tag(sync=True)  # of {name, kind: "class" or "range", colours, low, high}
    values = Bytes().tag(sync=True)  # uint8 (colourings, M): a class, or 0 to 255 from low to high
    chance = Float(0.0).tag(sync=True)
    selection = List(Int()).tag(sync=True)
    options = Dict().tag(sync=True)  # what is shown first: {"map": name}
    exported = (
        "sprites", "side", "columns", "count", "each", "maps", "places", "neighbours", "classes", "labels",
        "colourings", "values", "chance", "selection", "options",
    )  # fmt: skip


def explorer(
    images: ImageSet,
    maps: dict[str, EmbeddingMap],
    training: dict[str, EmbeddingMap] | None = None,
    angles: tuple[str, ...] = ("hue", "background_hue"),
    neighbours: int = 8,
) -> Explorer:
    """The explorer of these images: hover, lasso, nearest neighbours, colours by class or factor, training moments.

    Args:
        images: at most 10,000, with labels and factors where there are any.
        maps: {representation: its map}; the last one is shown first. A second map of the same by another method is named
            "representation, method".
        training: {moment: map of h then}, in the order of time.
        angles: factors in turns, drawn in colours that come round to where they began.
        neighbours: nearest images shown for a clicked one.

    Raises:
        ValueError: more than 10,000 images or 256 classes, or maps of other images.
    """
    count, everything = len(images), maps | (training or {})
    if count > MOST:
        raise ValueError(f"{count:,} images are more than the {MOST:,} the explorer was tried with; take a subset.")
    if len(images.classes) > 256:
        raise ValueError(f"{len(images.classes)} classes are more than the 256 the explorer has room for.")
    wrong = [name for name, one in everything.items() if len(one.points) != count]
    if wrong:
        raise ValueError(f"the map {wrong[0]!r} has {len(everything[wrong[0]].points)} points for {count} images.")
    each = min(neighbours, *(one.neighbours.shape[1] for one in everything.values()))
    named = [named_map(name, one, several=len({one.method for one in maps.values()}) > 1) for name, one in maps.items()]
    moments = [{"name": name, "of": name, "knn": one.knn, "training": True} for name, one in (training or {}).items()]
    pictures, columns = thumbnails(images.images), math.ceil(count**0.5)
    colourings, values = colours_of(images, angles)
    widget = Explorer(
        sprites=encode(montage(pictures, columns)),
        side=pictures.shape[-1],
        columns=columns,
        count=count,
        each=each,
        maps=[*named, *moments],
        places=b"".join(pack(65535 * one.points.clamp(0, 1), "uint16") for one in everything.values()),
        neighbours=b"".join(pack(one.neighbours[:, :each], "uint16") for one in everything.values()),
        classes=list(images.classes) if images.labels is not None else [],
        labels=pack(images.labels, "uint8") if images.labels is not None else bytes(count),
        colourings=colourings,
        values=b"".join(values),
        chance=images.labels.bincount().max().item() / count if images.labels is not None else 0.0,
        options={"map": named[-1]["name"]},
    )
    widget.title = f"Embedding explorer: {count:,} images"
    return widget


def named_map(name: str, one: EmbeddingMap, several: bool) -> dict:
    """How the explorer lists a map: its representation, with the method where the maps were made by several."""
    of = name.removesuffix(f", {one.method}")
    return {"name": f"{of}, {one.method}" if several else of, "of": of, "knn": one.knn, "training": False}


def explorer_still(images: ImageSet, maps: dict[str, EmbeddingMap]):
    """The explorer's maps side by side as a matplotlib Figure, each with its k-NN accuracy."""
    labels = images.labels if images.labels is not None else Tensor().new_zeros(len(images)).long()
    classes = images.classes if images.labels is not None else ("image",)
    titles = [name if one.knn is None else f"{name}\nk-NN {one.knn:.1%}" for name, one in maps.items()]
    return plots.maps([[one.points for one in maps.values()]], [titles], labels, classes)


def thumbnails(images: Tensor) -> Tensor:
    """(M, 3, H, W) uint8 -> (M, 3, S, S) uint8, S at most 48 pixels and a multiple of 16, as JPEG's blocks are."""
    side = 16 * max(1, min(48 if len(images) <= 4000 else 32, images.shape[-1]) // 16)
    if images.shape[-1] == side:
        return images
    return nn.functional.adaptive_avg_pool2d(images.float(), side).round().byte()


def colours_of(images: ImageSet, angles: tuple[str, ...]) -> tuple[list[dict], list[bytes]]:
    """What the points can be coloured by, and for each of these a byte an image."""
    colourings, values = [], []
    if images.labels is not None:
        colourings.append({"name": "class", "kind": "class", "colours": list(PALETTE), "low": 0, "high": 0})
        values.append(pack(images.labels, "uint8"))
    for factor, columns in images.factors.items():
        table = columns.reshape(len(images), -1).float()  # (M, k)
        scale = colormaps["twilight" if factor in angles else "cividis"]
        for index, column in enumerate(table.T):
            low, high = column.min().item(), column.max().item()
            name = factor.replace("_", " ") + (f" {index + 1}" if table.shape[1] > 1 else "")
            colours = [to_hex(scale((place + 0.5) / BINS)) for place in range(BINS)]
            colourings.append({"name": name, "kind": "range", "colours": colours, "low": low, "high": high})
            values.append(pack(255 * (column - low) / max(high - low, 1e-12), "uint8"))
    if not colourings:
        colourings.append({"name": "nothing", "kind": "class", "colours": [PALETTE[0]], "low": 0, "high": 0})
        values.append(bytes(len(images)))
    return colourings, values


def pack(numbers: Tensor, kind: str) -> bytes:
    """Whole numbers as little-endian bytes, as the browser reads them."""
    return numbers.round().numpy().astype("<u2" if kind == "uint16" else "u1").tobytes()
