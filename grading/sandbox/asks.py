"""What the judge asks of answers that make or take modules, which cannot travel: each ask runs one answer on inputs and
weights that depend on the judge's numbers alone, and gives back plain data. The right values are computed elsewhere,
from the same numbers (grading/verdicts.py); nothing in this file knows them.

An ask is a function (answer, numbers) -> dict. `numbers` holds a seed and sizes.
"""

import itertools
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Generator, Tensor, nn
from torchvision.models import ResNet
from torchvision.models.resnet import BasicBlock

SIDE = 4  # pixels of the images that train_step and pretrain get


def fill(module: nn.Module, seed: int) -> nn.Module:
    """Give every weight and statistic of a module a value that depends on seed, its place and its shape alone."""
    with torch.no_grad():
        for place, tensor in enumerate(itertools.chain(module.parameters(), module.buffers())):
            if tensor.is_floating_point():
                drawn = torch.randn(tensor.shape, generator=Generator().manual_seed(1000 * seed + place))
                width = max(1, tensor[0].numel()) if tensor.ndim > 1 else 1
                tensor.copy_(0.5 + drawn.abs() if tensor.ndim == 1 else drawn * (2 / width) ** 0.5)
    return module


def draw(numbers: dict, *shape: int, place: int = 0) -> Tensor:
    """Uniform numbers in [0, 1), another set for every place."""
    return torch.rand(*shape, generator=Generator().manual_seed(1000 * numbers["seed"] + 500 + place))


class TinyEncoder(nn.Module):
    """Images (N, 3, H, W) -> h (N, width) of both signs: a convolution, a batch-norm, an average."""

    def __init__(self, width: int):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, width, 3, bias=False), nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)).mean(dim=(2, 3))


class TinyHead(nn.Sequential):
    """h (N, in_dim) -> z (N, out_dim)."""

    def __init__(self, in_dim: int, hidden_dim: int, out_dim: int):
        super().__init__(nn.Linear(in_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, out_dim))
        self.in_dim, self.hidden_dim, self.out_dim = in_dim, hidden_dim, out_dim

    @property
    def layers(self) -> nn.Sequential:
        return self


class TinyModel(nn.Module):
    """x -> (h, z), as SimCLR(encoder, head) is to be."""

    def __init__(self, encoder: nn.Module, head: nn.Module):
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.encoder(x)
        return h, self.head(h)


class FlatModel(TinyModel):
    """The same on flattened images of SIDE pixels, in float64, small enough to train hundreds of steps a second."""

    def __init__(self, seed: int):
        encoder = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 12), nn.BatchNorm1d(12), nn.ReLU())
        super().__init__(encoder, nn.Sequential(nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 7)))
        fill(self, seed).double()

    def weights(self) -> Tensor:
        """All weights in one row."""
        return torch.cat([weight.detach().double().flatten() for weight in self.parameters()])


def small_resnet(width: int) -> ResNet:
    """A ResNet with one block and a width of its own."""
    net = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=7)
    net.conv1, net.bn1 = nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width)
    net.layer1 = nn.Sequential(BasicBlock(width, width))
    net.layer2, net.layer3, net.layer4 = nn.Identity(), nn.Identity(), nn.Identity()
    net.fc = nn.Linear(width, 7)
    return net


def small_image_stem(answer, numbers: dict) -> dict:
    net = fill(answer(small_resnet(numbers["width"])), numbers["seed"])
    x = draw(numbers, 3, 3, 18, 18)
    logits = net.train()(x)
    logits.square().sum().backward()
    return {"logits": net.eval()(x), "slope": net.conv1.weight.grad}


def build_encoder(answer, numbers: dict) -> dict:
    encoder, feature_dim = answer(numbers["arch"], numbers["small_images"])
    shapes = [list(weight.shape) for weight in encoder.parameters()]
    h = fill(encoder, numbers["seed"]).eval()(draw(numbers, 2, 3, numbers["side"], numbers["side"])).detach()
    return {"feature_dim": int(feature_dim), "shapes": shapes, "h": h}


def encoder_shapes(answer, numbers: dict) -> dict:
    """Of the deep ones only what they are made of; built without memory where the answer allows it."""
    try:
        with torch.device("meta"):
            encoder, feature_dim = answer(numbers["arch"], numbers["small_images"])
            feature_dim = int(feature_dim)
    except Exception:
        encoder, feature_dim = answer(numbers["arch"], numbers["small_images"])
    return {"feature_dim": int(feature_dim), "shapes": [list(weight.shape) for weight in encoder.parameters()]}


def projection_head(answer, numbers: dict) -> dict:
    sizes = [numbers[name] for name in ("in_dim", "hidden_dim", "out_dim")]
    head = fill(answer(*sizes), numbers["seed"])
    h = (draw(numbers, 9, sizes[0]) - 0.5).requires_grad_()
    z = head.train()(h)
    (slope,) = torch.autograd.grad(z.square().sum(), h)
    wide = answer(sizes[0], sizes[1]).eval()(h)
    shapes = [list(weight.shape) for weight in head.parameters()]
    return {"z": head.eval()(h).detach(), "slope": slope, "shapes": shapes, "default": wide.shape[1]}


def simclr(answer, numbers: dict) -> dict:
    width = numbers["width"]
    encoder, head = fill(TinyEncoder(width), numbers["seed"]), fill(TinyHead(width, 15, 6), numbers["seed"] + 1)
    model, x = answer(encoder, head), draw(numbers, 5, 3, 8, 8)
    h, z = model.train()(x)
    (z.square().sum() + h.sum()).backward()
    slope, (h_eval, z_eval) = encoder.conv.weight.grad.clone(), model.eval()(x)
    parts = {"encoder": fill(model.encoder, 5)(x).detach(), "head": fill(model.head, 6)(h_eval.detach()).detach()}
    return {
        "h": h.detach(),
        "z": z.detach(),
        "slope": slope,
        "h_eval": h_eval.detach(),
        "z_eval": z_eval.detach(),
        **parts,
    }


