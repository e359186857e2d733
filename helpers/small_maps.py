"""A 3×3 convolution that is quick where its maps are small: nn.Conv2d's numbers, by products of matrices, on a CPU.

On maps of 2×2, where our small encoders end in training, a library's convolution does worst: more than half of what a
window covers is padding, and a product of matrices of the same size is sooner done, above all on the way back.
"""

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PLACES = list(itertools.product((0, 1), repeat=2))  # of a map of 2×2, row by row
TAPS = [[3 * (b - a + 1) + d - c + 1 for b, d in PLACES] for a, c in PLACES]  # of 9: how (a, c) sees (b, d)


class SmallMapConv2d(nn.Conv2d):
    """nn.Conv2d with a 3×3 window, padding 1 and no bias; on a CPU, maps of 2×2 are made by products of matrices."""

    def forward(self, x: Tensor) -> Tensor:
        """x (N, I, H, W) -> (N, O, H / stride, W / stride), rounded up."""
        kind = (*x.shape[2:], *self.stride) if x.device.type == "cpu" else None
        if kind == (2, 2, 1, 1):
            return of_two_by_two(x, self.weight.to(x.dtype))
        if kind == (4, 4, 2, 2):
            return of_four_by_four(x, self.weight.to(x.dtype))
        return super().forward(x)


def small_map_conv(like: nn.Conv2d) -> SmallMapConv2d:
    """A SmallMapConv2d with the very weight of a convolution; no random number is drawn."""
    sizes = like.in_channels, like.out_channels
    new = SmallMapConv2d(*sizes, kernel_size=3, stride=like.stride, padding=1, bias=False, device="meta")
    new.weight = like.weight
    return new


def of_two_by_two(x: Tensor, weight: Tensor) -> Tensor:
    """Stride 1, x (N, I, 2, 2), weight (O, I, 3, 3) -> (N, O, 2, 2).

    Every place of the output sees every place of the input, each through a tap of its own: one matrix (4·O, 4·I) for all,
    which has 16 of the 36 products that the windows have.
    """
    taps = weight.permute(2, 3, 0, 1).flatten(0, 1)[torch.tensor(TAPS)]  # (4, 4, O, I) output place, input place
    matrix = taps.transpose(1, 2).flatten(2).flatten(0, 1)  # (4·O, 4·I)
    y = F.linear(x.permute(0, 2, 3, 1).flatten(1), matrix)  # (N, 4·O)
    return y.unflatten(1, (2, 2, -1)).permute(0, 3, 1, 2)


def of_four_by_four(x: Tensor, weight: Tensor) -> Tensor:
    """Stride 2, x (N, I, 4, 4), weight (O, I, 3, 3) -> (N, O, 2, 2): the windows laid out as rows, then one product."""
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 0, 1, 0))  # (N, 5, 5, I); no window reaches the other two sides
    each = [padded[:, i : i + 3 : 2, j : j + 3 : 2] for i in range(3) for j in range(3)]  # (N, 2, 2, I) for each tap
    y = F.linear(torch.cat(each, dim=3), weight.permute(0, 2, 3, 1).flatten(1))  # (N, 2, 2, O)
    return y.permute(0, 3, 1, 2)
