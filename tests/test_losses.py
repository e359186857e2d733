"""The losses against the paper's equations, written out once more in plain Python, and against closed forms."""

import math
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from helpers import losses
from helpers.losses import (
    chance_loss,
    cosine_similarities,
    nt_xent,
    nt_xent_chunked,
    nt_xent_loop,
    positive_index,
    sup_con,
)

SIZES = [(1, 4), (2, 3), (5, 8), (33, 7)]
TEMPERATURES = [0.01, 0.05, 0.5, 5.0]


def pair(n, d, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator, dtype=dtype), 2 * torch.randn(n, d, generator=generator, dtype=dtype)


def by_hand(z_a, z_b, temperature, labels=None):
    """SupCon, or NT-Xent where no labels are given, in Python floats: no tensor, no logsumexp."""
    rows = [*z_a.tolist(), *z_b.tolist()]
    kind = list(range(len(z_a))) if labels is None else labels.tolist()
    kind = kind * 2

    def cosine(u, v):
        return sum(x * y for x, y in zip(u, v, strict=True)) / math.hypot(*u) / math.hypot(*v)

    total = 0.0
    for i, anchor in enumerate(rows):
        score = {k: math.exp(cosine(anchor, row) / temperature) for k, row in enumerate(rows) if k != i}
        positives = [k for k in score if kind[k] == kind[i]]
        total -= sum(math.log(score[p] / sum(score.values())) for p in positives) / len(positives)
    return total / len(rows)


@pytest.mark.parametrize("loss", [nt_xent, nt_xent_loop])
@pytest.mark.parametrize("n, d", SIZES[:3])
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_nt_xent_equals_the_paper_equation_one_anchor_at_a_time(loss, n, d, temperature):
    z_a, z_b = pair(n, d)
    assert loss(z_a, z_b, temperature).item() == pytest.approx(by_hand(z_a, z_b, temperature), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_nt_xent_equals_the_paper_equation_for_a_batch_of_33(temperature):
    z_a, z_b = pair(33, 7)
    assert nt_xent(z_a, z_b, temperature).item() == pytest.approx(by_hand(z_a, z_b, temperature), rel=1e-9)


@pytest.mark.parametrize("labels", [[0, 0, 0, 0, 0], [3, 1, 3, 1, 9], [0, 1, 2, 3, 4], [7, 7, 7, 7, 2]])
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_sup_con_equals_the_paper_equation_one_anchor_at_a_time(labels, temperature):
    z_a, z_b = pair(5, 8)
    wanted = by_hand(z_a, z_b, temperature, torch.tensor(labels))
    assert sup_con(z_a, z_b, torch.tensor(labels), temperature).item() == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("n, d", SIZES)
def test_sup_con_equals_nt_xent_when_every_label_differs(n, d):
    z_a, z_b = pair(n, d)
    assert torch.isclose(sup_con(z_a, z_b, 10 * torch.arange(n), 0.2), nt_xent(z_a, z_b, 0.2), rtol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 20])
def test_nt_xent_of_collapsed_embeddings_is_the_chance_loss(n):
    same = torch.tensor([[0.3, -2.0, 1.0]]).expand(n, 3)
    assert nt_xent(same, same, 0.1).item() == pytest.approx(chance_loss(n), abs=1e-5)


def test_nt_xent_of_zero_embeddings_is_the_chance_loss_and_has_a_finite_gradient():
    z = torch.zeros(6, 4, requires_grad=True)
    loss = nt_xent(z, z.detach(), 0.1)
    (slope,) = torch.autograd.grad(loss, z)
    assert loss.item() == pytest.approx(math.log(11), abs=1e-5) and slope.isfinite().all()


def test_nt_xent_of_two_orthogonal_images_is_what_one_works_out_by_hand():
    assert nt_xent(torch.eye(2), torch.eye(2), 0.5).item() == pytest.approx(math.log(1 + 2 * math.exp(-2)), abs=1e-6)


def test_the_temperature_is_one_half_unless_given():
    z_a, z_b = pair(5, 8)
    assert nt_xent(z_a, z_b) == nt_xent(z_a, z_b, 0.5)


