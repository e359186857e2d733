"""The widgets without a browser: what they are handed, what they hand back, what stands in where they cannot run."""

import base64
import functools
import io
import json
import math
import re
from dataclasses import replace
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from helpers import board, evaluation, latent_space, losses, shapes, widgets
from helpers.data import ImageSet
from helpers.widgets.training import live_panels, smooth


@pytest.fixture(scope="module")
def pictures() -> ImageSet:
    images, labels, factors = shapes.render(60, seed=3)
    return ImageSet(images, labels, tuple(shapes.CLASSES), factors)


@pytest.fixture(scope="module")
def space(pictures) -> dict[str, latent_space.EmbeddingMap]:
    pixels = pictures.images.flatten(1) / 255
    noise = torch.randn(60, 8, generator=torch.Generator().manual_seed(1))
    return {name: latent_space.embedding_map(h, pictures.labels) for name, h in (("pixels", pixels), ("noise", noise))}


# the embedding explorer


def test_the_neighbours_of_an_embedding_map_are_the_nearest_other_images(pictures):
    h = torch.randn(40, 5, generator=torch.Generator().manual_seed(0))
    one = latent_space.embedding_map(h, pictures.labels[:40], k=6)
    cosine = torch.nn.functional.normalize(h, dim=1) @ torch.nn.functional.normalize(h, dim=1).T
    assert torch.equal(one.neighbours, cosine.fill_diagonal_(-2).topk(6, dim=1).indices)


def test_an_embedding_map_has_the_accuracy_of_asking_all_others(pictures):
    h = torch.randn(40, 5, generator=torch.Generator().manual_seed(0))
    y = pictures.labels[:40]
    one = latent_space.embedding_map(h, y, k=6)
    right = 0
    for row in range(40):
        others = torch.arange(40) != row
        right += evaluation.knn_accuracy(h[others], y[others], h[row : row + 1], y[row : row + 1], k=6)
    assert one.knn == pytest.approx(right / 40)


def test_equal_images_are_neighbours_of_each_other_and_never_of_themselves():
    one = latent_space.embedding_map(torch.ones(20, 3).index_fill(0, torch.arange(10), 2.0), torch.arange(20) % 2, k=4)
    assert (one.neighbours != torch.arange(20)[:, None]).all()


def test_a_map_that_starts_from_another_keeps_its_images_nearer_to_where_they_were(pictures):
    h = torch.randn(60, 6, generator=torch.Generator().manual_seed(2))
    h[:30] += 4
    first = latent_space.project(h, "t-SNE")
    again = latent_space.project(h + 0.01, "t-SNE", start=first)
    afresh = latent_space.project(h + 0.01, "t-SNE", seed=5)
    assert (again - first).norm(dim=1).mean() < (afresh - first).norm(dim=1).mean()


def test_the_explorer_packs_points_neighbours_and_labels_as_the_browser_reads_them(pictures, space):
    widget = widgets.explorer(pictures, space, {"untrained": space["noise"]})
    places = np.frombuffer(widget.places, "<u2").reshape(3, 60, 2)
    assert np.allclose(places[0] / 65535, space["pixels"].points, atol=1e-4)
    near = np.frombuffer(widget.neighbours, "<u2").reshape(3, 60, widget.each)
    assert np.array_equal(near[1], space["noise"].neighbours[:, : widget.each])
    assert list(widget.labels) == pictures.labels.tolist()
    assert [one["training"] for one in widget.maps] == [False, False, True]


def test_every_picture_stands_in_its_place_on_the_explorers_sheet(pictures, space):
    widget = widgets.explorer(pictures, space)
    sheet = np.asarray(Image.open(io.BytesIO(widget.sprites)).convert("RGB")).astype(float)
    for index in (0, 17, 59):
        row, column = divmod(index, widget.columns)
        tile = sheet[row * widget.side :, column * widget.side :][: widget.side, : widget.side]
        assert np.abs(tile - pictures.images[index].permute(1, 2, 0).numpy()).mean() < 12  # JPEG rounds


def test_the_explorer_colours_by_class_and_by_every_number_of_every_factor(pictures, space):
    widget = widgets.explorer(pictures, space)
    names = [one["name"] for one in widget.colourings]
    assert names[:2] == ["class", "hue"] and {"position 1", "position 2", "occluder 2"} <= set(names)
    values = np.frombuffer(widget.values, "u1").reshape(len(names), 60)
    brightness, one = pictures.factors["brightness"].numpy(), widget.colourings[names.index("brightness")]
    back = one["low"] + (one["high"] - one["low"]) * values[names.index("brightness")] / 255
    assert np.allclose(back, brightness, atol=1e-2 * (one["high"] - one["low"]))


