"""Answers to the exercises of notebook 03, right and wrong."""

import collections
import copy

import torch
import torch.nn.functional as F
from torch import nn

from helpers import projection_head
from tests.banks.exercise import Exercise

# ProjectionHead ------------------------------------------------------------------------------------------------------


class Functional(nn.Module):
    def __init__(self, i, h, o=128):
        super().__init__()
        self.first, self.second = nn.Linear(i, h, bias=False), nn.Linear(h, o, bias=False)

    def forward(self, h):
        return self.second(F.relu(self.first(h)))


class Inherited(nn.Sequential):
    def __init__(self, a, b, c=128):
        super().__init__(nn.Linear(a, b), nn.ReLU(inplace=True), nn.Linear(b, c))


def a_function_that_builds_one(width_in, width, width_out=128):
    return nn.Sequential(nn.Linear(width_in, width), nn.ReLU(), nn.Linear(width, width_out, bias=False))


class ByHand(nn.Module):
    """Matrices kept (in, out), the ReLU as a maximum."""

    def __init__(self, i, h, o=128):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.randn(i, h) / i**0.5), nn.Parameter(torch.randn(h, o) / h**0.5)
        self.shift = nn.Parameter(torch.zeros(h))

    def forward(self, h):
        return torch.maximum(h @ self.a + self.shift, torch.zeros(())) @ self.b


class WithBatchNorm(nn.Module):
    """As in the paper's own code."""

    def __init__(self, i, h, o=128):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(i, h, bias=False), nn.BatchNorm1d(h), nn.ReLU(), nn.Linear(h, o))

    def forward(self, h):
        return self.layers(h)


class NormBiasedInPlace(nn.Module):
    """Right: a batch-norm between two layers with biases, and a ReLU that writes over its input."""

    def __init__(self, i, h, o=128):
        super().__init__()
        self.first, self.norm, self.second = nn.Linear(i, h), nn.BatchNorm1d(h), nn.Linear(h, o)

    def forward(self, h):
        return self.second(F.relu_(self.norm(self.first(h))))


def layers(*middle, behind=()):
    """A class with layers of these kinds, made with their width, between the two linear ones and behind them."""

    class ProjectionHead(nn.Sequential):
        def __init__(self, in_dim, hidden_dim, out_dim=128):
            between = [kind(hidden_dim) for kind in middle]
            last = [kind(out_dim) for kind in behind]
            super().__init__(nn.Linear(in_dim, hidden_dim), *between, nn.Linear(hidden_dim, out_dim), *last)

    return ProjectionHead


def relu(width):
    return nn.ReLU()


class Scaled(Functional):
    """A learned factor for each hidden value."""

    def __init__(self, i, h, o=128):
        super().__init__(i, h, o)
        self.shift, self.scale = nn.Parameter(torch.zeros(h)), nn.Parameter(torch.ones(h))

    def forward(self, h):
        return self.second(F.relu(self.scale * self.first(h) + self.shift))


class NormedInput(Functional):
    def __init__(self, i, h, o=128):
        super().__init__(i, h, o)
        self.norm = nn.BatchNorm1d(i)

    def forward(self, h):
        return super().forward(self.norm(h))


def head(*kinds, before=lambda h: h, after=lambda z: z, middle=F.relu, sizes=lambda i, h, o: (i, h, h, o)):
    """A class that differs from the reference in what is handed in."""

    class ProjectionHead(nn.Module):
        def __init__(self, in_dim, hidden_dim, out_dim=128):
            super().__init__()
            a, b, c, d = sizes(in_dim, hidden_dim, out_dim)
            self.first, self.second = nn.Linear(a, b), nn.Linear(c, d)

        def forward(self, h):
            return after(self.second(middle(self.first(before(h)))))

    return ProjectionHead


class OneLayer(nn.Module):
    def __init__(self, i, h, o=128):
        super().__init__()
        self.only = nn.Linear(i, o)

    def forward(self, h):
        return self.only(h)


class ThreeLayers(nn.Module):
    def __init__(self, i, h, o=128):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(i, h), nn.ReLU(), nn.Linear(h, h), nn.ReLU(), nn.Linear(h, o))

    def forward(self, h):
        return self.layers(h)


