"""Convolutions by fewer products: torch's own convolution is the oracle, in float64."""

import copy

import pytest
import torch
from torch import nn

from helpers import encoder, small_maps
from helpers.small_maps import SmallMapConv2d, small_map_conv


def convolution(stride: int) -> nn.Conv2d:
    torch.manual_seed(5)
    return nn.Conv2d(6, 4, 3, stride, 1, bias=False).double()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("sides", [(1, 1), (2, 2), (2, 4), (3, 3), (4, 4), (5, 4), (8, 8)])
@pytest.mark.parametrize("maps", [3, small_maps.MANY])
def test_values_and_gradients_are_those_of_torchs_convolution(maps, stride, sides, layout):
    known = convolution(stride)
    ours = small_map_conv(copy.deepcopy(known))
    results = []
    for net in (known, ours):
        net.to(memory_format=layout)
        x = torch.randn(maps, 6, *sides, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
        x = x.contiguous(memory_format=layout).requires_grad_()
        y = net(x)
        y.pow(3).sum().backward()
        results.append((y, x.grad, net.weight.grad))
    for mine, its in zip(*results, strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-12, atol=1e-12)


def test_a_convolution_is_taken_over_with_its_weight_and_no_random_number():
    known, state = convolution(2), torch.get_rng_state()
    ours = small_map_conv(known)
    assert ours.weight is known.weight and ours.stride == (2, 2) and ours.bias is None
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("stride, side", [(1, 2), (2, 4), (1, 4)])
def test_bfloat16_is_computed_in_bfloat16(stride, side):
    known = convolution(stride).float()
    x = torch.randn(small_maps.MANY, 6, side, side, generator=torch.Generator().manual_seed(7))
    with torch.autocast("cpu", torch.bfloat16):
        y = small_map_conv(known)(x.bfloat16())
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), known(x), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_bfloat16_costs_at_most_twice_and_a_half_its_own_rounding(dtype):
    known, generator = nn.Conv2d(64, 64, 3, 1, 1, bias=False), torch.Generator().manual_seed(8)
    x = torch.randn(32, 64, 4, 4, generator=generator)
    torch.nn.init.normal_(known.weight, generator=generator)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        its, ours = known(x).float(), small_map_conv(known)(x.to(dtype)).float()
    with torch.no_grad():
        exact = known(x)
        fine = small_maps.by_products(x.bfloat16(), known.weight, small_maps.FOUR).float()
    assert (ours - exact).norm() < 2.5 * (its - exact).norm() < (fine - exact).norm() / 3


def test_few_maps_are_left_to_torchs_convolution():
    known = convolution(1).float()
    x = torch.randn(small_maps.MANY, 6, 4, 4, generator=torch.Generator().manual_seed(9))
    ours = small_map_conv(known)
    assert torch.equal(ours(x[:-1]), known(x[:-1])) and not torch.equal(ours(x), known(x))


def test_there_are_fewer_products_than_places_in_windows():
    ways = small_maps.TWO, small_maps.FOUR, small_maps.FOUR_TO_TWO, small_maps.ROUGH_FOUR
    assert [len(way.mix) for way in ways] == [9, 36, 25, 64]  # windows have 36, 144, 36 and 144


def test_every_convolution_in_the_blocks_of_a_small_encoder_is_such_a_one():
    net, _ = encoder.build_encoder("resnet8x4-quarters", True)
    windows = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3)]
    assert [type(layer) for layer in windows] == [nn.Conv2d] + 6 * [SmallMapConv2d]  # the stem, and two a block
