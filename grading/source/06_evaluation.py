# %% [markdown]
# # 06 · Evaluation
#
# *Measure a representation honestly, and then look at it.*
#
# An encoder has no accuracy. It has a representation, and a representation is good when simple means can read from
# it what we care about. Here you write the simple means (nearest neighbours, a linear layer, two geometric numbers),
# put controls beside them, and find out what $h$ and $z$ each still hold.
#
# Five graded exercises, 14 points. About an hour; on two cores the longest cell takes a minute or two.
#
# image → two views → encoder → projection head → contrastive loss → training → **evaluation (you are here)**

# %% locked="setup"
import math
from dataclasses import replace

import torch
from torch import nn

from helpers import augmentation, checkpoints, checks, controls, course, data, evaluation, latent_space, machine
from helpers import plots, widgets
from helpers.checks import NotYet

my = course.Parts()  # your answers once they pass, the reference until then
plots.course_map(here="evaluation")

# %% [markdown]
# ## What is measured
#
# The encoder you trained in notebook 05, if you did; otherwise a small one that comes with the course.

# %%
yours, ours = data.DATA.parent / "runs/05/checkpoint.pt", data.DATA / "encoder.safetensors"
path = yours if yours.is_file() else ours
try:
    model, recipe = checkpoints.load_model(path)
except ValueError as problem:
    print(f"Your run cannot be measured here: {problem}")
    path, (model, recipe) = ours, checkpoints.load_model(ours)
device = machine.best_device()
model.to(device, memory_format=torch.channels_last)  # the faster order of numbers for convolutions
origin = "yours, trained in notebook 05" if path == yours else "the small one that comes with the course"
print(f"Encoder: {origin} ({path.relative_to(data.DATA.parent)}, {recipe['arch']}, {recipe['epochs']} epochs).")
if path == ours and course.data_name() != "shapes":
    print(f"It was trained on the built-in pictures and has never seen {course.data_name()}: expect little.")

# %% [markdown]
# Three sets of images, and each has one use:
#
# - the **bank**: images whose labels the measures may use;
# - **validation**: images to ask about while we are still choosing something. The encoder was trained on them, without
#   their labels (unless pretraining has a split of its own, as in STL-10), so a number here may be a little too high;
# - **test**: images that training never saw, opened once, at the end of this notebook, when nothing is left to
#   choose. (00 measured the finished encoder on them, and nothing was chosen by that.)
#
# Whoever picks the best epoch, the best $k$ or the best temperature on test reports a number that is too high.

# %%
train = data.load_images(course.data_name(), "train")
if train.labels is None:
    raise data.DataError(
        f"{course.data_name()} has no labels, and every accuracy needs them; put each class in a folder."
    )
