"""Checks of notebook 03. The oracles are written out in matrix products; the encoders are tiny stand-ins."""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers.checks.core import as_double, between, call, check, close, expect, expect_close, expect_tensor

__all__ = ["check_linear_classifier", "check_projection_head", "check_simclr"]


@check
def check_projection_head(ProjectionHead, generator):
    """Linear, ReLU, linear: by what it computes, whatever its layers are called."""
    in_dim, hidden_dim, out_dim = (between(generator, low, low + 4) for low in (6, 22, 13))  # all different
    head = build("ProjectionHead", ProjectionHead, in_dim, hidden_dim, out_dim)
    name = f"ProjectionHead({in_dim}, {hidden_dim}, {out_dim})"
    expect(
        any(True for _ in head.parameters()),
        f"{name} has no parameters: are its layers attributes of self, made in __init__?",
    )
    h = 3 * torch.randn(64, in_dim, generator=generator)
    z = call(f"{name}, on h (64, {in_dim}),", head.eval(), h)
    expect_tensor(f"z of {name} for h (64, {in_dim})", z, (64, out_dim), torch.float32)
    look_at_chance(name, build("ProjectionHead", ProjectionHead, in_dim, hidden_dim, out_dim).train(), h)
    few = call(f"{name}, on h (3, {in_dim}),", head.eval(), h[:3])
    expect_close(
        f"z of the first 3 rows of h alone, of {name},",
        few,
        z[:3],
        tolerance=1e-4,
        hint="A row of z may depend on its own row of h only.",
    )
    look_at_values(name, head, h, z, hidden_dim)
    look_at_sizes(name, head, in_dim, hidden_dim, out_dim)
    look_at_gradients(name, head.train(), h)

    default = build("ProjectionHead", ProjectionHead, in_dim, hidden_dim)
    z = call(f"ProjectionHead({in_dim}, {hidden_dim}), on h (4, {in_dim}),", default.eval(), h[:4])
    expect_tensor(f"z of ProjectionHead({in_dim}, {hidden_dim}), where out_dim is 128 unless told,", z, (4, 128))
    other = build("ProjectionHead", ProjectionHead, in_dim, hidden_dim, out_dim)
    expect(
        not {id(p) for p in head.parameters()} & {id(p) for p in other.parameters()},
        "Two heads share their weights: make the layers in __init__, not in the class body.",
    )


def build(name: str, make, *sizes: int) -> nn.Module:
    what = f"{name}({', '.join(map(str, sizes))})"
    head = call(what, make, *sizes)
    expect(
        isinstance(head, nn.Module),
        f"{what} is a {type(head).__name__}, not an nn.Module, so an optimizer would not find its weights.",
    )
    return head


def look_at_chance(name: str, head: nn.Module, h: Tensor) -> None:
    """Two runs in train mode agree. A batch-norm takes the statistics of the batch in both, so it does not disturb."""
    with torch.no_grad():
        once, again = (as_double(call(f"{name}, in train mode,", head, h)) for _ in range(2))
    expect(
        close(once, again, 1e-5),
        f"Two runs of {name} in train mode on one and the same h gave different z: something in it is random, "
        "a dropout perhaps. Between the two layers stands a ReLU, no more.",
    )


