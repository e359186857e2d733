"""What every experiment is made of: the place it runs in, one training loop, the measures, and a verdict with intervals."""

import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from scipy import stats
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from helpers import evaluation
from helpers.augmentation import TwoViewsOfBatch
from helpers.controls import shuffled_batches
from helpers.data import ImageSet
from helpers.losses import cosine_similarities, nt_xent, positive_index
from helpers.machine import fast
from helpers.optimizers import optimizer_for
from helpers.projection_head import SimCLR
from helpers.recipe import Recipe, build_model, views_of
from helpers.training import warmup_cosine

Numbers = dict[str, float]
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]  # z_a (N, D), z_b (N, D), labels (N,) -> ()


@dataclass(frozen=True)
class Lab:
    """Where an experiment runs, once: pictures to train on and to measure with, and a recipe with its seed.

    `bank` is what encoders train on and neighbours are looked for in; `queries` are never trained on.
    """

    bank: ImageSet
    queries: ImageSet
    recipe: Recipe


@dataclass(frozen=True)
class Finding:
    """A claim about SimCLR, and the experiment that asks for it here.

    varied: what differs between conditions, in a figure's words.
    conditions: what is compared. quick: those of them that a small run in a notebook shows.
    measure: lab, conditions -> (condition, {number: value}) one by one.
    contrasts: (condition, number) pairs; the claim is that the first of each is larger.
    choices: what one may predict.
    factors: does it ask for what each picture was drawn from? Only the built-in ones know.
    share: of the pictures of a small run in a notebook, what this one can afford there.
    """

    name: str
    question: str
    choices: tuple[str, ...]
    claim: str
    source: str
    published: str
    varied: str
    conditions: tuple[str, ...]
    quick: tuple[str, ...]
    measure: Callable[[Lab, tuple[str, ...]], Iterator[tuple[str, Numbers]]]
    contrasts: tuple[tuple[tuple[str, str], tuple[str, str]], ...]
    factors: bool = False
    share: float = 1.0


# Training and measuring -----------------------------------------------------------------------------------------------


def train(
    lab: Lab,
    two_views: TwoViewsOfBatch | None = None,
    loss: Loss | None = None,
    model: SimCLR | None = None,
    images: ImageSet | None = None,
) -> SimCLR:
    """Train a model of the lab's recipe, with one thing changed: the views, the loss, the model or the pictures.

    Args:
        loss: of both z and the labels; NT-Xent at the recipe's temperature, if none is given.
        images: what to train on, the lab's bank if none are given; seen epochs · bank / images times as often.

    Raises:
        ValueError: for a recipe with more than two views or with the decoupled loss, which this loop has not.
    """
    recipe, bank = lab.recipe, images or lab.bank
    if recipe.views != 2 or recipe.decoupled:
        raise ValueError("An experiment trains with two views and NT-Xent: set views=2, decoupled=False.")
    model, two_views = model or build_model(recipe), two_views or views_of(recipe)
    loss = loss or (lambda z_a, z_b, labels: nt_xent(z_a, z_b, recipe.temperature))
    steps = steps_in(lab)
    optimizer = optimizer_for(model, recipe)
    generator = Generator().manual_seed(recipe.seed)
    with fast(model.train()):
        for step, rows in enumerate(shuffled_batches(len(bank), recipe.batch_size, steps, generator)):
            for group in optimizer.param_groups:
                group["lr"] = warmup_cosine(step, steps, round(recipe.warmup_fraction * steps), recipe.base_lr)
            _, z = model(torch.cat(two_views(bank.images[rows], generator)))  # (2N, D)
            value = loss(*z.chunk(2), bank.labels[rows])
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
    return model.eval()


