"""Measuring a representation: features, k-NN, linear probe, alignment and uniformity, and the controls beside them.

Nothing here trains SimCLR or draws. Accuracies are fractions in [0, 1]. From the command line,
`python -m helpers.evaluation runs/05/checkpoint.pt` prints one small table.
"""

import argparse
import copy
import sys
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from helpers import checkpoints, data
from helpers.encoder import build_encoder
from helpers.machine import best_device, cap_threads


def extract_features(encoder: nn.Module, images: Tensor, batch_size: int = 256) -> Tensor:
    """The representation of every image, in the order of the images.

    The encoder runs in eval mode and without gradients, on the device it is on; afterwards every part of it is
    back in the mode it was in, also when it stopped with an error. `nn.Flatten()` as the encoder gives raw pixels.

    Args:
        encoder: x (N, 3, H, W) float in [0, 1] -> h (N, D).
        images: (M, 3, H, W) uint8, scaled by 1/255 here, or float in [0, 1], taken as it is.
        batch_size: images that go through the encoder at once; the last batch may be smaller.

    Returns:
        (M, D) float32 on the CPU.

    Raises:
        ValueError: no images, not four axes, or batch_size < 1.
    """
    if images.ndim != 4 or len(images) == 0:
        raise ValueError(f"images must be (M, 3, H, W) with M >= 1, not {tuple(images.shape)}.")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}.")
    device = next((weight.device for weight in encoder.parameters()), images.device)
    modes = {module: module.training for module in encoder.modules()}
    encoder.eval()
    try:
        with torch.no_grad():
            return torch.cat([encoder(as_input(batch, device)).float().cpu() for batch in images.split(batch_size)])
    finally:
        for module, training in modes.items():
            module.training = training


def as_input(images: Tensor, device: torch.device) -> Tensor:
    """(N, 3, H, W) uint8 or float -> float32 on the device, uint8 scaled to [0, 1]; channels last, which is faster."""
    x = images.to(device, memory_format=torch.channels_last)
    return x.float() / 255 if x.dtype == torch.uint8 else x.float()


def nearest_neighbours(bank_h: Tensor, query_h: Tensor, k: int, chunk: int = 1000) -> tuple[Tensor, Tensor]:
    """The k rows of the bank with the largest cosine to each query, the nearest first.

    Args:
        bank_h, query_h: (M, D) and (Q, D), normalised or not.
        k: 1 .. M.
        chunk: queries compared at once, so that no more than chunk·M similarities are in memory.

    Returns:
        cosine (Q, k) float32 and index (Q, k) int64 into the bank.

    Raises:
        ValueError: dimensions that do not match, NaN or infinity, k < 1 or k > M.
    """
    check_features("bank_h", bank_h)
    check_features("query_h", query_h)
    if bank_h.shape[1] != query_h.shape[1]:
        raise ValueError(
            f"bank_h has {bank_h.shape[1]} dimensions and query_h {query_h.shape[1]}: use one encoder for both."
        )
    if not 1 <= k <= len(bank_h):
        raise ValueError(f"k must be between 1 and the bank's {len(bank_h)} images, not {k}.")
    bank = F.normalize(bank_h.float(), dim=1).T  # (D, M)
    parts = [(queries @ bank).topk(k, dim=1) for queries in F.normalize(query_h.float(), dim=1).split(chunk)]
    return torch.cat([part.values for part in parts]), torch.cat([part.indices for part in parts])


def knn_predict(bank_h: Tensor, bank_y: Tensor, query_h: Tensor, k: int = 20, temperature: float = 0.1) -> Tensor:
    """The class each query's k nearest neighbours vote for (Wu et al. 2018, section 3.4).

    Nearest by cosine; a neighbour's vote weighs exp(cosine / temperature). Equal votes: the smaller label wins.

    Args:
        bank_h, bank_y: (M, D) representations and their labels (M,) int64, 0 .. C-1.
        query_h: (Q, D) representations to label.
        k: number of neighbours, 1 .. M.
        temperature: > 0; a small one lets the very nearest decide.

    Returns:
        (Q,) int64.

    Raises:
        ValueError: as nearest_neighbours; also labels that do not match, temperature <= 0.
    """
    check_features("bank_h", bank_h, bank_y)
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, not {temperature}.")
    cosine, index = nearest_neighbours(bank_h, query_h, k)  # (Q, k) both
    weight = ((cosine - cosine[:, :1]) / temperature).exp()  # relative to the nearest: no overflow at any temperature
    votes = weight.new_zeros(len(query_h), int(bank_y.max()) + 1)  # (Q, C)
    return votes.scatter_add_(1, bank_y[index], weight).argmax(dim=1)


