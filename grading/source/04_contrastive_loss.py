# %% [markdown]
# # 04 · Contrastive loss
#
# *Write NT-Xent twice, first to be read, then to be fast and safe, and learn to read the number it prints.*
#
# The encoder $f$ and the projection head $g$ turn every view into an embedding $z$. The loss is what tells them
# whether the embeddings are any good, and nobody gives it a label. This notebook is that loss: one equation, from a
# loop that you can check by hand to five lines that train a network.
#
# Six graded exercises, 28 points. About 75 minutes; every cell runs in seconds on a laptop, but for the three predictions
# at the end, a minute or two each.
#
# image → two views → encoder → projection head → **contrastive loss (you are here)** → training → evaluation

# %% locked="setup"
import math
import time

import torch
import torch.nn.functional as F

from helpers import augmentation, checkpoints, checks, course, data, plots, shapes, training, widgets
from helpers.checks import NotYet

my = course.Parts()  # your answers once they pass, the reference until then
plots.course_map(here="contrastive_loss")

# %% [markdown]
# ## A multiple-choice question
#
# Take $N$ images and make two views of each: $2N$ views, in two stacks $x_a$ and $x_b$. Point at one of them, the
# **anchor**, and ask: *which of the other $2N - 1$ views shows the same image?* Exactly one does, its **positive**.
# The other $2N - 2$ are its **negatives**.

# %%
images, _, _ = shapes.render(4, seed=11)  # N = 4 images
x_a, x_b = augmentation.batch_views(32, strength=0.5, area=(0.2, 1.0))(images, torch.Generator().manual_seed(7))
views = torch.cat([x_a, x_b])  # (8, 3, 32, 32)
names = ["anchor a0", "a1", "a2", "a3", "b0", "b1", "b2", "b3"]
alt = (
    "Eight views in a row: a0 to a3, then b0 to b3. a0 is the anchor, and one of the other seven shows the same image."
)
plots.show(plots.image_grid(views, titles=names), alt=alt)

# %% [markdown]
# **Predict.** Which candidate is a0's positive? How often would you be right if you guessed blindly?
#
# <details><summary>Answer</summary>b0: both stacks keep the order of the images. A blind guess is right once in
# $2N - 1 = 7$ times.</details>
#
# That is all there is. Every view takes its turn as the anchor, so a batch is $2N$ multiple-choice questions, and
# their answers are known without labels, because we made the views ourselves. A network that answers such questions
# must know which parts of what is *in* a picture survive cropping and colour changes.
#
# ## Equation 1
#
# A network answers through its embeddings. Let $s_{ik} = \cos(z_i, z_k)$ be the cosine of the angle between two of
# them. A softmax over the candidates turns the cosines into probabilities, and the loss of an anchor $i$ with
# positive $j$ is minus the log-probability of the right answer (Chen et al. 2020, equation 1):
#
# $$\ell_{i,j} = -\log \frac{\exp(s_{ij}/\tau)}{\sum_{k=1}^{2N} \mathbb{1}_{[k \neq i]} \exp(s_{ik}/\tau)},
# \qquad
# s_{ik} = \frac{z_i^\top z_k}{\lVert z_i \rVert \, \lVert z_k \rVert}$$
#
# Four things to read in it:
#
# - The **cosine** has no length: $z$ may be as long as it likes, only its direction counts.
# - The **temperature** $\tau$ divides every cosine. A cosine cannot leave $[-1, 1]$, so without it the softmax could
#   never be sure of anything. We come back to it.
# - The **sum** runs over all $k$ except $i$: the positive and all negatives, from both stacks, but never the anchor
#   itself.
# - The loss of the batch is the **mean** over all $2N$ anchors.
#
# Its name is NT-Xent: *normalised temperature-scaled cross-entropy*.
#
# ### Exercise 4.1 · `nt_xent_loop` (about 10 lines, 6 points)
#
# First slowly, one anchor after the other, as the equation reads. Loops are welcome here; speed is not the point.
#
# We stack the views as $z = [z_a; z_b]$, so rows $0 \dots N-1$ are $z_a$ and rows $N \dots 2N-1$ are $z_b$.
#
# ```
# z_a, z_b     (N, D) embeddings, row i of each from image i
# temperature  > 0
# returns      () a torch tensor of z's dtype: the mean of ℓ over the 2N anchors
# ```
#
# A loss is there to be differentiated: build it from torch operations on `z_a` and `z_b` only, and leave both as they
# are. `.item()`, `float()`, NumPy and `torch.tensor([...])` make plain numbers, and no gradient comes through a plain
# number.


# %% exercise="nt_xent_loop"
def nt_xent_loop(z_a, z_b, temperature):
    """NT-Xent by equation 1, anchor by anchor. z_a, z_b: (N, D), row i from image i. Returns (), the mean of 2N."""
    ### BEGIN SOLUTION
    n, z = len(z_a), torch.cat([z_a, z_b])  # (2N, D)
    total = 0
    for i in range(2 * n):
        j = (i + n) % (2 * n)  # the anchor's positive
        score = [torch.exp(F.cosine_similarity(z[i], z[k], dim=0) / temperature) for k in range(2 * n)]
        others = sum(score[k] for k in range(2 * n) if k != i)
        total = total - torch.log(score[j] / others)
    return total / (2 * n)
    ### END SOLUTION


# %% [markdown]
# Try it on two images, where every number can be followed by hand. Each image has both views in the same place, and
# the two images are at a right angle: $z_a = z_b = \begin{pmatrix}1 & 0\\ 0 & 1\end{pmatrix}$.
#
# **Predict.** An anchor has three candidates: its positive at cosine 1 and two negatives at cosine 0. What is its
# loss at $\tau = 0.5$? And if all four embeddings were the same?