class NoDefault(Functional):
    def __init__(self, i, h, o):
        super().__init__(i, h, o)


class OtherDefault(Functional):
    def __init__(self, i, h, o=64):
        super().__init__(i, h, o)


class NoSuperInit(nn.Module):
    def __init__(self, i, h, o=128):
        self.first = nn.Linear(i, h)


class LayersInAList(nn.Module):
    def __init__(self, i, h, o=128):
        super().__init__()
        self.layers = [nn.Linear(i, h), nn.ReLU(), nn.Linear(h, o)]

    def forward(self, h):
        for layer in self.layers:
            h = layer(h)
        return h


class NotAModule:
    def __init__(self, i, h, o=128):
        self.inner = Functional(i, h, o)

    def __call__(self, h):
        return self.inner(h)


class NoReturn(Functional):
    def forward(self, h):
        super().forward(h)


class NoForward(nn.Module):
    def __init__(self, i, h, o=128):
        super().__init__()
        self.first = nn.Linear(i, h)


class FrozenFirst(Functional):
    def __init__(self, i, h, o=128):
        super().__init__(i, h, o)
        self.first.requires_grad_(False)


KEPT = {}


def always_the_same(i, h, o=128):
    return KEPT.setdefault((i, h, o), Functional(i, h, o))


RIGHT_HEADS = {
    "F.relu, no biases": Functional,
    "a Sequential": Inherited,
    "a function that builds one": a_function_that_builds_one,
    "matrices by hand": ByHand,
    "with batch-norm": WithBatchNorm,
    "batch-norm, biases, ReLU in place": NormBiasedInPlace,
    "batch-norm in a row": layers(nn.BatchNorm1d, relu),
    "clamp for ReLU": head(middle=lambda hidden: hidden.clamp(min=0)),
}


class CourseHead(projection_head.ProjectionHead):
    pass


