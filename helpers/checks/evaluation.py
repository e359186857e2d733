"""Checks of notebook 06: extract_features, knn_accuracy, linear_probe, alignment, uniformity."""

import math

import torch
from torch import Tensor, nn

from helpers.checks.core import as_double, between, call, check, close, expect, expect_close, expect_tensor

__all__ = ["check_alignment", "check_extract_features", "check_knn_accuracy", "check_linear_probe", "check_uniformity"]


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def unit_rows(h: Tensor) -> Tensor:
    """(M, D) -> the rows over their lengths, in float64; a zero row stays zero."""
    h = h.double()
    return h / h.norm(dim=1, keepdim=True).clamp_min(1e-12)


def number(what: str, value) -> float:
    """A Python number, a NumPy number or a tensor with one entry -> float."""
    try:
        value = as_double(value)
    except (TypeError, ValueError, RuntimeError):
        expect(False, f"{what} gave a {type(value).__name__}; one number is wanted.")
    expect(value.numel() == 1, f"{what} gave {tuple(value.shape)} numbers; one number is wanted. Is a mean missing?")
    return value.item()


def fraction(what: str, value) -> float:
    """The same for an accuracy, which lies in [0, 1]."""
    value = number(what, value)
    expect(math.isfinite(value), f"{what} gave {value}; an accuracy is a number in [0, 1].")
    note = " It looks like a percentage: leave out the 100." if 1 < value <= 100 else ""
    expect(0 <= value <= 1, f"{what} gave {value:.5g}; an accuracy is a fraction in [0, 1].{note}")
    return value


class Probe(nn.Module):
    """A small encoder with batch-norm, which notes how many images came at once and how large they were."""

    def __init__(self, pixels: int, dimensions: int, generator: torch.Generator):
        super().__init__()
        self.linear, self.norm = nn.Linear(pixels, dimensions), nn.BatchNorm1d(dimensions)
        with torch.no_grad():
            self.linear.weight.copy_(normal(generator, dimensions, pixels) / pixels**0.5)
            self.linear.bias.copy_(normal(generator, dimensions))
            self.norm.running_mean.copy_(normal(generator, dimensions))
            self.norm.running_var.copy_(normal(generator, dimensions).square() + 0.5)
        self.counts = []

    def forward(self, x: Tensor) -> Tensor:
        self.counts.append(len(x))
        return self.norm(self.linear(x.flatten(1)))

    def by_hand(self, x: Tensor, statistics: bool = True) -> Tensor:
        """What forward gives in eval mode, in float64; with statistics=False, those of the batch instead."""
        h = (
            x.double().flatten(1) @ self.linear.weight.detach().cpu().double().T
            + self.linear.bias.detach().cpu().double()
        )
        mean = self.norm.running_mean.cpu().double() if statistics else h.mean(dim=0)
        variance = self.norm.running_var.cpu().double() if statistics else h.var(dim=0, unbiased=False)
        return (h - mean) / (variance + self.norm.eps).sqrt()