# %%
def two_images():
    apart, alike = torch.eye(2), torch.ones(2, 2)
    for name, z, by_hand in (
        ("right angle", apart, math.log(1 + 2 * math.exp(-2))),
        ("all the same", alike, math.log(3)),
    ):
        print(f"{name:14} your loss {float(nt_xent_loop(z, z, 0.5)):.4f}   by hand {by_hand:.4f}")


checks.try_it(two_images)

# %% [markdown]
# By hand: $-\log \frac{e^{1/0.5}}{e^{1/0.5} + 2 e^{0}} = \log(1 + 2e^{-2})$. With equal embeddings all three
# candidates have probability 1/3, and the loss is $\log 3$, whatever $\tau$.
#
# <details><summary>Hint 1</summary>Row <code>i</code> below N belongs to z_a, the others to z_b. Where is the other view
# of row <code>i</code> in the stack, in both cases?</details>
# <details><summary>Hint 2</summary><code>F.cosine_similarity(z[i], z[k], dim=0)</code> is one cosine. For each
# <code>i</code> collect <code>torch.exp(cosine / temperature)</code> for all <code>k</code>; the numerator is one of
# them, the denominator the sum of all but one.</details>
# <details><summary>Hint 3</summary><code>j = (i + n) % (2 * n)</code>, then
# <code>total = total - torch.log(score[j] / sum(score[k] for k in range(2 * n) if k != i))</code>, and at the end
# <code>total / (2 * n)</code>.</details>

# %% check="nt_xent_loop" points=4.5
z = torch.eye(2)  # two images at a right angle, both views alike
with checks.explained(nt_xent_loop):
    loss = nt_xent_loop(z, z, 0.5)
    assert torch.is_tensor(loss) and loss.shape == (), "The loss is one torch number, shape ()."
    wrong = f"gave {loss.item():.5g}; by hand it is log(1 + 2 e^-2) = {math.log(1 + 2 * math.exp(-2)):.5g}."
    assert abs(loss.item() - math.log(1 + 2 * math.exp(-2))) < 1e-5, f"nt_xent_loop(z, z, 0.5) {wrong}"
checks.check_nt_xent_loop(nt_xent_loop)

# %% hidden="nt_xent_loop" points=1.5
checks.check_nt_xent_loop(nt_xent_loop, seed=4101)
z = torch.ones(7, 3)
assert abs(nt_xent_loop(z, z, 0.2).item() - math.log(13)) < 1e-5, "Equal embeddings cost log(2N - 1)."

# %%
my.keep(nt_xent_loop)

# %% [markdown]
# ## From the loop to one matrix
#
# The loop asks for the cosine of every pair, one at a time. All of them together are one matrix product, which is
# what computers are best at. The staircase from here: a matrix of cosines, the place of each positive in it, then the
# loss.
#
# ### Exercise 4.2 · `cosine_similarities` (about 2 lines, 4 points)
#
# ```
# z        (M, D) embeddings of any length; for a batch of N pairs M = 2N
# returns  (M, M) of z's dtype: entry (i, k) is the cosine of the angle between rows i and k
# ```
#
# A row may be all zeros. It has no direction, and dividing by its length gives 0/0; your matrix must stay finite. As in
# 4.1, `z` stays as it is and the gradient passes through, through the lengths too.


# %% exercise="cosine_similarities"
def cosine_similarities(z):
    """Cosine of the angle between every two rows. z: (M, D). Returns (M, M), finite also for a row of zeros."""
    ### BEGIN SOLUTION
    unit = F.normalize(z, dim=1)  # (M, D) rows of length 1; F.normalize never divides by less than 1e-12
    return unit @ unit.T  # (M, M)
    ### END SOLUTION


# %% [markdown]
# Here is your matrix for real embeddings: the small encoder that comes with the course looks at four images, twice.
#
# Dark red is a cosine of 1, white 0, dark blue -1.
#
# **Predict.** Where must it be dark red, whatever the images? Where should a good encoder make it red?

# %%
model, recipe = checkpoints.load_model(data.DATA / "encoder.safetensors")
model.eval()
two_views = augmentation.batch_views(recipe["view_size"], strength=0.5, area=recipe["area"])
x_a, x_b = two_views(images, torch.Generator().manual_seed(7))
with torch.no_grad():
    (_, z_a), (_, z_b) = model(x_a), model(x_b)  # (4, 128) each

# %%
n = len(z_a)
roles = torch.full((2 * n, 2 * n), plots.NEGATIVE)
roles[range(2 * n), [*range(n, 2 * n), *range(n)]] = plots.POSITIVE
roles.fill_diagonal_(plots.ITSELF)


def draw_similarities():
    alt = (
        "Left: your 8 by 8 cosines, red for 1, blue for -1. Right: the diagonal is each view with itself; two "
        "shorter diagonals, N away, are the positives; all else is negative."
    )
    plots.show(plots.similarity_picture(cosine_similarities(torch.cat([z_a, z_b])), roles), alt=alt)


checks.try_it(draw_similarities)

# %% [markdown]
# The diagonal is 1: every row lies at angle 0 to itself. The positives stand on two lines, each $N$ away from the
# diagonal, and the matrix is its own mirror image, as $\cos(z_i, z_k) = \cos(z_k, z_i)$. The loss wants those two
# lines red and the rest not. (Which of the four pairs is this encoder least sure of?)
#
# <details><summary>Hint 1</summary>If all rows had length 1, which product of matrices would hold every cosine?</details>
# <details><summary>Hint 2</summary><code>F.normalize(z, dim=1)</code> divides each row by its length, and by a tiny
# number where the length is 0. Rows, not columns: which <code>dim</code>?</details>
# <details><summary>Hint 3</summary>Two lines: <code>unit = F.normalize(...)</code>, then one matrix product of
# <code>unit</code> with itself, one of the two transposed (<code>.T</code>).</details>