def knn_accuracy(
    bank_h: Tensor, bank_y: Tensor, query_h: Tensor, query_y: Tensor, k: int = 20, temperature: float = 0.1
) -> float:
    """The fraction of queries that their k nearest neighbours label rightly; arguments as in knn_predict."""
    check_features("query_h", query_h, query_y)
    return (knn_predict(bank_h, bank_y, query_h, k, temperature) == query_y).double().mean().item()


def whitening(h: Tensor, ridge: float = 0.1) -> tuple[Tensor, Tensor]:
    """The mean and the linear map after which the rows of h have about the same variance in every direction.

    A few directions hold most of the variance of a representation, and decide every cosine; whitening lets the others
    speak (Jégou and Chum 2012, for image retrieval). No label is needed.

    Args:
        h: (M, D), M >= 2.
        ridge: added to the variance of each direction, as a share of their mean: what hardly varies is mostly noise.

    Returns:
        mean (D,) and matrix (D, D): white rows are (h - mean) @ matrix.
    """
    check_features("h", h)
    if len(h) < 2:
        raise ValueError("whitening needs at least two rows: one alone does not vary.")
    mean = h.mean(dim=0, dtype=torch.float64)
    parts = (part.double() - mean for part in h.split(4096))  # all rows as doubles would be the largest thing in memory
    covariance = sum(part.T @ part for part in parts) / (len(h) - 1)  # (D, D)
    variances, directions = torch.linalg.eigh(covariance)  # (D,) and (D, D), a direction a column
    lengths = (variances + ridge * variances.mean()).clamp(min=1e-12).rsqrt()  # (D,); all rows may be equal
    return mean.float(), (directions * lengths).float()


def knn_plain_and_white(bank_h: Tensor, bank_y: Tensor, query_h: Tensor, query_y: Tensor) -> tuple[float, float]:
    """knn_accuracy with k = 20 (or all of a smaller bank): as the rows are, and after the `whitening` of the bank."""
    mean, matrix = whitening(bank_h)
    pairs = ((bank_h, query_h), ((bank_h - mean) @ matrix, (query_h - mean) @ matrix))
    return tuple(knn_accuracy(bank, bank_y, query, query_y, k=min(20, len(bank))) for bank, query in pairs)


def whitened(encoder: nn.Module, images: Tensor, ridge: float = 0.1, count: int = 10_000) -> nn.Module:
    """The encoder with one linear layer behind it that whitens h; the encoder itself stays as it is.

    SimCLR leaves this layer open: its head begins with a linear layer, which could undo any invertible map of h, so the
    loss cannot tell one from another. A linear probe is free to find the map by itself; nearest neighbours are not.

    Args:
        encoder: x (N, 3, H, W) -> h (N, D).
        images: (M, 3, H, W) to measure the variances on, training images as a rule; at most `count` of them are drawn.
    """
    some = images[torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:count]]
    mean, matrix = whitening(extract_features(encoder, some), ridge)
    layer = nn.Linear(*matrix.shape)
    with torch.no_grad():
        layer.weight.copy_(matrix.T), layer.bias.copy_(-mean @ matrix)
    device = next((weight.device for weight in encoder.parameters()), images.device)
    return nn.Sequential(encoder, layer.requires_grad_(False).to(device))


def linear_probe(train_h: Tensor, train_y: Tensor, test_h: Tensor, test_y: Tensor, iterations: int = 1000) -> float:
    """Test accuracy of logistic regression on frozen representations; scaler and classifier see the train rows alone.

    Args:
        train_h, test_h: (M, D) and (Q, D) representations, with train_y (M,) and test_y (Q,) int64.
        iterations: at most this many steps of L-BFGS.

    Raises:
        ValueError: sizes that do not match, NaN or infinity, or a single class to learn.
    """
    from sklearn import linear_model, pipeline, preprocessing  # here: training does without its memory

    check_features("train_h", train_h, train_y)
    check_features("test_h", test_h, test_y)
    regression = linear_model.LogisticRegression(max_iter=iterations, tol=1e-3)
    probe = pipeline.make_pipeline(preprocessing.StandardScaler(), regression)
    probe.fit(train_h.numpy(), train_y.numpy())
    return float(probe.score(test_h.numpy(), test_y.numpy()))


