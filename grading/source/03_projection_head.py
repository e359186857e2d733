# %% [markdown]
# # 03 · The projection head
#
# *Build $g$, put it behind $f$, and say why it is thrown away in the end.*
#
# The loss of SimCLR does not see $h$. It sees $z = g(h)$, the **embedding**, where the **projection head** $g$ is a
# small network of two layers. After training, $g$ goes into the bin, and $h$ is what later tasks get. To train
# something in order to throw it away looks like waste. In a toy world you can measure in seconds why it need not be;
# what our own pictures say stands at the end.
#
# Three graded exercises, 12 points. About 45 minutes, all of it on a CPU.
#
# image → two views → encoder → **projection head (you are here)** → contrastive loss → training → evaluation

# %% locked="setup"
import copy

import torch
import torch.nn.functional as F
from torch import nn

from helpers import checks, course, data, evaluation, losses, plots
from helpers.checks import NotYet

my = course.Parts()  # your answers once they pass, the reference until then
plots.course_map(here="projection_head")

# %% [markdown]
# ## Exercise 3.1 · `ProjectionHead` (about 2 lines, 5 points)
#
# The paper's head is a multilayer perceptron with one hidden layer:
# $$z = g(h) = W_2\,\mathrm{ReLU}(W_1 h).$$
# In the paper the hidden layer is as wide as $h$ and $z$ has 128 numbers. Write it as a module; biases are welcome.
#
# ```
# ProjectionHead(in_dim, hidden_dim, out_dim=128)
# forward:  h (N, in_dim)  →  z (N, out_dim)
# ```
#
# Two things are *not* in it. No ReLU at the end: $z$ needs both signs, or all embeddings are crowded into one corner of
# the sphere. No normalisation of $z$: bringing rows to length 1 is the loss's job, and best done in one place. (A
# batch-norm works on columns and is another matter; behind the last layer leave it out, too.) One thing must not be
# missing, the ReLU in the middle: without it, $W_2 W_1$ is a single matrix, however many layers you write. A batch-norm
# in front of it, as in the authors' code, is fine; nothing else stands between.
#


# %% exercise="projection_head"
class ProjectionHead(nn.Module):
    """g: h (N, in_dim) -> z (N, out_dim); linear, ReLU, linear."""

    def __init__(self, in_dim, hidden_dim, out_dim=128):
        super().__init__()
        ### BEGIN SOLUTION
        self.layers = nn.Sequential(nn.Linear(in_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, out_dim))
        ### END SOLUTION

    def forward(self, h):
        ### BEGIN SOLUTION
        return self.layers(h)
        ### END SOLUTION

# %% [markdown]
# Below, $h$ walks along a straight line and the figure shows four entries of your $z$. Lines with a few kinks are
# right. Straight lines: no ReLU. Lines cut off at zero: a ReLU at the end. Curves that level out: a normalisation.

# %%
def walk():
    torch.manual_seed(3)
    head, position = ProjectionHead(16, 8, 4), torch.linspace(-4, 4, 401)
    h = torch.randn(16) + position[:, None] * torch.randn(16)  # (401, 16)
    plots.show(
        plots.head_along_a_line(position, head(h).detach()),
        alt="Four entries of z against the position of h on a line: straight pieces, joined by kinks, of both signs.",
    )


checks.try_it(walk)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Which three layers of `torch.nn` do you need, and in which order? What are the sizes of the two linear ones?
#
# </details>
# <details><summary>Hint 2</summary>
#
# `nn.Sequential` calls layers one after the other. Make it in `__init__`, as an attribute of `self`, so that its
# weights are found.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `self.layers = nn.Sequential(nn.Linear(in_dim, hidden_dim), ...)`, and `forward` returns `self.layers(h)`.
#
# </details>

# %% check="projection_head" points=4
with checks.explained(ProjectionHead):
    z = ProjectionHead(12, 24, 5)(torch.ones(3, 12))
    assert torch.is_tensor(z) and z.shape == (3, 5), "Three h of 12 numbers give z of shape (3, 5)."
    assert ProjectionHead(12, 24)(torch.ones(2, 12)).shape == (2, 128), "Unless told otherwise, z has 128 numbers."
checks.check_projection_head(ProjectionHead)

# %% hidden="projection_head" points=1
torch.manual_seed(5)
h = torch.randn(200, 9)
z = ProjectionHead(9, 40, 21)(h)
assert z.shape == (200, 21), "200 h of 9 numbers give z of shape (200, 21)."
assert z.min() < 0 < z.max(), "z has entries of both signs."
checks.check_projection_head(ProjectionHead, seed=271)