bank_size, asked = (400, 200) if course.quick() else (4000, 1000)
order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
asked = min(asked, len(train) // 5)
validation, bank = train.subset(order[:asked]), train.subset(order[asked : asked + bank_size])
print(f"bank {len(bank):,} images, validation {len(validation):,}, classes: {', '.join(train.classes)}")

# %% [markdown]
# ## From images to representations
#
# ### Exercise 6.1 · `extract_features` (about 9 lines, 4 points)
#
# Every measure below starts from one matrix $H$: row $i$ is the representation of image $i$. Four things go wrong
# here in real projects, silently:
#
# - batch-norm in **train mode** makes $h$ depend on which images happen to share the batch, and changes the encoder;
# - **gradients** are recorded, and memory grows with every batch;
# - the **order** is lost (a shuffling loader), or the **last, smaller batch** is dropped: labels and rows no longer
#   match;
# - the encoder stays in eval mode **afterwards**, and the training that goes on is a different one.

# %% [markdown]
# ```
# encoder      x (N, 3, H, W) float in [0, 1], on the encoder's own device  →  h (N, D)
# images       (M, 3, H, W) uint8, 0 to 255
# batch_size   images that go through the encoder at once
# returns      (M, D) float32 on the CPU, row i from image i
# ```


# %% exercise="extract_features"
def extract_features(encoder, images, batch_size=256):
    """The representation of every image, in order; the encoder ends in the mode it began in.

    encoder: x (N, 3, H, W) in [0, 1] -> h (N, D).  images: (M, 3, H, W) uint8.
    Returns (M, D) float32 on the CPU.
    """
    ### BEGIN SOLUTION
    device = next(encoder.parameters()).device
    was_training = encoder.training
    encoder.eval()
    try:
        with torch.no_grad():
            parts = [encoder(batch.to(device).float() / 255).cpu() for batch in images.split(batch_size)]
    finally:
        encoder.train(was_training)
    return torch.cat(parts)  # (M, D)
    ### END SOLUTION


# %% [markdown]
# Your answer on ten images, four at a time:


# %%
def show_features():
    h = extract_features(model.encoder, validation.images[:10], 4)
    print(
        f"h {tuple(h.shape)} {h.dtype} on {h.device}, from {h.min():.2f} to {h.max():.2f}; gradient: {h.requires_grad}"
    )


checks.try_it(show_features)

# %% [markdown]
# <details><summary>Hint 1</summary>Which mode was the encoder in, and which does it need? What must hold when your
# function returns?</details>
# <details><summary>Hint 2</summary><code>images.split(batch_size)</code> gives the batches in order, the small one at
# the end too. <code>encoder.training</code> tells the mode, <code>encoder.train(mode)</code> sets it.</details>
# <details><summary>Hint 3</summary>Remember <code>was_training = encoder.training</code>, call
# <code>encoder.eval()</code>; under <code>torch.no_grad()</code> collect <code>encoder(batch.float() / 255).cpu()</code>
# for each batch in a list; <code>encoder.train(was_training)</code>; <code>torch.cat</code> the list. On a GPU the batch
# goes there first: <code>batch.to(next(encoder.parameters()).device)</code>.</details>

# %% check="extract_features" points=3
images = torch.randint(256, (10, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
f = controls.random_encoder("resnet8", small_images=False)
with checks.explained(extract_features):
    h = extract_features(f, images, 4)
    assert len(h) == 10, f"10 images went in and {len(h)} rows came out"
    assert h.dtype == torch.float32, f"h should be float32, not {h.dtype}"
    one_by_one = extract_features(f, images, 1)
    assert torch.allclose(h, one_by_one, atol=1e-3), "batches of 4 and of 1 should give the same h"
checks.check_extract_features(extract_features)

# %% hidden="extract_features" points=1
with checks.explained(extract_features):
    for seed in (1, 2, 3):
        checks.check_extract_features(extract_features, seed=seed)
    tiny = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten())
    white = torch.full((7, 3, 3, 3), 255, dtype=torch.uint8)
    h, wanted = extract_features(tiny, white, 3), tiny.eval()(torch.ones(7, 3, 3, 3)).detach()
    assert torch.allclose(h, wanted, atol=1e-5), "white images should reach the encoder as ones"
    assert not h.requires_grad, "h should not carry a gradient"

# %%
my.keep(extract_features)

# %% [markdown]
# ## Nearest neighbours
#
# The simplest question to ask of $h$: *do the images nearest to this one show the same thing?* If so, anything
# simple will work on $h$. Nothing is trained for it; there are only $k$ and a temperature to choose.
#
# For a query $q$ take the $k$ images of the bank with the largest cosine to $q$. Each votes for its own class, and
# its vote weighs $\exp(\cos / \tau)$: the nearest count most. The class with the most votes is the answer
# (Wu et al. 2018, section 3.4; they use $k = 200$ and $\tau = 0.07$ with 1.3 million images).
#
# A worked example. The query is $(1, 0)$; its three neighbours have cosines 1, 0.6 and 0.6 and the classes 0, 1, 1.
# Counting heads, class 1 wins 2 : 1. At $\tau = 0.1$ the votes are $e^{10} \approx 22026$ against
# $2 e^{6} \approx 807$: class 0 wins. At $\tau = 1$ they are $2.72$ against $3.64$: class 1.

# %% [markdown]
# ### Exercise 6.2 · `knn_accuracy` (about 9 lines, 4 points)
#
# ```
# bank_h (M, D), bank_y (M,)      representations with known classes 0, 1, 2, ...
# query_h (Q, D), query_y (Q,)    representations to label, and what is true
# k, temperature                  how many vote, and how sharply
# returns                         fraction of queries labelled rightly, in [0, 1]
# ```


# %% exercise="knn_accuracy"
def knn_accuracy(bank_h, bank_y, query_h, query_y, k=20, temperature=0.1):
    """The fraction of queries whose k nearest neighbours, by cosine, vote for the right class.

    bank_h (M, D), bank_y (M,), query_h (Q, D), query_y (Q,); a vote weighs exp(cosine / temperature).
    """
    ### BEGIN SOLUTION
    bank = nn.functional.normalize(bank_h, dim=1)
    query = nn.functional.normalize(query_h, dim=1)
    right = 0
    for some, truth in zip(query.split(1000), query_y.split(1000), strict=True):
        cosine, nearest = (some @ bank.T).topk(k, dim=1)  # (1000, k) both
        weight = ((cosine - 1) / temperature).exp()  # a common factor changes no vote, and exp cannot overflow
        votes = torch.zeros(len(some), int(bank_y.max()) + 1).scatter_add_(1, bank_y[nearest], weight)
        right += (votes.argmax(dim=1) == truth).sum().item()
    return right / len(query_y)
    ### END SOLUTION


# %% [markdown]
# Your answer on the encoder, for four values of $k$:

# %%
bank_h, validation_h = (my.extract_features(model.encoder, part.images, 256) for part in (bank, validation))


def show_knn():
    for k in (1, 5, 20, 100):
        print(f"k = {k:3}: {knn_accuracy(bank_h, bank.labels, validation_h, validation.labels, k, 0.1):.1%} right")


checks.try_it(show_knn)

# %% [markdown]
# <details><summary>Hint 1</summary>One matrix product gives all Q · M cosines. What must be done to the rows
# first?</details>
# <details><summary>Hint 2</summary><code>topk(k, dim=1)</code> returns the k largest values of each row and where they
# stand; <code>bank_y[where]</code> turns places into classes, shape (Q, k).</details>
# <details><summary>Hint 3</summary>Start from <code>votes = torch.zeros(Q, C)</code>, with C =
# <code>int(bank_y.max()) + 1</code>; <code>votes.scatter_add_(1, classes, weight)</code> adds each weight to its class's
# column. Then <code>votes.argmax(dim=1)</code>. For 10,000 queries and 50,000 bank images the cosines fill 2 GB: take
# 1,000 queries at a time.</details>

# %% check="knn_accuracy" points=3
bank_rows, classes = torch.tensor([[2.0, 0.0], [3.0, 4.0], [3.0, -4.0]]), torch.tensor([0, 1, 1])  # cosines 1, 0.6, 0.6
query, truth = torch.tensor([[5.0, 0.0]]), torch.tensor([0])
with checks.explained(knn_accuracy):
    sharp, flat = (knn_accuracy(bank_rows, classes, query, truth, 3, temperature) for temperature in (0.1, 1.0))
    assert sharp == 1, "at temperature 0.1 the nearest neighbour outvotes the two others, so class 0 is right"
    assert flat == 0, "at temperature 1 the two others outvote the nearest, so class 0 is not found"
checks.check_knn_accuracy(knn_accuracy)

# %% hidden="knn_accuracy" points=1
with checks.explained(knn_accuracy):
    for seed in (1, 2, 3):
        checks.check_knn_accuracy(knn_accuracy, seed=seed)
    rows = nn.functional.one_hot(torch.arange(40) % 8).float() * torch.arange(1, 41)[:, None]
    half = torch.where(torch.arange(40) < 20, torch.arange(40) % 8, (torch.arange(40) + 1) % 8)
    value = knn_accuracy(rows, torch.arange(40) % 8, rows, half, 5, 0.1)
    assert math.isclose(value, 0.5), f"half of the labels are right, so 0.5 is wanted, not {value}"

# %%
my.keep(knn_accuracy)

# %% [markdown]
# ## A number alone says nothing: controls
#
# Is that a good accuracy? It depends on what *no learning at all* would give. So four representations go through
# the same measure, next to chance:
#
# - **pixels**: the image itself as one long row, averaged to 16 × 16 so that the probe below takes seconds;
# - **random encoder**: the same architecture, weights never trained (one seed, to save time; 02 shows how far seeds lie apart);
# - **trained, z** and **trained, h**: after and before the projection head.
#
# **Predict** before you run the cell: is a random encoder better or worse than pixels? And $z$, to which the loss
# was applied, better or worse than $h$?


# %%
def pixels(images):
    """(M, 3, H, W) uint8 -> (M, 768) float."""
    return nn.functional.adaptive_avg_pool2d(images / 255, 16).flatten(1)


def representations(images):
    """Name -> (M, D): the same images in four ways."""
    h = my.extract_features(model.encoder, images, 256)
    with torch.no_grad():
        z = model.head(h.to(device)).cpu()
    random_h = my.extract_features(random_encoder, images, 256)
    return {"pixels": pixels(images), "random encoder, h": random_h, "trained encoder, z": z, "trained encoder, h": h}


# %%
random_encoder = controls.random_encoder(recipe["arch"], recipe["small_images"], 0, recipe.get("group_norm", False))
random_encoder.to(device, memory_format=torch.channels_last)
of_bank, of_validation = representations(bank.images), representations(validation.images)
H = {name: (of_bank[name], of_validation[name]) for name in of_bank}

# %%
knn = {name: my.knn_accuracy(h, bank.labels, v, validation.labels, 20, 0.1) for name, (h, v) in H.items()}
chance = controls.chance(bank.labels, validation.labels)
for name, value in ({"chance": chance} | knn).items():
    error = math.sqrt(value * (1 - value) / len(validation))
    print(f"{name:20} {value:6.1%} ± {error:.1%}")

# %% [markdown]
# The ± is the standard error of a fraction, $\sqrt{p (1 - p) / n}$, from the number of validation images alone.
# Measured on different images, two accuracies closer than about three times that cannot be told apart. Ours are of the
# same images, where a smaller difference can count: look at those that only one of the two gets right. The error leaves
# out the other source of luck, the seed of the training run: for that one must train several times.
#
# What is worth reading from the table is differences: what training added over the random encoder, what $h$ has over
# $z$. The paper, with a linear probe, found $h$ better than $z$ by more than 10 points (Chen et al. 2020, section 4.2).
# Compare the difference between $h$ and $z$ here with the error; the probe comes next.

# %% [markdown]
# ### What the numbers look like
#
# The same five queries, by pixels first, by $h$ second, with the true class above each neighbour. Look at the mistakes
# of the pixels: what do query and neighbour share? Then at what still varies within a row of $h$.

# %%
asked_rows = torch.stack([(validation.labels == label).nonzero()[0, 0] for label in validation.labels.unique()[:5]])


def draw_neighbours(name):
    bank_rows, query_rows = H[name][0], H[name][1][asked_rows]
    _, nearest = evaluation.nearest_neighbours(bank_rows, query_rows, k=8)  # (5, 8)
    names = [[bank.classes[label] for label in row] for row in bank.labels[nearest]]
    truth = [bank.classes[label] for label in validation.labels[asked_rows]]
    right = sum(name == true for row, true in zip(names, truth, strict=True) for name in row)
    figure = plots.neighbour_grid(validation.images[asked_rows], truth, bank.images[nearest], names, title=name)
    plots.show(figure, alt=f"{len(truth)} images, their eight nearest neighbours by {name}: {right} of {8 * len(truth)} of the query's class.")


draw_neighbours("pixels")

# %%
draw_neighbours("trained encoder, h")

# %% [markdown]
# Neighbours in pixel space share **colours and brightness in the same places**, whatever is shown there. Colour
# distortion and cropping made exactly that useless for finding the positive, so training had to look for something else.
#
# ### Choosing k and the temperature
#
# Both are choices, so they are made on validation.

# %%
print("k-NN of h on validation   " + "".join(f"   τ = {temperature:<5}" for temperature in (0.05, 0.1, 0.5)))
for k in (1, 5, 20, 100):
    row = [my.knn_accuracy(bank_h, bank.labels, validation_h, validation.labels, k, t) for t in (0.05, 0.1, 0.5)]
    print(f"{'k = ' + str(k):>25} " + "".join(f"{value:12.1%}" for value in row))

# %% [markdown]
# Compare the spread of the table with the standard error above before you call one of them the best.

# %% [markdown]
# ## The linear probe
#
# Nearest neighbours use all dimensions of $h$ alike. A linear layer may weigh them: it answers whether the classes can
# be told apart by planes. The encoder is frozen; only the linear layer sees labels. It is the measure most papers
# report (SimCLR, table 6: 69.3 % top-1 on ImageNet for a ResNet-50).
#
# Two steps, and both **learn from the train rows alone**: a scaler that brings every column of $h$ to mean 0 and
# spread 1, and logistic regression. A scaler that saw the test rows too is a leak. A second one, fitted on the test
# rows alone, is wrong as well: it moves them differently, to where the classifier was not fitted.

# %% [markdown]
# ### Exercise 6.3 · `linear_probe` (about 4 lines, 3 points)
#
# ```
# train_h (M, D), train_y (M,)    what the scaler and the classifier are fitted on
# test_h (Q, D), test_y (Q,)      what the accuracy is measured on
# returns                         accuracy on test, in [0, 1]
# ```
#
# scikit-learn has both steps: `StandardScaler` and `LogisticRegression(max_iter=1000, tol=1e-3)` (the
# tolerance saves time). They take NumPy arrays: `train_h.numpy()`.

# %%
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler


# %% exercise="linear_probe"
def linear_probe(train_h, train_y, test_h, test_y):
    """Test accuracy of a scaler and logistic regression that were fitted on train. h: (M, D), y: (M,)."""
    ### BEGIN SOLUTION
    scaler = StandardScaler().fit(train_h.numpy())
    classifier = LogisticRegression(max_iter=1000, tol=1e-3).fit(scaler.transform(train_h.numpy()), train_y.numpy())
    return float(classifier.score(scaler.transform(test_h.numpy()), test_y.numpy()))
    ### END SOLUTION


# %% [markdown]
# Your answer on $h$, with few and with many labelled images:


# %%
def show_probe():
    for count in (len(bank) // 20, len(bank) // 4, len(bank)):
        value = linear_probe(bank_h[:count], bank.labels[:count], validation_h, validation.labels)
        print(f"{count:5} labelled images: {value:.1%}")


checks.try_it(show_probe)

# %% [markdown]
# <details><summary>Hint 1</summary>Which of the four arguments may the word <code>fit</code> ever see?</details>
# <details><summary>Hint 2</summary>A scaler has <code>fit</code>, which learns mean and spread, and
# <code>transform</code>, which uses them. Test rows meet only one of the two.</details>
# <details><summary>Hint 3</summary><code>scaler = StandardScaler().fit(train_h.numpy())</code>, then a
# <code>LogisticRegression(max_iter=1000)</code> fitted on <code>scaler.transform(train_h.numpy())</code> and
# <code>train_y.numpy()</code>; its <code>.score(scaled test rows, test_y.numpy())</code> is the accuracy.</details>

# %% check="linear_probe" points=2
train_rows, train_classes = torch.tensor([[0.0], [0.1], [1.0], [1.1]]), torch.tensor([0, 0, 1, 1])
test_rows, test_classes = torch.tensor([[-1.0], [2.0], [3.0], [0.05]]), torch.tensor([0, 1, 0, 0])  # one label is wrong
with checks.explained(linear_probe):
    value = linear_probe(train_rows, train_classes, test_rows, test_classes)
    assert math.isclose(value, 0.75), f"three of the four test rows lie on their class's side: 0.75, not {value}"
checks.check_linear_probe(linear_probe)

# %% hidden="linear_probe" points=1
with checks.explained(linear_probe):
    for seed in (1, 2, 3):
        checks.check_linear_probe(linear_probe, seed=seed)
    generator = torch.Generator().manual_seed(4)
    y = torch.arange(200) % 2
    h = torch.randn(200, 30, generator=generator) + 3 * y[:, None]
    value = linear_probe(h[:100], y[:100], h[100:], 1 - y[100:])
    assert value < 0.1, f"all test labels are wrong, so about 0 is wanted, not {value:.2f}"

# %%
my.keep(linear_probe)

# %% [markdown]
# Both measures side by side, still on validation:

# %%
rows = [(name, knn[name], my.linear_probe(h, bank.labels, v, validation.labels)) for name, (h, v) in H.items()]
alt = "; ".join(f"{name}: k-NN {a:.0%}, linear probe {b:.0%}" for name, a, b in rows)
plots.show(
    plots.accuracy_bars(rows, chance, "validation"), alt=f"Bars of validation accuracy. {alt}; chance {chance:.0%}."
)

# %% [markdown]
# Are $h$ and $z$ different here? With the encoder that comes with the course all four numbers are near 99 %, a few
# answers apart: these ten classes are too easy to tell the two from each other, and the paper's 10 points cannot be seen.
# With your own encoder look again. k-NN uses all dimensions alike, a linear layer can weigh them, so name the
# measure with the number. What $h$ has over $z$ shows below, in the factors.

# %% [markdown]
# ### What the loss leaves open
#
# The projection head begins with a linear layer, $W h$. Put $A h$ in the place of $h$, for any matrix $A$ that can be
# inverted, and $W A^{-1}$ in the place of $W$: the product is the same, so $z$ is, so the loss is. The loss cannot tell
# one of these $h$ from another; the network, the start and the optimizer decide which one comes out. A linear probe
# hardly minds, it finds an $A$ of its own. Nearest neighbours do: the few directions in which $h$ varies most decide
# every cosine.
#
# **Whitening** takes the $A$ that gives every direction about the same variance. `evaluation.whitening` finds it, and
# the mean to subtract first, from the bank's rows alone; it needs no labels. **Predict**: in how many of its directions
# does $h$ hold 90 % of its variance? And which row's k-NN does whitening change most?

# %%
variances = torch.linalg.eigvalsh(torch.cov(bank_h.T)).flip(0)  # (D,), the largest first
needed = int((variances.cumsum(0) < 0.9 * variances.sum()).sum()) + 1
print(f"{needed} of {len(variances)} directions hold 90 % of the variance of h.\n")
for name, (rows, asked_h) in H.items():
    mean, A = evaluation.whitening(rows)
    white = my.knn_accuracy((rows - mean) @ A, bank.labels, (asked_h - mean) @ A, validation.labels, 20, 0.1)
    print(f"{name:20} k-NN {knn[name]:6.1%}   after whitening {white:6.1%}")

# %% [markdown]
# The pixels change most. Pixels that are near vary together; whitening takes away what they share and leaves edges, and
# our ten classes are drawn with sharp ones. So a control can be made stronger, and a fair one should be. Where $h$ is
# near 100 % there is nothing to gain. On photographs, after minutes of training, whitening does gain, and needs no
# training: `make choices` and `make bench-learn` measure every encoder both ways.
# `evaluation.whitened(encoder, images)` puts the map behind an encoder as one more linear layer.
#
# An accuracy by nearest neighbours thus says something about $h$ and something about the cosine. Compare encoders, and
# their controls, under one and the same rule, and say which.

# %% [markdown]
# ## Two numbers without labels
#
# Wang and Isola (2020) looked at what NT-Xent asks of $z$, now seen as points on the unit sphere:
#
# - **alignment**: positives should lie together. The mean squared distance $\lVert z_a - z_b \rVert^2$ over the pairs;
#   0 is perfect, 2 is two random directions.
# - **uniformity**: all points together should spread out evenly. $\log$ of the mean of $\exp(-2 \lVert z_i - z_j
#   \rVert^2)$ over all pairs $i \ne j$; 0 when all lie in one place, and the lower the more even.
#
# Neither is enough alone: an encoder that maps every image to one point has perfect alignment, and points spread at
# random are as even as can be (`predict("two_forces", ...)` in 05 trains with each). Neither needs a label.

# %% [markdown]
# ### Exercise 6.4 · `alignment` (about 2 lines, 1.5 points)
#
# ```
# z_a, z_b (N, D)    row i of both from image i; bring every row to length 1 first
# returns            mean over the N pairs of the squared distance, in [0, 4]
# ```


# %% exercise="alignment"
def alignment(z_a, z_b):
    """Mean squared distance of the positives on the unit sphere. z_a, z_b: (N, D). Returns a scalar."""
    ### BEGIN SOLUTION
    difference = nn.functional.normalize(z_a, dim=1) - nn.functional.normalize(z_b, dim=1)  # (N, D)
    return difference.square().sum(dim=1).mean()
    ### END SOLUTION


# %%
east, north = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 3.0]])
checks.try_it(lambda: print(f"same: {alignment(east, 2 * east):.2f}, at a right angle: {alignment(east, north):.2f}"))

