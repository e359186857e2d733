"""Answers to the exercises of notebook 02, right and wrong."""

import copy
import math

import numpy as np
import torch
import torchvision
from torch import nn

from helpers import encoder
from tests.banks.exercise import Exercise

# small_image_stem ----------------------------------------------------------------------------------------------------


def in_place(net):
    net.conv1 = nn.Conv2d(3, net.conv1.out_channels, 3, 1, 1, bias=False)
    net.maxpool = nn.Identity()
    return net


def a_changed_copy(network):
    new = copy.deepcopy(network)
    new.conv1 = nn.Conv2d(in_channels=3, out_channels=new.bn1.num_features, kernel_size=3, padding="same", bias=False)
    new.maxpool = nn.Sequential()
    return new


def the_middle_of_the_old_kernel(net):
    conv = nn.Conv2d(3, net.conv1.out_channels, (3, 3), (1, 1), (1, 1), bias=False)
    conv.weight.data = net.conv1.weight.data[:, :, 2:5, 2:5].clone()
    net.conv1, net.maxpool = conv, nn.MaxPool2d(kernel_size=1, stride=1)
    return net


def stem(kernel=3, stride=1, padding=1, bias=False, channels=None, maxpool=nn.Identity, **more):
    """An answer that makes the stem of these settings."""

    def small_image_stem(net):
        width = net.conv1.out_channels if channels is None else channels
        net.conv1 = nn.Conv2d(3, width, kernel, stride, padding, bias=bias, **more)
        if maxpool:
            net.maxpool = maxpool()
        return net

    return small_image_stem


def no_return(net):
    in_place(net)


def conv_alone(net):
    return in_place(net).conv1


def pool_set_to_none(net):
    net = in_place(net)
    net.maxpool = None
    return net


def pool_deleted(net):
    net = in_place(net)
    del net.maxpool
    return net


def fc_removed_too(net):
    net = in_place(net)
    net.fc = nn.Identity()
    return net


def fresh_batch_norm(net):
    net = in_place(net)
    net.bn1 = nn.BatchNorm2d(net.conv1.out_channels, affine=False)
    return net


def relu_removed(net):
    net = in_place(net)
    net.relu = nn.Identity()
    return net


def frozen_conv(net):
    net = in_place(net)
    net.conv1.weight.requires_grad_(False)
    return net


def a_plain_sequence(net):
    return nn.Sequential(nn.Conv2d(3, net.conv1.out_channels, 3, 1, 1, bias=False), net.bn1, net.relu)


def stumbles(net):
    return net.no_such_layer


def layers_that_hand_on_the_middle(net):
    """The 7×7 layer kept, its kernel cut to 3×3 and its settings rewritten."""
    net.conv1.kernel_size, net.conv1.stride, net.conv1.padding = (3, 3), (1, 1), (1, 1)
    net.conv1.weight = nn.Parameter(net.conv1.weight.detach()[:, :, 2:5, 2:5].contiguous())
    setattr(net, "maxpool", nn.AvgPool2d(1))  # noqa: B010
    return net


def attributes_rewritten(net):
    net.conv1.stride = (1, 1)
    net.conv1.padding = (1, 1)
    net.conv1.kernel_size = (3, 3)
    net.maxpool = nn.Identity()
    return net


