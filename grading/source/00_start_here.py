# %% [markdown]
# # 00 · Start here
#
# *Two Views: SimCLR from scratch. See what it does before you learn how.*
#
# You can write PyTorch. In six notebooks you write SimCLR, a way to train an image encoder **without labels**, piece by
# piece; each piece is checked as you write it; then your pieces train an encoder on this machine, and you look at what
# it learned. Nothing is graded here.
#
# **start (you are here)** → two views → encoder → projection head → contrastive loss → training → evaluation

# %% locked="setup"
import json
import os
import platform

import psutil
import torch

from helpers import checkpoints, checks, course, data, evaluation, machine, plots
from helpers.checks import NotYet

my = course.Parts()  # your answers once they pass, the reference until then
plots.course_map(here="start")

# %% [markdown]
# ## Look first
#
# The course draws its own pictures: ten kinds of object, each in a random colour, place, size and light, before a
# random background, and with a grey disc somewhere over it. They are made on your machine in seconds, and they are all
# you need (CIFAR-10, STL-10 or folders of your own pictures will do as well).

# %%
train, test = data.load_images("shapes", "train"), data.load_images("shapes", "test")
print(train)
first = [int((train.labels == label).nonzero()[0]) for label in range(10)]
plots.show(
    plots.image_grid(train.images[first], list(train.classes), columns=10),
    alt=f"One picture of each class: {', '.join(train.classes)}.",
)

# %% [markdown]
# **Which pictures are alike?** Take five test pictures, and for each the eight most similar among 4,000 training
# pictures. First by their pixels: two pictures are alike when their colours are alike, place by place.

# %%
bank, queries = train.subset(torch.arange(4000)), test.subset(torch.arange(500))


def show_neighbours(title, bank_rows, query_rows):
    _, nearest = evaluation.nearest_neighbours(bank_rows, query_rows[:5], k=8)  # (5, 8) rows of the bank
    names = [[bank.classes[label] for label in row] for row in bank.labels[nearest]]
    truth = [queries.classes[label] for label in queries.labels[:5]]
    right = sum(name == true for row, true in zip(names, truth, strict=True) for name in row)
    figure = plots.neighbour_grid(queries.images[:5], truth, bank.images[nearest], names, title=title)
    plots.show(figure, alt=f"Five pictures and the eight most similar by {title}: {right} of 40 are of the same class.")
    knn = evaluation.knn_accuracy(bank_rows, bank.labels, query_rows, queries.labels)
    print(f"{right} of these 40 are of the query's class. A vote of the 20 nearest is right for {knn:.1%} of all queries.")


# %%
show_neighbours("raw pixels", bank.images.flatten(1) / 255, queries.images.flatten(1) / 255)

# %% [markdown]
# Pixels find the same *colours*. Now by the representation $h$ of a small encoder that was trained with SimCLR. It has
# never seen a label. **Predict**: what will its neighbours have in common?

# %%
model, recipe = checkpoints.load_model(data.DATA / "encoder.safetensors")
bank_h, query_h = (
    evaluation.extract_features(model.encoder, bank.images),
    evaluation.extract_features(model.encoder, queries.images),
)
show_neighbours("h of the trained encoder", bank_h, query_h)

# %% [markdown]
# Nobody told it what a star is. It only had to recognise *the same picture* after random crops and random colours, and
# what survives those best is the shape. Small as this encoder is, compare its percentage with that of the pixels. Why
# training does this, and what makes it do better or worse, is the course.
#
# How this encoder came about, and its accuracy on all 4,000 test pictures, now with all 20,000 training pictures to
# vote, beside what needs no training at all. ($z$ is what a small network, the *head*, makes of $h$ while it trains; a
# *linear probe* is a linear classifier on the rows of $h$ or $z$.)

# %%
made = json.loads((data.DATA / "results/encoder.json").read_text(encoding="utf-8"))
r = made["recipe"]
print(
    f"`{made['command']}`: {r['arch']}, {r['epochs']} epochs, {made['seconds'] / 60:.0f} min with {made['threads']} thread(s), seed {made['seed']}"
)
for name, value in made["test_accuracy"].items():
    print(f"{name:22} k-NN {value['knn']:6.1%}   linear probe {value['probe']:6.1%}")

