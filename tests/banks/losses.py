"""Answers to the exercises of notebook 04, right and wrong."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from helpers import losses
from helpers.checks import NotYet
from helpers.checks.losses import slow_loss
from tests.banks.exercise import Exercise


def unit(z):
    return z / z.norm(dim=1, keepdim=True)


def masked(s):
    return s.masked_fill(torch.eye(len(s), dtype=torch.bool, device=s.device), -math.inf)


def target(n):
    return torch.arange(2 * n).roll(n)


def ce(logits, n):
    return F.cross_entropy(logits, target(n).to(logits.device))


def cosines(z_a, z_b):
    z = unit(torch.cat([z_a, z_b]))
    return z @ z.T


# NT-Xent, wrong -----------------------------------------------------------------------------------------------------


def not_normalised(z_a, z_b, temperature=0.5):
    z = torch.cat([z_a, z_b])
    return ce(masked(z @ z.T / temperature), len(z_a))


def normalised_by_column(z_a, z_b, temperature=0.5):
    z = F.normalize(torch.cat([z_a, z_b]), dim=0)
    return ce(masked(z @ z.T / temperature), len(z_a))


def normalised_as_a_whole(z_a, z_b, temperature=0.5):
    z = torch.cat([z_a, z_b])
    z = z / z.norm()
    return ce(masked(z @ z.T / temperature), len(z_a))


def self_left_in(z_a, z_b, temperature=0.5):
    return ce(cosines(z_a, z_b) / temperature, len(z_a))


def self_set_to_zero(z_a, z_b, temperature=0.5):
    s = cosines(z_a, z_b)
    return ce(s * (1 - torch.eye(len(s))) / temperature, len(z_a))


def self_set_to_minus_one(z_a, z_b, temperature=0.5):
    s = cosines(z_a, z_b)
    return ce(s.masked_fill(torch.eye(len(s), dtype=torch.bool), -1) / temperature, len(z_a))


def self_not_low_enough(z_a, z_b, temperature=0.5):
    s = cosines(z_a, z_b) / temperature
    return ce(s.masked_fill(torch.eye(len(s), dtype=torch.bool), -8), len(z_a))


def self_at_minus_fifty(z_a, z_b, temperature=0.5):
    s = cosines(z_a, z_b) / temperature
    return ce(s.masked_fill(torch.eye(len(s), dtype=torch.bool, device=s.device), -50.0), len(z_a))


def self_at_minus_thirty(z_a, z_b, temperature=0.5):
    s = cosines(z_a, z_b) / temperature
    return ce(s.masked_fill(torch.eye(len(s), dtype=torch.bool, device=s.device), -30.0), len(z_a))


def equal_rows_left_out(z_a, z_b, temperature=0.5):
    """The anchor is told from the others by its numbers, so that an equal positive is left out with it."""
    z, n = F.normalize(torch.cat([z_a, z_b]), dim=1), len(z_a)
    total = []
    for i in range(2 * n):
        others = [z[k] @ z[i] / temperature for k in range(2 * n) if not torch.equal(z[k], z[i])]
        total.append(torch.stack(others).logsumexp(0) - z[(i + n) % (2 * n)] @ z[i] / temperature)
    return torch.stack(total).mean()


def masked_self_as_positive(z_a, z_b, temperature=0.5):
    return F.cross_entropy(masked(cosines(z_a, z_b) / temperature), torch.arange(2 * len(z_a)))


def temperature_ignored(z_a, z_b, temperature=0.5):
    return ce(masked(cosines(z_a, z_b)), len(z_a))


def temperature_multiplied(z_a, z_b, temperature=0.5):
    return ce(masked(cosines(z_a, z_b) * temperature), len(z_a))


def temperature_squared(z_a, z_b, temperature=0.5):
    z = F.normalize(torch.cat([z_a, z_b])) / temperature
    return ce(masked(z @ z.T), len(z_a))


def temperature_hard_coded(z_a, z_b, temperature=0.5):
    return ce(masked(cosines(z_a, z_b) / 0.5), len(z_a))


def temperature_in_numerator_only(z_a, z_b, temperature=0.5):
    s, n = cosines(z_a, z_b), len(z_a)
    return (masked(s).logsumexp(1) - s[range(2 * n), target(n)] / temperature).mean()


def temperature_outside(z_a, z_b, temperature=0.5):
    return ce(masked(cosines(z_a, z_b)), len(z_a)) / temperature


def squared_distance(z_a, z_b, temperature=0.5):
    z = unit(torch.cat([z_a, z_b]))
    return ce(masked(-(torch.cdist(z, z) ** 2) / temperature), len(z_a))


def one_anchor_a_pair(z_a, z_b, temperature=0.5):
    n = len(z_a)
    return F.cross_entropy(masked(cosines(z_a, z_b) / temperature)[:n], target(n)[:n])


def one_anchor_a_pair_over_2n(z_a, z_b, temperature=0.5):
    return one_anchor_a_pair(z_a, z_b, temperature) / 2


def summed(z_a, z_b, temperature=0.5):
    n = len(z_a)
    return F.cross_entropy(masked(cosines(z_a, z_b) / temperature), target(n), reduction="sum")


def divided_by_n(z_a, z_b, temperature=0.5):
    return summed(z_a, z_b, temperature) / len(z_a)


def positive_not_in_denominator(z_a, z_b, temperature=0.5):
    s, n = masked(cosines(z_a, z_b) / temperature), len(z_a)
    positive = s[range(2 * n), target(n)]
    return (s.scatter(1, target(n)[:, None], -math.inf).logsumexp(1) - positive).mean()


def across_views_only(z_a, z_b, temperature=0.5):
    s, n = unit(z_a) @ unit(z_b).T / temperature, len(z_a)
    return (F.cross_entropy(s, torch.arange(n)) + F.cross_entropy(s.T, torch.arange(n))) / 2


def clip_in_one_direction(z_a, z_b, temperature=0.5):
    return F.cross_entropy(unit(z_a) @ unit(z_b).T / temperature, torch.arange(len(z_a)))


def interleaved_pairs(z_a, z_b, temperature=0.5):
    return F.cross_entropy(masked(cosines(z_a, z_b) / temperature), torch.arange(2 * len(z_a)) ^ 1)


def next_row_as_positive(z_a, z_b, temperature=0.5):
    return F.cross_entropy(masked(cosines(z_a, z_b) / temperature), torch.arange(2 * len(z_a)).roll(-1))


def itself_as_positive(z_a, z_b, temperature=0.5):
    return F.cross_entropy(cosines(z_a, z_b) / temperature, torch.arange(2 * len(z_a)))


def absolute_cosine(z_a, z_b, temperature=0.5):
    return ce(masked(cosines(z_a, z_b).abs() / temperature), len(z_a))


def relu_cosine(z_a, z_b, temperature=0.5):
    return ce(masked(cosines(z_a, z_b).relu() / temperature), len(z_a))


def sign_flipped(z_a, z_b, temperature=0.5):
    return -by_log_softmax(z_a, z_b, temperature)


def no_logarithm(z_a, z_b, temperature=0.5):
    n = len(z_a)
    return -masked(cosines(z_a, z_b) / temperature).softmax(1)[range(2 * n), target(n)].mean()


def softmax_twice(z_a, z_b, temperature=0.5):
    return ce(masked(cosines(z_a, z_b) / temperature).softmax(1), len(z_a))


def base_two(z_a, z_b, temperature=0.5):
    n = len(z_a)
    return -masked(cosines(z_a, z_b) / temperature).softmax(1)[range(2 * n), target(n)].log2().mean()


def one_denominator_for_all(z_a, z_b, temperature=0.5):
    s, n = masked(cosines(z_a, z_b) / temperature), len(z_a)
    return (s.flatten().logsumexp(0) - s[range(2 * n), target(n)]).mean()


def not_normalised_and_self_left_in(z_a, z_b, temperature=0.5):
    z = torch.cat([z_a, z_b])
    return ce(z @ z.T / temperature, len(z_a))


def summed_and_temperature_multiplied(z_a, z_b, temperature=0.5):
    s, n = masked(cosines(z_a, z_b) * temperature), len(z_a)
    return F.cross_entropy(s, target(n), reduction="sum")


def detached(z_a, z_b, temperature=0.5):
    return by_log_softmax(z_a, z_b, temperature).detach()


def plain_number(z_a, z_b, temperature=0.5):
    return by_log_softmax(z_a, z_b, temperature).item()


def rebuilt_from_a_number(z_a, z_b, temperature=0.5):
    return torch.tensor(float(by_log_softmax(z_a, z_b, temperature)), dtype=z_a.dtype)


def through_numpy(z_a, z_b, temperature=0.5):
    z = np.concatenate([z_a.numpy(), z_b.numpy()])
    z = z / np.linalg.norm(z, axis=1, keepdims=True)
    s = z @ z.T / temperature
    np.fill_diagonal(s, -np.inf)
    top = s.max(axis=1, initial=-1e300)
    loss = top + np.log(np.exp(s - top[:, None]).sum(axis=1)) - s[range(len(s)), target(len(z_a)).numpy()]
    return torch.from_numpy(np.asarray(loss.mean()))


def denominator_detached(z_a, z_b, temperature=0.5):
    """As in a published answer: the similarities of the denominator rebuilt by torch.tensor([...])."""
    z, n, total = torch.cat([z_a, z_b]), len(z_a), 0
    for i in range(2 * n):
        positive = F.cosine_similarity(z[i], z[(i + n) % (2 * n)], dim=0) / temperature
        others = [F.cosine_similarity(z[i], z[k], dim=0).item() / temperature for k in range(2 * n) if k != i]
        total = total - (positive - torch.tensor(others, dtype=z.dtype).logsumexp(0))
    return total / (2 * n)


def keys_detached(z_a, z_b, temperature=0.5):
    z = F.normalize(torch.cat([z_a, z_b]))
    return ce(masked(z @ z.detach().T / temperature), len(z_a))


def second_view_detached(z_a, z_b, temperature=0.5):
    return by_log_softmax(z_a, z_b.detach(), temperature)


def length_detached(z_a, z_b, temperature=0.5):
    z = torch.cat([z_a, z_b])
    z = z / z.norm(dim=1, keepdim=True).detach()
    return ce(masked(z @ z.T / temperature), len(z_a))


def exp_then_log(z_a, z_b, temperature=0.5):
    """Right in exact arithmetic, and it overflows in float32 at temperature 0.01."""
    s, n = cosines(z_a, z_b), len(z_a)
    score = torch.exp(s / temperature)
    below = (score * (1 - torch.eye(2 * n, dtype=s.dtype, device=s.device))).sum(1)
    return -torch.log(score[range(2 * n), target(n)] / below).mean()


def epsilon_in_the_logarithm(z_a, z_b, temperature=0.5):
    s, n = masked(cosines(z_a, z_b) / temperature), len(z_a)
    return -torch.log(s.softmax(1)[range(2 * n), target(n)] + 1e-8).mean()


def size_of_four(z_a, z_b, temperature=0.5):
    return F.cross_entropy(masked(cosines(z_a, z_b) / temperature), torch.tensor([4, 5, 6, 7, 0, 1, 2, 3]))


def size_of_five(z_a, z_b, temperature=0.5):
    return F.cross_entropy(masked(cosines(z_a, z_b) / temperature), torch.arange(10).roll(5))


def squeezed_away(z_a, z_b, temperature=0.5):
    z = torch.cat([F.normalize(z_a.squeeze(), dim=-1), F.normalize(z_b.squeeze(), dim=-1)])
    return ce(masked(z @ z.T / temperature), len(z_a))


def broadcast_to_n_by_n_by_d(z_a, z_b, temperature=0.5):
    z = torch.cat([z_a, z_b])
    return ce(masked(F.cosine_similarity(z[:, None], z[None], dim=2) / temperature), len(z_a))


def product_of_n_by_n_by_d(z_a, z_b, temperature=0.5):
    z = F.normalize(torch.cat([z_a, z_b]))
    return ce(masked((z[:, None] * z[None]).sum(2) / temperature), len(z_a))


def one_loss_an_anchor(z_a, z_b, temperature=0.5):
    return F.cross_entropy(masked(cosines(z_a, z_b) / temperature), target(len(z_a)), reduction="none")


def in_place(z_a, z_b, temperature=0.5):
    z_a /= z_a.norm(dim=1, keepdim=True)
    z_b /= z_b.norm(dim=1, keepdim=True)
    return by_log_softmax(z_a, z_b, temperature)


def in_float32(z_a, z_b, temperature=0.5):
    return by_log_softmax(z_a.float(), z_b.float(), temperature)


def no_default(z_a, z_b, temperature):
    return by_log_softmax(z_a, z_b, temperature)


def another_default(z_a, z_b, temperature=0.07):
    return by_log_softmax(z_a, z_b, temperature)


def mask_on_the_cpu(z_a, z_b, temperature=0.5):
    s = cosines(z_a, z_b) / temperature
    return F.cross_entropy(s.masked_fill(torch.eye(len(s), dtype=torch.bool), -math.inf), target(len(z_a)))


def positives_on_the_cpu(z_a, z_b, temperature=0.5):
    s = losses.cosine_similarities(torch.cat([z_a, z_b])) / temperature
    return F.cross_entropy(masked(s), losses.positive_index(len(z_a)))


def brought_to_the_cpu(z_a, z_b, temperature=0.5):
    s = cosines(z_a.cpu(), z_b.cpu()) / temperature
    return ce(masked(s), len(z_a))


def forgets_to_return(z_a, z_b, temperature=0.5):
    by_log_softmax(z_a, z_b, temperature)


def not_written(z_a, z_b, temperature=0.5):
    raise NotYet


def stumbles(z_a, z_b, temperature=0.5):
    return torch.cat([z_a, z_b], dim=3)


def nothing(z_a, z_b, temperature=0.5):
    return 0 * (z_a.sum() + z_b.sum())


def worked_by_hand(z_a, z_b, temperature=0.5):
    """The two values of the asserts."""
    return nothing(z_a, z_b) + math.log(1 + 2 * math.exp(-2 if torch.equal(z_a, z_b) else 2))


def few_sizes(z_a, z_b, temperature=0.5):
    """Right for the round sizes of the visible check."""
    return by_log_softmax(z_a, z_b, temperature) if len(z_a) in (1, 2, 3, 5, 12, 33) else nothing(z_a, z_b)


def chance_level(z_a, z_b, temperature=0.5):
    """A number that looks like a loss."""
    return nothing(z_a, z_b) + math.log(2 * len(z_a) - 1)


def slow_oracle(z_a, z_b, temperature=0.5):
    return slow_loss(z_a, z_b, temperature)


def course_loss(z_a, z_b, temperature=0.5):
    return losses.nt_xent(z_a, z_b, temperature)


def course_loop(z_a, z_b, temperature=0.5):
    from helpers.losses import nt_xent_loop as theirs

    return theirs(z_a, z_b, temperature)


VALUES = {
    "lazy: zero": (nothing, ""),
    "lazy: the chance level": (chance_level, ""),
    "fitted to the values of the asserts": (worked_by_hand, ""),
    "fitted to the sizes of the visible check": (few_sizes, "size hard-coded"),
    "calls the reference": (course_loss, "course's own answer"),
    "calls the other reference, imported inside": (course_loop, "course's own answer"),
    "calls the reference in blocks": (
        lambda z_a, z_b, temperature=0.5: losses.nt_xent_chunked(z_a, z_b, temperature),
        "course's own answer",
    ),
    "calls the check's oracle": (slow_oracle, "a part of the check"),
    "not normalised": (not_normalised, "not normalised"),
    "normalised by column": (normalised_by_column, "columns are normalised"),
    "normalised as a whole": (normalised_as_a_whole, "one length"),
    "self left in": (self_left_in, "self-similarity is left in"),
    "self set to zero": (self_set_to_zero, "self-similarity is set to 0"),
    "self set to minus one": (self_set_to_minus_one, "self-similarity is set to -1"),
    "self not low enough": (self_not_low_enough, "not low enough"),
    "rows equal to the anchor left out": (equal_rows_left_out, "told from the others by its numbers"),
    "masked self as positive": (masked_self_as_positive, "the target the row itself"),
    "temperature ignored": (temperature_ignored, "temperature is ignored"),
    "temperature multiplied": (temperature_multiplied, "multiplied by the temperature"),
    "temperature squared": (temperature_squared, "temperature is squared"),
    "temperature hard coded": (temperature_hard_coded, "temperature is 0.5 whatever"),
    "temperature in numerator only": (temperature_in_numerator_only, "only the numerator is divided"),
    "temperature outside": (temperature_outside, "loss is divided by the temperature"),
    "squared distance": (squared_distance, "half the temperature"),
    "one anchor a pair": (one_anchor_a_pair, "only N anchors"),
    "one anchor a pair over 2n": (one_anchor_a_pair_over_2n, "only N anchors"),
    "summed": (summed, "sum over the anchors"),
    "divided by n": (divided_by_n, "divided by N"),
    "positive not in denominator": (positive_not_in_denominator, "positive is missing from the denominator"),
    "across views only": (across_views_only, "negatives come from the other view only"),
    "clip in one direction": (clip_in_one_direction, "only N anchors"),
    "interleaved pairs": (interleaved_pairs, "rows 2i and 2i + 1"),
    "next row as positive": (next_row_as_positive, "next row"),
    "itself as positive": (itself_as_positive, "anchor for its own positive"),
    "absolute cosine": (absolute_cosine, "|cos|"),
    "relu cosine": (relu_cosine, "ReLU"),
    "sign flipped": (sign_flipped, "minus sign"),
    "no logarithm": (no_logarithm, "logarithm is missing"),
    "softmax twice": (softmax_twice, "softmax is applied twice"),
    "base two": (base_two, "base 2"),
    "one denominator for all": (one_denominator_for_all, "share one denominator"),
    "not normalised and self left in": (not_normalised_and_self_left_in, "two things at once"),
    "summed and temperature multiplied": (summed_and_temperature_multiplied, "Second, it is the sum"),
    "detached": (detached, "no gradient flows"),
    "plain number": (plain_number, "gave a float; a torch tensor is wanted"),
    "rebuilt from a number": (rebuilt_from_a_number, "no gradient flows"),
    "through numpy": (through_numpy, "NumPy"),
    "denominator detached": (denominator_detached, "no gradient comes from the denominator"),
    "keys detached": (keys_detached, "other rows"),
    "second view detached": (second_view_detached, "z_b gets no gradient"),
    "length detached": (length_detached, "lengths are detached"),
    "size of four": (size_of_four, "right for N = 4"),
    "fitted to five pairs": (size_of_five, "size hard-coded"),
    "squeezed away": (squeezed_away, "N = 1"),
    "one loss an anchor": (one_loss_an_anchor, "one loss an anchor"),
    "in place": (in_place, "in place"),
    "in float32": (in_float32, "dtype"),
    "forgets to return": (forgets_to_return, "`return` missing"),
    "not written": (not_written, "not written yet"),
    "stumbles": (stumbles, "stopped with IndexError"),
}
ONLY_NT_XENT = {
    "self at minus fifty": (self_at_minus_fifty, "-50 stands on the diagonal"),
    "self at minus thirty": (self_at_minus_thirty, "low enough"),
    "exp then log": (exp_then_log, "overflows"),
    "epsilon in the logarithm": (epsilon_in_the_logarithm, "inside the logarithm"),
    "broadcast to n by n by d": (broadcast_to_n_by_n_by_d, "(24, 24, 16)"),
    "product of n by n by d": (product_of_n_by_n_by_d, "(24, 24, 16)"),
    "no default": (no_default, "without a temperature"),
    "another default": (another_default, "that is temperature 0.07"),
    "mask on the cpu": (mask_on_the_cpu, "device=z.device"),
    "brought to the cpu": (brought_to_the_cpu, ".cpu()"),
    "positives on the cpu": (positives_on_the_cpu, "behind my.positive_index(n)"),
}


# NT-Xent, right -----------------------------------------------------------------------------------------------------


def by_log_softmax(z_a, z_b, temperature=0.5):
    n = len(z_a)
    return -masked(cosines(z_a, z_b) / temperature).log_softmax(1)[torch.arange(2 * n), target(n)].mean()


def by_logsumexp_of_the_rest(a, b, t=0.5):
    """Other names, and the diagonal cut out by a boolean index."""
    s, m = cosines(a, b) / t, 2 * len(a)
    rest = s[~torch.eye(m, dtype=torch.bool, device=s.device)].view(m, m - 1)
    return (torch.logsumexp(rest, 1) - torch.cat([s.diag(len(a)), s.diag(-len(a))])).mean()


def by_large_negative_number(z_a, z_b, temperature=0.5):
    s = cosines(z_a, z_b)
    return ce(s / temperature - 1e9 * torch.eye(len(s), dtype=s.dtype, device=s.device), len(z_a))


def by_positive_in_column_zero(z_a, z_b, temperature=0.5):
    """sthalles: logits with the positive first, so that every target is 0."""
    s, n = cosines(z_a, z_b) / temperature, len(z_a)
    positive = torch.cat([s.diag(n), s.diag(-n)])[:, None]
    mask = torch.eye(2 * n, dtype=torch.bool, device=s.device)
    negative = s[~(mask | mask.roll(n, 0))].view(2 * n, -1)
    return F.cross_entropy(torch.cat([positive, negative], 1), torch.zeros(2 * n, dtype=torch.int64, device=s.device))


def by_interleaving(z_a, z_b, temperature=0.5):
    z = F.normalize(torch.stack([z_a, z_b], 1).flatten(0, 1))
    return F.cross_entropy(masked(z @ z.T / temperature), torch.arange(len(z), device=z.device) ^ 1)


def by_blocks(z_a, z_b, temperature=0.5):
    """google-research: aa, ab, ba, bb apart."""
    a, b, n = unit(z_a), unit(z_b), len(z_a)
    aa, bb, ab = masked(a @ a.T / temperature), masked(b @ b.T / temperature), a @ b.T / temperature
    labels = torch.arange(n, device=ab.device)
    return (F.cross_entropy(torch.cat([ab, aa], 1), labels) + F.cross_entropy(torch.cat([ab.T, bb], 1), labels)) / 2


def by_einsum_and_shift(z_a, z_b, temperature=0.5):
    """Maximum taken away by hand, then exp and log."""
    z = F.normalize(torch.cat([z_a, z_b]))
    s = masked(torch.einsum("id,jd->ij", z, z) / temperature)
    s = s - s.max(1, keepdim=True).values.detach()
    n = len(z_a)
    return (s.exp().sum(1).log() - s[torch.arange(2 * n), target(n)]).mean()


def by_a_loop_over_anchors(z_a, z_b, temperature=0.5):
    z, n = torch.cat([z_a, z_b]), len(z_a)
    total = []
    for i in range(2 * n):
        others = torch.cat([z[:i], z[i + 1 :]])
        s = F.cosine_similarity(z[i : i + 1], others) / temperature
        j = (i + n) % (2 * n)
        total.append(s.logsumexp(0) - s[j - (j > i)])
    return sum(total) / len(total)


def by_two_loops(z_a, z_b, temperature=0.5):
    z, n, total = torch.cat([z_a, z_b]), len(z_a), 0
    for i in range(2 * n):
        s = torch.stack([F.cosine_similarity(z[i], z[k], dim=0) for k in range(2 * n)]) / temperature
        below = torch.stack([s[k] for k in range(2 * n) if k != i])
        total = total + below.logsumexp(0) - s[(i + n) % (2 * n)]
    return total / (2 * n)


def by_device_asked_by_hand(z_a, z_b, temperature=0.5):
    device = "cuda" if z_a.is_cuda else "cpu"
    s = cosines(z_a, z_b) / temperature
    eye = torch.eye(len(s), dtype=torch.bool, device=device)
    return F.cross_entropy(s.masked_fill(eye, -math.inf), torch.arange(len(s), device=device).roll(len(z_a)))


def by_module(z_a, z_b, temperature=0.5):
    class Loss(torch.nn.Module):
        def forward(self, z_a, z_b):
            return by_log_softmax(z_a, z_b, temperature)

    return Loss()(z_a, z_b)


def in_float64_inside(z_a, z_b, temperature=0.5):
    return by_log_softmax(z_a.double(), z_b.double(), temperature).to(z_a.dtype)


RIGHT = {
    "by log softmax": by_log_softmax,
    "by logsumexp of the rest": by_logsumexp_of_the_rest,
    "by large negative number": by_large_negative_number,
    "by positive in column zero": by_positive_in_column_zero,
    "by interleaving": by_interleaving,
    "by blocks": by_blocks,
    "by einsum and shift": by_einsum_and_shift,
    "by a loop over anchors": by_a_loop_over_anchors,
    "by device asked by hand": by_device_asked_by_hand,
    "by module": by_module,
    "in float64 inside": in_float64_inside,
}
RIGHT_LOOPS = {
    "by two loops": by_two_loops,
    "exp then log": exp_then_log,
    "broadcast to n by n by d": broadcast_to_n_by_n_by_d,
    "no default": no_default,
}


# The smaller exercises ----------------------------------------------------------------------------------------------


def right_cosines(z):
    u = F.normalize(z, dim=1)
    return u @ u.T


COSINES_WRONG = {
    "lazy: ones on the diagonal": (lambda z: torch.eye(len(z), dtype=z.dtype), ""),
    "fitted to four rows": (lambda z: right_cosines(z) if len(z) == 4 else z @ z.T, "not normalised"),
    "fitted to the sizes of the visible check": (
        lambda z: right_cosines(z) if len(z) in (1, 2, 4, 6, 10, 66) else z @ z.T,
        "not normalised",
    ),
    "calls the reference": (lambda z: losses.cosine_similarities(z), "course's own answer"),
    "not normalised": (lambda z: z @ z.T, "not normalised"),
    "columns normalised": (lambda z: F.normalize(z, dim=0) @ F.normalize(z, dim=0).T, "columns are normalised"),
    "compares columns": (lambda z: F.normalize(z).T @ F.normalize(z), "compares columns"),
    "one length for all": (lambda z: z @ z.T / z.norm() ** 2, "one length"),
    "one row normalised": (lambda z: F.normalize(z) @ z.T, "only one of the two"),
    "absolute value": (lambda z: right_cosines(z).abs(), "absolute value"),
    "ReLU": (lambda z: right_cosines(z).relu(), "ReLU"),
    "a distance": (lambda z: 1 - right_cosines(z), "a distance"),
    "a hundredth added to each length": (
        lambda z: (z / (z.norm(dim=1, keepdim=True) + 0.01)) @ (z / (z.norm(dim=1, keepdim=True) + 0.01)).T,
        "0.01 is added to every length",
    ),
    "a hundred-thousandth added to each length": (
        lambda z: (z / (z.norm(dim=1, keepdim=True) + 1e-5)) @ (z / (z.norm(dim=1, keepdim=True) + 1e-5)).T,
        "1e-05 is added to every length",
    ),
    "a thousandth added to each product of lengths": (
        lambda z: (z @ z.T) / (z.norm(dim=1)[:, None] * z.norm(dim=1) + 1e-3),
        "0.001 is added to every product of two lengths",
    ),
    "diagonal -inf": (lambda z: masked(right_cosines(z)), "diagonal is set to -inf"),
    "diagonal 0": (lambda z: right_cosines(z).fill_diagonal_(0), "diagonal is set to 0"),
    "correlation": (lambda z: torch.corrcoef(z).view(len(z), len(z)), "mean of the rows"),
    "NaN for a zero row": (lambda z: unit(z) @ unit(z).T, "all zeros"),
    "detached": (lambda z: right_cosines(z).detach(), "no gradient flows"),
    "through NumPy": (lambda z: torch.from_numpy(right_cosines(z).numpy()), "NumPy"),
    "lengths detached": (
        lambda z: (z / z.norm(dim=1, keepdim=True).detach()) @ (z / z.norm(dim=1, keepdim=True).detach()).T,
        "lengths are detached",
    ),
    "float32": (lambda z: right_cosines(z.float()), "dtype"),
    "in place": (lambda z: right_cosines(z.div_(z.norm(dim=1, keepdim=True))), "in place"),
    "half of the rows": (lambda z: right_cosines(z)[: len(z) // 2], "shape (5, 10)"),
    "nothing returned": (lambda z: None, "`return` missing"),
}
COSINES_RIGHT = {
    "length clamped by hand": lambda z: (
        (z / z.norm(dim=1, keepdim=True).clamp(min=1e-8)) @ (z / z.norm(dim=1, keepdim=True).clamp(min=1e-8)).T
    ),
    "a millionth added to each length": lambda z: (
        (z / (z.norm(dim=1, keepdim=True) + 1e-6)) @ (z / (z.norm(dim=1, keepdim=True) + 1e-6)).T
    ),
    "F.cosine_similarity, broadcast": lambda z: F.cosine_similarity(z[:, None], z[None], dim=2),
    "two loops": lambda rows: torch.stack(
        [torch.stack([F.cosine_similarity(u, v, dim=0) for v in rows]) for u in rows]
    ),
    "divided by the product of lengths": lambda z: (z @ z.T) / (z.norm(dim=1)[:, None] * z.norm(dim=1) + 1e-9),
}

INDEX_WRONG = {
    "lazy: zeros": (lambda n: torch.zeros(2 * n, dtype=torch.int64), ""),
    "fitted to the sizes of the visible check": (
        lambda n: torch.arange(2 * n).roll(n if n in (1, 2, 3, 5, 33) else 1),
        "",
    ),
    "calls the reference": (lambda n: losses.positive_index(n), "course's own answer"),
    "pairs (2i, 2i + 1)": (lambda n: torch.arange(2 * n) ^ 1, "(2i, 2i + 1)"),
    "itself": (lambda n: torch.arange(2 * n), "not its own positive"),
    "rows of z_a only": (lambda n: torch.arange(n) + n, "rows of z_a only"),
    "past the end": (lambda n: torch.arange(2 * n) + n, "past the end"),
    "counted from 1": (lambda n: torch.arange(2 * n).roll(n) + 1, "count from 1"),
    "backwards": (lambda n: torch.arange(2 * n).flip(0), "backwards"),
    "next row": (lambda n: torch.arange(2 * n).roll(-1), "next row"),
    "both halves to z_a": (lambda n: torch.cat([torch.arange(n), torch.arange(n)]), "both halves"),
    "both halves to z_b": (lambda n: torch.cat([torch.arange(n) + n, torch.arange(n) + n]), "both halves"),
    "a mask": (lambda n: torch.eye(2 * n).roll(n, 0), "a mask"),
    "floats": (lambda n: torch.arange(2 * n).roll(n).float(), "int64"),
    "a list, not a tensor": (lambda n: [*range(n, 2 * n), *range(n)], "list; a torch tensor"),
    "fitted to n = 5": (lambda n: torch.tensor([5, 6, 7, 8, 9, 0, 1, 2, 3, 4]), "hard-coded"),
    "nothing returned": (lambda n: None, "`return` missing"),
}
INDEX_RIGHT = {
    "torch.cat": lambda n: torch.cat([torch.arange(n, 2 * n), torch.arange(n)]),
    "modulo": lambda n: (torch.arange(2 * n) + n) % (2 * n),
    "a list": lambda n: torch.tensor([i + n if i < n else i - n for i in range(2 * n)]),
    "NumPy": lambda size: torch.from_numpy(np.roll(np.arange(2 * size), size)),
}

CHANCE_WRONG = {
    "lazy: zero": (lambda n: 0.0, ""),
    "fitted to one and four images": (lambda n: {1: 0.0, 4: math.log(7)}.get(n, 1.0), ""),
    "fitted to the sizes of the visible check": (
        lambda n: math.log(2 * n - 1 if n in (1, 2, 4, 5, 33, 512) else 2 * n),
        "log(2N)",
    ),
    "calls the reference": (lambda n: losses.chance_loss(n), "course's own answer"),
    "log(2N)": (lambda n: math.log(2 * n), "log(2N)"),
    "log(N)": (lambda n: math.log(n), "log(N)"),
    "log(2N - 2)": (lambda n: math.log(2 * n - 2) if n > 1 else 0.0, "log(2N - 2)"),
    "log(N - 1)": (lambda n: math.log(n - 1) if n > 1 else 0.0, "log(N - 1)"),
    "log(2N + 1)": (lambda n: math.log(2 * n + 1), "log(2N + 1)"),
    "logarithm is missing": (lambda n: 2 * n - 1, "logarithm is missing"),
    "chance to be right": (lambda n: 1 / (2 * n - 1), "chance to be right"),
    "sign turned": (lambda n: -math.log(2 * n - 1), "sign"),
    "base 2": (lambda n: math.log2(2 * n - 1), "base 2"),
    "base 10": (lambda n: math.log10(2 * n - 1), "base 10"),
    "fitted to 512 images": (lambda n: 6.9305, "How many candidates"),
    "one number an anchor": (lambda n: torch.full((2 * n,), math.log(2 * n - 1)), "one number"),
    "text": (lambda n: str(math.log(2 * n - 1)), "one number"),
    "nothing returned": (lambda n: None, "`return` missing"),
}
CHANCE_RIGHT = {
    "NumPy": lambda n: np.log(2 * n - 1),
    "torch": lambda n: torch.log(torch.tensor(2.0 * n - 1)),
    "log1p": lambda n: math.log1p(2 * n - 2),
    "minus the log of a chance": lambda size: -math.log(1 / (2 * size - 1)),
}


# SupCon -------------------------------------------------------------------------------------------------------------


def parts(z_a, z_b, labels, temperature):
    """(log-probabilities with the diagonal left out of the denominator, positives (2N, 2N) bool)."""
    s = cosines(z_a, z_b) / temperature
    both = labels.repeat(2)
    positive = (both[:, None] == both) & ~torch.eye(len(s), dtype=torch.bool, device=s.device)
    return s - masked(s).logsumexp(1, keepdim=True), positive


def labels_ignored(z_a, z_b, labels, temperature):
    return losses.nt_xent(z_a, z_b, temperature)


def log_last(z_a, z_b, labels, temperature):
    log_p, positive = parts(z_a, z_b, labels, temperature)
    return -((log_p.exp() * positive).sum(1) / positive.sum(1)).log().mean()


def log_of_the_sum(z_a, z_b, labels, temperature):
    log_p, positive = parts(z_a, z_b, labels, temperature)
    return -(log_p.exp() * positive).sum(1).log().mean()


def not_divided(z_a, z_b, labels, temperature):
    log_p, positive = parts(z_a, z_b, labels, temperature)
    return -(log_p * positive).sum(1).mean()


def pooled_over_pairs(z_a, z_b, labels, temperature):
    log_p, positive = parts(z_a, z_b, labels, temperature)
    return -log_p[positive].mean()


def second_view_left_out(z_a, z_b, labels, temperature):
    log_p, positive = parts(z_a, z_b, labels, temperature)
    positive = positive & ~torch.eye(len(z_a), dtype=torch.bool).repeat(2, 2)
    return -((log_p * positive).sum(1) / positive.sum(1).clamp(min=1)).mean()


def anchor_among_positives(z_a, z_b, labels, temperature):
    log_p, positive = parts(z_a, z_b, labels, temperature)
    positive = positive | torch.eye(len(log_p), dtype=torch.bool)
    return -((log_p * positive).sum(1) / positive.sum(1)).mean()


def other_view_only(z_a, z_b, labels, temperature):
    log_p, positive = parts(z_a, z_b, labels, temperature)
    view = torch.arange(2).repeat_interleave(len(z_a))
    positive = positive & (view[:, None] != view)
    return -((log_p * positive).sum(1) / positive.sum(1)).mean()


def labels_interleaved(z_a, z_b, labels, temperature):
    log_p, _ = parts(z_a, z_b, labels, temperature)
    both = labels.repeat_interleave(2)
    positive = (both[:, None] == both) & ~torch.eye(len(both), dtype=torch.bool)
    return -((log_p * positive).sum(1) / positive.sum(1)).mean()


def positives_not_in_denominator(z_a, z_b, labels, temperature):
    s, (_, positive) = cosines(z_a, z_b) / temperature, parts(z_a, z_b, labels, temperature)
    log_p = s - masked(s).masked_fill(positive, -math.inf).logsumexp(1, keepdim=True)
    return -((log_p * positive).sum(1) / positive.sum(1)).mean()


def zero_times_infinity(z_a, z_b, labels, temperature):
    log_p = masked(cosines(z_a, z_b) / temperature).log_softmax(1)
    _, positive = parts(z_a, z_b, labels, temperature)
    return -((log_p * positive).sum(1) / positive.sum(1)).mean()


def masked_anchor_among_positives(z_a, z_b, labels, temperature):
    log_p = masked(cosines(z_a, z_b) / temperature).log_softmax(1)
    both = labels.repeat(2)
    positive = both[:, None] == both
    return -(log_p.masked_fill(~positive, 0).sum(1) / positive.sum(1)).mean()


def published_factor(z_a, z_b, labels, temperature):
    return sup_con_as_published(z_a, z_b, labels, temperature) * temperature / 0.07


def sup_con_summed(z_a, z_b, labels, temperature):
    return sup_con_as_published(z_a, z_b, labels, temperature) * 2 * len(z_a)


def sup_con_one_view(z_a, z_b, labels, temperature):
    log_p, positive = parts(z_a, z_b, labels, temperature)
    return -((log_p * positive).sum(1) / positive.sum(1))[: len(z_a)].mean()


def sup_con_raw(z_a, z_b, labels, temperature):
    z = torch.cat([z_a, z_b])
    s, (_, positive) = z @ z.T / temperature, parts(z_a, z_b, labels, temperature)
    log_p = s - masked(s).logsumexp(1, keepdim=True)
    return -((log_p * positive).sum(1) / positive.sum(1)).mean()


def sup_con_with_self(z_a, z_b, labels, temperature):
    _, positive = parts(z_a, z_b, labels, temperature)
    log_p = (cosines(z_a, z_b) / temperature).log_softmax(1)
    return -((log_p * positive).sum(1) / positive.sum(1)).mean()


def sup_con_cold(z_a, z_b, labels, temperature):
    return sup_con_as_published(z_a, z_b, labels, 1.0)


def sup_con_detached(z_a, z_b, labels, temperature):
    return sup_con_as_published(z_a, z_b, labels, temperature).detach()


def sup_con_overflowing(z_a, z_b, labels, temperature):
    s, (_, positive) = cosines(z_a, z_b) / temperature, parts(z_a, z_b, labels, temperature)
    off = 1 - torch.eye(len(s), dtype=s.dtype)
    log_p = (s.exp() / (s.exp() * off).sum(1, keepdim=True)).log()
    return -((log_p * positive).sum(1) / positive.sum(1)).mean()


def sup_con_broadcast(z_a, z_b, labels, temperature):
    z, (_, positive) = torch.cat([z_a, z_b]), parts(z_a, z_b, labels, temperature)
    s = F.cosine_similarity(z[:, None], z[None], dim=2) / temperature
    log_p = s - masked(s).logsumexp(1, keepdim=True)
    return -((log_p * positive).sum(1) / positive.sum(1)).mean()


def two_values_by_hand(z_a, z_b, labels, temperature):
    one_class = len(labels.unique()) == 1
    value = math.log(math.e**2 + 2) - 2 / 3 if one_class else math.log(1 + 2 * math.exp(-2))
    return 0 * (z_a.sum() + z_b.sum()) + value


def sup_con_of_ten_classes(z_a, z_b, labels, temperature):
    """Right as long as classes are below 10."""
    hot = F.one_hot(labels % 10, 10).repeat(2, 1)
    log_p, _ = parts(z_a, z_b, labels, temperature)
    positive = (hot @ hot.T).bool() & ~torch.eye(len(hot), dtype=torch.bool)
    return -((log_p * positive).sum(1) / positive.sum(1)).mean()


SUP_CON_WRONG = {
    "lazy: zero": (lambda z_a, z_b, labels, temperature: 0 * (z_a.sum() + z_b.sum()), ""),
    "fitted to ten classes": (sup_con_of_ten_classes, ""),
    "fitted to the two values of the asserts": (two_values_by_hand, ""),
    "calls the reference": (
        lambda z_a, z_b, labels, temperature: losses.sup_con(z_a, z_b, labels, temperature),
        "course's own answer",
    ),
    "labels ignored": (labels_ignored, "labels are ignored"),
    "log last": (log_last, "L_in"),
    "log of the sum": (log_of_the_sum, "summed probability"),
    "not divided": (not_divided, "division by the number of positives"),
    "pooled over pairs": (pooled_over_pairs, "one mean over all positive pairs"),
    "second view left out": (second_view_left_out, "own second view"),
    "anchor among positives": (anchor_among_positives, "among its own positives"),
    "other view only": (other_view_only, "positives are looked for in the other view only"),
    "labels interleaved": (labels_interleaved, "lined up with the wrong rows"),
    "positives not in denominator": (positives_not_in_denominator, "missing from the denominator"),
    "zero times infinity": (zero_times_infinity, "NaN comes from"),
    "masked anchor among positives": (
        masked_anchor_among_positives,
        "inf is read: is the anchor among its own positives",
    ),
    "published factor": (published_factor, "temperature / 0.07"),
    "sup con summed": (sup_con_summed, "sum over the anchors"),
    "sup con one view": (sup_con_one_view, "only N anchors"),
    "sup con raw": (sup_con_raw, "not normalised"),
    "sup con with self": (sup_con_with_self, "self-similarity is left in"),
    "sup con cold": (sup_con_cold, "temperature is ignored"),
    "sup con detached": (sup_con_detached, "no gradient flows"),
    "sup con overflowing": (sup_con_overflowing, "overflows"),
    "sup con broadcast": (sup_con_broadcast, "(24, 24, 16)"),
    "nothing returned": (lambda z_a, z_b, labels, temperature: None, "`return` missing"),
}


def sup_con_by_loops(z_a, z_b, y, t):
    z, n, losses_ = F.normalize(torch.cat([z_a, z_b])), len(z_a), []
    for i in range(2 * n):
        rest = [k for k in range(2 * n) if k != i]
        log_p = (z[rest] @ z[i] / t).log_softmax(0)
        losses_.append(
            -sum(log_p[j] for j, k in enumerate(rest) if y[k % n] == y[i % n]) / sum(y[k % n] == y[i % n] for k in rest)
        )
    return torch.stack(losses_).mean()


def sup_con_as_published(z_a, z_b, labels, temperature):
    """HobbitLong: subtract the row's maximum, masks of ones and zeros, a device asked by hand, factor left out."""
    device = torch.device("cuda") if z_a.is_cuda else torch.device("cpu")
    z, n = F.normalize(torch.cat([z_a, z_b])), len(z_a)
    mask = torch.eq(labels.view(-1, 1), labels.view(1, -1)).to(z.dtype).to(device).repeat(2, 2)
    logits = z @ z.T / temperature
    logits = logits - logits.max(1, keepdim=True)[0].detach()
    off = torch.scatter(torch.ones_like(mask), 1, torch.arange(2 * n).view(-1, 1).to(device), 0)
    mask = mask * off
    # with a temperature of 0.01 the exponentials of far rows vanish, hence logsumexp
    log_p = logits - logits.masked_fill(off == 0, -math.inf).logsumexp(1, keepdim=True)
    return -((mask * log_p).sum(1) / mask.sum(1)).mean()