@check
def check_extract_features(extract_features, generator):
    """extract_features(encoder, images, batch_size) -> (M, D) float32 on the CPU."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    batch_size, side, dimensions = between(generator, 4, 7), between(generator, 5, 8), between(generator, 9, 12)
    count = 2 * batch_size + between(generator, 2, batch_size - 1)  # two full batches and part of a third
    dimensions += dimensions == count  # so that a transposed h has another shape
    images = torch.randint(256, (count, 3, side, side), generator=generator, dtype=torch.uint8)
    encoder = Probe(3 * side * side, dimensions, generator).to(device)
    statistics, before = encoder.norm.running_mean.clone(), images.clone()
    what = f"extract_features on {count} images with batch_size={batch_size}"

    encoder.train()
    trainable = all(weight.requires_grad for weight in encoder.parameters())
    torch.set_grad_enabled(True)  # the cell that shows what the answer does may have turned them off by calling it
    h = call(what, extract_features, encoder, images, batch_size)
    recording = torch.is_grad_enabled()
    torch.set_grad_enabled(True)
    expect(
        recording,
        f"{what} turned gradients off for everything that comes after it: use `with torch.no_grad():`, which ends.",
    )
    expect(not isinstance(h, list | tuple), f"{what} gave a {type(h).__name__} of batches; join them with torch.cat.")
    if isinstance(h, Tensor) and h.ndim == 2 and h.shape[1] == dimensions:
        expect(
            len(h) != 2 * batch_size, f"{what} gave {len(h)} rows, not {count}: the last, smaller batch was dropped."
        )
        expect(
            len(h) not in (batch_size, count - 2 * batch_size),
            f"{what} gave {len(h)} rows, not {count}: only one batch came back.",
        )
    expect_tensor(what, h, (count, dimensions))
    expect(h.dtype == torch.float32, f"{what} has dtype {h.dtype}; torch.float32 is wanted.")
    expect(
        h.device.type == "cpu", f"{what} gave a tensor on {h.device}; move it to the CPU, where thousands of rows fit."
    )

    expect(bool((images == before).all()), f"{what} changed the images it was given; work on a copy.")
    wanted = encoder.by_hand(before / 255)
    own_statistics = torch.cat([encoder.by_hand(part / 255, statistics=False) for part in before.split(batch_size)])
    expect(
        bool((encoder.norm.running_mean == statistics).all()),
        f"{what} changed the encoder's batch-norm statistics: it ran in train mode. Call encoder.eval() first.",
    )
    same_rows = as_double(h).sort(dim=0).values
    if not close(as_double(h), wanted, 1e-3) and close(same_rows, wanted.sort(dim=0).values, 1e-3):
        expect(False, f"{what} gave the right rows in another order; row i must belong to image i: do not shuffle.")
    mistakes = {
        "batch-norm used the statistics of each batch: the encoder was not in eval mode.": own_statistics,
        "the pixels went in as 0 to 255; scale them to [0, 1] by 1/255.": encoder.by_hand(before),
        "the pixels were divided by 255 twice.": encoder.by_hand(before / 255**2),
        "the pixels were divided by 256; 255 is white.": encoder.by_hand(before / 256),
        "the pixels went in between -1 and 1; scale by 1/255 only.": encoder.by_hand(before / 127.5 - 1),
        "the rows were normalised; leave h as the encoder gives it.": unit_rows(wanted),
    }
    expect_close(what, h, wanted, mistakes, tolerance=1e-3 if device == "cuda" else 1e-4)

    expect(not h.requires_grad, f"{what} kept the gradient's graph; run the encoder under torch.no_grad().")
    expect(
        all(weight.requires_grad for weight in encoder.parameters()) or not trainable,
        f"{what} froze the encoder for good: leave requires_grad as it is, and use `with torch.no_grad():`.",
    )
    expect(
        max(encoder.counts, default=0) <= batch_size,
        f"{what} sent {max(encoder.counts, default=0)} images through at once: batch_size was not used.",
    )
    restore = "The encoder was in {} mode before and is in {} mode after: restore the mode it had."
    expect(encoder.training and encoder.norm.training, restore.format("train", "eval"))
    encoder.eval()
    call(what, extract_features, encoder, images, batch_size)
    expect(not encoder.training, restore.format("eval", "train"))
    whole_batches = call(
        f"extract_features on {2 * batch_size} images", extract_features, encoder, images[: 2 * batch_size], batch_size
    )
    expect_tensor("extract_features where the last batch is full", whole_batches, (2 * batch_size, dimensions))
    what = f"extract_features on {count} images with batch_size=2"
    pairs = call(what, extract_features, encoder, images, 2)
    expect_tensor(what, pairs, (count, dimensions))
    expect_close(what, pairs, wanted, tolerance=1e-3, hint=f"With batch_size={batch_size} it was right.")


def vote(bank_h, bank_y, query_h, k, temperature, similarity="cosine", weight="exp") -> tuple[Tensor, Tensor]:
    """The class with the largest vote for each query, and how far rounding is from changing it; in float64."""
    cosine = unit_rows(query_h) @ unit_rows(bank_h).T  # (Q, M)
    score = {
        "cosine": cosine,
        "farthest": -cosine,
        "dot": query_h.double() @ bank_h.double().T,
        "euclidean": -torch.cdist(query_h.double(), bank_h.double(), compute_mode="donot_use_mm_for_euclid_dist"),
    }[similarity]
    order = score.argsort(dim=1, descending=True, stable=True)  # (Q, M)
    size = (score if similarity == "dot" or "distance" in weight else cosine).gather(1, order)[:, :k]  # (Q, k)
    weights = {
        "exp": ((size - size.amax(dim=1, keepdim=True)) / temperature).exp(),
        "one": torch.ones_like(size),
        "cosine": size,
        "multiplied": (size * temperature).exp(),
        "distance": ((size - size.amax(dim=1, keepdim=True)) / temperature).exp(),
        "float32 distance": (size / temperature).float().exp().double(),  # large distances over a small temperature: 0
    }[weight]
    votes = weights.new_zeros(len(query_h), int(bank_y.max()) + 1).scatter_add_(1, bank_y[order[:, :k]], weights)
    best = votes.sort(dim=1, descending=True).values
    lead = (best[:, 0] - best[:, 1]) / best[:, 0].abs().clamp_min(1e-12)
    if k < len(bank_h):  # and the k-th neighbour from the one after it
        lead = lead.minimum(1e3 * score.gather(1, order[:, k - 1 : k + 1]).diff(dim=1).abs().squeeze(1))
    return votes.argmax(dim=1), lead


@check
def check_knn_accuracy(knn_accuracy, generator):
    """knn_accuracy(bank_h, bank_y, query_h, query_y, k, temperature) -> fraction of queries labelled rightly."""
    settings = (
        (1, 0.1),
        (between(generator, 6, 9), 0.1),
        (between(generator, 11, 14), 0.4),
        (between(generator, 11, 14), 0.03),
    )
    cases = [knn_case(generator, k, temperature) for k, temperature in settings]
    what = "knn_accuracy"
    given = []
    for case in cases:
        value = call(
            f"{what} with k={case[4]}, temperature={case[5]}",
            knn_accuracy,
            *(part.clone() for part in case[:4]),
            *case[4:],
        )
        given.append(number(what, value))

    def accuracy(changed=None, **variant) -> Tensor:
        """What a variant gives on every case; changed edits the arguments first."""
        values = []
        for case in cases:
            bank_h, bank_y, query_h, query_y, k, temperature = changed(*case) if changed else case
            predicted, _ = vote(bank_h, bank_y, query_h, min(k, len(bank_h)), temperature, **variant)
            values.append((predicted == query_y).double().mean())
        return torch.stack(values)

    wanted = accuracy()
    if close(torch.tensor(given), wanted, 1e-6):
        return defaults_of_knn(knn_accuracy, generator)
    asked = torch.tensor([len(case[3]) for case in cases])
    mistakes = {
        "that is the percentage; leave out the 100.": lambda: 100 * wanted,
        "that is the number of right answers; divide by the number of queries.": lambda: wanted * asked,
        "that is the fraction of wrong answers.": lambda: 1 - wanted,
        "neighbours vote with equal weight, ties go to the smallest label; weigh by exp(cosine / temperature).":
            lambda: accuracy(weight="one"),
        "a vote weighs the cosine itself; it should weigh exp(cosine / temperature).":
            lambda: accuracy(weight="cosine"),
        "the cosine was multiplied by the temperature; divide by it.": lambda: accuracy(weight="multiplied"),
        "the temperature was ignored (0.1 fits what you gave).": lambda: accuracy(lambda *a: (*a[:5], 0.1)),
        "the temperature was ignored (1 fits what you gave).": lambda: accuracy(lambda *a: (*a[:5], 1.0)),
        "neighbours were picked by Euclidean distance; use the cosine: normalise the rows first.":
            lambda: accuracy(similarity="euclidean"),
        "neighbours were picked by Euclidean distance and vote with equal weight; use the cosine, for both.":
            lambda: accuracy(similarity="euclidean", weight="one"),
        "neighbours were picked and weighed by Euclidean distance; use the cosine, for both.":
            lambda: accuracy(similarity="euclidean", weight="distance"),
        "neighbours were picked and weighed by Euclidean distance (some votes so small that they became 0); use the "
        "cosine, for both.": lambda: accuracy(similarity="euclidean", weight="float32 distance"),
        "a vote weighs the distance of the normalised rows; it should weigh exp(cosine / temperature).":
            lambda: accuracy(on_unit_sphere, similarity="euclidean", weight="distance"),
        "the columns were normalised, not the rows: normalise along dim=1.":
            lambda: accuracy(lambda *a: (unit_rows(a[0].T).T, a[1], unit_rows(a[2].T).T, *a[3:]), similarity="dot"),
        "those are the farthest neighbours, with the smallest cosine.": lambda: accuracy(similarity="farthest"),
        "k was ignored (20 fits what you gave).": lambda: accuracy(lambda *a: (*a[:4], 20, a[5])),
        "k was ignored: every image of the bank voted.": lambda: accuracy(lambda *a: (*a[:4], len(a[0]), a[5])),
        "k was ignored: the nearest neighbour alone decided.": lambda: accuracy(lambda *a: (*a[:4], 1, a[5])),
        "k + 1 neighbours voted; k is wanted.": lambda: accuracy(lambda *a: (*a[:4], a[4] + 1, a[5])),
        "the nearest neighbour was left out; a query is not in the bank, so it cannot find itself.":
            lambda: accuracy_without_nearest(cases),
        "bank and query were swapped: the bank votes, the queries are labelled.":
            lambda: accuracy(lambda *a: (a[2], a[3], a[0], a[1], *a[4:])),
    }  # fmt: skip
    where = " and ".join(f"k={k}, temperature={temperature}" for k, temperature in settings)
    for value in given:
        expect(math.isfinite(value), f"{what} gave {value}; an accuracy is a number in [0, 1].")
    told = {sentence: wrong() for sentence, wrong in mistakes.items()}
    on_unit_rows = [
        call(what, knn_accuracy, unit_rows(c[0]).float(), c[1], unit_rows(c[2]).float(), *c[3:]) for c in cases
    ]
    if close(torch.tensor([number(what, value) for value in on_unit_rows]), wanted, 1e-6):
        told["it is right only where rows have length 1: that is the dot product, the rows are not normalised."] = given
    expect_close(f"{what} at {where}", torch.tensor(given), wanted, told, tolerance=1e-6)


def on_unit_sphere(bank_h, bank_y, query_h, *rest) -> tuple:
    """The arguments of knn_accuracy with rows of length 1."""
    return unit_rows(bank_h), bank_y, unit_rows(query_h), *rest


def knn_case(generator: torch.Generator, k: int, temperature: float):
    """A bank and queries that no rounding can tip, many of which a mistake labels otherwise; 70 % are right."""
    classes, dimensions, bank_size = 4, between(generator, 5, 7), between(generator, 55, 70)
    centres = normal(generator, classes, dimensions)
    bank_y = torch.randint(classes, (bank_size,), generator=generator)
    bank_y[:classes] = torch.arange(classes)

    def rows(labels: Tensor) -> Tensor:
        lengths = torch.rand(len(labels), 1, generator=generator, dtype=torch.float64) * 3 + 0.3
        return ((centres[labels] + 1.5 * normal(generator, len(labels), dimensions)) * lengths).float()

    bank_h, candidates = rows(bank_y), rows(torch.randint(classes, (1000,), generator=generator))
    predicted, lead = vote(bank_h, bank_y, candidates, k, temperature)
    variants = [
        predicted,
        vote(bank_h, bank_y, candidates, k, temperature, weight="one")[0],
        vote(bank_h, bank_y, candidates, k, temperature, weight="multiplied")[0],
        vote(bank_h, bank_y, candidates, k, 1.0)[0],
        vote(bank_h, bank_y, candidates, k, 0.1)[0],
        vote(bank_h, bank_y, candidates, 1, 0.1)[0],
        vote(bank_h, bank_y, candidates, k, temperature, similarity="dot")[0],
    ]
    chosen = (lead > 1e-3) & (torch.arange(1000) < 40)
    for index, first in enumerate(variants):
        for second in variants[:index]:
            differ = ((first != second) & (lead > 1e-3)).nonzero().flatten()
            chosen[differ[:6]] = True
    wrong = torch.rand(1000, generator=generator) < 0.3
    query_y = torch.where(wrong, torch.randint(classes, (1000,), generator=generator), predicted)
    return bank_h, bank_y, candidates[chosen], query_y[chosen], k, temperature


def accuracy_without_nearest(cases) -> Tensor:
    """What comes out when each query's nearest neighbour is taken for the query itself and dropped."""
    values = []
    for bank_h, bank_y, query_h, query_y, k, temperature in cases:
        right = 0
        for query, label in zip(query_h, query_y, strict=True):
            others = torch.arange(len(bank_h)) != (unit_rows(bank_h) @ query.double()).argmax()
            right += int(vote(bank_h[others], bank_y[others], query[None], k, temperature)[0].item() == label)
        values.append(right / len(query_h))
    return torch.tensor(values, dtype=torch.float64)