# %% check="cosine_similarities" points=3
z = torch.tensor([[3.0, 0.0], [0.0, 2.0], [-1.0, 0.0], [1.0, 1.0]])  # east, north, west, north-east; lengths differ
with checks.explained(cosine_similarities):
    s = cosine_similarities(z)
    assert torch.is_tensor(s) and s.shape == (4, 4), "Four rows give a matrix of shape (4, 4)."
    wanted = torch.tensor([1.0, 0.0, -1.0, math.sqrt(0.5)])
    assert torch.allclose(s[0], wanted, atol=1e-6), "East has cosines 1, 0, -1 and √½ with these."
checks.check_cosine_similarities(cosine_similarities)

# %% hidden="cosine_similarities" points=1
checks.check_cosine_similarities(cosine_similarities, seed=4202)
s = cosine_similarities(torch.zeros(3, 4))
assert s.shape == (3, 3) and bool(s.isfinite().all()), "Rows of zeros must give finite cosines."

# %%
my.keep(cosine_similarities)

# %% [markdown]
# **How much memory?** A tempting other way is to compare all rows with all rows by broadcasting,
# `F.cosine_similarity(z[:, None], z[None], dim=2)`. Same numbers. But on the way it multiplies entry by entry, and
# holds one number for every pair of rows *and every dimension*: $2N \times 2N \times D$.

# %%
z = torch.randn(2 * 32, 128, generator=torch.Generator().manual_seed(0))
products = z[:, None] * z[None]  # (64, 64, 128): what the broadcast form must hold
large, small = products.nbytes / 2**20, (z @ z.T).nbytes / 2**20
print(f"measured, N = 32: broadcast {large:.1f} MiB, matrix product {small:.3f} MiB")
for n in (256, 1024, 4096):
    pairs = 4 * (2 * n) ** 2  # bytes of a (2N, 2N) float32 matrix
    print(f"counted,  N = {n}: broadcast {pairs * 128 / 2**30:8.2f} GiB, matrix product {pairs / 2**30:.4f} GiB")

# %% [markdown]
# $D$ times as much, and the backward pass needs it again. The check of `nt_xent` below refuses a tensor of that size.
#
# ### Exercise 4.3 · `positive_index` (about 1 line, 3 points)
#
# In the stack $z = [z_a; z_b]$, in which column does the positive of each row stand?
#
# ```
# n        images in the batch
# returns  (2n,) int64; entry i is the row of the other view of the same image
# ```


# %% exercise="positive_index"
def positive_index(n):
    """Where the positive of each of the 2n rows of [z_a; z_b] stands. Returns (2n,) int64."""
    ### BEGIN SOLUTION
    return torch.arange(2 * n).roll(n)  # n, n + 1, ..., 2n - 1, 0, 1, ..., n - 1
    ### END SOLUTION


# %% [markdown]
# Compare with the right half of the picture above, where a + marks each positive: row a0 has its + at b0, row b0 at a0.


# %%
def show_index():
    names = [f"{view}{i}" for view in "ab" for i in range(4)]
    print("   ".join(f"{anchor} → {names[int(j)]}" for anchor, j in zip(names, positive_index(4))))


checks.try_it(show_index)

# %% [markdown]
# <details><summary>Hint 1</summary>Write the answer for n = 3 on paper. What are the first three entries, what the last
# three?</details>
# <details><summary>Hint 2</summary>Two halves: the first counts from n, the second from 0. Or: all row numbers, shifted by
# n places with wrap-around.</details>
# <details><summary>Hint 3</summary><code>torch.cat([torch.arange(..., ...), torch.arange(...)])</code>, or
# <code>torch.arange(...).roll(...)</code>.</details>

# %% check="positive_index" points=2
with checks.explained(positive_index):
    index = positive_index(3)
    assert torch.is_tensor(index) and index.shape == (6,), "Six rows have six positives, shape (6,)."
    assert index.tolist() == [3, 4, 5, 0, 1, 2], "For n = 3: rows 0, 1, 2 pair with rows 3, 4, 5."
checks.check_positive_index(positive_index)

# %% hidden="positive_index" points=1
checks.check_positive_index(positive_index, seed=4303)
assert positive_index(1).tolist() == [1, 0], "One image: row 0 pairs with row 1."
assert bool((positive_index(64)[positive_index(64)] == torch.arange(128)).all()), (
    "The positive of the positive is the anchor."
)

# %%
my.keep(positive_index)

# %% [markdown]
# A matrix of cosines and the place of each positive: that is enough to mark the network's multiple-choice paper. Its
# answer is the candidate with the largest cosine.

# %%
batch, _, _ = shapes.render(64, seed=4)  # N = 64 new images
x_a, x_b = two_views(batch, torch.Generator().manual_seed(4))  # (64, 3, side, side) each
with torch.no_grad():
    z = torch.cat([model(x_a)[1], model(x_b)[1]])  # (128, 128)
answers = my.cosine_similarities(z).fill_diagonal_(-math.inf).argmax(dim=1)  # (128,)
right = (answers == my.positive_index(64)).double().mean().item()
print(f"the course's small encoder: {right:.1%} of 128 questions right; blind guesses: {1 / 127:.1%}")