def factor_r2(train_h: Tensor, train_factor: Tensor, test_h: Tensor, test_factor: Tensor) -> float:
    """How much of a factor a linear map reads off the representation: R² on test, 1 all of it, 0 nothing.

    Args:
        train_h, test_h: (M, D) and (Q, D).
        train_factor, test_factor: (M,) or (M, K), (Q,) or (Q, K); R² is the mean over the K columns. An angle goes in
            as its cosine and sine, since 359° and 1° are neighbours.

    Returns:
        at most 1; below 0 where the map does worse than the mean.
    """
    from sklearn import linear_model, metrics, pipeline, preprocessing  # here: training does without its memory

    check_features("train_h", train_h)
    check_features("test_h", test_h)
    ridge = pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.Ridge(alpha=1.0))
    ridge.fit(train_h.numpy(), train_factor.numpy())
    return float(metrics.r2_score(test_factor.numpy(), ridge.predict(test_h.numpy())))


def as_target(name: str, factor: Tensor) -> Tensor:
    """A factor of the built-in pictures, (M,) or (M, K), as factor_r2 wants it: hues, which are angles, on the circle."""
    return on_circle(factor) if "hue" in name else factor


def on_circle(turns: Tensor) -> Tensor:
    """Angles in turns, (M,) or (M, K), as points on the unit circle (M, 2) or (M, 2K): 0.99 is next to 0.01 again."""
    angles = 2 * torch.pi * turns.reshape(len(turns), -1)  # (M, K)
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def project(h: Tensor, method: str, seed: int = 0, start: Tensor | None = None) -> Tensor:
    """A map of the rows of h in the plane, by t-SNE or UMAP on cosine distances: to look at, not to measure.

    Both keep neighbours together; distances between groups, and the sizes of groups, mean little.

    Args:
        h: (M, D), M >= 16; a few thousand rows at most.
        method: "t-SNE" (van der Maaten & Hinton 2008) or "UMAP" (McInnes et al. 2018).
        seed: of the random start.
        start: (M, 2) another map of the same images to start from, so that the two can be compared by eye.

    Returns:
        (M, 2) float32, each column between 0 and 1.
    """
    check_features("h", h)
    if method == "t-SNE":
        from sklearn.manifold import TSNE  # here: training does without its memory

        init = "random" if start is None else (1e-4 * (start - start.mean(dim=0)) / start.std()).numpy()
        mapper = TSNE(metric="cosine", perplexity=min(30, len(h) / 4), init=init, random_state=seed)
    elif method == "UMAP":
        from umap import UMAP  # here, for its import alone takes seconds

        init = "spectral" if start is None else (10 * start).numpy()
        mapper = UMAP(metric="cosine", random_state=seed, n_jobs=1, init=init)
    else:
        raise ValueError(f'There is no projection {method!r}; there are "t-SNE" and "UMAP".')
    points = torch.from_numpy(mapper.fit_transform(h.numpy())).float()  # (M, 2)
    low, high = points.min(dim=0).values, points.max(dim=0).values
    return (points - low) / (high - low)


@dataclass(frozen=True, eq=False)
class EmbeddingMap:
    """A representation of M images as an explorer shows it.

    points: (M, 2) float32 in [0, 1], to look at.
    neighbours: (M, k) int64, the nearest other images by cosine in the representation itself, the nearest first.
    knn: accuracy when each image asks the others for its class, as in knn_predict; None without labels.
    method: what the points were drawn with.
    """

    points: Tensor
    neighbours: Tensor
    knn: float | None
    method: str = "t-SNE"


def embedding_map(
    h: Tensor, labels: Tensor | None, method: str = "t-SNE", start: Tensor | None = None, k: int = 20
) -> EmbeddingMap:
    """Points, nearest neighbours and k-NN accuracy of the rows of h (M, D); the other arguments as in `project`."""
    cosine, index = nearest_neighbours(h, h, min(k, len(h) - 1) + 1)  # (M, k + 1) both, itself among them
    others = index != torch.arange(len(h))[:, None]
    others[others.all(dim=1), -1] = False  # more than k rows are equal to this one, and came before it
    cosine, index = cosine[others].view(len(h), -1), index[others].view(len(h), -1)  # (M, k) both
    knn = None
    if labels is not None:
        votes = h.new_zeros(len(h), int(labels.max()) + 1)  # (M, C)
        votes.scatter_add_(1, labels[index], ((cosine - 1) / 0.1).exp())
        knn = (votes.argmax(dim=1) == labels).double().mean().item()
    return EmbeddingMap(project(h, method, start=start), index, knn, method)