WRONG_HEADS = {
    "lazy: h as it is": (lambda i, h, o=128: nn.Identity(), "no parameters"),
    "fitted to the sizes of the asserts": (lambda i, h, o=128: Functional(12, 24, o), ""),
    "calls the reference": (lambda i, h, o=128: projection_head.ProjectionHead(i, h, o), "course's own answer"),
    "inherits the reference": (CourseHead, "course's own answer"),
    "calls the reference for more layers": (
        lambda i, h, o=128: projection_head.projection_mlp(i, [h, o]),
        "course's own answer",
    ),
    "no non-linearity": (head(middle=lambda hidden: hidden), "is linear"),
    "one layer": (OneLayer, "is linear"),
    "ReLU at the output too": (head(after=F.relu), "ReLU stands at the output"),
    "ReLU at the output only": (head(middle=lambda hidden: hidden, after=F.relu), "ReLU stands at the output"),
    "sigmoid at the output": (head(after=torch.sigmoid), "bends the output"),
    "z normalised": (head(after=lambda z: F.normalize(z, dim=1)), "normalised inside"),
    "layer norm at the output": (head(after=lambda z: F.layer_norm(z, z.shape[1:])), "normalised inside"),
    "tanh at the output": (head(after=torch.tanh), "tanh stands at the output"),
    "h normalised": (head(before=lambda h: F.normalize(h, dim=1)), "h is normalised on its way in"),
    "ReLU first": (head(before=F.relu, middle=lambda hidden: hidden), "before the first layer"),
    "ReLU first too": (head(before=F.relu), "before the first layer, too"),
    "hidden values normalised": (
        head(middle=lambda hidden: F.normalize(hidden.relu(), dim=1)),
        "hidden values are normalised",
    ),
    "GELU": (head(middle=F.gelu), "GELU"),
    "tanh between": (head(middle=torch.tanh), "tanh; a ReLU is wanted"),
    "leaky ReLU": (head(middle=F.leaky_relu), "leaky ReLU"),
    "squared ReLU": (head(middle=lambda hidden: hidden.relu().square()), "not linear, ReLU, linear"),
    "layer norm, tanh": (layers(nn.LayerNorm, lambda width: nn.Tanh()), "LayerNorm"),
    "layer norm, no non-linearity": (layers(nn.LayerNorm), "LayerNorm"),
    "layer norm without weights, tanh": (
        layers(lambda width: nn.LayerNorm(width, elementwise_affine=False), lambda width: nn.Tanh()),
        "LayerNorm",
    ),
    "batch-norm, GELU": (layers(nn.BatchNorm1d, lambda width: nn.GELU()), "GELU; a ReLU is wanted"),
    "batch-norm, leaky ReLU in place": (
        layers(nn.BatchNorm1d, lambda width: nn.LeakyReLU(inplace=True)),
        "leaky ReLU; a ReLU is wanted",
    ),
    "batch-norm alone": (layers(nn.BatchNorm1d), "is linear"),
    "PReLU": (layers(lambda width: nn.PReLU()), "PReLU"),
    "a PReLU for each hidden value": (layers(nn.PReLU), "PReLU"),
    "dropout behind the ReLU": (layers(relu, lambda width: nn.Dropout(0.5)), "a dropout"),
    "dropout that never stops": (head(middle=lambda hidden: F.dropout(hidden.relu(), 0.5)), "a dropout"),
    "batch-norm and dropout": (layers(nn.BatchNorm1d, relu, lambda width: nn.Dropout(0.1)), "a dropout"),
    "batch-norm behind the last layer": (layers(relu, behind=[nn.BatchNorm1d]), "behind the last layer"),
    "batch-norm behind both layers": (
        layers(nn.BatchNorm1d, relu, behind=[nn.BatchNorm1d]),
        "behind the last layer",
    ),
    "batch-norm behind the ReLU": (layers(relu, nn.BatchNorm1d), "wrong place"),
    "batch-norm on h": (NormedInput, "wrong place"),
    "hidden values scaled": (Scaled, "further weight, `scale`"),
    "hidden_dim ignored": (head(sizes=lambda i, h, o: (i, i, i, o)), "hidden_dim"),
    "hidden and out swapped": (head(sizes=lambda i, h, o: (i, o, o, h)), "shape (64,"),
    "always 128 numbers": (head(sizes=lambda i, h, o: (i, h, h, 128)), "shape (64, 128)"),
    "three layers": (ThreeLayers, "3 weight matrices"),
    "h detached": (head(before=lambda h: h.detach()), "back to h"),
    "hidden values detached": (head(middle=lambda hidden: hidden.detach().relu()), "No gradient reaches `first"),
    "z detached": (head(after=lambda z: z.detach()), "carries no gradient"),
    "first layer frozen": (FrozenFirst, "`first.weight`"),
    "batch mean taken away": (head(after=lambda z: z - z.mean(dim=0)), "its own row"),
    "z in float64": (head(after=lambda z: z.double()), "dtype"),
    "no default": (NoDefault, "TypeError"),
    "another default": (OtherDefault, "128"),
    "layers in a list": (LayersInAList, "no parameters"),
    "no super().__init__()": (NoSuperInit, "AttributeError"),
    "not a module": (NotAModule, "not an nn.Module"),
    "nothing returned": (NoReturn, "return"),
    "no forward": (NoForward, "not written yet"),
    "always the same": (always_the_same, "share their weights"),
}

# SimCLR --------------------------------------------------------------------------------------------------------------


def model(forward, name="head"):
    """A SimCLR class with this forward(encoder, head, x)."""

    class SimCLR(nn.Module):
        def __init__(self, encoder, head):
            super().__init__()
            self.encoder = encoder
            setattr(self, name, head)

        def forward(self, x):
            return forward(self.encoder, getattr(self, name), x)

    return SimCLR


def both(encoder, head, x):
    h = encoder(x)
    return h, head(h)


class Spelled(nn.Module):
    def __init__(self, f, g):
        super().__init__()
        self.encoder, self.head = f, g

    def forward(self, images):
        representation = self.encoder(images)
        embedding = self.head(representation)
        return [representation, embedding]


class ByHooks(nn.ModuleDict):
    """An odd one: a dictionary of modules."""

    def __init__(self, encoder, head):
        super().__init__({"encoder": encoder, "head": head})

    def forward(self, x):
        h = self["encoder"](x)
        return h, self["head"](h)