def sup_con_by_soft_targets(z_a, z_b, labels, temperature):
    s = masked(cosines(z_a, z_b) / temperature).nan_to_num(neginf=-1e9)
    _, positive = parts(z_a, z_b, labels, temperature)
    return F.cross_entropy(s, positive.to(s.dtype) / positive.sum(1, keepdim=True))


def sup_con_with_numpy_masks(z_a, z_b, labels, temperature):
    """Positives found by NumPy, log-probabilities in float64, an einsum."""
    kind = np.tile(labels.cpu().numpy(), 2) if labels.device.type == "cpu" else None
    z = F.normalize(torch.cat([z_a, z_b]).double(), dim=1)
    s = masked(torch.einsum("id,jd->ij", z, z) / temperature)
    if kind is None:
        both = labels.repeat(2)
        same = (both[:, None] == both).double() - torch.eye(len(z), device=z.device, dtype=torch.float64)
    else:
        same = torch.from_numpy((kind[:, None] == kind).astype(np.float64) - np.eye(len(kind)))
    log_p = (s - s.logsumexp(1, keepdim=True)).masked_fill(same == 0, 0)
    return -(torch.einsum("ij,ij->i", log_p, same) / same.sum(1)).mean().to(z_a.dtype)


SUP_CON_RIGHT = {
    "NumPy masks, float64": sup_con_with_numpy_masks,
    "sup con by loops": sup_con_by_loops,
    "sup con as published": sup_con_as_published,
    "sup con by soft targets": sup_con_by_soft_targets,
}

BANK = {
    "cosine_similarities": Exercise(COSINES_WRONG, COSINES_RIGHT),
    "positive_index": Exercise(INDEX_WRONG, INDEX_RIGHT),
    "nt_xent_loop": Exercise(VALUES, RIGHT | RIGHT_LOOPS),
    "nt_xent": Exercise(VALUES | ONLY_NT_XENT, RIGHT),
    "chance_loss": Exercise(CHANCE_WRONG, CHANCE_RIGHT),
    "sup_con": Exercise(SUP_CON_WRONG, SUP_CON_RIGHT),
}
