"""Checks of notebook 02. The oracles: the arithmetic of convolutions, and parameters counted from the block layout."""

import copy
import operator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import ResNet
from torchvision.models.resnet import BasicBlock

from helpers.checks.core import as_double, call, check, close, expect, expect_close, expect_tensor

__all__ = ["check_build_encoder", "check_feature_map_sizes", "check_small_image_stem"]


@check
def check_small_image_stem(small_image_stem, generator):
    """A ResNet with the 3×3 stride-1 stem, changed in place or a changed copy; all behind the stem as before."""
    for width in shuffled([16, 24, 40, 48], generator)[:2]:
        before = small_resnet(width)
        after = call("small_image_stem(resnet)", small_image_stem, copy.deepcopy(before))
        expect(
            isinstance(after, nn.Module) and hasattr(after, "conv1"),
            f"small_image_stem(resnet) gave a {type(after).__name__}; the ResNet is wanted.",
        )
        expect(
            getattr(after, "maxpool", None) is not None,
            "`maxpool` is gone from the ResNet, but its forward still calls it: put an nn.Identity() in its place.",
        )
        look_at_convolution(after.conv1, width)
        look_at_max_pool(after.maxpool, width, generator)
        images = torch.rand(2, 3, 20, 20, generator=generator)
        look_behind_the_stem(before, after, images)
        logits = call("the ResNet that came back, on images (2, 3, 20, 20),", after, images)
        logits.square().sum().backward()
        expect(
            after.conv1.weight.grad is not None and bool(after.conv1.weight.grad.any()),
            "No gradient reaches the new convolution's weights, so it would never learn.",
        )


def look_at_convolution(conv: nn.Module, width: int) -> None:
    expect(isinstance(conv, nn.Conv2d), f"conv1 is a {type(conv).__name__}; an nn.Conv2d is wanted.")
    expect(
        conv.kernel_size != (7, 7),
        "conv1 still has its 7×7 kernel; on a small image that is a fifth of the side. A 3×3 kernel is wanted.",
    )
    expect(conv.kernel_size == (3, 3), f"conv1 has the kernel {conv.kernel_size}; (3, 3) is wanted.")
    expect(
        conv.weight.shape[-2:] == (3, 3),
        f"conv1 says kernel 3×3, its weight is still {'×'.join(map(str, conv.weight.shape[-2:]))}: "
        "attributes do not change it; make a new nn.Conv2d.",
    )
    expect(
        conv.stride == (1, 1),
        f"conv1 has stride {conv.stride[0]}: it skips places and shrinks the image. Stride 1 is wanted.",
    )
    padding = (1, 1) if conv.padding == "same" else conv.padding
    expect(
        padding != (0, 0),
        "conv1 has no padding, so a 32×32 image loses its border and comes out 30×30. A 3×3 kernel needs padding 1.",
    )
    expect(padding == (1, 1), f"conv1 has padding {conv.padding}; a 3×3 kernel keeps the side with padding 1.")
    expect(conv.dilation == (1, 1), f"conv1 has dilation {conv.dilation}; 1 is wanted.")
    expect(
        conv.bias is None,
        "conv1 has a bias; the batch-norm behind it takes the mean away again, so bias=False is wanted.",
    )
    expect(
        conv.out_channels == width,
        f"conv1 has {conv.out_channels} output channels; this ResNet's had {width}, which bn1 expects. "
        "Take the number from the old conv1.out_channels.",
    )
    expect(
        conv.in_channels == 3 and conv.groups == 1,
        f"conv1 takes {conv.in_channels} channels in {conv.groups} group(s); 3 colours in 1 group are wanted.",
    )


def look_at_max_pool(pool: nn.Module, width: int, generator: torch.Generator) -> None:
    maps = torch.randn(2, width, 8, 8, generator=generator)
    pooled = call("the new maxpool", pool, maps)
    side = pooled.shape[-1] if isinstance(pooled, Tensor) and pooled.dim() == 4 else None
    expect(
        side != 4,
        "The max-pool is still there and halves the sides; replace it with a layer that hands on its input.",
    )
    expect(
        isinstance(pooled, Tensor) and pooled.shape == maps.shape and torch.equal(pooled, maps),
        "maxpool still changes what passes through it; a layer that hands on its input, nn.Identity(), is wanted.",
    )