# %% [markdown]
# <details><summary>Hint 1</summary>Over which axis is summed, and over which is the mean?</details>
# <details><summary>Hint 2</summary>The squared distance of one pair is a sum over D; only then comes the mean over
# N.</details>
# <details><summary>Hint 3</summary><code>nn.functional.normalize(z, dim=1)</code> for both, subtract,
# <code>.square().sum(dim=1).mean()</code>.</details>

# %% check="alignment" points=1
z_a, z_b = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[0.0, 3.0], [0.0, 1.0]])
with checks.explained(alignment):
    value = float(alignment(z_a, z_b))
    assert math.isclose(value, 1, abs_tol=1e-6), f"squared distances 2 and 0 have the mean 1, not {value}"
checks.check_alignment(alignment)

# %% hidden="alignment" points=0.5
with checks.explained(alignment):
    for seed in (1, 2, 3):
        checks.check_alignment(alignment, seed=seed)
    z = torch.randn(20, 7, generator=torch.Generator().manual_seed(0))
    assert math.isclose(float(alignment(z, -3 * z)), 4, abs_tol=1e-4), "opposite rows have squared distance 4"

# %%
my.keep(alignment)

# %% [markdown]
# ### Exercise 6.5 · `uniformity` (about 3 lines, 1.5 points)
#
# ```
# z (M, D)     bring every row to length 1 first
# returns      log of the mean of exp(-2 · squared distance) over all pairs of different rows
# ```


