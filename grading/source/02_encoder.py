# %% [markdown]
# # 02 · The encoder
#
# *Turn a ResNet into $f$: images in, representations out, for small images and for large ones.*
#
# Everything SimCLR learns ends up in the encoder $f$. It maps an image $x$ to a **representation** $h = f(x)$, a
# vector of a few hundred or a few thousand numbers, and it is the one part we keep. SimCLR does not care what $f$ is
# made of; like the paper we take a ResNet. Two things have to change first: its last layer has to go, and for small
# images its first layers are the wrong ones.
#
# Three graded exercises, 12 points. About 45 minutes, all of it on a CPU.
#
# image → two views → **encoder (you are here)** → projection head → contrastive loss → training → evaluation

# %% locked="setup"
import copy

import torch
from torch import nn

from helpers import checks, controls, course, data, evaluation, plots
from helpers.checks import NotYet
from helpers.encoder import multiply_adds, resnet

my = course.Parts()  # your answers once they pass, the reference until then
plots.course_map(here="encoder")

# %% [markdown]
# ## A ResNet, from image to vector
#
# A ResNet has three parts. The **stem** (`conv1` to `maxpool`) makes a feature map from the image. Four **stages**
# (`layer1` to `layer4`) follow, made of residual blocks: two or three convolutions, whose output is added to their
# input. Each stage but the first halves the sides of the map and doubles the channels. At the end (`avgpool`), every
# channel is averaged over all places, which leaves one vector, and a linear layer `fc` turns that into 1000 class
# scores.
#
# The cell below sends one photo-sized image through ResNet-18, layer by layer. On torch's *meta* device tensors have
# shapes and no values, so this costs nothing.

# %%
with torch.device("meta"):
    net, x = resnet("resnet18"), torch.empty(1, 3, 224, 224)
for name, layer in net.named_children():
    x = layer(x.flatten(1) if name == "fc" else x)
    print(f"{name:8} {tuple(x.shape)}")

# %% [markdown]
# Read it from the bottom. `fc` answers a question about ImageNet's classes that we never asked, so it goes. The 512
# averages in front of it are $h$. A ResNet-50 has 2048 of them; the paper's results are mostly with that one.
#
# Now read the sides from the top: 224, 112, 56. Two layers, `conv1` and `maxpool`, have thrown away fifteen of every
# sixteen places before the first block has seen anything. For a photo that is a bargain. For a picture of 32 × 32?
#
# ## Exercise 2.1 · `feature_map_sizes` (about 6 lines, 3 points)
#
# Write down the side of the feature map after the stem, and after each of the four stages, for any square image.
#
# ```
# image_size     side of the image in pixels
# small_images   False: the ImageNet stem, a 7×7 convolution with stride 2 and padding 3,
#                       then a 3×3 max-pool with stride 2 and padding 1
#                True:  the stem for small images, a 3×3 convolution with stride 1 and padding 1
# returns        a list of five sides: after the stem (max-pool included), then after stages 1, 2, 3 and 4
# ```
#
# The first stage keeps the side. Each other stage begins with a 3×3 convolution with stride 2 and padding 1. A window
# of $k$ with stride $s$ and padding $p$ finds $\lfloor (\text{side} + 2p - k) / s \rfloor + 1$ places.