def look_at_values(name: str, head: nn.Module, h: Tensor, z: Tensor, hidden_dim: int) -> None:
    """What z tells without knowing the layers: bounded, one-sided, of unit length, or linear in h."""
    expect(bool(z.isfinite().all()), f"z of {name} holds NaN or infinite values.")
    norms = z.norm(dim=1)
    expect(
        not close(norms, torch.ones_like(norms), 1e-4),
        f"Every z of {name} has length 1: it is normalised inside. "
        "Give z as the last linear layer makes it; the loss normalises.",
    )
    expect(
        bool((z < 0).any()) or not bool((z == 0).any()),
        f"No entry of z of {name} is negative, many are 0: a ReLU stands at the output. "
        "It belongs between the layers, not behind them.",
    )
    expect(
        bool((z < 0).any()),
        f"No entry of z of {name} is negative: something bends the output. "
        "z is what the last linear layer makes, of either sign.",
    )
    expect(
        not close(z.mean(dim=1), torch.zeros(len(z)), 1e-5)
        or not close(z.std(dim=1), z.std(dim=1)[:1].expand(len(z)), 1e-3),
        f"Every z of {name} has mean 0 and one and the same spread: it is normalised inside. "
        "The last layer's output is z.",
    )
    left, right = h[:32], h[32:]
    with torch.no_grad():
        straight = head((left + right) / 2)
    expect(
        not close(straight, (z[:32] + z[32:]) / 2, 1e-5),
        f"{name} is linear: the z half-way between two h is half-way between their z. Without a ReLU in between, "
        "two linear layers are no more than one.",
    )
    weights = [p for p in head.parameters() if p.dim() == 2]
    first = [orient(p, hidden_dim, h.shape[1]) for p in weights if sorted(p.shape) == sorted((hidden_dim, h.shape[1]))]
    last = [orient(p, z.shape[1], hidden_dim) for p in weights if sorted(p.shape) == sorted((z.shape[1], hidden_dim))]
    if len(weights) == 2 and len(first) == len(last) == 1:  # else look_at_sizes tells
        biases = find_biases(name, head, (hidden_dim, z.shape[1]))
        bias, last_bias = (biases.get(size, torch.zeros(1)).detach() for size in (hidden_dim, z.shape[1]))
        inner = h @ first[0].T + bias  # (64, hidden_dim)
        normed = look_at_batch_norms(name, head, h, inner, z)
        compare(name, h, z, first[0], last[0], bias, last_bias, inner if normed is None else normed)


def find_biases(name: str, head: nn.Module, sizes: tuple[int, int]) -> dict[int, Tensor]:
    """{length: bias}, after a look at what else has weights. Those of a batch-norm are its own affair."""
    biases, strange = {}, (nn.PReLU, nn.LayerNorm, nn.GroupNorm)
    for layer in head.modules():
        expect(
            not isinstance(layer, strange),
            f"A {type(layer).__name__} stands in {name}. Between the two layers stands a ReLU, no more.",
        )
    for label, p in head.named_parameters():
        owner = head.get_submodule(label.rpartition(".")[0])
        if p.dim() != 2 and not isinstance(owner, nn.modules.batchnorm._BatchNorm):
            expect(
                p.dim() == 1 and len(p) in sizes and len(p) not in biases,
                f"{name} holds a further weight, `{label}` {tuple(p.shape)}. "
                "Two matrices, and a bias each where you want one, are all that linear, ReLU, linear takes.",
            )
            biases[len(p)] = p
    return biases


