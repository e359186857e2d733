# %% [markdown]
# # 01 · Augmentation
#
# *Make two views of an image, and find out which changes force a network to look at what is in it.*
#
# SimCLR never sees a label. All it is ever told is that two pictures were made from the same image: two **views**,
# $x_a$ and $x_b$. Whatever the views have in common, the encoder may use to recognise them as a pair. So the choice of
# views *is* the choice of what will be learned, and this notebook is where you make it.
#
# Five graded exercises, 16 points. About 60 minutes, all of it on a CPU.
#
# image → **two views (you are here)** → encoder → projection head → contrastive loss → training → evaluation

# %% locked="setup"
import time

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import v2

from helpers import augmentation, checks, course, data, operations, plots, policies, shapes, widgets
from helpers.checks import NotYet

my = course.Parts()  # your answers once they pass, the reference until then
plots.course_map(here="augmentation")

# %% [markdown]
# ## A toolbox of changes
#
# The cells below take one picture and change it in nine ways, those of figure 4 in the SimCLR paper
# ([Chen et al. 2020](https://arxiv.org/abs/2002.05709)). The results are shuffled, and shown without their names.
#
# **Predict.** Which change is which? The nine are: blur, colour jitter, crop and resize, the same crop flipped, cutout,
# grey, noise, a turn by 90°, edges. And which of them change *what is where*, which *how it looks*?

# %%
images, labels, _ = shapes.render(8, seed=21)  # (8, 3, 32, 32) uint8
x = images[5:6] / 255  # (1, 3, 32, 32)
one, box = torch.ones(1), torch.tensor([[2, 3, 21, 21]])  # top, left, height, width
window = (torch.arange(32) - 12).abs() > 5  # False for the ten pixels that cutout hides
edges = (x - x.roll(1, 3)).abs() + (x - x.roll(1, 2)).abs()

# %%
changed = {
    "crop, resize": operations.crop_resize_flip(x, box, one < 0, 32),
    "noise": (x + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1),
    "grey": operations.to_grey(x).expand(-1, 3, -1, -1),
    "crop, flip": operations.crop_resize_flip(x, box, one > 0, 32),
    "turn": x.rot90(1, (2, 3)),
    "edges": (2 * edges).clamp(0, 1),
    "colour jitter": operations.jitter(x, torch.tensor([[1.3, 1.2, 1.2, 0.3]]), torch.tensor([[0, 1, 2, 3]])),
    "cutout": torch.where(window | window[:, None], x, torch.tensor(0.5)),
    "blur": operations.gaussian_blur(x, one, 5),
}

# %%
names = [list(changed)[i] for i in torch.randperm(9, generator=torch.Generator().manual_seed(4))]
pictures = torch.cat([x, *(changed[name] for name in names)])  # (10, 3, 32, 32)
numbers = ["image", *(str(n) for n in range(1, 10))]
plots.show(plots.image_grid(pictures, titles=numbers, columns=10), alt="An image, and beside it nine changed versions of it, numbered.")

# %%
print(*(f"{n} {name}" for n, name in enumerate(names, start=1)), sep="\n")

# %% [markdown]
# Crop, flip, cutout and turn change *what is where*; jitter, grey, noise, blur and edges change *how it looks*. The
# authors tried pairs of them (figure 5; jitter and grey count as one, colour), and one stands out: **crop and colour**.
# Neither is much good alone. The second half of this notebook measures one reason.
#
# A crop does more than it seems to. Two crops of one image may overlap, or lie side by side, or one inside the other
# (figure 3): *recognise the whole from a part*, and *recognise a part from its neighbour*, both come from one line of
# code. The full recipe stands in the paper's appendix A, on page 12 of the arXiv version. It is short, and you will
# now write it.
#
# ## Exercise 1.1 · `color_distortion` (about 4 lines, 4 points)
#
# Colours first. With strength $s$,
#
# - with probability 0.8, multiply **brightness**, **contrast** and **saturation**, each by a random factor between
#   $1 - 0.8\,s$ (but not below 0) and $1 + 0.8\,s$, and turn the **hue** by up to $\pm\,0.2\,s$ of the colour circle, in
#   random order; every number in a range is as likely as any other; all four together, or none of them;
# - then, and independently, turn everything **grey** with probability 0.2.
#
# ```
# color_distortion(strength)   returns a callable: (3, H, W) float in [0, 1] → the same, distorted anew at every call
# ```
#
# torchvision has every part of it (`v2.ColorJitter`, `v2.RandomApply`, `v2.RandomGrayscale`, `v2.Compose`), and any
# other way is as good. How you draw random numbers is up to you: the check looks at many draws, never at one.

