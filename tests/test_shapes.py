"""The rendered images: what a caller may rely on."""

import colorsys
import hashlib

import numpy as np
import pytest
import torch
from scipy.ndimage import label as connected_parts

from helpers import shapes

PLAIN = {
    "texture": 0.0,
    "light": 0.0,
    "background_slope": 0.0,
    "rotation": 0.0,
    "position": 0.0,
    "scale": 0.8,
    "facing": 1.0,
}


def one_factor(**changed) -> dict[str, np.ndarray]:
    """Factors of one image: middle values, then PLAIN, then what the test changes."""
    values = {
        name: np.full(() if width == 1 else width, (low + high) / 2)
        for name, (low, high, width) in shapes.STYLE.items()
    }
    values["occluder"] = np.full(2, 5.0)  # outside the image
    for name, value in (PLAIN | changed).items():
        values[name] = np.broadcast_to(value, values[name].shape)
    return {name: value[None].astype(np.float32) for name, value in values.items()}


def painted(kind: str, **changed) -> np.ndarray:
    """(3, 32, 32) one image of a class, as float."""
    return shapes.paint(shapes.OUTLINES[kind], one_factor(**changed))[0].astype(float)


def silhouette(kind: str, **changed) -> np.ndarray:
    """(32, 32) bool, the pixels of which the object covers at least half."""
    image = painted(kind, hue=0.5, background_hue=0.0, **changed)
    return image[1] > (image[1].max() + image[1].min()) / 2  # a cyan object on red: the green channel tells


def test_shapes_types_and_names_are_those_of_an_image_set():
    images, labels, factors = shapes.render(50, seed=0)
    assert images.shape == (50, 3, 32, 32) and images.dtype == torch.uint8
    assert labels.shape == (50,) and labels.dtype == torch.int64
    assert len(set(shapes.CLASSES)) == 10
    assert set(factors) == set(shapes.STYLE)


def test_every_class_is_drawn_equally_often_and_in_no_order():
    labels = shapes.render(200, seed=0)[1]
    assert labels.bincount().tolist() == [20] * 10
    assert len(labels[:20].unique()) > 5


def test_the_same_seed_draws_the_same_images_and_another_seed_others():
    first, again, other = shapes.render(30, seed=3), shapes.render(30, seed=3), shapes.render(30, seed=4)
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert all(torch.equal(first[2][name], again[2][name]) for name in first[2])
    assert not torch.equal(first[0], other[0])


def test_images_are_the_same_bit_for_bit_on_every_machine():
    images, labels, _ = shapes.render(1000, seed=0)
    assert hashlib.sha256(images.numpy().tobytes()).hexdigest()[:16] == "368bdd5684331e3a"
    assert hashlib.sha256(labels.numpy().astype("<i8").tobytes()).hexdigest()[:16] == "9fa0548838c6da87"


def test_an_image_does_not_depend_on_what_is_drawn_beside_it(monkeypatch):
    together = shapes.render(60, seed=0)[0]
    monkeypatch.setattr(shapes, "CHUNK", 1)
    assert torch.equal(shapes.render(60, seed=0)[0], together)


@pytest.mark.parametrize("name", shapes.STYLE)
def test_a_factor_fills_its_stated_range_evenly(name):
    low, high, width = shapes.STYLE[name]
    values = shapes.render(2000, seed=0)[2][name]
    assert values.dtype == torch.float32
    assert values.shape == ((2000,) if width == 1 else (2000, width))
    share = (values.double() - low) / (high - low)
    assert share.min() > -1e-6 and share.max() < 1 + 1e-6
    assert torch.allclose(share.flatten().histc(4, 0, 1) / share.numel(), torch.full((4,), 0.25).double(), atol=0.06)


def test_no_factor_tells_the_class():
    _, labels, factors = shapes.render(4000, seed=0)
    for name, values in factors.items():
        means = torch.stack([values[labels == kind].double().mean(dim=0) for kind in range(10)])
        standard_error = values.double().std(dim=0) / 400**0.5
        assert ((means - values.double().mean(dim=0)).abs() < 5 * standard_error).all(), name


@pytest.mark.parametrize("kind", shapes.CLASSES)
def test_an_object_is_one_piece_of_a_size_that_can_be_recognised(kind):
    covered = silhouette(kind)
    assert connected_parts(covered, np.ones((3, 3)))[1] == 1
    assert 0.1 < covered.mean() < 0.5