def look_at_batch_norms(name: str, head: nn.Module, h: Tensor, inner: Tensor, z: Tensor) -> Tensor | None:
    """What a batch-norm gives to the ReLU, None where there is none. It has one place: what it gets is `inner`."""
    seen: list[tuple[Tensor, Tensor]] = []
    norms = [layer for layer in head.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]

    def keep(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        seen.append((inputs[0].clone(), output.clone()))  # a ReLU in place would write over them

    hooks = [layer.register_forward_hook(keep) for layer in norms]
    try:
        with torch.no_grad():
            head(h)
    finally:
        for hook in hooks:
            hook.remove()
    for given, _ in seen:
        expect(
            given.shape != z.shape,
            f"A batch-norm stands behind the last layer of {name}. z is what that layer makes, not normalised.",
        )
        expect(
            given.shape == inner.shape and not close(as_double(given), as_double(inner.relu()), 1e-4),
            f"A batch-norm of {name} stands in the wrong place. It is fine between the first layer and the ReLU.",
        )
    return seen[-1][1] if seen else None


def orient(weight: Tensor, rows: int, columns: int) -> Tensor:
    """As nn.Linear keeps it: (out, in)."""
    return weight.detach() if weight.shape == (rows, columns) else weight.detach().T


def compare(
    name: str, h: Tensor, z: Tensor, first: Tensor, last: Tensor, bias: Tensor, last_bias: Tensor, inner: Tensor
) -> None:
    """Two matrices, at most two biases, and what comes to the ReLU (64, hidden_dim): then z is known."""

    def outer(hidden: Tensor) -> Tensor:
        return hidden @ last.T + last_bias

    z_wanted = outer(inner.relu())
    mistakes = {
        "The ReLU stands before the first layer. It belongs between the two.": outer(h.relu() @ first.T + bias),
        "h is normalised on its way in. The head takes h as it is.": outer(
            (F.normalize(h, dim=1) @ first.T + bias).relu()
        ),
        "There is a ReLU before the first layer, too. One, between the two layers, is enough.": outer(
            (h.relu() @ first.T + bias).relu()
        ),
        "The hidden values are normalised. Between the layers stands a ReLU, no more.": outer(
            F.normalize(inner.relu(), dim=1)
        ),
    }
    curves = {
        "tanh": inner.tanh(),
        "sigmoid": inner.sigmoid(),
        "GELU": F.gelu(inner),
        "SiLU": F.silu(inner),
        "ELU": F.elu(inner),
        "leaky ReLU": F.leaky_relu(inner),
    }
    mistakes |= {f"The non-linearity is a {curve}; a ReLU is wanted.": outer(value) for curve, value in curves.items()}
    mistakes |= {"A tanh stands at the output. z is what the last layer makes, unbounded.": z_wanted.tanh()}
    expect_close(
        f"z of {name}",
        z,
        z_wanted,
        mistakes,
        tolerance=1e-4,
        hint="That is not linear, ReLU, linear on the two weights in the head.",
    )


def look_at_sizes(name: str, head: nn.Module, in_dim: int, hidden_dim: int, out_dim: int) -> None:
    given = sorted(sorted(p.shape) for p in head.parameters() if p.dim() == 2)
    wanted = sorted([sorted((in_dim, hidden_dim)), sorted((hidden_dim, out_dim))])
    if given == wanted:
        return
    if len(given) == 1:
        expect(
            False, f"{name} has one weight matrix; two are wanted, a linear layer before the ReLU and one behind it."
        )
    if len(given) > 2:
        expect(False, f"{name} has {len(given)} weight matrices; two are wanted: linear, ReLU, linear.")
    expect(
        any(hidden_dim in shape for shape in given),
        f"No weight of {name} has a side of {hidden_dim}: hidden_dim, the width between the two layers, is not used.",
    )
    expect(False, f"The weights of {name} have the sides {given}; {wanted} are wanted.")


def look_at_gradients(name: str, head: nn.Module, h: Tensor) -> None:
    head.zero_grad()
    h = h.clone().requires_grad_()
    z = head(h)
    expect(
        z.requires_grad, f"z of {name} carries no gradient (a detach, .data or no_grad?), so the head could not learn."
    )
    z.square().sum().backward()
    lost = [label for label, p in head.named_parameters() if p.grad is None or not p.grad.any()]
    expect(not lost, f"No gradient reaches `{lost[0] if lost else ''}` of {name}, so it would never learn.")
    expect(
        h.grad is not None and bool(h.grad.any()),
        f"No gradient goes through {name} back to h, so the encoder could not learn.",
    )


class TinyEncoder(nn.Module):
    """A convolution, a batch-norm and an average: images (N, 3, H, W) -> h (N, width). Counts its runs."""

    def __init__(self, width: int, generator: torch.Generator):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, width, 3, bias=False), nn.BatchNorm2d(width)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
            self.norm.running_mean.copy_(torch.randn(width, generator=generator))
            self.norm.running_var.copy_(0.5 + torch.rand(width, generator=generator))
        self.runs = 0

    def forward(self, x: Tensor) -> Tensor:
        self.runs += 1
        return self.norm(self.conv(x)).relu().mean(dim=(2, 3))


class SignedEncoder(TinyEncoder):
    """Its h has both signs: every other column is turned round. A ReLU on it does not go unnoticed."""

    def forward(self, x: Tensor) -> Tensor:
        h = super().forward(x)
        return h * (1 - 2 * (torch.arange(h.shape[1]) % 2))


class TinyHead(nn.Sequential):
    """Linear, ReLU, linear, with its sizes as attributes. Counts its runs."""

    def __init__(self, in_dim: int, hidden_dim: int, out_dim: int):
        super().__init__(nn.Linear(in_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, out_dim))
        self.in_dim, self.hidden_dim, self.out_dim, self.runs = in_dim, hidden_dim, out_dim, 0

    @property
    def layers(self) -> nn.Sequential:
        return self

    def forward(self, h: Tensor) -> Tensor:
        self.runs += 1
        return super().forward(h)


