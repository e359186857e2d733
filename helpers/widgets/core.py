"""What all widgets share: their JavaScript and style, a still picture for where they cannot run, export to one file.

A widget's JavaScript stands beside its module and is read when the widget is made. Nothing is fetched from anywhere.
"""

import base64
import html
import io
import json
from pathlib import Path

import anywidget
import torch
from IPython.display import HTML, display
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from helpers import plots

HERE = Path(__file__).parent


class Widget(anywidget.AnyWidget):
    """A widget that is drawn by `core.js` and a script of its own, in the course's style, and can be described in words.

    A subclass names its `script` and lists in `exported` the traits that a page of its own needs.
    """

    script, exported, title = "", (), "widget"

    @property
    def _esm(self) -> str:
        return (HERE / "core.js").read_text(encoding="utf-8") + (HERE / self.script).read_text(encoding="utf-8")

    @property
    def _css(self) -> str:
        return (HERE / "style.css").read_text(encoding="utf-8")

    def __repr__(self) -> str:
        return f"{self.title}. It moves in JupyterLab while the kernel runs; elsewhere a picture stands in for it."


def show(widget: Widget, still: Figure, alt: str) -> None:
    """Display a widget, and as an output of its own a still picture, which is hidden wherever the widget runs.

    Args:
        alt: what a sighted reader sees in the still picture.
    """
    display(widget)
    display(still_of(widget, plots.picture(still, alt)))


def still_of(widget: Widget, picture: str, words: str = "") -> HTML:
    """What stands in for a widget: a picture as HTML, and below it a note, with these words before it."""
    note = f"{widget.title}, as a still picture: it moves in JupyterLab while the kernel runs, and not on this page."
    caption = html.escape(f"{words} {note}".strip())
    return HTML(
        f'<figure class="two-views-still" style="margin:0">{picture}<figcaption>{caption}</figcaption></figure>'
    )


def save_page(widget: Widget, path: str | Path, text: str = "") -> Path:
    """Write the widget as one HTML file that needs no kernel, no server and no network.

    Args:
        text: one or two sentences below the heading.
    """
    state = {name: getattr(widget, name) for name in widget.exported}
    packed = {
        name: {"bytes": base64.b64encode(value).decode()} if isinstance(value, bytes) else {"value": value}
        for name, value in state.items()
    }
    script = widget._esm.replace("export default", "const widget =")
    page = (HERE / "page.html").read_text(encoding="utf-8")
    parts = {
        "TITLE": html.escape(widget.title),
        "TEXT": html.escape(text),
        "STYLE": widget._css,
        "STATE": json.dumps(packed).replace("</", "<\\/"),
        "SCRIPT": script,
    }
    for name, part in parts.items():
        page = page.replace(f"<!--{name}-->", part)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def encode(pixels: Tensor, kind: str = "JPEG") -> bytes:
    """(3, H, W) uint8, or float in [0, 1] -> the bytes of a JPEG or PNG file; made for speed, as a slider waits for it."""
    if pixels.dtype != torch.uint8:
        pixels = (255 * pixels.clamp(0, 1)).round().byte()
    settings = {"JPEG": {"quality": 85}, "PNG": {"compress_level": 1}}[kind]
    buffer = io.BytesIO()
    Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy()).save(buffer, format=kind, **settings)
    return buffer.getvalue()


def montage(images: Tensor, columns: int, gap: int = 0) -> Tensor:
    """(M, 3, H, W) -> (3, rows · (H + gap) - gap, columns · (W + gap) - gap), row by row, grey where nothing is."""
    rows = -(-len(images) // columns)
    count, channels, height, width = images.shape
    grey = 128 if images.dtype == torch.uint8 else 0.5
    sheet = images.new_full((rows * columns, channels, height + gap, width + gap), grey)
    sheet[:count, :, :height, :width] = images
    sheet = sheet.view(rows, columns, channels, height + gap, width + gap).permute(2, 0, 3, 1, 4)
    sheet = sheet.reshape(channels, rows * (height + gap), columns * (width + gap))
    return sheet[:, : rows * (height + gap) - gap, : columns * (width + gap) - gap]
