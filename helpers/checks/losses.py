"""Checks of notebook 04: cosine similarities, the index of the positive, NT-Xent twice, its chance level, SupCon.

The truth is `slow_loss`, one anchor at a time in float64. `loss_with` is the same loss with one or two known mistakes
put in; a wrong value that equals what a mistake gives is called by that mistake's name.
"""

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from helpers.checks.core import NotYet, as_double, call, check, close, expect, expect_close, expect_tensor, show

__all__ = [
    "check_cosine_similarities",
    "check_positive_index",
    "check_nt_xent_loop",
    "check_nt_xent",
    "check_chance_loss",
    "check_sup_con",
]

TORCH_ONLY = (
    "Keep to torch operations on z: .item(), float(), .detach(), torch.tensor(...), torch.no_grad() and NumPy cut the"
    " gradient off, and without a gradient nothing can be trained."
)
NO_GRADIENT = f"The value is right, but no gradient flows through it. {TORCH_ONLY}"


INFINITE = {  # by whether there are no labels
    True: "A logit of -inf is read as the positive's. Is the target the row itself, or is the positive masked as well?"
    " In [z_a; z_b] the positive of row i is row i + N.",
    False: "A log-probability of -inf is read: is the anchor among its own positives? Take it out of them.",
}
NEARLY = (
    "Is something added inside the logarithm, is the mask on the diagonal not low enough (-inf is), or is z rounded to"
    " float32 on the way?"
)


# The truth ---------------------------------------------------------------------------------------------------------


def slow_loss(z_a: Tensor, z_b: Tensor, temperature: float, labels: Tensor | None = None) -> Tensor:
    """NT-Xent (Chen et al. 2020, equation 1), or with labels SupCon (Khosla et al. 2020, equation 2), () float64."""
    n, z, losses = len(z_a), torch.cat([z_a, z_b]).double(), []
    kind = list(range(n)) if labels is None else labels.tolist()
    for i in range(2 * n):
        others = [k for k in range(2 * n) if k != i]
        positives = [place for place, k in enumerate(others) if kind[k % n] == kind[i % n]]
        lengths = z[others].square().sum(dim=1).sqrt() * z[i].square().sum().sqrt()  # (2N-1,)
        scores = z[others] @ z[i] / lengths / temperature  # (2N-1,)
        losses.append((scores.logsumexp(dim=0) - scores[positives]).mean())
    return torch.stack(losses).mean()


def slow_cosines(z: Tensor) -> Tensor:
    """(M, M) float64 cosines, row by row; 0 for a zero row."""
    z = z.double()
    lengths = z.square().sum(dim=1).sqrt()  # (M,)
    rows = [(z @ z[i]) / (lengths * lengths[i]).clamp(min=1e-300) for i in range(len(z))]
    return torch.stack(rows)


# The known mistakes ------------------------------------------------------------------------------------------------


def cosine(z: Tensor) -> Tensor:
    unit = F.normalize(z, dim=1)
    return unit @ unit.T


def loss_with(
    z_a,
    z_b,
    temperature,
    labels=None,
    *,
    similarity=cosine,
    upper=lambda t: t,
    lower=lambda t: t,
    itself="out",
    rivals="all",
    positives=None,
    average="out",
    anchors="both",
    reduce="mean",
    after=lambda loss, t: loss,
) -> Tensor:
    """NT-Xent or SupCon with mistakes in it; with none of the options, the right value, () float64.

    Args:
        upper, lower: what the numerator's and the denominator's similarities are divided by, given the temperature.
        itself: "out", "in", or a number: the similarity that stands on the diagonal; a function of the temperature too.
        rivals: what the denominator sums besides the positives: "all", "all but positives", "other view", "own view".
        positives: (n, labels) -> (2N, 2N) bool, which pairs count as positive.
        average: over an anchor's positives: "out", "in" (the logarithm last), "sum", "pooled", or another use of
            the probabilities: "no log", "log of mean", "softmax twice", "shared", "mean below".
    """
    n, z = len(z_a), torch.cat([z_a, z_b]).double()
    diagonal = torch.eye(2 * n, dtype=torch.bool)
    own_view = torch.arange(2 * n)[:, None] // n == torch.arange(2 * n) // n  # (2N, 2N)
    wanted = pairs_of(n, labels)
    chosen = (positives or pairs_of)(n, labels)  # (2N, 2N)
    cosines = similarity(z)  # (2N, 2N)
    itself = itself(temperature) if callable(itself) else itself
    below = cosines.masked_fill(diagonal, itself) if isinstance(itself, (int, float)) else cosines
    allowed = torch.ones_like(diagonal) if itself != "out" else ~diagonal
    allowed &= {
        "all": torch.ones_like(diagonal),
        "all but positives": ~wanted,
        "other view": ~own_view,
        "own view": own_view | wanted,
    }[rivals]
    masked = (below / lower(temperature)).masked_fill(~allowed, -math.inf)  # (2N, 2N)
    if average == "shared":
        total = masked.flatten().logsumexp(0)
    elif average == "mean below":
        total = masked.logsumexp(dim=1, keepdim=True) - allowed.sum(dim=1, keepdim=True).log()
    else:
        total = masked.logsumexp(dim=1, keepdim=True)
    log_p = cosines / upper(temperature) - total  # (2N, 2N)
    if average == "softmax twice":
        log_p = masked.softmax(dim=1).log_softmax(dim=1)
    rows = {"both": slice(None), "a": slice(0, n), "b": slice(n, None)}[anchors]
    log_p, chosen = log_p[rows], chosen[rows]
    count = chosen.sum(dim=1).clamp(min=1)
    each = -log_p.masked_fill(~chosen, 0).sum(dim=1) / count  # of the anchors, mean over positives
    probability = log_p.exp().masked_fill(~chosen, 0).sum(dim=1)
    if average == "in":
        each = -(probability / count).log()
    elif average == "in, sum":
        each = -probability.log()
    elif average == "sum":
        each = each * count
    elif average == "pooled":
        each = each * count * len(count) / count.sum()
    elif average == "no log":
        each = -probability / count
    elif average == "log of mean":
        each = -probability.mean().log().expand(len(count))
    loss = {"mean": each.mean(), "sum": each.sum(), "half": each.sum() / n, "double": each.sum() / (2 * n)}[reduce]
    return after(loss, temperature)