def defaults_of_knn(knn_accuracy, generator) -> None:
    """Left out, k is 20 and temperature 0.1; a bank without any query's class gives 0; nothing is changed in place."""
    bank_h, bank_y, query_h, query_y, _, _ = knn_case(generator, 20, 0.1)
    before = bank_h.clone(), query_h.clone()
    value = fraction(
        "knn_accuracy with k and temperature left out",
        call("knn_accuracy", knn_accuracy, bank_h, bank_y, query_h, query_y),
    )
    wanted = (vote(bank_h, bank_y, query_h, 20, 0.1)[0] == query_y).double().mean()
    expect_close(
        "knn_accuracy with k and temperature left out",
        value,
        wanted,
        tolerance=1e-6,
        hint="The defaults are k=20, temperature=0.1.",
    )
    what, rows = "knn_accuracy where no query is of the last of 12 classes and none at all of class 5", torch.eye(11)
    classes = torch.tensor([0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11])
    value = fraction(what, call(what, knn_accuracy, rows, classes, rows[:10], classes[:10], 11, 0.1))
    expect(
        value == 1, f"{what} gave {value:.3g}; 1 is wanted. The bank's largest label says how many classes there are."
    )
    unchanged = torch.equal(before[0], bank_h) and torch.equal(before[1], query_h)
    expect(unchanged, "knn_accuracy changed the representations it was given; work on a copy.")