# %%
my.keep(ProjectionHead)

# %% [markdown]
# ## Exercise 3.2 · `SimCLR` (about 4 lines, 3 points)
#
# Now $f$ and $g$ in one module, so that one optimizer trains both. It returns both: $z$ for the
# loss, $h$ for what comes after.
#
# ```
# SimCLR(encoder, head)      keeps them as .encoder and .head; the notebooks to come take them from there
# forward:  x (N, 3, H, W)  →  (h, z)
# ```
#
# The encoder is the expensive part: run it once.
#


# %% exercise="simclr"
class SimCLR(nn.Module):
    """Encoder and projection head: x (N, 3, H, W) -> h, z."""

    def __init__(self, encoder, head):
        super().__init__()
        ### BEGIN SOLUTION
        self.encoder = encoder
        self.head = head
        ### END SOLUTION

    def forward(self, x):
        ### BEGIN SOLUTION
        h = self.encoder(x)
        return h, self.head(h)
        ### END SOLUTION

# %%
pictures = data.load_images("shapes", "train")


def look_at_model():
    f, feature_dim = my.build_encoder("resnet8", True)
    model = SimCLR(f, my.ProjectionHead(feature_dim, feature_dim))
    h, z = model(pictures.images[:8].float() / 255)
    print(f"h {tuple(h.shape)}, smallest entry {h.min():6.3f}\nz {tuple(z.shape)}, smallest entry {z.min():6.3f}")
    for name, part in (("f", model.encoder), ("g", model.head)):
        print(f"{name} has {sum(p.numel() for p in part.parameters()):,} parameters")


checks.try_it(look_at_model)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Which of the two outputs is made from the other?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Put the encoder's output into a variable, give that variable to the head, and return both.
#
# </details>
# <details><summary>Hint 3</summary>
#
# In `__init__`: `self.encoder = encoder`, and the same for the head. In `forward`: `h = self.encoder(x)`, and the
# rest is one line.
#
# </details>

# %% check="simclr" points=2
with checks.explained(SimCLR):
    model = SimCLR(nn.Flatten(), nn.Linear(12, 5))
    h, z = model(torch.arange(24.0).reshape(2, 3, 2, 2))
    assert h.shape == (2, 12) and z.shape == (2, 5), "h is (2, 12) here and z is (2, 5)."
    assert torch.equal(h[1], torch.arange(12.0, 24.0)), "h is what the encoder gave, here the pixels."
checks.check_simclr(SimCLR)

# %% hidden="simclr" points=1
model = SimCLR(nn.Flatten(), nn.Identity())
h, z = model(torch.ones(3, 3, 4, 4))
assert torch.equal(h, z) and h.shape == (3, 48), "Where the head hands on its input, z equals h."
checks.check_simclr(SimCLR, seed=271)

# %%
my.keep(SimCLR)

# %% [markdown]
# ## Why $g$ is thrown away
#
# ### First half: a head can only lose
#
# Whatever $z$ says, $h$ said it first. And the loss compares directions, so the length of $z$ is lost as well. For a
# linear head the loss of information can be written down: every direction of $h$ that $W$ maps to zero.
#
# **Predict:** $W$ turns 128 numbers into 32. How many directions of $h$ could change without a trace in $z$?

# %%
torch.manual_seed(0)
linear, h = nn.Linear(128, 32, bias=False), torch.rand(1, 128)
directions = torch.linalg.svd(linear.weight.detach()).Vh  # (128, 128): the first 32 are seen, the others are not
rank = int(torch.linalg.matrix_rank(linear.weight))
print(f"rank {rank}: {128 - rank} of 128 directions are mapped to zero")
others = {"h + 10 · seen": h + 10 * directions[0], "h + 10 · unseen": h + 10 * directions[-1], "3 · h": 3 * h}
for name, other in others.items():
    print(f"{name:16} cosine with h: {F.cosine_similarity(h, other).item():.3f}", end="   ")
    print(f"cosine of the two z: {F.cosine_similarity(linear(h), linear(other)).item():.3f}")

# %% [markdown]
# ### Second half: the loss wants it to lose
#
# Two views of an image share what is in it and differ in how it looks: place, colour, sharpness. The loss asks for
# $z_a \approx z_b$. So everything the augmentations change would best vanish from $z$, and nothing in the loss asks to
# keep it anywhere else. The question is where it vanishes: in $g$, or already in $f$.
#
# A toy world in which this can be measured exactly: an "image" is a vector of 8 numbers, a mixture of 4 numbers of
# *content*, the same in both views, and 4 numbers of *style*, drawn anew for each view. $f$ and $g$ are small networks,
# trained with NT-Xent (the loss of the next notebook, taken here as it comes). Once with a head, once without: then
# $z$ is $h$ itself.

