"""NT-Xent, forward and backward, in several ways; D = 128, float32, temperature 0.5.

`python -m grading.bench.loss NAME N` prints how many MiB one of them needs at its peak, beyond what the process held
before: a process of its own for each, as memory that was once used hides what the next one needs.
"""

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import torch
from torch import Tensor

from helpers.losses import nt_xent, nt_xent_chunked

OURS, PLAIN, LIGHTLY, PML = "Two Views, in blocks", "Two Views, as in 04", "lightly", "pytorch-metric-learning"
NEEDS = {  # bytes at the peak for M = 2N rows, about, as measured here
    OURS: lambda m: 6000 * m,
    PLAIN: lambda m: 13 * m**2,
    LIGHTLY: lambda m: 17 * m**2,
    PML: lambda m: 17 * m**3,
}
MOST = 6e9  # bytes; what needs more is not tried
SIZES = (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)


def loss_of(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The function or module that takes z_a, z_b (N, D) and returns the loss."""
    if name == LIGHTLY:
        from lightly.loss import NTXentLoss

        return NTXentLoss(temperature=0.5)
    if name == PML:
        from pytorch_metric_learning.losses import NTXentLoss, SelfSupervisedLoss

        return SelfSupervisedLoss(NTXentLoss(temperature=0.5))
    return {OURS: nt_xent_chunked, PLAIN: nt_xent}[name]


def embeddings(n: int) -> Tensor:
    """(2, N, 128), at random."""
    return torch.randn(2, n, 128, generator=torch.Generator().manual_seed(n))


def forward_and_backward(loss: Callable[[Tensor, Tensor], Tensor], z: Tensor) -> tuple[Tensor, Tensor]:
    """The loss and its gradient (2, N, D)."""
    z = z.clone().requires_grad_()
    value = loss(z[0], z[1])
    value.backward()
    return value.detach(), z.grad


def runners(n: int) -> dict[str, Callable[[], object]]:
    """The ways that can be run with this N."""
    z = embeddings(n)
    return {name: partial(forward_and_backward, loss_of(name), z) for name in ways(n)}


def ways(n: int) -> list[str]:
    """Those for which this machine has the memory, twice over."""
    most = min(MOST, psutil.virtual_memory().available / 2)
    return [name for name, needs in NEEDS.items() if needs(2 * n) <= most]


def peak_mib(name: str, n: int) -> float:
    """MiB that a loss of N images needs, measured in a process of its own."""
    run = subprocess.run([sys.executable, "-m", "grading.bench.loss", name, str(n)], capture_output=True, text=True)
    if run.returncode != 0:
        raise RuntimeError(f"the memory of {name} with N = {n} could not be measured:\n{run.stderr}")
    return float(run.stdout)


def main() -> None:
    name, n = sys.argv[1], int(sys.argv[2])
    torch.set_num_threads(1)
    loss, z = loss_of(name), embeddings(n)
    forward_and_backward(loss, embeddings(8))  # what is needed once, whatever N
    forget_peak()
    before = held("VmRSS")
    forward_and_backward(loss, z)
    print(held("VmHWM") - before)


def forget_peak() -> None:
    """From here on the most that this process holds (VmHWM) counts anew; on Linux."""
    Path("/proc/self/clear_refs").write_text("5")


def held(field: str) -> float:
    """MiB that /proc says this process holds (VmRSS) or held at most (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


if __name__ == "__main__":
    main()
