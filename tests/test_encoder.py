"""The encoder f: its parts, its sizes, and that building one changes nothing else."""

import copy
import itertools
import math

import pytest
import torch
import torchvision
from torch import nn

from helpers import encoder, training
from helpers.projection_head import ProjectionHead, SimCLR

PAPER = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet200")


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def build_without_values(arch: str, small_images: bool) -> tuple[nn.Module, int]:
    with torch.device("meta"):
        return encoder.build_encoder(arch, small_images)


@pytest.mark.parametrize("arch", ["resnet18", "resnet34", "resnet50", "resnet101"])
def test_an_imagenet_encoder_is_torchvisions_network_without_its_last_layer(arch):
    with torch.device("meta"):
        known = getattr(torchvision.models, arch)()
    wanted = {name: value.shape for name, value in known.state_dict().items() if not name.startswith("fc.")}
    built, _ = build_without_values(arch, False)
    assert {name: value.shape for name, value in built.state_dict().items()} == wanted


def test_resnet200_has_three_twenty_four_thirty_six_and_three_bottleneck_blocks():
    net, _ = build_without_values("resnet200", False)
    assert [len(getattr(net, f"layer{stage}")) for stage in (1, 2, 3, 4)] == [3, 24, 36, 3]
    assert sum(isinstance(m, nn.Conv2d) for m in net.modules()) == 1 + 3 * 66 + 4  # stem, blocks, four ways around


WIDTHS = dict(zip(PAPER, [512, 512, 2048, 2048, 2048], strict=True)) | {
    "resnet8": 128,
    "resnet8x2": 256,
    "resnet8x2-quarters": 1024,
    "resnet8x4-quarters": 2048,
}


@pytest.mark.parametrize("arch, wide", WIDTHS.items())
@pytest.mark.parametrize("small_images", [True, False])
def test_h_has_feature_dim_columns(arch, wide, small_images):
    net, feature_dim = build_without_values(arch, small_images)
    h = net.eval()(torch.empty(2, 3, 40, 40, device="meta"))
    assert feature_dim == wide and h.shape == (2, wide)


def test_h_is_the_average_of_the_last_feature_map_and_never_negative():
    net, _ = encoder.build_encoder("resnet8", True)
    maps = []
    net.layer4.register_forward_hook(lambda _, __, output: maps.append(output))
    h = net.eval()(torch.rand(3, 3, 32, 32))
    torch.testing.assert_close(h, maps[0].mean(dim=(2, 3)))
    assert (h >= 0).all()


def test_h_of_quarters_is_the_average_of_each_quarter_of_the_last_feature_map():
    net, _ = encoder.build_encoder("resnet8x2-quarters", True)
    maps = []
    net.layer4.register_forward_hook(lambda _, __, output: maps.append(output))
    h = net.eval()(torch.rand(3, 3, 32, 32)).reshape(3, 256, 2, 2)
    for row, column in itertools.product((0, 1), repeat=2):
        quarter = maps[0][:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]  # of (3, 256, 4, 4)
        torch.testing.assert_close(h[:, :, row, column], quarter.mean(dim=(2, 3)))


def test_every_parameter_of_a_small_encoder_gets_a_gradient():
    net, _ = encoder.build_encoder("resnet8", True)
    net(torch.rand(4, 3, 32, 32)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())


@pytest.mark.parametrize("arch", encoder.NARROW)
def test_our_small_encoders_start_with_activations_of_ordinary_size(arch):
    net, _ = encoder.build_encoder(arch, True)
    h = net(torch.rand(32, 3, 32, 32))
    assert h.isfinite().all() and 0.05 < h.std() < 5