def clusters(generator: torch.Generator, centres: Tensor, labels: Tensor) -> Tensor:
    """(M, D) float32: each row at its label's centre, off by a normal step of 0.3."""
    return (centres[labels] + 0.3 * normal(generator, len(labels), centres.shape[1])).float()


@check
def check_linear_probe(linear_probe, generator):
    """linear_probe(train_h, train_y, test_h, test_y) -> accuracy on test of a scaler and classifier fitted on train."""
    classes, dimensions = between(generator, 3, 5), between(generator, 7, 10)
    centres = 4 * torch.linalg.qr(normal(generator, dimensions, dimensions)).Q[:classes]  # (C, D), 5.6 apart
    train_y, test_y = torch.arange(24 * classes) % classes, torch.arange(60 * classes) % classes
    train_h, test_h = clusters(generator, centres, train_y), clusters(generator, centres, test_y)
    wrong = torch.arange(len(test_y)) < len(test_y) * 15 // 100
    partly = torch.where(wrong, (test_y + 1) % classes, test_y)  # the first 15 % of the test labels are wrong

    def probe(what: str, *data: Tensor) -> float:
        return fraction(what, call(what, linear_probe, *(part.clone() for part in data)))

    clean = probe("linear_probe on well separated clusters", train_h, train_y, test_h, test_y)
    note = "That is the fraction of wrong answers." if clean < 0.03 else "Is the classifier trained to the end?"
    expect(clean > 0.97, f"linear_probe on well separated clusters gave {clean:.3g}; 1 is wanted. {note}")
    shifted = probe("linear_probe", train_h, train_y, test_h, (test_y + 1) % classes)
    noisy = probe("linear_probe", train_h, train_y, test_h, partly)
    what = "linear_probe, where all test labels are wrong and where 15 % are,"
    right = 1 - wrong.double().mean().item()
    mistakes = {
        "that is the accuracy on train; measure on test.": [1, 1],
        "the classifier was fitted on test, and so has seen the answers: fit on train only.": [1, right],
        "the classifier was fitted on test and measured on train: the two are swapped.": [0, 1],
        "that is the fraction of wrong answers.": [1, 1 - right],
    }
    seen = torch.tensor([shifted, noisy])
    expect_close(what, seen, torch.tensor([0, right]), mistakes, tolerance=0.01, hint="Fit on train, measure on test.")

    # Class 1 is a ring around class 0.
    train_y, test_y = torch.arange(120) % 2, torch.arange(200) % 2
    train_h, test_h = (
        0.3 * normal(generator, len(y), 2) + 3 * y[:, None] * nn.functional.normalize(normal(generator, len(y), 2))
        for y in (train_y, test_y)
    )
    value = probe(
        "linear_probe where one class is a ring around the other", train_h.float(), train_y, test_h.float(), test_y
    )
    expect(
        value < 0.9,
        f"linear_probe where one class is a ring around the other gave {value:.3g}; no line can tell them apart, so "
        "about 0.5 is wanted. Is the classifier linear? LogisticRegression is.",
    )

    # Only class 1 in test, a fifth of it far out: a scaler of its own would move the rest across the border.
    train_y = torch.arange(60) % 2
    centres = 3 * torch.stack([-torch.ones(dimensions), torch.ones(dimensions)]).double()
    train_h, test_y = clusters(generator, centres, train_y), torch.ones(50, dtype=torch.int64)
    test_h = clusters(generator, centres, test_y)
    test_h[:10] *= 3
    value = probe("linear_probe where test holds one class of two", train_h, train_y, test_h, test_y)
    note = "The scaler was fitted on test too; it must take its mean and spread from train." if value < 0.4 else ""
    expect(
        value > 0.97, f"linear_probe where test holds one class of two gave {value:.3g}; 1 is wanted. {note}".rstrip()
    )

    # Nine to one in train, a test far out: a scaler fitted on both squashes train until only the large class is left.
    train_y = (torch.arange(80) % 10 == 0).long()
    train_h, test_y = clusters(generator, centres, train_y), torch.arange(60) % 2
    test_h = clusters(generator, centres, test_y)
    test_h[:30] *= 1e4
    value = probe("linear_probe with a test set far out", train_h, train_y, test_h, test_y)
    note = (
        "A scaler that saw test, alone or together with train, does that: fit it on train only. So does a small C: "
        "leave it at 1."
    )
    note = note if value < 0.9 else ""
    expect(value > 0.97, f"linear_probe with a test set far out gave {value:.3g}; 1 is wanted. {note}".rstrip())

    # The class stands in columns a million times smaller than the others.
    train_y, test_y = torch.arange(120) % 2, torch.arange(80) % 2
    size = torch.where(torch.arange(dimensions) < 2, 1e-4, 1e2)
    inform = torch.where(torch.arange(dimensions) < 2, 1.0, 0.0)
    train_h, test_h = ((clusters(generator, centres * inform, y) * size).float() for y in (train_y, test_y))
    value = probe("linear_probe where the class stands in the small columns", train_h, train_y, test_h, test_y)
    note = "Standardise every column by train's mean and spread first, in test as in train (scaler.transform)."
    expect(
        value > 0.95, f"linear_probe where the class stands in the small columns gave {value:.3g}; 1 is wanted. {note}"
    )
    lengths = 1 + 2 * (train_y % 2), 1 + 2 * (test_y % 2)
    long_h = [
        (clusters(generator, centres[1:], y * 0) * length[:, None]) for y, length in zip((train_y, test_y), lengths)
    ]
    value = probe("linear_probe where the class is the length of h", long_h[0], train_y, long_h[1], test_y)
    note = "Rows brought to length 1 lose it: standardise the columns, and leave the rows as they are."
    expect(value > 0.95, f"linear_probe where the class is the length of h gave {value:.3g}; 1 is wanted. {note}")
    train_h[:, -1], test_h[:, -1] = 0.5, 0.5  # a dead column, as a ReLU leaves them
    what = "linear_probe where a column of h is constant"
    value = number(what, call(what, linear_probe, train_h, train_y, test_h, test_y))
    expect(value > 0.95, f"{what} gave {value:.3g}; 1 is wanted. Its spread is 0: divide by 1 there instead.")

    # The class is the difference of two columns that vary far more together: the first step sees one of them alone.
    train_y, test_y = torch.arange(120) % 2, torch.arange(200) % 2
    train_h, test_h = (
        2.5 * normal(generator, len(y), 1) + torch.stack([3 * y, 0 * y], dim=1) + 0.3 * normal(generator, len(y), 2)
        for y in (train_y, test_y)
    )
    value = probe(
        "linear_probe where the class is a difference of columns", train_h.float(), train_y, test_h.float(), test_y
    )
    expect(
        value > 0.9,
        f"linear_probe where the class is a difference of two columns gave {value:.3g}; 1 is wanted. Train the "
        "classifier to the end, with LogisticRegression(max_iter=1000) for instance, and leave its C at 1.",
    )


