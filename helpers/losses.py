"""The contrastive losses, NT-Xent and SupCon, and their parts: embeddings in, one number out. No encoder, no training.

One layout everywhere: z_a and z_b are (N, D), row i of each from image i; z = [z_a; z_b] is (2N, D), so the positive
of row i is row i + N, and of row i + N is row i. All are computed in float32 at least, also under autocast.
"""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

COLDEST = 0.003  # the lowest temperature of nt_xent_chunked
DIVERGED = "z_a or z_b has NaN or infinite entries; did training diverge? Try a smaller learning rate."


def cosine_similarities(z: Tensor) -> Tensor:
    """Cosine of the angle between every two rows.

    Args:
        z: (M, D) embeddings of any length, M = 2N for a batch of N pairs.

    Returns:
        (M, M) in [-1, 1] up to rounding, symmetric; a zero row has no direction and gets 0 everywhere.
    """
    with torch.autocast(z.device.type, enabled=False):  # autocast would round the products to 8 or 11 bits
        unit = F.normalize(at_least_float32(z), dim=1)  # (M, D) rows of length 1
        return unit @ unit.T  # (M, M)


def positive_index(n: int, device: torch.device | str | None = None) -> Tensor:
    """Where the positive of each anchor stands: (2N,) int64, N, N + 1, ..., 2N - 1, 0, 1, ..., N - 1."""
    return torch.arange(2 * n, device=device).roll(n)  # (2N,)


def nt_xent_loop(z_a: Tensor, z_b: Tensor, temperature: float) -> Tensor:
    """NT-Xent straight from equation 1 of Chen et al. (2020), anchor by anchor: slow, and there to be read.

    Arguments, result and errors as for `nt_xent`. Its exponentials overflow in float32 once 1 / temperature > 88.
    """
    z = stack_views(z_a, z_b, temperature)  # (2N, D)
    n = len(z_a)
    total = z.new_zeros(())
    for i in range(2 * n):
        j = (i + n) % (2 * n)  # the anchor's positive
        score = [torch.exp(F.cosine_similarity(z[i], z[k], dim=0) / temperature) for k in range(2 * n)]
        total = total - torch.log(score[j] / sum(score[k] for k in range(2 * n) if k != i))
    return total / (2 * n)  # ()


def nt_xent(z_a: Tensor, z_b: Tensor, temperature: float = 0.5) -> Tensor:
    """NT-Xent, the loss of SimCLR (Chen et al. 2020, equation 1): each anchor picks its positive among 2N - 1 rows.

    Rows z_a[i] and z_b[i] are two views of image i: each is the other's one positive, and the other 2N - 2 rows of
    the batch are its negatives. As a cross-entropy it is finite at every temperature.

    Args:
        z_a, z_b: (N, D) outputs of the projection head, normalised or not.
        temperature: > 0; a smaller one gives the hardest negatives a larger share of the gradient.

    Returns:
        () mean over the 2N anchors, float64 for float64 input, else float32; log(2N - 1) when all rows are equal.

    Raises:
        ValueError: shapes that are not (N, D) twice, a temperature that is not > 0; on the CPU also NaN or infinite
            entries, which on a GPU make the loss NaN: to look for them is to wait for it.
    """
    z = stack_views(z_a, z_b, temperature)  # (2N, D)
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    logits = (cosine_similarities(z) / temperature).masked_fill(itself, -math.inf)  # (2N, 2N) no anchor picks itself
    return F.cross_entropy(logits, positive_index(len(z_a), z.device))  # ()