class TinyModel(nn.Module):
    """What SimCLR(encoder, head) is to be; linear_classifier gets one, so that it needs no other answer."""

    def __init__(self, encoder: nn.Module, head: nn.Module):
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.encoder(x)
        return h, self.head(h)


def parts(generator: torch.Generator, encoder=TinyEncoder) -> tuple[TinyEncoder, TinyHead, int, int]:
    width, out_dim = between(generator, 9, 12), between(generator, 5, 7)
    return encoder(width, generator), TinyHead(width, between(generator, 14, 17), out_dim), width, out_dim


@check
def check_simclr(SimCLR, generator):
    """Both outputs, in order, from the parts that were handed in, each run once."""
    encoder, head, width, out_dim = parts(generator, SignedEncoder)
    model = call("SimCLR(encoder, head)", SimCLR, encoder, head)
    expect(isinstance(model, nn.Module), f"SimCLR(encoder, head) is a {type(model).__name__}, not an nn.Module.")
    for part, module in (("encoder", encoder), ("head", head)):
        expect(
            isinstance(getattr(model, part, None), nn.Module),
            f"The model has no .{part}; notebooks to come take it from there: self.{part} = {part}.",
        )
        lost = {id(p) for p in getattr(model, part).parameters()} - {id(p) for p in model.parameters()}
        expect(
            not lost,
            f"model.parameters() misses the {part}'s weights, so an optimizer would: make it an attribute of self.",
        )
        expect(
            {id(p) for p in module.parameters()} <= {id(p) for p in getattr(model, part).parameters()},
            f"The model's .{part} is not the {part} that was handed in.",
        )
    x = torch.rand(between(generator, 3, 6), 3, 8, 8, generator=generator)
    encoder.runs = head.runs = 0
    pair = call("model(x)", model.train(), x)
    expect(
        not isinstance(pair, Tensor),
        "model(x) gave one tensor; the pair (h, z) is wanted: the loss needs z, and h is what is kept.",
    )
    expect(
        isinstance(pair, tuple | list) and len(pair) == 2,
        f"model(x) gave a {type(pair).__name__}; the pair (h, z) is wanted.",
    )
    expect(
        encoder.runs == 1 and head.runs == 1,
        f"One call ran the encoder {encoder.runs} times and the head {head.runs} times; it takes one run each. "
        "Keep h in a variable, and give the head that.",
    )
    n = len(x)
    expect(
        not (isinstance(pair[0], Tensor) and pair[0].shape == (n, out_dim)),
        "model(x) gave (z, h) or z twice; h, the encoder's output, comes first.",
    )
    expect_tensor("h, the first of model(x),", pair[0], (n, width))
    expect(
        not (isinstance(pair[1], Tensor) and pair[1].shape == (n, width)),
        f"z, the second of model(x), is as wide as h ({width} columns): is it the head's output?",
    )
    expect_tensor("z, the second of model(x),", pair[1], (n, out_dim))
    h, z = call("model(x[:1]), a batch of one image,", model.eval(), x[:1])
    expect_tensor("h of a batch of one image", h, (1, width))
    expect_tensor("z of a batch of one image", z, (1, out_dim))
    h, z = call("model(x)", model.eval(), x)
    with torch.no_grad():
        h_wanted = encoder(x)
        z_wanted, z_of_unit = head(h_wanted), head(F.normalize(h_wanted, dim=1))
        z_of_positive = head(h_wanted.relu())
    expect_close(
        "h of model(x)",
        h,
        h_wanted,
        {"h is normalised. It is handed on as the encoder makes it.": F.normalize(h_wanted, dim=1)},
    )
    expect_close(
        "z of model(x)",
        z,
        z_wanted,
        {
            "z is normalised. The loss does that; the model hands z on as the head makes it.": F.normalize(
                z_wanted, dim=1
            ),
            "The head got a normalised h. It gets h as it is.": z_of_unit,
            "The head got relu(h). It gets h as it is.": z_of_positive,
        },
    )
    model.zero_grad()
    pair = model(x)
    expect(pair[1].requires_grad, "z carries no gradient (a detach or no_grad?), so nothing could learn.")
    pair[1].square().sum().backward()
    expect(
        encoder.conv.weight.grad is not None and bool(encoder.conv.weight.grad.any()),
        "No gradient comes from z to the encoder (is h detached?): the head would learn, and f never.",
    )
    expect(pair[0].requires_grad, "h carries no gradient (a detach or no_grad?); it must stay trainable.")


