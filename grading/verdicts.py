"""The right results of every ask (grading/sandbox/asks.py), computed where no answer can reach, and the comparison.

A verdict is a function (ask, seed) -> None that raises NotYet; ask(name, **numbers) runs one ask on the answer and
returns its plain data. Nothing here trusts what comes back: a missing entry, a wrong type or shape is a wrong answer.
"""

import copy
import functools
import itertools
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torchvision.models import ResNet
from torchvision.models.resnet import BasicBlock, Bottleneck

from grading.sandbox import asks
from helpers.checks.core import NotYet, expect
from helpers.checks.training import oracle_steps, schedule
from helpers.encoder import resnet

Ask = Callable[..., dict]


def between(seed: int, low: int, high: int) -> int:
    """A whole number from low to high that depends on the seed."""
    return int(torch.randint(low, high + 1, (), generator=Generator().manual_seed(seed + 1000 * low + high)))


def agree(what: str, given, wanted: Tensor | float, tolerance: float = 1e-4) -> None:
    """The value is a number or tensor of the wanted shape, and close to it."""
    wanted = torch.as_tensor(wanted)
    try:
        given = torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError):
        raise NotYet(f"{what} is not what it should be.") from None
    expect(
        tuple(given.shape) == tuple(wanted.shape),
        f"{what} has shape {tuple(given.shape)}; {tuple(wanted.shape)} is wanted.",
    )
    largest = max(1.0, wanted.abs().max().item())
    off = (given.double() - wanted.double()).abs().max().item()
    expect(off <= tolerance * largest, f"{what} is not right for inputs of another size or seed.")


def small_image_stem(ask: Ask, seed: int) -> None:
    width = between(seed, 17, 23)
    data = ask("small_image_stem", seed=seed, width=width)
    net = asks.small_resnet(width)
    net.conv1, net.maxpool = nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.Identity()
    asks.fill(net, seed)
    net.train()(x := asks.draw({"seed": seed}, 3, 3, 18, 18)).square().sum().backward()
    agree("What the changed ResNet gives", data["logits"], net.eval()(x).detach())
    agree("The gradient on conv1", data["slope"], net.conv1.weight.grad, 1e-3)


LAYOUT = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)), "resnet34": (BasicBlock, (3, 4, 6, 3)), "resnet50": (Bottleneck, (3, 4, 6, 3)),
    "resnet101": (Bottleneck, (3, 4, 23, 3)), "resnet200": (Bottleneck, (3, 24, 36, 3)),
}  # fmt: skip


def right_encoder(arch: str, small_images: bool) -> tuple[nn.Module, int]:
    """The encoder and the length of its h. The narrow ResNets are the course's, which every answer is given."""
    net = ResNet(*LAYOUT[arch]) if arch in LAYOUT else resnet(arch)
    if small_images:
        net.conv1 = nn.Conv2d(3, net.conv1.out_channels, 3, 1, 1, bias=False)
        net.maxpool = nn.Identity()
    feature_dim, net.fc = net.fc.in_features, nn.Identity()
    return net, feature_dim


def build_encoder(ask: Ask, seed: int) -> None:
    flag = bool(between(seed, 0, 1))
    narrow = [("resnet8", flag), ("resnet8x2", not flag), ("resnet8x2-quarters", flag)]
    for arch, small_images in (("resnet18", True), ("resnet18", False), *narrow):
        side = 16 if small_images else 64
        what = f"build_encoder({arch!r}, small_images={small_images})"
        data = ask("build_encoder", seed=seed, arch=arch, small_images=small_images, side=side)
        net, feature_dim = right_encoder(arch, small_images)
        look_at_shapes(what, data, asks.fill(net, seed), feature_dim)
        with torch.no_grad():
            agree(f"h of {what}", data["h"], net.eval()(asks.draw({"seed": seed}, 2, 3, side, side)), 1e-3)
    for arch in ("resnet34", "resnet50", "resnet101", "resnet200"):
        flag = not flag
        data = ask("encoder_shapes", arch=arch, small_images=flag)
        with torch.device("meta"):
            net, feature_dim = right_encoder(arch, flag)
        look_at_shapes(f"build_encoder({arch!r}, small_images={flag})", data, net, feature_dim)


