# %% [markdown]
# # 05 · Training
#
# *Put your parts together, train an encoder without a single label, watch it, stop it, go on; then play doctor to six
# runs that went wrong.*
#
# You have the two views (01), the encoder $f$ (02), the projection head $g$ (03) and the loss (04). What is missing is
# the loop that turns them into a trained network, and the habit of watching it.
#
# Four graded exercises, 18 points. About 60 minutes, two and a half of which your machine spends training; the
# predictions at the end take another minute or two each.
#
# image → two views → encoder → projection head → contrastive loss → **training (you are here)** → evaluation

# %% locked="setup"
import itertools
import math
import shutil
import time
from dataclasses import asdict, replace

import torch
from torchvision.transforms import v2

from helpers import augmentation, board, checkpoints, checks, course, data, encoder, machine, monitors, plots
from helpers import projection_head, resuming, training, widgets
from helpers.checks import NotYet

my = course.Parts()  # your answers once they pass, the reference until then
plots.course_map(here="training")

# %% [markdown]
# These are the parts the training below is made of. *Yours* means that your answer passed its check; where the reference
# stands in, the reason is beside it. You can go back, mend a part, and run this notebook again.

# %%
my.table(("TwoViews", "color_distortion", "build_encoder", "ProjectionHead", "SimCLR", "nt_xent"))
print(f"\nThis machine: {machine.best_device()}, {machine.cap_threads()} threads, "
      f"bfloat16 in hardware: {machine.has_bfloat16(machine.best_device())}")

# %% [markdown]
# ## How fast to learn, and when
#
# The optimizer multiplies every step by one number, the **learning rate**. Two moments in a run ask for a small one:
#
# - **The beginning.** The weights are random, the gradients are large, and the gradient of each batch points in another
#   direction. A few dozen steps of *warm-up*, in which the rate grows along a straight line, keep them from throwing
#   the network somewhere it can't return from.
# - **The end.** The gradient of a batch is noisy. With a large rate the weights jitter around a good place without
#   settling in it. The *cosine* takes the rate to zero along half a wave: slowly at first, fast in the middle, slowly
#   at last.

# %% [markdown]
# ### Exercise 5.1 · `warmup_cosine` (about 4 lines, 3 points)
#
# ```
# step           0 for the first step of the run
# total_steps    at this step, behind the last one, the rate is 0
# warmup_steps   before this step the rate is base_lr · (step + 1) / warmup_steps; may be 0
# base_lr        the highest rate
# returns        the learning rate of this step, a number
# ```
#
# After the warm-up, with $p$ the share of the remaining steps that is done (0 at `warmup_steps`, 1 at `total_steps`):
# $\;\text{rate} = \text{base\_lr} \cdot \frac{1}{2}\,(1 + \cos \pi p)$.

# %% exercise="warmup_cosine"
def warmup_cosine(step, total_steps, warmup_steps, base_lr):
    """The learning rate of a step: a line up to base_lr, then half a cosine down to 0 at total_steps."""
    ### BEGIN SOLUTION
    if step < warmup_steps:
        return base_lr * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / (total_steps - warmup_steps)  # 0 .. 1
    return base_lr * (1 + math.cos(math.pi * progress)) / 2
    ### END SOLUTION

# %% [markdown]
# Your schedule, for a run of 100 steps with 10 steps of warm-up:

# %%
def show_schedule():
    rates = [float(checks.call("warmup_cosine", warmup_cosine, step, 100, 10, 0.002)) for step in range(101)]
    figure = plots.schedule(rates)
    plots.show(figure, alt=f"Your learning rate over 100 steps: {rates[0]:.4f} first, at most {max(rates):.4f}, {rates[-1]:.4f} last.")


checks.try_it(show_schedule)

# %% [markdown]
# <details><summary>Hint 1</summary>Two cases, told apart by one comparison. Which step is the first that no longer warms
# up?</details>
# <details><summary>Hint 2</summary>For the cosine you need a share that is 0 at <code>warmup_steps</code> and 1 at
# <code>total_steps</code>: steps done since the warm-up, divided by steps there are after the warm-up.</details>
# <details><summary>Hint 3</summary><code>if step &lt; warmup_steps: return base_lr * (...) / warmup_steps</code>; else, with
# the share of hint 2 as <code>progress</code>, <code>base_lr * (1 + math.cos(...)) / 2</code>.</details>

# %% check="warmup_cosine" points=2
with checks.explained(warmup_cosine):
    rate = warmup_cosine(0, 100, 10, 1.0)
    assert abs(rate - 0.1) < 1e-6, f"the first of 10 warm-up steps has a tenth of the rate, not {rate}"
    rate = warmup_cosine(55, 100, 10, 1.0)
    assert abs(rate - 0.5) < 1e-6, f"half-way down, step 55 has half the rate, not {rate}"
    assert abs(warmup_cosine(100, 100, 10, 1.0)) < 1e-6, "at total_steps the rate is 0"