def test_the_explorer_names_the_method_where_a_representation_has_maps_by_several(pictures, space):
    by_umap = replace(space["pixels"], points=1 - space["pixels"].points, method="UMAP")
    widget = widgets.explorer(pictures, {"pixels, UMAP": by_umap} | space, {"before": space["noise"]})
    assert [one["name"] for one in widget.maps] == ["pixels, UMAP", "pixels, t-SNE", "noise, t-SNE", "before"]
    assert [one["of"] for one in widget.maps] == ["pixels", "pixels", "noise", "before"]
    assert widget.maps[0]["knn"] == widget.maps[1]["knn"] and widget.options == {"map": "noise, t-SNE"}


def test_the_explorer_works_without_labels_and_factors_and_says_that_accuracy_is_unknown(pictures):
    bare = ImageSet(pictures.images, None)
    one = latent_space.embedding_map(pictures.images.flatten(1).float(), None)
    widget = widgets.explorer(bare, {"pixels": one})
    assert one.knn is None and widget.classes == [] and widget.maps[0]["knn"] is None
    assert widgets.explorer_still(bare, {"pixels": one}).axes


def test_the_explorer_refuses_what_it_has_no_room_for_and_maps_of_other_images(pictures, space):
    many = ImageSet(torch.zeros(10_001, 3, 2, 2, dtype=torch.uint8), None)
    with pytest.raises(ValueError, match="10,001 images are more than the 10,000"):
        widgets.explorer(many, space)
    with pytest.raises(ValueError, match="the map 'pixels' has 60 points for 59 images"):
        widgets.explorer(pictures.subset(torch.arange(59)), space)


# what all share


def test_a_widget_is_displayed_together_with_a_still_picture_that_has_alternative_text(pictures, space, monkeypatch):
    shown = []
    monkeypatch.setattr("helpers.widgets.core.display", shown.append)
    widget = widgets.explorer(pictures, space)
    widgets.show(widget, widgets.explorer_still(pictures, space), alt="Two maps <of> 60 images.")
    assert shown[0] is widget
    assert 'alt="Two maps &lt;of&gt; 60 images."' in shown[1].data and "still picture" in shown[1].data
    assert "JupyterLab" in repr(widget)


def test_an_exported_page_is_one_file_that_names_no_address(pictures, space, tmp_path):
    path = widgets.save_page(widgets.explorer(pictures, space), tmp_path / "new" / "page.html", "Sixty & more.")
    text = path.read_text(encoding="utf-8")
    addresses = set(re.findall(r"https?://[^\s\"'`)]+", text)) - {"http://www.w3.org/2000/svg"}  # a name, not fetched
    assert not addresses and "<!--" not in text
    assert "<h1>Embedding explorer: 60 images</h1>" in text and "Sixty &amp; more." in text
    state = json.loads(re.search(r'id="state">(.*?)</script>', text, flags=re.S).group(1))
    assert state["count"] == {"value": 60}


# the augmentation studio


@pytest.fixture
def studio():
    image = shapes.render(1, seed=5)[0][0]
    return widgets.augmentation_studio({"one": image, "other": 255 - image})


