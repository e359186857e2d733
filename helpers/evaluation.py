"""Measuring a representation: k-NN, linear probe, what it knows of a factor, alignment and uniformity.

Nothing here trains SimCLR or draws. Accuracies are fractions in [0, 1]. From the command line,
`python -m helpers.evaluation runs/05/checkpoint.pt` prints one small table.
"""

import argparse
import sys

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from helpers import checkpoints, data
from helpers.controls import chance, fit_classifier, random_encoder
from helpers.features import check_features, extract_features
from helpers.losses import at_least_float32
from helpers.machine import best_device, cap_threads


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
    return vote(cosine, bank_y[index], temperature)


def vote(cosine: Tensor, labels: Tensor, temperature: float = 0.1) -> Tensor:
    """The class that neighbours vote for, (Q,); their cosines and labels are (Q, k), the nearest first."""
    weight = ((cosine - cosine[:, :1]) / temperature).exp()  # relative to the nearest: no overflow at any temperature
    votes = weight.new_zeros(len(labels), int(labels.max()) + 1)  # (Q, C)
    return votes.scatter_add_(1, labels, weight).argmax(dim=1)


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
        mean (D,) and matrix (D, D): white rows are (h - mean) @ matrix. Any rotation of them has the same cosines.
    """
    check_features("h", h)
    if len(h) < 2:
        raise ValueError("whitening needs at least two rows: one alone does not vary.")
    mean = sum(part.double().sum(dim=0) for part in h.split(256)) / len(h)  # all rows as doubles would take much memory
    covariance = h.new_zeros(h.shape[1], h.shape[1], dtype=torch.float64)  # (D, D)
    for part in h.split(256):
        covariance.addmm_((part - mean).T, part - mean, alpha=1 / (len(h) - 1))  # mean is float64, so all is
    covariance.diagonal().add_(max(ridge, 1e-9) * covariance.diagonal().mean() + 1e-12)  # all rows may be equal
    factor = torch.linalg.cholesky(covariance)  # (D, D) lower triangular: factor @ factor.T is the covariance
    matrix = torch.linalg.solve_triangular(factor, torch.eye(len(factor)).to(factor), upper=False).T
    return mean.to(at_least_float32(h).dtype), matrix.to(at_least_float32(h).dtype)


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
    mean, matrix = whitening(extract_features(encoder, some, batch_size=64), ridge)  # 64: little memory
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
    train, test = (h.detach().cpu().float().numpy() for h in (train_h, test_h))  # NumPy knows no bfloat16
    probe.fit(train, train_y.cpu().numpy())
    return float(probe.score(test, test_y.cpu().numpy()))


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
    rows = (train_h, train_factor, test_h, test_factor)
    train, wanted, test, right = (each.detach().cpu().float().numpy() for each in rows)  # NumPy knows no bfloat16
    ridge.fit(train, wanted)
    return float(metrics.r2_score(right, ridge.predict(test)))


def as_target(name: str, factor: Tensor) -> Tensor:
    """A factor of the built-in pictures, (M,) or (M, K), as factor_r2 wants it: hues, which are angles, on the circle."""
    return on_circle(factor) if "hue" in name else factor


def on_circle(turns: Tensor) -> Tensor:
    """Angles in turns, (M,) or (M, K), as points on the unit circle (M, 2) or (M, 2K): 0.99 is next to 0.01 again."""
    angles = 2 * torch.pi * turns.reshape(len(turns), -1)  # (M, K)
    return torch.cat([angles.cos(), angles.sin()], dim=1)


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
    z_a, z_b = at_least_float32(z_a), at_least_float32(z_b)
    return (F.normalize(z_a, dim=1) - F.normalize(z_b, dim=1)).square().sum(dim=1).mean()


def uniformity(z: Tensor, t: float = 2.0) -> Tensor:
    """Log of the mean Gaussian potential over distinct pairs (Wang & Isola 2020, section 4.1); lower is more even.

    Args:
        z: (M, D) with M >= 2, normalised here; memory grows as M², so take a few thousand rows.
        t: > 0, the potential is exp(-t · squared distance).

    Returns:
        () in [-4t, 0]; 0 when all rows are equal.
    """
    check_features("z", z)
    if len(z) < 2:
        raise ValueError("uniformity needs at least two rows: it compares pairs.")
    squared_distance = torch.pdist(F.normalize(at_least_float32(z), dim=1)).square()  # (M(M-1)/2,)
    exponent = -t * squared_distance
    largest = exponent.detach().max()  # taken out of the mean, in which a small potential would become 0
    return largest + (exponent - largest).exp().mean().log()


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
            data.load_labelled(options.data, split, image_size=options.image_size) for split in ("train", "test")
        )
        if len(train.labels.unique()) < 2:
            raise ValueError(
                f"{options.data} has one class, {train.classes[0]!r}; an accuracy needs two. If your classes are folders in "
                "that one, name it."
            )
        print(f"{options.checkpoint} on {options.data}: {len(train)} train images, {len(test)} test images")
        print(f"{'':28}{'k-NN':>8}{'white':>8}{'probe':>8}   white: k-NN after `whitening`")
        for name, *accuracies in table(model, recipe, train, test, options.supervised):
            print(f"{name:28}" + "".join(f"{each:8.1%}" for each in accuracies))
    except (ValueError, OSError) as problem:
        print(f"helpers.evaluation: {problem}", file=sys.stderr)
        return 1
    except torch.OutOfMemoryError:
        print(
            "helpers.evaluation: the GPU has too little memory; CUDA_VISIBLE_DEVICES= does without it.", file=sys.stderr
        )
        return 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130
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
    untrained = random_encoder(recipe["arch"], recipe["small_images"], 0, recipe.get("group_norm", False)).to(device)
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