# %% exercise="uniformity"
def uniformity(z):
    """Log of the mean of exp(-2 · squared distance) over distinct pairs on the unit sphere. z: (M, D). Returns a scalar."""
    ### BEGIN SOLUTION
    distance = torch.pdist(nn.functional.normalize(z, dim=1))  # (M (M - 1) / 2,)
    return (-2 * distance.square()).exp().mean().log()
    ### END SOLUTION


# %%
angles = torch.linspace(0, 2 * math.pi, 13)[:-1]
circle = torch.stack([angles.cos(), angles.sin()], dim=1)
checks.try_it(
    lambda: print(
        f"all in one place: {uniformity(circle[:1].repeat(12, 1)):.2f}, even on a circle: {uniformity(circle):.2f}"
    )
)

# %% [markdown]
# <details><summary>Hint 1</summary>A row has distance 0 to itself. Is that a pair?</details>
# <details><summary>Hint 2</summary><code>torch.pdist(z)</code> gives the distance of every pair once, without the
# diagonal.</details>
# <details><summary>Hint 3</summary>Normalise the rows, <code>torch.pdist</code>, then
# <code>(-2 * distance.square()).exp().mean().log()</code>: square, exp, mean, log, in this order.</details>

# %% check="uniformity" points=1
opposite, together = torch.tensor([[1.0, 0.0], [-4.0, 0.0]]), torch.tensor([[1.0, 0.0], [3.0, 0.0]])
with checks.explained(uniformity):
    value = float(uniformity(opposite))
    assert math.isclose(value, -8, rel_tol=1e-4), f"one pair at squared distance 4: log exp(-8) = -8, not {value}"
    value = float(uniformity(together))
    assert abs(value) < 1e-5, f"two rows in one direction: log exp(0) = 0, not {value}"