@check
def check_linear_classifier(linear_classifier, generator):
    """One linear layer on h that learns, on an encoder that nothing changes, whatever mode is asked for."""
    encoder, head, width, out_dim = parts(generator)
    original = copy.deepcopy(encoder)
    num_classes = between(generator, 18, 21)  # unlike width, hidden and out
    classifier = call("linear_classifier(model, num_classes)", linear_classifier, TinyModel(encoder, head), num_classes)
    expect(
        isinstance(classifier, nn.Module),
        f"linear_classifier(model, {num_classes}) gave a {type(classifier).__name__}; an nn.Module is wanted.",
    )
    expect(
        call("classifier.train()", classifier.train) is classifier,
        "classifier.train() returned something else than the classifier; `return self` at its end.",
    )
    for name, value in [*encoder.named_buffers(), *classifier.named_buffers()]:
        known = dict(original.named_buffers()).get(name.removeprefix("encoder."))
        expect(
            known is None or known.shape != value.shape or torch.equal(known, value),
            f"Making the classifier already changed the encoder's `{name.removeprefix('encoder.')}`: "
            "images went through it in train mode.",
        )
    n = between(generator, 5, 8)
    x = torch.rand(n, 3, 8, 8, generator=generator)
    labels = torch.randint(num_classes, (n,), generator=generator)
    logits = call(f"The classifier, on images {tuple(x.shape)},", classifier.eval(), x)
    expect(
        not isinstance(logits, tuple | list),
        "The classifier gave a tuple; logits (N, C) alone are wanted.",
    )
    expect_tensor(f"What the classifier gave for {n} images and {num_classes} classes", logits, (n, num_classes))
    look_at_what_is_read(classifier, original, logits, x, head)
    look_at_modes(classifier, original, x)
    look_at_one_step(classifier, x, labels)
    look_at_the_models_own(encoder, original)
    look_at_a_fresh_one(linear_classifier, TinyModel(original, head), num_classes, x)


def look_at_what_is_read(
    classifier: nn.Module, original: TinyEncoder, logits: Tensor, x: Tensor, head: TinyHead
) -> None:
    """The logits are W h + b for some W and b: a linear layer's, and h's rather than z's."""
    expect(
        not (bool((logits >= 0).all()) and close(logits.sum(dim=1), torch.ones(len(logits)), 1e-4)),
        "Each row is a softmax: it sums to 1. Logits are wanted; cross_entropy takes the softmax itself.",
    )
    many = torch.rand(4 * len(x) + 40, *x.shape[1:], generator=torch.Generator().manual_seed(7))
    many = many * torch.linspace(0.1, 3, len(many))[:, None, None, None]  # so that h differs from image to image
    original, head = copy.deepcopy(original).eval().double(), copy.deepcopy(head).eval().double()
    with torch.no_grad():
        h = original(many.double())
        z, given = head(h), as_double(call(f"The classifier, on images {tuple(many.shape)},", classifier, many))
    if misfit(h, given) < 1e-3:
        return
    expect(
        misfit(z, given) > 1e-3,
        "The classifier reads z: the head is still in it. Throw it away: the layer reads h, the encoder's output.",
    )
    expect(
        misfit(F.normalize(h, dim=1), given) > 1e-3,
        "The classifier normalises h first. The linear layer reads h as it is.",
    )
    expect(
        False,
        "What the classifier gives is not a linear map of the model's h: is it the encoder that was handed in, "
        "unchanged and in eval mode, with one linear layer behind it and nothing else?",
    )


def misfit(inputs: Tensor, outputs: Tensor) -> float:
    """What the best linear map with bias leaves over, as a share of the outputs' spread."""
    inputs = torch.cat([inputs, torch.ones(len(inputs), 1, dtype=inputs.dtype)], dim=1)
    rest = outputs - inputs @ torch.linalg.lstsq(inputs, outputs, driver="gelsd").solution
    return float(rest.norm() / (outputs - outputs.mean(dim=0)).norm().clamp_min(1e-12))