def look_at_shapes(what: str, data: dict, net: nn.Module, feature_dim: int) -> None:
    wanted = [list(weight.shape) for weight in net.parameters()]
    expect(data["feature_dim"] == feature_dim, f"{what} names another feature_dim than h has.")
    expect(
        sorted(map(str, data["shapes"])) == sorted(map(str, wanted)),
        f"{what} has other weights than a ResNet without fc.",
    )


def projection_head(ask: Ask, seed: int) -> None:
    sizes = {"in_dim": between(seed, 5, 9), "hidden_dim": between(seed, 20, 26), "out_dim": between(seed, 11, 15)}
    data = ask("projection_head", seed=seed, **sizes)
    h = (asks.draw({"seed": seed}, 9, sizes["in_dim"]) - 0.5).requires_grad_()
    problems = []
    for head in right_heads([tuple(shape) for shape in data["shapes"]], **sizes):
        z = asks.fill(head, seed).train()(h)
        (slope,) = torch.autograd.grad(z.square().sum(), h)
        try:
            agree("z", data["z"], head.eval()(h).detach()), agree("The gradient on h", data["slope"], slope, 1e-3)
            break
        except NotYet as problem:
            problems.append(problem)
    else:
        raise problems[0]
    expect(data["default"] == 128, "Without out_dim, z should have 128 numbers.")


def right_heads(shapes: list[tuple], in_dim: int, hidden_dim: int, out_dim: int) -> list[nn.Module]:
    """Linear, ReLU, linear with weights of these shapes in this order, with or without biases and batch-norm: at least one."""
    norms = nn.Identity, nn.BatchNorm1d, functools.partial(nn.BatchNorm1d, affine=False)
    found = []
    for bias, norm, last in itertools.product((True, False), norms, (True, False)):
        for order in itertools.permutations(("first", "norm", "last")):
            parts = {"first": nn.Linear(in_dim, hidden_dim, bias), "norm": norm(hidden_dim),
                     "last": nn.Linear(hidden_dim, out_dim, last)}  # fmt: skip
            head = Head({name: parts[name] for name in order})
            found += [head] if [tuple(weight.shape) for weight in head.parameters()] == shapes else []
    return found or [HeadByHand(shapes, in_dim, hidden_dim, out_dim)]


class Head(nn.ModuleDict):
    """Linear, batch-norm or nothing, ReLU, linear; made in one order, and used in this one."""

    def forward(self, h: Tensor) -> Tensor:
        return self["last"](self["norm"](self["first"](h)).relu())


class HeadByHand(nn.Module):
    """The same by hand, without batch-norm: where the weights come in another order, or turned."""

    def __init__(self, shapes: list[tuple], in_dim: int, hidden_dim: int, out_dim: int):
        super().__init__()
        wanted = [sorted((in_dim, hidden_dim)), sorted((hidden_dim, out_dim))]
        expect(
            sorted(sorted(shape) for shape in shapes if len(shape) == 2) == sorted(wanted),
            "The head is not two linear layers.",
        )
        known = {(hidden_dim,), (out_dim,)}
        expect(
            len(set(shapes)) == len(shapes) and {shape for shape in shapes if len(shape) != 2} <= known,
            "The head has odd weights.",
        )
        self.weights, self.sizes = (
            nn.ParameterList([nn.Parameter(torch.empty(shape)) for shape in shapes]),
            (in_dim, hidden_dim, out_dim),
        )

    def forward(self, h: Tensor) -> Tensor:
        in_dim, hidden_dim, out_dim = self.sizes
        of = {tuple(weight.shape): weight for weight in self.weights}
        first = of[hidden_dim, in_dim].T if (hidden_dim, in_dim) in of else of[in_dim, hidden_dim]
        last = of[out_dim, hidden_dim].T if (out_dim, hidden_dim) in of else of[hidden_dim, out_dim]
        return (h @ first + of.get((hidden_dim,), 0)).relu() @ last + of.get((out_dim,), 0)


def simclr(ask: Ask, seed: int) -> None:
    width = between(seed, 9, 12)
    data = ask("simclr", seed=seed, width=width)
    encoder, head = asks.fill(asks.TinyEncoder(width), seed), asks.fill(asks.TinyHead(width, 15, 6), seed + 1)
    x = asks.draw({"seed": seed}, 5, 3, 8, 8)
    h = encoder.train()(x)
    z = head(h)
    (z.square().sum() + h.sum()).backward()
    agree("h in train mode", data["h"], h.detach()), agree("z in train mode", data["z"], z.detach())
    agree("The gradient on the encoder", data["slope"], encoder.conv.weight.grad, 1e-3)
    h = encoder.eval()(x).detach()
    agree("h in eval mode", data["h_eval"], h), agree("z in eval mode", data["z_eval"], head(h).detach())
    agree("model.encoder", data["encoder"], asks.fill(encoder, 5)(x).detach())
    agree("model.head", data["head"], asks.fill(head, 6)(h).detach())