checks.check_uniformity(uniformity)

# %% hidden="uniformity" points=0.5
with checks.explained(uniformity):
    for seed in (1, 2, 3):
        checks.check_uniformity(uniformity, seed=seed)
    value = float(uniformity(torch.eye(6) * torch.arange(1.0, 7.0)[:, None]))
    assert math.isclose(value, -4, rel_tol=1e-4), "rows at right angles have squared distance 2: log exp(-4) = -4"

# %%
my.keep(uniformity)

# %% [markdown]
# Now two views of 500 validation images, and four sets of rows to measure. **Predict**: where does the *random* encoder
# stand, which has never heard of positives?

# %%
two_views = augmentation.batch_views(recipe["view_size"], recipe["strength"], recipe["blur"], recipe["area"])
x_a, x_b = two_views(validation.images[:500], torch.Generator().manual_seed(0))  # (500, 3, H, W) both
encoders = {
    "random encoder, h": random_encoder,
    "trained encoder, z": nn.Sequential(model.encoder, model.head),
    "trained encoder, h": model.encoder,
}
points = {}
for name, f in encoders.items():
    with torch.no_grad():
        rows_a, rows_b = f.eval()(x_a.to(device)).cpu(), f(x_b.to(device)).cpu()  # (500, D) both
    points[name] = float(my.alignment(rows_a, rows_b)), float(my.uniformity(rows_a))