checks.check_warmup_cosine(warmup_cosine)

# %% hidden="warmup_cosine" points=1
with checks.explained(warmup_cosine):
    for seed in (1, 2, 3):
        checks.check_warmup_cosine(warmup_cosine, seed=seed)
    assert abs(warmup_cosine(0, 7, 0, 0.3) - 0.3) < 1e-6, "without warm-up the first rate is base_lr"
    assert abs(warmup_cosine(3, 40, 4, 0.2) - 0.2) < 1e-6, "the last warm-up step has the whole rate"

# %%
my.keep(warmup_cosine)

# %% [markdown]
# ## One step
#
# ### Exercise 5.2 · `train_step` (about 7 lines, 5 points)
#
# One step of SimCLR (Chen et al. 2020, algorithm 1): both views through the model, the loss on their embeddings, its
# gradient, one move of the optimizer.
#
# ```
# model          x (N, 3, H, W) → h (N, feature_dim), z (N, D)
# optimizer      of torch.optim, holds the model's weights
# x_a, x_b       (N, 3, H, W) two views, row i of both from image i
# temperature    of NT-Xent
# returns        the loss as a plain number
# ```

# %% [markdown]
# Four mistakes are easily made there, mostly without an error:
#
# | what goes wrong | and then |
# |---|---|
# | the old gradients are not cleared | each step adds the gradients of all earlier ones |
# | the model is in eval mode | batch-norm uses statistics of earlier batches |
# | the loss gets $h$, the first output | the head never learns |
# | the loss is returned as a tensor | each one kept holds the memory of its step |
#
# The loss is `my.nt_xent(z_a, z_b, temperature)`. The views may go through the model one after the other, or
# stacked, $2N$ at once; stacked is a little faster, and batch-norm then has one set of statistics for all (end of 02).

# %% exercise="train_step"
def train_step(model, optimizer, x_a, x_b, temperature):
    """One step on NT-Xent. x_a, x_b: (N, 3, H, W). Returns the loss, a plain number; the model stays in train mode."""
    ### BEGIN SOLUTION
    model.train()
    _, z = model(torch.cat([x_a, x_b]))  # (2N, D)
    z_a, z_b = z.chunk(2)  # (N, D) each
    loss = my.nt_xent(z_a, z_b, temperature)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()
    ### END SOLUTION

# %% [markdown]
# Your step, twenty times on the *same* sixteen pairs of views. **Predict**: where does the loss start, and where does
# it go?

# %%
pictures = data.load_images("shapes", "train")
tiny = training.Recipe(hidden_dim=64)


def show_steps():
    x_a, x_b = training.views_of(tiny)(pictures.images[:16], torch.Generator().manual_seed(0))  # (16, 3, 32, 32) each
    model = training.build_model(tiny)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    values = [float(checks.call("train_step", train_step, model, optimizer, x_a, x_b, 0.2)) for _ in range(20)]
    figure = plots.loss_curve(values, my.chance_loss(16))
    plots.show(figure, alt=f"Loss over 20 steps: {values[0]:.2f} first, {values[-1]:.2f} last; chance is {my.chance_loss(16):.2f}.")


checks.try_it(show_steps)

# %% [markdown]
# <details><summary>What to expect</summary>It starts near the chance line, $\log(2N-1)$, and falls fast: sixteen pairs are
# soon known by heart. That is a good first test of any training step: <em>can it learn one batch by
# heart?</em></details>
#
# <details><summary>Hint 1</summary>In which mode must the model be? Which of the model's two outputs does the loss
# look at?</details>
# <details><summary>Hint 2</summary><code>torch.cat([x_a, x_b])</code> is (2N, 3, H, W), and <code>z.chunk(2)</code>
# takes its embeddings apart again. Clear the gradients somewhere before <code>backward()</code>.</details>
# <details><summary>Hint 3</summary><code>model.train()</code>; <code>h, z = model(torch.cat([x_a, x_b]))</code>;
# <code>z_a, z_b = z.chunk(2)</code>; the loss, <code>my.nt_xent</code>; <code>zero_grad</code>, <code>backward</code>,
# <code>step</code>, each of its own object; and return the loss as a plain number.</details>