def linear_classifier(ask: Ask, seed: int) -> None:
    numbers = {"seed": seed, "width": between(seed, 9, 12), "classes": between(seed, 5, 8)}
    data = ask("linear_classifier", **numbers)
    encoder = asks.fill(asks.TinyEncoder(numbers["width"]), seed).eval()
    shapes = [tuple(shape) for shape in data["shapes"]]
    classes, width = numbers["classes"], numbers["width"]
    turned = (width, classes) in shapes  # h @ weight + bias, by hand
    wanted = (width, classes) if turned else (classes, width)
    expect(
        wanted in shapes and set(shapes) <= {wanted, (classes,)}, "More or less than one linear layer on h can learn."
    )
    weight = asks.draw(numbers, *wanted, place=2)
    weight = (weight.T if turned else weight).clone().requires_grad_()  # (classes, width)
    bias = (asks.draw(numbers, classes, place=1) if (classes,) in shapes else torch.zeros(classes)).requires_grad_()
    with torch.no_grad():
        h = encoder(asks.draw(numbers, 12, 3, 8, 8, place=7))  # (12, width)
    for _ in range(3):
        loss = F.cross_entropy(h @ weight.T + bias, torch.arange(12) % classes)
        slopes = torch.autograd.grad(loss, (weight, bias))
        with torch.no_grad():
            weight -= 0.5 * slopes[0]
            bias -= 0.5 * slopes[1] if (classes,) in shapes else 0
    logits = (h @ weight.T + bias).detach()
    agree("What the classifier gives after three steps, in train mode,", data["awake"], logits, 1e-3)
    agree("What the classifier gives after three steps, in eval mode,", data["asleep"], logits, 1e-3)


def train_step(ask: Ask, seed: int) -> None:
    numbers = {"seed": seed, "n": between(seed, 5, 9), "temperature": 0.1 * between(seed, 2, 5), "lr": 0.3}
    data = ask("train_step", **numbers)
    pairs = [
        tuple(
            asks.draw(numbers, numbers["n"], 3, asks.SIDE, asks.SIDE, place=place + other).double() for other in (0, 1)
        )
        for place in (1, 3)
    ]
    ways = [
        oracle_steps(asks.FlatModel(seed), pairs, numbers["lr"], numbers["temperature"], together=together)
        for together in (True, False)
    ]
    expect(data["training"] is True, "The model should stay in train mode.")
    expect(len(data["losses"]) == len(data["after"]) == 2, "Two steps give two losses.")
    if not all(isinstance(loss, int | float) for loss in data["losses"]):
        raise NotYet("train_step should return a plain number.")
    for losses, after in ways:
        if all(math.isclose(one, two, rel_tol=1e-4) for one, two in zip(data["losses"], losses, strict=True)):
            for step, (given, wanted) in enumerate(zip(data["after"], after, strict=True), 1):
                agree(f"The weights after step {step}", given, wanted)
            return
    raise NotYet("The losses of two steps are not those of NT-Xent, for other sizes and another temperature.")