points["all in one place"] = 0.0, 0.0
for name, (a, u) in points.items():
    print(f"{name:20} alignment {a:6.3f}   uniformity {u:7.3f}")

# %%
alt = "; ".join(f"{name} at alignment {a:.2f}, uniformity {u:.2f}" for name, (a, u) in points.items())
plots.show(plots.alignment_uniformity_plane(points), alt=f"Points in the plane of alignment and uniformity: {alt}.")

# %% [markdown]
# A random encoder is nearly perfectly aligned, and worth little: all its rows point the same way (an average of ReLUs
# is never negative), so any two images are "close". Training gives up some alignment for a great deal of uniformity.
# $z$ is where the loss worked, and it is the more uniform; yet it is the less aligned. $h$ comes out of a ReLU, so no
# cosine is below 0 and all distances are short, for positives too; read each point's two numbers together.

# %% [markdown]
# ## What z threw away
#
# NT-Xent wants the two views of an image to have the same $z$. Views differ in crop, flip and colour, so $z$ does best
# to forget all that: position, size, hue. $h$ is one non-linear step earlier, so it may forget less. The paper showed
# this by guessing which transformation had been applied: from $h$, 67.6 % for rotation; from $g(h)$, 25.6 %, where
# chance is 25 % (table 3).
#
# Our pictures were drawn, so we know what each was drawn from. A linear map from $h$ or $z$ to a factor is fitted on
# the bank and measured on validation. R² is the share of a factor's variance that the map reads: 1 all, 0 none. A 0
# means *not readable by a linear map*, not *not there*. (facing: mirrored or not; occluder: where the grey disc is.)
# Hues are angles, so they go in as points on a circle. **Predict**: which factors does $h$ hold and $z$ not? Which does
# even the random encoder hold?


# %%
def factor_scores(name):
    bank_rows, validation_rows = H[name]
    scores = {}
    for factor in bank.factors:
        seen, asked = (evaluation.as_target(factor, part.factors[factor]) for part in (bank, validation))
        scores[factor] = evaluation.factor_r2(bank_rows, seen, validation_rows, asked)
    return scores


# %%
if bank.factors:
    scores = {name: factor_scores(name) for name in encoders}
    read = [factor for factor in bank.factors if max(scores[name][factor] for name in encoders) > 0.05]
    shown = {name: {factor: scores[name][factor] for factor in read} for name in encoders}
    alt = "; ".join(
        f"{f}: h {scores['trained encoder, h'][f]:.2f}, z {scores['trained encoder, z'][f]:.2f}" for f in read
    )
    plots.show(plots.factor_bars(shown), alt=f"Bars of R² for each factor. {alt}.")