def look_behind_the_stem(before: ResNet, after: nn.Module, images: Tensor) -> None:
    """Everything but conv1.weight as it was, and the whole as the ResNet with the new stem would compute it."""
    old, new = before.state_dict(), after.state_dict()
    changed = [
        name for name in old if name != "conv1.weight" and (name not in new or not torch.equal(old[name], new[name]))
    ]
    expect(
        not changed,
        f"`{changed[0] if changed else ''}` is not what it was before the call; only conv1 and maxpool are to change.",
    )
    before.eval(), after.eval()
    given = call("the ResNet that came back, on images (2, 3, 20, 20),", after, images)
    with torch.no_grad():
        maps = F.conv2d(images, after.conv1.weight, padding=1)  # (2, width, 20, 20): the stem wanted
        wanted = before.fc(before.layer1(before.relu(before.bn1(maps))).mean(dim=(2, 3)))
    expect_tensor("The ResNet that came back", given, tuple(wanted.shape))
    expect_close(
        "The ResNet that came back",
        given,
        wanted,
        tolerance=1e-4,
        hint="It does not compute conv 3×3 (zeros as padding), bn1, relu and then the rest as before.",
    )


@check
def check_build_encoder(build_encoder, generator):
    """Pairs (encoder, feature_dim): the small ones built for real and run, the deep ones counted on the meta device."""
    small, large = (build_one(build_encoder, "resnet18", flag) for flag in (True, False))
    look_at_encoder(*small, "resnet18", True, generator)
    look_at_encoder(*large, "resnet18", False, generator)
    expect(
        not {id(p) for p in small[0].parameters()} & {id(p) for p in large[0].parameters()},
        "Two calls gave encoders that share weights: training one would change the other. Build anew in each call.",
    )
    flags = torch.randint(2, (len(LAYOUT),), generator=generator).bool().tolist()
    for arch, flag in zip(LAYOUT, flags, strict=True):
        if arch != "resnet18":
            encoder, feature_dim = build_light(build_encoder, arch, flag)
            name = f"build_encoder({arch!r}, small_images={flag})"
            look_at_feature_dim(name, feature_dim, arch)
            look_at_parameters(name, encoder, arch, flag)
            if arch == "resnet50":
                look_at_maps(name, encoder.eval(), arch, flag, torch.zeros(2, 3, SIDE[flag], SIDE[flag]))
    for arch in NARROW:  # what the course itself trains
        for flag in (True, False):
            look_at_narrow(build_encoder, arch, flag, generator)


SIDE = {True: 32, False: 64}  # of the images a stem is tried on: large enough for two or four places at the end


def build_one(build_encoder, arch: str, small_images: bool) -> tuple[nn.Module, object]:
    """The pair an answer gives, after a look at its types."""
    name = f"build_encoder({arch!r}, small_images={small_images})"
    pair = call(name, build_encoder, arch, small_images)
    expect(
        not isinstance(pair, nn.Module),
        f"{name} gave the encoder alone; the pair (encoder, feature_dim) is wanted.",
    )
    expect(
        isinstance(pair, tuple | list) and len(pair) == 2,
        f"{name} gave a {type(pair).__name__}; the pair (encoder, feature_dim) is wanted.",
    )
    expect(
        not isinstance(pair[1], nn.Module),
        f"{name} gave its pair the wrong way round; the encoder comes first, then feature_dim.",
    )
    expect(
        isinstance(pair[0], nn.Module),
        f"{name} gave a {type(pair[0]).__name__} as encoder; an nn.Module is wanted, whose parameters can be trained.",
    )
    expect(
        any(True for _ in pair[0].parameters()),
        f"{name} gave an encoder that has no parameters; a ResNet without its fc is wanted.",
    )
    return pair


def build_light(build_encoder, arch: str, small_images: bool) -> tuple[nn.Module, object]:
    """As build_one, without filling millions of weights where the answer can be built on the meta device."""
    try:
        with torch.device("meta"):
            encoder, feature_dim = build_one(build_encoder, arch, small_images)
            operator.index(feature_dim)
        return encoder, feature_dim
    except Exception:  # it looks at values while it builds, or it is wrong: the slow way tells
        return build_one(build_encoder, arch, small_images)