def test_resnet8x2_has_twice_the_channels_on_maps_of_half_the_side_at_the_same_price():
    nets = [encoder.build_encoder(arch, True)[0].eval() for arch in ("resnet8", "resnet8x2")]
    shapes = []
    for net in nets:
        for stage in (net.layer1, net.layer2, net.layer3):
            stage.register_forward_hook(lambda _, __, output: shapes.append(tuple(output.shape[1:])))
        net(torch.zeros(1, 3, 32, 32))
    assert shapes[:3] == [(32, 32, 32), (64, 16, 16), (128, 8, 8)]
    assert shapes[3:] == [(64, 16, 16), (128, 8, 8), (256, 4, 4)]
    narrow, wide = (encoder.multiply_adds(net, 32) for net in nets)
    assert 0.7 < wide / narrow < 1


def test_an_encoder_twice_as_wide_costs_as_much_on_images_of_half_the_side():
    narrow, wide = (encoder.build_encoder(f"resnet8x{times}-quarters", True)[0] for times in (2, 4))
    assert 0.98 < encoder.multiply_adds(wide, 16) / encoder.multiply_adds(narrow, 32) < 1.02


@pytest.mark.parametrize("arch", ["resnet8", "resnet18"])
def test_the_small_stem_leaves_the_resnet_it_was_given_alone(arch):
    net = encoder.resnet(arch)
    before, modules = copy.deepcopy(net.state_dict()), [type(m) for m in net.modules()]
    small = encoder.small_image_stem(net)
    assert [type(m) for m in net.modules()] == modules
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert small is not net and not {id(p) for p in small.parameters()} & {id(p) for p in net.parameters()}


def test_the_small_stem_keeps_the_number_format_of_the_resnet():
    small = encoder.small_image_stem(encoder.resnet("resnet8").double())
    assert small(torch.rand(2, 3, 8, 8, dtype=torch.float64)).dtype == torch.float64


def test_the_small_stem_replaces_one_convolution_and_the_max_pool_only():
    net = encoder.resnet("resnet8")
    small = encoder.small_image_stem(net)
    conv = small.conv1
    assert (conv.kernel_size, conv.stride, conv.padding, conv.bias) == ((3, 3), (1, 1), (1, 1), None)
    assert conv.out_channels == net.conv1.out_channels
    assert isinstance(small.maxpool, nn.Identity)
    old, new = net.state_dict(), small.state_dict()
    assert [name for name in old if not torch.equal(old[name], new[name])] == ["conv1.weight"]


@pytest.mark.parametrize("small_images", [True, False])
@pytest.mark.parametrize("image_size", [1, 7, 32, 33, 64, 97])
def test_feature_map_sizes_are_what_a_real_network_makes(image_size, small_images):
    net, _ = build_without_values("resnet18", small_images)
    seen = []
    for part in (net.maxpool, net.layer1, net.layer2, net.layer3, net.layer4):
        part.register_forward_hook(lambda _, __, output: seen.append(output.shape[-1]))
    net.eval()(torch.empty(1, 3, image_size, image_size, device="meta"))
    assert encoder.feature_map_sizes(image_size, small_images) == seen


def test_feature_map_sizes_refuses_an_image_without_pixels():
    with pytest.raises(ValueError, match="at least 1 pixel"):
        encoder.feature_map_sizes(0, True)


@pytest.mark.parametrize("build", [encoder.resnet, lambda arch: encoder.build_encoder(arch, True)])
def test_an_unknown_name_is_refused_with_the_names_there_are(build):
    with pytest.raises(
        ValueError,
        match="'resnet19'.*resnet8, resnet8x2, resnet8x2-quarters, resnet8x4-quarters, resnet18, resnet34, resnet50, resnet101, resnet200",
    ):
        build("resnet19")


def test_one_seed_gives_one_encoder_and_another_seed_another():
    def weights(seed):
        torch.manual_seed(seed)
        return encoder.build_encoder("resnet8", True)[0].state_dict()

    first, same, other = weights(3), weights(3), weights(4)
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])


