"""The augmentation studio of notebook 01: sliders for the recipe, its views at once. Its JavaScript is augmentation.js."""

import io
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from PIL import Image, ImageOps
from torch import Tensor
from traitlets import Bytes, Dict, Float, Int, List, Unicode

from helpers import augmentation, operations, plots, policies
from helpers.folder import in_rgb
from helpers.widgets.core import Widget, encode, montage

VIEWS, COLUMNS = 12, 6  # in the grid; the first two are x_a and x_b
GAP = 2  # pixels between views


@dataclass(frozen=True)
class Settings:
    """What the sliders say, whole numbers as a screen reader reads them out; the defaults are the paper's for CIFAR-10."""

    smallest: int = 8  # crop, % of the image's area
    largest: int = 100  # crop, %
    widest: int = 133  # width of the widest crop, % of its height; the narrowest is its inverse
    strength: int = 50  # of the colour distortion, %
    brightness: int = 80  # reach at strength 1, ± %
    contrast: int = 80
    saturation: int = 80
    hue: int = 20  # ± % of the colour circle
    jittered: int = 80  # % of the views whose colours change
    grey: int = 20  # % of the views
    flipped: int = 50
    blurred: int = 0
    seed: int = 0


SLIDERS = (  # field of Settings, label, lowest, highest, unit (# stands for the number)
    ("smallest", "smallest crop", 1, 100, "% of the image"),
    ("largest", "largest crop", 1, 100, "% of the image"),
    ("widest", "widest crop", 100, 300, "% as wide as high"),
    ("flipped", "flipped", 0, 100, "% of views"),
    ("strength", "colour strength", 0, 125, "%"),
    ("brightness", "of it, brightness", 0, 100, "± # %"),
    ("contrast", "of it, contrast", 0, 100, "± # %"),
    ("saturation", "of it, saturation", 0, 100, "± # %"),
    ("hue", "of it, hue", 0, 40, "± # % of the circle"),
    ("jittered", "jittered", 0, 100, "% of views"),
    ("grey", "grey", 0, 100, "% of views"),
    ("blurred", "blurred", 0, 100, "% of views"),
    ("seed", "seed", 0, 100, ""),
)


class Studio(Widget):
    """Sliders on the browser's side, pictures on this one: whenever `settings` change, a new grid of views is sent."""

    script, title = "augmentation.js", "Augmentation studio"
    sliders, names = List().tag(sync=True), List().tag(sync=True)
    settings = Dict().tag(sync=True)
    picture = Unicode().tag(sync=True)  # one of the names
    upload = Bytes().tag(sync=True, from_json=lambda view, widget: bytes(view or b""))  # the learner's own, as a file
    compare = Int(0).tag(sync=True)  # 1 while the policies are shown side by side
    original, views, rows = (Bytes().tag(sync=True) for _ in range(3))  # JPEG or PNG files
    shape = List().tag(sync=True)  # height and width of the picture in pixels
    side, columns, gap = Int().tag(sync=True), Int(COLUMNS).tag(sync=True), Int(GAP).tag(sync=True)
    boxes = List().tag(sync=True)  # [top, left, height, width] of each view's crop
    histograms = List().tag(sync=True)  # [x_a, x_b], each three channels of 32 shares
    similarity = Float().tag(sync=True)
    code, words, problem = (Unicode().tag(sync=True) for _ in range(3))
    drawn = Int(0).tag(sync=True)  # counts the drawings; the last to change

    def __init__(self, pictures: dict[str, Tensor]):
        first = next(iter(pictures))
        super().__init__(sliders=[list(row) for row in SLIDERS], names=list(pictures), picture=first)
        self.pictures, self.settings = dict(pictures), dict(vars(Settings()))
        self._encoded = None  # the picture that has been sent
        self.draw()
        self.observe(lambda change: self.draw(), ["settings", "picture", "compare"])
        self.observe(lambda change: self.add_upload(change.new), "upload")

    def draw(self) -> None:
        """Make the views of the present settings and send all that belongs to them in one message."""
        image, settings = self.pictures[self.picture], Settings(**self.settings)
        size = view_size(image)
        views, boxes = studio_views(image, settings, size)
        shares = augmentation.color_histograms(views[:2])  # (2, 3, 32)
        with self.hold_sync():
            if self._encoded is not image:
                self.original, self.shape, self.side = encode(image, kind(size)), list(image.shape[1:]), size
                self._encoded = image
            self.views = encode(montage(views, COLUMNS, GAP), kind(size))
            self.boxes = boxes.tolist()
            self.histograms = shares.tolist()
            self.similarity = augmentation.histogram_similarity(views[0], views[1])
            self.code = studio_code(settings, size)
            self.words = f"{VIEWS} views of {self.picture}: {in_words(settings)}"
            if self.compare:
                self.rows = encode(montage(policy_rows(image, settings.seed, size), COLUMNS, GAP), kind(size))
            self.drawn += 1

    def add_upload(self, file: bytes) -> None:
        """Take the learner's own picture among the others and show it; say so where it cannot be read."""
        try:
            image = in_rgb(ImageOps.exif_transpose(Image.open(io.BytesIO(file))))
            image.thumbnail((240, 240))
        except Exception as reason:  # a broken file may raise anything
            self.problem = f"That file could not be read as a picture: {type(reason).__name__}."
            return
        pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
        self.pictures["your picture"] = pixels.view(image.height, image.width, 3).permute(2, 0, 1).contiguous()
        with self.hold_sync():
            self.problem, self.names = "", list(self.pictures)
        if self.picture == "your picture":
            self.draw()
        self.picture = "your picture"