# %% exercise="color_distortion"
def color_distortion(strength):
    """SimCLR's colour distortion: a callable that changes the colours of a (3, H, W) float image in [0, 1] at random."""
    ### BEGIN SOLUTION
    s = strength
    jitter = v2.ColorJitter(brightness=0.8 * s, contrast=0.8 * s, saturation=0.8 * s, hue=0.2 * s)
    return v2.Compose([v2.RandomApply([jitter], p=0.8), v2.RandomGrayscale(p=0.2)])
    ### END SOLUTION


# %% [markdown]
# Your own distortion, one image and seven draws in each row, at three strengths. The paper takes strength 1 for
# ImageNet and 0.5 for CIFAR-10.

# %%
def show_distortion():
    rows = [torch.stack([x[0], *(color_distortion(s)(x[0]) for _ in range(7))]) for s in (0.25, 0.5, 1.0)]
    names = ["strength 0.25", "strength 0.5", "strength 1"]
    alt = "Three rows of one image and seven colour-distorted versions; colours differ more from row to row, some are grey."
    plots.show(plots.image_grid(torch.cat(rows), row_labels=names), alt=alt)


checks.try_it(show_distortion)

# %% [markdown]
# <details><summary>Hint 1: a question</summary>
#
# Two things happen by chance, and neither knows about the other. What is the smallest number of coin flips you need, and
# what does each of them decide?
# </details>
# <details><summary>Hint 2: a pointer</summary>
#
# `v2.ColorJitter(brightness, contrast, saturation, hue)` draws all four factors and their order. It has no probability
# of its own: `v2.RandomApply([...], p=...)` gives it one. Its default is not 0.8.
# </details>
# <details><summary>Hint 3: nearly the answer</summary>
#
# ```python
# jitter = v2.ColorJitter(0.8 * strength, ..., ..., 0.2 * strength)
# return v2.Compose([v2.RandomApply([jitter], p=...), v2.RandomGrayscale(p=...)])
# ```
# </details>

# %% check="color_distortion" points=3
"""At strength 0 an image stays as it is, or turns grey; shapes and range are kept; many draws have the right shares."""
picture = torch.rand(3, 6, 9)
with checks.explained(color_distortion):
    assert callable(color_distortion(0.0)), "a callable should come back."
    views = [color_distortion(0.0)(picture) for _ in range(30)]
    assert all(view.shape == (3, 6, 9) for view in views), "the shape (3, 6, 9) should stay."
    kept = sum(torch.allclose(view.float(), picture, atol=0.01) for view in views)
    assert 0 < kept, "at strength 0 most draws should leave the image as it is."
checks.check_color_distortion(color_distortion)

# %% hidden="color_distortion" points=1
with checks.explained(color_distortion):
    for strength in (0.3, 1.0, 1.2):
        picture = torch.rand(3, 17, 11)
        view = color_distortion(strength)(picture)
        assert view.shape == (3, 17, 11), f"the shape changes at strength {strength}."
        assert 0 <= view.min() and view.max() <= 1.0001, f"values leave [0, 1] at strength {strength}."
checks.check_color_distortion(color_distortion, seed=101)

# %%
my.keep(color_distortion)

# %% [markdown]
# ## Exercise 1.2 · `simclr_transform` (about 7 lines, 4 points)
#
# Now the whole recipe, in this order:
#
# 1. **crop and resize**: a box with 8 % to 100 % of the image's area, every share as likely as any other, and a ratio of
#    width to height between 3/4 and 4/3, anywhere in the image, resized to `size` × `size`;
# 2. **flip** left to right with probability 0.5;
# 3. **colour distortion**, yours, with the strength given;
# 4. **blur**, only if `blur` is true: with probability 0.5, a Gaussian with σ drawn evenly between 0.1 and 2 pixels, in a
#    kernel about a tenth of the side wide (an odd number of pixels, at least 3). For small images the paper leaves it out
#    (appendix B.9).
#
# ```
# simclr_transform(size, strength=0.5, blur=False)   returns a callable: (3, H, W) float in [0, 1] → (3, size, size)
# ```
#
# Use `my.color_distortion(strength)`: it is yours once 1.1 has passed, and the reference until then.