def steps_in(lab: Lab) -> int:
    """How many steps `train` takes, whatever pictures it takes them on."""
    return max(1, round(lab.recipe.epochs * len(lab.bank)) // lab.recipe.batch_size)


def knn(lab: Lab, encoder: nn.Module) -> float:
    """k-NN accuracy (cosine, k = 20) on the queries, neighbours from the bank."""
    bank_h, query_h = (evaluation.extract_features(encoder, part.images) for part in (lab.bank, lab.queries))
    return evaluation.knn_accuracy(bank_h, lab.bank.labels, query_h, lab.queries.labels, k=min(20, len(bank_h)))


def of_z(model: SimCLR) -> nn.Module:
    """x -> z."""
    return nn.Sequential(model.encoder, model.head)


def embedded_views(lab: Lab, model: SimCLR, two_views: TwoViewsOfBatch | None = None) -> tuple[Tensor, Tensor]:
    """z of two new views of up to 512 queries, (N, D) each."""
    two_views = two_views or views_of(lab.recipe)
    x_a, x_b = two_views(lab.queries.images[:512], Generator().manual_seed(lab.recipe.seed + 1))
    return tuple(evaluation.extract_features(of_z(model), x) for x in (x_a, x_b))


def contrastive_accuracy(z_a: Tensor, z_b: Tensor) -> float:
    """How often an anchor's largest similarity among the 2N - 1 others is its positive's."""
    similarities = cosine_similarities(torch.cat([z_a, z_b])).fill_diagonal_(-math.inf)  # (2N, 2N)
    return (similarities.argmax(dim=1) == positive_index(len(z_a))).double().mean().item()


def effective_rank(rows: Tensor) -> float:
    """How many directions the rows of (M, D) really use: exp of the entropy of their squared singular values' shares.

    Between 1 and D (after Roy & Vetterli 2007, who take the singular values themselves).
    """
    shares = singular_values(rows).square()
    shares = shares / shares.sum()
    return torch.special.entr(shares).sum().exp().item()


def singular_values(rows: Tensor) -> Tensor:
    """Those of the rows of (M, D) around their mean, the largest first: how far they reach in each direction, (D,)."""
    return torch.linalg.svdvals((rows - rows.mean(dim=0)).double())


def spectrum(rows: Tensor, most: int) -> dict[int, float]:
    """{place: that singular value as a share of the first} at places 1, 2, 4, 8 and so on, `most` at most."""
    values = singular_values(rows)[:most]
    return {2**k: (values[2**k - 1] / values[0]).item() for k in range(int(math.log2(len(values))) + 1)}


def spread(z: Tensor) -> float:
    """Mean standard deviation of the columns of unit rows, times √D: about 1 all around the sphere, 0 in one point."""
    return (F.normalize(z, dim=1).std(dim=0).mean() * z.shape[1] ** 0.5).item()


# Verdicts -------------------------------------------------------------------------------------------------------------


def judged(finding: Finding, rows: dict[str, dict[str, list[float]]]) -> list[dict]:
    """For each contrast the mean difference over seeds, and its 95 % interval (Student's t, differences of one seed).

    Args:
        rows: {condition: {number: [one value a seed]}}; contrasts of conditions that are not there are left out.
    """
    found = []
    for larger, smaller in finding.contrasts:
        if larger[0] in rows and smaller[0] in rows:
            pairs = zip(rows[larger[0]][larger[1]], rows[smaller[0]][smaller[1]], strict=True)
            differences = [a - b for a, b in pairs]
            found.append({"larger": list(larger), "smaller": list(smaller)} | interval(differences))
    return found


def interval(differences: list[float]) -> dict[str, float | None]:
    """Their mean and its 95 % interval (Student's t), whose ends are not known from a single one."""
    mean = statistics.mean(differences)
    if len(differences) < 2:
        return {"difference": mean, "low": None, "high": None}
    quantile = float(stats.t.ppf(0.975, len(differences) - 1))
    reach = quantile * statistics.stdev(differences) / len(differences) ** 0.5
    return {"difference": mean, "low": mean - reach, "high": mean + reach}


def partly(finding: Finding, contrasts: list[dict]) -> str:
    """What to say of a verdict on some of the finding's contrasts alone; nothing for all of them."""
    asked, all_of_them = len(contrasts), len(finding.contrasts)
    return f" in the {asked} of {all_of_them} differences that were asked" if asked < all_of_them else ""


def verdict(contrasts: list[dict]) -> str:
    """reproduced: every interval lies above 0; not reproduced: one lies below; unresolved: anything else, or none."""
    if not contrasts or any(each["low"] is None for each in contrasts):
        return "unresolved"
    if any(each["high"] < 0 for each in contrasts):
        return "not reproduced"
    return "reproduced" if all(each["low"] > 0 for each in contrasts) else "unresolved"