def look_at_encoder(encoder: nn.Module, feature_dim, arch: str, small_images: bool, generator: torch.Generator) -> None:
    name = f"build_encoder({arch!r}, small_images={small_images})"
    wide = wanted_dim(arch)
    n, side = 1 + int(torch.randint(2, (), generator=generator)), SIDE[small_images]
    maps, h = look_at_maps(name, encoder.eval(), arch, small_images, torch.rand(n, 3, side, side, generator=generator))
    look_at_feature_dim(name, feature_dim, arch)
    look_at_parameters(name, encoder, arch, small_images)
    if maps is not None:
        average = maps.mean(dim=(2, 3))
        expect_close(
            f"The encoder of {name}",
            h,
            average,
            {
                "h has unit length. The encoder does not normalise: that belongs in the loss.": F.normalize(
                    average, dim=1
                ),
                "h is the largest value of each channel; a ResNet ends in the average over all places.": maps.amax(
                    dim=(2, 3)
                ),
            },
            tolerance=1e-4,
            hint="h is not the average of the last stage's feature maps: is something left behind the average pool?",
        )
    frozen = [label for label, parameter in encoder.named_parameters() if not parameter.requires_grad]
    expect(
        not frozen,
        f"`{frozen[0] if frozen else ''}` of the encoder is frozen (requires_grad is False), but SimCLR trains f.",
    )
    x = torch.rand(2, 3, side - 16, side - 16, generator=generator)
    h = encoder.train()(x)
    expect_tensor(f"h of {name} for images (2, 3, {side - 16}, {side - 16})", h, (2, wide))
    expect(
        torch.equal(h, encoder(x)),
        f"The encoder of {name} gives another h for the same images each time it trains: is there a Dropout in it?",
    )
    expect(
        h.requires_grad and torch.autograd.grad(h.sum(), next(encoder.parameters()), allow_unused=True)[0] is not None,
        f"No gradient flows from h back into the encoder of {name}, so it could not be trained.",
    )


def look_at_narrow(build_encoder, arch: str, small_images: bool, generator: torch.Generator) -> None:
    """h of one of the course's own networks: as long as feature_dim says, and what the network's own pooling leaves."""
    name = f"build_encoder({arch!r}, small_images={small_images})"
    encoder, feature_dim = build_one(build_encoder, arch, small_images)
    images = torch.rand(2, 3, SIDE[small_images], SIDE[small_images], generator=generator)
    maps, h = look_at_maps(name, encoder.eval(), arch, small_images, images)
    look_at_feature_dim(name, feature_dim, arch)
    if maps is not None:
        pooled = F.adaptive_avg_pool2d(maps, NARROW[arch][0])  # (2, channels, 1, 1), or 2 × 2 quarters
        quarters_first = pooled.permute(0, 2, 3, 1).flatten(1)
        expect_close(
            f"The encoder of {name}",
            h,
            pooled.flatten(1),
            {"The averages stand in another order than the network's own avgpool leaves them in.": quarters_first},
            tolerance=1e-4,
            hint="The last pooling is the network's own avgpool, and nothing stands behind it.",
        )


def look_at_maps(
    name: str, encoder: nn.Module, arch: str, small_images: bool, images: Tensor
) -> tuple[Tensor | None, Tensor]:
    """Run images through the encoder: the shape of h, and the side of the last stage, which tells the stem.

    Returns the last stage's output (N, channels, side, side), None where no module gave one, and h.
    """
    wide, images = wanted_dim(arch), images.to(next(encoder.parameters()).device)
    channels, pixels = last_stage(arch, small_images)
    seen: list[Tensor] = []
    hooks = [module.register_forward_hook(lambda _, __, output: seen.append(output)) for module in encoder.modules()]
    try:
        with torch.no_grad():
            h = call(f"The encoder of {name}, on images {tuple(images.shape)},", encoder, images)
    finally:
        for hook in hooks:
            hook.remove()
    expect(isinstance(h, Tensor), f"The encoder of {name} gave a {type(h).__name__}; the tensor h is wanted.")
    n = len(images)
    expect(
        h.shape != (n, 1000),
        f"h of {name} has 1000 columns, one for each class of ImageNet: the last layer, fc, is still there. "
        "Put an nn.Identity() in its place.",
    )
    expect(
        not (h.dim() == 4 and h.shape[2:] == (1, 1)),
        f"h of {name} has shape {tuple(h.shape)}; (N, {wide}) is wanted. "
        "The two sides of length 1 are still to be flattened away.",
    )
    expect(
        h.dim() != 4,
        f"h of {name} has shape {tuple(h.shape)}; (N, {wide}) is wanted. The average over all places is missing.",
    )
    expect(
        h.shape != (n, channels) or channels == wide,
        f"h of {name} has {channels} columns, one average a channel; {wide} are wanted. "
        f"The last pooling is the network's own avgpool, which leaves {wide // channels} places of each channel.",
    )
    expect_tensor(f"h of {name} for images {tuple(images.shape)}", h, (n, wide))
    maps = [out for out in seen if isinstance(out, Tensor) and out.dim() == 4 and out.shape[1] == channels]
    side = max((output.shape[-1] for output in maps), default=None)
    image_size, wanted = images.shape[-1], images.shape[-1] // pixels
    if side is not None and side != wanted:
        saw = f"{name}: {side}×{side} places are left of {image_size}×{image_size} pixels, not {wanted}×{wanted}. "
        small = wanted if small_images else 4 * wanted  # what the stem for small images leaves
        if 2 * side == small:
            saw += "Just one of the ImageNet stem's two halvings (stride 2, max-pool) is there."
        elif 4 * side == small:
            saw += "This is the ImageNet stem: small_images=True wants the 3×3 stem without max-pool."
        elif side == small:
            saw += "This is the stem for small images: small_images=False wants the ImageNet stem, left as it is."
        expect(False, saw)
    return next((output for output in reversed(maps) if output.shape[-1] == wanted), None), h


