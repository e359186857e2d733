"""The encoder f: a ResNet without its last layer, images in, representations h out. It is not trained here.

A ResNet is a stem, four stages of residual blocks, an average over all places, and a linear layer `fc`.
The encoder is everything but `fc`; small images need another stem.
"""

import copy
import math

import torch
from torch import Tensor, nn
from torchvision.models import ResNet
from torchvision.models.resnet import BasicBlock, Bottleneck

from helpers.small_maps import small_map_conv

BLOCKS = {  # He et al. 2016, table 1: the kind of block and how many of it in each stage
    "resnet18": (BasicBlock, [2, 2, 2, 2]),
    "resnet34": (BasicBlock, [3, 4, 6, 3]),
    "resnet50": (Bottleneck, [3, 4, 6, 3]),
    "resnet101": (Bottleneck, [3, 4, 23, 3]),
    "resnet200": (Bottleneck, [3, 24, 36, 3]),  # He et al. 2016, "Identity Mappings": 16 more blocks than ResNet-152
}
NARROW = {  # ours, for two CPU cores: the side of what the last pooling leaves; channels of the stem and of three stages
    "resnet8": (1, 32, 32, 64, 128),
    "resnet8x2": (1, 16, 64, 128, 256),
    "resnet8x2-quarters": (2, 16, 64, 128, 256),
    "resnet8x4-quarters": (2, 32, 128, 256, 512),
}
NAMES = (*NARROW, *BLOCKS)


def resnet(arch: str, num_classes: int = 1000) -> ResNet:
    """A ResNet with fresh random weights, ImageNet stem and `fc`, as torchvision builds it.

    Args:
        arch: one of NAMES. The narrow ones are ours, for two CPU cores; the others are He et al. 2016.
        num_classes: rows of `fc`; the encoder has no use for them.

    Raises:
        ValueError: for any other name.
    """
    if arch not in NAMES:
        raise ValueError(f"There is no encoder {arch!r}; choose one of {', '.join(NAMES)}.")
    if arch in NARROW:
        return narrow_resnet(*NARROW[arch], num_classes=num_classes)
    block, counts = BLOCKS[arch]
    return ResNet(block, counts, num_classes=num_classes)


def narrow_resnet(parts: int, stem: int, *stages: int, num_classes: int) -> ResNet:
    """A ResNet with one block a stage; the numbers of the stem and the stages are channels.

    A stage wider than what comes before it halves the sides. So (16, 64, 128, 256), whose stages are twice as wide as
    those of (32, 32, 64, 128), works on maps of half the side and takes no longer. The last pooling leaves parts × parts
    places: 1 is the average over the whole map, 2 the averages over its quarters (which share the middle of a map of odd
    side), side by side in h, which so keeps where a thing is. Convolutions of maps of 2×2 and of 4×4 have their own
    way: see small_maps.
    """
    net = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=num_classes)
    net.conv1 = nn.Conv2d(3, stem, kernel_size=7, stride=2, padding=3, bias=False)
    net.bn1 = nn.BatchNorm2d(stem)
    before = stem
    for stage, width in enumerate(stages, start=1):
        wider = width > before
        block = BasicBlock(before, width, 2, shortcut(before, width)) if wider else BasicBlock(width, width)
        block.conv1, block.conv2 = small_map_conv(block.conv1), small_map_conv(block.conv2)
        setattr(net, f"layer{stage}", nn.Sequential(block))
        before = width
    net.layer4 = nn.Identity()
    net.avgpool = AverageOfParts(parts)
    net.fc = nn.Linear(before * parts**2, num_classes)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):  # as torchvision starts its convolutions
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return net


def shortcut(in_channels: int, out_channels: int) -> nn.Sequential:
    """The way around a block that halves the sides and widens: a 1×1 convolution with stride 2."""
    convolution = nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels))


class AverageOfParts(nn.AdaptiveAvgPool2d):
    """nn.AdaptiveAvgPool2d; a map that has as many places as are asked for passes, where averages of one took time."""

    def forward(self, x: Tensor) -> Tensor:
        """x (N, C, H, W) -> (N, C, parts, parts)."""
        return x if x.shape[2:] == (self.output_size, self.output_size) else super().forward(x)