# %% [markdown]
# This share is called the contrastive accuracy (in 01 the histogram chose among $N$). It is easy to read, but it moves
# in jumps and has no slope to follow, so it cannot be trained on. Equation 1 can.
#
# ## The loss in five lines
#
# Equation 1 is a softmax followed by minus a logarithm: the cross-entropy of a classifier with $2N - 1$ classes. So
# the row of an anchor, divided by $\tau$, holds **logits**, the positive is the **target**, and each anchor is one
# example. torch has that loss already.
#
# Two things remain. The diagonal: an anchor must not pick itself, so its own logit must get probability 0. And the
# numbers: at small temperatures the exponentials of equation 1 are huge.
#
# **Predict.** The largest float32 is about $3.4 \cdot 10^{38}$. What is $e^{1/0.01}$?

# %%
s = torch.tensor([1.0, 0.9, -0.2])  # cosines of one anchor: the positive first, then two negatives
for temperature in (0.5, 0.05, 0.01):
    score = torch.exp(s / temperature)
    naive = -torch.log(score[0] / score.sum())
    safe = torch.logsumexp(s / temperature, dim=0) - s[0] / temperature
    print(
        f"temperature {temperature:<5g} largest exp {score.max():9.3g}   exp, then log: {naive:.3e}   logsumexp: {safe:.3e}"
    )

# %% [markdown]
# `inf / inf` is NaN, and one NaN in a loss turns every weight of the network into NaN at the next step. Where the
# exponentials fit, both ways agree; where they do not, only one is left. The remedy costs nothing: with $m = \max_k
# u_k$,
#
# $$\log \sum_k e^{u_k} = m + \log \sum_k e^{u_k - m},$$
#
# and the largest exponent is now 0. `torch.logsumexp` does this, and so does `F.cross_entropy`, which takes the
# logits as they are.
#
# ### Exercise 4.4 · `nt_xent` (about 5 lines, 9 points)
#
# The loss that trains everything from here on.
#
# ```
# z_a, z_b     (N, D) embeddings, row i of each from image i, normalised or not
# temperature  > 0, 0.5 if not given
# returns      () mean over the 2N anchors, of the dtype and on the device of z
# ```
#
# It must be finite at $\tau = 0.01$, let the gradient through everywhere, hold nothing of size $2N \times 2N \times
# D$, work for every $N$ and $D$, and leave its inputs alone. A tensor that you make on the way (a mask, an index)
# belongs where z is: `device=z.device`, or the loss stops on a GPU. Your `my.cosine_similarities(z)` and
# `my.positive_index(n)`, which is made on the CPU (`.to(z.device)`), are at hand; so is writing it afresh.


# %% exercise="nt_xent"
def nt_xent(z_a, z_b, temperature=0.5):
    """NT-Xent of N pairs of views. z_a, z_b: (N, D), row i from image i. Returns (), the mean over 2N anchors."""
    ### BEGIN SOLUTION
    n = len(z_a)
    z = F.normalize(torch.cat([z_a, z_b]), dim=1)  # (2N, D) unit vectors
    itself = torch.eye(2 * n, dtype=torch.bool, device=z.device)
    logits = (z @ z.T / temperature).masked_fill(itself, -math.inf)  # (2N, 2N); exp(-inf) = 0: no anchor picks itself
    return F.cross_entropy(logits, torch.arange(2 * n, device=z.device).roll(n))  # ()
    ### END SOLUTION


# %% [markdown]
# Against the loop, on embeddings at random: do the two agree, and what was the matrix worth?


# %%
def race():
    z_a, z_b = torch.randn(2, 32, 128, generator=torch.Generator().manual_seed(2))
    for name, loss in (("loop", my.nt_xent_loop), ("yours", nt_xent)):
        start = time.perf_counter()
        value = loss(z_a, z_b, 0.5)
        print(f"{name:6} {float(value):.6f}   {1000 * (time.perf_counter() - start):8.1f} ms")


checks.try_it(race)

# %% [markdown]
# <details><summary>Hint 1</summary>Picking one of many is a classification. What are its logits, and what its
# targets?</details>
# <details><summary>Hint 2</summary>An anchor must not pick itself. Which logit has probability 0? And
# <code>masked_fill</code> puts it on the diagonal without changing anything in place.</details>
# <details><summary>Hint 3</summary><code>itself = torch.eye(2 * n, dtype=torch.bool, device=z.device)</code>;
# <code>logits = (similarities / temperature).masked_fill(itself, float("-inf"))</code>; <code>F.cross_entropy(logits,
# positive)</code> with <code>positive</code> on z's device. It takes the mean over the rows by itself.</details>

# %% check="nt_xent" points=7
z = torch.eye(2)  # two images at a right angle, both views alike
with checks.explained(nt_xent):
    loss = nt_xent(z, z, 0.5)
    assert torch.is_tensor(loss) and loss.shape == (), "The loss is one torch number, shape ()."
    assert abs(loss.item() - math.log(1 + 2 * math.exp(-2))) < 1e-5, "By hand it is log(1 + 2 e^-2)."
    opposite = nt_xent(z, -z, 0.5).item()  # each positive as far away as can be
    assert abs(opposite - math.log(1 + 2 * math.exp(2))) < 1e-5, "Positives at cosine -1: log(1 + 2 e^2)."
checks.check_nt_xent(nt_xent)

# %% hidden="nt_xent" points=2
for seed in (4404, 4405):
    checks.check_nt_xent(nt_xent, seed=seed)