@pytest.mark.parametrize("loss", [nt_xent, nt_xent_loop, lambda a, b, t: sup_con(a, b, torch.tensor([4, 4, 1]), t)])
def test_the_gradient_is_what_finite_differences_give(loss):
    z_a, z_b = (z.requires_grad_() for z in pair(3, 4))
    assert torch.autograd.gradcheck(lambda a, b: loss(a, b, 0.3), (z_a, z_b))


@pytest.mark.parametrize("loss", [nt_xent, lambda a, b, t: sup_con(a, b, torch.tensor([4, 4, 1, 2, 2]), t)])
@pytest.mark.parametrize("sign", [1, -1])
def test_identical_and_opposite_views_at_temperature_0_01_give_a_finite_loss_and_gradient(loss, sign):
    z = pair(5, 8, dtype=torch.float32)[0].requires_grad_()
    value = loss(z, sign * z, 0.01)
    (slope,) = torch.autograd.grad(value, z)
    assert value.isfinite() and slope.isfinite().all()


@pytest.mark.parametrize("loss", [nt_xent, nt_xent_loop])
def test_swapped_views_permuted_pairs_and_scaled_rows_leave_the_loss_alone(loss):
    z_a, z_b = pair(5, 8)
    order, lengths = torch.tensor([3, 0, 4, 1, 2]), torch.tensor([[0.1], [1.0], [2.0], [9.0], [0.5]])
    for a, b in ((z_b, z_a), (z_a[order], z_b[order]), (z_a * lengths, z_b / lengths)):
        assert torch.isclose(loss(a, b, 0.2), loss(z_a, z_b, 0.2), rtol=1e-10)


def test_pulling_one_positive_closer_lowers_the_loss():
    z_a, z_b = pair(5, 8)
    closer = z_b.clone()
    closer[2] = z_a[2]
    assert nt_xent(z_a, closer, 0.5) < nt_xent(z_a, z_b, 0.5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "loss", [nt_xent, nt_xent_loop, lambda a, b: sup_con(a, b, torch.tensor([0, 0, 1, 2, 3]), 0.5)]
)
def test_a_loss_has_the_dtype_of_its_embeddings(loss, dtype):
    z_a, z_b = pair(5, 8, dtype=dtype)
    value = loss(z_a, z_b, 0.5) if loss is nt_xent_loop else loss(z_a, z_b)
    assert value.dtype == dtype and value.shape == ()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_embeddings_are_widened_before_anything_is_computed(dtype):
    z_a, z_b = (z.to(dtype) for z in pair(33, 7, dtype=torch.float32))
    assert nt_xent(z_a, z_b, 0.05).dtype == torch.float32
    assert torch.equal(nt_xent(z_a, z_b, 0.05), nt_xent(z_a.float(), z_b.float(), 0.05))


def test_autocast_to_bfloat16_does_not_change_the_loss_or_its_gradient():
    z_a, z_b = pair(33, 7, dtype=torch.float32)
    z_a.requires_grad_()
    plain = nt_xent(z_a, z_b, 0.05)
    (slope,) = torch.autograd.grad(plain, z_a)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = nt_xent(z_a, z_b, 0.05)
        similarities = cosine_similarities(z_b)
    (slope_mixed,) = torch.autograd.grad(mixed, z_a)
    assert torch.equal(mixed, plain) and torch.equal(slope_mixed, slope) and similarities.dtype == torch.float32


def test_float16_embeddings_whose_squares_overflow_are_no_trouble():
    z = 600 * torch.eye(4, dtype=torch.float16)  # 600² is beyond the largest float16, 65504
    assert nt_xent(z, z, 0.5).item() == pytest.approx(math.log(1 + 6 * math.exp(-2)), abs=1e-5)