def look_at_feature_dim(name: str, feature_dim, arch: str) -> None:
    wide = wanted_dim(arch)
    try:
        given = operator.index(feature_dim)
    except TypeError:
        given = None
    expect(given is not None, f"{name} gave {feature_dim!r} as feature_dim; the whole number {wide} is wanted.")
    why = ""
    if given == 1000:
        why = " 1000 is what fc gives out (out_features); what it takes in (in_features) is the length of h."
    elif arch in NARROW:
        why = " Read the length of h off the network: net.fc.in_features."
    elif given in (512, 2048):
        why = " ResNet-18 and 34 have 512 numbers, the deeper ones 2048: read it off the network."
    expect(given == wide, f"{name} gave feature_dim {given}, but its h has {wide} columns.{why}")


def look_at_parameters(name: str, encoder: nn.Module, arch: str, small_images: bool) -> None:
    given, wanted = sum(p.numel() for p in encoder.parameters()), count_parameters(arch, small_images)
    if given == wanted:
        return
    saw = f"The encoder of {name} holds {given:,} parameters; {wanted:,} are wanted."
    wide = wanted_dim(arch)
    if given in (wanted + 1000 * (wide + 1), count_parameters(arch, not small_images) + 1000 * (wide + 1)):
        expect(False, f"{saw} The difference is the last layer, fc: it is still in there.")
    if given == count_parameters(arch, not small_images):
        other = "7×7 kernel of the ImageNet stem" if small_images else "3×3 kernel of the stem for small images"
        expect(False, f"{saw} That is the count with the {other}.")
    for other in LAYOUT:
        if given in (count_parameters(other, True), count_parameters(other, False)):
            expect(False, f"{saw} That is a {other}: is `arch` used?")
    expect(False, f"{saw} Is a layer too many or missing?")


LAYOUT = {  # He et al. 2016: convolutions in a block, blocks in each stage
    "resnet18": (2, (2, 2, 2, 2)),
    "resnet34": (2, (3, 4, 6, 3)),
    "resnet50": (3, (3, 4, 6, 3)),
    "resnet101": (3, (3, 4, 23, 3)),
    "resnet200": (3, (3, 24, 36, 3)),
}
NARROW = {  # the course's own: places a side behind the last pooling; channels and halvings of the stages
    "resnet8": (1, 128, 2),
    "resnet8x2": (1, 256, 3),
    "resnet8x2-quarters": (2, 256, 3),
    "resnet8x4-quarters": (2, 512, 3),
}


def last_stage(arch: str, small_images: bool) -> tuple[int, int]:
    """Of the last stage's output: its channels, and how many pixels of the image's side make one place."""
    if arch in NARROW:
        _, channels, halvings = NARROW[arch]
    else:
        channels, halvings = 512 if LAYOUT[arch][0] == 2 else 2048, 3
    return channels, 2 ** (halvings if small_images else halvings + 2)  # the ImageNet stem halves twice


def wanted_dim(arch: str) -> int:
    channels, _ = last_stage(arch, True)
    return channels * NARROW[arch][0] ** 2 if arch in NARROW else channels