z_a, z_b = torch.randn(2, 33, 20, generator=torch.Generator().manual_seed(5))
assert torch.isclose(nt_xent(z_a, z_b, 0.1), nt_xent(9 * z_b, z_a / 7, 0.1), rtol=1e-4), (
    "Neither order nor length may count."
)
assert bool(nt_xent(z_a, z_a, 0.01).isfinite()), "Identical views at temperature 0.01 must give a finite loss."
assert abs(nt_xent(torch.ones(20, 3), torch.ones(20, 3)).item() - math.log(39)) < 1e-5, (
    "Equal embeddings cost log(2N - 1)."
)

# %%
my.keep(nt_xent)

# %% [markdown]
# **When the matrix is too large.** It has $(2N)^2$ entries, and autograd keeps several such matrices for the way back.
# But an anchor's loss needs only the *sum* of its row. `nt_xent_chunked` in `helpers/losses.py` makes one block of
# the matrix at a time, adds it up and forgets it, and makes it again when the gradient is wanted. Same value, same
# gradient, memory that grows as $N$.

# %%
from helpers.losses import nt_xent_chunked

z = torch.randn(2, 512, 64, generator=torch.Generator().manual_seed(6), dtype=torch.float64).requires_grad_()
whole, in_blocks = my.nt_xent(*z, 0.5), nt_xent_chunked(*z, 0.5, chunk=100)
(slope,), (slope_in_blocks,) = (torch.autograd.grad(loss, z) for loss in (whole, in_blocks))
print(f"value {whole.item():.12f} and {in_blocks.item():.12f}")
print(f"gradients differ by at most {(slope - slope_in_blocks).abs().max():.1e}")
for n in (256, 4096, 16384):
    print(f"N = {n:<6} one matrix {4 * (2 * n) ** 2 / 2**20:8.2f} MiB   one block of 512 rows {4 * 512**2 / 2**20:.2f} MiB")

# %% [markdown]
# ## Reading a loss
#
# A classifier with ten classes that knows nothing has a loss of $\log 10$. What does a SimCLR that knows nothing
# have?
#
# ### Exercise 4.5 · `chance_loss` (about 1 line, 2 points)
#
# ```
# n        images in the batch (each gives two views)
# returns  a number: the loss of a blind guess, all candidates equally likely; natural logarithm
# ```


# %% exercise="chance_loss"
def chance_loss(n):
    """The NT-Xent of a batch of n images when every candidate is equally likely."""
    ### BEGIN SOLUTION
    return math.log(2 * n - 1)  # the positive and 2n - 2 negatives
    ### END SOLUTION


# %%
def show_chance():
    for n in (1, 4, 64, 256, 512):
        print(f"N = {n:<4} chance loss {float(chance_loss(n)):.4f}")


checks.try_it(show_chance)

# %% [markdown]
# <details><summary>Hint 1</summary>How many candidates does one anchor have? Count them in the picture of eight
# views.</details>
# <details><summary>Hint 2</summary>A blind guess gives each candidate probability 1 over their number. The loss is minus
# the logarithm of that.</details>
# <details><summary>Hint 3</summary>Minus the logarithm of 1 over a number is the logarithm of the number:
# <code>math.log(...)</code>.</details>

# %% check="chance_loss" points=1.5
with checks.explained(chance_loss):
    assert abs(float(chance_loss(1))) < 1e-9, "With one image the positive is the only candidate: log 1 = 0."
    assert abs(math.exp(float(chance_loss(4))) - 7) < 1e-6, "Eight views: seven candidates for each."
checks.check_chance_loss(chance_loss)

# %% hidden="chance_loss" points=0.5
checks.check_chance_loss(chance_loss, seed=4506)
assert abs(float(chance_loss(4096)) - math.log(8191)) < 1e-6, "N = 4096 has 8191 candidates for each anchor."

# %%
my.keep(chance_loss)

# %% [markdown]
# **A true story.** Somebody trained SimCLR for 728 epochs with batches of 512 images and asked the authors of the
# library about a loss that stayed at 6.9287 (issue 233 of tensorflow/similarity). How far had that loss come?

# %%
stuck = 6.9287
print(f"chance for N = 512: {my.chance_loss(512):.4f}; the run is {my.chance_loss(512) - stuck:.4f} below it")
print(f"it hesitates between e^{stuck} = {math.exp(stuck):.0f} of {2 * 512 - 1} candidates")

# %% [markdown]
# Hardly anywhere, and it could not have come far. The library brought the whole batch to length 1 at once, not each row
# by itself (issue 237; compare hint 2 of exercise 4.2). Its "cosines" were a few thousandths at most, and the softmax
# nearly flat, whatever the network did. So a loss at chance has two readings: the network cannot tell the candidates
# apart, or the loss cannot see that it can. The exponential of a loss is the number of candidates among which it still
# hesitates; before you look at any curve, know where chance is, and how far the loss can move.
#
# The other end of the ruler is not 0. Cosines cannot exceed 1, so even a perfect positive has odds of only
# $e^{1/\tau}$ to 1 against each negative at a right angle: the larger $\tau$, the higher the floor. Take embeddings
# that answer every question well, positives in one place and all negatives at right angles, and beside them two
# networks that look at the 64 images from before: one before its first step, and the course's small encoder. (Negatives
# can lie a little past the right angle, so the floor is a mark, not a bound.)

# %%
networks = {"untrained": training.build_model(training.Recipe()).eval(), "the course's encoder": model}
with torch.no_grad():
    z_of = {name: (network(x_a)[1], network(x_b)[1]) for name, network in networks.items()}  # (64, 128) twice

# %%
rows = []
for temperature in (1.0, 0.5, 0.2, 0.1):
    floor = my.nt_xent(torch.eye(64), torch.eye(64), temperature).item()
    losses = {name: my.nt_xent(a, b, temperature).item() for name, (a, b) in z_of.items()}
    rows.append((f"τ = {temperature}", floor, my.chance_loss(64), losses))
    print(
        f"τ = {temperature:<4} floor {floor:.3f}   " + "   ".join(f"{name} {loss:.3f}" for name, loss in losses.items())
    )
