"""One training run on several devices: `torchrun --nproc-per-node 2 -m helpers.training ...` starts a process for each.

Every process holds the whole model and its own share of the batch. What makes them one run: the loss sees the
embeddings of all processes, *with* their gradient; the gradients of the weights are averaged (DistributedDataParallel);
and batch-norm takes its statistics over the whole batch. Every process draws the views of the whole batch, from the
same generator, and keeps its own rows: P times the augmentation, but then P processes with N / P images each make the
run that one process makes with N, to rounding, and a checkpoint goes on with any number of processes.

Alone, outside torchrun, each function here does what its name says for one process, which is nothing or nearly so.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import MethodType

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from helpers import losses

PATIENCE = timedelta(hours=2)  # for process 0 to fetch a data set, while the others wait
MANY = 512  # images; with as many, the loss in blocks is the faster one on a CPU, by data/results/bench.md


def processes() -> int:
    """How many processes share this run, P; 1 where torchrun did not start it."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The number of this process, 0 to P - 1. Number 0 monitors, and writes the files."""
    return dist.get_rank() if processes() > 1 else 0


@contextmanager
def started() -> Iterator[None]:
    """While this lasts, the processes that torchrun started can talk: NCCL between GPUs, one each, else gloo."""
    if not (dist.is_available() and dist.is_torchelastic_launched()):
        yield
        return
    gpu, local = torch.cuda.is_available(), int(os.environ["LOCAL_WORLD_SIZE"])
    if gpu and local > torch.cuda.device_count():
        raise ValueError(
            f"--nproc-per-node is {local}, and there are {torch.cuda.device_count()} GPUs: each process needs its own."
        )
    if gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if gpu else "gloo", timeout=PATIENCE)
    try:
        yield
    finally:
        dist.destroy_process_group()


def launcher() -> list[str]:
    """What starts a run like this one, before its "-m": with as many processes, on this machine."""
    return ["torchrun", "--nproc-per-node", str(processes())] if processes() > 1 else ["python"]


@contextmanager
def first_alone() -> Iterator[None]:
    """Process 0 does this before the others begin it."""
    if rank() > 0:
        dist.barrier()
    try:
        yield
    finally:
        if processes() > 1 and rank() == 0:
            dist.barrier()


def share(model: nn.Module) -> nn.Module:
    """The model to train in this process: all start from the weights of process 0, and average their gradients.

    The weights stay those of `model`, whose batch-norm layers count the images of all processes from here on.
    """
    if processes() == 1:
        return model
    device = next(model.parameters()).device
    if device.type == "cuda":
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return DistributedDataParallel(model, device_ids=[device.index])
    for layer in model.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.forward = MethodType(batch_norm_of_all, layer)
    return DistributedDataParallel(model)


def batch_norm_of_all(layer: nn.modules.batchnorm._BatchNorm, x: Tensor) -> Tensor:
    """What nn.SyncBatchNorm does on GPUs, for the CPU, where torch has none: normalise by the batch of all processes.

    With statistics of its own share, a process would normalise by N / P images: another network than the one that a
    single process trains, and one whose embeddings tell which process they come from, a shortcut for the loss.

    Args:
        x: (N / P, C, ...) activations, as many in every process.
    """
    if not layer.training or processes() == 1:
        return type(layer).forward(layer, x)
    wide = losses.at_least_float32(x)
    over = [0, *range(2, x.ndim)]  # all but the channels
    variance, mean = torch.var_mean(wide, over, correction=0)  # (C,) each, of this process
    means, variances = gather(torch.stack([mean, variance])[None]).unbind(dim=1)  # (P, C) each
    mean, variance = means.mean(dim=0), variances.mean(dim=0) + means.var(dim=0, correction=0)  # within and between
    count = processes() * x.numel() / x.shape[1]
    with torch.no_grad():
        layer.running_mean.lerp_(mean, layer.momentum)
        layer.running_var.lerp_(variance * count / (count - 1), layer.momentum)
        layer.num_batches_tracked += 1
    channel = [1, -1, *[1] * (x.ndim - 2)]
    scale = layer.weight * (variance + layer.eps).rsqrt()
    return (wide * scale.view(channel) + (layer.bias - mean * scale).view(channel)).to(x.dtype)


