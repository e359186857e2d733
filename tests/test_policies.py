"""The other policies: views of the right kind, and a sparse warp that does what a warp should."""

import pytest
import torch
from torchvision.transforms import v2

from helpers import augmentation, policies, shapes

POINTS = torch.tensor(policies.CONTROL_POINTS)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def smooth_pictures(generator) -> torch.Tensor:
    """(3, 3, 48, 48) pictures without edges, so that a pixel's neighbours have nearly its colour."""
    coarse = torch.rand(3, 3, 5, 5, generator=generator)
    return torch.nn.functional.interpolate(coarse, 48, mode="bicubic", align_corners=True).clamp(0, 1)


def colour_at(images: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """(N, 3, 4) colours at points (N, 4, 2), right and down, as shares of the side."""
    return torch.nn.functional.grid_sample(images, 2 * points[:, None] - 1, align_corners=False)[:, :, 0]


def test_a_warp_without_shifts_leaves_the_pictures_as_they_are(smooth_pictures):
    warped = policies.sparse_warp(smooth_pictures, torch.zeros(3, 4, 2))
    assert torch.allclose(warped, smooth_pictures, atol=1e-3)


def test_a_warp_carries_the_colour_of_every_control_point_to_where_the_point_goes(smooth_pictures, generator):
    shifts = 0.08 * torch.randn(3, 4, 2, generator=generator)
    warped = policies.sparse_warp(smooth_pictures, shifts)
    before = colour_at(smooth_pictures, POINTS.expand(3, -1, -1))
    assert torch.allclose(colour_at(warped, POINTS + shifts), before, atol=0.03)


def test_four_points_that_move_alike_move_the_whole_picture(smooth_pictures):
    warped = policies.sparse_warp(smooth_pictures, torch.tensor([0.25, 0.0]).expand(3, 4, 2))
    assert torch.allclose(warped[:, :, :, 12:], smooth_pictures[:, :, :, :-12], atol=1e-3)


def test_every_picture_of_a_batch_is_warped_in_its_own_way(smooth_pictures, generator):
    same = smooth_pictures[:1].expand(3, -1, -1, -1)
    warped = policies.sparse_warp(same, 0.1 * torch.randn(3, 4, 2, generator=generator))
    assert not torch.allclose(warped[0], warped[1], atol=0.01)


@pytest.mark.parametrize("name", policies.NAMES)
def test_a_policy_gives_one_view_an_image_in_range_and_the_same_again_for_the_same_seed(name):
    images = shapes.render(6, seed=1)[0]
    state = torch.get_rng_state()
    views = policies.policy_views(name, images, seeded(3), 24)
    assert views.shape == (6, 3, 24, 24) and views.dtype == torch.float32
    assert 0 <= views.min() and views.max() <= 1
    assert torch.equal(views, policies.policy_views(name, images, seeded(3), 24))
    assert not torch.equal(views, policies.policy_views(name, images, seeded(4), 24))
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("name", ["AutoAugment", "RandAugment"])
def test_each_crop_goes_once_through_torchvisions_policy_of_that_name(name, monkeypatch):
    images, seen = shapes.render(6, seed=1)[0], []

    class Watched(getattr(v2, name)):
        def forward(self, crop):
            seen.append((crop, super().forward(crop)))
            return seen[-1][1]

    monkeypatch.setattr(policies.v2, name, Watched)
    views = policies.policy_views(name, images, seeded(3), 24)
    crops, changed = (torch.stack(each) for each in zip(*seen, strict=True))
    assert torch.equal(changed / 255, views)
    assert torch.allclose(crops / 255, augmentation.random_crop(images, seeded(3), 24), atol=0.51 / 255)


def test_simclrs_policy_is_its_recipe():
    images = shapes.render(6, seed=1)[0]
    assert torch.equal(policies.policy_views("SimCLR", images, seeded(3), 24), augmentation.view(images, seeded(3), 24))


def test_each_of_two_views_has_a_policy_of_its_own():
    images = shapes.render(6, seed=1)[0]
    x_a, x_b = policies.two_policies("SimAugment", "RandAugment", 24)(images, generator := seeded(3))
    again = seeded(3)
    assert torch.equal(x_a, policies.policy_views("SimAugment", images, again, 24))
    assert torch.equal(x_b, policies.policy_views("RandAugment", images, again, 24))
    assert torch.equal(generator.get_state(), again.get_state())


@pytest.mark.parametrize("name", policies.NAMES)
def test_every_picture_of_a_batch_is_changed_in_its_own_way(name):
    flat = torch.tensor([200, 90, 40], dtype=torch.uint8)[:, None, None].expand(30, 3, 32, 32)  # a crop shows nothing
    views = policies.policy_views(name, flat, seeded(2), 32)
    assert len(views.flatten(1).unique(dim=0)) > 5


def test_sim_augment_warps_and_leaves_alone_about_half_of_the_views_each():
    images = shapes.render(1, seed=1)[0].expand(400, -1, -1, -1)
    shifted = []
    original, policies.sparse_warp = policies.sparse_warp, lambda views, shifts: shifted.append(shifts) or views
    try:
        policies.sim_augment(images, torch.Generator().manual_seed(0), 16)
    finally:
        policies.sparse_warp = original
    moved = (shifted[0] != 0).flatten(1).any(dim=1).float().mean()
    assert 0.4 < moved < 0.6 and shifted[0].abs().max() < 0.6


def test_sim_augment_distorts_colours_as_simclr_does_then_blurs_every_other_view(monkeypatch):
    monkeypatch.setattr(policies, "sparse_warp", lambda views, shifts: views)
    flat = torch.tensor([200, 90, 40], dtype=torch.uint8)[:, None, None].expand(2000, 3, 16, 16)
    colours = policies.sim_augment(flat, seeded(5), 16)[:, :, 8, 8]
    grey = (colours[:, 0] - colours[:, 2]).abs() < 1e-4
    kept = (colours - torch.tensor([200, 90, 40]) / 255).abs().amax(dim=1) < 1e-4
    assert abs(grey.float().mean() - 0.2) < 0.05 and abs(kept.float().mean() - 0.16) < 0.05
    monkeypatch.setattr(policies, "random_crop", lambda images, generator, size: images / 255)
    monkeypatch.setattr(policies, "distort", lambda views, strength, generator: views)
    board = (255 * (torch.arange(256).view(16, 16) % 2)).byte().expand(2000, 3, 16, 16)  # stripes a pixel wide
    blurred = (policies.sim_augment(board, seeded(6), 16) - board / 255).flatten(1).abs().amax(dim=1) > 1e-3
    assert 0.4 < blurred.float().mean() < 0.52  # a small σ shows nothing


def test_an_unknown_policy_is_told_which_there_are():
    with pytest.raises(ValueError, match="no policy 'Auto'; there are SimCLR, AutoAugment, RandAugment, SimAugment"):
        policies.two_policies("SimCLR", "Auto", 8)