def augmentation_studio(pictures: dict[str, Tensor]) -> Studio:
    """The recipe of 01 under sliders: crop boxes, views, histograms and code follow at once.

    Args:
        pictures: {name: (3, H, W) uint8}; views of pictures up to 64 pixels are 32 pixels wide, of others 64.
    """
    return Studio(pictures)


def studio_still(pictures: dict[str, Tensor]) -> Figure:
    """The first picture, its views under the default settings, and every policy, as a matplotlib Figure."""
    image = next(iter(pictures.values()))
    size = view_size(image)
    views = studio_views(image, Settings(), size)[0][:COLUMNS]
    rows = torch.cat([views, policy_rows(image, 0, size)])
    return plots.image_grid(rows, columns=COLUMNS, row_labels=["the sliders'", *policies.NAMES])


def view_size(image: Tensor) -> int:
    """Side of a view in pixels."""
    return 32 if min(image.shape[1:]) <= 64 else 64


def kind(size: int) -> str:
    """Small pictures as PNG, since they are shown magnified; others as JPEG, since those are sent faster."""
    return "PNG" if size == 32 else "JPEG"


def studio_views(image: Tensor, settings: Settings, size: int) -> tuple[Tensor, Tensor]:
    """Views of one image (3, H, W) uint8: (VIEWS, 3, size, size) float in [0, 1], and (VIEWS, 4) their crops' boxes."""
    generator = torch.Generator().manual_seed(settings.seed)
    area = min(settings.smallest, settings.largest) / 100, settings.largest / 100
    boxes = operations.crop_boxes(VIEWS, *image.shape[1:], area, generator, settings.widest / 100)
    flipped = operations.uniform(VIEWS, 1, generator)[:, 0] < settings.flipped / 100
    parts = tuple(getattr(settings, name) / 100 for name in ("brightness", "contrast", "saturation", "hue"))
    factors, order = operations.jitter_factors(
        VIEWS, settings.strength / 100, generator, parts, settings.jittered / 100
    )
    grey = operations.uniform(VIEWS, 1, generator)[:, 0] < settings.grey / 100
    views = operations.crop_resize_flip(image.expand(VIEWS, -1, -1, -1) / 255, boxes, flipped, size)
    views = operations.jitter(views, factors, order)
    views[grey] = operations.to_grey(views[grey]).expand(-1, 3, -1, -1)
    return augmentation.random_blur(views, generator, settings.blurred / 100), boxes


def policy_rows(image: Tensor, seed: int, size: int) -> Tensor:
    """(4 · COLUMNS, 3, size, size): one row of views a policy, all of the same image."""
    images = image.expand(COLUMNS, -1, -1, -1)
    views = [policies.policy_views(name, images, torch.Generator().manual_seed(seed), size) for name in policies.NAMES]
    return torch.cat(views)


def studio_code(settings: Settings, size: int) -> str:
    """torchvision code of the same transform, for one picture (3, H, W), uint8 or float in [0, 1]."""
    s, widest = settings.strength / 100, settings.widest / 100
    low, high = min(settings.smallest, settings.largest) / 100, settings.largest / 100
    reach = [
        min(getattr(settings, n) / 100 * s, 0.5 if n == "hue" else 9)
        for n in ("brightness", "contrast", "saturation", "hue")
    ]
    names = ", ".join(
        f"{n}={r:.3g}" for n, r in zip(("brightness", "contrast", "saturation", "hue"), reach, strict=True)
    )
    width = operations.blur_width(size)
    return f"""import torch
from torchvision.transforms import v2

transform = v2.Compose([
    v2.ToDtype(torch.float32, scale=True),
    v2.RandomResizedCrop({size}, scale=({low:g}, {high:g}), ratio=({1 / widest:.4g}, {widest:.4g}), antialias=True),
    v2.RandomHorizontalFlip(p={settings.flipped / 100:g}),
    v2.RandomApply([v2.ColorJitter({names})], p={settings.jittered / 100:g}),
    v2.RandomGrayscale(p={settings.grey / 100:g}),
    v2.RandomApply([v2.GaussianBlur({width}, sigma=(0.1, 2.0))], p={settings.blurred / 100:g}),
])"""


def in_words(settings: Settings) -> str:
    """The settings as one sentence."""
    return (
        f"crops of {min(settings.smallest, settings.largest)} to {settings.largest} percent, {settings.flipped} percent "
        f"flipped, colour strength {settings.strength / 100:.2f}, {settings.grey} percent grey, {settings.blurred} percent "
        f"blurred, seed {settings.seed}."
    )