def own_rows(*batches: Tensor) -> tuple[Tensor, ...]:
    """This process's share of each batch (N, ...): rows rank · N / P and after. Together they are the batch, in order."""
    if len(batches[0]) % processes():
        raise ValueError(
            f"batch_size is {len(batches[0])}, which {processes()} processes cannot share evenly: "
            f"take a multiple of {processes()}."
        )
    if processes() == 1:
        return batches
    return tuple(batch.chunk(processes())[rank()].clone() for batch in batches)  # a chunk would keep the whole alive


class Gather(torch.autograd.Function):
    """The rows of all processes, in their order: (n, ...) in each -> (P · n, ...) in all, with the gradient.

    A row takes part in the loss of every process, so its gradient is the sum of what they all have to say about it.
    """

    @staticmethod
    def forward(ctx, own: Tensor) -> Tensor:
        parts = [torch.empty_like(own, memory_format=torch.contiguous_format) for _ in range(processes())]
        dist.all_gather(parts, own.contiguous())
        return torch.cat(parts)

    @staticmethod
    @once_differentiable
    def backward(ctx, slope: Tensor) -> Tensor:
        total = slope.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total.chunk(processes())[rank()]


def gather(own: Tensor) -> Tensor:
    """The rows (n, ...) of every process, in their order, (P · n, ...); differentiable. n must be the same in all."""
    return own if processes() == 1 else Gather.apply(own)


def nt_xent(z_a: Tensor, z_b: Tensor, temperature: float, decoupled: bool = False) -> Tensor:
    """NT-Xent of the batch of all processes. This one answers for its own anchors, among the candidates of all.

    Large batches are taken in blocks, whose memory grows as N: the same number. One process alone has
    `losses.nt_xent_chunked` for NT-Xent, which is faster, as there each block also serves its columns.

    Args:
        z_a, z_b: (n, D) embeddings of this process's images, n = N / P.
        temperature: as for `losses.nt_xent`.
        decoupled: `losses.decoupled` in its place: the positive is not among the candidates.

    Returns:
        () the mean over all 2N anchors, the same number in every process. Its gradient is that of this process's
        anchors alone; DistributedDataParallel averages it with the others'.
    """
    if processes() == 1 and decoupled and len(z_a) < MANY:
        return losses.decoupled(z_a, z_b, temperature)
    if processes() == 1 and not decoupled:
        large = len(z_a) >= MANY and not isinstance(temperature, Tensor) and temperature >= losses.COLDEST
        return (losses.nt_xent_chunked if large else losses.nt_xent)(z_a, z_b, temperature)
    n, first = len(z_a), rank() * len(z_a)
    z = losses.stack_views(gather(z_a), gather(z_b), temperature)  # (2N, D)
    own = torch.arange(first, first + n, device=z.device)
    positive = losses.positive_index(len(z) // 2, z.device)  # (2N,)

    def surprise(unit: Tensor, anchors: Tensor) -> Tensor:
        """The sum of the losses of these anchors, (m,) rows of unit."""
        logits = unit[anchors] @ unit.T / temperature  # (m, 2N)
        pull = logits.gather(1, positive[anchors, None])  # (m, 1)
        others = logits.scatter(1, anchors[:, None], -torch.inf)  # (m, 2N) no anchor picks itself
        if decoupled:
            others = others.scatter(1, positive[anchors, None], -torch.inf)
        return (others.logsumexp(dim=1) - pull[:, 0]).sum()

    with torch.autocast(z.device.type, enabled=False):
        unit = F.normalize(z, dim=1)
        ours = torch.cat([own, own + len(z) // 2]).split(MANY)  # (2n,) rows, in blocks made again on the way back
        loss = sum(checkpoint(surprise, unit, some, use_reentrant=False) for some in ours) / (2 * n)
    return loss + (gather(loss.detach()[None]).mean() - loss.detach())  # the value of all, the gradient of ours


def agreed(number: float) -> float:
    """The number that process 0 has, for all: what was timed differs from process to process."""
    if processes() == 1:
        return number
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    numbers = gather(torch.tensor([number], dtype=torch.float64, device=device))
    return numbers[0].item()