class InLists(nn.Module):
    def __init__(self, encoder, head):
        super().__init__()
        self.parts = [encoder, head]

    encoder = property(lambda self: self.parts[0])
    head = property(lambda self: self.parts[1])

    def forward(self, x):
        return both(*self.parts, x)


class HeadAnew(nn.Module):
    def __init__(self, encoder, head):
        super().__init__()
        self.encoder, self.head = encoder, projection_head.ProjectionHead(head.in_dim, 32, head.out_dim)

    def forward(self, x):
        return both(self.encoder, self.head, x)


class OneLine(nn.Module):
    """Parts by name, both outputs in one expression, as a named tuple."""

    Outputs = collections.namedtuple("Outputs", "h z")

    def __init__(self, encoder, head):
        super().__init__()
        for name, part in {"encoder": encoder, "head": head}.items():
            self.add_module(name, part)

    def forward(self, x):
        return self.Outputs(h := self.encoder(x), self.head(h))


RIGHT_MODELS = {
    "a named tuple": OneLine,
    "spelled out, a list": Spelled,
    "a ModuleDict": ByHooks,
    "parts set by name": model(both),
}


class CourseModel(projection_head.SimCLR):
    pass


WRONG_MODELS = {
    "lazy: nn.Sequential": (lambda encoder, head: nn.Sequential(encoder, head), "no .encoder"),
    "fitted to an encoder that flattens": (
        model(lambda encoder, head, x: (x.flatten(1), head(x.flatten(1)))),
        "",
    ),
    "calls the reference": (lambda encoder, head: projection_head.SimCLR(encoder, head), "course's own answer"),
    "inherits the reference": (CourseModel, "course's own answer"),
    "nothing returned": (model(lambda encoder, head, x: None), "return"),
    "z first": (model(lambda encoder, head, x: both(encoder, head, x)[::-1]), "comes first"),
    "z alone": (model(lambda encoder, head, x: both(encoder, head, x)[1]), "one tensor"),
    "h alone": (model(lambda encoder, head, x: both(encoder, head, x)[0]), "one tensor"),
    "a dict": (model(lambda encoder, head, x: {"h": encoder(x)}), "dict"),
    "encoder run twice": (model(lambda encoder, head, x: (encoder(x), head(encoder(x)))), "encoder 2 times"),
    "encoder twice, no head": (model(lambda encoder, head, x: (encoder(x),) * 2), "head 0 times"),
    "h twice": (model(lambda encoder, head, x: (both(encoder, head, x)[0],) * 2), "as wide as h"),
    "z twice": (model(lambda encoder, head, x: (both(encoder, head, x)[1],) * 2), "comes first"),
    "z normalised": (
        model(lambda encoder, head, x: (lambda h: (h, F.normalize(head(h), dim=1)))(encoder(x))),
        "z is normalised",
    ),
    "h normalised": (
        model(lambda encoder, head, x: (lambda h: (h, head(h)))(F.normalize(encoder(x), dim=1))),
        "h is normalised",
    ),
    "h normalised for the head": (
        model(lambda encoder, head, x: (lambda h: (h, head(F.normalize(h, dim=1))))(encoder(x))),
        "head got a normalised h",
    ),
    "ReLU on h for the head": (
        model(lambda encoder, head, x: (lambda h: (h, head(F.relu(h))))(encoder(x))),
        "head got relu(h)",
    ),
    "h detached for the head": (
        model(lambda encoder, head, x: (lambda h: (h, head(h.detach())))(encoder(x))),
        "f never",
    ),
    "h detached": (
        model(lambda encoder, head, x: (lambda h: (h.detach(), head(h)))(encoder(x))),
        "h carries no gradient",
    ),
    "z detached": (
        model(lambda encoder, head, x: (lambda h: (h, head(h).detach()))(encoder(x))),
        "z carries no gradient",
    ),
    "one image squeezed": (
        model(lambda encoder, head, x: (lambda h: (h, head(h)))(encoder(x).squeeze())),
        "a batch of one image",
    ),
    "z doubled": (model(lambda encoder, head, x: (lambda h: (h, head(h) * 2))(encoder(x))), "z of model(x)"),
    "another name for the head": (model(both, name="projector"), "no .head"),
    "parts in a list": (InLists, "misses the encoder's weights"),
    "a head of its own": (HeadAnew, "not the head that was handed in"),
    "a function": (lambda encoder, head: lambda x: both(encoder, head, x), "not an nn.Module"),
}