# %% check="train_step" points=4
model = training.build_model(training.Recipe(hidden_dim=8))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
x_a, x_b = torch.rand(2, 4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
with checks.explained(train_step):
    loss = train_step(model, optimizer, x_a, x_b, 0.5)
    assert isinstance(loss, float), f"the loss should be a plain number, not a {type(loss).__name__}"
    assert 0 < loss < 2 / 0.5 + math.log(7), f"for N = 4 and τ = 0.5 the loss can't be {loss}"
checks.check_train_step(train_step)

# %% hidden="train_step" points=1
with checks.explained(train_step):
    for seed in (1, 2, 3):
        checks.check_train_step(train_step, seed=seed)
    model = training.build_model(training.Recipe(hidden_dim=8))
    before = model.head.layers[2].weight.clone()
    train_step(model, torch.optim.SGD(model.parameters(), lr=0.1), x_a, x_b, 0.5)
    assert not torch.equal(before, model.head.layers[2].weight), "the head's last layer should move"

# %%
my.keep(train_step)

# %% [markdown]
# ## A loss is not enough: the k-NN monitor
#
# The loss says how well views find each other. We want something else: that $h$ knows what is *in* a picture. The two
# can part ways. If colour alone tells the views of one image from those of another, the loss falls and $h$ learns
# colour.
#
# So after every epoch we ask $h$ directly. Take some training images whose class we know, and for each of some *other*
# training images look up the classes of its 20 nearest neighbours. No training, a second or two, and the labels only
# watch: they never reach the weights. (Training sees all these images too, without their labels.) The test images choose
# nothing here; they are for notebook 06, once.
#
# **Predict**: how many of the query images does an untrained encoder get right, if there are ten classes?

# %%
labelled = data.load_images("shapes", "train")
sizes = {"queries": 100, "bank": 400} if course.quick() else {"queries": 1000, "bank": 4000}  # training uses them too
monitor = monitors.knn_monitor(labelled, **sizes)
untrained = training.build_model(training.Recipe())
print(f"chance 10%, untrained encoder {monitor(untrained)['knn']:.1%}")

# %% [markdown]
# More than chance: even random convolutions see *something*. Whatever training gives has to be compared with this
# number, not with 10 %. Compare only with the same bank: more known images, nearer neighbours.

# %% [markdown]
# ## The whole loop
#
# ### Exercise 5.3 · `pretrain` (about 25 lines, 6 points)
#
# Epochs, batches, schedule, monitor, and a file to go on from when the power fails. The recipe holds the numbers:

# %%
for name, value in asdict(training.Recipe()).items():
    print(f"{name:16} {value}")

# %% [markdown]
# The loop needs those named below. The others say which model, which views and which form of the loss it is given;
# `views`, `optimizer`, `decoupled` and `head_norm` are for photographs, `fused` is for speed: you can leave them alone.

# %% [markdown]
# ```
# model        trained in place
# images       (M, 3, H, W) uint8
# two_views    two_views(images (N, 3, H, W), generator) → x_a, x_b
# recipe       recipe.epochs, .batch_size, .base_lr, .weight_decay, .warmup_fraction, .temperature, .seed
# monitor      None, or monitor(model) → a dict of numbers, called after each epoch
# checkpoint   None, or a pathlib.Path: written after each epoch, resumed from where it exists
# on_step      None, or on_step(step, total_steps, loss), called after each step; step from 0
# returns      {"loss": [one a step], "lr": [one a step], "epochs": [{"epoch": 1, ...what the monitor gave}, ...]}
# ```

# %% [markdown]
# - **Every epoch**: all images once, in a *new* order, `torch.randperm` with **one** generator, seeded by
#   `recipe.seed`, which `two_views` gets too; the last batch is dropped when it is smaller than the others, since the
#   number of negatives belongs to the loss.
# - **Every step**: set the rate, `my.warmup_cosine(step, total_steps, warmup_steps, recipe.base_lr)`, in each of
#   `optimizer.param_groups`; then `my.train_step`. `warmup_steps = round(recipe.warmup_fraction * total_steps)`.
# - **The optimizer** is `training.optimizer_for(model, recipe)`: here `torch.optim.AdamW` with `recipe.base_lr` and
#   `recipe.weight_decay`; other pictures may ask for another.
# - **Resuming.** A run that was stopped and is called again must end with the very weights of a run nobody disturbed.
#   So ask of everything that changes: is it in the file? `checkpoints.save_checkpoint(path, state)` writes a
#   dictionary, whole or not at all, and `checkpoints.load_checkpoint(path)` reads it. Name the weights `"model"`, the
#   history `"history"` and the recipe `"recipe"` (as `asdict(recipe)`): by these names the cells below and notebook 06
#   find them.

# %% exercise="pretrain"
def pretrain(model, images, two_views, recipe, monitor=None, checkpoint=None, on_step=None):
    """Pretrain with SimCLR; the arguments and the history are described above. Returns the history."""
    ### BEGIN SOLUTION
    optimizer = training.optimizer_for(model, recipe)
    generator = torch.Generator().manual_seed(recipe.seed)
    steps_per_epoch = len(images) // recipe.batch_size
    total_steps = recipe.epochs * steps_per_epoch
    warmup_steps = round(recipe.warmup_fraction * total_steps)
    history = {"loss": [], "lr": [], "epochs": []}
    if checkpoint and checkpoint.exists():
        state = checkpoints.load_checkpoint(checkpoint)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        generator.set_state(state["generator"])
        history = state["history"]
    for epoch in range(len(history["epochs"]), recipe.epochs):
        order = torch.randperm(len(images), generator=generator)
        for rows in order.split(recipe.batch_size)[:steps_per_epoch]:
            step = len(history["loss"])
            lr = my.warmup_cosine(step, total_steps, warmup_steps, recipe.base_lr)
            for group in optimizer.param_groups:
                group["lr"] = lr
            x_a, x_b = two_views(images[rows], generator)
            loss = my.train_step(model, optimizer, x_a, x_b, recipe.temperature)
            history["loss"].append(loss)
            history["lr"].append(lr)
            if on_step:
                on_step(step, total_steps, loss)
        history["epochs"].append({"epoch": epoch + 1, **(monitor(model) if monitor else {})})
        if checkpoint:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "generator": generator.get_state()}
            checkpoints.save_checkpoint(checkpoint, state | {"history": history, "recipe": asdict(recipe)})
    return history
    ### END SOLUTION

