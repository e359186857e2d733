"""The projection head g, SimCLR's model, and the classifier that takes the head's place."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from helpers.encoder import build_encoder
from helpers.projection_head import ProjectionHead, SimCLR, linear_classifier, projection_mlp


@pytest.fixture
def model() -> SimCLR:
    """A small model whose batch-norm statistics have seen some images."""
    f, feature_dim = build_encoder("resnet8", True)
    model = SimCLR(f, ProjectionHead(feature_dim, 24, 10))
    with torch.no_grad():
        for _ in range(3):
            model.train()(torch.rand(8, 3, 16, 16))
    return model


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def test_the_head_is_two_matrices_with_a_relu_between_them():
    head, h = ProjectionHead(6, 9, 4), torch.randn(50, 6)
    (w_1, b_1, w_2, b_2) = (p.detach() for p in head.parameters())
    for row, z in zip(h, head(h), strict=True):
        hidden = [max(0.0, float(w_1[unit] @ row + b_1[unit])) for unit in range(9)]
        torch.testing.assert_close(z, w_2 @ torch.tensor(hidden) + b_2)


def test_z_has_128_numbers_unless_told_otherwise():
    assert ProjectionHead(6, 9)(torch.zeros(2, 6)).shape == (2, 128)


def test_z_is_neither_normalised_nor_cut_at_zero():
    z = ProjectionHead(32, 32)(5 * torch.randn(100, 32))
    assert z.min() < 0 < z.max()
    assert z.norm(dim=1).std() > 0.01


def test_h_and_z_are_the_encoders_and_the_heads_outputs(model, images):
    model.eval()
    h, z = model(images)
    assert h.shape == (6, 128) and z.shape == (6, 10)
    assert torch.equal(h, model.encoder(images)) and torch.equal(z, model.head(h))


def test_the_model_keeps_the_very_parts_it_was_given():
    f, g = nn.Flatten(), nn.Linear(4, 2)
    model = SimCLR(f, g)
    assert model.encoder is f and model.head is g


def test_gradient_of_z_reaches_every_parameter_of_the_encoder(model, images):
    model(images)[1].square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in model.encoder.parameters())


def test_the_classifiers_logits_are_linear_in_h(model, images):
    classifier = linear_classifier(model, 7).eval()
    h = model.eval().encoder(images)
    assert classifier(images).shape == (6, 7)
    torch.testing.assert_close(classifier(images), h @ classifier.linear.weight.T + classifier.linear.bias)


def test_a_classifier_does_not_depend_on_the_head_it_threw_away(model, images):
    classifier = linear_classifier(model, 7)
    before = classifier(images)
    nn.init.zeros_(model.head.layers[0].weight)
    assert torch.equal(classifier(images), before)


@pytest.mark.parametrize(
    "wake", [lambda c: c.train(), lambda c: nn.Sequential(c).train(), lambda c: c.eval().train(True)]
)
def test_train_does_not_wake_the_encoder(model, images, wake):
    classifier = linear_classifier(model, 7)
    state, asleep = copy.deepcopy(classifier.encoder.state_dict()), classifier.eval()(images)
    wake(classifier)
    assert classifier.training and classifier.linear.training
    assert not any(module.training for module in classifier.encoder.modules())
    torch.testing.assert_close(classifier(images), asleep)
    assert all(torch.equal(value, state[name]) for name, value in classifier.encoder.state_dict().items())


def test_train_returns_the_classifier(model):
    classifier = linear_classifier(model, 7)
    assert classifier.train() is classifier and classifier.eval() is classifier


def test_a_step_with_weight_decay_moves_the_linear_layer_alone(model, images):
    classifier = linear_classifier(model, 7).train()
    before = copy.deepcopy(classifier.state_dict())
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=0.1, weight_decay=0.5)
    F.cross_entropy(classifier(images), torch.arange(6)).backward()
    optimizer.step()
    moved = {name for name, value in classifier.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"linear.weight", "linear.bias"}


def test_making_a_classifier_leaves_the_model_as_it_was(model):
    before, modes = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    classifier = linear_classifier(model, 7)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [m.training for m in model.modules()] == modes
    assert all(p.requires_grad for p in model.parameters())
    assert not {id(p) for p in model.parameters()} & {id(p) for p in classifier.parameters()}


def test_a_classifier_has_the_dtype_of_its_model(model, images):
    assert linear_classifier(model.double(), 7)(images.double()).dtype == torch.float64


def test_a_head_without_a_linear_layer_is_refused():
    with pytest.raises(ValueError, match="no nn.Linear"):
        linear_classifier(SimCLR(nn.Flatten(), nn.Identity()), 7)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_classifier_is_on_the_device_of_its_model(model, images):
    assert linear_classifier(model.cuda(), 7)(images.cuda()).device.type == "cuda"


# Any number of layers -------------------------------------------------------------------------------------------------


def test_two_widths_make_the_projection_head():
    head = ProjectionHead(6, 9, 4)
    mlp = projection_mlp(6, [9, 4])
    mlp.load_state_dict(head.layers.state_dict())
    h = torch.rand(5, 6)
    torch.testing.assert_close(mlp(h), head(h))


def test_one_width_makes_a_linear_head_and_none_the_identity():
    h = torch.rand(5, 6)
    assert [type(layer) for layer in projection_mlp(6, [4])] == [nn.Linear]
    assert projection_mlp(6, [])(h) is h


def test_with_norm_a_batch_norm_stands_before_every_relu_and_takes_the_place_of_the_bias():
    layers = list(projection_mlp(6, [9, 8, 4], norm=True))
    kinds = [type(layer) for layer in layers]
    assert kinds == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
    assert [layer.bias is not None for layer in layers if isinstance(layer, nn.Linear)] == [False, False, True]


def test_without_bias_no_layer_has_one():
    layers = projection_mlp(6, [9, 4], bias=False)
    assert all(layer.bias is None for layer in layers if isinstance(layer, nn.Linear))