@pytest.mark.parametrize(
    "kind, holes", [("mug", 1), ("key", 1), ("flower", 1), ("fish", 1), ("star", 0), ("heart", 0), ("moon", 0)]
)
def test_an_object_has_its_holes(kind, holes):
    assert connected_parts(~silhouette(kind, scale=0.9))[1] - 1 == holes


def test_no_two_classes_share_a_silhouette():
    outlines = [silhouette(kind) for kind in shapes.CLASSES]
    for index, one in enumerate(outlines):
        for other in outlines[:index]:
            assert (one & other).sum() / (one | other).sum() < 0.8


def test_position_moves_the_object_right_and_up():
    rows, columns = np.nonzero(silhouette("heart"))
    moved_rows, moved_columns = np.nonzero(silhouette("heart", position=[0.125, 0.0625], scale=0.8))
    assert (moved_columns.mean() - columns.mean(), moved_rows.mean() - rows.mean()) == pytest.approx((2, -1), abs=0.05)


def test_scale_makes_the_object_larger():
    assert silhouette("star", scale=0.8).sum() == pytest.approx(silhouette("star", scale=0.4).sum() * 4, rel=0.15)


@pytest.mark.parametrize("angle", [-0.3, 0.1, 0.3])
def test_rotation_turns_the_object_anticlockwise_by_its_radians(angle):
    rows, columns = np.nonzero(silhouette("moon"))
    x, y = columns.mean() - 15.5, 15.5 - rows.mean()  # the middle of the moon lies left of the middle of the image
    rows, columns = np.nonzero(silhouette("moon", rotation=angle))
    turned = complex(columns.mean() - 15.5, 15.5 - rows.mean()) / complex(x, y)
    assert np.angle(turned) == pytest.approx(angle, abs=0.03) and abs(turned) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("kind", ["mug", "key", "moon", "fish", "bolt"])
def test_a_facing_below_zero_mirrors_the_object(kind):
    assert np.array_equal(silhouette(kind, facing=-0.3), silhouette(kind)[:, ::-1])


def test_edges_are_smooth():
    shades = np.unique(painted("heart", rotation=0.2)[1])
    assert len(shades) > 10


@pytest.mark.parametrize("saturation", [0.0, 0.4, 1.0])
def test_colours_are_those_of_the_hsv_circle(saturation):
    hues = np.linspace(0, 1, 50, dtype=np.float32)
    rgb = shapes.colour(hues, saturation, np.full(50, 0.7, np.float32))[..., 0, 0]
    assert rgb == pytest.approx(
        np.array([colorsys.hsv_to_rgb(hue, saturation, 0.7) for hue in hues.tolist()]), abs=1e-5
    )


@pytest.mark.parametrize("brightness", [0.7, 0.8, 0.95])
def test_the_object_outshines_the_background_by_the_same_amount_whatever_their_hues(brightness):
    for hue, background_hue in [(0.1, 0.9), (0.5, 0.2), (0.8, 0.8)]:
        image = (
            painted("mug", hue=hue, background_hue=background_hue, brightness=brightness, scale=0.6).max(axis=0) / 255
        )
        assert image[15, 15] - image[0, 0] == pytest.approx(shapes.CONTRAST, abs=0.01)


def test_the_background_goes_from_its_first_hue_to_its_second_along_its_slope():
    image = painted("mug", background_hue=[0.0, 1 / 3], background_slope=[1.0, 0.0])
    assert image[:, 0].argmax(axis=0)[[0, 31]].tolist() == [0, 1]  # red at the left, green at the right


def test_light_brightens_the_side_it_comes_from():
    image = painted("star", light=[0.2, 0.0])
    assert image[:, :, 31].sum() > 1.3 * image[:, :, 0].sum()
    assert painted("star", light=[0.0, 0.2])[:, 0].sum() > 1.3 * painted("star", light=[0.0, 0.2])[:, 31].sum()


def test_texture_marks_the_background_alone():
    plain, striped = painted("heart"), painted("heart", texture=0.06, texture_waves=[3.0, 1.0])
    assert np.abs(striped - plain)[:, 0].max() > 2
    assert np.array_equal(striped[:, 14:18, 14:18], plain[:, 14:18, 14:18])


def test_the_occluder_hides_what_is_behind_it():
    image = painted("heart", occluder=0.0)
    assert (np.abs(image[:, 15:17, 15:17] - 128) <= 1).all()


def test_no_images_are_an_empty_set():
    images, labels, factors = shapes.render(0, seed=0)
    assert images.shape == (0, 3, 32, 32) and len(labels) == 0 and factors["light"].shape == (0, 2)