# %% [markdown]
# Your loop on 64 images for three epochs:

# %%
small = training.Recipe(hidden_dim=16, batch_size=16, epochs=3)


def show_loop():
    model = training.build_model(small)
    watch = {"monitor": lambda model: {"knn": 0.0}}
    history = checks.call("pretrain", pretrain, model, pictures.images[:64], training.views_of(small), small, **watch)
    print(f"{len(history['loss'])} steps, first loss {history['loss'][0]:.2f}, last {history['loss'][-1]:.2f}")
    print(f"rates {[round(lr, 5) for lr in history['lr']]}\nepochs {history['epochs']}")


checks.try_it(show_loop)

# %% [markdown]
# <details><summary>Hint 1</summary>Write it without checkpoints first: two nested loops. How do you know the number of
# the step? (The history knows.) Then list everything that is different after an epoch from before it.</details>
# <details><summary>Hint 2</summary>Four things change: the weights, what the optimizer remembers of them
# (<code>optimizer.state_dict()</code>), the generator (<code>get_state()</code>, <code>set_state()</code>) and the
# history. How many epochs are done is <code>len(history["epochs"])</code>, and the step is
# <code>len(history["loss"])</code>.</details>
# <details><summary>Hint 3</summary>Before the loop: <code>if checkpoint and checkpoint.exists():</code> load the four.
# <code>for epoch in range(len(history["epochs"]), recipe.epochs):</code>
# <code>order = torch.randperm(len(images), generator=generator)</code>;
# <code>for rows in order.split(recipe.batch_size)[:steps_per_epoch]:</code> set the rate,
# <code>x_a, x_b = two_views(images[rows], generator)</code>, <code>my.train_step</code>, write down loss and rate, call
# <code>on_step</code>. After the batches: <code>monitor(model)</code> into the history, then save the four.</details>

# %% check="pretrain" points=4
seen = []


def watched_views(images, generator):
    seen.append(len(images))
    return training.views_of(small)(images, generator)