# %%
def toy_views(n, mixing, generator):
    """content (n, 4), style (n, 4), and two views (n, 8) that share the content."""
    content, *styles = torch.randn(3, n, 4, generator=generator)
    views = [torch.cat([content, style], dim=1) @ mixing for style in styles]
    return content, styles[0], views

# %%
def train_toy(head, seed, steps=200):
    """A small SimCLR on the toy world; returns it with fresh data to measure on."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.linalg.qr(torch.randn(8, 8, generator=generator)).Q
    model = my.SimCLR(nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 32)), head)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(steps):
        _, _, (x_a, x_b) = toy_views(64, mixing, generator)
        loss = losses.nt_xent(model(x_a)[1], model(x_b)[1], temperature=0.5)
        optimizer.zero_grad(), loss.backward(), optimizer.step()
    return model, toy_views(2000, mixing, generator)

# %% [markdown]
# Then we ask how much of content and style a linear map can read off $h$ and off $z$, in data it was not fitted on
# ($R^2$: 1 is everything, 0 is nothing).
#
# **Predict:** how much style is left in $h$ without a head, and how much with one? How much in $z$?

# %%
def read_off(representation, factor):
    half = len(factor) // 2
    return evaluation.factor_r2(representation[:half], factor[:half], representation[half:], factor[half:])


# %%
names = ("h, trained without g", "h, trained with g", "z, trained with g")
scores = {name: {"content": [], "style": []} for name in names}
for seed in range(1 if course.quick() else 3):
    torch.manual_seed(seed)
    for kind, head in (("without g", nn.Identity()), ("with g", my.ProjectionHead(32, 32, 8))):
        model, (content, style, (x, _)) = train_toy(head, seed)
        h, z = (output.detach() for output in model(x))
        for name, outcome in ((f"h, trained {kind}", h), (f"z, trained {kind}", F.normalize(z, dim=1))):
            if name in scores:
                scores[name]["content"].append(read_off(outcome, content))
                scores[name]["style"].append(read_off(outcome, style))

# %%
for name, both in scores.items():
    print(f"{name:22}", "   ".join(f"{key} {min(r2):5.2f} to {max(r2):.2f}" for key, r2 in both.items()))
means = {name: {key: sum(r2) / len(r2) for key, r2 in both.items()} for name, both in scores.items()}
figure = plots.factor_bars(means)
figure.axes[0].legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
plots.show(figure, alt=f"Mean R² of content and style: {means}.")

# %% [markdown]
# Without a head the style is gone from $h$: it had to vanish somewhere, and $f$ was all there was. With a head it is
# gone from $z$ just the same, while most of it is still there in $h$. **In this toy world the head is where the
# forgetting happens**, so that the encoder need not forget. A later task may want just that: the colour of a bird is
# style to SimCLR, and half of the answer to a bird-watcher.
#
# Notebook 06 asks the same of the built-in pictures, whose factors are known.
#
# What the paper reports, for a ResNet-50 on ImageNet (its numbers, not ours):
#
# | in the SimCLR paper | reported |
# |---|---|
# | non-linear head against a linear one (figure 8, section 4.2) | about 3 points of accuracy better |
# | non-linear head against none | more than 10 points better |
# | $h$ against $z$, as what is kept | more than 10 points better |
# | which rotation was applied? read from $h$ / from $g(h)$; guessing gives 25 % (table 3) | 67.6 % / 25.6 % |
# | colour or grey? read from $h$ / from $g(h)$; guessing gives 80 % (table 3) | 99.3 % / 97.4 % |
#
# > **A common misreading.** Now and then one reads that this MLP belongs to *supervised* contrastive learning only.
# > It is easy to see where that comes from: the supervised variant uses the same head. But it is part of SimCLR from
# > the start, with no label in sight; in both cases it is there for training alone, and in both cases a linear layer
# > on $h$ takes its place afterwards. You write that one next.
#
# ## After training: a linear layer on a frozen encoder
#
# To see what $h$ is worth, put one linear layer on it, and let that alone learn. "Frozen" has a trap in it: setting
# `requires_grad` to False freezes the weights, but batch-norm also has **statistics**, running means and variances.
# They are no weights; no gradient moves them. They move whenever images pass in train mode.
#
# Below, an encoder whose statistics have settled on our pictures, with all weights frozen, is "trained" on darker ones.
#
# **Predict:** no weight can change. Does $h$?

# %%
def settled_encoder():
    """A random ResNet-8 whose batch-norm statistics have settled on our pictures, and the length of its h."""
    torch.manual_seed(0)
    f, feature_dim = my.build_encoder("resnet8", True)
    with torch.no_grad():
        for batch in pictures.images[:512].split(64) if not course.quick() else pictures.images[:64].split(16):
            f.train()(batch.float() / 255)
    return f.eval(), feature_dim


def first_running_mean(module):
    return next(value for name, value in module.named_buffers() if name.endswith("running_mean")).clone()

# %%
f, feature_dim = settled_encoder()
x, dark = pictures.images[:64].float() / 255, pictures.images[64:128].float() / 255 / 4
careless = nn.Sequential(copy.deepcopy(f).requires_grad_(False), nn.Linear(feature_dim, 10))
before, h_before = first_running_mean(careless), careless[0].eval()(x)
careless.train()
for _ in range(10):
    careless(dark)  # the forward passes of ten training steps; no weight of the encoder can move
h_after = careless[0].eval()(x)
print(f"largest change of a running mean: {(first_running_mean(careless) - before).abs().max():.3f}")
print(f"cosine of h before and after:     {F.cosine_similarity(h_before, h_after).mean():.3f}")

# %% [markdown]
# The frozen encoder is another encoder now, and a checkpoint saved at this point would keep the damage. Keeping it in
# eval mode is the remedy. But whoever trains the classifier will call `classifier.train()`, and that wakes every part
# inside.
#
# ## Exercise 3.3 · `linear_classifier` (about 15 lines, 4 points)
#
# ```
# model         a SimCLR with .encoder and .head; it stays as it was
# num_classes   C
# returns       a module: x (N, 3, H, W) → logits (N, C), no softmax; one linear layer, on h and not on z
# ```
#
# The head is thrown away. The encoder is frozen: no step of an optimizer on the classifier's parameters moves its
# weights, and its batch-norm statistics stay what they are, **even after `classifier.train()`**. You will want a small
# `nn.Module` of your own; write its class inside the function or above it, in the same cell. How long $h$ is, the head
# knows: the models of this exercise carry the course's own head, whose first weight, `next(model.head.parameters())`,
# has one column for each entry of $h$. Take a copy of the encoder (`copy.deepcopy`); without the copy you would freeze
# the model's own.
#


# %% exercise="linear_classifier"
def linear_classifier(model, num_classes):
    """A linear layer on the frozen encoder of a SimCLR model: x (N, 3, H, W) -> logits (N, C)."""
    ### BEGIN SOLUTION
    class LinearClassifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = copy.deepcopy(model.encoder).requires_grad_(False).eval()
            self.linear = nn.Linear(next(model.head.parameters()).shape[1], num_classes)

        def train(self, mode=True):
            super().train(mode)
            self.encoder.eval()  # whatever the mode: its batch-norm statistics are not to move
            return self

        def forward(self, x):
            return self.linear(self.encoder(x))

    return LinearClassifier()
    ### END SOLUTION

# %%
def compare_with_careless():
    torch.manual_seed(0)
    model = my.SimCLR(f, my.reference("ProjectionHead")(feature_dim, feature_dim))
    classifier = linear_classifier(model, 10)
    classifier.train()
    for _ in range(10):
        classifier(dark)
    after = {"careless": first_running_mean(careless), "yours": first_running_mean(classifier)}
    moved = {name: round((mean - before).abs().max().item(), 3) for name, mean in after.items()}
    alt = f"Running means before and after ten runs in train mode. Largest change: {moved}."
    plots.show(plots.statistics_before_after(before, after), alt=alt)


checks.try_it(compare_with_careless)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# `classifier.train()` calls `train()` of every part inside. Which method of your module could you override? Or: at
# which moment is it enough for the encoder to be in eval mode?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Override `train(self, mode=True)`: call `super().train(mode)`, put the encoder back with `self.encoder.eval()`, and
# `return self`, as the original does. New modules begin in train mode, so do it once in `__init__`, too.
#
# </details>
# <details><summary>Hint 3</summary>
#
# In `__init__`: `self.encoder = copy.deepcopy(model.encoder).requires_grad_(False).eval()` and
# `self.linear = nn.Linear(next(model.head.parameters()).shape[1], num_classes)`. In `forward`: the linear layer of the
# encoder of `x`.
#
# </details>

# %% check="linear_classifier" points=3
fresh, width = my.build_encoder("resnet8", True)
with checks.explained(linear_classifier):
    classifier = linear_classifier(my.SimCLR(fresh, my.reference("ProjectionHead")(width, 24)), 7)
    means = first_running_mean(fresh)
    classifier.train()
    logits = classifier(torch.rand(4, 3, 16, 16))
    assert logits.shape == (4, 7), "Four images and seven classes give logits of shape (4, 7)."
    assert torch.equal(first_running_mean(fresh), means), "A run in train mode moved the encoder's batch-norm statistics."
checks.check_linear_classifier(linear_classifier)

# %% hidden="linear_classifier" points=1
fresh, width = my.build_encoder("resnet8", False)
classifier = linear_classifier(my.SimCLR(fresh, my.reference("ProjectionHead")(width, 24)), 3)
x = torch.rand(5, 3, 32, 32)
classifier.eval()
asleep = classifier(x)
classifier.train()
assert torch.allclose(classifier(x), asleep, atol=1e-5), "Train and eval mode give the same logits."
checks.check_linear_classifier(linear_classifier, seed=271)

# %%
my.keep(linear_classifier)
my.progress()

# %% [markdown]
# ## Heads of other shapes
#
# One hidden layer is a choice. `projection_mlp(in_dim, widths, bias, norm)` makes a head of any number of layers: the
# widths are those of the layers' outputs, with a ReLU behind all but the last, and a batch-norm before every ReLU if
# wanted. Yours is `projection_mlp(in_dim, [hidden_dim, 128])`.
#
# **Predict:** ResNet-50 has about 23.5 million weights and an $h$ of 2048 numbers. How many weights has the head that
# SimCLR v2 puts on it, three layers as wide as $h$ but for the last?

# %%
from helpers.projection_head import projection_mlp

heads = {
    "identity: z is h": projection_mlp(2048, []),
    "linear": projection_mlp(2048, [128]),
    "this course's": projection_mlp(2048, [512, 128]),
    "SimCLR, the paper": projection_mlp(2048, [2048, 128]),
    "SimCLR, its code": projection_mlp(2048, [2048, 128], bias=False, norm=True),
    "SimCLR v2": projection_mlp(2048, [2048, 2048, 128], bias=False, norm=True),
}
for name, head in heads.items():
    layers = ", ".join(type(layer).__name__.removesuffix("1d") for layer in head) or "none"
    print(f"{name:18}{sum(weight.numel() for weight in head.parameters()):>11,}  {layers}")

# %% [markdown]
# A bias in front of a batch-norm would be subtracted again with the mean; that is why the authors' code has none there.
# (It also normalises once more behind the last layer, which is left out here.) SimCLR v2's head has more than a third
# as many weights as its ResNet-50, and they go into the bin like all the others; only where v2 fine-tunes with few
# labels does it keep the head's first layer.
#
# Which of them is worth its weights is a question for a measurement: the first of the next three sets none, linear and
# non-linear side by side.

# %% [markdown]
# ## Predict, then measure
#
# Three questions about $g$ that the paper and a later one asked.
# Run the cell to read the question and the choices; write one of them into `guess` and run it again. It then
# measures on the built-in pictures, mostly by training small encoders, one seed, for a minute or two on two cores, and
# sets what came out beside a larger run with several seeds and beside the paper. Nothing here gives points.

# %%
from helpers.findings import predict

guess = None
predict("head", guess)

# %% [markdown]
# What can a linear map still read from $h$, and what from $z$?

# %%
guess = None
predict("forgotten", guess)

# %% [markdown]
# Singular values tell how many directions a representation uses. Its *rank* here is a soft count: the exponential of the
# entropy of the shares of their squares. It is 1 when everything lies in one direction, and $D$ when all are used alike;
# the matrix rank above counts every direction that is not exactly 0.

# %%
guess = None
predict("spectrum", guess)

# %% [markdown]
# ## What you can now say
#
# - $g$ is linear, ReLU, linear; $z$ goes to the loss, un-normalised and of both signs.
# - The loss asks $z$ to drop what differs between views. In the toy world a head takes that on itself and $h$ keeps it;
#   without one $h$ loses it. On our pictures that is only partly so: $z$ keeps much of the position, and by k-NN $h$ was
#   better without a head than with the non-linear one with each of four seeds, against the paper (the interval includes
#   0; on a second machine it does not). On CIFAR-10 the two could not be told apart.
# - After training $g$ is replaced by a linear layer on $h$, whose encoder is frozen: the weights by `requires_grad`,
#   the batch-norm statistics by eval mode. They are two different things.
#
# ## Next
#
# You have $z_a$ and $z_b$. [04 · The contrastive loss](04_contrastive_loss.ipynb) says what is wanted of them.