# linear_classifier ---------------------------------------------------------------------------------------------------


class Sleeping(nn.Module):
    """Right: eval mode is set at each run."""

    def __init__(self, encoder, width, classes):
        super().__init__()
        self.f, self.w = encoder, nn.Linear(width, classes)

    def forward(self, x):
        self.f.eval()
        with torch.no_grad():
            h = self.f(x)
        return self.w(h)


def asleep_at_each_run(model, num_classes):
    return Sleeping(copy.deepcopy(model.encoder), next(model.head.parameters()).shape[1], num_classes)


def with_a_lazy_layer(model, num_classes):
    """Right: h is measured at the first run; train() of the encoder itself is taken away."""
    encoder = copy.deepcopy(model.encoder).eval().requires_grad_(False)
    encoder.train = lambda mode=True: encoder
    return nn.Sequential(encoder, nn.LazyLinear(num_classes))


class EncoderOutOfReach(nn.Module):
    """Right: the encoder is no sub-module, so no mode reaches it."""

    def __init__(self, model, classes):
        super().__init__()
        self.parts = (copy.deepcopy(model.encoder).eval(),)
        self.layer = nn.Linear(next(model.head.parameters()).shape[1], classes)

    def forward(self, x):
        return self.layer(self.parts[0](x).detach())


class Classifier(nn.Module):
    """The base of the wrong ones: right but for what is overridden."""

    def __init__(self, model, num_classes):
        super().__init__()
        self.encoder = copy.deepcopy(model.encoder)
        self.linear = nn.Linear(next(model.head.parameters()).shape[1], num_classes)
        self.encoder.requires_grad_(False)
        self.train()

    def train(self, mode=True):
        super().train(mode)
        self.encoder.eval()
        return self

    def forward(self, x):
        return self.linear(self.encoder(x))


class BeginsAwake(Classifier):
    """train() puts the encoder to sleep; until somebody calls it, the encoder is awake."""

    def __init__(self, model, num_classes):
        super().__init__(model, num_classes)
        self.encoder.train()


class NoCopy(Classifier):
    def __init__(self, model, num_classes):
        super().__init__(model, num_classes)
        self.encoder = model.encoder.requires_grad_(False).eval()


class NoCopyAsleep(Classifier):
    """Its weights could learn, its mode is the classifier's."""

    def __init__(self, model, num_classes):
        super().__init__(model, num_classes)
        self.encoder = model.encoder.eval()

    def forward(self, x):
        return self.linear(self.encoder(x).detach())


class Wakeable(Classifier):
    """Every weight frozen, the statistics not."""

    def train(self, mode=True):
        return nn.Module.train(self, mode)


class EvalOnce(Wakeable):
    def __init__(self, model, num_classes):
        super().__init__(model, num_classes)
        self.encoder.eval()


class MomentumZero(Wakeable):
    """The statistics stand still, but the batch is still normalised by its own."""

    def __init__(self, model, num_classes):
        super().__init__(model, num_classes)
        self.encoder.norm.momentum = 0.0


class Thawed(Classifier):
    def __init__(self, model, num_classes):
        super().__init__(model, num_classes)
        self.encoder.requires_grad_(True)


class ThawedNorm(Classifier):
    def __init__(self, model, num_classes):
        super().__init__(model, num_classes)
        self.encoder.norm.requires_grad_(True)


class ReadsZ(Classifier):
    def __init__(self, model, num_classes):
        super().__init__(model, num_classes)
        self.head = copy.deepcopy(model.head).requires_grad_(False)
        self.linear = nn.Linear(model.head.out_dim, num_classes)

    def forward(self, x):
        return self.linear(self.head(self.encoder(x)))


class Softmaxed(Classifier):
    def forward(self, x):
        return super().forward(x).softmax(dim=1)


class Normalising(Classifier):
    def forward(self, x):
        return self.linear(F.normalize(self.encoder(x), dim=1))


class TwoLayers(Classifier):
    def __init__(self, model, num_classes):
        super().__init__(model, num_classes)
        self.linear = nn.Sequential(
            nn.Linear(next(model.head.parameters()).shape[1], 30), nn.ReLU(), nn.Linear(30, num_classes)
        )