images = torch.randint(256, (40, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
with checks.explained(pretrain):
    history = pretrain(training.build_model(small), images, watched_views, small)
    assert seen == [16] * 6, f"40 images, 3 epochs and batches of 16 make 6 batches of 16, not {seen}"
    assert len(history["loss"]) == 6, "history['loss'] should hold one number a step"
checks.check_pretrain(pretrain)

# %% hidden="pretrain" points=2
for seed in (1, 2):
    checks.check_pretrain(pretrain, seed=seed)

# %%
my.keep(pretrain)

# %% [markdown]
# ## The real thing
#
# Now with all images. First the model, from your parts. One choice in it is made for two CPU cores and a few minutes:
# on the built-in pictures the encoder gets the *large-image* stem, although the images are small. Notebook 02 says what
# that stem throws away; here is what it saves:

# %%
for small_images in (True, False):
    f, _ = encoder.build_encoder("resnet8", small_images)
    print(f"small_images={small_images!s:5}  {encoder.multiply_adds(f, 32) / 1e6:5.1f} million multiply-adds an image")

# %% [markdown]
# The cheap one sees every image many more times in the same minutes; in few epochs the other hardly begins
# (`predict("stem", ...)` in 02). With a GPU, or some hours, try `small_images=True` in the call of `recipe_for` below,
# and `SECONDS, START_AFRESH = 7200, True` further down; how long it needs here nobody has measured. (For photographs of
# up to 64 pixels, where fine texture counts, the recipe takes the stem for small images by itself, an encoder four
# times as wide, and views of half the side.)

# %%
pictures = data.load_images(course.data_name(), "pretrain")
labelled = data.load_images(course.data_name(), "train")
recipe = training.recipe_for(course.data_name(), pictures.images.shape[-1], views=2, decoupled=False)
torch.manual_seed(recipe.seed)
try:
    f, feature_dim = my.build_encoder(recipe.arch, recipe.small_images)
except Exception as problem:
    my.stand_in("build_encoder", f"yours does not build {recipe.arch}: {problem}")
    f, feature_dim = my.build_encoder(recipe.arch, recipe.small_images)
g = my.ProjectionHead(feature_dim, recipe.hidden_dim, recipe.out_dim)
if recipe.head_norm:  # the recipe for photographs
    g = projection_head.head_for(feature_dim, recipe.hidden_dim, recipe.out_dim, norm=True)
model = my.SimCLR(f, g).to(machine.best_device())
print(f"{recipe.arch}: {sum(weight.numel() for weight in model.parameters()):,} weights; h has {feature_dim} numbers")

# %%
try:  # notebook 06 puts the weights of this run into the course's own model
    checkpoints.load_weights(training.build_model(recipe), model.state_dict())
except ValueError as problem:
    my.stand_in("ProjectionHead", f"notebook 06 could not open a run with yours: {problem}")
    g = my.ProjectionHead(feature_dim, recipe.hidden_dim, recipe.out_dim)
    model = my.SimCLR(f, g).to(machine.best_device())
    my.table(("ProjectionHead",))

# %% [markdown]
# Then the views: crop, flip, your colour distortion. Two numbers differ from 01. The colours' strength is 1, not 0.5.
# And the paper's crops may be as small as 8 % of a photo; our objects are small in their pictures, and such a crop
# often misses them, so the recipe starts at `recipe.area[0]`.
#
# `TwoViews` makes views one image at a time, which is how most code does it; the course's `batch_views` makes the same
# kind of views for a whole batch, each image with its own crop and colours. The cell below measures both. If 01 is
# yours, your own views are used; if you would rather have the speed, and with it more epochs, set `OWN_VIEWS = False`.

# %%
OWN_VIEWS = True

crop = v2.RandomResizedCrop(recipe.view_size, scale=recipe.area, antialias=True)
transform = v2.Compose([crop, v2.RandomHorizontalFlip(), my.color_distortion(recipe.strength)])
one_by_one = augmentation.each_image(my.TwoViews(transform))
batched = training.views_of(recipe)
for name, two_views in (("one by one", one_by_one), ("batched", batched)):
    start = time.perf_counter()
    two_views(pictures.images[:64], torch.Generator().manual_seed(0))
    print(f"{name:10} {64 / (time.perf_counter() - start):6.0f} images a second")
mine = all(getattr(my, name) is not my.reference(name) for name in ("TwoViews", "color_distortion"))
two_views = one_by_one if OWN_VIEWS and mine and not course.quick() else batched
print("Training uses", "your views, one by one." if two_views is one_by_one else "the batched views.")

# %% [markdown]
# How long a run takes depends on the machine, so the second cell below times a few steps on a copy of the model and
# chooses the number of epochs that fits; the first sets how long. (Under *Validate* everything shrinks to seconds.) The
# choice is kept with the run, so that a stopped run goes on with the same schedule. `START_AFRESH = True` throws the
# run away.

# %%
SECONDS, START_AFRESH = 150, False

folder = data.DATA.parent / "runs" / ("05-quick" if course.quick() else "05")
if START_AFRESH or course.quick() or not (folder / "run.pt").exists():  # what is left of a deleted run goes, too
    shutil.rmtree(folder, ignore_errors=True)
if course.quick():
    pictures, recipe = pictures.subset(torch.arange(min(256, len(pictures)))), replace(recipe, batch_size=64)
monitor = monitors.monitor_for(labelled, **sizes)
spread = monitors.geometry_monitor(pictures.images, two_views)


def watch(model):
    return (monitor(model) if monitor else {}) | spread(model)


# %%
seconds = 3 if course.quick() else SECONDS
fit = training.epochs_in(seconds, model, pictures.images, two_views, recipe, watch, keep=folder / "epochs.txt")
epochs = max(1, int(fit))  # whole ones
recipe = replace(recipe, epochs=epochs)
print(f"{len(pictures):,} images, {epochs} epochs of {len(pictures) // recipe.batch_size} steps")

# %% [markdown]
# **Predict** before you press run: where does the loss start? How far can it fall? Will the k-NN monitor rise at once?
#
# Then run it. The first curve is the loss, with its chance line $\log(2N-1)$: the loss of a network that can't tell one
# image from another. The second is the k-NN monitor. The third is a path, one dot an epoch: how far apart the two views
# of an image are (alignment), against how evenly all $z$ spread (uniformity, lower is more even; 06 measures both).
#
# **If you must stop**: press *Stop training* below the curves. While a cell runs the kernel hears no button, so this
# one asks the Jupyter server to interrupt it, as *Kernel → Interrupt Kernel* (the square) does. Whole epochs are kept.
# Then run the same cell again, today or tomorrow: it goes on after the last whole epoch, and ends (on the CPU, to the
# last bit) with the same weights as if nobody had stopped it. If you restarted the kernel, run the cells above it first.

# %%
run, N = folder / "run.pt", recipe.batch_size
done, before = resuming.epochs_done(run), resuming.history_so_far(run)
moments = monitors.keep_moments(folder / "moments", model, recipe, done, watch)  # notebook 06 shows them
kept = "Whole epochs are kept; run this cell again to go on."
on_step, watched = widgets.live_training(N, moments, 1 / max(1, len(labelled.classes)), before, kept)
start = time.perf_counter()
with machine.fast(model), resuming.stoppable(run, recipe):  # fast: bfloat16 where the hardware has it
    history = my.pretrain(model, pictures.images.to(machine.best_device()), two_views, recipe,
                          monitor=watched, checkpoint=run, on_step=on_step)
print(f"{time.perf_counter() - start:.0f} s")
state = {"model": model.state_dict(), "recipe": asdict(recipe), "history": history}
checkpoints.save_checkpoint(folder / "checkpoint.pt", state)  # for notebook 06

# %%
chance = my.chance_loss(recipe.batch_size)
untrained = monitor(training.build_model(recipe))["knn"] if monitor else None  # the same network, before any step
figure = plots.training_curves(history, chance, untrained, 1 / max(1, len(labelled.classes)))
last = history["epochs"][-1].get("knn")
alt = f"Loss from {history['loss'][0]:.2f} to {history['loss'][-1]:.2f}, chance {chance:.2f}; learning rate; k-NN monitor"
plots.show(figure, alt=alt + (f", untrained {untrained:.1%}, last {last:.1%}." if monitor else ", none without labels."))

# %% [markdown]
# **Read it.**
#
# - *The start.* A fresh network gives all views nearly the same embedding, so the loss begins near the chance line (a
#   small $\tau$ magnifies what differences there are, so the start may lie a little off it). A loss that starts far
#   from it at $\tau = 0.2$ is already a symptom.
# - *The fall.* It can't reach zero: no cosine exceeds 1, so even perfect answers, with all negatives at right angles,
#   leave 04's floor, $\log(1 + (2N - 2)\,e^{-1/\tau})$; and a view that lost the object in its crop is hard to place.
#   The value depends on $N$ and $\tau$, so compare losses only between runs that share both.
# - *The monitor.* It need not follow the loss; in the clinic below a run's loss falls while its k-NN stands still.
# - *The end.* As the cosine takes the rate to 0 the curves calm. A run cut off half-way has not had that end; plan a
#   shorter schedule instead.

# %% [markdown]
# What would **collapse** look like? If every image gets the same embedding, all cosines are 1, and the loss *is*
# $\log(2N-1)$: it returns to the chance line and stays. Two signs tell it from a run that only learns slowly: the spread
# of $z$ (the mean standard deviation of its columns on the unit sphere, at most about $1/\sqrt{D}$, so 0.09 for
# $D = 128$) goes to zero, and so does uniformity (04 and 06 say what that is).

# %% [markdown]
# **Fewer classes.** Training never saw a label, so nobody has to decide beforehand which classes there are.
# `load_images(..., classes=...)` keeps some of them, by name. **Predict**: the encoder stays as it is, and only images
# of four classes ask and are asked. How much of the k-NN accuracy that you gain is a gift, because guessing got easier?

# %%
few = tuple(labelled.classes[:4])
if monitor and len(labelled.classes) > 4:
    some = data.load_images(course.data_name(), "train", classes=few)
    for name, images in ((f"{len(labelled.classes)} classes", labelled), (", ".join(few), some)):
        knn = monitors.knn_monitor(images, **sizes)(model)["knn"]
        print(f"{name}: guessing {1 / len(images.classes):.0%}, this encoder {knn:.1%}")
else:
    print("These images have no labels, or fewer than five classes already.")

# %% [markdown]
# **The same run in TensorBoard**, for those who prefer it: the curves, and $h$ of 500 pictures in its *Projector* tab,
# each with its thumbnail and label, at the moments of training that were kept. Set `TENSORBOARD = True`, run the cell,
# and give the printed line to a terminal in the course's folder; it needs no internet.

# %%
TENSORBOARD = False

if TENSORBOARD:
    some = labelled.subset(torch.arange(min(500, len(labelled))))
    latent = {}
    for path in sorted((folder / "moments").glob("epoch-*.pt")):
        f = checkpoints.load_model(path)[0].encoder
        latent[int(path.stem[6:])] = my.extract_features(f, some.images, 256)
    place = board.write_run(folder / "board", history, some, latent)
    print(f"tensorboard --logdir {place.relative_to(data.DATA.parent)}")

# %% [markdown]
# The same training without a notebook, from a terminal, for any data set:
#
#     python -m helpers.training --data shapes --epochs 10 --out runs/first
#     python -m helpers.evaluation runs/first/checkpoint.pt
#
# The folder is the experiment's name. Its `result.json` holds every setting, the seed, the versions, each step's loss,
# and the command: given again with another `--out`, it makes the same weights on the same machine (a GPU may round a
# little differently each time).
#
# **Larger photographs.** STL-10 has 100,000 pictures without labels, 96 × 96, and 13,000 with. Fetch it once (2.6 GB:
# `python -m helpers.data stl10`), then `COURSE_DATA=stl10 make lab` runs this notebook on it, best with a GPU. After
# a run on other pictures set `START_AFRESH = True` first. In code, with four of its ten classes to watch:
#
# ```python
# pictures = data.load_images("stl10", "pretrain")  # (100000, 3, 96, 96) uint8, no labels
# labelled = data.load_images("stl10", "train", classes=("cat", "dog", "deer", "horse"))
# recipe = training.recipe_for("stl10", 96, arch="resnet18", views=2, decoupled=False)  # ImageNet stem
# ```

# %% [markdown]
# ## The clinic
#
# Real runs rarely fail with an error. They fail as below. Six runs were trained with one thing broken in each, beside a
# healthy one with the same seed; the command that made them is in the file. You see what a doctor sees: curves.
#
# Blue is the broken run, grey the healthy one, dashed the chance loss.

# %%
record = training.clinic_curves()
print(f"{record['images']} images, batches of {record['batch_size']}, temperature {record['temperature']} in the healthy run.")
print("Made by:", record["command"])
plots.show(plots.clinic(record), alt=plots.clinic_in_words(record))

# %% [markdown]
# | cause | what was done |
# |---|---|
# | temperature is the batch size | the batch size was handed over as the temperature: $\tau = 128$ |
# | images are not shuffled | they come as they lie in folders: class by class, in the same order every epoch |
# | the same view twice | `x_b = x_a` |
# | detached denominator | the loss has the right value, but no gradient flows through the negatives |
# | frozen batch-norm | the encoder's batch-norm normalises with mean 0 and variance 1, as it was born, and never learns others |
# | learning rate x 100 | a misplaced decimal point, twice |

# %% [markdown]
# ### Exercise 5.4 · `clinic` (six names, 4 points)
#
# Which is which? Don't guess from one panel; for each cause, think first what it *must* do:
#
# - to the **loss**;
# - to the **k-NN monitor**: look at which broken runs it rises in all the same; it is no proof of health;
# - to **alignment** (the distance of honest positives; 0 is together), **uniformity** (0 when all $z$ are equal, lower
#   when they spread) and the **spread** of $z$;
# - to the **means that batch-norm keeps** for later, which start at 0;
# - to the **learning rate** that was really used.
#
# Write your answer as letter → cause. The causes, to copy from:

# %%
for cause in training.CAUSES:
    print(repr(cause))

# %% exercise="clinic"
def clinic():
    """Which broken run is which: {"A": cause, ..., "F": cause}, the causes as in training.CAUSES."""
    ### BEGIN SOLUTION
    return {
        "A": "frozen batch-norm",
        "B": "learning rate x 100",
        "C": "images are not shuffled",
        "D": "the same view twice",
        "E": "detached denominator",
        "F": "temperature is the batch size",
    }
    ### END SOLUTION

# %%
def show_answer():
    for letter, cause in [("healthy", ""), *sorted(clinic().items())]:
        curves = record["curves"][letter]
        print(f"{letter:8} {cause:30} loss {curves['loss'][-1]:.2f}, k-NN {curves['knn'][-1]:.1%} at the end")


checks.try_it(show_answer)

# %% [markdown]
# <details><summary>Hint 1</summary>Start with the most certain: which causes show themselves directly in a panel? Which one
# limits how far the loss can move <em>at all</em>? (A cosine lies between −1 and 1; divide by τ.)</details>
# <details><summary>Hint 2</summary>Without a gradient from the negatives, what is the easiest way to bring all positives
# together? What does the spread of z do then? And where must the loss be when all z are equal?</details>
# <details><summary>Hint 3</summary>If both views are one picture, the positives agree from the start and the question is
# easy: look for the lowest loss, and whether <em>honest</em> views agree (alignment). If a batch holds one class only,
# all negatives are of that class too: the loss can fall by everything <em>but</em> the class. Which run looks nearly
# healthy in every panel except k-NN?</details>

# %% check="clinic" points=3
with checks.explained(clinic):
    answer = clinic()
    assert isinstance(answer, dict), "the answer should be a dict, letter: cause"
    assert sorted(map(str.upper, answer)) == list("ABCDEF"), f"the six letters should be A to F, not {sorted(answer)}"
checks.check_clinic(clinic)

# %% hidden="clinic" points=1
with checks.explained(clinic):
    assert sorted(clinic().values()) == sorted(training.CAUSES), "each cause should be named once"
checks.check_clinic(clinic)

# %%
my.keep(clinic)
my.progress()

# %% [markdown]
# How would a program do it? `training.clinic` is the reference answer: the same reasoning, written as rules. Read it
# after your own attempt.

# %% [markdown]
# ## Three optimizers
#
# `recipe.optimizer` has three names. **AdamW** gives every single weight a step size of its own. **Muon** (Jordan et al.
# 2024) makes the step of every matrix orthogonal, so that no direction is favoured. **LARS** (You et al. 2017) is
# the paper's: momentum, and every layer moves in proportion to the length of its weights.
#
# Below, the same network takes the same 40 steps on the same batches with each, at a rate that suits it: for LARS it
# is the paper's rule for smaller batches, $0.075\sqrt{N}$. **Predict**: which loss falls fastest, which slowest?

# %%
N, steps = (32, 4) if course.quick() else (128, 40)
some = data.load_images("shapes", "train").images[: N * steps]  # one epoch of so many steps
curves, rates = {}, {"adamw": 3e-3, "muon": 2e-3, "lars": 0.075 * math.sqrt(N)}
for name, rate in rates.items():
    short = training.Recipe(optimizer=name, base_lr=rate, epochs=1, batch_size=N)
    curves[name] = training.pretrain(training.build_model(short), some, training.views_of(short), short)["loss"]
last = ", ".join(f"{name} {sum(values[-10:]) / len(values[-10:]):.2f}" for name, values in curves.items())
alt = f"Loss over {steps} steps with three optimizers, chance {my.chance_loss(N):.2f}. Mean of the last ten: {last}."
plots.show(plots.loss_curves(curves, my.chance_loss(N)), alt=alt)
print(f"Mean of the last ten: {last}")

# %% [markdown]
# So few steps, with one seed, decide nothing about LARS. It is there for batches of thousands: an epoch then has few
# steps, so the rate has to be large, and one large rate for all layers makes those diverge whose gradients are long
# compared with their weights. Measuring each layer's step by the length of its weights prevents that. A batch of 128 has
# no such trouble to cure, and the paper's runs are hundreds or thousands of times as long. Nor is the lowest loss the
# best $h$: for that there is the k-NN monitor. [helpers/optimizers.py](../helpers/optimizers.py) has LARS and Muon.

# %% [markdown]
# ## More than two views
#
# Two views of an image make one pair of positives. Four make six, for twice the arithmetic. So with half as many images
# in a batch, each in four views, a step costs the same and has three times the pairs. `training.step_on_views` is your
# `train_step` for any number of views: the loss is the mean of NT-Xent over all pairs of views, as in Contrastive
# Multiview Coding (Tian et al. 2020). That for equal arithmetic fewer images in more views are worth it is what Shidani
# et al. (2024) found, with losses of their own.

# %%
views = augmentation.batch_views(32, views=4)(pictures.images[:8], torch.Generator().manual_seed(0))  # four (8, 3, 32, 32)
_, z = training.build_model(training.Recipe())(torch.cat(views))  # (32, 128)
pairs = list(itertools.combinations(z.chunk(4), 2))
print(f"{len(pairs)} pairs, mean loss {sum(my.nt_xent(a, b, 0.2) for a, b in pairs) / len(pairs):.3f}")

# %% [markdown]
# The recipe for photographs takes four views (`recipe.views`), from the command line and in `make choices`, which
# measures what they are worth for equal arithmetic: [choices_cifar10.json](../data/results/choices_cifar10.json), "two
# views", where it has been measured. Your `pretrain` takes pairs, so above the
# recipe was asked for `views=2`, and, as your `train_step` has NT-Xent, for `decoupled=False` (see the end of 04).

# %% [markdown]
# ## Predict, then measure
#
# What happens to training when one of its parts is missing, or when the views share too much?
# Run the cell to read the question and the choices; write one of them into `guess` and run it again. It then
# measures on the built-in pictures, mostly by training small encoders, one seed, for a minute or two on two cores, and
# sets what came out beside a larger run with several seeds and beside the paper. Nothing here gives points.

# %%
from helpers.findings import predict

guess = None
predict("no_negatives", guess)

# %% [markdown]
# NT-Xent written as two forces: pull positives together, push everything apart.

# %%
guess = None
predict("two_forces", guess)

# %% [markdown]
# A shortcut on purpose: a code along the upper edge that both views share.

# %%
guess = None
predict("random_bits", guess)

# %% [markdown]
# ## What you can now say
#
# - what a step of SimCLR does, and which mistakes in it raise no error;
# - why the rate warms up and then falls along a cosine;
# - what must be in a checkpoint for a stopped run to end as if nobody had stopped it;
# - how to read a contrastive loss against $\log(2N-1)$, and why a k-NN monitor stands beside it;
# - what collapse looks like, and five other ways in which a run goes wrong without an error.
#
# ## Next
#
# In [06 · Evaluation](06_evaluation.ipynb) you measure what this encoder is worth: k-NN and a linear probe, each beside
# its controls, and pictures of what it finds alike.