def small_image_stem(resnet: ResNet) -> ResNet:
    """A copy of a ResNet with the stem for small images (SimCLR, appendix B.9): 3×3, stride 1, no max-pool.

    The new convolution has as many channels as the old one; everything behind the stem stays as it is.
    """
    small = copy.deepcopy(resnet)
    like = {"device": resnet.conv1.weight.device, "dtype": resnet.conv1.weight.dtype}
    small.conv1 = nn.Conv2d(3, resnet.conv1.out_channels, kernel_size=3, stride=1, padding=1, bias=False, **like)
    nn.init.kaiming_normal_(small.conv1.weight, mode="fan_out", nonlinearity="relu")  # as torchvision does
    small.maxpool = nn.Identity()
    return small


def with_group_norm(network: nn.Module, channels: int = 16) -> nn.Module:
    """A copy of a network with group normalisation in place of batch normalisation (Wu & He 2018).

    Every image is then normalised by itself: nothing leaks from one image of a batch to another, a batch may be small,
    and train and eval mode are the same. That holds for an encoder; the norm of a head (one axis) stays as it is.

    Args:
        channels: of a group; where they do not divide a layer's, its groups are larger, and a small layer is one group.
    """
    copied = copy.deepcopy(network)
    for module in list(copied.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                width = child.num_features
                setattr(module, name, nn.GroupNorm(math.gcd(width, max(1, width // channels)), width))
    return copied


def build_encoder(arch: str, small_images: bool, group_norm: bool = False) -> tuple[nn.Module, int]:
    """The encoder f of that name and the length of its representation.

    Args:
        arch: "resnet8" (h has 128 numbers), "resnet8x2" (256), "resnet8x2-quarters" (1024), "resnet8x4-quarters" (2048),
            "resnet18" or "resnet34" (512), "resnet50", "resnet101" or "resnet200" (2048).
        small_images: the 3×3 stem for images of about 32 pixels a side; else the ImageNet stem.
        group_norm: in place of batch normalisation.

    Returns:
        encoder: (N, 3, H, W) -> h (N, feature_dim); h is an average of ReLU outputs, so never negative.
        feature_dim: columns of h.
    """
    encoder = resnet(arch)
    if small_images:
        encoder = small_image_stem(encoder)
    feature_dim = encoder.fc.in_features
    encoder.fc = nn.Identity()
    return with_group_norm(encoder) if group_norm else encoder, feature_dim


def feature_map_sizes(image_size: int, small_images: bool) -> list[int]:
    """The side of the feature map after the stem and after each of the four stages of a ResNet.

    Args:
        image_size: side of the square image in pixels, at least 1.
        small_images: which stem; the ImageNet stem is a stride-2 convolution and a stride-2 max-pool.

    Returns:
        Five sides. A layer with stride 2 turns side s into (s + 1) // 2, so odd sides are rounded up.
    """
    if image_size < 1:
        raise ValueError(f"image_size is {image_size}; a side is at least 1 pixel.")
    stem = image_size if small_images else halved(halved(image_size))
    stages = [stem]  # the first stage keeps its side
    for _ in range(3):
        stages.append(halved(stages[-1]))
    return [stem, *stages]


def halved(side: int) -> int:
    """What a 7×7, 3×3 or 1×1 window with stride 2 and padding 3, 1 or 0 leaves of a side."""
    return (side - 1) // 2 + 1


def multiply_adds(network: nn.Module, image_size: int) -> int:
    """Multiply-adds of the convolutions and linear layers for one image; the rest costs next to nothing.

    Args:
        network: takes (1, 3, image_size, image_size); it is run once in eval mode, then put back as it was.
    """
    total = 0

    def count(layer: nn.Module, inputs: tuple, output: Tensor) -> None:
        nonlocal total
        each = layer.weight[0].numel()  # multiply-adds for one entry of the output
        total += each * output.numel()

    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    modes = [(module, module.training) for module in network.modules()]
    try:
        device = next(network.parameters()).device
        with torch.no_grad():
            network.eval()(torch.zeros(1, 3, image_size, image_size, device=device))
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes:
            module.training = mode
    return total