def nt_xent_chunked(z_a: Tensor, z_b: Tensor, temperature: float = 0.5, chunk: int = 512) -> Tensor:
    """NT-Xent for large batches: value and gradient of `nt_xent`, in memory that grows as N instead of N².

    The (2N, 2N) similarities are made block by block, used and forgotten, and made again on the way back; as
    cos(i, k) = cos(k, i), every block serves its rows and its columns. For a large N that is also faster.

    Args:
        z_a, z_b, temperature: as for `nt_xent`; the temperature at least 0.003.
        chunk: side of a block in rows; 512 suits a CPU's cache.

    Returns:
        () as `nt_xent`; it can be differentiated once.

    Raises:
        ValueError: as for `nt_xent`, and for a temperature that is a tensor, or below 0.003.
    """
    if isinstance(temperature, Tensor):
        raise ValueError("temperature is a tensor; nt_xent_chunked takes a number. nt_xent learns one, too.")
    z = stack_views(z_a, z_b, temperature)  # (2N, D)
    if temperature < COLDEST:
        raise ValueError(f"temperature is {temperature}; nt_xent_chunked needs at least {COLDEST}, nt_xent takes any.")
    ceiling = 1 / temperature  # no logit is larger, as no cosine is larger than 1
    exact = z if 2 * ceiling < 80 else z.double()  # float32 ends at exp(-87), logits at -ceiling
    with torch.autocast(z.device.type, enabled=False):
        unit = F.normalize(exact, dim=1)
        a, b = unit.chunk(2)  # (N, D) each
        pull = (a * b).sum(dim=1).mean() * ceiling  # the mean logit of the positives
        return (LogSumExpOfOthers.apply(unit * math.sqrt(ceiling), ceiling, chunk).mean() - pull).to(z.dtype)


class LogSumExpOfOthers(torch.autograd.Function):
    """log Σ exp(rows[i] · rows[k]) over all k ≠ i, (M,) for rows (M, D) whose squared lengths are at most `ceiling`.

    With s[i] that sum and g the gradient that arrives, the gradient for rows[i] is
    Σ over k of exp(rows[i] · rows[k]) (g[i] / s[i] + g[k] / s[k]) rows[k]: row i counts as an anchor and as a candidate.
    """

    @staticmethod
    def forward(ctx, rows: Tensor, ceiling: float, chunk: int) -> Tensor:
        sums = rows.new_zeros(len(rows))  # (M,) each times exp(-ceiling), so that none overflows
        part = sums.split(chunk)  # views: adding to a part adds to sums
        for i, k, block in blocks(rows, ceiling, chunk):
            part[i].add_(block.sum(dim=1))
            if i != k:
                part[k].add_(block.sum(dim=0))
        ctx.save_for_backward(rows, sums)
        ctx.ceiling, ctx.chunk = ceiling, chunk
        return sums.log() + ceiling

    @staticmethod
    @once_differentiable
    def backward(ctx, slope: Tensor) -> tuple[Tensor, None, None]:
        rows, sums = ctx.saved_tensors
        weight, some = (slope / sums).split(ctx.chunk), rows.split(ctx.chunk)
        total = torch.zeros_like(rows)
        part = total.split(ctx.chunk)
        with torch.autocast(rows.device.type, enabled=False):
            for i, k, block in blocks(rows, ctx.ceiling, ctx.chunk):
                block.mul_(weight[i][:, None] + weight[k])
                part[i].addmm_(block, some[k])
                if i != k:
                    part[k].addmm_(block.T, some[i])
        return total, None, None


def blocks(rows: Tensor, ceiling: float, chunk: int) -> Iterator[tuple[int, int, Tensor]]:
    """(i, k, exp(rows · rows - ceiling) of the i-th chunk of rows with the k-th), for k up to i; a row with itself: 0."""
    some = rows.split(chunk)
    for i in range(len(some)):
        for k in range(i + 1):
            block = (some[i] @ some[k].T).sub_(ceiling).exp_()  # (chunk, chunk)
            yield i, k, block.fill_diagonal_(0) if i == k else block


def chance_loss(n: int) -> float:
    """The NT-Xent of a batch of n images when nothing is known: log(2n - 1), a guess among 2n - 1 candidates (nats)."""
    if n < 1:
        raise ValueError(f"chance_loss needs at least one image in the batch; n is {n}.")
    return math.log(2 * n - 1)