def pretrain(ask: Ask, seed: int) -> None:
    numbers = {"seed": seed, "base_lr": 1e-3 * between(seed, 3, 9), "model": between(seed, 10, 99)}
    count = 20 + between(seed, 1, 4)
    data = ask("pretrain", count=count, **numbers)
    recipe, images = asks.TinyRecipe(seed, numbers["base_lr"]), asks.numbered_images(count)
    steps, whole, again = count // recipe.batch_size, data["whole"], data["again"]
    batches = whole["batches"]
    look_at_order(batches, steps, count, recipe)
    runs = [
        right_run(asks.FlatModel(numbers["model"]), images, batches, recipe, together) for together in (True, False)
    ]
    close = [
        torch.as_tensor(whole["weights"]).shape == run[0].shape
        and torch.allclose(whole["weights"], run[0], rtol=1e-4, atol=1e-5)
        for run in runs
    ]
    expect(any(close), "The weights at the end of a run are not those its batches, schedule and loss lead to.")
    weights, losses, rates = runs[close.index(True)]
    agree("history['loss']", whole["history"]["loss"], torch.tensor(losses), 1e-3)
    agree("history['lr']", whole["history"]["lr"], torch.tensor(rates), 1e-5)
    epochs = [(entry.get("epoch"), entry.get("knn")) for entry in whole["history"]["epochs"]]  # more in it does no harm
    expect(
        epochs == [(epoch, 0.5) for epoch in range(1, recipe.epochs + 1)],
        "history['epochs'] is not one entry an epoch with the monitor's numbers.",
    )
    expect(
        data["stopped"]["batches"] == batches[: steps + 1],
        "Two runs with one seed took the images in different orders.",
    )
    expect(again["batches"] == batches[steps:], "A run that was stopped does not go on with the images it had left.")
    agree("The weights of a run that was stopped and called again", again["weights"], weights)
    expect(data["other"]["batches"] != batches[:steps], "Another seed gives the same order.")


def look_at_order(batches: list, steps: int, count: int, recipe) -> None:
    expect(len(batches) == recipe.epochs * steps, "A run has epochs · (M // batch_size) steps.")
    epochs = [sum(batches[start : start + steps], []) for start in range(0, len(batches), steps)]
    for epoch in epochs:
        fits = len(epoch) == steps * recipe.batch_size == len(set(epoch)) and set(epoch) <= set(range(count))
        expect(fits and epoch != sorted(epoch), "An epoch is a new order of the images, in batches of batch_size.")
    expect(len(set(map(tuple, epochs))) == recipe.epochs, "Every epoch has an order of its own.")


def right_run(model, images: Tensor, batches: list, recipe, together: bool) -> tuple[Tensor, list[float], list[float]]:
    """Final weights, losses and rates of AdamW on these batches."""
    model, losses, rates = copy.deepcopy(model).train(), [], []
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.base_lr, weight_decay=recipe.weight_decay)
    warmup = round(recipe.warmup_fraction * len(batches))
    for step, batch in enumerate(batches):
        rates.append(schedule(step, len(batches), warmup, recipe.base_lr))
        optimizer.param_groups[0]["lr"] = rates[-1]
        x_a, x_b = asks.steady_views(images[torch.tensor(batch)])
        if together:
            z_a, z_b = model(torch.cat([x_a, x_b]))[1].chunk(2)
        else:
            z_a, z_b = model(x_a)[1], model(x_b)[1]
        z = F.normalize(torch.cat([z_a, z_b]), dim=1)  # (2N, D)
        logits = (z @ z.T / recipe.temperature).fill_diagonal_(-math.inf)  # (2N, 2N)
        loss = F.cross_entropy(logits, torch.arange(len(z)).roll(len(z_a)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return model.weights(), losses, rates


def extract_features(ask: Ask, seed: int) -> None:
    numbers = {
        "seed": seed,
        "width": between(seed, 9, 12),
        "side": between(seed, 4, 7),
        "batch_size": between(seed, 4, 6),
    }
    numbers["count"] = 2 * numbers["batch_size"] + 3
    data = ask("extract_features", **numbers)
    width, side = numbers["width"], numbers["side"]
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(3 * side * side, width), nn.BatchNorm1d(width))
    asks.fill(encoder, seed).eval()
    images = (256 * asks.draw(numbers, numbers["count"], 3, side, side)).to(torch.uint8)
    h = encoder(images / 255).detach()  # (M, D)
    agree("h", data["h"], h)
    expect(isinstance(data["h"], Tensor) and data["h"].dtype == torch.float32, "h should be float32.")
    expect(not data["h"].requires_grad, "h should not carry a gradient.")
    expect(data["recording"] is True, "Afterwards gradients should be recorded again.")
    agree("The encoder's batch in train mode, afterwards,", data["after"], encoder.train()(images[:4] / 255).detach())
    agree("The encoder's output in eval mode, afterwards,", data["asleep"], encoder.eval()(images[:4] / 255).detach())
    agree("h of fewer images", data["again"], encoder(images[: numbers["batch_size"]] / 255).detach())
    expect(data["mode"] is False, "An encoder that was in eval mode should stay there.")


VERDICTS = {verdict.__name__: verdict for verdict in (
    small_image_stem, build_encoder, projection_head, simclr, linear_classifier, train_step, pretrain, extract_features,
)}  # fmt: skip