@check
def check_alignment(alignment, generator):
    """alignment(z_a, z_b): mean squared distance of positives on the unit sphere."""
    for n, dimensions in ((between(generator, 5, 9), between(generator, 3, 4)), (1, 6), (33, 2)):
        z_a = normal(generator, n, dimensions).float() * 3
        z_b = z_a + normal(generator, n, dimensions).float()
        before = z_a.clone(), z_b.clone()
        what = f"alignment of {n} pairs in {dimensions} dimensions"
        value = number(what, call(what, alignment, z_a, z_b))
        difference = unit_rows(before[0]) - unit_rows(before[1])
        wanted = difference.square().sum(dim=1).mean()
        raw = (before[0] - before[1]).double()
        columns = unit_rows(before[0].T).T - unit_rows(before[1].T).T
        mistakes = {
            "the rows are not normalised: only directions count.": raw.square().sum(dim=1).mean(),
            "every row of z_a was compared with every row of z_b; only row i with row i is a pair.":
                torch.cdist(unit_rows(before[0]), unit_rows(before[1])).square().mean(),
            "the square is missing.": difference.norm(dim=1).mean(),
            "the rows are not normalised, and the square is missing.": raw.norm(dim=1).mean(),
            "the mean ran over the dimensions too; sum over them.": difference.square().mean(),
            "the mean ran over the dimensions too, and the rows are not normalised.": raw.square().mean(),
            "that is the sum over the pairs; the mean is wanted.": difference.square().sum(),
            "the columns were normalised, not the rows: normalise along dim=1.": columns.square().sum(dim=1).mean(),
            "that is the mean cosine; the squared distance is 2 - 2 · cosine.": 1 - wanted / 2,
            "that is half of it: the squared distance is 2 - 2 · cosine.": wanted / 2,
            "the sign is turned: a distance is not below 0.": -wanted,
            "the mean distance was squared; square first, then take the mean.": difference.norm(dim=1).mean().square(),
        }  # fmt: skip
        expect_close(what, value, wanted, mistakes)
        expect(
            torch.equal(before[0], z_a) and torch.equal(before[1], z_b), f"{what} changed its input; work on a copy."
        )