def pairs_of(n: int, labels: Tensor | None = None) -> Tensor:
    """(2N, 2N) bool: which pairs are positive."""
    kind = (torch.arange(n) if labels is None else labels).repeat(2)
    return (kind[:, None] == kind) & ~torch.eye(2 * n, dtype=torch.bool)


def at(columns) -> callable:
    """The positives as a function of n, from one column index an anchor."""
    return lambda n, labels: F.one_hot(torch.as_tensor(columns(n)), 2 * n).bool()


def one_sided(z: Tensor) -> Tensor:
    return F.normalize(z, dim=1) @ z.T


MISTAKES = [  # (what to say, options of loss_with)
    (
        "the rows are not normalised. Equation 1 takes the cosine: divide each row by its length first"
        " (F.normalize(z, dim=1)).",
        {"similarity": lambda z: z @ z.T},
    ),
    (
        "the columns are normalised, not the rows. Each row is one embedding: F.normalize(z, dim=1).",
        {"similarity": lambda z: F.normalize(z, dim=0) @ F.normalize(z, dim=0).T},
    ),
    (
        "the whole batch is divided by one length. Each row needs its own: F.normalize(z, dim=1).",
        {"similarity": lambda z: z @ z.T / z.square().sum()},
    ),
    ("only the anchor is normalised. Both rows of a cosine have length 1.", {"similarity": one_sided}),
    (
        "the similarities are absolute values, |cos|. Opposite directions are as far apart as can be: keep the sign.",
        {"similarity": lambda z: cosine(z).abs()},
    ),
    (
        "negative cosines are cut off at 0 (ReLU or clamp). Opposite directions are as far apart"
        " as can be: keep the sign.",
        {"similarity": lambda z: cosine(z).relu()},
    ),
    (
        "the cosines are squared. Opposite directions are as far apart as can be: keep the sign.",
        {"similarity": lambda z: cosine(z).square()},
    ),
    (
        "the cosine has the wrong sign, as a distance would have. Near pairs must score high.",
        {"similarity": lambda z: -cosine(z)},
    ),
    (
        "the similarities are (1 + cos) / 2; equation 1 takes the cosine itself.",
        {"similarity": lambda z: (1 + cosine(z)) / 2},
    ),
    (
        "self-similarity is left in: the denominator has the term k = i, e to the 1/temperature. An anchor never picks"
        " itself: leave i out of the sum, or put -inf on the diagonal.",
        {"itself": "in"},
    ),
    (
        "self-similarity is set to 0, and e to the 0 is 1, so the anchor still counts in the denominator. A logit of"
        " -inf has probability 0.",
        {"itself": 0},
    ),
    (
        "self-similarity is set to -1, and still counts in the denominator. A logit of -inf has probability 0.",
        {"itself": -1},
    ),
    ("the temperature is ignored. Divide every similarity by it.", {"upper": lambda t: 1, "lower": lambda t: 1}),
    (
        "similarities are multiplied by the temperature. Divide by it.",
        {"upper": lambda t: 1 / t, "lower": lambda t: 1 / t},
    ),
    (
        "the temperature is squared, or applied twice. Divide by it once.",
        {"upper": lambda t: t * t, "lower": lambda t: t * t},
    ),
    (
        "similarities are divided by the square root of the temperature. Divide by the temperature itself.",
        {"upper": lambda t: t**0.5, "lower": lambda t: t**0.5},
    ),
    (
        "similarities are divided by half the temperature, as the squared distance of unit"
        " vectors would do. Take the cosine.",
        {"upper": lambda t: t / 2, "lower": lambda t: t / 2},
    ),
    *(
        (
            f"the temperature is {fixed} whatever is passed in. Use the argument.",
            {"upper": lambda t, fixed=fixed: fixed, "lower": lambda t, fixed=fixed: fixed},
        )
        for fixed in (0.5, 0.1, 0.07, 0.2)
    ),
    ("only the numerator is divided by the temperature. Divide every similarity by it.", {"lower": lambda t: 1}),
    ("only the denominator is divided by the temperature. Divide every similarity by it.", {"upper": lambda t: 1}),
    (
        "the loss is divided by the temperature, where every similarity should be.",
        {"upper": lambda t: 1, "lower": lambda t: 1, "after": lambda loss, t: loss / t},
    ),
    (
        "the loss is multiplied by the temperature as well. Divide the similarities by it, and nothing else.",
        {"after": lambda loss, t: loss * t},
    ),
    (
        "the positive is missing from the denominator. The sum runs over all k but i: the positive and the negatives.",
        {"rivals": "all but positives"},
    ),
    (
        "negatives come from the other view only. All 2N - 1 other rows of the batch stand in the denominator.",
        {"rivals": "other view"},
    ),
    (
        "negatives come from the anchor's own view only. All 2N - 1 other rows of the batch stand in the denominator.",
        {"rivals": "own view"},
    ),
    ("only N anchors are counted, the rows of z_a. Each of the 2N rows is an anchor once.", {"anchors": "a"}),
    ("only N anchors are counted, the rows of z_b. Each of the 2N rows is an anchor once.", {"anchors": "b"}),
    (
        "only N anchors are counted, yet their sum is divided by 2N. Each of the 2N rows is an anchor once.",
        {"anchors": "a", "reduce": "double"},
    ),
    (
        "two things at once. First, only N anchors are counted, the rows of z_a; each of the 2N rows is an anchor once."
        " Second, negatives come from the other view only; all 2N - 1 other rows stand in the denominator.",
        {"anchors": "a", "rivals": "other view"},
    ),
    ("it is the sum over the anchors. Take their mean: divide by 2N.", {"reduce": "sum"}),
    ("the sum over the 2N anchors is divided by N. Divide by 2N.", {"reduce": "half"}),
    ("the minus sign is missing: a loss is small when the positive wins.", {"after": lambda loss, t: -loss}),
    (
        "the logarithm has base 2. Equation 1 has the natural one, torch.log.",
        {"after": lambda loss, t: loss / math.log(2)},
    ),
    (
        "the logarithm has base 10. Equation 1 has the natural one, torch.log.",
        {"after": lambda loss, t: loss / math.log(10)},
    ),
    ("the logarithm is missing.", {"average": "no log"}),
    ("the logarithm comes after the mean. Take each anchor's logarithm, then the mean.", {"average": "log of mean"}),
    (
        "softmax is applied twice. F.cross_entropy and log_softmax want the logits themselves.",
        {"average": "softmax twice"},
    ),
    ("all anchors share one denominator. Each anchor has its own sum, over its own row.", {"average": "shared"}),
    ("the denominator is a mean. Equation 1 has the sum over the 2N - 1 other rows.", {"average": "mean below"}),
]
PAIRING = [
    (
        "the pairing is wrong: it takes rows 2i and 2i + 1 for a pair. In [z_a; z_b] the"
        " positive of row i is row i + N,"
        " and of row i + N is row i.",
        {"positives": at(lambda n: torch.arange(2 * n) ^ 1)},
    ),
    (
        "the pairing is wrong: the positive is off by one row. In [z_a; z_b] the positive of row i is row i + N.",
        {"positives": at(lambda n: (torch.arange(2 * n) + n + 1) % (2 * n))},
    ),
    (
        "the pairing is wrong: the positive is off by one row. In [z_a; z_b] the positive of row i is row i + N.",
        {"positives": at(lambda n: (torch.arange(2 * n) + n - 1) % (2 * n))},
    ),
    (
        "the pairing is wrong: it takes the next row for the positive. In [z_a; z_b] that is row i + N.",
        {"positives": at(lambda n: (torch.arange(2 * n) + 1) % (2 * n))},
    ),
    (
        "the pairing is wrong: it runs backwards. In [z_a; z_b] the positive of row i is row i + N.",
        {"positives": at(lambda n: torch.arange(2 * n).flip(0))},
    ),
    (
        "the pairing is wrong: it takes the anchor for its own positive. In [z_a; z_b] that is row i + N.",
        {"positives": at(lambda n: torch.arange(2 * n)), "itself": "in"},
    ),
    (
        "the pairing is wrong: the target is column 0 for every anchor. In [z_a; z_b] the"
        " positive of row i is row i + N.",
        {"positives": at(lambda n: torch.zeros(2 * n, dtype=torch.int64)), "itself": "in"},
    ),
    (
        "the pairing is wrong: the target is column 0 for every anchor. In [z_a; z_b] the"
        " positive of row i is row i + N.",
        {"positives": at(lambda n: torch.zeros(2 * n, dtype=torch.int64))},
    ),
]
LABELLING = [
    (
        "the labels are ignored: it is NT-Xent, with the second view as the only positive. Every other row of the same"
        " class is a positive.",
        {"positives": lambda n, labels: pairs_of(n)},
    ),
    (
        "the anchor's own second view is not among its positives. It has the same label.",
        {"positives": lambda n, labels: pairs_of(n, labels) & ~pairs_of(n)},
    ),
    (
        "the anchor is among its own positives. Take it out of them.",
        {"positives": lambda n, labels: pairs_of(n, labels) | torch.eye(2 * n, dtype=torch.bool)},
    ),
    (
        "the anchor is among its own positives, and in the denominator. Take it out of both.",
        {"positives": lambda n, labels: pairs_of(n, labels) | torch.eye(2 * n, dtype=torch.bool), "itself": "in"},
    ),
    (
        "positives are looked for in the other view only. Rows of the same class in the anchor's own view count too.",
        {
            "positives": lambda n, labels: (
                pairs_of(n, labels) & (torch.arange(2 * n)[:, None] // n != torch.arange(2 * n) // n)
            )
        },
    ),
    (
        "the labels are lined up with the wrong rows: each is repeated twice in a row. In [z_a; z_b] the labels stand"
        " once after the other, labels.repeat(2).",
        {"positives": lambda n, labels: interleaved(labels)},
    ),
    (
        "the positives are those of another class. Positives share the anchor's label.",
        {"positives": lambda n, labels: ~pairs_of(n, labels) & ~torch.eye(2 * n, dtype=torch.bool)},
    ),
    (
        "the logarithm is taken of the positives' mean probability (L_in, equation 3). In L_out each positive has its"
        " own logarithm, and the mean comes after.",
        {"average": "in"},
    ),
    (
        "the logarithm is taken of the positives' summed probability. In L_out each positive has its own logarithm, and"
        " the mean comes after.",
        {"average": "in, sum"},
    ),
    (
        "the division by the number of positives is missing: each anchor takes the mean over its own positives.",
        {"average": "sum"},
    ),
    (
        "it is one mean over all positive pairs, so big classes weigh more. Take the mean over each anchor's positives"
        " first, then over the anchors.",
        {"average": "pooled"},
    ),
    (
        "the loss is multiplied by temperature / 0.07 as well, as one published code does."
        " Equation 2 has no such factor.",
        {"after": lambda loss, t: loss * t / 0.07},
    ),
]


def interleaved(labels: Tensor) -> Tensor:
    twice = labels.repeat_interleave(2)
    return (twice[:, None] == twice) & ~torch.eye(len(twice), dtype=torch.bool)


def name_mistake(value: Tensor, wanted: Tensor, arguments: tuple, mistakes: list) -> str | None:
    """The sentence of the mistake that gives this value; None where none does."""
    for sentence, options in mistakes:
        wrong = as_double(loss_with(*arguments, **options))
        if close(value, wrong, 1e-7) and not close(wrong, wanted, 1e-4):
            return sentence
    return None


def two_of(mistakes: list) -> list:
    """Every two mistakes that can be made together."""
    return [
        (f"two things at once. First, {a} Second, {b}", x | y)
        for (a, x), (b, y) in itertools.combinations(mistakes, 2)
        if not x.keys() & y.keys()
    ]


NOT_LOW_ENOUGH = [  # as MISTAKES, but right at high temperatures
    (
        f"{low} stands on the diagonal of the logits, which is not low enough to leave the anchor out at a small"
        " temperature. Put -inf there.",
        {"itself": lambda t, low=low: low * t},
    )
    for low in (-8, -10, -20, -50, -100)
]


# What all loss checks share ----------------------------------------------------------------------------------------


def draw(generator: torch.Generator, n: int, labelled: bool, dtype=torch.float64) -> tuple:
    """(z_a, z_b, labels or None): rows of lengths 0.3 to 3 times normal, D from 6 to 9 and never N."""
    d = 6 + int(torch.randint(4, (), generator=generator))
    d += d == n
    rows = torch.randn(2 * n, d, generator=generator, dtype=torch.float64)
    rows = rows * (0.3 + 2.7 * torch.rand(2 * n, 1, generator=generator, dtype=torch.float64))
    labels = None
    if labelled:  # one class of three images, one of one, the rest by chance; names of classes that do not count from 0
        kinds = torch.randperm(20, generator=generator)[:4]
        labels = kinds[
            torch.cat([torch.tensor([0, 0, 1, 0]), torch.randint(4, (max(n - 4, 0),), generator=generator)])[:n]
        ]
        labels = labels[torch.randperm(n, generator=generator)]
    return rows[:n].to(dtype), rows[n:].to(dtype), labels


def ask(name: str, answer, z_a: Tensor, z_b: Tensor, labels: Tensor | None, temperature: float) -> Tensor:
    """The answer's loss, which is a () tensor of z's dtype."""
    what = describe(name, z_a, labels, temperature)
    arguments = (z_a, z_b, temperature) if labels is None else (z_a, z_b, labels, temperature)
    value = call(what, answer, *arguments)
    expect(isinstance(value, Tensor), f"{what} gave a {type(value).__name__}; a torch tensor is wanted. {TORCH_ONLY}")
    n = len(z_a)
    if n > 1 and tuple(value.shape) in ((2 * n,), (n,), (2 * n, 1)):
        raise NotYet(
            f"{what} has shape {tuple(value.shape)}, one loss an anchor; one number, shape (), is wanted: their mean."
        )
    expect_tensor(what, value, ())
    expect(
        value.dtype == z_a.dtype,
        f"{what} has dtype {value.dtype}, though z has {z_a.dtype}. Keep z's dtype: no .float(), no torch.zeros"
        " without dtype=, and no torch.tensor(...) of plain numbers, which cuts the gradient off as well.",
    )
    return value


def describe(name: str, z_a: Tensor, labels: Tensor | None, temperature: float) -> str:
    given = "z_a, z_b" if labels is None else "z_a, z_b, labels"
    return f"{name}({given}, {temperature:.3g}) with N = {len(z_a)}, D = {z_a.shape[1]}"


def fault(name: str, answer, views: tuple, temperature: float, mistakes: list) -> tuple[str, bool] | None:
    """What is wrong with the value on these views and whether the mistake has a name; None where all is well."""
    z_a, z_b, labels = views
    try:
        value = as_double(ask(name, answer, z_a.clone(), z_b.clone(), labels, temperature))
    except NotYet as problem:
        return str(problem), False
    wanted = slow_loss(z_a, z_b, temperature, labels)
    if close(value, wanted, 1e-6):
        return None
    said = f"{describe(name, z_a, labels, temperature)} gave {show(value)}, not {show(wanted)}"
    if value.isnan():
        return f"{said}. NaN comes from 0 · inf or inf - inf: is a logit of -inf multiplied by a mask of zeros?", False
    sentence = name_mistake(value, wanted, (z_a, z_b, temperature, labels), mistakes)
    if sentence:
        return f"{said}: {sentence}", True
    if value == math.inf:
        return f"{said}. {INFINITE[labels is None]}", True
    if close(value, wanted, 1e-3):
        return f"{describe(name, z_a, labels, temperature)} is off by {(value - wanted).abs():.1g} only. {NEARLY}", True
    return f"{said}.", False


def expect_values(name: str, answer, generator, mistakes: list, temperatures: dict[int, tuple], labelled: bool) -> None:
    """The right value in float64 at every N and temperature, first at N = 5 and a temperature that nobody guesses."""
    first = 0.3 + 0.15 * torch.rand((), generator=generator).item()
    views = draw(generator, 5, labelled)
    found = fault(name, answer, views, first, mistakes)
    if found and not found[1]:  # no known mistake, or an exception: right for other sizes, other labels? two mistakes?
        sizes = (2, 3, 4, 6, 8, 10, 16, 32, 64, 128)
        fits = [n for n in sizes if not fault(name, answer, draw(generator, n, labelled), first, [])]
        if fits:
            raise NotYet(f"{name} is right for N = {fits[0]}, but: {found[0]} Is a size hard-coded? Use len(z_a).")
        if labelled and not fault(name, answer, (*views[:2], torch.arange(5)), first, []):
            raise NotYet(
                f"{found[0]} Where every label differs it is right, so look at the other positives of a class:"
                " each is a positive, and each stays in the denominator."
            )
        found = fault(name, answer, views, first, two_of(mistakes))
    if found:
        raise NotYet(found[0])
    drawn = 6 + int(torch.randint(20, (), generator=generator))
    temperatures = temperatures | {drawn: (0.5,)}
    for n, tau in [(n, tau) for n, taus in temperatures.items() for tau in taus]:
        found = fault(name, answer, draw(generator, n, labelled), tau, NOT_LOW_ENOUGH + mistakes)
        if found is None:
            continue
        if n == 5 and not found[1]:
            raise NotYet(
                f"{found[0]} At temperature {first:.3g} it was right. Is something added inside the logarithm, or"
                " does an exponential overflow or vanish? torch.logsumexp and F.cross_entropy do neither."
            )
        if not found[1] and fault(name, answer, one_against_all(views), tau, []):
            raise NotYet(
                f"{found[0]} At this temperature N = 5 goes wrong as well, and at {first:.3g} it was right: the temperature"
                " is what differs. Is the diagonal low enough? -inf is."
            )
        if not found[1]:
            raise NotYet(
                f"{found[0]} For N = 5 it was right. Is a size hard-coded (use len(z_a)), or does"
                f" squeeze() drop an axis at N = 1?"
            )
        raise NotYet(found[0])


def one_against_all(views: tuple) -> tuple:
    """Views as many as these: the first row is opposite to all others, so its own logit shows if it is left in."""
    z_a, z_b = (-z[:1].abs().expand(len(z), -1).clone() for z in (views[0], views[0]))
    z_a[0] *= -1
    return z_a, z_b, views[2]


def expect_untouched(name: str, answer, generator, labelled: bool) -> None:
    z_a, z_b, labels = draw(generator, 5, labelled)
    given = z_a.clone(), z_b.clone()
    ask(name, answer, *given, labels, 0.5)
    expect(
        bool((given[0] == z_a).all() and (given[1] == z_b).all()),
        f"{name} changed z_a or z_b in place. Make new tensors: no operations that end in _, no z /= ...",
    )


def expect_equal_rows(name: str, answer) -> None:
    """Other rows that are equal to the anchor, as a positive without augmentation is, stay in."""
    z = torch.eye(4, dtype=torch.float64)[:3]
    value = ask(name, answer, z.clone(), z.clone(), None, 0.5)
    hint = "Is the anchor told from the others by its numbers? Leave it out by its place, k = i."
    expect_close(f"{name} of views that are equal", value, slow_loss(z, z, 0.5), tolerance=1e-6, hint=hint)


def expect_low_diagonal(name: str, answer) -> None:
    """Where the positive is the only other row and as far away as can be, the anchor's own logit shows, if it is in."""
    z = torch.tensor([[0.6, 0.8]], dtype=torch.float64)
    value = ask(name, answer, z.clone(), -z, None, 0.01)
    wrong = {said: loss_with(z, -z, 0.01, **options) for said, options in NOT_LOW_ENOUGH}
    hint = "Is the diagonal low enough? -inf is."
    expect_close(f"{name}(z, -z, 0.01) with N = 1", value, slow_loss(z, -z, 0.01), wrong, 1e-6, hint)


def expect_float32(name: str, answer, generator, labelled: bool) -> None:
    z_a, z_b, labels = draw(generator, 5, labelled, torch.float32)
    value = ask(name, answer, z_a, z_b, labels, 0.5)
    expect_close(
        f"{describe(name, z_a, labels, 0.5)} in float32", value, slow_loss(z_a, z_b, 0.5, labels), tolerance=1e-4
    )


def expect_gradient(name: str, answer, generator, labelled: bool) -> None:
    """The gradient for z_a and z_b is the slow loss's own, and where a known piece of it is lost, that is told."""
    for n, tau in ((5, 0.3), (3, 0.1), (2, 5.0), (1, 0.5)):
        z_a, z_b, labels = draw(generator, n, labelled)
        what = f"The gradient of {describe(name, z_a, labels, tau)}"
        ours = gradient_of(what, lambda a, b: ask(name, answer, a, b, labels, tau), z_a, z_b)
        wanted = torch.cat(gradient(lambda a, b: slow_loss(a, b, tau, labels), z_a, z_b))
        scale = wanted.abs().max().clamp(min=1e-3)  # at N = 1 there is nothing to pick from, and no gradient
        expect(bool(ours.isfinite().all()), f"{what} has NaN or infinite entries.")
        if close(ours / scale, wanted / scale, 1e-5):
            continue
        for sentence, piece in LOST:
            lost = torch.cat(gradient(lambda a, b: loss_without(a, b, tau, labels, piece), z_a, z_b))
            if close(ours / scale, lost / scale, 1e-5):
                raise NotYet(f"The value is right, but the gradient is not: {sentence}")
        raise NotYet(
            f"The value is right, but {what[0].lower()}{what[1:]} is not: its largest entry is {ours.abs().max():.4g},"
            f" {wanted.abs().max():.4g} is wanted. Is a part of z detached, or rebuilt from plain numbers?"
        )


LOST = [
    (
        "no gradient comes from the denominator. Did .item(), .detach() or torch.tensor([...])"
        " rebuild its similarities?"
        " Build the sum from tensors (torch.stack keeps the gradient).",
        "denominator",
    ),
    ("no gradient comes from the numerator. Build the positive's similarity from tensors.", "numerator"),
    ("the rows' lengths are detached. The gradient must pass through the normalisation too.", "length"),
    (
        "each anchor's gradient stops at the other rows (they are detached). Both rows of a cosine get a gradient.",
        "keys",
    ),
    ("each anchor is detached. Both rows of a cosine get a gradient.", "anchors"),
    ("z_b gets no gradient: it is detached.", "z_b"),
    ("z_a gets no gradient: it is detached.", "z_a"),
]


def loss_without(z_a: Tensor, z_b: Tensor, temperature: float, labels: Tensor | None, piece: str) -> Tensor:
    """The right value, with one piece of the gradient lost."""
    z_a, z_b = z_a.detach() if piece == "z_a" else z_a, z_b.detach() if piece == "z_b" else z_b
    z = torch.cat([z_a, z_b])
    lengths = z.norm(dim=1, keepdim=True)
    unit = z / (lengths.detach() if piece == "length" else lengths)
    left, right = unit.detach() if piece == "anchors" else unit, unit.detach() if piece == "keys" else unit
    logits = left @ right.T / temperature
    positive = pairs_of(len(z_a), labels)
    above = (logits * positive).sum(dim=1) / positive.sum(dim=1)
    below = logits.masked_fill(torch.eye(len(z), dtype=torch.bool), -math.inf).logsumexp(dim=1)
    below, above = (
        below.detach() if piece == "denominator" else below,
        above.detach() if piece == "numerator" else above,
    )
    return (below - above).mean()


def gradient(loss, z_a: Tensor, z_b: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient of loss(z_a, z_b) for both, zeros where none arrives."""
    leaves = [z.detach().clone().requires_grad_() for z in (z_a, z_b)]
    got = torch.autograd.grad(loss(*leaves), leaves, allow_unused=True)
    return tuple(torch.zeros_like(leaf) if g is None else g for g, leaf in zip(got, leaves, strict=True))


def gradient_of(what: str, loss, z_a: Tensor, z_b: Tensor) -> Tensor:
    """The answer's own gradient, (2N, D), and in words what keeps it from having one."""
    leaves = [z.detach().clone().requires_grad_() for z in (z_a, z_b)]
    try:
        with torch.enable_grad():
            value = loss(*leaves)
    except NotYet as problem:
        expect("numpy()" not in str(problem), NO_GRADIENT)
        expect("leaf" not in str(problem), f"{what} cannot be had: {problem} Do not change z in place.")
        raise
    expect(value.requires_grad, NO_GRADIENT)
    try:
        got = torch.autograd.grad(value, leaves, allow_unused=True)
    except RuntimeError as problem:
        raise NotYet(f"{what} cannot be had: {' '.join(str(problem).split())[:160]}") from None
    for missing, g in zip(("z_a", "z_b"), got, strict=True):
        other = "z_b" if missing == "z_a" else "z_a"
        if g is None and not all(h is None for h in got):
            raise NotYet(
                f"The value is right, but {missing} gets no gradient, only {other} does. Is {missing} detached?"
            )
    expect(any(g is not None for g in got), NO_GRADIENT)
    return torch.cat(got)


def expect_stable(name: str, answer, generator, labelled: bool) -> None:
    """Finite and right in float32 at temperature 0.01, for identical and for opposite views; so is the gradient."""
    tau = 0.01
    for sign, kind in ((1, "identical"), (-1, "opposite")):
        z_a, _, labels = draw(generator, 5, labelled, torch.float32)
        z_b = sign * z_a
        what = f"{describe(name, z_a, labels, tau)}, {kind} views, float32,"
        value = ask(name, answer, z_a.clone(), z_b.clone(), labels, tau)
        wanted = slow_loss(z_a, z_b, tau, labels)
        mend = (
            "an exponential overflows or vanishes: e to the 1/0.01 is 2.7e43, and float32 ends at 3.4e38."
            " torch.logsumexp or F.cross_entropy on the logits never forms it."
        )
        expect(bool(value.isfinite()), f"{what} gave {show(as_double(value))}, not {show(wanted)}: {mend}")
        expect(
            close(as_double(value), wanted, 1e-3), f"{what} gave {show(as_double(value))}, not {show(wanted)}: {mend}"
        )
        slope = gradient_of(f"The gradient of {what}", lambda a, b: ask(name, answer, a, b, labels, tau), z_a, z_b)
        expect(bool(slope.isfinite().all()), f"The gradient of {what} has NaN or infinite entries: {mend}")


def expect_invariant(name: str, answer, generator, labelled: bool) -> None:
    z_a, z_b, labels = draw(generator, 5, labelled)
    order = torch.randperm(5, generator=generator)
    longer = 0.2 + 5 * torch.rand(5, 1, generator=generator, dtype=torch.float64)
    before = ask(name, answer, z_a, z_b, labels, 0.5)
    for sentence, a, b, y in (
        ("the views are swapped", z_b, z_a, labels),
        ("the pairs are put in another order", z_a[order], z_b[order], labels if labels is None else labels[order]),
        ("rows are made longer or shorter (a cosine has no length)", z_a * longer, z_b / longer, labels),
    ):
        after = ask(name, answer, a.clone(), b.clone(), y, 0.5)
        said = f"{name} changes from {before.item():.5g} to {after.item():.5g} when {sentence}; it should stay."
        expect(close(as_double(after), as_double(before), 1e-5), said)


class LargestTensor(TorchDispatchMode):
    """Remembers the largest tensor made while it is on, views that take no memory left aside."""

    def __init__(self):
        super().__init__()
        self.elements, self.shape = 0, ()

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        result = function(*arguments, **(named or {}))
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, Tensor):
                elements = min(tensor.numel(), tensor.untyped_storage().nbytes() // tensor.element_size())
                if elements > self.elements:
                    self.elements, self.shape = elements, tuple(tensor.shape)
        return result


def expect_small(name: str, answer, generator, labelled: bool) -> None:
    """No tensor of 2N · 2N · D entries on the way; loops are welcome."""
    n, d = 12, 16
    z_a, z_b = torch.randn(2, n, d, generator=generator)
    labels = torch.arange(n) % 4 if labelled else None
    try:
        with LargestTensor() as largest:
            ask(name, answer, z_a, z_b, labels, 0.5)
    except Exception:  # an answer that cannot run while watched is not held against it
        return
    expect(
        largest.elements < 4 * n * n * d,
        f"{name} is right, but makes a tensor of shape {largest.shape} for N = {n}, D = {d}: one"
        f" entry for every pair of"
        f" rows and dimension, {4 * 512 * 512 * 128 * 4 / 2**20:.0f} MB at N = 512, D = 128. All"
        f" cosines are one matrix product, z @ z.T.",
    )


def expect_any_device(name: str, answer, labelled: bool) -> None:
    """Tensors made on the way follow z's device. Tried on the meta device, and any doubt settled on a pretended GPU."""
    if not mixes_devices(answer, "meta", labelled):
        return
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        mixed = mixes_devices(answer, "cuda", labelled)
    expect(
        not mixed,
        f"{name} puts a tensor on the CPU whatever the device of z, so it would not run on a GPU."
        f" Pass device=z.device to"
        " torch.eye, torch.arange and the like, put .to(z.device) behind my.positive_index(n), and leave out .cpu().",
    )


def mixes_devices(answer, device: str, labelled: bool) -> bool:
    """Whether the answer, given z on this device without values, brings in the CPU."""
    try:
        z = torch.empty(5, 7, device=device)
        value = answer(z, z, *([torch.arange(len(z), device=z.device)] if labelled else []), 0.5)
    except Exception as problem:  # others, such as a look at the values, say nothing about devices
        text = str(problem)
        return device == "meta" or "device" in text.lower() and "cpu" in text and "cuda" in text
    return value.device != z.device


# The checks --------------------------------------------------------------------------------------------------------


def rows(m: int, d: int, generator: torch.Generator) -> Tensor:
    """(m, d) float64 of lengths 0.5 to 3: none so short that 1e-6 added to it would show."""
    lengths = 0.5 + 2.5 * torch.rand(m, 1, generator=generator, dtype=torch.float64)
    return lengths * F.normalize(torch.randn(m, d, generator=generator, dtype=torch.float64), dim=1)


def name_addition(what: str, value: Tensor, z: Tensor) -> None:
    """NotYet where these are cosines for lengths to which a number is added; it is read off the diagonal."""
    length, itself = z.norm(dim=1, keepdim=True), value.diagonal()[:, None]  # (M, 1) each
    product = length * length.T
    more = (length * (itself.rsqrt() - 1)).median()
    more_squared = (length.square() * (1 / itself - 1)).median()
    for number, name, divisor in (
        (more, "length", (length + more) * (length + more).T),
        (more_squared, "product of two lengths", product + more_squared),
        (more_squared, "squared length", ((length**2 + more_squared) * (length**2 + more_squared).T).sqrt()),
    ):
        expect(
            not close(value, slow_cosines(z) * product / divisor, 1e-7),
            f"{what} is off by up to {(value - slow_cosines(z)).abs().max():.1g}: {number:.1g} is added to every {name}."
            " Keep only lengths near 0 away from it, as clamp(min=1e-8) and F.normalize do.",
        )


@check
def check_cosine_similarities(cosine_similarities, generator):
    mistakes = {
        "the rows are not normalised. Divide each by its length first (F.normalize(z, dim=1)).": lambda z: z @ z.T,
        "the columns are normalised, not the rows. Each row is one embedding: F.normalize(z, dim=1).": lambda z: (
            F.normalize(z, dim=0) @ F.normalize(z, dim=0).T
        ),
        "the whole matrix is divided by one length. Each row needs its own: F.normalize(z, dim=1).": lambda z: (
            z @ z.T / z.square().sum()
        ),
        "only one of the two rows is normalised. Both have length 1 in a cosine.": one_sided,
        "only one of the two rows is normalised, too. Both have length 1 in a cosine.": lambda z: one_sided(z).T,
        "rows are divided by their squared length. Divide by the length: its square root is missing.": lambda z: (
            z @ z.T / (z.square().sum(1)[:, None] * z.square().sum(1))
        ),
        "rows are divided by the sum of their absolute entries. The length is the square root of"
        " the sum of squares (p=2).": lambda z: F.normalize(z, p=1, dim=1) @ F.normalize(z, p=1, dim=1).T,
        "the absolute value is taken, |cos|. Keep the sign: opposite directions give -1.": lambda z: cosine(z).abs(),
        "negative cosines are cut off at 0 (ReLU or clamp). Keep the sign: opposite directions give -1.": lambda z: (
            cosine(z).relu()
        ),
        "it is 1 - cos, a distance. The similarity is cos itself.": lambda z: 1 - cosine(z),
        "it is -cos. The similarity is cos itself.": lambda z: -cosine(z),
        "it is (1 + cos) / 2. The similarity is cos itself.": lambda z: (1 + cosine(z)) / 2,
        "it is the square of the cosine. Keep the sign: opposite directions give -1.": lambda z: cosine(z).square(),
        "the diagonal is set to 0. A row's cosine with itself is 1; leaving the anchor out is a"
        " matter for the loss.": lambda z: cosine(z).fill_diagonal_(0),
        "the diagonal is set to -inf. A row's cosine with itself is 1; leaving the anchor out is"
        " a matter for the loss.": lambda z: cosine(z).fill_diagonal_(-math.inf),
        "it is the angle, in radians. The similarity is its cosine.": lambda z: cosine(z).clamp(-1, 1).acos(),
        "the mean of the rows is taken away first (that is correlation). A cosine takes the rows"
        " as they are.": lambda z: cosine(z - z.mean(dim=1, keepdim=True)),
        "the mean of the batch is taken away first. A cosine takes the rows as they are.": lambda z: cosine(
            z - z.mean(dim=0)
        ),
    }
    drawn = 11 + int(torch.randint(40, (), generator=generator))
    for m, d in ((10, 7), (4, 9), (66, 5), (2, 3), (1, 4), (drawn, 6)):
        z = rows(m, d, generator)
        given, what = z.clone(), f"cosine_similarities(z) of z with shape {(m, d)}"
        value = call(what, cosine_similarities, given)
        hint = "Every row with every row, themselves included: z @ z.T of the normalised rows."
        expect(
            not (isinstance(value, Tensor) and m != d and tuple(value.shape) == (d, d)),
            f"{what} has shape {(d, d)}: it compares columns. Rows are the embeddings: z @ z.T, not z.T @ z.",
        )
        expect_tensor(what, value, (m, m))
        expect(value.dtype == z.dtype, f"{what} has dtype {value.dtype}, though z has {z.dtype}. Keep z's dtype.")
        if m > 1 and not close(as_double(value), slow_cosines(z), 1e-5):
            name_addition(what, as_double(value), z)
        expect_close(what, value, slow_cosines(z), {said: wrong(z) for said, wrong in mistakes.items()}, 1e-5, hint)
        expect(
            bool((given == z).all()),
            "cosine_similarities changed z in place. Make a new tensor: no z /= ..., no operations that end in _.",
        )

    z = rows(6, 5, generator).float()
    value = call("cosine_similarities(z) of a float32 z", cosine_similarities, z)
    expect_tensor("cosine_similarities(z) of a float32 z", value, (6, 6), torch.float32)
    expect_close("cosine_similarities(z) of a float32 z", value, slow_cosines(z))

    z, weight = rows(6, 5, generator), torch.randn(6, 6, generator=generator, dtype=torch.float64)
    lengths = z.norm(dim=1, keepdim=True)
    slopes = [
        torch.cat(gradient(lambda a, b, of=of: (of(torch.cat([a, b])) * weight).sum(), z[:3], z[3:]))
        for of in (slow_cosines, lambda z: (z / lengths) @ (z / lengths).T)
    ]
    ours = gradient_of(
        "The gradient of cosine_similarities(z)",
        lambda a, b: (call("cosine_similarities(z)", cosine_similarities, torch.cat([a, b])) * weight).sum(),
        z[:3],
        z[3:],
    )
    detached = {"the rows' lengths are detached. The gradient must pass through the normalisation too.": slopes[1]}
    expect_close(
        "The value is right, but the gradient of cosine_similarities(z)",
        ours,
        slopes[0],
        detached,
        1e-4,  # 1e-6 added to a length shows a little in the gradient
        "Is a part of z detached?",
    )

    for dtype in (torch.float32, torch.float64):
        z = torch.randn(6, 5, generator=generator).to(dtype)
        z[2] = 0
        value = call("cosine_similarities(z) with a row of zeros", cosine_similarities, z)
        expect(
            bool(torch.as_tensor(value).isfinite().all()),
            "cosine_similarities(z) is not finite where a row of z is all zeros: 0 / 0. Keep the length away from 0,"
            " as F.normalize does with its eps.",
        )


@check
def check_positive_index(positive_index, generator):
    sizes = (5, 2, 1, 33, 6 + int(torch.randint(20, (), generator=generator)))
    for n in sizes:
        what, rows = f"positive_index({n})", torch.arange(2 * n)
        value = call(what, positive_index, n)
        wanted = torch.tensor([i + n if i < n else i - n for i in range(2 * n)])
        if isinstance(value, Tensor) and tuple(value.shape) == (n,) and n > 1:
            raise NotYet(
                f"{what} has shape ({n},), for the rows of z_a only; each of the 2N = {2 * n}"
                f" rows is an anchor: ({2 * n},)."
            )
        if isinstance(value, Tensor) and tuple(value.shape) == (2 * n, 2 * n):
            raise NotYet(
                f"{what} has shape {tuple(value.shape)}, a mask; the column numbers are wanted, shape ({2 * n},)."
            )
        if n != 5 and (not isinstance(value, Tensor) or tuple(value.shape) != (2 * n,)):
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise NotYet(
                f"{what} has shape {shape}, not ({2 * n},), though positive_index(5) was right."
                f" Is a size hard-coded? Use n."
            )
        expect_tensor(what, value, (2 * n,))
        expect(
            value.dtype == torch.int64,
            f"{what} has dtype {value.dtype}; int64 is wanted, as F.cross_entropy takes for its targets.",
        )
        mistakes = {
            "that is the pairing (2i, 2i + 1). In [z_a; z_b] all of z_a comes first: row i pairs with row i + N.": rows
            ^ 1,
            "an anchor is not its own positive. In [z_a; z_b] row i pairs with row i + N.": rows,
            "rows count from 0 in torch; these count from 1.": wanted + 1,
            "it runs past the end. The positive of row i + N is row i: wrap around.": rows + n,
            "that runs backwards. Row i pairs with row i + N.": rows.flip(0),
            "that is the next row. Row i pairs with row i + N.": rows.roll(-1),
            "that is the row before. Row i pairs with row i + N.": rows.roll(1),
            "off by one row: row i pairs with row i + N.": rows.roll(n - 1),
            "off by one row, too: row i pairs with row i + N.": rows.roll(n + 1),
            "both halves point to the same rows. The positive of row i + N is row i, in the first half.": rows % n + n,
            "both halves point to z_a. The positive of row i is row i + N, in the second half.": rows % n,
        }
        named = next((s for s, wrong in mistakes.items() if torch.equal(value, wrong)), "row i pairs with row i + N.")
        expect(torch.equal(value, wanted), f"{what} gave {value.tolist()}, not {wanted.tolist()}: {named}")


@check
def check_nt_xent_loop(nt_xent_loop, generator):
    taus = {5: (0.05, 0.5, 5.0), 2: (0.5,), 1: (0.5,), 33: (0.5,)}  # in float64 even e to the 1/0.05 has room
    expect_values("nt_xent_loop", nt_xent_loop, generator, MISTAKES + PAIRING, taus, labelled=False)
    expect_untouched("nt_xent_loop", nt_xent_loop, generator, labelled=False)
    expect_float32("nt_xent_loop", nt_xent_loop, generator, labelled=False)
    expect_gradient("nt_xent_loop", nt_xent_loop, generator, labelled=False)
    expect_invariant("nt_xent_loop", nt_xent_loop, generator, labelled=False)
    expect_equal_rows("nt_xent_loop", nt_xent_loop)


@check
def check_nt_xent(nt_xent, generator):
    every = (0.5, 5.0, 0.05, 0.01)
    expect_values(
        "nt_xent",
        nt_xent,
        generator,
        MISTAKES + PAIRING,
        {5: every, 2: every, 1: every, 33: (0.5, 0.01)},
        labelled=False,
    )
    expect_untouched("nt_xent", nt_xent, generator, labelled=False)
    z_a, z_b, _ = draw(generator, 5, labelled=False)
    what = "nt_xent(z_a, z_b) without a temperature"
    value, wanted = call(what, nt_xent, z_a.clone(), z_b.clone()), slow_loss(z_a, z_b, 0.5)
    others = {
        f"that is temperature {tau}; 0.5 is to be the default.": slow_loss(z_a, z_b, tau)
        for tau in (0.05, 0.07, 0.1, 0.2, 1.0)
    }
    expect_close(what, value, wanted, others, 1e-6, "The default temperature is 0.5.")
    expect_low_diagonal("nt_xent", nt_xent)
    expect_equal_rows("nt_xent", nt_xent)
    expect_float32("nt_xent", nt_xent, generator, labelled=False)
    expect_gradient("nt_xent", nt_xent, generator, labelled=False)
    expect_stable("nt_xent", nt_xent, generator, labelled=False)
    expect_invariant("nt_xent", nt_xent, generator, labelled=False)
    expect_small("nt_xent", nt_xent, generator, labelled=False)
    expect_any_device("nt_xent", nt_xent, labelled=False)


@check
def check_chance_loss(chance_loss, generator):
    for n in (5, 2, 1, 512, 33, 40 + int(torch.randint(400, (), generator=generator))):
        what, wanted = f"chance_loss({n})", math.log(2 * n - 1)
        value = call(what, chance_loss, n)
        number = isinstance(value, (int, float)) or getattr(value, "shape", None) == ()
        expect(
            number and not isinstance(value, bool),
            f"{what} gave {value!r} of type {type(value).__name__}; one number is wanted.",
        )
        wrong = {
            "that is log(2N): the anchor itself is no candidate, so 2N - 1 remain.": math.log(2 * n),
            "that is log(N): the batch has 2N rows, and 2N - 1 of them are candidates.": math.log(n),
            "that is log(2N - 2), the negatives only. The positive is a candidate too.": math.log(max(2 * n - 2, 1e-9)),
            "that is log(N - 1). The batch has 2N rows, and 2N - 1 of them are candidates.": math.log(max(n - 1, 1e-9)),
            "that is log(2N + 1). An anchor is no candidate of its own: 2N - 1 remain.": math.log(2 * n + 1),
            "the logarithm is missing.": 2 * n - 1,
            "that is the chance to be right, 1 / (2N - 1). The loss is minus its logarithm.": 1 / (2 * n - 1),
            "the sign is wrong: the loss is minus the logarithm of a probability.": -wanted,
            "the logarithm has base 2. The loss counts in natural ones, math.log.": math.log2(2 * n - 1),
            "the logarithm has base 10. The loss counts in natural ones, math.log.": math.log10(2 * n - 1),
        }
        expect_close(
            what, float(value), wanted, wrong, 1e-6, f"How many candidates does each anchor have when N = {n}?"
        )


@check
def check_sup_con(sup_con, generator):
    every = (0.5, 5.0, 0.05, 0.01)
    mistakes = LABELLING + MISTAKES
    expect_values(
        "sup_con", sup_con, generator, mistakes, {5: every, 2: (0.5, 0.05), 1: (0.5,), 33: (0.5, 0.01)}, labelled=True
    )
    for labels, case in (
        (torch.arange(5), "every label differs (it must equal NT-Xent)"),
        (torch.full((5,), 3), "all labels are the same"),
    ):
        found = fault("sup_con", sup_con, (*draw(generator, 5, False)[:2], labels), 0.5, mistakes)
        expect(found is None, f"Where {case}: {found and found[0]}")
    expect_untouched("sup_con", sup_con, generator, labelled=True)
    expect_float32("sup_con", sup_con, generator, labelled=True)
    expect_gradient("sup_con", sup_con, generator, labelled=True)
    expect_stable("sup_con", sup_con, generator, labelled=True)
    expect_invariant("sup_con", sup_con, generator, labelled=True)
    expect_small("sup_con", sup_con, generator, labelled=True)
    expect_any_device("sup_con", sup_con, labelled=True)