def linear_classifier(answer, numbers: dict) -> dict:
    width, classes = numbers["width"], numbers["classes"]
    model = TinyModel(fill(TinyEncoder(width), numbers["seed"]), fill(TinyHead(width, 15, 6), numbers["seed"] + 1))
    classifier = answer(model, classes)
    x, labels = draw(numbers, 12, 3, 8, 8, place=7), torch.arange(12) % classes
    nn.functional.cross_entropy(classifier.eval()(x), labels).backward()
    learning = [weight for weight in classifier.parameters() if weight.grad is not None]
    with torch.no_grad():
        for weight in learning:
            weight.copy_(draw(numbers, *weight.shape, place=weight.ndim))
    optimizer = torch.optim.SGD(classifier.parameters(), lr=0.5)
    for _ in range(3):
        nn.Sequential(classifier).train()
        optimizer.zero_grad()
        nn.functional.cross_entropy(classifier(x), labels).backward()
        optimizer.step()
    awake = classifier.train()(x).detach()
    return {
        "shapes": [list(weight.shape) for weight in learning],
        "awake": awake,
        "asleep": classifier.eval()(x).detach(),
    }


def train_step(answer, numbers: dict) -> dict:
    model = FlatModel(numbers["seed"]).eval()
    optimizer = torch.optim.SGD(model.parameters(), lr=numbers["lr"])
    losses, after = [], []
    for place in (1, 3):
        views = [draw(numbers, numbers["n"], 3, SIDE, SIDE, place=place + other).double() for other in (0, 1)]
        losses.append(answer(model, optimizer, *views, numbers["temperature"]))
        after.append(model.weights())
    return {"losses": losses, "after": after, "training": model.training}


@dataclass(frozen=True)
class TinyRecipe:
    """The fields of training.Recipe, with numbers for a network of a few hundred weights."""

    seed: int
    base_lr: float
    epochs: int = 3
    batch_size: int = 5
    weight_decay: float = 0.04  # none of these is a default anywhere
    warmup_fraction: float = 0.3
    temperature: float = 0.7
    decoupled: bool = False
    optimizer: str = "adamw"
    arch: str = "tiny"
    small_images: bool = True
    group_norm: bool = False
    view_size: int = SIDE
    views: int = 2
    strength: float = 0.5
    blur: bool = False
    fused: bool = False
    area: tuple[float, float] = (0.2, 1.0)
    hidden_dim: int = 12
    head_norm: bool = False
    out_dim: int = 7


def numbered_images(count: int) -> Tensor:
    """(count, 3, SIDE, SIDE) uint8; image i is i in its first pixel, and a pattern of its own elsewhere."""
    images = torch.randint(256, (count, 3, SIDE, SIDE), generator=Generator().manual_seed(count), dtype=torch.uint8)
    images[:, :, 0, 0] = torch.arange(count, dtype=torch.uint8)[:, None]
    return images


def steady_views(batch: Tensor) -> tuple[Tensor, Tensor]:
    """Two views (N, 3, SIDE, SIDE) float64 that depend on the images alone."""
    x = batch.double() / 255
    return x, (x * 0.7 + 0.3 * x.flip(3)).roll(1, dims=2)


def pretrain(answer, numbers: dict) -> dict:
    """A whole run; the same run stopped in its second epoch; and that one called again."""
    recipe, images = TinyRecipe(numbers["seed"], numbers["base_lr"]), numbered_images(numbers["count"])
    steps = numbers["count"] // recipe.batch_size

    def run(seed: int, checkpoint=None, stop_at=None, recipe=recipe) -> dict:
        model, batches = FlatModel(seed), []

        def two_views(batch: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
            if len(batches) == stop_at:
                raise KeyboardInterrupt
            batches.append(batch[:, 0, 0, 0].tolist())
            return steady_views(batch)

        history = None
        try:
            history = answer(model, images, two_views, recipe, lambda model: {"knn": 0.5}, checkpoint)
        except KeyboardInterrupt:
            pass
        return {"batches": batches, "weights": model.weights(), "history": history}

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.pt"
        whole, stopped = run(numbers["model"]), run(numbers["model"], path, steps + 1)
        again = run(numbers["model"] + 1, path)
    other = run(numbers["model"], recipe=TinyRecipe(recipe.seed + 1, recipe.base_lr, epochs=1))
    return {"whole": whole, "stopped": stopped, "again": again, "other": other}


def extract_features(answer, numbers: dict) -> dict:
    width, side, size = numbers["width"], numbers["side"], numbers["batch_size"]
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(3 * side * side, width), nn.BatchNorm1d(width))
    fill(encoder, numbers["seed"]).train()
    images = (256 * draw(numbers, numbers["count"], 3, side, side)).to(torch.uint8)
    torch.set_grad_enabled(True)
    h = answer(encoder, images, size)
    recording = torch.is_grad_enabled()
    after = encoder(images[:4] / 255).detach()  # tells which mode the encoder is in, and its statistics
    asleep = encoder.eval()(images[:4] / 255).detach()
    return {
        "h": h,
        "recording": recording,
        "after": after,
        "asleep": asleep,
        "again": answer(encoder, images[:size], size),
        "mode": encoder.training,
    }


ASKS = {ask.__name__: ask for ask in (
    small_image_stem, build_encoder, encoder_shapes, projection_head, simclr, linear_classifier, train_step, pretrain,
    extract_features,
)}  # fmt: skip