@check
def check_uniformity(uniformity, generator):
    """uniformity(z): log of the mean of exp(-2 · squared distance) over distinct pairs on the unit sphere."""
    for m, dimensions in ((between(generator, 5, 9), between(generator, 3, 4)), (2, 3), (33, 2)):
        z = normal(generator, m, dimensions).float() * 2 + 0.5
        before = z.clone()
        what = f"uniformity of {m} rows in {dimensions} dimensions"
        value = number(what, call(what, uniformity, z))
        first, second = torch.triu_indices(m, m, offset=1)
        unit, raw = unit_rows(before), before.double()
        distance = (unit[first] - unit[second]).norm(dim=1)  # (m (m - 1) / 2,)
        raw_distance, square = (raw[first] - raw[second]).norm(dim=1), distance.square()
        kernel = (-2 * square).exp()
        wanted = kernel.mean().log()
        columns = unit_rows(before.T).T
        mistakes = {
            "the log is missing.": kernel.mean(),
            "the sign is turned: it is the log itself, at most 0.": -wanted,
            "each row was paired with itself too; only distinct pairs count.": ((2 * kernel.sum() + m) / m**2).log(),
            "t is missing: the exponent is -2 · squared distance.": (-square).exp().mean().log(),
            "the square is missing: the exponent is -2 · squared distance.": (-2 * distance).exp().mean().log(),
            "the rows are not normalised: only directions count.": (-2 * raw_distance.square()).exp().mean().log(),
            "the minus in the exponent is missing.": (2 * square).exp().mean().log(),
            "that is the mean of the logs; take the mean of exp(...) first, then its log.": (-2 * square).mean(),
            "that is a sum over the pairs; the mean is wanted.": kernel.sum().log(),
            "that is a sum over the pairs, each counted twice; the mean is wanted.": (2 * kernel.sum()).log(),
            "the rows of a pair's two orders count, but the sum was divided by m²; there are m (m - 1) such pairs.":
                (2 * kernel.sum() / m**2).log(),
            "the mean ran over the dimensions too; sum over them.": (-2 * square / dimensions).exp().mean().log(),
            "the columns were normalised, not the rows: normalise along dim=1.":
                (-2 * (columns[first] - columns[second]).square().sum(dim=1)).exp().mean().log(),
            "the t was applied twice: the exponent is -2 · squared distance.": (-4 * square).exp().mean().log(),
            "that is the log to base 10; the natural log is wanted.": wanted / math.log(10),
            "that is the log to base 2; the natural log is wanted.": wanted / math.log(2),
        }  # fmt: skip
        expect_close(what, value, wanted, mistakes)
        expect(torch.equal(before, z), f"{what} changed its input; work on a copy.")
    same = torch.ones(6, 4)
    value = number("uniformity of equal rows", call("uniformity of equal rows", uniformity, same))
    expect(abs(value) < 1e-5, f"uniformity of equal rows gave {value:.5g}; 0 is wanted, the worst there is.")