def sup_con(z_a: Tensor, z_b: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """The supervised contrastive loss L_out (Khosla et al. 2020, equation 2), as a mean over the anchors.

    The positives of an anchor are all other rows of its class, its own second view among them; the logarithm is
    taken for each positive, then averaged over them. Equal to `nt_xent` when every label differs.

    Args:
        z_a, z_b, temperature: as for `nt_xent`.
        labels: (N,) class of each image, integers.

    Returns:
        () mean over the 2N anchors, float64 for float64 input, else float32.

    Raises:
        ValueError: as for `nt_xent`, and for labels that are not (N,).
    """
    z = stack_views(z_a, z_b, temperature)  # (2N, D)
    if labels.shape != z_a.shape[:1]:
        raise ValueError(f"labels has shape {tuple(labels.shape)}; one label an image is wanted, ({len(z_a)},).")
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    both = labels.to(z.device).repeat(2)  # (2N,)
    positive = (both[:, None] == both) & ~itself  # (2N, 2N)
    logits = (cosine_similarities(z) / temperature).masked_fill(itself, -math.inf)  # (2N, 2N)
    surprise = -logits.log_softmax(dim=1).masked_fill(~positive, 0)  # (2N, 2N)
    return (surprise.sum(dim=1) / positive.sum(dim=1)).mean()  # ()


def decoupled(z_a: Tensor, z_b: Tensor, temperature: float = 0.5) -> Tensor:
    """NT-Xent whose denominator leaves the positive out (Yeh et al. 2022, "Decoupled Contrastive Learning").

    In NT-Xent an anchor that has found its positive hardly pushes its negatives any more; here it goes on.

    Arguments and result as for `nt_xent`, for at least two images; the value may be negative.
    """
    z = stack_views(z_a, z_b, temperature)  # (2N, D)
    if len(z_a) < 2:
        raise ValueError("decoupled needs at least two images: one alone has no negatives.")
    logits = cosine_similarities(z) / temperature  # (2N, 2N)
    pull = logits.gather(1, positive_index(len(z_a), z.device)[:, None])  # (2N, 1)
    same_image = torch.eye(len(z_a), dtype=torch.bool, device=z.device).repeat(2, 2)  # (2N, 2N) itself and its positive
    return (logits.masked_fill(same_image, -math.inf).logsumexp(dim=1) - pull[:, 0]).mean()  # ()


def margin_triplet(z_a: Tensor, z_b: Tensor, margin: float = 0.5) -> Tensor:
    """How far each negative fails to be less similar than the positive by a margin, on average (SimCLR, table 2).

    No temperature, no softmax: a negative that is far enough away counts for nothing, and all others count the same.

    Args:
        z_a, z_b: (N, D) as for `nt_xent`, at least two images.
        margin: on the scale of cosines, > 0.

    Returns:
        () mean of max(0, cos(anchor, negative) - cos(anchor, positive) + margin) over 2N anchors and 2N - 2 negatives.
    """
    if not 0 < margin < math.inf:
        raise ValueError(f"margin must be a positive number, such as 0.5; it is {margin}.")
    z = stack_views(z_a, z_b, margin)  # (2N, D)
    if len(z_a) < 2:
        raise ValueError("margin_triplet needs at least two images: one alone has no negatives.")
    similarities = cosine_similarities(z)  # (2N, 2N)
    pull = similarities.gather(1, positive_index(len(z_a), z.device)[:, None])  # (2N, 1)
    negative = ~torch.eye(len(z_a), dtype=torch.bool, device=z.device).repeat(2, 2)  # (2N, 2N)
    return F.relu(similarities - pull + margin)[negative].mean()  # ()


def stack_views(z_a: Tensor, z_b: Tensor, temperature: float) -> Tensor:
    """[z_a; z_b], (2N, D), float32 at least; ValueError where they or the temperature cannot be used."""
    if z_a.ndim != 2 or z_a.shape != z_b.shape:
        raise ValueError(
            f"z_a and z_b have shapes {tuple(z_a.shape)} and {tuple(z_b.shape)}; both must be (N, D), one row a view."
        )
    if z_a.numel() == 0:
        raise ValueError(f"z_a and z_b are empty, {tuple(z_a.shape)}; at least one pair of views is needed.")
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be a positive number, such as 0.5; it is {temperature}.")
    z = at_least_float32(torch.cat([z_a, z_b]))  # (2N, D)
    if z.device.type == "cpu" and not z.isfinite().all():  # for a GPU step_on_views asks, once
        raise ValueError(DIVERGED)
    return z


def at_least_float32(z: Tensor) -> Tensor:
    """float16 and bfloat16 (and integers) widened to float32; float32 and float64 as they are."""
    return z if z.dtype in (torch.float32, torch.float64) else z.float()
