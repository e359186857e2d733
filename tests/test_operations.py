"""Every operation equals torchvision's on the same parameters; every image has parameters of its own."""

import math

import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as TF

from helpers import operations
from tests.test_augmentation import DEVICES, in_the_middle, random_images, seeded

# Operations against torchvision ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "name, low, high", [("brightness", 0, 2), ("contrast", 0, 2), ("saturation", 0, 2), ("hue", -0.5, 0.5)]
)
def test_each_colour_operation_equals_torchvisions_with_each_images_own_factor(name, low, high, device):
    images = random_images()
    factors = low + (high - low) * torch.rand(len(images), generator=seeded(2))
    ours = getattr(operations, f"adjust_{name}")(images.to(device), factors.to(device)).cpu()
    wanted = torch.stack([getattr(TF, f"adjust_{name}")(x, f.item()) for x, f in zip(images, factors, strict=True)])
    torch.testing.assert_close(ours, wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name, neutral", [("brightness", 1.0), ("contrast", 1.0), ("saturation", 1.0), ("hue", 0.0)])
def test_a_neutral_factor_changes_nothing(name, neutral):
    images = random_images()
    same = getattr(operations, f"adjust_{name}")(images, torch.full((len(images),), neutral))
    torch.testing.assert_close(same, images, atol=1e-5, rtol=0)


@pytest.mark.parametrize("device", DEVICES)
def test_jitter_does_to_each_image_what_torchvision_does_in_that_images_order(device):
    images = random_images()
    factors, order = operations.jitter_factors(len(images), 0.8, seeded(3))
    wanted = []
    for image, values, turns in zip(images, factors.tolist(), order.tolist(), strict=True):
        for turn in turns:
            name = ("brightness", "contrast", "saturation", "hue")[turn]
            image = getattr(TF, f"adjust_{name}")(image, values[turn])
        wanted.append(image)
    ours = operations.jitter(images.to(device), factors, order).cpu()
    torch.testing.assert_close(ours, torch.stack(wanted), atol=2e-5, rtol=0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("size", [8, 20, 32, 50])
def test_crop_and_resize_equals_torchvisions_antialiased_resized_crop(size, device):
    images = random_images()
    boxes = operations.crop_boxes(len(images), 20, 28, (0.08, 1.0), seeded(4))
    flipped = torch.rand(len(images), generator=seeded(5)) < 0.5
    ours = operations.crop_resize_flip(images.to(device), boxes.to(device), flipped.to(device), size).cpu()
    wanted = torch.stack(
        [TF.resized_crop(x, *box.tolist(), [size, size], antialias=True) for x, box in zip(images, boxes, strict=True)]
    )
    wanted[flipped] = wanted[flipped].flip(3)
    assert (ours - wanted).abs().max() < 2 / 255 / 100


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("width", [3, 5, 9])
def test_blur_equals_torchvisions_with_each_images_own_sigma(width, device):
    images = random_images()
    sigma = 0.1 + 1.9 * torch.rand(len(images), generator=seeded(6))
    ours = operations.gaussian_blur(images.to(device), sigma.to(device), width).cpu()
    wanted = torch.stack([TF.gaussian_blur(x, [width, width], [s.item()]) for x, s in zip(images, sigma, strict=True)])
    torch.testing.assert_close(ours, wanted, atol=1e-5, rtol=0)


def test_grey_is_torchvisions_grey():
    images = random_images()
    torch.testing.assert_close(operations.to_grey(images), TF.rgb_to_grayscale(images), atol=1e-6, rtol=0)


@pytest.mark.parametrize("size, width", [(24, 3), (32, 3), (48, 5), (96, 9), (224, 23)])
def test_the_blur_kernel_is_odd_and_about_a_tenth_of_the_side(size, width):
    assert operations.blur_width(size) == width


# Parameters ---------------------------------------------------------------------------------------------------------


def test_boxes_have_the_law_of_torchvisions_random_resized_crop():
    boxes = operations.crop_boxes(20_000, 40, 60, (0.08, 1.0), seeded(7)).double()
    torch.manual_seed(7)
    crop = v2.RandomResizedCrop(8)
    drawn = [crop.make_params([torch.empty(3, 40, 60)]) for _ in range(4000)]
    theirs = torch.tensor([[box[side] for side in ("top", "left", "height", "width")] for box in drawn]).double()
    for column in range(4):
        spread = theirs[:, column].std()
        assert abs(boxes[:, column].mean() - theirs[:, column].mean()) < 5 * spread * math.sqrt(1 / 4000 + 1 / 20_000)
        assert abs(boxes[:, column].std() / spread - 1) < 0.06


def test_boxes_lie_inside_the_image_and_keep_area_and_ratio_up_to_rounding():
    top, left, height, width = operations.crop_boxes(5000, 64, 96, (0.08, 1.0), seeded(8)).T
    assert (top >= 0).all() and (left >= 0).all() and (top + height <= 64).all() and (left + width <= 96).all()
    assert 0.075 < (height * width / 64 / 96).min() < 0.085 and (height * width / 64 / 96).max() > 0.85
    assert 0.73 < (width / height).min() and (width / height).max() < 1.37


@pytest.mark.parametrize("height, width, box", [(8, 80, [0, 34, 8, 11]), (80, 8, [34, 0, 11, 8])])
def test_an_image_that_no_box_fits_gives_its_largest_central_box(height, width, box):
    boxes = operations.crop_boxes(50, height, width, (1.0, 1.0), seeded(9))
    assert boxes.tolist() == [box] * 50


def test_factors_fill_their_range_and_one_image_in_five_is_left_alone():
    factors, order = operations.jitter_factors(20_000, 0.5, seeded(10))
    neutral = (factors == torch.tensor([1.0, 1.0, 1.0, 0.0])).all(dim=1)
    changed = factors[~neutral] - torch.tensor([1.0, 1.0, 1.0, 0.0])
    assert abs(neutral.float().mean() - 0.2) < 0.015
    for column, reach in enumerate((0.4, 0.4, 0.4, 0.1)):
        assert changed[:, column].abs().max() <= reach + 1e-6
        assert abs(changed[:, column].std() / (reach / math.sqrt(3)) - 1) < 0.03
    assert len(order.unique(dim=0)) == 24 and torch.equal(order.sort(dim=1).values, torch.arange(4).expand(20_000, 4))


def test_factors_are_never_negative_where_the_strength_is_large():
    factors, _ = operations.jitter_factors(2000, 2.0, seeded(11))
    assert factors[:, :3].min() >= 0 and factors[:, :3].max() > 2.4


# As matrices -----------------------------------------------------------------------------------------------------------


def by_matrices(images: torch.Tensor, factors: torch.Tensor, order: torch.Tensor, grey: torch.Tensor) -> torch.Tensor:
    of_pixel, of_mean = operations.color_matrices(factors, order, grey)
    return (of_pixel @ images.flatten(2) + of_mean @ images.flatten(2).mean(dim=2, keepdim=True)).view_as(images)


def test_without_hue_and_clamping_the_matrices_do_what_the_operations_do_in_every_order():
    images = in_the_middle()
    factors, order = operations.jitter_factors(len(images), 0.5, seeded(24))
    factors[:, operations.HUE] = 0
    grey = torch.arange(len(images)) % 5 == 0
    wanted = operations.jitter(images, factors, order)
    wanted[grey] = operations.to_grey(wanted[grey]).expand(-1, 3, -1, -1)
    torch.testing.assert_close(by_matrices(images, factors, order, grey), wanted, atol=1e-5, rtol=0)


def test_hue_by_a_matrix_keeps_every_grey_level_and_comes_back_after_a_whole_turn():
    shift = torch.linspace(-0.5, 0.5, 11)
    matrices = operations.hue_matrices(shift)
    luminance = torch.tensor([0.2989, 0.587, 0.114])
    torch.testing.assert_close(luminance @ matrices, luminance.expand(11, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(operations.hue_matrices(shift + 1), matrices, atol=1e-5, rtol=0)


def test_hue_by_a_matrix_turns_the_way_of_hsv():
    images, shift = in_the_middle(), torch.full((64,), 0.1)
    turned = (operations.hue_matrices(shift) @ images.flatten(2)).view_as(images)
    ours, other_way = ((turned - operations.adjust_hue(images, s)).abs().mean() for s in (shift, -shift))
    assert ours < 0.6 * other_way