def check_features(name: str, h: Tensor, y: Tensor | None = None) -> None:
    """ValueError, with a sentence, unless h is (M, D) finite and y, where given, is (M,)."""
    if h.ndim != 2 or len(h) == 0:
        raise ValueError(f"{name} must be (M, D) with M >= 1, not {tuple(h.shape)}.")
    if not h.isfinite().all():
        raise ValueError(f"{name} holds NaN or infinity: the encoder diverged, or its input was not finite.")
    if y is not None and tuple(y.shape) != (len(h),):
        raise ValueError(
            f"{name} has {len(h)} rows, its labels have shape {tuple(y.shape)}: one label a row is needed."
        )


def alignment(z_a: Tensor, z_b: Tensor) -> Tensor:
    """Mean squared distance of positives on the unit sphere (Wang & Isola 2020, section 4.1, alpha = 2); 0 is perfect.

    Args:
        z_a, z_b: (N, D), row i of both from image i; normalised here.

    Returns:
        () in [0, 4].
    """
    check_features("z_a", z_a)
    check_features("z_b", z_b)
    if z_a.shape != z_b.shape:
        raise ValueError(
            f"z_a {tuple(z_a.shape)} and z_b {tuple(z_b.shape)} must have one shape: row i of both is image i."
        )
    return (F.normalize(z_a, dim=1) - F.normalize(z_b, dim=1)).square().sum(dim=1).mean()


def uniformity(z: Tensor, t: float = 2.0) -> Tensor:
    """Log of the mean Gaussian potential over distinct pairs (Wang & Isola 2020, section 4.2); lower is more even.

    Args:
        z: (M, D) with M >= 2, normalised here; memory grows as M², so take a few thousand rows.
        t: > 0, the potential is exp(-t · squared distance).

    Returns:
        () in [-4t, 0]; 0 when all rows are equal.
    """
    check_features("z", z)
    if len(z) < 2:
        raise ValueError("uniformity needs at least two rows: it compares pairs.")
    squared_distance = torch.pdist(F.normalize(z, dim=1)).square()  # (M(M-1)/2,)
    return (-t * squared_distance).exp().mean().log()


# Controls: what an accuracy has to stand beside.


def chance(train_y: Tensor, test_y: Tensor) -> float:
    """Test accuracy of always naming the most frequent class of train; 1/C where all C classes are equally frequent."""
    return (test_y == train_y.bincount().argmax()).double().mean().item()


def random_encoder(arch: str, small_images: bool, seed: int = 0) -> nn.Module:
    """The same architecture with fresh weights, in eval mode: how much do convolutions give without any training?"""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_encoder(arch, small_images)[0].eval()