alt = (
    "For each temperature a bar from the floor to chance. Chance is the same for all. The smaller the "
    "temperature, the lower the floor. The numbers are printed above."
)
plots.show(plots.loss_ruler(rows), alt=alt)

# %% [markdown]
# Three lessons:
#
# - An untrained network stands near chance. A run that is still there after its first epochs is broken, however busy
#   it looks.
# - **Losses with different $\tau$ or $N$ must not be compared.** $\tau$ moves the floor, $N$ both ends.
# - A loss tells how hard the questions still are, not how good the representation is. That is why training is watched
#   with a k-NN monitor as well (notebook 05).
#
# ## What the temperature does
#
# The gradient of one anchor's loss for the cosine of a candidate $k$ is
#
# $$\frac{\partial \ell_{i,j}}{\partial s_{ik}} = \frac{p_{ik} - \mathbb{1}_{[k = j]}}{\tau},$$
#
# with $p_{ik}$ the softmax's probability. Minus it is a force: the positive is pulled with $(1 - p_{ij})/\tau$, each
# negative pushed away in proportion to its own probability. The pushes add up to the pull.
#
# **Predict.** One anchor, its positive at cosine 0.6, a **hard negative** at 0.5 (another image that looks alike),
# and easy ones further away. Who is pushed at $\tau = 2$, and who at $\tau = 0.05$?

# %%
cosines = torch.tensor([0.6, 0.5, 0.3, 0.1, 0.0, -0.2, -0.5])  # the positive first; made up to show the effect
rows = {}
for temperature in (2.0, 0.5, 0.05):
    s = cosines.clone().requires_grad_()
    loss = F.cross_entropy(s[None] / temperature, torch.tensor([0]))
    (slope,) = torch.autograd.grad(loss, s)
    rows[temperature], share = ((s / temperature).softmax(dim=0), slope), slope[1] / slope[1:].sum()
    print(
        f"τ = {temperature:<4g} of the push, {share:.0%} is on the hardest negative; pull on the positive {-slope[0]:.2f}"
    )
alt = (
    "Bars for seven candidates at three temperatures. At 2 the probabilities are nearly equal and all "
    "negatives are pushed alike; at 0.05 nearly all the push is on the hardest negative."
)
plots.show(plots.temperature_rows(cosines, rows), alt=alt)

# %% [markdown]
# A high temperature is fair: it pushes all negatives about alike, near or far. A low one is strict: only negatives
# that rival the positive feel it. Strict is good as long as hard negatives really are other things. When two
# *different photos of a dog* are each other's hard negatives, a strict loss tears apart what belongs together. So
# $\tau$ is a choice, made on validation data.
#
# Now let the loss move things itself. Ten images, two views each, and no network: $z$ is a point on a circle, and
# gradient descent shifts the points. Paths start on the inner ring and end on the outer one; a colour is an image,
# and its two paths are its two views.
#
# **Predict.** Pairs will come together. How will the ten images arrange themselves at each temperature?


# %%
def descend(temperature, rate=0.5, n=10, seed=0):
    """Gradient descent on the angles of 2n points. Returns (steps + 1, 2n) radians: the path of each."""
    generator = torch.Generator().manual_seed(seed)
    centre = 2 * math.pi * torch.rand(n, generator=generator)
    angles = torch.cat([centre, centre]) + 0.5 * torch.randn(2 * n, generator=generator)  # (2n,)
    path = [angles]
    for _ in range(300):
        angles = path[-1].clone().requires_grad_()
        z = torch.stack([angles.cos(), angles.sin()], dim=1)  # (2n, 2)
        (slope,) = torch.autograd.grad(my.nt_xent(z[:n], z[n:], temperature), angles)
        path.append(path[-1] - rate * slope)
    return torch.stack(path)


# %%
def report(temperature, rate, angles):
    """Print the mean angle between two views of an image, and the smallest between two neighbouring images."""
    a, b = angles.view(2, -1)  # (N,) each
    pair = torch.atan2((a - b).sin(), (a - b).cos()).abs().rad2deg().mean()
    middle = torch.atan2(a.sin() + b.sin(), a.cos() + b.cos()).sort().values  # (N,)
    gap = torch.cat([middle, middle[:1] + 2 * math.pi]).diff().min().rad2deg()
    print(f"τ = {temperature:<4g} step size {rate:<4g} views {pair:5.1f}° apart, nearest two images {gap:4.1f}° apart")


# %%
paths = {temperature: descend(temperature) for temperature in (0.1, 0.5, 5.0)}
print("Spread evenly, ten images would be 36° apart.")
for temperature, path in paths.items():
    report(temperature, 0.5, path[-1])
alt = (
    "Three circles with the paths of ten pairs of points. At 0.1 and 0.5 the pairs meet and spread evenly "
    "over the circle; at 5 the pairs meet, but several images crowd together."
)
plots.show(plots.circle_paths({f"τ = {temperature:g}": path for temperature, path in paths.items()}), alt=alt)

# %% [markdown]
# The two halves of the loss are in the picture: the pull brings views of one image together (**alignment**), the push
# spreads images over the circle (**uniformity**). You will measure both in notebook 06.
#
# At a moderate temperature the images keep an even distance. At $\tau = 5$ the push hardly tells near from far: once
# all embeddings balance around the centre, neighbours that crowd together are barely told to part. Is that only
# because its forces are weaker, and would larger steps do? And what does a very cold loss do, with forces that grow
# as $1/\tau$?