def test_multiply_adds_of_one_convolution_and_one_linear_layer_match_the_count_by_hand():
    net = nn.Sequential(nn.Conv2d(3, 5, 3, stride=2, padding=1), nn.Flatten(), nn.Linear(5 * 4 * 4, 7))
    assert encoder.multiply_adds(net, 8) == 4 * 4 * 5 * (3 * 3 * 3) + 80 * 7


def test_multiply_adds_counts_a_grouped_convolution_by_its_group():
    net = nn.Conv2d(3, 6, 1, groups=3)
    assert encoder.multiply_adds(net, 4) == 4 * 4 * 6 * 1


def test_multiply_adds_leaves_mode_statistics_and_hooks_as_they_were():
    net, _ = encoder.build_encoder("resnet8", True)
    net.train()
    net.layer2.eval()
    modes, before = [m.training for m in net.modules()], copy.deepcopy(net.state_dict())
    encoder.multiply_adds(net, 16)
    assert [m.training for m in net.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not any(m._forward_hooks for m in net.modules())


def test_more_than_half_of_resnet18_is_idle_on_small_images_with_the_imagenet_stem_and_nothing_with_the_small_one():
    """What notebook 02 says, worked out from the kernels: 5 of 9 weights in one convolution, 8 of 9 in three."""
    idle = 5 * 256 * 512 + 3 * 8 * 512 * 512
    for small_images, wanted in ((False, idle), (True, 0)):
        net, _ = encoder.build_encoder("resnet18", small_images)
        net(torch.rand(16, 3, 32, 32)).sum().backward()
        counted = sum(int((p.grad == 0).sum()) for p in net.layer4.parameters())
        assert abs(counted - wanted) < 0.01 * idle  # a unit that no image switches on adds a few
    assert idle / parameters(net) > 0.5


# Group normalisation --------------------------------------------------------------------------------------------------


def test_with_group_norm_no_image_of_a_batch_changes_another_and_train_mode_changes_nothing():
    net = encoder.with_group_norm(encoder.build_encoder("resnet8", True)[0])
    images = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        together, alone, asleep = net.train()(images), net(images[:1]), net.eval()(images)
    torch.testing.assert_close(together[:1], alone)
    torch.testing.assert_close(together, asleep)


def test_with_group_norm_leaves_the_network_alone_and_replaces_every_batch_norm():
    net, _ = encoder.build_encoder("resnet18", False)
    grouped = encoder.with_group_norm(net)
    kinds = [[type(m).__name__ for m in each.modules()] for each in (net, grouped)]
    assert kinds[0].count("BatchNorm2d") == kinds[1].count("GroupNorm") == 20
    assert "GroupNorm" not in kinds[0] and "BatchNorm2d" not in kinds[1]


@pytest.mark.parametrize("width, groups", [(8, 1), (16, 1), (50, 1), (48, 3), (64, 4), (40, 2)])
def test_a_layer_of_any_width_gets_groups_that_divide_it(width, groups):
    (norm,) = encoder.with_group_norm(torch.nn.Sequential(torch.nn.BatchNorm2d(width)))
    assert norm.num_groups == groups


def test_a_train_step_of_resnet200_on_a_small_batch_runs():
    net, wide = encoder.build_encoder("resnet200", False)
    model = SimCLR(net, ProjectionHead(wide, 16, 8))
    x_a, x_b = torch.rand(2, 2, 3, 33, 33)
    loss = training.train_step(model, torch.optim.SGD(model.parameters(), lr=1e-3), x_a, x_b, 0.5)
    assert wide == 2048 and math.isfinite(loss) and all(weight.grad is not None for weight in model.parameters())


@pytest.mark.parametrize("side", [1, 2, 3, 4])
def test_averages_of_parts_are_torchs_where_there_is_one_place_a_part_too(side):
    x = torch.randn(3, 5, side, side, generator=torch.Generator().manual_seed(0))
    assert torch.equal(encoder.AverageOfParts(2)(x), nn.AdaptiveAvgPool2d(2)(x))