RIGHT_STEMS = {
    "the old layer rewritten": layers_that_hand_on_the_middle,
    "in place": in_place,
    "a changed copy": a_changed_copy,
    "the middle of the old kernel": the_middle_of_the_old_kernel,
}
WRONG_STEMS = {
    "calls the reference": (lambda net: encoder.small_image_stem(net), "course's own answer"),
    "lazy: the ResNet as it came": (lambda net: net, "7×7"),
    "no return": (no_return, "return"),
    "conv alone": (conv_alone, "the ResNet is wanted"),
    "a plain sequence": (a_plain_sequence, "the ResNet is wanted"),
    "max-pool left": (stem(maxpool=None), "max-pool is still there"),
    "max-pool with stride 1": (stem(maxpool=lambda: nn.MaxPool2d(3, 1, 1)), "still changes"),
    "average pool instead": (stem(maxpool=lambda: nn.AvgPool2d(2)), "max-pool is still there"),
    "kernel 7, stride 1": (stem(kernel=7, padding=3), "7×7"),
    "the old layer's attributes rewritten": (attributes_rewritten, "its weight is still 7×7"),
    "kernel 5": (stem(kernel=5, padding=2), "(5, 5)"),
    "stride 2": (stem(stride=2), "stride 2"),
    "no padding": (stem(padding=0), "no padding"),
    "the old padding": (stem(padding=3), "padding (3, 3)"),
    "dilation and padding 2": (stem(padding=2, dilation=2), "padding"),
    "dilation, same padding": (stem(padding="same", dilation=2), "dilation"),
    "reflected border": (stem(padding_mode="reflect"), "zeros as padding"),
    "bias": (stem(bias=True), "bias"),
    "fitted to 64 channels": (stem(channels=64), "old conv1.out_channels"),
    "pool set to none": (pool_set_to_none, "nn.Identity()"),
    "pool deleted": (pool_deleted, "nn.Identity()"),
    "fc removed too": (fc_removed_too, "`fc.weight`"),
    "fresh batch norm": (fresh_batch_norm, "`bn1.weight`"),
    "relu removed": (relu_removed, "relu"),
    "frozen conv": (frozen_conv, "gradient"),
    "stumbles": (stumbles, "no_such_layer"),
}

# build_encoder -------------------------------------------------------------------------------------------------------

DEPTHS = {
    "resnet18": [2, 2, 2, 2],
    "resnet34": [3, 4, 6, 3],
    "resnet50": [3, 4, 6, 3],
    "resnet101": [3, 4, 23, 3],
    "resnet200": [3, 24, 36, 3],
}


def torchvisions(arch, small_images):
    """A torchvision ResNet with its fc and the wanted stem."""
    block = (
        torchvision.models.resnet.BasicBlock
        if arch in ("resnet18", "resnet34")
        else torchvision.models.resnet.Bottleneck
    )
    net = torchvision.models.ResNet(block, DEPTHS[arch])
    return in_place(net) if small_images else net


def plain(arch, small_images):
    """The same, and the course's own by their names."""
    if arch in DEPTHS:
        return torchvisions(arch, small_images)
    return in_place(encoder.resnet(arch)) if small_images else encoder.resnet(arch)


def headless(arch, small_images):
    net = plain(arch, small_images)
    net.fc = nn.Identity()
    return net


def width_of(arch):
    if arch.startswith("resnet8"):
        return {"resnet8": 128, "resnet8x2": 256, "resnet8x2-quarters": 1024, "resnet8x4-quarters": 2048}[arch]
    return 512 if arch in ("resnet18", "resnet34") else 2048


def identity_in_place_of_fc(arch, small_images):
    net = plain(arch, small_images)
    width, net.fc = net.fc.in_features, nn.Identity()
    return net, width


def sequence_and_flatten(arch, small_images):
    return [nn.Sequential(*list(plain(arch, small_images).children())[:-1], nn.Flatten()), width_of(arch)]


class Handmade(nn.Module):
    """No torchvision forward, the averages by hand, and one image run through to measure h."""

    def __init__(self, arch, small_images):
        super().__init__()
        self.inside, self.parts = headless(arch, small_images), 2 if "quarters" in arch else 1
        del self.inside.avgpool

    def forward(self, x):
        net = self.inside
        h = net.maxpool(net.relu(net.bn1(net.conv1(x))))
        maps = net.layer4(net.layer3(net.layer2(net.layer1(h))))
        if self.parts == 1:
            return maps.flatten(2).mean(dim=2)
        return nn.functional.adaptive_avg_pool2d(maps, self.parts).flatten(1)