# %% exercise="simclr_transform"
def simclr_transform(size, strength=0.5, blur=False):
    """One random view: a callable that makes a (3, size, size) view of a (3, H, W) float image in [0, 1]."""
    ### BEGIN SOLUTION
    steps = [
        v2.RandomResizedCrop(size, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3), antialias=True),
        v2.RandomHorizontalFlip(p=0.5),
        my.color_distortion(strength),
    ]
    if blur:
        steps.append(v2.RandomApply([v2.GaussianBlur(max(3, size // 10 | 1), sigma=(0.1, 2.0))], p=0.5))
    return v2.Compose(steps)
    ### END SOLUTION


# %% [markdown]
# One image, and fifteen of your views of it. Could you still say what it is, from each of them?

# %%
def show_transform():
    transform = simclr_transform(32)
    pictures = torch.stack([x[0], *(transform(x[0]) for _ in range(15))])
    plots.show(plots.image_grid(pictures), alt="An image and fifteen random views of it: parts of it, enlarged, recoloured, some mirrored.")


checks.try_it(show_transform)

# %% [markdown]
# <details><summary>Hint 1: a question</summary>
#
# Which of the four steps happens to every image, and which only by chance? Which one makes all views equally large?
# </details>
# <details><summary>Hint 2: a pointer</summary>
#
# `v2.RandomResizedCrop` does step 1 on its own; look at its `scale` and `ratio`. `v2.GaussianBlur` always blurs, so it
# needs a `v2.RandomApply`. `size // 10 | 1` is odd, `max(3, ...)` of it at least 3.
# </details>
# <details><summary>Hint 3: nearly the answer</summary>
#
# ```python
# steps = [v2.RandomResizedCrop(size, scale=(..., ...)), v2.RandomHorizontalFlip(), my.color_distortion(...)]
# if blur:
#     steps.append(v2.RandomApply([v2.GaussianBlur(max(3, size // 10 | 1), sigma=(..., ...))], p=...))
# return v2.Compose(steps)
# ```
# </details>

# %% check="simclr_transform" points=3
"""A view has the size asked for, and is another one at every call; many views have the right shares of everything."""
with checks.explained(simclr_transform):
    transform = simclr_transform(20)
    assert callable(transform), "a callable should come back."
    x_a, x_b = transform(torch.rand(3, 40, 30)), transform(torch.rand(3, 28, 50))
    assert x_a.shape == x_b.shape == (3, 20, 20), "a view should be (3, size, size)."
    picture = torch.rand(3, 32, 32)
    assert not torch.equal(transform(picture), transform(picture)), "two calls gave one view."
checks.check_simclr_transform(simclr_transform)

# %% hidden="simclr_transform" points=1
with checks.explained(simclr_transform):
    picture = 0.3 + 0.4 * torch.rand(3, 64, 80)  # bicubic resizing overshoots: values that end near 0 or 1 would leave
    for size, blur in ((24, False), (48, True), (96, True)):
        view = simclr_transform(size, strength=1.0, blur=blur)(picture)
        assert view.shape == (3, size, size), f"size {size} gives {tuple(view.shape)}."
        assert 0 <= view.min() and view.max() <= 1.0001, "values leave [0, 1]."
checks.check_simclr_transform(simclr_transform, seed=102)

# %%
my.keep(simclr_transform)

# %% [markdown]
# ## Exercise 1.3 · `TwoViews` (about 6 lines, 3 points)
#
# A transform makes one view; a pair needs two independent draws from the same image. Images come to us in many shapes,
# so this is also the place to bring them all into one. This is how it will be used:
#
# ```python
# two_views = TwoViews(simclr_transform(96))
#
# image = cv2.imread("cat.jpg")          # OpenCV: (H, W, 3) uint8, 0 to 255, channels blue, green, red
# x_a, x_b = two_views(image)            # (3, 96, 96) each, float in [0, 1], channels still blue, green, red
# x_a, x_b = two_views(image[:, :, ::-1])              # red, green, blue
# x_a, x_b = two_views(Image.open("cat.jpg"))          # PIL
# x_a, x_b = two_views(images[0])                      # tensor (3, H, W), uint8, or float in [0, 1]
# ```
#
# ```
# TwoViews(transform)     transform: takes a (3, H, W) float tensor in [0, 1], returns one view
# __call__(image)         returns (x_a, x_b); the caller's image stays as it is, even if the transform works in place
# ```

# %% exercise="two_views"
class TwoViews:
    """Makes two views of an image: an (H, W, 3) uint8 array, a PIL image, or a (3, H, W) tensor, uint8 or float."""

    def __init__(self, transform):
        self.transform = transform

    def __call__(self, image):
        """Returns (x_a, x_b), two results of the transform."""
        ### BEGIN SOLUTION
        if not isinstance(image, torch.Tensor):
            image = torch.tensor(np.array(image)).permute(2, 0, 1)  # (H, W, 3) -> (3, H, W)
        if image.dtype == torch.uint8:
            image = image / 255
        return self.transform(image.clone()), self.transform(image.clone())
        ### END SOLUTION


# %% [markdown]
# Eight images as NumPy arrays, as OpenCV would hand them out, and below each its two views.

# %%
def show_two_views():
    two_views = TwoViews(my.simclr_transform(32))
    arrays = [image.permute(1, 2, 0).numpy() for image in images]  # (32, 32, 3) uint8 each
    x_a, x_b = (torch.stack(views) for views in zip(*(two_views(array) for array in arrays)))
    alt = "Three rows of eight pictures: the images, their first views and their second views."
    plots.show(plots.image_grid(torch.cat([images / 255, x_a, x_b]), row_labels=["image", "$x_a$", "$x_b$"]), alt=alt)


checks.try_it(show_two_views)

# %% [markdown]
# <details><summary>Hint 1: a question</summary>
#
# How often is the transform called for one pair? And what does the second call start from, if the first one wrote into
# the tensor it was given?
# </details>
# <details><summary>Hint 2: a pointer</summary>
#
# `np.array(image)` makes a fresh array of a PIL image and of any NumPy array, also of a reversed one, which
# `torch.from_numpy` refuses. `.permute(2, 0, 1)` moves the channels to the front; `.reshape` would scramble the picture.
# Only uint8 needs to be divided by 255. `.clone()` is a copy.
# </details>
# <details><summary>Hint 3: nearly the answer</summary>
#
# ```python
# if not isinstance(image, torch.Tensor):
#     image = torch.tensor(np.array(image)).permute(...)
# if image.dtype == torch.uint8:
#     image = ...
# return self.transform(image.clone()), ...
# ```
# </details>

# %% check="two_views" points=2
"""Two calls of the transform, each on the image: (3, H, W), float in [0, 1], channels as they came."""
seen = []
with checks.explained(TwoViews):
    pair = TwoViews(lambda picture: seen.append(picture) or picture + len(seen))(np.full((4, 5, 3), 51, dtype=np.uint8))
    assert isinstance(pair, tuple | list) and len(pair) == 2, "a pair (x_a, x_b) should come back."
    assert len(seen) == 2, f"the transform was called {len(seen)} times for two views."
    assert seen[0].shape == (3, 4, 5), f"the transform was handed {tuple(seen[0].shape)}, not (3, 4, 5)."
    assert torch.allclose(pair[0].float(), torch.tensor(1.2)), "51 of 255 is 0.2, and this transform adds 1 to x_a."
checks.check_two_views(TwoViews)

# %% hidden="two_views" points=1
pixels = np.random.default_rng(3).integers(0, 256, (7, 12, 3), dtype=np.uint8)
wanted = torch.tensor(pixels).permute(2, 0, 1) / 255
with checks.explained(TwoViews):
    for picture in (pixels, Image.fromarray(pixels), torch.tensor(pixels).permute(2, 0, 1), wanted.clone()):
        x_a, x_b = TwoViews(lambda given: given.clone())(picture)
        assert torch.allclose(x_a.float(), wanted, atol=0.01), f"x_a differs for a {type(picture).__name__}."
        assert torch.allclose(x_b.float(), wanted, atol=0.01), f"x_b differs for a {type(picture).__name__}."
checks.check_two_views(TwoViews, seed=103)

# %%
my.keep(TwoViews)

# %% [markdown]
# **Two different pipelines.** Nothing says that both views must come from the same recipe. In figure 5 the authors
# transform only one of the two, on purpose; BYOL, a later method, blurs one view more often than the other. With your
# parts that takes two lines: one `TwoViews` for each side, and the first view of the one, the second of the other.

# %%
left, right = my.TwoViews(my.simclr_transform(32, strength=1.0)), my.TwoViews(v2.RandomResizedCrop(32))
pairs = [(left(image)[0], right(image)[1]) for image in images]  # x_a: the full recipe, x_b: a crop only
x_a, x_b = (torch.stack(views) for views in zip(*pairs))
alt = "Two rows of eight views: strongly recoloured crops above, crops in their own colours below."
plots.show(plots.image_grid(torch.cat([x_a, x_b]), row_labels=["full recipe", "crop only"]), alt=alt)

# %% [markdown]
# ## Exercise 1.4 · `TwoViewDataset` (about 5 lines, 2 points)
#
# PyTorch's `DataLoader` asks a data set two questions: how many items, and what is item *i*? Here item *i* is a pair of
# views of image *i*, drawn anew whenever somebody asks.
#
# ```
# TwoViewDataset(images, transform)   images: (M, 3, H, W) uint8, transform: makes one view, as in TwoViews
# len(dataset)                        M
# dataset[i]                          (x_a, x_b), two new views of images[i]
# ```

# %% exercise="two_view_dataset"
class TwoViewDataset(torch.utils.data.Dataset):
    """Item i is a pair of new views (x_a, x_b) of images[i]; images: (M, 3, H, W) uint8."""

    def __init__(self, images, transform):
        ### BEGIN SOLUTION
        self.images = images
        self.two_views = my.TwoViews(transform)
        ### END SOLUTION

    def __len__(self):
        ### BEGIN SOLUTION
        return len(self.images)
        ### END SOLUTION

    def __getitem__(self, index):
        ### BEGIN SOLUTION
        return self.two_views(self.images[index])
        ### END SOLUTION


# %%
def show_dataset():
    loader = torch.utils.data.DataLoader(TwoViewDataset(images, my.simclr_transform(24)), batch_size=3)
    for number, (x_a, x_b) in enumerate(loader, start=1):
        print(f"batch {number}: x_a {tuple(x_a.shape)}, x_b {tuple(x_b.shape)}")


checks.try_it(show_dataset)

# %% [markdown]
# <details><summary>Hint 1: a question</summary>
#
# If all views were made in `__init__`, how many different views of image 0 would a hundred epochs see?
# </details>
# <details><summary>Hint 2: a pointer</summary>
#
# `my.TwoViews(transform)` already turns one image into a pair. Keep it, and the images, in `__init__`.
# </details>
# <details><summary>Hint 3: nearly the answer</summary>
#
# ```python
# self.images, self.two_views = images, my.TwoViews(transform)    # __init__
# return len(...)                                                 # __len__
# return self.two_views(...)                                      # __getitem__
# ```
# </details>

# %% check="two_view_dataset" points=1.5
"""One item an image; item i is a pair of views of image i."""
with checks.explained(TwoViewDataset):
    dataset = TwoViewDataset(torch.full((5, 3, 4, 4), 102, dtype=torch.uint8), lambda picture: picture * torch.rand(()))
    assert len(dataset) == 5, f"len(dataset) is {len(dataset)} for 5 images."
    pair = dataset[4]
    assert isinstance(pair, tuple | list) and len(pair) == 2, "dataset[4] should be a pair."
    x_a, x_b = pair
    assert x_a.shape == x_b.shape == (3, 4, 4), "dataset[4] should be two views, (3, 4, 4) each."
    assert x_a.max() <= 0.4 and not torch.equal(x_a, x_b), "102 of 255 is 0.4, times two random numbers."
checks.check_two_view_dataset(TwoViewDataset)

# %% hidden="two_view_dataset" points=0.5
pictures = torch.arange(6, dtype=torch.uint8)[:, None, None, None].expand(6, 3, 5, 7).contiguous()
with checks.explained(TwoViewDataset):
    dataset = TwoViewDataset(pictures, lambda picture: picture + 0)
    x_a, x_b = next(iter(torch.utils.data.DataLoader(dataset, batch_size=6)))
    assert torch.allclose(x_a.float(), pictures / 255), "x_a[i] should come from image i."
    assert torch.allclose(x_b.float(), pictures / 255), "x_b[i] should come from image i."
checks.check_two_view_dataset(TwoViewDataset, seed=104)

# %%
my.keep(TwoViewDataset)

# %% [markdown]
# ### One image at a time, or all at once
#
# Each of your views is a chain of small operations on one small picture, and starting an operation takes longer than
# doing it. `helpers/augmentation.py` draws the parameters of *all* images first, one row an image, and then runs every
# operation once for the whole batch. Crop, resize and flip together become two matrix products.
#
# **Predict.** Both make the same kind of views of 256 images. How many times faster is the batch?

# %%
def best_time(two_views, pictures, repeats=3):
    """Shortest time in seconds of a few, for two views of every picture."""
    times = []
    for repeat in range(repeats):
        start = time.perf_counter()
        two_views(pictures, torch.Generator().manual_seed(repeat))
        times.append(time.perf_counter() - start)
    return min(times)


# %%
pictures, _, _ = shapes.render(256, seed=4)  # (256, 3, 32, 32)
one_by_one = best_time(augmentation.each_image(my.TwoViews(my.simclr_transform(32))), pictures[:64]) / 64
at_once = best_time(augmentation.batch_views(32), pictures) / 256
print(f"two views of an image, one by one: {1e3 * one_by_one:.2f} ms    in a batch: {1e3 * at_once:.2f} ms")
print(f"The batch is {one_by_one / at_once:.0f} times as fast.")

# %% [markdown]
# One mistake is easy to make here. Hand a whole batch to a torchvision transform, and it draws *one* box and *one* set
# of colours for all images: fast, and wrong. An image that was redder than the others still is, so there is little that
# the encoder must learn to ignore. The batched code draws a row of numbers for each image. Notebook 05 can train with
# either: your `TwoViews`, or the batch.
#
# ## The shortcut
#
# Now the experiment behind the paper's figure 6. Suppose views were made by cropping only. A network has to find, among
# all views of a batch, the one that comes from the same image. What is the *laziest* thing it could look at?
#
# ## Exercise 1.5 · `histogram_similarity` (about 6 lines, 3 points)
#
# A colour histogram knows nothing about shapes: it only counts how many pixels have which value. Compare two views by
# their histograms alone:
#
# - for each of the three channels, sort the pixels into 32 equal bins over [0, 1] (1.0 belongs to the last bin), and
#   divide by their number: $p_a[c, k]$ is the share of $x_a$'s pixels whose channel $c$ falls into bin $k$;
# - the overlap of two histograms is $\sum_k \min(p_a[c, k],\, p_b[c, k])$; the similarity is its mean over channels.
#
# ```
# histogram_similarity(x_a, x_b)   (3, H, W) float in [0, 1] each, perhaps of different sizes → a number in [0, 1]
# ```

# %% exercise="histogram_similarity"
def histogram_similarity(x_a, x_b):
    """Overlap of the colour histograms of two views, (3, H, W) each: 32 bins a channel, mean over channels, in [0, 1]."""
    ### BEGIN SOLUTION
    overlap = 0
    for channel_a, channel_b in zip(x_a, x_b):
        shares_a = torch.histc(channel_a, bins=32, min=0, max=1) / channel_a.numel()  # (32,)
        shares_b = torch.histc(channel_b, bins=32, min=0, max=1) / channel_b.numel()
        overlap += torch.minimum(shares_a, shares_b).sum() / 3
    return overlap.item()
    ### END SOLUTION


# %% [markdown]
# Each image against itself and against the others, whole. What should stand on the diagonal?

# %%
def print_similarities():
    for row in images[:4] / 255:
        print("  ".join(f"{histogram_similarity(row, column):.2f}" for column in images[:4] / 255))


checks.try_it(print_similarities)

# %% [markdown]
# <details><summary>Hint 1: a question</summary>
#
# A view of 24 × 24 pixels and one of 32 × 32 show the same colours in the same shares. What must you divide by, so that
# their similarity is 1?
# </details>
# <details><summary>Hint 2: a pointer</summary>
#
# `torch.histc(values, bins=..., min=..., max=...)` counts, and puts the largest value into the last bin. Without `min`
# and `max` its bins would span what values occur, and mean something else in every view.
# </details>
# <details><summary>Hint 3: nearly the answer</summary>
#
# ```python
# for channel_a, channel_b in zip(x_a, x_b):
#     shares_a = torch.histc(channel_a, bins=32, min=0, max=1) / channel_a.numel()
#     shares_b = ...
#     overlap += torch.minimum(shares_a, shares_b)....
# return overlap / 3
# ```
# </details>

# %% check="histogram_similarity" points=2
"""Equal colours give 1, no common colour gives 0, and half the pixels in common give one half."""
dark, light = torch.full((3, 4, 4), 0.1), torch.full((3, 4, 4), 0.9)
mixed = torch.cat([dark, light], dim=2)  # (3, 4, 8), half dark and half light
with checks.explained(histogram_similarity):
    assert histogram_similarity(dark, dark) is not None, "a number should come back."
    assert abs(histogram_similarity(dark, dark) - 1) < 1e-5, "a view equals itself: 1."
    assert abs(histogram_similarity(dark, light)) < 1e-5, "dark and light share nothing: 0."
    assert abs(histogram_similarity(dark, mixed) - 0.5) < 1e-5, "half the pixels agree: 0.5."
checks.check_histogram_similarity(histogram_similarity)

# %% hidden="histogram_similarity" points=1
ramp = ((torch.arange(64) + 0.5) / 64).reshape(1, 8, 8).expand(3, 8, 8)
lower = ramp / 2
with checks.explained(histogram_similarity):
    assert abs(histogram_similarity(ramp, lower) - 0.5) < 1e-5, "ramp and half a ramp overlap by half."
    red = torch.stack([ramp[0], lower[0], lower[0]])
    assert abs(histogram_similarity(red, lower) - 2.5 / 3) < 1e-5, "two channels agree, one by half."
checks.check_histogram_similarity(histogram_similarity, seed=105)

# %%
my.keep(histogram_similarity)

# %% [markdown]
# ### Two crops of one image
#
# Two pairs of views of one image: crops only, and crops with colour distortion. Beside each, the histograms of its two
# views, one over the other.

# %%
generator = torch.Generator().manual_seed(13)
x_a, x_b = (augmentation.random_crop(images[3:4], generator, 32) for _ in "ab")  # (1, 3, 32, 32)
y_a, y_b = (augmentation.distort(view, 1.0, generator, grey=0.0) for view in (x_a, x_b))
pairs = {"crop": (x_a[0], x_b[0]), "crop and\ncolour": (y_a[0], y_b[0])}
histograms = {name: tuple(augmentation.color_histograms(view[None])[0] for view in pair) for name, pair in pairs.items()}
alt = "Histograms of two views in three channels. For crops alone they overlap; after colour distortion they lie apart."
plots.show(plots.histogram_pairs(pairs, histograms), alt=alt)
for name, pair in pairs.items():
    print(f"{' '.join(name.split()):16} similarity {my.histogram_similarity(*pair):.2f}")

# %% [markdown]
# ### A model that sees no shapes
#
# Make a "model" of it. For each view $x_a$ of a batch it takes, among all $x_b$, the one whose histogram is most
# similar, and says: *this is the partner*. The share of right answers is its **contrastive accuracy**. It has no
# parameters, it has learned nothing, and it could not tell a fish from a house.
#
# **Predict.** With 128 images, guessing is right once in 128 times. How often is the histogram right, when views are
# crops only? And with colour distortion of strength 0.5?

# %%
pool = data.load_images("shapes", "train").images  # (20000, 3, 32, 32)


def contrastive_accuracy(strength, seed, n=128, grey=0.2):
    """Share of n views whose most similar histogram is their partner's; strength None: crop and flip only."""
    generator = torch.Generator().manual_seed(seed)
    batch = pool[torch.randperm(len(pool), generator=generator)[:n]]
    x_a, x_b = (augmentation.random_crop(batch, generator, 32) for _ in "ab")  # (n, 3, 32, 32) each
    if strength is not None:
        x_a, x_b = (augmentation.distort(x, strength, generator, grey) for x in (x_a, x_b))
    answers = augmentation.histogram_similarities(x_a, x_b).argmax(dim=1)  # (n,)
    return (answers == torch.arange(n)).float().mean().item()


# %%
crop_only = torch.tensor([contrastive_accuracy(None, seed) for seed in range(5)])
with_color = torch.tensor([contrastive_accuracy(0.5, seed) for seed in range(5)])
print(f"crop and flip only:       {crop_only.mean():.0%} right (5 draws, {crop_only.min():.0%} to {crop_only.max():.0%})")
print(f"with colour distortion:   {with_color.mean():.0%} right (5 draws, {with_color.min():.0%} to {with_color.max():.0%})")
print(f"guessing:                 {1 / 128:.1%}")

# %% [markdown]
# `augmentation.histogram_similarities` is your function for all pairs at once. Is it? One row of its table against
# `my.histogram_similarity`, pair by pair:

# %%
x_a, x_b = augmentation.batch_views(32)(pool[:16], torch.Generator().manual_seed(0))
pair_by_pair = torch.tensor([my.histogram_similarity(x_a[0], view) for view in x_b])
at_once = augmentation.histogram_similarities(x_a, x_b)[0]
print(f"largest difference: {(pair_by_pair - at_once).abs().max():.0e}")

# %% [markdown]
# So crops alone are a riddle that needs no eyes: their colours give them away. A network trained on that riddle can get
# a low loss by becoming a histogram, and then it need not learn shapes. The paper found the same: the pairs are told
# *almost perfectly*, and yet the representation is poor. Colour distortion takes the shortcut away.
#
# How much of it is needed?

# %%
strengths = [0.0, 0.125, 0.25, 0.5, 0.75, 1.0]
accuracies = torch.tensor([[contrastive_accuracy(s, seed) for seed in range(5)] for s in strengths])  # (6, 5)
alt = "Share of pairs that the colour histogram finds, falling as the colour distortion grows stronger."
plots.show(plots.shortcut_curve(strengths, accuracies, crop_only, chance=1 / 128), alt=alt)
for strength, row in zip(strengths, accuracies):
    print(f"strength {strength:<5}  {row.mean():.0%} right")

# %% [markdown]
# At strength 0 the fall from the dashed line is the work of grey alone: a grey view and a coloured one no longer match.
# The rest is jitter. Compare strength 0.5 and 1: how many of the answers are still right?
#
# A shortcut that is closed leaves others open. Noise, the texture of a background, or a watermark survive colour
# distortion just as colours survive cropping. When a contrastive loss falls and the k-NN monitor (notebook 05's measure
# of the representation) does not rise, look for something that two views share and that is not the content.
#
# **Predict.** With `grey=1.0` and strength 0, all views are grey and nothing is jittered. Is the shortcut gone? What
# does the histogram of a grey view still tell?

# %%
grey_only = torch.tensor([contrastive_accuracy(0.0, seed, grey=1.0) for seed in range(5)])
print(f"all views grey, no jitter: {grey_only.mean():.0%} right")

# %% [markdown]
# ## Turn the knobs
#
# The recipe with sliders: the views follow at once, and beside them the picture with the two boxes that $x_a$ and $x_b$
# were cut from, and their colour histograms. Tab and the arrow keys work as well as the mouse. Keep the seed and move
# one slider, and you see the same draws under another recipe; *Draw again* takes the next seed.
#
# The list has the built-in pictures and two photographs, CIFAR-10 too once it is on your disk
# (`python -m helpers.data cifar10`), and you can bring a picture of your own: it stays on this machine.
#
# 1. Find settings under which *you* could no longer say which views belong together.
# 2. Find some under which a colour histogram could.
# 3. Which single slider lowers the histograms' similarity most?
#
# The code below the pictures makes the same kind of views with torchvision, ready to paste.

# %%
pictures = data.samples()
studio = widgets.augmentation_studio(pictures)
alt = "Six views of one picture by SimCLR's recipe, and six by each of SimCLR, AutoAugment, RandAugment and SimAugment."
widgets.show(studio, widgets.studio_still(pictures), alt=alt)

# %% [markdown]
# ### Other policies
#
# Unfold *Policies side by side* in the studio. The same picture goes through four ways of making views:
#
# | policy | after crop and flip | where it comes from |
# |---|---|---|
# | SimCLR | colour distortion (and blur for large pictures) | chosen by hand: figure 5 of the paper |
# | AutoAugment | one of 25 learned pairs of operations | searched *with labels*, for supervised training (Cubuk et al. 2019) |
# | RandAugment | two random operations of one magnitude | the same list without the search (Cubuk et al. 2020) |
# | SimAugment | colour, a sparse warp, blur | the SupCon authors' (Khosla et al. 2020): four points move, and the rest bends along |
#
# **Look**: which of the four would leave the colour histogram as a shortcut? The SimCLR paper tried AutoAugment for
# contrastive training (table 1): 61.1 % against 64.5 % for its own, simpler recipe. What helps a classifier need not
# make a good question.
#
# The two views need not come from one policy: `policies.two_policies("SimCLR", "AutoAugment", size=32)` makes $x_a$ by the
# first and $x_b$ by the second, and `pretrain` of notebook 05 takes it as its `two_views`.

# %%
for name in policies.NAMES:
    two_views = policies.two_policies(name, name, size=32)
    x_a, x_b = two_views(pool[:128], torch.Generator().manual_seed(0))  # (128, 3, 32, 32) each
    right = augmentation.histogram_similarities(x_a, x_b).argmax(dim=1) == torch.arange(128)
    print(f"{name:12} the histogram finds {right.float().mean():4.0%} of the partners")

# %% [markdown]
# ## Predict, then measure
#
# Which operations make a task worth solving?
# Run the cell to read the question and the choices; write one of them into `guess` and run it again. It then
# measures on the built-in pictures, mostly by training small encoders, one seed, for a minute or two on two cores, and
# sets what came out beside a larger run with several seeds and beside the paper. Nothing here gives points.

# %%
from helpers.findings import predict

guess = None
predict("composition", guess)

# %% [markdown]
# <details><summary>When you have seen the answer: why do photographs agree with the paper, and the built-in pictures not?
# </summary>A likely reason: in the built-in pictures the object is small and anywhere, so a crop may cut most of it away,
# and then no shape can find the partner; in photographs the object mostly fills the picture. What to compose depends on
# the pictures.</details>
#
# Colour histograms again, as in exercise 1.5, now as a contest among 256 pictures.

# %%
guess = None
predict("histogram", guess)

# %% [markdown]
# The strength of the colour distortion, for two kinds of training.

# %%
guess = None
predict("strength", guess)

# %% [markdown]
# ## What you can now say
#
# - A **view** is a random crop, resized, perhaps flipped, with its colours distorted, perhaps blurred; a **positive
#   pair** is two independent draws from one image.
# - The views decide what is learned: whatever two views always share, the encoder may use; what the recipe changes does
#   not help to find the partner, so the encoder may let go of it (03 and 06 measure how much is left).
# - Two crops of an image have similar colour histograms, and a histogram needs no shapes. Colour distortion closes that
#   shortcut, and I measured by how much.
# - Parameters are drawn for each image on its own, in a batch too.

# %%
my.table(("color_distortion", "simclr_transform", "TwoViews", "TwoViewDataset", "histogram_similarity"))
my.progress()

# %% [markdown]
# **Next:** [02 · The encoder](02_encoder.ipynb) turns a view into a representation $h$.
