"""A 3×3 convolution that is quick where its maps are small: nn.Conv2d's numbers by fewer products, on a CPU.

On maps of 2×2 and 4×4, where our small encoders end in training, much of what a window covers is padding, and windows
share most of the rest. So there is less to multiply than it seems: 9 products instead of 36 for a map of 2×2, 36 instead
of 144 for 4×4, 25 instead of 36 where 4×4 becomes 2×2 (Winograd 1980; Lavin and Gray 2016). Each is a product of two
matrices, (N, I) and (I, O), and those a library does best, above all on the way back.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Products(NamedTuple):
    """P products in place of a window: the map that comes out is gather @ ((mix @ map) * (weigh @ window))."""

    mix: Tensor  # (P, places of the map)
    weigh: Tensor  # (P, places of the window)
    gather: Tensor  # (places of the map that comes out, P)


def products(mix: list, weigh: list, gather: list) -> Products:
    """From those for one row of places and a window of 3: each product of the rows with each of the columns."""
    in_a_row = [torch.tensor(each, dtype=torch.float64) for each in (mix, weigh, gather)]
    return Products(*(torch.kron(each, each) for each in in_a_row))


TWO = products(  # x₀, x₁ -> x₀ w₁ + x₁ w₂, x₀ w₀ + x₁ w₁: (x₀ + x₁) w₁ is a part of both (Karatsuba)
    mix=[[1, 1], [0, 1], [1, 0]],
    weigh=[[0, 1, 0], [0, -1, 1], [1, -1, 0]],
    gather=[[1, 1, 0], [1, 0, 1]],
)
FOUR_TO_TWO = products(  # x₀ w₁, x₁ w₂; x₁ w₀, x₂ w₁, x₃ w₂: what is not padding
    mix=[[1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
    weigh=[[0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]],
    gather=[[1, 1, 0, 0, 0], [0, 0, 1, 1, 1]],
)
FOUR = products(  # Lavin and Gray's F(4, 3): polynomials, multiplied by their values at 0, 1, -1, 2, -2 and infinity
    mix=[[0, -5, 0, 1], [-4, -4, 1, 1], [4, -4, -1, 1], [-2, -1, 2, 1], [2, -1, -2, 1], [4, 0, -5, 0]],
    weigh=[
        [1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6], [1 / 24, -1 / 12, 1 / 6], [0, 0, 1],
    ],
    gather=[[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
)  # fmt: skip
ROUGH_FOUR = products(  # F(2, 3) for each half: 64 products; bfloat16's rounding is doubled, where FOUR makes it tenfold
    mix=[
        [0, -1, 0, 0], [1, 1, 0, 0], [-1, 1, 0, 0], [1, 0, -1, 0],
        [0, 1, 0, -1], [0, 0, 1, 1], [0, 0, -1, 1], [0, 0, 1, 0],
    ],
    weigh=2 * [[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]],
    gather=[
        [1, 1, 1, 0, 0, 0, 0, 0], [0, 1, -1, -1, 0, 0, 0, 0],
        [0, 0, 0, 0, 1, 1, 1, 0], [0, 0, 0, 0, 0, 1, -1, -1],
    ],
)  # fmt: skip

MANY = 32  # maps; for fewer of them, weighing every window takes longer than the products save


class SmallMapConv2d(nn.Conv2d):
    """nn.Conv2d with a 3×3 window, padding 1, no bias; on a CPU, many maps of 2×2 or 4×4 are taken by products."""

    def forward(self, x: Tensor) -> Tensor:
        """x (N, I, H, W) -> (N, O, H / stride, W / stride), rounded up."""
        kind = (*x.shape[2:], *self.stride) if x.device.type == "cpu" and len(x) >= MANY else None
        rough = x.dtype == torch.bfloat16 or torch.is_autocast_enabled("cpu")
        ways = {(2, 2, 1, 1): TWO, (4, 4, 2, 2): FOUR_TO_TWO, (4, 4, 1, 1): ROUGH_FOUR if rough else FOUR}
        return by_products(x, self.weight, ways[kind]) if kind in ways else super().forward(x)


def small_map_conv(like: nn.Conv2d) -> SmallMapConv2d:
    """A SmallMapConv2d with the very weight of a convolution; no random number is drawn."""
    sizes = like.in_channels, like.out_channels
    new = SmallMapConv2d(*sizes, kernel_size=3, stride=like.stride, padding=1, bias=False, device="meta")
    new.weight = like.weight
    return new


def by_products(x: Tensor, weight: Tensor, way: Products) -> Tensor:
    """x (N, I, H, W), weight (O, I, 3, 3) -> (N, O, H', W')."""
    mix, weigh, gather = (each.to(x.dtype) for each in way)
    mixed = mix @ x.permute(0, 2, 3, 1).flatten(1, 2)  # (N, P, I)
    weighed = weigh @ weight.to(x.dtype).permute(2, 3, 1, 0).reshape(9, -1)  # (P, I·O)
    each = mixed.transpose(0, 1) @ weighed.unflatten(1, (x.shape[1], len(weight)))  # (P, N, O)
    y = gather @ each.transpose(0, 1)  # (N, H'·W', O)
    side = math.isqrt(len(gather))
    return y.unflatten(1, (side, side)).permute(0, 3, 1, 2)