def test_the_inputs_are_left_as_they_were():
    z_a, z_b = pair(5, 8)
    before = z_a.clone(), z_b.clone()
    labels = torch.tensor([1, 1, 2, 2, 3])
    nt_xent(z_a, z_b), nt_xent_loop(z_a, z_b, 0.5), sup_con(z_a, z_b, labels, 0.5), cosine_similarities(z_a)
    assert torch.equal(z_a, before[0]) and torch.equal(z_b, before[1]) and labels.tolist() == [1, 1, 2, 2, 3]


def test_cosine_similarities_are_the_cosines_of_known_angles():
    z = torch.tensor([[2.0, 0.0], [0.0, 0.5], [-3.0, 0.0], [1.0, 1.0]])
    wanted = [1, 0, -1, math.sqrt(0.5)]
    assert cosine_similarities(z)[0].tolist() == pytest.approx(wanted, abs=1e-6)


def test_cosine_similarities_agree_with_torch_pair_by_pair():
    z = torch.cat(pair(5, 8))
    wanted = F.cosine_similarity(z[:, None], z[None], dim=2)
    assert torch.allclose(cosine_similarities(z), wanted, atol=1e-12)


def test_a_zero_row_has_cosine_zero_with_everything():
    z = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    assert cosine_similarities(z).tolist()[1] == [0, 0]


@pytest.mark.parametrize("n", [1, 2, 5, 33])
def test_the_positive_of_a_row_shows_the_same_image_in_the_other_view(n):
    image, view = torch.arange(n).repeat(2), torch.arange(2).repeat_interleave(n)
    index = positive_index(n)
    assert index.dtype == torch.int64 and index.shape == (2 * n,)
    assert torch.equal(image[index], image) and torch.equal(view[index], 1 - view)


def test_chance_is_a_blind_guess_among_all_other_rows():
    assert chance_loss(1) == 0
    assert math.exp(chance_loss(512)) == pytest.approx(1023)


LABELS = torch.tensor([0, 0, 1, 1, 2])
ALL = [nt_xent, nt_xent_loop, nt_xent_chunked, lambda a, b, t: sup_con(a, b, LABELS, t)]


@pytest.mark.parametrize("loss", ALL)
@pytest.mark.parametrize("temperature", [0, 0.0, -0.5, math.nan, math.inf])
def test_a_temperature_that_is_not_a_positive_number_is_refused(loss, temperature):
    with pytest.raises(ValueError, match="temperature must be a positive number"):
        loss(*pair(5, 8), temperature)


@pytest.mark.parametrize("loss", ALL)
@pytest.mark.parametrize("a, b", [((5, 8), (4, 8)), ((5, 8), (5, 7)), ((5,), (5,)), ((5, 2, 4), (5, 2, 4))])
def test_embeddings_that_are_not_two_matrices_of_one_shape_are_refused(loss, a, b):
    with pytest.raises(ValueError, match="both must be"):
        loss(torch.ones(a), torch.ones(b), 0.5)


@pytest.mark.parametrize("shape", [(0, 8), (5, 0)])
def test_an_empty_batch_is_refused(shape):
    with pytest.raises(ValueError, match="at least one pair"):
        nt_xent(torch.ones(shape), torch.ones(shape))


@pytest.mark.parametrize("loss", ALL)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 1])
def test_embeddings_that_are_not_finite_are_refused(loss, bad, place):
    views = pair(5, 8)
    views[place][3, 2] = bad
    with pytest.raises(ValueError, match="NaN or infinite"):
        loss(*views, 0.5)


@pytest.mark.parametrize("labels", [torch.zeros(4), torch.zeros(10), torch.zeros(5, 1)])
def test_labels_that_are_not_one_an_image_are_refused(labels):
    with pytest.raises(ValueError, match="one label an image"):
        sup_con(*pair(5, 8), labels, 0.5)


def test_a_batch_without_images_has_no_chance_loss():
    with pytest.raises(ValueError, match="at least one image"):
        chance_loss(0)


# nt_xent_chunked


def value_and_gradient(loss, z_a, z_b, *more):
    z = torch.stack([z_a, z_b]).requires_grad_()
    value = loss(*z, *more)
    return value.detach(), torch.autograd.grad(value, z)[0]