# %% [markdown]
# ## What SimCLR claims
#
# Chen, Kornblith, Norouzi and Hinton, *A Simple Framework for Contrastive Learning of Visual Representations*, ICML 2020
# ([arXiv:2002.05709](https://arxiv.org/abs/2002.05709)). The recipe fits into two sentences: make two random **views** of
# each image, and train an **encoder** $f$ and, behind it, a **projection head** $g$, so that each view finds its partner
# among the views of all other images in the batch. The loss sees $z = g(h)$; what is kept is $h$.
#
# What they measured on ImageNet, and where to find it:
#
# | claim | number | in the paper |
# |---|---|---|
# | a linear layer on $h$, encoder trained without labels | 69.3 % top-1 (ResNet-50), 76.5 % (four times as wide) | table 6 |
# | a ResNet-50 trained with all labels | matched by that 76.5 % | abstract |
# | with 1 % of the labels, fine-tuned | 75.5 % top-5, against 48.4 % without pretraining | table 7 |
# | the composition of augmentations is critical: crop *and* colour | no single one is enough | section 3.1, figure 5 |
# | a non-linear head helps, and $h$ before it is better than $z$ behind it | by more than 10 points | section 4.2 |

# %% [markdown]
# These are their numbers, from many TPUs. On two cores and small pictures some effects are smaller, some are not there
# at all (in the table printed above, k-NN finds $z$ about as good as $h$; 03 asks about that), and some go the other
# way (01 asks about crop and colour). This course promises only what it measured: every number is printed by a cell or
# stands in `data/results/` with the command that made it.

# %% [markdown]
# ## The map
#
# | notebook | you write | points | the reference |
# |---|---|---|---|
# | 01 two views | colour distortion, crops, two views of one image | 16 | `helpers/augmentation.py` |
# | 02 encoder | a ResNet as $f$, for small images too | 12 | `helpers/encoder.py` |
# | 03 projection head | $g$, the model, the classifier that comes after | 12 | `helpers/projection_head.py` |
# | 04 contrastive loss | NT-Xent: by hand, then fast and stable; SupCon | 28 | `helpers/losses.py` |
# | 05 training | the schedule, the step, the loop; a clinic of broken runs | 18 | `helpers/training.py` |
# | 06 evaluation | k-NN, linear probe, alignment and uniformity | 14 | `helpers/evaluation.py` |
#
# One idea, one notebook, one file. Each notebook runs alone, so you may start anywhere; 05 is where it all comes
# together.

# %%
timings = data.DATA / "results/timings.json"
known = json.loads(timings.read_text(encoding="utf-8")) if timings.is_file() else {}
for name, measured in sorted(known.get("notebooks", {}).items()):
    print(f"{name:22} all cells run in {measured['seconds'] / 60:4.1f} min")
print(
    f"Measured on {known['machine']['cores']} cores; your thinking comes on top."
    if known
    else "No timings here yet; `make timings` measures them."
)

# %% [markdown]
# ## How an exercise works
#
# Always the same rhythm: *why*, then what goes in and out and about how long it is, then your answer, a look at what it
# does, hints to unfold, and a check. Here is one to practise on, which counts for nothing.
#
# ### Practice · `pair_count` (1 line, 0 points)
#
# A batch of $N$ images gives $2N$ views. Each view has one positive: its partner. How many views are left as
# **negatives** for it?


# %% exercise="pair_count"
def pair_count(n):
    """How many negatives a view has in a batch of n images."""
    ### BEGIN SOLUTION
    return 2 * n - 2
    ### END SOLUTION


# %% [markdown]
# Your answer for a few batches. Such a cell comes before every check, and never fails:

# %%
checks.try_it(lambda: print({n: pair_count(n) for n in (1, 2, 256)}))

# %% [markdown]
# <details><summary>Hint 1</summary>How many views are there in all? (Hints go from a question to nearly the answer.
# Try after each of them.)</details>
# <details><summary>Hint 2</summary>Neither the view itself nor its partner is a negative.</details>
# <details><summary>Hint 3</summary>2n views, minus itself, minus its partner.</details>
#
# The check says nothing when all is well. Otherwise it raises `NotYet`: what it saw, what it wanted, and, where it
# knows, *which mistake that is*. **Change the answer above to `2 * n - 1`, run it, and run the check again**, to see
# one.


# %%
def check_pair_count(answer):
    seen = answer(5)
    note = "That counts the positive too: it is no negative. " if seen == 9 else ""
    note = "That counts the images, but every image has two views. " if seen == 4 else note
    if seen != 8:
        raise NotYet(f"pair_count(5) gave {seen}; 8 is wanted. {note}")


try:
    check_pair_count(pair_count)
    print("Right. In a graded cell you would see nothing at all.")
except NotYet as problem:
    print(f"Not yet: {problem}")