def count_parameters(arch: str, small_images: bool) -> int:
    """Parameters of a ResNet without fc: k·k·c_in·c_out a convolution, 2·c_out for the batch-norm behind it."""
    depth, stages = LAYOUT[arch]

    def layer(kernel: int, c_in: int, c_out: int) -> int:
        return kernel * kernel * c_in * c_out + 2 * c_out

    total, c_in = layer(3 if small_images else 7, 3, 64), 64
    for stage, blocks in enumerate(stages):
        c = 64 * 2**stage
        c_out = c if depth == 2 else 4 * c
        for block in range(blocks):
            if depth == 2:
                total += layer(3, c_in, c) + layer(3, c, c)
            else:
                total += layer(1, c_in, c) + layer(3, c, c) + layer(1, c, c_out)
            if block == 0 and c_in != c_out:
                total += layer(1, c_in, c_out)  # the way around
            c_in = c_out
    return total


@check
def check_feature_map_sizes(feature_map_sizes, generator):
    """Five sides, by the arithmetic of each layer, for even and odd images and both stems."""
    drawn = torch.randint(17, 257, (4,), generator=generator).tolist()
    for image_size in [32, 96, 224, 33, 65, *drawn, 1]:
        for small_images in (True, False):
            name = f"feature_map_sizes({image_size}, small_images={small_images})"
            given = call(name, feature_map_sizes, image_size, small_images)
            expect(
                isinstance(given, list | tuple | Tensor) or hasattr(given, "__array__"),
                f"{name} gave a {type(given).__name__}; five sides in a list are wanted.",
            )
            given = as_double(given)
            expect(
                given.dim() == 1,
                f"{name} gave something of shape {tuple(given.shape)}; one side a map is enough, for they are square.",
            )
            right = sides(image_size, small_images)
            if len(given) == 6 and close(given, as_double([image_size, *right]), 0):
                expect(False, f"{name} starts with the image itself; the first side wanted is the one after the stem.")
            expect(
                len(given) == 5,
                f"{name} gave {len(given)} sides; five are wanted: after the stem, then after each of the four stages.",
            )
            expect_close(name, given, as_double(right), wrong_sides(image_size, small_images, right), tolerance=1e-9)


def window(side: int, kernel: int, stride: int, padding: int) -> int:
    """How many places a window finds: the formula of torch.nn.Conv2d's documentation."""
    return (side + 2 * padding - kernel) // stride + 1


def sides(image_size: int, small_images: bool, pool: bool = True, first_stride: int = 1) -> list[int]:
    side = window(image_size, 3, 1, 1) if small_images else window(image_size, 7, 2, 3)
    if pool and not small_images:
        side = window(side, 3, 2, 1)
    found = [side]
    for stride in (first_stride, 2, 2, 2):
        found.append(window(found[-1], 3, stride, 1))
    return found


def wrong_sides(image_size: int, small_images: bool, right: list[int]) -> dict[str, Tensor]:
    stem = image_size if small_images else image_size // 4
    wrong = {
        "The first stage does not halve: its stride is 1.": sides(image_size, small_images, first_stride=2),
        "This is the other stem: is small_images the right way round?": sides(image_size, not small_images),
        "An odd side is rounded up, not down: the padding leaves room for one window more.": [
            stem,
            stem,
            stem // 2,
            stem // 4,
            stem // 8,
        ],
        "Every fraction is rounded up: a side is a whole number of places.": [
            side if small_images else side / 4
            for side in (image_size, image_size, image_size / 2, image_size / 4, image_size / 8)
        ],
        "They are in the wrong order: the stem comes first.": right[::-1],
    }
    if not small_images:
        wrong["The ImageNet stem halves twice: a convolution with stride 2, then a max-pool with stride 2."] = sides(
            image_size, False, pool=False
        )
        whole = [window(image_size, 7, 2, 3), *right[1:]]
        wrong["The stem ends after its max-pool, not before it."] = whole
    return {sentence: as_double(value) for sentence, value in wrong.items()}


def small_resnet(width: int) -> ResNet:
    """A torchvision ResNet with one stage, one block and unusual widths, so that a hard-coded 64 shows."""
    net = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=7)
    net.conv1 = nn.Conv2d(3, width, kernel_size=7, stride=2, padding=3, bias=False)
    net.bn1 = nn.BatchNorm2d(width)
    net.layer1 = nn.Sequential(BasicBlock(width, width))
    net.layer2, net.layer3, net.layer4 = nn.Identity(), nn.Identity(), nn.Identity()
    net.fc = nn.Linear(width, 7)
    return net


def shuffled(values: list, generator: torch.Generator) -> list:
    return [values[index] for index in torch.randperm(len(values), generator=generator)]