@pytest.mark.parametrize("n, chunk", [(1, 4), (2, 3), (5, 1), (33, 16), (33, 66), (33, 65), (100, 512), (97, 31)])
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_the_chunked_loss_has_the_value_and_gradient_of_nt_xent_whatever_the_chunk(n, chunk, temperature):
    z_a, z_b = pair(n, 7)
    value, slope = value_and_gradient(nt_xent_chunked, z_a, z_b, temperature, chunk)
    wanted, wanted_slope = value_and_gradient(nt_xent, z_a, z_b, temperature)
    assert torch.allclose(value, wanted, rtol=1e-10, atol=1e-10)
    assert torch.allclose(slope, wanted_slope, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("temperature", [0.3, 0.01])
def test_the_gradient_of_the_chunked_loss_is_what_finite_differences_give(temperature):
    z_a, z_b = (z.requires_grad_() for z in pair(4, 3))
    assert torch.autograd.gradcheck(lambda a, b: nt_xent_chunked(a, b, temperature, 3), (z_a, z_b))


def test_every_anchor_may_have_a_weight_of_its_own_in_the_chunked_gradient():
    rows = F.normalize(pair(5, 3)[0], dim=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: losses.LogSumExpOfOthers.apply(z, 1.0, 2), rows)


@pytest.mark.parametrize("temperature", [0.003, 0.01, 0.05, 5.0])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("n", [1, 5])
def test_the_chunked_loss_of_identical_and_opposite_views_is_right_in_float32(temperature, sign, n):
    z = pair(n, 8, dtype=torch.float32)[0]
    value, slope = value_and_gradient(nt_xent_chunked, z, sign * z, temperature)
    wanted, wanted_slope = value_and_gradient(nt_xent, z, sign * z, temperature)
    assert value.dtype == slope.dtype == torch.float32
    assert torch.allclose(value, wanted, rtol=1e-5, atol=2e-6 / temperature)
    assert torch.allclose(slope, wanted_slope, rtol=1e-4, atol=1e-5 / temperature)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_chunked_loss_widens_half_precision_embeddings(dtype):
    z_a, z_b = (z.to(dtype) for z in pair(33, 7, dtype=torch.float32))
    assert torch.equal(nt_xent_chunked(z_a, z_b, 0.05), nt_xent_chunked(z_a.float(), z_b.float(), 0.05))


def test_autocast_changes_neither_the_chunked_loss_nor_its_gradient():
    views = pair(33, 7, dtype=torch.float32)
    plain = value_and_gradient(nt_xent_chunked, *views, 0.05, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = value_and_gradient(nt_xent_chunked, *views, 0.05, 16)
    assert torch.equal(mixed[0], plain[0]) and torch.equal(mixed[1], plain[1])


def test_the_chunked_loss_holds_no_tensor_larger_than_its_rows_or_a_block():
    from helpers.checks.losses import LargestTensor

    with LargestTensor() as largest:
        value_and_gradient(nt_xent_chunked, *pair(200, 7), 0.5, 50)
    assert largest.elements <= 400 * 7


def test_a_temperature_too_small_for_the_chunked_loss_is_refused_and_told_where_it_works():
    with pytest.raises(ValueError, match="at least 0.003, nt_xent takes any"):
        nt_xent_chunked(*pair(5, 8), 0.002)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's limit on a process's memory")
def test_the_chunked_loss_of_16384_images_fits_into_a_machine_of_2_gb():
    code = (
        "import resource, torch; from helpers.losses import nt_xent_chunked\n"
        "resource.setrlimit(resource.RLIMIT_DATA, (2 * 10**9,) * 2)\n"
        "z_a, z_b = torch.randn(2, 16384, 32, generator=torch.Generator().manual_seed(0)).requires_grad_()\n"
        "nt_xent_chunked(z_a, z_b).backward()\n"
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"  # getrusage counts what forked it, too
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) * 1024 < 2e9


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_chunked_loss_on_the_gpu_agrees_with_the_cpu():
    views = pair(700, 16)
    value, slope = value_and_gradient(nt_xent_chunked, *(z.cuda() for z in views))
    wanted, wanted_slope = value_and_gradient(nt_xent, *views)
    assert value.device.type == "cuda" and torch.allclose(value.cpu(), wanted, rtol=1e-9)
    assert torch.allclose(slope.cpu(), wanted_slope, rtol=1e-9, atol=1e-12)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_losses_run_on_the_gpu_and_agree_with_the_cpu():
    z_a, z_b = pair(33, 7)
    labels = torch.arange(33) % 4
    for loss in (nt_xent, lambda a, b: sup_con(a, b, labels, 0.5), lambda a, b: nt_xent_loop(a, b, 0.5)):
        value = loss(z_a.cuda(), z_b.cuda())
        assert value.device.type == "cuda" and value.item() == pytest.approx(loss(z_a, z_b).item(), rel=1e-9)


def test_the_loss_holds_nothing_of_two_n_by_two_n_by_d():
    """Every tensor on the way has at most (2N)² entries."""
    from helpers.checks.losses import LargestTensor

    z_a, z_b = pair(33, 7)
    for loss in (nt_xent, lambda a, b: sup_con(a, b, torch.arange(33) % 4, 0.5)):
        with LargestTensor() as largest:
            loss(z_a, z_b)
        assert largest.elements <= 66 * 66


def test_the_public_names_of_the_module_are_those_of_the_exercises():
    for name in ("cosine_similarities", "positive_index", "nt_xent_loop", "nt_xent", "chance_loss", "sup_con"):
        assert getattr(losses, name).__doc__


# Variants


def triplets_by_hand(z_a, z_b, margin):
    z, n, total = F.normalize(torch.cat([z_a, z_b]), dim=1), len(z_a), []
    for i in range(2 * n):
        j = (i + n) % (2 * n)
        total += [max(0.0, (z[i] @ z[k] - z[i] @ z[j]).item() + margin) for k in range(2 * n) if k not in (i, j)]
    return sum(total) / len(total)


def decoupled_by_hand(z_a, z_b, temperature):
    z, n, total = F.normalize(torch.cat([z_a, z_b]), dim=1), len(z_a), 0.0
    for i in range(2 * n):
        j = (i + n) % (2 * n)
        negatives = sum(math.exp(z[i] @ z[k] / temperature) for k in range(2 * n) if k not in (i, j))
        total -= math.log(math.exp(z[i] @ z[j] / temperature) / negatives)
    return total / (2 * n)


@pytest.mark.parametrize("setting", [0.1, 0.5, 1.0])
@pytest.mark.parametrize(
    "loss, by_hand", [(losses.decoupled, decoupled_by_hand), (losses.margin_triplet, triplets_by_hand)]
)
def test_a_variant_equals_its_equation_one_anchor_at_a_time(loss, by_hand, setting):
    z_a, z_b = pair(6, 5)
    assert loss(z_a, z_b, setting).item() == pytest.approx(by_hand(z_a, z_b, setting), rel=1e-9)


@pytest.mark.parametrize("margin", [0.0, -1.0, math.nan])
def test_a_margin_that_is_none_is_refused_by_its_name(margin):
    with pytest.raises(ValueError, match="margin must be a positive number"):
        losses.margin_triplet(*pair(4, 3), margin)


@pytest.mark.parametrize("loss", [losses.decoupled, losses.margin_triplet])
def test_a_variant_has_the_gradient_of_finite_differences_and_refuses_a_batch_without_negatives(loss):
    z_a, z_b = (z.requires_grad_() for z in pair(4, 3))
    assert torch.autograd.gradcheck(lambda a, b: loss(a, b, 0.5), (z_a, z_b))
    with pytest.raises(ValueError, match="at least two images"):
        loss(z_a[:1], z_b[:1])


def test_the_chunked_loss_refuses_a_temperature_that_is_learnt():
    temperature = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    with pytest.raises(ValueError, match="takes a number. nt_xent learns one"):
        losses.nt_xent_chunked(*pair(4, 3), temperature)
    assert torch.autograd.gradcheck(lambda t: losses.nt_xent(*pair(4, 3), t), (temperature,))