else:
    print(f"{course.data_name()} does not say how its images came about, so there are no factors to look for.")

# %%
if bank.factors:
    for factor in read:
        values = "   ".join(f"{name.split()[0]} {name[-1]} {scores[name][factor]:5.2f}" for name in encoders)
        print(f"{factor:16} {values}")
    print("Nowhere above 0.05:", ", ".join(factor for factor in bank.factors if factor not in read) or "none")

# %% [markdown]
# With the encoder that comes with the course, *position* can be read better from $h$ than from $z$; *scale*,
# *brightness* and the disc go the same way. That is one encoder; over four seeds, trained for less long, it is so for
# position, brightness, the disc and hue, and for scale one machine left it open and another did not
# (`predict("forgotten", ...)` in 03). Of the object's *hue* the long-trained encoder has nothing left, not even in $h$,
# though an untrained one holds it: colour distortion taught it to forget.
#
# So for *where*, take $h$ and not $z$; for *what colour*, neither: train with weaker colours. "Good representation"
# always means good **for** something.

# %% [markdown]
# ## A map of the space
#
# t-SNE and UMAP draw hundreds of rows of many dimensions in the plane so that neighbours stay neighbours. They make
# pretty pictures from anything, so each panel carries its k-NN accuracy: the number judges, the picture shows where to
# look. Distances *between* groups, and the sizes of groups, mean little in either of the two.

# %%
shown = validation.subset(torch.arange(min(len(validation), 150 if course.quick() else 1000)))
space = {name: latent_space.embedding_map(v[: len(shown)], shown.labels) for name, (_, v) in H.items()}
drawn = {"t-SNE": [one.points for one in space.values()]}
if not course.quick():
    drawn["UMAP"] = [latent_space.project(v[: len(shown)], "UMAP") for _, v in H.values()]
titles = [[f"{method}: {name}\nk-NN {knn[name]:.1%}" for name in H] for method in drawn]
figure = plots.maps(list(drawn.values()), titles, shown.labels, train.classes)
alt = "; ".join(f"{name}, k-NN {value:.0%}" for name, value in knn.items())
plots.show(figure, alt=f"Maps by {' and '.join(drawn)} of the same images from {alt}. Colour and marker are the class.")

# %% [markdown]
# ### The explorer
#
# The same maps, by t-SNE and by UMAP, to point at. Each dot is a picture: hover to see it, click it for its nearest
# neighbours with their true classes, drag a line around a group to see what is in it. Colour the dots by class, or by
# any factor the pictures were drawn from: by what is a map of *pixels* ordered, and by what a map of $h$?
#
# The slider goes through the training. If you trained in notebook 05, it stops where that run kept the encoder: before
# the first step, after 1, 2, 4, 8 ... epochs and at the end. Otherwise there are two moments: untrained, and trained.
#
# The accuracy beside each map is the k-NN accuracy when every picture shown asks all others. Here the bank is smaller
# than above, so it is a little lower. Is it ever surprising next to the picture?

# %%
kept = sorted((path.parent / "moments").glob("epoch-*.pt"))  # of notebook 05's run
moments = {f"after epoch {int(one.stem[6:])}": checkpoints.load_model(one)[0].encoder for one in kept}
moments = moments or {"untrained": random_encoder, "trained": model.encoder}
growth, start = {}, None
for name, f in moments.items():
    h = my.extract_features(f.to(device), shown.images, 256)
    growth[name] = latent_space.embedding_map(h, shown.labels, start=start)
    start = growth[name].points  # so that the next map looks like this one where it can

# %%
by_umap = {f"{name}, UMAP": replace(space[name], points=at, method="UMAP") for name, at in zip(space, drawn.get("UMAP", []))}
explorer = widgets.explorer(shown, by_umap | space, growth)
alt = "; ".join(f"{name}: k-NN {one.knn:.0%}" for name, one in space.items())
widgets.show(explorer, widgets.explorer_still(shown, space), alt=f"Maps of {len(shown)} images. {alt}.")

# %% [markdown]
# What you collected with the lasso is in `explorer.selection`, as rows of `shown`. The explorer also fits into one file,
# for a friend without Python: it needs a browser, and neither a server nor a network.

# %%
page = widgets.save_page(explorer, data.DATA.parent / "runs" / "explorer.html", "The pictures, seen in four ways.")
print(f"{page.relative_to(data.DATA.parent)}: {page.stat().st_size / 1e6:.1f} MB, opens in any browser")
print("selected:", explorer.selection or "nothing yet; drag a line around some dots and run this cell again")

# %% [markdown]
# Find out with it:
#
# 1. In the map of pixels, colour by *background hue 1*. What do the pixels order pictures by?
# 2. In the map of $h$, click a dot far away from its class. What is hard about that picture?
# 3. Move through the training. Which classes part first, and which stay mixed longest?

# %% [markdown]
# ## Few labels
#
# Why all this? Because labels cost money and images do not. The encoder saw the whole training set without labels; now
# suppose only 1 %, 10 % or all of the bank's labels exist. Three ways to use them:
#
# - **frozen**: a linear probe on $h$;
# - **fine-tuned**: start from the trained encoder, train all weights on the labels;
# - **from scratch**: the same network, the same number of steps, from random weights. This is the supervised control.
#
# The steps are few, so that the cell takes a minute or two on two cores; both networks get the same number. A control
# is only as good as its budget: divide `steps` by three, run the cell again, and see which line falls most.
#
# **Predict**: where do the lines meet, if they do?