def fit_classifier(
    encoder: nn.Module,
    images: Tensor,
    labels: Tensor,
    num_classes: int,
    steps: int,
    batch_size: int = 128,
    base_lr: float = 2e-3,
    half: bool = False,
    seed: int = 0,
) -> nn.Module:
    """Train a copy of an encoder and a fresh linear classifier on it, all weights, with labels.

    From a random encoder this is "supervised from scratch", from a pretrained one "fine-tuned". The images are
    shifted by up to 4 pixels and flipped, each in its own way; AdamW, learning rate a one-cycle from base_lr / 25 to 0.

    Args:
        encoder: x (N, 3, H, W) -> h (N, D); stays as it is.
        images: (M, 3, H, W) uint8, with labels (M,) int64 in 0 .. num_classes-1.
        steps: optimizer steps; steps · batch_size / M epochs.
        half: compute in bfloat16, twice as fast where the hardware knows it (machine.has_bfloat16), else slower.

    Returns:
        x -> logits (N, num_classes), in eval mode; its part 0 is the trained encoder.
    """
    generator = torch.Generator().manual_seed(seed)
    device = next(encoder.parameters()).device
    feature_dim = extract_features(encoder, images[:1]).shape[1]
    linear = nn.Linear(feature_dim, num_classes)
    with torch.no_grad():
        linear.weight.normal_(0, feature_dim**-0.5, generator=generator)
        linear.bias.zero_()
    model = nn.Sequential(copy.deepcopy(encoder), linear).to(device, memory_format=torch.channels_last).train()
    for weight in model.parameters():
        weight.requires_grad_(True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=base_lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, base_lr, total_steps=steps)
    order = torch.empty(0, dtype=torch.int64)
    for _ in range(steps):
        while len(order) < min(batch_size, len(images)):
            order = torch.cat([order, torch.randperm(len(images), generator=generator)])
        rows, order = order[:batch_size], order[batch_size:]
        x = as_input(shift_and_flip(images[rows], generator), device)
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            logits = model(x)  # (N, C)
        optimizer.zero_grad()
        F.cross_entropy(logits.float(), labels[rows].to(device)).backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def shift_and_flip(images: Tensor, generator: torch.Generator, most: int = 4) -> Tensor:
    """(N, 3, H, W) -> the same shape: each image moved by up to `most` pixels, edges repeated, and flipped or not."""
    n, _, height, width = images.shape
    down, right = torch.randint(-most, most + 1, (2, n, 1), generator=generator)
    rows = (torch.arange(height) + down).clamp(0, height - 1)  # (N, H)
    columns = (torch.arange(width) + right).clamp(0, width - 1)  # (N, W)
    columns = torch.where(torch.rand(n, 1, generator=generator) < 0.5, columns, columns.flip(1))
    picture = torch.arange(n)[:, None, None]
    return images.permute(0, 2, 3, 1)[picture, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def accuracy(classifier: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The fraction of images whose largest logit is their label's."""
    return (extract_features(classifier, images).argmax(dim=1) == labels).double().mean().item()


def main(arguments: list[str] | None = None) -> int:
    """One table of k-NN and linear probe for a checkpoint and its controls; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m helpers.evaluation", description=main.__doc__)
    parser.add_argument("checkpoint", help="a file written by helpers.training")
    parser.add_argument("--data", default="shapes", help="shapes, cifar10, stl10 or folder:PATH (default: shapes)")
    parser.add_argument("--image-size", type=int, help="side in pixels; the one that training was given, if any")
    parser.add_argument(
        "--supervised", type=int, metavar="EPOCHS", help="also train the same encoder with labels, this long"
    )
    options = parser.parse_args(arguments)
    cap_threads()
    try:
        model, recipe = checkpoints.load_model(options.checkpoint)
        model = model.to(best_device())
        train, test = (
            data.load_images(options.data, split, image_size=options.image_size) for split in ("train", "test")
        )
        if train.labels is None or test.labels is None:
            raise ValueError(f"{options.data} has no labels; an accuracy needs them.")
        if len(train.labels.unique()) < 2:
            raise ValueError(f"{options.data} has one class; an accuracy needs two.")
        print(
            f"{options.checkpoint} on {options.data}: {len(train.images)} train images, {len(test.images)} test images"
        )
        print(f"{'':28}{'k-NN':>8}{'white':>8}{'probe':>8}   white: k-NN after `whitening`")
        for name, *accuracies in table(model, recipe, train, test, options.supervised):
            print(f"{name:28}" + "".join(f"{each:8.1%}" for each in accuracies))
    except (ValueError, OSError) as problem:
        print(f"helpers.evaluation: {problem}", file=sys.stderr)
        return 1
    return 0


def table(model: nn.Module, recipe: dict, train: data.ImageSet, test: data.ImageSet, epochs: int | None):
    """Yield (name, k-NN accuracy, the same of white rows, probe accuracy): the controls first, then z and h of the model.

    Args:
        epochs: train the supervised control this long; None leaves it out.
    """

    def measured(name: str, encoder: nn.Module) -> tuple[str, float, float, float]:
        train_h, test_h = extract_features(encoder, train.images), extract_features(encoder, test.images)
        knn, white = knn_plain_and_white(train_h, train.labels, test_h, test.labels)
        return name, knn, white, linear_probe(train_h, train.labels, test_h, test.labels)

    by_chance = chance(train.labels, test.labels)
    device = next(model.parameters()).device
    untrained = random_encoder(recipe["arch"], recipe["small_images"]).to(device)
    yield "chance", by_chance, by_chance, by_chance
    yield measured("pixels, 16 × 16", nn.Sequential(nn.AdaptiveAvgPool2d(16), nn.Flatten()))
    yield measured("random encoder, h", untrained)
    yield measured("this checkpoint, z", nn.Sequential(model.encoder, model.head))
    yield measured("this checkpoint, h", model.encoder)
    if epochs:
        steps = max(1, epochs * len(train.images) // 128)
        yield measured(
            "supervised from scratch, h",
            fit_classifier(untrained, train.images, train.labels, len(train.classes), steps)[0],
        )


if __name__ == "__main__":
    sys.exit(main())