# %% exercise="feature_map_sizes"
def feature_map_sizes(image_size, small_images):
    """Five sides: after the stem, then after each of the four stages of a ResNet."""
    ### BEGIN SOLUTION
    side = image_size
    if not small_images:
        side = (side + 1) // 2  # 7×7 convolution, stride 2
        side = (side + 1) // 2  # 3×3 max-pool, stride 2
    sides = [side, side]  # stage 1 keeps the side
    for _ in range(3):
        sides.append((sides[-1] + 1) // 2)
    return sides
    ### END SOLUTION

# %% [markdown]
# Below, your answer as a picture. Each square is one place of the feature map, painted with the average colour of
# the pixels it stands for: that is how finely the network can still say *where* something is.

# %%
pictures = data.load_images("shapes", "train")


def draw_sides():
    sides = {"ImageNet stem": feature_map_sizes(32, False), "small stem": feature_map_sizes(32, True)}
    plots.show(
        plots.feature_map_ladder(pictures.images[7], sides),
        alt=f"A 32 by 32 picture averaged down to the sides of your feature maps, stem by stem: {sides}.",
    )


checks.try_it(draw_sides)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# What does the formula give for each of the three kinds of layer with stride 2, for sides 8 and 9? Do you need
# three formulas?
#
# </details>
# <details><summary>Hint 2</summary>
#
# All three come to the same: half the side, an odd one rounded up. In whole numbers that is `(side + 1) // 2`.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Begin with `sides = [stem, stem]`, where `stem` is `image_size`, halved twice if the images are not small. Then
# append half of `sides[-1]`, three times.
#
# </details>

# %% check="feature_map_sizes" points=2
with checks.explained(feature_map_sizes):
    photo_sides = feature_map_sizes(224, False)
    assert list(photo_sides) == [56, 56, 28, 14, 7], "224 × 224 gives 56, 56, 28, 14, 7, as the shapes above say."
    small_sides = feature_map_sizes(32, True)
    assert list(small_sides) == [32, 32, 16, 8, 4], "With the small stem, 32 × 32 gives 32, 32, 16, 8, 4."
checks.check_feature_map_sizes(feature_map_sizes)

# %% hidden="feature_map_sizes" points=1
assert list(feature_map_sizes(97, False)) == [25, 25, 13, 7, 4], "A side of 97 gives 25, 25, 13, 7, 4 with the ImageNet stem."
assert list(feature_map_sizes(97, True)) == [97, 97, 49, 25, 13], "A side of 97 gives 97, 97, 49, 25, 13 with the small stem."
checks.check_feature_map_sizes(feature_map_sizes, seed=271)

# %%
my.keep(feature_map_sizes)

# %% [markdown]
# ## What the ImageNet stem does to a small image
#
# With the ImageNet stem, the last stage of ResNet-18 makes a map of 1 × 1: most of its 3×3 windows lie on one place and
# eight places of padding. The padding is zeros, and a weight that only ever multiplies zeros does nothing. It gets no
# gradient either, so we can count such weights.
#
# **Predict:** of ResNet-18's weights, what share never touches a 32 × 32 image? A tenth? A third? More than half?

# %%
def idle_weights(net, images):
    """Print, stage by stage, how many weights get a gradient of exactly 0 from these images."""
    net(images.float() / 255).sum().backward()
    all_idle, all_weights = 0, 0
    for name in ("conv1", "layer1", "layer2", "layer3", "layer4"):
        weights = list(getattr(net, name).parameters())
        idle, total = sum(int((w.grad == 0).sum()) for w in weights), sum(w.numel() for w in weights)
        all_idle, all_weights = all_idle + idle, all_weights + total
        print(f"{name:8} {idle:>11,} of {total:>11,} idle")
    print(f"together {all_idle:>11,} of {all_weights:>11,} idle ({all_idle / all_weights:.0%})")


torch.manual_seed(4)
net = resnet("resnet18")
idle_weights(net, pictures.images[:64])

# %% [markdown]
# More than half of the network could be cut off without changing any output: nearly all of it sits in the last
# stage. There eight of the nine weights of every 3×3 kernel meet only padding; in the first convolution of the stage,
# which sees a 2 × 2 map, it is five of nine.
#
# The remedy is in the paper's appendix B.9, where SimCLR meets CIFAR-10: a 3×3 convolution with stride 1 in place of
# the 7×7 with stride 2, and no max-pool.
#
# ## Exercise 2.2 · `small_image_stem` (about 4 lines, 4 points)
#
# Give a ResNet this stem.
#
# ```
# resnet    a torchvision ResNet; its stem is resnet.conv1, resnet.bn1, resnet.relu, resnet.maxpool
# returns   a ResNet with a new conv1 (3×3, stride 1, padding 1, no bias, as many output channels as before) and no
#           max-pool; all the rest as it was. Change the one you get, or a copy: both are fine.
# ```

# %% exercise="small_image_stem"
def small_image_stem(resnet):
    """The ResNet with a 3×3 stride-1 convolution as conv1 and no max-pool."""
    ### BEGIN SOLUTION
    channels = resnet.conv1.out_channels
    resnet.conv1 = nn.Conv2d(3, channels, kernel_size=3, stride=1, padding=1, bias=False)
    resnet.maxpool = nn.Identity()
    return resnet
    ### END SOLUTION

# %% [markdown]
# The first feature maps of one picture: on top what the ImageNet stem hands on, below what yours does. The kernels are
# random, so do not look for meaning; look for how much of the picture's outline is left.

# %%
def stem_output(net, image):
    """The first six channels behind the stem of a ResNet: (6, side, side)."""
    return net.maxpool(net.relu(net.bn1(net.conv1(image[None].float() / 255))))[0, :6]


def draw_stems():
    torch.manual_seed(1)
    net, image = resnet("resnet18").eval(), pictures.images[7]
    maps = {"ImageNet stem": stem_output(net, image), "your stem": stem_output(small_image_stem(copy.deepcopy(net)), image)}
    sides = [m.shape[-1] for m in maps.values()]
    alt = f"Six channels behind each stem; sides {sides}. The larger one keeps the outline."
    plots.show(plots.stem_maps(image, maps), alt=alt)


checks.try_it(draw_stems)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Layers are attributes. What happens when you assign another layer to one?
#
# </details>
# <details><summary>Hint 2</summary>
#
# The ResNet's `forward` calls `self.maxpool` whatever you do. Which layer of `torch.nn` hands on its input unchanged?
#
# </details>
# <details><summary>Hint 3</summary>
#
# `resnet.conv1 = nn.Conv2d(3, resnet.conv1.out_channels, kernel_size=3, ...)`, where stride, padding and bias are
# still to be filled in, then `resnet.maxpool = nn.Identity()`, then give the ResNet back.
#
# </details>

# %% check="small_image_stem" points=3
with checks.explained(small_image_stem):
    changed = small_image_stem(resnet("resnet18"))
    assert isinstance(getattr(changed, "conv1", None), nn.Module), "The ResNet is to be returned."
    assert isinstance(getattr(changed, "maxpool", None), nn.Module), "The forward still calls maxpool."
    shape = tuple(changed.conv1.weight.shape)
    assert shape == (64, 3, 3, 3), f"ResNet-18's new conv1 has a weight of (64, 3, 3, 3), yours one of {shape}."
    stem = changed.maxpool(changed.conv1(torch.zeros(1, 3, 32, 32)))
    assert stem.shape == (1, 64, 32, 32), "A 32 × 32 image leaves conv1 and maxpool with 32 × 32 places."
checks.check_small_image_stem(small_image_stem)

# %% hidden="small_image_stem" points=1
changed = small_image_stem(resnet("resnet8"))
shape = tuple(changed.conv1.weight.shape)
assert shape == (32, 3, 3, 3), f"ResNet-8's new conv1 has a weight of (32, 3, 3, 3), yours one of {shape}."
assert changed(torch.rand(2, 3, 24, 24)).shape == (2, 1000), "The rest of the ResNet, fc included, stays as it was."
checks.check_small_image_stem(small_image_stem, seed=271)

# %%
my.keep(small_image_stem)

# %% [markdown]
# ### Does it help, and what does it cost?
#
# **Predict:** how many weights are idle now? And how many more multiply-adds does an image cost?

# %%
idle_weights(my.small_image_stem(resnet("resnet18")), pictures.images[:16])

# %%
print(f"for one 32 × 32 image     {'parameters':>12} {'multiply-adds':>15}")
for arch in ("resnet8", "resnet8x2", "resnet18", "resnet50", "resnet200"):
    for stem in ("ImageNet", "small"):
        net = resnet(arch) if stem == "ImageNet" else my.small_image_stem(resnet(arch))
        net.fc = nn.Identity()  # the encoder has none
        parameters = sum(p.numel() for p in net.parameters())
        print(f"{arch:10} {stem:8} stem   {parameters:>12,} {multiply_adds(net, 32):>15,}")

# %% [markdown]
# The number of parameters hardly moves, for convolutions share theirs between places. The multiply-adds grow twelve-
# to sixteenfold, since every stage now has up to sixteen times as many places to visit. Parameters measure the file
# you save; multiply-adds measure your patience.
#
# That is also why the course has a network of its own. **ResNet-8** has three stages with one block each, 32, 64 and
# 128 channels wide, and $h$ has 128 numbers. Two CPU cores can pretrain it while you wait. Photographs have more to
# tell: for them there is **ResNet-8 (2×)**, whose three stages are twice as wide and have half as many places a side,
# at about the same price. It comes in two kinds: the average over the last map at the end, or the averages over its
# four quarters side by side (`resnet8x2-quarters`), so that $h$, 1024 numbers, still knows left from right and top from
# bottom. `resnet8x4-quarters` is twice as wide again: on pictures of half the side it costs what the other costs on
# whole ones. Whoever has a GPU takes ResNet-18 or ResNet-50 by changing one word.
#
# One thing the stem is not: a law. ResNet-8 has no fourth stage, so behind the ImageNet stem its last map is 2 × 2 and
# none of its weights is idle. It is then many times cheaper, and on pictures as plain as ours it may well do. Which
# stem is better for *your* images is a question for notebook 06's measures, not for taste.
#
# ## Exercise 2.3 · `build_encoder` (about 6 lines, 5 points)
#
# Put it together: name in, encoder and the length of its $h$ out.
#
# ```
# arch           "resnet18", "resnet34", "resnet50", "resnet101" or "resnet200", or
#                our "resnet8", "resnet8x2", "resnet8x2-quarters" or
#                "resnet8x4-quarters": resnet(arch), imported above, builds any
#                of them with random weights, ImageNet stem and fc
# small_images   whether to use the stem for small images
# returns        (encoder, feature_dim), where encoder: x (N, 3, H, W) → h (N, feature_dim)
# ```
#
# Use `my.small_image_stem` for the stem: it is yours if yours has passed. Nothing is added behind $h$: no
# normalisation, no layer. And no number is written down that the network knows itself.

# %% exercise="build_encoder"
def build_encoder(arch, small_images):
    """The encoder f of that name, without fc, and the number of columns of its h."""
    ### BEGIN SOLUTION
    net = resnet(arch)
    if small_images:
        net = my.small_image_stem(net)
    feature_dim = net.fc.in_features
    net.fc = nn.Identity()
    return net, feature_dim
    ### END SOLUTION

# %%
def show_representation():
    f, feature_dim = build_encoder("resnet8", True)
    h = f.eval()(pictures.images[:4].float() / 255)
    print(f"feature_dim {feature_dim}, h {tuple(h.shape)}, entries from {h.min():.3f} to {h.max():.3f}")
    print("cosines of the four h:\n", torch.nn.functional.cosine_similarity(h[:, None], h[None], dim=2).detach())


checks.try_it(show_representation)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# `fc` is a linear layer on top of $h$. Which of its attributes says how long $h$ is?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Read `in_features` first. Then put into the place of `fc` what you put into the place of the max-pool.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `net = resnet(arch)`; if `small_images`, `net = my.small_image_stem(net)`; `feature_dim = net.fc.in_features`;
# `net.fc = nn.Identity()`. What is left is to return two things in the right order.
#
# </details>

# %% check="build_encoder" points=4
with checks.explained(build_encoder):
    pair = build_encoder("resnet18", True)
    assert isinstance(pair, tuple | list) and len(pair) == 2, "A pair is to be returned."
    f, feature_dim = pair
    assert feature_dim == 512, "ResNet-18's h has 512 numbers."
    assert f(torch.zeros(2, 3, 32, 32)).shape == (2, 512), "Two images give h of shape (2, 512)."
checks.check_build_encoder(build_encoder)

# %% hidden="build_encoder" points=1
f, feature_dim = build_encoder("resnet50", False)
assert feature_dim == 2048, "ResNet-50's h has 2048 numbers."
assert f.eval()(torch.rand(1, 3, 64, 64)).shape == (1, 2048), "One image of 64 × 64 gives h of shape (1, 2048)."
checks.check_build_encoder(build_encoder, seed=271)

# %%
my.keep(build_encoder)
my.progress()

# %% [markdown]
# All entries of $h$ are averages of ReLU outputs, so none is negative and all $h$ point into one corner of the space.
# That is why the cosines are all near 1 although the pictures differ. Notebook 04 will have to stretch that corner.
#
# ## A random encoder is not nothing
#
# Nothing has been trained. Is $h$ worthless then? Let us ask in two ways: how well does a linear layer (a *linear
# probe*) tell the ten classes apart, and how well does a linear map read off *how* the object was drawn (its hue, its
# position, the light), in pictures it was not fitted on? (The measure is R²: 1 is all of it, 0 is nothing.) Beside it
# stand two controls: chance, and the raw pixels.
#
# **Predict:** which of the four factors survive 128 random averages: hue, position, light, rotation?

# %%
fit, asked = (300, 150) if course.quick() else (1000, 500)
images, labels = pictures.images[: fit + asked], pictures.labels[: fit + asked]
representations = {"raw pixels": evaluation.extract_features(nn.Flatten(), images)}
for seed in range(1 if course.quick() else 3):
    f = controls.random_encoder("resnet8", small_images=True, seed=seed)
    representations[f"random ResNet-8, seed {seed}"] = evaluation.extract_features(f, images)
print(f"{'linear probe':24} chance   {controls.chance(labels[:fit], labels[fit:]):.1%}")
for name, h in representations.items():
    print(f"{name:24} classes  {evaluation.linear_probe(h[:fit], labels[:fit], h[fit:], labels[fit:]):.1%}")

# %%
factors = {name: pictures.factors[name][: fit + asked].float() for name in ("hue", "position", "light", "rotation")}
factors["hue"] = evaluation.on_circle(factors["hue"])  # an angle: the last hue is next to the first
scores = {
    name: {key: evaluation.factor_r2(h[:fit], value[:fit], h[fit:], value[fit:]) for key, value in factors.items()}
    for name, h in list(representations.items())[:2]
}
figure = plots.factor_bars(scores)
figure.axes[0].legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
plots.show(figure, alt=f"How much of each factor a linear map reads off: {scores}.")

# %% [markdown]
# A random encoder tells the classes apart better than chance, with some seeds better than raw pixels, and still badly;
# look how far the seeds lie apart. What it holds best is *style*: the colour, the light, where the object is. A factor
# without a bar has an R² of 0 or below: on new pictures the linear map does no better than the mean. Two lessons for
# later:
#
# 1. Every trained encoder has to be compared with random ones, more than one: what the architecture gives for free is
#    not learned, and what one lucky seed gives is not the architecture's.
# 2. The encoder does not start from nothing, it starts from too much of the wrong thing. The contrastive loss will
#    not have to put information in; it has to change which information dominates.

# %% [markdown]
# ## Batch-norm: no image is alone
#
# Behind every convolution of a ResNet stands a batch normalisation. In train mode it takes its means and spreads over
# **all images of the batch**. **Group normalisation** (Wu & He 2018) takes them over a group of channels of one image.
# `with_group_norm` puts it into a copy of a network and leaves the convolutions as they are.
#
# Below, one picture goes through one random ResNet-8 in the company of 31 others, then of 31 different ones, then of
# these made dark. Its $h$ in the first company is the measure: how far from it is $h$ in the others?
#
# **Predict:** which of the six numbers are 0?

# %%
from helpers.encoder import with_group_norm

torch.manual_seed(0)
f, _ = my.build_encoder("resnet8", True)
kinds = {"batch-norm, train": f.train(), "batch-norm, eval": copy.deepcopy(f).eval()}
kinds["group-norm, train"] = with_group_norm(f).train()
one, first, second = ((pictures.images[rows].float() / 255) for rows in (slice(7, 8), slice(32, 63), slice(64, 95)))
print(f"{'change of h':18} {'other company':>14} {'dark company':>14}")
for name, net in kinds.items():
    with torch.no_grad():
        h, *others = (net(torch.cat([one, company]))[0] for company in (first, second, second / 4))  # (128,) each
    print(f"{name:18}" + "".join(f"{(other - h).norm() / h.norm():15.1%}" for other in others))

# %% [markdown]
# With batch-norm in train mode, $h$ tells something of the other images in the batch. For a classifier that is a little
# noise. For a contrastive loss it is a **leak**: the question is which view belongs to which, and whatever the two
# views of an image share besides the image is a hint at the answer. When all $2N$ views go through together they share
# the same statistics, which then give nothing away. On several GPUs, each normalising its own share of the batch, the
# two views of an image share theirs, and most of their negatives have others: the encoder can learn to tell the GPUs
# apart instead of the images. The paper (section 2.2) therefore takes the statistics over all devices, and so does
# [helpers/distributed.py](../helpers/distributed.py); other methods shuffle the images between the GPUs (MoCo) or use a
# normalisation that looks at one image alone, as group-norm does.

# %% [markdown]
# ## Predict, then measure
#
# Is the small stem worth its arithmetic?
# Run the cell to read the question and the choices; write one of them into `guess` and run it again. It then
# measures on the built-in pictures, mostly by training small encoders, one seed, for a minute or two on two cores, and
# sets what came out beside a larger run with several seeds and beside the paper. Nothing here gives points.

# %%
from helpers.findings import predict

guess = None
predict("stem", guess)

# %% [markdown]
# <details><summary>When you have seen the answer: does the small stem harm?</summary>On these pictures and in so few
# epochs, yes: its accuracy stays close to guessing. A likely reason, which nobody has
# measured here: it sees the fine texture of the background, which is enough to find a few partners, and the ImageNet stem
# blurs that away. In photographs texture belongs to the object, and the recipe for them takes the small stem.</details>

# %% [markdown]
# ## What you can now say
#
# - The encoder is a ResNet without `fc`; $h$ is the average over all places, 512 or 2048 numbers (128 in our ResNet-8).
# - The ImageNet stem keeps one place in sixteen. On 32 × 32 images ResNet-18's last stage is left with a single place,
#   and most of its weights with nothing to do.
# - The small stem costs twelve to sixteen times the multiply-adds and no further parameters.
# - Random encoders are a control that every result has to beat.
# - In train mode batch-norm lets the images of a batch see each other; group-norm does not.
#
# ## Next
#
# $h$ is what we keep, yet the loss never looks at it. [03 · The projection head](03_projection_head.ipynb) puts $g$ in
# between and asks why.
