"""A bank of answers to the exercises of notebook 03: each right one passes, each wrong one is told what is wrong."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from helpers import checks, projection_head
from helpers.checks import NotYet

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


RIGHT_HEADS = [
    projection_head.ProjectionHead,
    Functional,
    Inherited,
    a_function_that_builds_one,
    ByHand,
    WithBatchNorm,
    head(middle=lambda hidden: hidden.clamp(min=0)),
]
WRONG_HEADS = [
    (head(middle=lambda hidden: hidden), "is linear"),
    (OneLayer, "is linear"),
    (head(after=F.relu), "ReLU stands at the output"),
    (head(middle=lambda hidden: hidden, after=F.relu), "ReLU stands at the output"),
    (head(after=torch.sigmoid), "bends the output"),
    (head(after=lambda z: F.normalize(z, dim=1)), "normalised inside"),
    (head(after=lambda z: F.layer_norm(z, z.shape[1:])), "normalised inside"),
    (head(after=torch.tanh), "tanh stands at the output"),
    (head(before=lambda h: F.normalize(h, dim=1)), "h is normalised on its way in"),
    (head(before=F.relu, middle=lambda hidden: hidden), "before the first layer"),
    (head(before=F.relu), "before the first layer, too"),
    (head(middle=lambda hidden: F.normalize(hidden.relu(), dim=1)), "hidden values are normalised"),
    (head(middle=F.gelu), "GELU"),
    (head(middle=torch.tanh), "tanh; a ReLU is wanted"),
    (head(middle=F.leaky_relu), "leaky ReLU"),
    (head(middle=lambda hidden: hidden.relu().square()), "not linear, ReLU, linear"),
    (head(sizes=lambda i, h, o: (i, i, i, o)), "hidden_dim"),
    (head(sizes=lambda i, h, o: (i, o, o, h)), "shape (64,"),
    (head(sizes=lambda i, h, o: (i, h, h, 128)), "shape (64, 128)"),
    (ThreeLayers, "3 weight matrices"),
    (head(before=lambda h: h.detach()), "back to h"),
    (head(middle=lambda hidden: hidden.detach().relu()), "No gradient reaches `first"),
    (head(after=lambda z: z.detach()), "carries no gradient"),
    (FrozenFirst, "`first.weight`"),
    (head(after=lambda z: z - z.mean(dim=0)), "its own row"),
    (head(after=lambda z: z.double()), "dtype"),
    (NoDefault, "TypeError"),
    (OtherDefault, "128"),
    (LayersInAList, "no parameters"),
    (NoSuperInit, "AttributeError"),
    (NotAModule, "not an nn.Module"),
    (NoReturn, "return"),
    (NoForward, "not written yet"),
    (always_the_same, "share their weights"),
]

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


RIGHT_MODELS = [projection_head.SimCLR, Spelled, ByHooks, model(both)]
WRONG_MODELS = [
    (model(lambda encoder, head, x: None), "return"),
    (model(lambda encoder, head, x: both(encoder, head, x)[::-1]), "comes first"),
    (model(lambda encoder, head, x: both(encoder, head, x)[1]), "one tensor"),
    (model(lambda encoder, head, x: both(encoder, head, x)[0]), "one tensor"),
    (model(lambda encoder, head, x: {"h": encoder(x)}), "dict"),
    (model(lambda encoder, head, x: (encoder(x), head(encoder(x)))), "encoder 2 times"),
    (model(lambda encoder, head, x: (encoder(x),) * 2), "head 0 times"),
    (model(lambda encoder, head, x: (both(encoder, head, x)[0],) * 2), "as wide as h"),
    (model(lambda encoder, head, x: (both(encoder, head, x)[1],) * 2), "comes first"),
    (model(lambda encoder, head, x: (lambda h: (h, F.normalize(head(h), dim=1)))(encoder(x))), "z is normalised"),
    (model(lambda encoder, head, x: (lambda h: (h, head(h)))(F.normalize(encoder(x), dim=1))), "h is normalised"),
    (
        model(lambda encoder, head, x: (lambda h: (h, head(F.normalize(h, dim=1))))(encoder(x))),
        "head got a normalised h",
    ),
    (model(lambda encoder, head, x: (lambda h: (h, head(h.detach())))(encoder(x))), "f never"),
    (model(lambda encoder, head, x: (lambda h: (h.detach(), head(h)))(encoder(x))), "h carries no gradient"),
    (model(lambda encoder, head, x: (lambda h: (h, head(h).detach()))(encoder(x))), "z carries no gradient"),
    (model(lambda encoder, head, x: (lambda h: (h, head(h) * 2))(encoder(x))), "z of model(x)"),
    (model(both, name="projector"), "no .head"),
    (InLists, "misses the encoder's weights"),
    (HeadAnew, "not the head that was handed in"),
    (lambda encoder, head: lambda x: both(encoder, head, x), "not an nn.Module"),
]

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
    return Sleeping(model.encoder, model.head[0].in_features, num_classes)


def with_a_lazy_layer(model, num_classes):
    """Right: h is measured at the first run; train() of the encoder itself is taken away."""
    encoder = copy.deepcopy(model.encoder).eval().requires_grad_(False)
    encoder.train = lambda mode=True: encoder
    return nn.Sequential(encoder, nn.LazyLinear(num_classes))


class EncoderOutOfReach(nn.Module):
    """Right: the encoder is no sub-module, so no mode reaches it."""

    def __init__(self, model, classes):
        super().__init__()
        self.parts = (model.encoder.eval(),)
        self.layer = nn.Linear(next(model.head.parameters()).shape[1], classes)

    def forward(self, x):
        return self.layer(self.parts[0](x).detach())


class Classifier(nn.Module):
    """The base of the wrong ones: right but for what is overridden."""

    def __init__(self, model, num_classes):
        super().__init__()
        self.encoder = copy.deepcopy(model.encoder)
        self.linear = nn.Linear(model.head.in_dim, num_classes)
        self.encoder.requires_grad_(False)
        self.train()

    def train(self, mode=True):
        super().train(mode)
        self.encoder.eval()
        return self

    def forward(self, x):
        return self.linear(self.encoder(x))


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
        self.linear = nn.Sequential(nn.Linear(model.head.in_dim, 30), nn.ReLU(), nn.Linear(30, num_classes))


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
    return nn.Sequential(model.encoder.requires_grad_(False).eval(), nn.Linear(model.head.in_dim, num_classes))


def no_return(model, num_classes):
    Classifier(model, num_classes)


RIGHT_CLASSIFIERS = [
    projection_head.linear_classifier,
    asleep_at_each_run,
    with_a_lazy_layer,
    EncoderOutOfReach,
    Classifier,
]
WRONG_CLASSIFIERS = [
    (no_return, "return"),
    (lambda model, num_classes: model.encoder(torch.rand(3, 3, 8, 8)), "nn.Module is wanted"),
    (Wakeable, "train() woke the encoder"),
    (EvalOnce, "train() woke the encoder"),
    (plain_sequence, "train() woke the encoder"),
    (MomentumZero, "takes its statistics from the batch"),
    (Thawed, "encoder is not frozen"),
    (ThawedNorm, "encoder is not frozen"),
    (ReadsZ, "reads z"),
    (Softmaxed, "softmax"),
    (Normalising, "normalises h"),
    (TwoLayers, "not a linear map"),
    (FreshEncoder, "not a linear map"),
    (AllFrozen, "no gradient"),
    (PairOut, "tuple"),
    (TrainReturnsNothing, "`return`"),
    (TrainReturnsTheEncoder, "return self"),
    (measured_in_train_mode, "in train mode"),
    (lambda model, num_classes: Classifier(model, 10), "10); "),
    (lambda model, num_classes: copy.deepcopy(model), "tuple"),
]


@pytest.mark.parametrize("seed", [0, 1, 20])
@pytest.mark.parametrize("answer", RIGHT_HEADS)
def test_check_projection_head_accepts_every_right_answer(answer, seed):
    assert checks.check_projection_head(answer, seed=seed) is None


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("answer, words", WRONG_HEADS)
def test_check_projection_head_names_the_mistake(answer, words, seed):
    with pytest.raises(NotYet) as problem:
        checks.check_projection_head(answer, seed=seed)
    assert words in str(problem.value)


@pytest.mark.parametrize("seed", [0, 1, 20])
@pytest.mark.parametrize("answer", RIGHT_MODELS)
def test_check_simclr_accepts_every_right_answer(answer, seed):
    assert checks.check_simclr(answer, seed=seed) is None


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("answer, words", WRONG_MODELS)
def test_check_simclr_names_the_mistake(answer, words, seed):
    with pytest.raises(NotYet) as problem:
        checks.check_simclr(answer, seed=seed)
    assert words in str(problem.value)


@pytest.mark.parametrize("seed", [0, 1, 20])
@pytest.mark.parametrize("answer", RIGHT_CLASSIFIERS)
def test_check_linear_classifier_accepts_every_right_answer(answer, seed):
    assert checks.check_linear_classifier(answer, seed=seed) is None


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("answer, words", WRONG_CLASSIFIERS)
def test_check_linear_classifier_names_the_mistake(answer, words, seed):
    with pytest.raises(NotYet) as problem:
        checks.check_linear_classifier(answer, seed=seed)
    assert words in str(problem.value)


def test_right_answers_pass_under_many_seeds():
    for seed in range(100, 160):
        checks.check_projection_head(projection_head.ProjectionHead, seed=seed)
        checks.check_simclr(projection_head.SimCLR, seed=seed)
        checks.check_linear_classifier(projection_head.linear_classifier, seed=seed)
