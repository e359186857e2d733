"""Views have the paper's statistics, and every image has parameters of its own."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from helpers import augmentation, shapes

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


VIEWS = [augmentation.view, augmentation.fast_view]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_images(count: int = 48, height: int = 20, width: int = 28) -> torch.Tensor:
    """Smooth values, and five images of few levels, where channels tie and hues are undefined."""
    images = torch.rand(count, 3, height, width, generator=seeded(1))
    images[:5] = (images[:5] * 3).round() / 3
    return images


def in_the_middle(count: int = 64) -> torch.Tensor:
    """Colours from which no factor between 0.6 and 1.4 leads out of [0, 1]: nothing is clamped."""
    return 0.45 + 0.1 * torch.rand(count, 3, 9, 11, generator=seeded(23))


# The recipe ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", VIEWS)
def test_every_image_of_a_batch_is_changed_in_its_own_way(view):
    images = random_images(1).expand(64, -1, -1, -1)
    views = view(images, seeded(12), size=16, blur=True)
    assert len(views.flatten(1).unique(dim=0)) == 64


@pytest.mark.parametrize("view", VIEWS)
def test_every_image_of_a_batch_has_a_crop_of_its_own(view):
    place = torch.arange(40) / 40
    ramps = torch.stack([*torch.meshgrid(place, place, indexing="ij"), torch.zeros(40, 40)])  # colours tell the place
    views = view(ramps.expand(200, -1, -1, -1), seeded(15), size=8, strength=0.0)
    views = views[(views[:, 0] != views[:, 1]).flatten(1).any(dim=1)]  # those that are not grey
    middles = views[:, :2].mean(dim=(2, 3))  # (n, 2) down and across
    sides = views[:, :2].amax(dim=(2, 3)) - views[:, :2].amin(dim=(2, 3))
    for numbers in (*middles.T, *sides.T):
        assert len(views) > 120 and len((100 * numbers).round().unique()) > 15


def test_a_view_shows_its_own_image():
    images = torch.arange(1, 41)[:, None, None, None].expand(40, 3, 9, 9) / 50
    views = augmentation.random_crop(images, seeded(13), 12)
    torch.testing.assert_close(views, images[:, :, :1, :1].expand(40, 3, 12, 12), atol=1e-6, rtol=0)


@pytest.mark.parametrize("view", VIEWS)
def test_half_of_the_views_are_flipped_and_a_fifth_is_grey(view):
    ramp = torch.linspace(0, 1, 16).expand(4000, 1, 16, 16)
    images = torch.cat([ramp, 0.5 * ramp, torch.zeros_like(ramp)], dim=1)
    views = view(images, seeded(14), size=8, strength=0.0)
    flipped = views[:, 0, :, 0].mean(dim=1) > views[:, 0, :, -1].mean(dim=1)
    grey = (views[:, 0] == views[:, 2]).flatten(1).all(dim=1)
    assert abs(flipped.float().mean() - 0.5) < 0.04 and abs(grey.float().mean() - 0.2) < 0.035


def test_half_of_the_views_are_blurred_if_wanted():
    images = random_images(2000, 8, 8)
    blurred = (augmentation.random_blur(images, seeded(15)) != images).flatten(1).any(dim=1)
    assert abs(blurred.float().mean() - 0.5) < 0.06


@pytest.mark.parametrize("view", VIEWS)
def test_mean_and_spread_of_views_are_those_of_torchvisions_recipe(view):
    image = random_images(1, 24, 24)
    jitter = v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8)
    recipe = v2.Compose(
        [v2.RandomResizedCrop(12, antialias=True), v2.RandomHorizontalFlip(), jitter, v2.RandomGrayscale(0.2)]
    )
    torch.manual_seed(16)
    theirs = torch.stack([recipe(image[0]) for _ in range(800)])
    ours = view(image.expand(6000, -1, -1, -1), seeded(16), size=12, strength=0.5)
    means, wanted = ours.mean(dim=(1, 2, 3)), theirs.mean(dim=(1, 2, 3))
    assert abs(means.mean() - wanted.mean()) < 5 * wanted.std() * math.sqrt(1 / 800 + 1 / 6000)
    assert abs(means.std() / wanted.std() - 1) < 0.15
    assert abs(ours.std() / theirs.std() - 1) < 0.05


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("blur", [False, True])
def test_one_seed_gives_one_pair_of_batches_and_another_seed_another(blur, fast):
    images = (255 * random_images()).byte()
    two_views = augmentation.batch_views(24, blur=blur, fast=fast)
    first, again, other = (torch.cat(two_views(images, seeded(seed))) for seed in (17, 17, 18))
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize("fast", [False, True])
def test_views_are_float32_in_range_and_differ_and_leave_the_images_alone(fast):
    images = (255 * random_images()).byte()
    before = images.clone()
    x_a, x_b = augmentation.batch_views(20, strength=1.0, blur=True, fast=fast)(images, seeded(19))
    assert x_a.shape == x_b.shape == (48, 3, 20, 20) and x_a.dtype == x_b.dtype == torch.float32
    assert min(x_a.min(), x_b.min()) >= 0 and max(x_a.max(), x_b.max()) <= 1
    assert not torch.equal(x_a, x_b) and torch.equal(images, before)


def test_more_views_begin_with_the_two_that_the_same_seed_gives():
    images = (255 * random_images()).byte()
    two, four = (augmentation.batch_views(20, views=views)(images, seeded(19)) for views in (2, 4))
    assert len(four) == 4 and all(torch.equal(a, b) for a, b in zip(two, four[:2], strict=True))
    assert len({view.sum().item() for view in four}) == 4


def test_operations_leave_their_input_alone():
    images = random_images()
    before = images.clone()
    augmentation.view(images, seeded(20), size=28, strength=1.0, blur=True)
    augmentation.distort(images, 1.0, seeded(20))
    augmentation.random_blur(images, seeded(20))
    assert torch.equal(images, before)


def test_uint8_and_float_images_give_the_same_views():
    images = (255 * random_images()).byte()
    torch.testing.assert_close(augmentation.view(images, seeded(21)), augmentation.view(images / 255, seeded(21)))


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_the_gpu_makes_the_same_views_from_a_generator_on_the_cpu(fast):
    images = (255 * random_images()).byte()
    for ours, theirs in zip(
        augmentation.batch_views(24, blur=True, fast=fast)(images.cuda(), seeded(22)),
        augmentation.batch_views(24, blur=True, fast=fast)(images, seeded(22)),
        strict=True,
    ):
        torch.testing.assert_close(ours.cpu(), theirs, atol=2e-5, rtol=0)


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"size": 1}, "size is 1"),
        ({"strength": 3.0}, "strength is 3.0"),
        ({"strength": -1.0}, "strength"),
        ({"area": (0.5, 0.2)}, "area"),
        ({"views": 1}, "views is 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused_in_a_sentence(settings, words):
    with pytest.raises(ValueError, match=words):
        augmentation.batch_views(**({"size": 24} | settings))


def test_whole_numbers_that_are_no_bytes_are_refused():
    with pytest.raises(ValueError, match="images are torch.int64; uint8, 0 to 255, or float, 0 to 1, is wanted"):
        augmentation.view(torch.full((2, 3, 8, 8), 200), seeded())


def test_histograms_of_bytes_are_those_of_floats():
    x_a, x_b = (255 * random_images(2)).byte()
    wanted = augmentation.histogram_similarity(x_a / 255, x_b / 255)
    assert augmentation.histogram_similarity(x_a, x_b) == pytest.approx(wanted)


@pytest.mark.parametrize(
    "image, words",
    [
        (torch.zeros(8, 9, 3), r"try image\.permute\(2, 0, 1\)"),
        (torch.zeros(1, 8, 9), r"try image\.expand\(3, -1, -1\)"),
        (torch.zeros(4, 8, 9), r"try image\[:3\]"),
        (torch.zeros(5, 3, 8, 9), "one image of the batch at a time"),
        (torch.zeros(8, 9), r"\(3, H, W\) is wanted\.$"),
        ("cat.jpg", "the image is a str; a tensor, an array or a PIL image is wanted"),
    ],
)
def test_what_is_no_image_is_refused_with_what_makes_one_of_it(image, words):
    with pytest.raises(ValueError, match=words):
        augmentation.to_image(image)


def test_a_single_image_is_refused_with_the_mend():
    with pytest.raises(ValueError, match=r"image\[None\]"):
        augmentation.view(torch.zeros(3, 8, 8), seeded())


# The colour distortion as one matrix -----------------------------------------------------------------------------------


def test_fast_views_are_the_exact_views_where_colours_are_only_turned_grey():
    images = random_images()
    fast, exact = (make(images, seeded(25), size=16, strength=0.0, blur=True) for make in (VIEWS[1], VIEWS[0]))
    torch.testing.assert_close(fast, exact, atol=1e-5, rtol=0)


def test_fast_views_are_near_the_exact_views_of_the_same_draws():
    images = in_the_middle(400)
    fast, exact = (make(images, seeded(26), size=12, strength=0.5) for make in (VIEWS[1], VIEWS[0]))
    assert (fast - exact).abs().mean() < 2 / 255 < 0.2 * (exact[1:] - exact[:-1]).abs().mean()


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_fast_views_of_pictures_are_five_times_nearer_to_the_exact_ones_than_other_draws_are(strength):
    images, (exactly, fast) = shapes.render(300, seed=2)[0], VIEWS
    exact, other = (exactly(images, seeded(seed), strength=strength) for seed in (26, 27))
    near = fast(images, seeded(26), strength=strength)
    assert (near - exact).abs().mean() < 0.2 * (other - exact).abs().mean()


# One image at a time --------------------------------------------------------------------------------------------------


def test_each_image_makes_a_batch_of_a_callable_for_one_image():
    images = (255 * random_images(6, 16, 16)).byte()
    two_views = augmentation.each_image(augmentation.TwoViews(augmentation.simclr_transform(12)))
    x_a, x_b = two_views(images, seeded(23))
    again, _ = two_views(images, seeded(23))
    assert x_a.shape == x_b.shape == (6, 3, 12, 12) and not torch.equal(x_a, x_b) and torch.equal(x_a, again)


def test_the_two_views_of_an_image_may_come_from_different_pipelines():
    images = (255 * random_images(5, 8, 8)).byte()
    left, right = augmentation.TwoViews(lambda x: x.flip(-1)), augmentation.TwoViews(lambda x: 1 - x)
    x_a, x_b = augmentation.each_image(lambda image: (left(image)[0], right(image)[1]))(images, seeded())
    torch.testing.assert_close(x_a, torch.from_numpy(images.numpy()[..., ::-1].copy()) / 255)
    torch.testing.assert_close(x_b, 1 - images / 255)


def test_each_image_gives_the_global_random_state_back():
    torch.manual_seed(24)
    before = torch.get_rng_state()
    augmentation.each_image(augmentation.TwoViews(augmentation.color_distortion(0.5)))(
        torch.zeros(2, 3, 8, 8, dtype=torch.uint8), seeded()
    )
    assert torch.equal(torch.get_rng_state(), before)


def test_the_references_for_one_image_draw_from_torchs_global_random_state():
    image = random_images(1)[0]
    for transform in (augmentation.color_distortion(1.0), augmentation.simclr_transform(10, blur=True)):
        torch.manual_seed(25)
        first = transform(image)
        torch.manual_seed(25)
        assert torch.equal(first, transform(image)) and not torch.equal(first, transform(image))


@pytest.mark.parametrize(
    "make",
    [
        lambda pixels: pixels,
        lambda pixels: np.ascontiguousarray(pixels[:, :, ::-1])[:, :, ::-1],
        lambda pixels: Image.fromarray(pixels),
        lambda pixels: torch.tensor(pixels).permute(2, 0, 1),
        lambda pixels: torch.tensor(pixels).permute(2, 0, 1) / 255,
    ],
    ids=["array", "reversed array", "PIL", "uint8 tensor", "float tensor"],
)
def test_two_views_hands_its_transform_the_same_tensor_for_every_kind_of_image(make):
    pixels = np.random.default_rng(26).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    x_a, x_b = augmentation.TwoViews(lambda image: image.sub_(0.25))(make(pixels.copy()))
    wanted = torch.tensor(pixels).permute(2, 0, 1) / 255 - 0.25
    torch.testing.assert_close(x_a, wanted)
    torch.testing.assert_close(x_b, wanted)


@pytest.mark.parametrize(
    "mode, color, wanted",
    [("I;16", 30000, 117), ("RGBA", (10, 20, 30, 0), 255), ("LA", (60, 0), 255), ("L", 60, 60), ("1", 1, 255)],
)
def test_a_pil_image_is_seen_as_a_folders_files_are(mode, color, wanted):
    seen = augmentation.TwoViews(lambda x: x)(Image.new(mode, (4, 4), color))[0]
    torch.testing.assert_close(seen, torch.full((3, 4, 4), wanted / 255))


@pytest.mark.parametrize("image", [np.zeros((5, 7), np.uint8), np.zeros((5, 7, 3)), torch.zeros(5, 7, 3)])
def test_two_views_refuses_what_is_no_image_in_a_sentence(image):
    with pytest.raises(ValueError, match="is wanted"):
        augmentation.TwoViews(lambda image: image)(image)


def test_a_dataset_gives_new_views_of_its_image_at_every_visit():
    images = (255 * random_images(4, 8, 8)).byte()
    dataset = augmentation.TwoViewDataset(images, lambda image: image + torch.rand(()))
    (x_a, x_b), (again, _) = dataset[2], dataset[2]
    offsets = (x_a - images[2] / 255).unique(), (x_b - images[2] / 255)
    assert len(dataset) == 4 and offsets[0].std() < 1e-6 and offsets[1].std() < 1e-6
    assert not torch.equal(x_a, x_b) and not torch.equal(x_a, again)


# Histograms -----------------------------------------------------------------------------------------------------------


def test_similarity_equals_numpys_histograms_pair_by_pair():
    x_a, x_b = random_images(4, 6, 7), random_images(6, 9, 5)
    table = augmentation.histogram_similarities(x_a, x_b)

    def shares(channel):
        return np.histogram(channel.double().numpy(), bins=32, range=(0, 1))[0] / channel.numel()

    for i in range(4):
        for j in range(6):
            overlaps = [np.minimum(shares(a), shares(b)).sum() for a, b in zip(x_a[i], x_b[j], strict=True)]
            assert table[i, j].item() == pytest.approx(np.mean(overlaps), abs=1e-5)
            assert augmentation.histogram_similarity(x_a[i], x_b[j]) == pytest.approx(table[i, j].item(), abs=1e-6)


def test_similarity_of_half_equal_pixels_is_one_half():
    dark, light = torch.zeros(3, 4, 4), torch.ones(3, 4, 4)
    assert augmentation.histogram_similarity(dark, torch.cat([dark, light], dim=1)) == pytest.approx(0.5)


def test_two_crops_share_their_histogram_until_the_colours_are_distorted():
    places = torch.arange(24)
    slope = torch.rand(64, 3, 1, 1, generator=seeded(27)) - 0.5
    images = (
        0.5 + slope * 0.4 * torch.sin(places / 3) + (torch.rand(64, 3, 1, 1, generator=seeded(28)) - 0.5) * 0.6
    ).expand(-1, -1, 24, -1)

    def partners_found(distort):
        generator = seeded(29)
        x_a, x_b = (distort(augmentation.random_crop(images, generator, 24), generator) for _ in "ab")
        return (augmentation.histogram_similarities(x_a, x_b).argmax(dim=1) == torch.arange(64)).float().mean()

    assert partners_found(lambda x, generator: x) > 0.6
    assert partners_found(lambda x, generator: augmentation.distort(x, 1.0, generator)) < 0.2