def look_at_modes(classifier: nn.Module, original: TinyEncoder, x: Tensor) -> None:
    """train(), alone or through a module around it, changes neither the statistics nor what comes out."""
    asleep = call("The classifier, in eval mode,", classifier.eval(), x)
    before = norm_statistics(classifier)
    for wake in ("classifier.train()", "nn.Sequential(classifier).train()"):
        nn.Sequential(classifier).train() if "Sequential" in wake else classifier.train()
        awake = call(f"The classifier, after {wake},", classifier, x)
        moved = moved_since(before, classifier)
        expect(
            not moved,
            f"After {wake}, a run of the classifier changed `{moved[0] if moved else ''}`: train() woke the encoder, "
            "and its batch-norm statistics move, frozen weights or not. Keep it in eval mode whatever train() says.",
        )
        expect(
            close(as_double(awake), as_double(asleep), 1e-5),
            f"After {wake}, the classifier gives other logits than in eval mode: the encoder's batch-norm takes its "
            "statistics from the batch. Keep the encoder in eval mode whatever train() says.",
        )
        classifier.eval()


def look_at_the_models_own(encoder: TinyEncoder, original: TinyEncoder) -> None:
    """The encoder that was handed in can learn and is in the mode it was in, whatever the classifier went through."""
    frozen = [name for name, p in encoder.named_parameters() if not p.requires_grad]
    expect(
        not frozen,
        f"The model's own encoder is frozen now (`{frozen[0] if frozen else ''}` has requires_grad False), so nobody "
        "could train it further. Freeze a copy of it: copy.deepcopy(model.encoder).",
    )
    expect(
        [part.training for part in encoder.modules()] == [part.training for part in original.modules()],
        "The model's own encoder was put into eval mode along with the classifier's: both are one and the same. "
        "Take a copy of it: copy.deepcopy(model.encoder).",
    )


def look_at_a_fresh_one(linear_classifier, model: TinyModel, num_classes: int, x: Tensor) -> None:
    """Images through a classifier whose train() and eval() nobody has called yet."""
    classifier = call("linear_classifier(model, num_classes)", linear_classifier, model, num_classes)
    before = norm_statistics(classifier)
    call("A fresh classifier", classifier, x)
    moved = moved_since(before, classifier)
    expect(
        not moved,
        f"The first images through a fresh classifier changed `{moved[0] if moved else ''}`: new modules begin in "
        "train mode. Put the encoder into eval mode in __init__, too.",
    )


def norm_statistics(classifier: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in classifier.named_buffers() if value.is_floating_point()}


def moved_since(before: dict[str, Tensor], classifier: nn.Module) -> list[str]:
    """Names of the statistics that are not what they were."""
    return [name for name, value in norm_statistics(classifier).items() if not torch.equal(value, before[name])]


def look_at_one_step(classifier: nn.Module, x: Tensor, labels: Tensor) -> None:
    """A step on every parameter that can learn: the linear layer moves, the rest stays."""
    classifier.train()
    before = {name: value.clone() for name, value in classifier.named_parameters()}
    expect(bool(before), "The classifier has no parameters: its linear layer is to be an attribute of self.")
    classifier.zero_grad()
    logits = classifier(x)
    expect(
        logits.requires_grad,
        "The logits carry no gradient, so the linear layer could not learn: freeze the encoder only.",
    )
    F.cross_entropy(logits, labels).backward()
    learning = {name: p for name, p in classifier.named_parameters() if p.grad is not None}
    torch.optim.SGD(classifier.parameters(), lr=0.5, weight_decay=0.1).step()
    moved = [name for name, p in classifier.named_parameters() if not torch.equal(p, before[name])]
    expect(bool(moved), "A training step moved no weight: the linear layer is to learn.")
    c = logits.shape[1]
    thawed = [name for name in moved if c not in before[name].shape]
    expect(
        not thawed,
        f"A training step moved `{thawed[0] if thawed else ''}`: the encoder is not frozen. "
        "Only the linear layer on h is to learn.",
    )
    expect(
        sum(p.dim() == 2 for p in learning.values()) == 1,
        "More than one weight matrix learns; one linear layer on h is wanted.",
    )
