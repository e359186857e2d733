"""The public SimCLRs for CIFAR-10 that ours is measured against, each as its authors set it, trained by the clock.

Where their code offers several losses or loaders, what costs least is taken: the plain cross-entropy form of NT-Xent,
which gives the same value, and no process for views beside the one that trains, or one, whichever is faster.
"""

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.models import resnet18
from torchvision.transforms.functional import to_pil_image

from grading.bench.race import using
from helpers import encoder, losses
from helpers.projection_head import SimCLR, projection_mlp

HALVES = (0.5,) * 3, (0.5,) * 3
CIFAR = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Peer:
    """Views of one picture at a time, model, optimizer, images in a batch, temperature; where they are written down.

    norm: mean and spread of the channels that the views are normalised by.
    """

    name: str
    source: str
    norm: tuple[tuple[float, float, float], tuple[float, float, float]]
    views: Callable[[], Callable]
    model: Callable[[], SimCLR]
    optimizer: Callable[[nn.Module], torch.optim.Optimizer]
    batch_size: int
    temperature: float


def uva_views() -> Callable:
    jitter = transforms.ColorJitter(brightness=0.5, contrast=0.5, saturation=0.5, hue=0.1)
    return transforms.Compose([
        transforms.RandomHorizontalFlip(), transforms.RandomResizedCrop(32), transforms.RandomApply([jitter], p=0.8),
        transforms.RandomGrayscale(p=0.2), transforms.GaussianBlur(kernel_size=9), transforms.ToTensor(),
        transforms.Normalize(*HALVES),
    ])  # fmt: skip


def cs231n_views() -> Callable:
    jitter = transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)
    return transforms.Compose([
        transforms.RandomResizedCrop(32), transforms.RandomHorizontalFlip(p=0.5), transforms.RandomApply([jitter], p=0.8),
        transforms.RandomGrayscale(p=0.2), transforms.ToTensor(),
        transforms.Normalize(*CIFAR),
    ])  # fmt: skip


def lightly_views() -> Callable:
    from lightly.transforms import SimCLRTransform  # installed beside the course by `make bench`

    mean, spread = IMAGENET  # its default
    whole = SimCLRTransform(input_size=32, cj_strength=0.5, gaussian_blur=0.0, normalize={"mean": mean, "std": spread})
    return whole.transforms[0]  # of two equal ones


def imagenet_resnet18() -> SimCLR:
    body = resnet18()
    body.fc = nn.Identity()
    return SimCLR(body, projection_mlp(512, [512, 128]))


def small_resnet(arch: str) -> SimCLR:
    body, width = encoder.build_encoder(arch, small_images=True)
    return SimCLR(body, projection_mlp(width, [512, 128], norm=True))


PEERS = (
    Peer("UvA", "https://uvadlc-notebooks.readthedocs.io, tutorial 17", HALVES, uva_views, imagenet_resnet18,
         lambda model: torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=1e-4), 256, 0.07),
    Peer("CS231n", "https://cs231n.github.io, assignment 3", CIFAR, cs231n_views, lambda: small_resnet("resnet50"),
         lambda model: torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-6), 64, 0.5),
    Peer("lightly", "https://docs.lightly.ai, CIFAR-10 benchmark", IMAGENET, lightly_views, lambda: small_resnet("resnet18"),
         lambda model: torch.optim.SGD(model.parameters(), lr=0.06, momentum=0.9, weight_decay=5e-4), 128, 0.5),
)  # fmt: skip


class Pairs(torch.utils.data.Dataset):
    """Two views of one picture at a time."""

    def __init__(self, images: Tensor, view: Callable):
        self.images, self.view = images, view

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        picture = to_pil_image(self.images[index])
        return self.view(picture), self.view(picture)


def trained(
    peer: Peer, images: Tensor, minutes: list[float], seed: int, workers: int | None = None
) -> Iterator[tuple[float, nn.Module, int, float]]:
    """Train a peer by the clock: yields (minutes, encoder, images seen, seconds) at each of `minutes`.

    The encoder is a copy in eval mode that takes pictures in [0, 1] and normalises them as the peer's views are. Time
    that the caller takes between two of them does not count. Learning rates stay as they begin: the authors' schedules
    last for hundreds of epochs, of which these are the first.

    Args:
        images: (M, 3, H, W) uint8.
        workers: processes that make views beside the one that trains, which has as many threads less; by default none or
            one, whichever is faster here.
    """
    if len(images) < peer.batch_size:
        raise ValueError(f"{peer.name} takes {peer.batch_size} images a batch, and there are {len(images)}.")
    threads = torch.get_num_threads()
    if workers is None:
        workers = min((0, 1), key=lambda number: pace(peer, images, seed, number))
    left, spent, since = sorted(minutes), 0.0, time.perf_counter()
    with using(threads - workers):
        for model, seen in steps(peer, images, seed, workers):
            if spent + time.perf_counter() - since >= 60 * left[0]:
                spent += time.perf_counter() - since
                body = nn.Sequential(transforms.Normalize(*peer.norm), copy.deepcopy(model.encoder)).eval()
                with using(threads):
                    yield left.pop(0), body, seen, spent
                since = time.perf_counter()
            if not left:
                return


def steps(peer: Peer, images: Tensor, seed: int, workers: int) -> Iterator[tuple[SimCLR, int]]:
    """Train for as long as it is asked to: the model and the images seen, after every step."""
    torch.manual_seed(seed)
    model = peer.model().train()
    optimizer = peer.optimizer(model)
    loader = DataLoader(
        Pairs(images, peer.views()), peer.batch_size, shuffle=True, drop_last=True, num_workers=workers,
        persistent_workers=workers > 0,
    )  # fmt: skip
    seen = 0
    while True:
        for x_a, x_b in loader:
            _, z = model(torch.cat([x_a, x_b]))  # (2N, 128)
            loss = losses.nt_xent(*z.chunk(2), peer.temperature)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen += len(x_a)
            yield model, seen


def pace(peer: Peer, images: Tensor, seed: int, workers: int, count: int = 4) -> float:
    """Seconds of so many steps, the first one, in which everything is set up, left out."""
    with using(torch.get_num_threads() - workers):
        running = steps(peer, images, seed, workers)
        next(running)
        start = time.perf_counter()
        for _ in range(count):
            next(running)
        return time.perf_counter() - start