def png(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def grid(studio) -> torch.Tensor:
    """(12, 3, 32, 32) the views in the studio's picture."""
    sheet = torch.from_numpy(png(studio.views).copy()).permute(2, 0, 1)
    sheet = torch.nn.functional.pad(sheet, (0, 2, 0, 2))
    tiles = sheet.unfold(1, 34, 34).unfold(2, 34, 34)  # (3, 2, 6, 34, 34)
    return tiles.permute(1, 2, 0, 3, 4).reshape(12, 3, 34, 34)[:, :, :32, :32]


PLAIN = {"smallest": 100, "widest": 100, "strength": 0, "grey": 0, "flipped": 0, "blurred": 0}


@pytest.mark.parametrize("name, value", [("seed", 3), ("smallest", 90), ("strength", 100), ("hue", 0), ("grey", 100), ("flipped", 100), ("blurred", 100), ("widest", 300), ("largest", 20), ("jittered", 0), ("brightness", 0), ("contrast", 0), ("saturation", 0)])  # fmt: skip
def test_every_slider_of_the_studio_changes_the_views(studio, name, value):
    before = grid(studio)
    studio.settings = studio.settings | {name: value}
    assert not torch.equal(before, grid(studio))


def test_a_studio_that_changes_nothing_shows_the_picture_itself(studio):
    studio.settings = studio.settings | PLAIN
    image = shapes.render(1, seed=5)[0][0]
    assert (grid(studio).int() - image.int()).abs().max() <= 1
    assert studio.similarity == pytest.approx(1.0) and studio.boxes[0] == [0, 0, 32, 32]


def test_all_views_of_the_studio_turn_grey_or_mirrored_where_the_slider_says_so(studio):
    studio.settings = studio.settings | PLAIN | {"grey": 100}
    views = grid(studio).int()
    assert (views[:, 0] - views[:, 1]).abs().max() <= 1
    studio.settings = studio.settings | PLAIN | {"flipped": 100}
    image = shapes.render(1, seed=5)[0][0]
    assert (grid(studio).int() - image.flip(2).int()).abs().max() <= 1


def test_the_studios_code_makes_the_same_views_where_nothing_is_left_to_chance(studio):
    for change in ({}, {"grey": 100}, {"flipped": 100}):
        studio.settings = studio.settings | PLAIN | change
        space = {}
        exec(studio.code, space)
        view = space["transform"](shapes.render(1, seed=5)[0][0])
        assert torch.allclose(view, grid(studio)[0] / 255, atol=0.01)


def test_the_studios_code_has_the_numbers_of_the_sliders(studio):
    studio.settings = studio.settings | {"smallest": 30, "largest": 60, "strength": 100, "hue": 40, "blurred": 50}
    assert "scale=(0.3, 0.6)" in studio.code and "hue=0.4" in studio.code and "p=0.5" in studio.code
    space = {}
    exec(studio.code, space)
    assert space["transform"](torch.rand(3, 50, 40)).shape == (3, 32, 32)


def test_an_uploaded_picture_is_shown_and_a_broken_file_is_told(studio):
    buffer = io.BytesIO()
    Image.new("RGB", (400, 300), (250, 10, 10)).save(buffer, format="PNG")
    studio.upload = buffer.getvalue()
    assert studio.picture == "your picture" and studio.names[-1] == "your picture" and studio.problem == ""
    assert studio.shape == [180, 240] and studio.side == 64
    studio.upload = b"not a picture"
    assert "could not be read" in studio.problem and studio.picture == "your picture"


def test_an_uploaded_picture_is_seen_as_a_folder_of_own_pictures_would_be(studio):
    clear, grey = Image.new("RGBA", (9, 9)), Image.fromarray(np.full((9, 9), 30000, np.uint16))
    for image, value in ((clear, 255), (grey, 30000 // 256)):  # transparent: on white; 16 bits: not clipped at 255
        buffer = io.BytesIO()
        image.save(buffer, format="PNG")
        studio.upload = buffer.getvalue()
        assert studio.problem == "" and studio.pictures["your picture"].unique().tolist() == [value]


def test_the_policies_are_drawn_only_while_they_are_looked_at(studio):
    assert studio.rows == b""
    studio.compare = 1
    assert png(studio.rows).shape == (4 * 34 - 2, 6 * 34 - 2, 3)


# the loss bench


def test_the_bench_starts_with_the_loss_of_its_points():
    bench = widgets.loss_bench([0.1, 2.0, 4.0, 0.4, 2.5, 3.0], temperature=0.2)
    z_a, z_b = bench.embeddings()
    assert z_a.shape == z_b.shape == (3, 2)
    assert bench.loss == pytest.approx(losses.nt_xent(z_a, z_b, 0.2).item())
    assert len(widgets.loss_bench_still(bench).axes) >= 2


def test_the_bench_wants_two_angles_an_image():
    with pytest.raises(ValueError, match="5 angles are given; two for each image"):
        widgets.loss_bench([0.0] * 5)


# live training


@pytest.fixture
def shown(monkeypatch) -> list:
    """What is displayed, as it was last updated: the widget, then its still picture."""
    outputs = []

    def keep(output, display_id=None):
        outputs.append(output)
        return SimpleNamespace(update=functools.partial(outputs.__setitem__, len(outputs) - 1))

    monkeypatch.setattr("helpers.widgets.training.display", keep)
    return outputs


def test_live_training_hands_the_monitor_through_and_says_in_words_what_it_draws(shown):
    numbers = {"knn": 0.5, "alignment": 0.3, "uniformity": -2.0}
    on_step, monitor = widgets.live_training(8, lambda model: numbers, chance=0.1)
    for step in range(200):
        on_step(step, 200, 2.0 - step / 200)
        if step == 99:
            assert monitor(None) == numbers
    live = shown[0]
    assert "step 200 of 200" in live.words and "(chance 2.71)" in live.words
    assert "k-NN 50.0% after 1 epoch," in live.words and "alignment 0.30, uniformity -2.00" in live.words
    assert len(live.panels) == 3 and "chance 10%" in live.panels[1]
    assert live.progress == 1 and not live.running


def test_the_curves_stay_as_a_still_picture_of_the_last_epoch_where_the_widget_cannot_run(shown):
    on_step, monitor = widgets.live_training(8, lambda model: {"knn": 0.5}, chance=0.1)
    assert "No step yet." in shown[1].data and "<img" not in shown[1].data
    for step in range(15):  # stopped in the middle of the second epoch
        on_step(step, 20, 2.0)
        if step == 9:
            monitor(None)
    still = ElementTree.fromstring(re.sub("(<img[^>]*)>", r"\1/>", shown[1].data))
    picture = still.find("img")
    assert "two-views-still" in still.get("class") and "on this page" in still.find("figcaption").text
    assert (
        picture.get("alt").startswith("Step 10 of 20, loss 2.00")
        and picture.get("alt") in still.find("figcaption").text
    )
    drawn = ElementTree.fromstring(base64.b64decode(picture.get("src").removeprefix("data:image/svg+xml;base64,")))
    assert len(drawn) == 2 and len({panel.get("x") for panel in drawn}) == 2  # the loss, and k-NN beside it


def test_live_training_without_a_monitor_shows_the_loss_alone(shown):
    on_step, monitor = widgets.live_training(8)
    on_step(0, 1, 2.5)
    assert monitor(None) == {} and len(shown[0].panels) == 1
    assert "loss 2.50 (chance 2.71)" in shown[0].words and "epoch" not in shown[0].words


def test_a_run_that_goes_on_shows_what_it_has_behind_it_and_forgets_the_epoch_that_was_cut_off(shown):
    before = {"loss": [2.0] * 20, "epochs": [{"epoch": 1, "knn": 0.2}, {"epoch": 2, "knn": 0.3}]}
    on_step, _ = widgets.live_training(8, None, 0.1, before)
    assert "step 20 of 20" in shown[0].words and shown[0].panels[1].count("<circle") >= 2
    for step in (20, 21, 20, 21, 22):
        on_step(step, 23, 1.0)
    assert "step 23 of 23" in shown[0].words and before["loss"] == [2.0] * 20


def test_a_run_that_has_ended_offers_no_stop_when_it_is_called_again(shown):
    before = {"loss": [2.0] * 20, "epochs": [{"epoch": 1, "knn": 0.2}]}
    on_step, _ = widgets.live_training(8, None, 0.1, before)
    assert not shown[0].running
    on_step(20, 40, 1.0)
    assert shown[0].running


def test_the_live_panels_are_well_formed_and_leave_out_what_is_not_a_number():
    epochs = [{"knn": 0.2, "alignment": 0.4, "uniformity": -1.0}, {"knn": 0.3, "alignment": 0.5, "uniformity": -2.0}]
    for picture in live_panels([6.2, math.nan, 5.0], 50, 64, epochs, [1, 3], 0.1):
        root = ElementTree.fromstring(picture)
        assert "nan" not in "".join(line.get("points", "") for line in root.iter("polyline"))


def test_the_smoothed_loss_starts_at_the_first_value_and_stays_within_all():
    values = [3.0, 1.0, 2.0, 1.0]
    means = smooth(values)
    assert means[0] == pytest.approx(3.0) and all(1 <= mean <= 3 for mean in means)
    assert smooth([2.0] * 9) == pytest.approx([2.0] * 9)


# TensorBoard


def test_a_run_for_tensorboard_has_its_curves_and_the_latent_space_with_thumbnails_and_labels(pictures, tmp_path):
    history = {"loss": [3.0, 2.0], "lr": [0.1, 0.2], "epochs": [{"epoch": 1, "knn": 0.4}]}
    h = torch.randn(60, 7, generator=torch.Generator().manual_seed(0))
    place = board.write_run(tmp_path / "board", history, pictures, {0: h, 4: 2 * h})
    events = EventAccumulator(str(place)).Reload()
    assert [one.value for one in events.Scalars("loss")] == pytest.approx([3.0, 2.0])
    assert [one.value for one in events.Scalars("knn")] == pytest.approx([0.4])
    assert (place / "projector_config.pbtxt").read_text().count("sprite") >= 2
    (folder,) = place.glob("00004/*")
    assert len((folder / "tensors.tsv").read_text().splitlines()) == 60
    assert (folder / "metadata.tsv").read_text().split() == [pictures.classes[label] for label in pictures.labels]
    with Image.open(folder / "sprite.png") as sprite:
        assert sprite.size == (8 * 32, 8 * 32)