# %% [markdown]
# In the six notebooks a check has a cell of its own, without `try`: a few facts as plain `assert`s, which
# `checks.explained` turns into a diagnosis where they fail, then the check itself. A wrong answer stops there with one
# line, and *Run All* stops with it. Each exercise then ends with `my.keep(your_function)`:
#
# - **passed**: it is *yours* from here on. It is also kept as a file in `data/yours/`, and the later notebooks use it:
#   in 05 you train with your own views, your own encoder and your own loss.
# - **not passed**, or left out: *the reference* stands in, and a line says why. Nothing later breaks because of an
#   earlier exercise, so you may skip one and come back.
#
# `my.progress()` adds up the points of what is kept, exercise by exercise, of 100.
#
# Which of the pieces are yours so far:

# %%
my.table(("TwoViews", "build_encoder", "ProjectionHead", "nt_xent", "pretrain", "knn_accuracy"))

# %% [markdown]
# ### The whole notebook at once: Validate
#
# The **Validate** button in the toolbar above (in a narrow window it moves into the toolbar's **…** menu) runs the
# notebook from top to bottom in a fresh kernel and tells which graded cells fail. Training cells take seconds there
# instead of minutes. When you hand a notebook in, your answers meet the same checks again, and some more that you have
# not seen, with other sizes and other random numbers.

# %% [markdown]
# ### When you are stuck
#
# 1. Read the *Not yet* line once more: it is a diagnosis, not a verdict.
# 2. Unfold the next hint.
# 3. Print shapes. Nearly every mistake shows in a shape, and every shape is written next to the exercise.
# 4. Try the smallest case by hand: two images, two dimensions.
# 5. Read the reference (`helpers/`, the table above). It is short and written to be read. Then close it and write your
#    own.
# 6. Go on. `my` has the reference for you.
#
# A kernel that behaves oddly: *Kernel → Restart*, then run from the top. All notebooks put up with it.

# %% [markdown]
# ## Is this machine ready?

# %%
threads = machine.cap_threads()
left = machine.usable_memory(psutil.virtual_memory().available) / 2**30  # GiB
print(f"Python {platform.python_version()}, torch {torch.__version__}, {platform.system()} {platform.machine()}")
print(f"{machine.usable_cores()} core(s) usable, torch uses {threads} thread(s)")
print("GPU:", torch.cuda.get_device_name() if torch.cuda.is_available() else "none, and none is needed")
print(f"memory: {left:.1f} GiB free")
print(f"pictures: {len(train):,} to train on, {len(test):,} to test")
print("bfloat16 in hardware:", "yes" if machine.has_bfloat16(machine.best_device()) else "no, so training takes longer")
kept = "in data/yours/" if os.access(data.DATA, os.W_OK) else "until the kernel stops, for data/ is not writable"
print("your answers are kept", kept)
if left < 1.5:
    print("Less than 1.5 GiB are free: shut down other notebooks (Kernel → Shut Down All Kernels) before you open one.")

# %% [markdown]
# ## Words
#
# The same word for the same thing, everywhere: in the text, in the figures and in the code.
#
# | word | letter | meaning |
# |---|---|---|
# | image | $x$ | a picture as it is, (3, H, W); a batch has $N$ of them (`batch_size`) |
# | view | $x_a, x_b$ | a randomly cropped, flipped and recoloured version of an image; a batch has $2N$ |
# | encoder | $f$ | the network that is trained and kept, a ResNet without its last layer |
# | representation | $h$ | what the encoder gives, $h = f(x)$; this is what we want |
# | projection head | $g$ | a small network behind the encoder, thrown away after training |
# | embedding | $z$ | what the head gives, $z = g(h)$; the loss sees only this |
# | positive | | the other view of the same image |
# | negatives | | the $2N - 2$ views of the other images in the batch |
# | anchor | | the view whose positive is being sought; each of the $2N$ takes its turn |
# | temperature | $\tau$ | how sharply the loss tells close from closest |
# | NT-Xent | | the loss: normalised, temperature-scaled cross-entropy |
# | k-NN monitor | | accuracy of nearest neighbours in $h$, watched *during* training |
# | linear probe | | accuracy of a linear classifier on the frozen $h$, *after* training |

# %% [markdown]
# ## What you can now say
#
# - SimCLR trains an encoder by letting two views of one image find each other, and then keeps $h$.
# - Raw pixels find the same colours; the trained encoder finds the same things nearly always, and no label was used.
# - An exercise is: why, signature, answer, look, hints, check, keep.
#
# ## Next
#
# [01 · Augmentation](01_augmentation.ipynb): what makes two views of a picture a good question?