# %%
for temperature, rate in ((5.0, 0.5), (5.0, 20.0), (0.02, 0.5), (0.02, 0.02)):
    report(temperature, rate, descend(temperature, rate)[-1])

# %% [markdown]
# Steps forty times as large hardly help the hot loss. The cold one, with the old step size, throws its points past
# each other and never settles; with steps 25 times smaller the views meet. With plain gradient descent, as here, a
# change of temperature is a change of the learning rate, too. (AdamW, in 05, divides by the size of the gradient, which
# undoes most of that.)
#
# ### The loss bench
#
# All of this at once, to take into your hands: three images, two views each, as points on the circle. Drag a point, or
# go to it with Tab and turn it with the arrow keys, and everything follows: the cosines, what the chosen anchor
# believes (its softmax), the loss, and the arrows along which gradient descent would push.
#
# 1. Lay $b_0$ on $a_0$. How small does that anchor's loss get at $\tau = 0.5$, and why not 0?
# 2. Bring a negative close to $a_0$, and turn $\tau$ from 5 down to 0.05. Whose bar grows?
# 3. Lay all six points in one place. What is the loss, and where do the arrows go?
# 4. *Let it run* at $\tau = 0.5$, go back to the start, and run at $\tau = 0.05$.

# %%
bench = widgets.loss_bench()
alt = "Cosines of six embeddings on a circle, and the role of each pair: one positive a row, itself, else negatives."
widgets.show(bench, widgets.loss_bench_still(bench), alt=alt)

# %% [markdown]
# The browser computes all that by itself. Does it agree with your loss? Move something, and run this cell again:

# %%
z_a, z_b = bench.embeddings()  # (3, 2) each, where the points are now
print(f"on the bench {bench.loss:.4f}   yours {float(my.nt_xent(z_a, z_b, bench.temperature)):.4f}")

# %% [markdown]
# ## With labels: SupCon
#
# In a batch of 256 pictures with ten classes, about 25 show the same kind of thing, and NT-Xent pushes them all
# apart. Where labels exist, they can mend that: the **supervised contrastive loss** (Khosla et al. 2020, equation 2,
# $L_\mathrm{out}$) counts every other row of the anchor's class as a positive. With $P(i)$ the set of them,
#
# $$\ell_i = \frac{-1}{|P(i)|} \sum_{p \in P(i)} \log \frac{\exp(s_{ip}/\tau)}{\sum_{k \neq i} \exp(s_{ik}/\tau)}.$$
#
# The denominator has not changed. The logarithm is taken for each positive, and *then* the mean over them.

# %%
labels = torch.tensor([0, 1, 0, 2])  # images 0 and 2 are of one class
both = labels.repeat(2)  # (8,) labels of the rows of [z_a; z_b]
supervised = torch.where(both[:, None] == both, plots.POSITIVE, plots.NEGATIVE).fill_diagonal_(plots.ITSELF)
alt = (
    "Roles for four images. Left, NT-Xent: one positive a row. Right, SupCon with images 0 and 2 of one "
    "class: three positives in the rows of a0, a2, b0, b2, one in the others."
)
plots.show(plots.role_pictures({"NT-Xent": roles, "SupCon, classes 0 1 0 2": supervised}), alt=alt)

# %% [markdown]
# **Predict.** If every label in the batch differs, what does SupCon become?
#
# ### Exercise 4.6 · `sup_con` (about 8 lines, 4 points)
#
# ```
# z_a, z_b     (N, D) embeddings, row i of each from image i
# labels       (N,) integers, the class of each image
# temperature  > 0
# returns      () mean of ℓ over the 2N anchors; equal to NT-Xent when every label differs
# ```
#
# One trap: on the diagonal the logit is $-\infty$, and so is its log-probability. Multiplied by a mask's 0 it gives
# NaN, not 0. All that 4.4 demands holds here too: finite at $\tau = 0.01$, z's dtype and device, nothing of size
# $2N \times 2N \times D$, inputs left alone, every $N$ from 1.


# %% exercise="sup_con"
def sup_con(z_a, z_b, labels, temperature):
    """SupCon, L_out. z_a, z_b: (N, D), labels: (N,). Returns (), the mean over 2N anchors."""
    ### BEGIN SOLUTION
    z = F.normalize(torch.cat([z_a, z_b]), dim=1)  # (2N, D)
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    both = labels.repeat(2)  # (2N,)
    positive = (both[:, None] == both) & ~itself  # (2N, 2N)
    log_p = (z @ z.T / temperature).masked_fill(itself, -math.inf).log_softmax(dim=1)  # (2N, 2N)
    of_positives = log_p.masked_fill(~positive, 0).sum(dim=1)  # (2N,)
    return -(of_positives / positive.sum(dim=1)).mean()  # ()
    ### END SOLUTION


# %%
def compare_losses():
    z_a, z_b = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(6))
    print(f"NT-Xent                   {my.nt_xent(z_a, z_b, 0.5):.4f}")
    for labels in ([0, 1, 2, 3], [0, 1, 0, 2], [0, 0, 0, 0]):
        print(f"SupCon, labels {labels} {float(sup_con(z_a, z_b, torch.tensor(labels), 0.5)):.4f}")


checks.try_it(compare_losses)

# %% [markdown]
# <details><summary>Hint 1</summary>The matrix of log-probabilities is that of NT-Xent. Which of its entries are read in
# each row, and what is done with them?</details>
# <details><summary>Hint 2</summary><code>both = labels.repeat(2)</code> labels the rows of [z_a; z_b];
# <code>both[:, None] == both</code> says which pairs share a class. The anchor shares its own class, and must not
# count.</details>
# <details><summary>Hint 3</summary><code>log_p = logits.log_softmax(dim=1)</code> with -inf on the diagonal of the logits;
# <code>log_p.masked_fill(~positive, 0).sum(dim=1) / positive.sum(dim=1)</code> is each anchor's mean; minus the mean
# of that over the anchors.</details>