# %%
fractions = {"1 %": 0.01, "10 %": 0.1, "all": 1.0}
counts = [max(2 * len(bank.classes), round(part * len(bank))) for part in fractions.values()]
steps, half = [3, 3, 3] if course.quick() else [120, 160, 240], machine.has_bfloat16(device)
accuracies = {"frozen h, linear probe": [], "fine-tuned": [], "from scratch": []}
for count, some_steps in zip(counts, steps, strict=True):
    some = bank.subset(torch.arange(count))
    frozen = my.linear_probe(bank_h[:count], some.labels, validation_h, validation.labels)
    accuracies["frozen h, linear probe"].append(frozen)
    for name, start in (("fine-tuned", model.encoder), ("from scratch", random_encoder)):
        network = controls.fit_classifier(start, some.images, some.labels, len(bank.classes), some_steps, half=half)
        accuracies[name].append(controls.accuracy(network, validation.images, validation.labels))
supervised = network  # from scratch, with all labels of the bank

# %%
for name, values in accuracies.items():
    print(f"{name:24}" + "".join(f"{count:6} labels {value:6.1%}" for count, value in zip(counts, values, strict=True)))
alt = "; ".join(f"{name}: {', '.join(f'{value:.0%}' for value in values)}" for name, values in accuracies.items())
plots.show(plots.label_curve(counts, accuracies, chance), alt=f"Accuracy with {counts} labelled images. {alt}.")

# %% [markdown]
# With the fewest labels, is fine-tuning better or worse than the frozen probe? Either can happen: all weights are pulled
# towards a few dozen pictures, while the probe moves only planes; but only fine-tuning can mend an $h$ that is not good
# yet.
#
# One seed, few steps and one bank: read large differences only. The paper's figures for ImageNet, a ResNet-50 and 1 %
# of the labels: 75.5 % top-5 after SimCLR, fine-tuned; 48.4 % supervised from scratch (table 7).

# %% [markdown]
# ## Once: the test set
#
# Nothing is left to choose: $k = 20$, $\tau = 0.1$, the probe, the encoder. Now, and only now:

# %%
test = data.load_images(course.data_name(), "test")
test = test.subset(
    torch.randperm(len(test), generator=torch.Generator().manual_seed(0))[: 200 if course.quick() else 2000]
)
final = []
for name, rows in representations(test.images).items():
    probe = my.linear_probe(H[name][0], bank.labels, rows, test.labels)
    final.append((name, my.knn_accuracy(H[name][0], bank.labels, rows, test.labels, 20, 0.1), probe))
h, t = (my.extract_features(supervised[0], part.images, 256) for part in (bank, test))
knn_supervised = my.knn_accuracy(h, bank.labels, t, test.labels, 20, 0.1)
final.append(("supervised from scratch, h", knn_supervised, my.linear_probe(h, bank.labels, t, test.labels)))

# %%
by_chance = controls.chance(bank.labels, test.labels)
for name, a, b in [("chance", by_chance, by_chance), *final]:
    print(f"{name:28} k-NN {a:6.1%}   linear probe {b:6.1%}")
alt = "; ".join(f"{name}: k-NN {a:.0%}, linear probe {b:.0%}" for name, a, b in final)
plots.show(plots.accuracy_bars(final, by_chance, "test"), alt=f"Bars of test accuracy. {alt}; chance {by_chance:.0%}.")

# %% [markdown]
# From a terminal, for any checkpoint, on the whole training and test set (`--data NAME` for other pictures than the
# built-in ones; `--supervised EPOCHS` adds the supervised control; `white` is k-NN after whitening):
#
#     python -m helpers.evaluation runs/05/checkpoint.pt

# %% [markdown]
# ## Predict, then measure
#
# Where does all this pay?
# Run the cell to read the question and the choices; write one of them into `guess` and run it again. It then
# measures on the built-in pictures, mostly by training small encoders, one seed, for a minute or two on two cores, and
# sets what came out beside a larger run with several seeds and beside the paper. Nothing here gives points.

# %%
from helpers.findings import predict

guess = None
predict("labels", guess)

# %% [markdown]
# ## What you can now say
#
# - A representation is measured by what simple means read from it, and always next to chance, pixels, a random
#   encoder and supervised training.
# - Features are taken in eval mode, without gradients, in order. Everything that learns, learns from train alone.
# - Choices are made on validation; test is opened once.
# - $h$ can hold what $z$ was trained to forget, and can have lost it too: ask for each factor. Which of the two is
#   better depends on the question.
# - A map shows where to look; a number says whether it is true.
#
# ## Next
#
# You have the whole of SimCLR, in your own code. Which of the answers it ran on were yours:

# %%
my.table()
my.progress()

# %% [markdown]
# Go back to 05 with another temperature or colour strength (`recipe_for` takes them by name: `temperature=0.5`,
# `strength=0.5`), or with your own pictures (`COURSE_DATA=folder:PATH make lab`). Set `START_AFRESH = True` there:
# otherwise 05 shows the old run again, or stops because its file belongs to another run.
# Predict what this notebook will then print, and see.