class FreshEncoder(Classifier):
    def __init__(self, model, num_classes):
        super().__init__(model, num_classes)
        nn.init.normal_(self.encoder.conv.weight)


class AllFrozen(Classifier):
    def __init__(self, model, num_classes):
        super().__init__(model, num_classes)
        self.requires_grad_(False)


class PairOut(Classifier):
    def forward(self, x):
        h = self.encoder(x)
        return h, self.linear(h)


class TrainReturnsNothing(Classifier):
    def train(self, mode=True):
        super().train(mode)


class TrainReturnsTheEncoder(Classifier):
    def train(self, mode=True):
        super().train(mode)
        return self.encoder


def measured_in_train_mode(model, num_classes):
    model(torch.rand(4, 3, 8, 8))
    return Classifier(model, num_classes)


def plain_sequence(model, num_classes):
    return nn.Sequential(
        model.encoder.requires_grad_(False).eval(), nn.Linear(next(model.head.parameters()).shape[1], num_classes)
    )


def no_return(model, num_classes):
    Classifier(model, num_classes)


RIGHT_CLASSIFIERS = {
    "asleep at each run": asleep_at_each_run,
    "with a lazy layer": with_a_lazy_layer,
    "encoder out of reach": EncoderOutOfReach,
    "train() overridden": Classifier,
}
WRONG_CLASSIFIERS = {
    "lazy: a linear layer on the pixels": (
        lambda model, num_classes: nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes)),
        "not a linear map",
    ),
    "fitted to seven classes": (lambda model, num_classes: Classifier(model, 7), "is wanted"),
    "calls the reference": (
        lambda model, num_classes: projection_head.linear_classifier(model, num_classes),
        "course's own answer",
    ),
    "calls the reference's inside": (
        lambda model, num_classes: projection_head.LinearClassifier(
            model.encoder, nn.Linear(next(model.head.parameters()).shape[1], num_classes)
        ),
        "course's own answer",
    ),
    "nothing returned": (no_return, "return"),
    "a tensor": (lambda model, num_classes: model.encoder(torch.rand(3, 3, 8, 8)), "nn.Module is wanted"),
    "frozen, but awake": (Wakeable, "train() woke the encoder"),
    "eval mode once": (EvalOnce, "train() woke the encoder"),
    "plain sequence": (plain_sequence, "train() woke the encoder"),
    "awake until train() is called": (BeginsAwake, "fresh classifier"),
    "no copy": (NoCopy, "own encoder is frozen"),
    "no copy, in eval mode": (NoCopyAsleep, "own encoder was put into eval mode"),
    "no copy, asleep at each run": (
        lambda model, num_classes: Sleeping(model.encoder, next(model.head.parameters()).shape[1], num_classes),
        "own encoder was put into eval mode",
    ),
    "momentum 0": (MomentumZero, "takes its statistics from the batch"),
    "encoder learns": (Thawed, "encoder is not frozen"),
    "batch-norm learns": (ThawedNorm, "encoder is not frozen"),
    "reads z": (ReadsZ, "reads z"),
    "softmax inside": (Softmaxed, "softmax"),
    "h normalised": (Normalising, "normalises h"),
    "two layers": (TwoLayers, "not a linear map"),
    "fresh encoder": (FreshEncoder, "not a linear map"),
    "all frozen": (AllFrozen, "no gradient"),
    "h and logits": (PairOut, "tuple"),
    "train() returns nothing": (TrainReturnsNothing, "`return`"),
    "train() returns the encoder": (TrainReturnsTheEncoder, "return self"),
    "measured in train mode": (measured_in_train_mode, "in train mode"),
    "ten classes": (lambda model, num_classes: Classifier(model, 10), "10); "),
    "the model itself": (lambda model, num_classes: copy.deepcopy(model), "tuple"),
}

BANK = {
    "projection_head": Exercise(WRONG_HEADS, RIGHT_HEADS),
    "simclr": Exercise(WRONG_MODELS, RIGHT_MODELS),
    "linear_classifier": Exercise(WRONG_CLASSIFIERS, RIGHT_CLASSIFIERS),
}