def measured_with_one_image(arch, small_images):
    net = Handmade(arch, small_images).eval()
    with torch.no_grad():
        return net, net(torch.zeros(1, 3, 32, 32)).shape[1]


def looks_at_values(arch, small_images):
    """Cannot be built on the meta device."""
    net = headless(arch, small_images)
    assert math.isfinite(float(net.conv1.weight.sum()))
    return net, np.int64(width_of(arch))


def other_layer(make):
    """An answer that puts make(width) in place of fc."""

    def build_encoder(arch, small_images):
        net = plain(arch, small_images)
        net.fc = make(width_of(arch))
        return net, width_of(arch)

    return build_encoder


class Normalised(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return nn.functional.normalize(self.net(x), dim=1)


def max_pooled(arch, small_images):
    net = headless(arch, small_images)
    net.avgpool = nn.AdaptiveMaxPool2d(1)
    return net, width_of(arch)


def unpooled(arch, small_images):
    return nn.Sequential(*list(plain(arch, small_images).children())[:-2]), width_of(arch)


def one_halving_left(arch, small_images):
    net = headless(arch, small_images)
    if small_images:
        net.maxpool = nn.MaxPool2d(3, 2, 1)
    return net, width_of(arch)


def frozen(arch, small_images):
    return headless(arch, small_images).requires_grad_(False), width_of(arch)


class Detached(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        with torch.no_grad():
            return self.net(x)


def one_for_all():
    kept = {}

    def build_encoder(arch, small_images):
        if arch not in kept:
            kept[arch] = headless(arch, True)
        net = kept[arch] if small_images else copy.copy(kept[arch])
        if not small_images:
            fresh = headless(arch, False)
            net._modules = {**kept[arch]._modules, "conv1": fresh.conv1, "maxpool": fresh.maxpool}
        return net, width_of(arch)

    return build_encoder


class AveragedWhole(nn.Module):
    """Its own forward, which averages over all places whatever the network's last pooling is."""

    def __init__(self, net):
        super().__init__()
        self.net = net
        del net.avgpool, net.fc

    def forward(self, x):
        net = self.net
        x = net.maxpool(net.relu(net.bn1(net.conv1(x))))
        return net.layer4(net.layer3(net.layer2(net.layer1(x)))).mean(dim=(2, 3))


def averaged_whole(arch, small_images):
    net = plain(arch, small_images)
    width = net.fc.in_features
    return AveragedWhole(net), width


def largest_of_each_quarter(arch, small_images):
    net = headless(arch, small_images)
    if arch == "resnet8x2-quarters":
        net.avgpool = nn.AdaptiveMaxPool2d(2)
    return net, width_of(arch)


class QuarterAfterQuarter(Handmade):
    """All channels of the first quarter, then all of the second."""

    def forward(self, x):
        h = super().forward(x)
        return h.unflatten(1, (-1, self.parts**2)).transpose(1, 2).flatten(1)


def quarter_after_quarter(arch, small_images):
    return QuarterAfterQuarter(arch, small_images), width_of(arch)


def torchvisions_alone(arch, small_images):
    net = torchvisions(arch, small_images)
    width, net.fc = net.fc.in_features, nn.Identity()
    return net, width


def width_of_the_last_convolution(arch, small_images):
    convs = [layer for layer in headless(arch, small_images).modules() if isinstance(layer, nn.Conv2d)]
    return headless(arch, small_images), max(conv.out_channels for conv in convs)


RIGHT_ENCODERS = {
    "identity in place of fc": identity_in_place_of_fc,
    "sequence and flatten": sequence_and_flatten,
    "measured with one image": measured_with_one_image,
    "looks at values": looks_at_values,
}
WRONG_ENCODERS = {
    "lazy: the pixels in a row": (lambda arch, small: (nn.Flatten(), 512), "no parameters"),
    "fitted to resnet18 on small images": (lambda arch, small: (headless("resnet18", True), 512), "small_images=False"),
    "calls the reference": (lambda arch, small: encoder.build_encoder(arch, small), "course's own answer"),
    "nothing returned": (lambda arch, small: None, "return"),
    "the encoder alone": (headless, "encoder alone"),
    "wrong way round": (lambda arch, small: (width_of(arch), headless(arch, small)), "wrong way round"),
    "a function as encoder": (lambda arch, small: (headless(arch, small).forward, width_of(arch)), "nn.Module"),
    "three things": (lambda arch, small: (headless(arch, small), width_of(arch), arch), "pair"),
    "a dropout in place of fc": (
        lambda arch, small: (nn.Sequential(headless(arch, small), nn.Dropout(0.5)), width_of(arch)),
        "a Dropout in it",
    ),
    "fc left": (lambda arch, small: (plain(arch, small), width_of(arch)), "fc, is still there"),
    "fc left, 1000 columns told": (lambda arch, small: (plain(arch, small), 1000), "fc, is still there"),
    "1000 columns told": (lambda arch, small: (headless(arch, small), 1000), "in_features"),
    "always 512": (lambda arch, small: (headless(arch, small), 512), "feature_dim 512"),
    "always 2048": (lambda arch, small: (headless(arch, small), 2048), "feature_dim 2048"),
    "512 or 2048": (
        lambda arch, small: (headless(arch, small), 512 if arch in ("resnet18", "resnet34") else 2048),
        "net.fc.in_features",
    ),
    "as many as the last convolution has channels": (width_of_the_last_convolution, "net.fc.in_features"),
    "averaged over the whole map": (averaged_whole, "network's own avgpool"),
    "the largest of each quarter": (largest_of_each_quarter, "network's own avgpool"),
    "quarter after quarter": (quarter_after_quarter, "another order"),
    "torchvision's names alone": (torchvisions_alone, "stopped with KeyError"),
    "512 as text": (lambda arch, small: (headless(arch, small), "512"), "whole number"),
    "always the small stem": (
        lambda arch, small: (headless(arch, True), width_of(arch)),
        "small_images=False wants",
    ),
    "always the ImageNet stem": (
        lambda arch, small: (headless(arch, False), width_of(arch)),
        "small_images=True wants",
    ),
    "stems the wrong way round": (
        lambda arch, small: (headless(arch, not small), width_of(arch)),
        "small_images=True wants",
    ),
    "one halving left": (one_halving_left, "Just one of the ImageNet stem's two halvings"),
    "always resnet18": (
        lambda arch, small: (headless("resnet18", small), 512),
        "That is a resnet18: is `arch` used",
    ),
    "resnet50 for all deep ones": (
        lambda arch, small: (
            headless("resnet50" if arch in ("resnet101", "resnet200") else arch, small),
            width_of(arch),
        ),
        "is `arch` used",
    ),
    "resnet34 for resnet18": (
        lambda arch, small: (headless("resnet34" if arch == "resnet18" else arch, small), width_of(arch)),
        "That is a resnet34",
    ),
    "not flattened": (
        lambda arch, small: (nn.Sequential(*list(plain(arch, small).children())[:-1]), width_of(arch)),
        "flattened",
    ),
    "unpooled": (unpooled, "average over all places is missing"),
    "max pooled": (max_pooled, "largest value of each channel"),
    "h normalised": (
        lambda arch, small: (Normalised(headless(arch, small)), width_of(arch)),
        "does not normalise",
    ),
    "a square layer behind the pool": (other_layer(lambda width: nn.Linear(width, width)), "a layer too many"),
    "projected to 128": (other_layer(lambda width: nn.Linear(width, 128)), "(1, 512) is wanted"),
    "frozen": (frozen, "frozen"),
    "under no_grad": (lambda arch, small: (Detached(headless(arch, small)), width_of(arch)), "No gradient flows"),
    "one encoder for all calls": (one_for_all(), "share weights"),
    "torchvision's model as it is": (
        lambda arch, small: (getattr(torchvision.models, arch)(), 512),
        "fc, is still there",
    ),
}

# feature_map_sizes ---------------------------------------------------------------------------------------------------


def by_rounding_up(image_size, small_images):
    return [math.ceil(image_size / (1 if small_images else 4) / 2**k) for k in (0, 0, 1, 2, 3)]


def by_running_layers(image_size, small_images):
    x = torch.zeros(1, 1, image_size, image_size)
    if not small_images:
        x = nn.MaxPool2d(3, 2, 1)(nn.Conv2d(1, 1, 7, 2, 3)(x))
    found = [x.shape[-1]]
    for stride in (1, 2, 2, 2):
        x = nn.Conv2d(1, 1, 3, stride, 1)(x)
        found.append(x.shape[-1])
    return torch.tensor(found)


def as_a_tuple(size, small):
    side = size if small else -(-size // 4)
    return (side, side, -(-side // 2), -(-side // 4), -(-side // 8))


def as_an_array(size, small):
    return np.array(by_rounding_up(size, small), dtype=np.float64)


RIGHT_SIZES = {
    "by rounding up": by_rounding_up,
    "by running layers": by_running_layers,
    "as a tuple": as_a_tuple,
    "as an array": as_an_array,
}
WRONG_SIZES = {
    "lazy: the image's side five times": (lambda size, small: [size] * 5, ""),
    "fitted to the two sizes of the asserts": (
        lambda size, small: {(224, False): [56, 56, 28, 14, 7], (32, True): [32, 32, 16, 8, 4]}.get((size, small)),
        "",
    ),
    "calls the reference": (lambda size, small: encoder.feature_map_sizes(size, small), "course's own answer"),
    "nothing returned": (lambda size, small: None, "return"),
    "one number": (lambda size, small: 32, "five sides"),
    "pairs of sides": (lambda size, small: [(side, side) for side in by_rounding_up(size, small)], "one side"),
    "image first": (lambda size, small: [size, *by_rounding_up(size, small)], "starts with the image"),
    "stem left out": (lambda size, small: by_rounding_up(size, small)[1:], "4 sides"),
    "backwards": (lambda size, small: by_rounding_up(size, small)[::-1], "wrong order"),
    "stems the wrong way round": (lambda size, small: by_rounding_up(size, not small), "other stem"),
    "small_images ignored": (lambda size, small: by_rounding_up(size, True), "other stem"),
    "first stage halves too": (
        lambda size, small: [math.ceil(size / (1 if small else 4) / 2**k) for k in range(5)],
        "first stage does not halve",
    ),
    "stem halves once": (
        lambda size, small: [math.ceil(size / (1 if small else 2) / 2**k) for k in (0, 0, 1, 2, 3)],
        "halves twice",
    ),
    "before the max-pool": (
        lambda size, small: [math.ceil(size / (1 if small else 2)), *by_rounding_up(size, small)[1:]],
        "not before it",
    ),
    "rounded down": (
        lambda size, small: [size // (1 if small else 4) // 2**k for k in (0, 0, 1, 2, 3)],
        "rounded up, not down",
    ),
    "fractions": (
        lambda size, small: [side / (1 if small else 4) for side in (size, size, size / 2, size / 4, size / 8)],
        "rounded up",
    ),
    "fitted to 32 pixels": (lambda size, small: [32, 32, 16, 8, 4] if small else [8, 8, 4, 2, 1], ""),
    "stumbles": (lambda size, small: size.shape, "stopped with AttributeError"),
}

BANK = {
    "small_image_stem": Exercise(WRONG_STEMS, RIGHT_STEMS),
    "build_encoder": Exercise(WRONG_ENCODERS, RIGHT_ENCODERS),
    "feature_map_sizes": Exercise(WRONG_SIZES, RIGHT_SIZES),
}