# %% check="sup_con" points=3
z = torch.eye(2)  # two images at a right angle, both views alike
with checks.explained(sup_con):
    loss = sup_con(z, z, torch.tensor([0, 1]), 0.5)
    assert torch.is_tensor(loss) and loss.shape == (), "The loss is one torch number, shape ()."
    assert abs(loss.item() - math.log(1 + 2 * math.exp(-2))) < 1e-5, "Different labels: NT-Xent, log(1 + 2 e^-2)."
    loss = sup_con(z, z, torch.tensor([7, 7]), 0.5)  # one class: three positives with logits 2, 0 and 0
    assert abs(loss.item() - (math.log(math.e**2 + 2) - 2 / 3)) < 1e-5, "By hand it is log(e^2 + 2) - 2/3."
checks.check_sup_con(sup_con)

# %% hidden="sup_con" points=1
checks.check_sup_con(sup_con, seed=4607)
z_a, z_b = torch.randn(2, 9, 5, generator=torch.Generator().manual_seed(8))
unlike = sup_con(z_a, z_b, torch.arange(9) * 11, 0.2)
assert torch.isclose(unlike, my.reference("nt_xent")(z_a, z_b, 0.2), rtol=1e-4), "Labels that all differ give NT-Xent."

# %%
my.keep(sup_con)
my.progress()

# %% [markdown]
# With labels that all differ it is NT-Xent to the last digit: SimCLR is SupCon for people without labels. (The
# projection head has nothing to do with it: both losses act on $z$, and both throw $g$ away afterwards.)

# %% [markdown]
# ## Two relatives of NT-Xent
#
# One line of NT-Xent changed makes another loss. **Decoupled** (Yeh et al. 2022): the positive stays out of the
# denominator, so an anchor that has found its positive goes on pushing its negatives. **Margin triplet**: no softmax; a
# negative counts until it is less similar than the positive by a margin, and then no more. In SimCLR's table 4 the
# margin loss reaches 50.9 % (57.5 % with negatives that are neither too hard nor too easy), NT-Xent 63.9 %.
#
# Below, the second views lie closer and closer to the first. **Predict**: whose gradient dies away?


# %%
from helpers.losses import decoupled, margin_triplet


def gradient_of(loss, distance):
    z = torch.randn(2, 16, 32, generator=torch.Generator().manual_seed(0))
    z_a = F.normalize(z[0], dim=1).requires_grad_()  # (16, 32)
    loss(z_a, z_a.detach() + distance * F.normalize(z[1], dim=1)).backward()
    return z_a.grad.norm().item()


relatives = {"NT-Xent": (my.nt_xent, 0.1), "decoupled": (decoupled, 0.1), "margin triplet": (margin_triplet, 0.5)}
print(f"{'distance':>16}{1.0:9}{0.3:9}{0.03:9}")
for name, (loss, setting) in relatives.items():
    norms = [gradient_of(lambda a, b: loss(a, b, setting), distance) for distance in (1.0, 0.3, 0.03)]
    print(f"{name:>16}" + "".join(f"{norm:9.3f}" for norm in norms))

# %% [markdown]
# NT-Xent's gradient dies away where the positives are easy: a batch of easy pairs teaches little, and a small batch has
# few negatives to make them hard (whether that matters here is one of the questions below). The decoupled loss never
# comes to rest like that; the recipe for photographs trains with it (`recipe.decoupled`). The triplets stop for another
# reason: most negatives in 32 dimensions are at about a right angle, which is farther away than the margin asks.

# %% [markdown]
# ## Predict, then measure
#
# With a low temperature more positives are found. Are the representations better for it? And what else might take the
# place of the loss?
# Run the cell to read the question and the choices; write one of them into `guess` and run it again. It then
# measures on the built-in pictures, mostly by training small encoders, one seed, for a minute or two on two cores, and
# sets what came out beside a larger run with several seeds and beside the paper. Nothing here gives points.

# %%
from helpers.findings import predict

guess = None
predict("temperature", guess)

# %% [markdown]
# Larger batches have more negatives, and take fewer steps in an epoch.

# %%
guess = None
predict("batch_size", guess)

# %% [markdown]
# With labels there are two losses to choose from.

# %%
guess = None
predict("sup_con", guess)

# %% [markdown]
# ## What you can now say
#
# - NT-Xent is a classification: $2N$ multiple-choice questions with $2N - 1$ candidates each.
# - A matrix of cosines, $-\infty$ on the diagonal, the positive as target, cross-entropy: that is all of it.
# - `logsumexp` is why it stays finite at any temperature; a matrix product is why it fits into memory.
# - Chance is $\log(2N - 1)$. Know it before you believe a curve, and compare losses only at the same $N$ and $\tau$.
# - The temperature sets who is pushed: everybody a little, or the hardest negatives alone.
# - SupCon is the same loss with more positives.
#
# ## Next
#
# All parts are on the table: two views, $f$, $g$ and the loss. In [05 · Training](05_training.ipynb) they learn
# together.
#
# *Sources: Chen et al. 2020, A simple framework for contrastive learning of visual representations (equation 1, table
# 5 for temperatures); Khosla et al. 2020, Supervised contrastive learning; Wang and Isola 2020, Understanding
# contrastive representation learning through alignment and uniformity on the hypersphere.*
