"""The findings: fourteen claims about contrastive learning, each with the experiment that asks for it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from helpers import augmentation, controls, encoder, evaluation
from helpers.augmentation import TwoViewsOfBatch, distort, histogram_similarities, random_crop, to_unit
from helpers.findings.core import (
    Finding,
    Lab,
    Loss,
    Numbers,
    contrastive_accuracy,
    effective_rank,
    embedded_views,
    knn,
    of_z,
    spectrum,
    spread,
    steps_in,
    train,
)
from helpers.losses import sup_con
from helpers.operations import crop_boxes, crop_resize_flip, uniform
from helpers.plots.findings import FACTORS
from helpers.projection_head import SimCLR, projection_mlp
from helpers.training import build_model, views_of

Rows = Iterator[tuple[str, Numbers]]
Operation = Callable[[Tensor, Generator], Tensor]  # (N, 3, H, W) float in [0, 1] -> the same


# What views are made of -----------------------------------------------------------------------------------------------


def crop(images: Tensor, generator: Generator) -> Tensor:
    return random_crop(images, generator, images.shape[-1], (0.2, 1.0))


def color(images: Tensor, generator: Generator) -> Tensor:
    return distort(images, 1.0, generator)


def blur(images: Tensor, generator: Generator) -> Tensor:
    return augmentation.random_blur(images, generator, chance=1.0)


def cutout(images: Tensor, generator: Generator) -> Tensor:
    """A grey square, half as wide as the image, at a random place."""
    side = images.shape[-1]
    corner = (uniform(len(images), 2, generator) * (side // 2 + 1)).long()  # (N, 2)
    rows, columns = (
        (torch.arange(side) >= start[:, None]) & (torch.arange(side) < start[:, None] + side // 2) for start in corner.T
    )
    return torch.where((rows[:, :, None] & columns[:, None, :])[:, None], torch.tensor(0.5), images)


OPERATIONS = {"crop": crop, "color": color, "blur": blur, "cutout": cutout}
PAIRS = ("crop + color", "crop + blur", "crop + cutout", "color + blur", "color + cutout", "blur + cutout")


def composed(operations: list[Operation]) -> TwoViewsOfBatch:
    """One view goes through the operations, the other is the image itself, as in the paper's figure 5."""

    def two_views(images: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        x_a = x_b = to_unit(images)
        for operation in operations:
            x_a = operation(x_a, generator)
        return x_a, x_b

    return two_views


def without_flip(images: Tensor, generator: Generator, area: tuple[float, float]) -> Tensor:
    """Crops alone, colours and sides as they are."""
    boxes = crop_boxes(len(images), *images.shape[2:], area, generator)
    return crop_resize_flip(to_unit(images), boxes, torch.zeros(len(images), dtype=torch.bool), images.shape[-1])


def with_bits(two_views: TwoViewsOfBatch, bits: int) -> TwoViewsOfBatch:
    """The same views with `bits` random black or white squares along the top, the same in both views of an image."""

    def marked(images: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        x_a, x_b = two_views(images, generator)
        cell = x_a.shape[-1] // 8  # pixels a side, eight in a row
        code = (uniform(len(images), bits, generator) < 0.5).float()  # (N, bits)
        for place, value in enumerate(code.T):
            row, column = divmod(place, 8)
            for x in (x_a, x_b):
                x[:, :, row * cell : (row + 1) * cell, column * cell : (column + 1) * cell] = value[:, None, None, None]
        return x_a, x_b

    return marked


# The experiments ------------------------------------------------------------------------------------------------------


def composition(lab: Lab, conditions: tuple[str, ...]) -> Rows:
    for condition in conditions:
        two_views = composed([OPERATIONS[name] for name in condition.split(" + ")])
        model = train(lab, two_views)
        z = embedded_views(lab, model, two_views)
        yield condition, {"knn": knn(lab, model.encoder), "contrastive": contrastive_accuracy(*z)}


def histogram(lab: Lab, conditions: tuple[str, ...]) -> Rows:
    images = lab.queries.images[:256]
    for condition in conditions:
        generator = Generator().manual_seed(lab.recipe.seed)
        x_a, x_b = (
            distort(without_flip(images, generator, (0.2, 1.0)), float(condition), generator, grey=0) for _ in "ab"
        )
        named = histogram_similarities(x_a, x_b).argmax(dim=1) == torch.arange(len(images))
        yield condition, {"identified": named.double().mean().item()}


def strength(lab: Lab, conditions: tuple[str, ...]) -> Rows:
    few = lab.bank.subset(torch.arange(max(2, len(lab.bank) // 10)))  # with all labels both would be near 100 %
    for condition in conditions:
        here = replace(lab, recipe=replace(lab.recipe, strength=float(condition)))
        model = train(here)
        classifier = train(here, loss=cross_entropy, model=with_classifier(here), images=few)
        right = controls.accuracy(of_z(classifier), lab.queries.images, lab.queries.labels)
        yield condition, {"knn": knn(lab, model.encoder), "supervised": right}


def cross_entropy(z_a: Tensor, z_b: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of both views' logits."""
    return F.cross_entropy(torch.cat([z_a, z_b]), labels.repeat(2))


def with_classifier(lab: Lab) -> SimCLR:
    """The recipe's encoder with a linear classifier in place of the head."""
    return with_head(lab, lambda width: nn.Linear(width, len(lab.bank.classes)))


def with_head(lab: Lab, make: Callable[[int], nn.Module]) -> SimCLR:
    """The recipe's encoder with another head, made from the length of h."""
    model = build_model(lab.recipe)
    width = evaluation.extract_features(model.encoder, lab.bank.images[:1]).shape[1]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(lab.recipe.seed)
        return SimCLR(model.encoder, make(width))


def with_heads(lab: Lab, conditions: tuple[str, ...]) -> Iterator[tuple[str, SimCLR]]:
    """A trained model for each head: none, linear, non-linear."""
    recipe = lab.recipe
    widths = {"none": [], "linear": [recipe.out_dim], "non-linear": [recipe.hidden_dim, recipe.out_dim]}
    for condition in conditions:
        head = partial(projection_mlp, widths=widths[condition], norm=recipe.head_norm)
        yield condition, train(lab, model=with_head(lab, head))


def heads(lab: Lab, conditions: tuple[str, ...]) -> Rows:
    for condition, model in with_heads(lab, conditions):
        yield condition, {"knn": knn(lab, model.encoder), "knn of z": knn(lab, of_z(model))}


def spectra(lab: Lab, conditions: tuple[str, ...]) -> Rows:
    for condition, model in with_heads(lab, conditions):
        numbers, values = {}, {}
        for name, part in (("h", model.encoder), ("z", of_z(model))):
            rows = evaluation.extract_features(part, lab.queries.images)
            numbers[f"rank of {name}"] = effective_rank(rows)
            values |= {f"σ{place} of {name}": value for place, value in spectrum(rows, lab.recipe.out_dim).items()}
        yield condition, numbers | values


def forgotten(lab: Lab, conditions: tuple[str, ...]) -> Rows:
    model = train(lab)
    parts = {"h": model.encoder, "z": of_z(model)}
    for condition in conditions:
        bank, queries = (evaluation.extract_features(parts[condition], part.images) for part in (lab.bank, lab.queries))
        numbers = {"knn": knn(lab, parts[condition])}
        for name in FACTORS:
            seen, asked = (evaluation.as_target(name, part.factors[name]) for part in (lab.bank, lab.queries))
            numbers[name] = evaluation.factor_r2(bank, seen, queries, asked)
        yield condition, numbers


def temperature(lab: Lab, conditions: tuple[str, ...]) -> Rows:
    for condition in conditions:
        here = replace(lab, recipe=replace(lab.recipe, temperature=float(condition)))
        model = train(here)
        z = embedded_views(lab, model)
        yield condition, {"knn": knn(lab, model.encoder), "contrastive": contrastive_accuracy(*z)}


def batch_size(lab: Lab, conditions: tuple[str, ...]) -> Rows:
    for condition in conditions:
        size = int(condition)
        rate = lab.recipe.base_lr * (size / lab.recipe.batch_size) ** 0.5  # as the paper's appendix B.1 does
        here = replace(lab, recipe=replace(lab.recipe, batch_size=size, base_lr=rate))
        yield condition, {"knn": knn(lab, train(here).encoder)}


def few_labels(lab: Lab, conditions: tuple[str, ...]) -> Rows:
    pretrained = train(lab).encoder
    untrained = controls.random_encoder(lab.recipe.arch, lab.recipe.small_images, lab.recipe.seed)
    steps = max(2, 2 * len(lab.bank) // 128)
    longer = steps + steps_in(lab)  # from scratch as many as pretraining and fine-tuning take
    for condition in conditions:
        count = max(2 * len(lab.bank.classes), round(len(lab.bank) * float(condition.removesuffix(" %")) / 100))
        some = lab.bank.subset(torch.arange(count))
        fit = partial(
            controls.fit_classifier, images=some.images, labels=some.labels, num_classes=len(lab.bank.classes)
        )
        networks = {
            "fine-tuned": fit(pretrained, steps=steps, seed=lab.recipe.seed),
            "from scratch": fit(untrained, steps=longer, seed=lab.recipe.seed),
        }
        numbers = {
            name: controls.accuracy(net, lab.queries.images, lab.queries.labels) for name, net in networks.items()
        }
        h, query_h = (evaluation.extract_features(pretrained, part.images) for part in (some, lab.queries))
        numbers["frozen"] = evaluation.linear_probe(h, some.labels, query_h, lab.queries.labels)
        yield condition, numbers | {"gain": numbers["fine-tuned"] - numbers["from scratch"]}


def random_bits(lab: Lab, conditions: tuple[str, ...]) -> Rows:
    for condition in conditions:
        two_views = with_bits(views_of(lab.recipe), int(condition))
        model = train(lab, two_views)
        z = embedded_views(lab, model, two_views)
        yield condition, {"knn": knn(lab, model.encoder), "contrastive": contrastive_accuracy(*z)}


def pulled_together(z_a: Tensor, z_b: Tensor) -> Tensor:
    return evaluation.alignment(z_a, z_b)


def pushed_apart(z_a: Tensor, z_b: Tensor) -> Tensor:
    return (evaluation.uniformity(z_a) + evaluation.uniformity(z_b)) / 2


def two_forces(lab: Lab, conditions: tuple[str, ...]) -> Rows:
    losses: dict[str, Loss | None] = {
        "alignment alone": lambda a, b, labels: pulled_together(a, b),
        "uniformity alone": lambda a, b, labels: pushed_apart(a, b),
        "both": lambda a, b, labels: pulled_together(a, b) + pushed_apart(a, b),
        "NT-Xent": None,
    }
    for condition in conditions:
        model = train(lab, loss=losses[condition])
        z_a, z_b = embedded_views(lab, model)
        forces = {"alignment": pulled_together(z_a, z_b).item(), "uniformity": pushed_apart(z_a, z_b).item()}
        yield condition, {"knn": knn(lab, model.encoder)} | forces


def no_negatives(lab: Lab, conditions: tuple[str, ...]) -> Rows:
    losses: dict[str, Loss | None] = {
        "with negatives": None,
        "positives alone": lambda a, b, labels: -F.cosine_similarity(a, b).mean() / lab.recipe.temperature,
    }
    for condition in conditions:
        model = train(lab, loss=losses[condition])
        z_a, z_b = embedded_views(lab, model)
        yield condition, {"knn": knn(lab, model.encoder), "spread of z": spread(torch.cat([z_a, z_b]))}


def stems(lab: Lab, conditions: tuple[str, ...]) -> Rows:
    for condition in conditions:
        recipe = replace(lab.recipe, small_images=condition == "small-image stem")
        here = replace(lab, recipe=recipe)
        cost = encoder.multiply_adds(encoder.build_encoder(recipe.arch, recipe.small_images)[0], recipe.view_size)
        yield condition, {"knn": knn(here, train(here).encoder), "million multiply-adds": cost / 1e6}


def supervised_losses(lab: Lab, conditions: tuple[str, ...]) -> Rows:
    few = lab.bank.subset(torch.arange(max(2, len(lab.bank) // 10)))
    models = {
        "cross-entropy": lambda: train(lab, loss=cross_entropy, model=with_classifier(lab), images=few),
        "SupCon": lambda: train(lab, loss=lambda a, b, y: sup_con(a, b, y, lab.recipe.temperature), images=few),
    }
    for condition in conditions:
        body = models[condition]().encoder
        h, query_h = (evaluation.extract_features(body, part.images) for part in (few, lab.queries))
        probe = evaluation.linear_probe(h, few.labels, query_h, lab.queries.labels)
        yield condition, {"probe": probe, "knn": knn(replace(lab, bank=few), body)}


def above(number: str, first: str, *others: str) -> tuple:
    """Contrasts: `number` is larger in the first condition than in each of the others."""
    return tuple(((first, number), (other, number)) for other in others)


def within(condition: str, larger: str, smaller: str) -> tuple:
    """A contrast of two numbers of one condition."""
    return (((condition, larger), (condition, smaller)),)


ALL = (
    Finding(
        "composition",
        question="One view of each picture is changed, by one operation or by two. Which teaches most?",
        choices=("crop", "color", "crop + color", "crop + cutout"),
        claim="No single operation suffices; crop and colour together stand out.",
        source="Chen et al. 2020, figure 5",
        published=(
            "crop alone 33.1 %, colour alone 18.8 %, crop and colour 56 %, crop and cutout 33.9 % (ImageNet, "
            "linear probe)"
        ),
        varied="operations",
        conditions=(*OPERATIONS, *PAIRS),
        quick=("crop", "color", "crop + color", "crop + cutout"),
        measure=composition,
        contrasts=above("knn", "crop + color", *OPERATIONS, *PAIRS[1:]),
    ),
    Finding(
        "histogram",
        question=(
            "A model that sees nothing but colour histograms looks for the other crop of a picture among 256. "
            "Does colour distortion stop it?"
        ),
        choices=("yes, nearly wholly", "by half", "hardly"),
        claim="Two crops of one picture share their histogram, until the colours are distorted.",
        source="Chen et al. 2020, figure 6",
        published="a figure of histograms, no numbers",
        varied="strength of the colour distortion",
        conditions=("0", "0.25", "0.5", "1"),
        quick=("0", "0.25", "0.5", "1"),
        measure=histogram,
        contrasts=(
            *above("identified", "0", "0.25"),
            *above("identified", "0.25", "0.5"),
            *above("identified", "0.5", "1"),
        ),
    ),
    Finding(
        "strength",
        question="Stronger colour distortion: does it help SimCLR, and training with a tenth of the labels?",
        choices=("helps both", "helps SimCLR, harms the other", "helps SimCLR, the other hardly changes", "harms both"),
        claim="Stronger colour distortion helps SimCLR and harms training with labels.",
        source="Chen et al. 2020, table 1",
        published="strength 1/8 to 1: SimCLR 59.6 to 63.2 %, supervised 77.0 to 75.7 % (ImageNet)",
        varied="strength of the colour distortion",
        conditions=("0", "0.25", "0.5", "1"),
        quick=("0", "1"),
        measure=strength,
        contrasts=(*above("knn", "1", "0.25", "0"), *above("supervised", "0", "1")),
    ),
    Finding(
        "head",
        question=(
            "The encoder is trained with no head, a linear one, and a non-linear one. Where is h best, and is z "
            "as good as h?"
        ),
        choices=("none, z is as good", "linear, z is as good", "non-linear, z is worse"),
        claim="A non-linear head is better than a linear one, that better than none; and h is better than z.",
        source="Chen et al. 2020, figure 8",
        published="non-linear over linear by 3 points, over none by more than 10; h over z by more than 10 (ImageNet)",
        varied="projection head",
        conditions=("none", "linear", "non-linear"),
        quick=("none", "linear", "non-linear"),
        measure=heads,
        contrasts=(
            *above("knn", "non-linear", "linear", "none"),
            *above("knn", "linear", "none"),
            *within("non-linear", "knn", "knn of z"),
        ),
    ),
    Finding(
        "forgotten",
        question=(
            "A linear map looks for hue, position, scale, brightness and rotation in h and in z. Where does it "
            "find more?"
        ),
        choices=("in h", "in z", "the same in both"),
        claim="z has lost what differs between two views; h still holds more of it.",
        source="Chen et al. 2020, table 3",
        published="rotation told from h 67.6 %, from z 25.6 % (chance 25 %); colour or grey 99.3 and 97.4 % (ImageNet)",
        varied="representation",
        conditions=("h", "z"),
        quick=("h", "z"),
        measure=forgotten,
        contrasts=tuple(contrast for name in FACTORS[:-1] for contrast in above(name, "h", "z")),
        factors=True,
    ),
    Finding(
        "temperature",
        question="With a low temperature more positives are found. Are the representations better for it?",
        choices=("lowest is best", "the middle is best", "highest is best"),
        claim="The lower the temperature, the more positives are found; the best representations lie in between.",
        source="Chen et al. 2020, table 5",
        published=(
            "τ 0.05, 0.1, 0.5, 1: positives found 90.5, 87.8, 68.2, 59.1 %; accuracy 59.7, 64.4, 60.7, 58.0 % "
            "(ImageNet)"
        ),
        varied="temperature τ",
        conditions=("0.05", "0.1", "0.2", "0.5", "1"),
        quick=("0.05", "0.2", "1"),
        measure=temperature,
        contrasts=(*above("contrastive", "0.05", "1"), *above("knn", "0.2", "1", "0.05")),
    ),
    Finding(
        "batch_size",
        question="Ten epochs or fewer: does a batch of 512 images learn more than one of 32?",
        choices=("512 learns more", "no difference", "32 learns more"),
        claim="With few epochs, larger batches are better.",
        source="Chen et al. 2020, table B.1",
        published=(
            "100 epochs, batch 256 and 4096: 57.5 and 64.6 %; with the square-root learning rate 62.8 and 64.5 % "
            "(ImageNet)"
        ),
        varied="batch size N",
        conditions=("32", "128", "512"),
        quick=("32", "512"),
        measure=batch_size,
        contrasts=above("knn", "512", "32"),
    ),
    Finding(
        "labels",
        question=(
            "With 1 % of the labels, or with all: where does a pretrained encoder gain more over training from scratch?"
        ),
        choices=("1 %", "100 %", "no difference"),
        claim="Fine-tuning beats training from scratch for as many steps in all, by most where labels are fewest.",
        source="Chen et al. 2020, table 7",
        published="1 % of the labels: 75.5 % against 48.4 % top-5; 10 %: 87.8 against 80.4 % (ImageNet)",
        varied="share of the labels",
        conditions=("1 %", "10 %", "100 %"),
        quick=("1 %", "100 %"),
        measure=few_labels,
        contrasts=(
            *within("1 %", "fine-tuned", "from scratch"),
            *within("10 %", "fine-tuned", "from scratch"),
            *within("100 %", "fine-tuned", "from scratch"),
            *above("gain", "1 %", "100 %"),
        ),
    ),
    Finding(
        "random_bits",
        question=(
            "Both views of a picture carry the same eight random squares. Does the encoder still learn the shapes?"
        ),
        choices=("as before", "half as well", "hardly"),
        claim="An easy shared feature keeps the encoder from learning a harder one.",
        source="Chen et al. 2021, Intriguing Properties of Contrastive Losses",
        published="0, 5, 10 bits at τ = 0.1: 89.2, 61.2, 18.7 % (MNIST)",
        varied="bits that two views share",
        conditions=("0", "2", "4", "8", "16"),
        quick=("0", "8"),
        measure=random_bits,
        contrasts=(*above("knn", "0", "8", "16"), *above("knn", "2", "16")),
    ),
    Finding(
        "two_forces",
        question="NT-Xent pulls positives together and pushes all apart. Is one of the two enough?",
        choices=("pulling alone is", "pushing alone is", "neither is"),
        claim="Neither alignment nor uniformity alone is enough; both together are better than either.",
        source="Wang and Isola 2020, section 5",
        published="optimising both directly is as good as the contrastive loss, or better (STL-10, figure 7)",
        varied="loss",
        conditions=("alignment alone", "uniformity alone", "both", "NT-Xent"),
        quick=("alignment alone", "uniformity alone", "both"),
        measure=two_forces,
        contrasts=above("knn", "both", "alignment alone", "uniformity alone"),
    ),
    Finding(
        "spectrum",
        question="How many of h's directions does the encoder use, without and with a projection head?",
        choices=("more without", "the same", "more with"),
        claim="z uses fewer directions than h; and without a head h itself collapses into fewer.",
        source="Jing et al. 2021, Understanding Dimensional Collapse",
        published=(
            "the singular values of z fall off a cliff; accuracy without, with a linear, with a non-linear head: "
            "51.5, 61.1, 66.5 % (ImageNet)"
        ),
        varied="projection head",
        conditions=("none", "linear", "non-linear"),
        quick=("none", "non-linear"),
        measure=spectra,
        contrasts=(*within("non-linear", "rank of h", "rank of z"), *above("rank of h", "non-linear", "none")),
    ),
    Finding(
        "no_negatives",
        question="What is left of NT-Xent when the negatives are taken away?",
        choices=("it learns as well", "it learns more slowly", "z shrinks to a point"),
        claim="Without negatives every picture gets the same z.",
        source="Chen and He 2021, figure 2 (without stop-gradient)",
        published="the spread of z falls to 0, the accuracy to chance (ImageNet)",
        varied="loss",
        conditions=("with negatives", "positives alone"),
        quick=("with negatives", "positives alone"),
        measure=no_negatives,
        contrasts=(
            *above("spread of z", "with negatives", "positives alone"),
            *above("knn", "with negatives", "positives alone"),
        ),
    ),
    Finding(
        "stem",
        question=(
            "Pictures of 32 pixels, the same epochs: does the stem for small images help, at twelve times the "
            "arithmetic?"
        ),
        choices=("it helps", "no difference", "it harms"),
        claim="On small pictures the 3×3 stem without max-pool is better than ImageNet's.",
        source="Chen et al. 2020, appendix B.9",
        published="used there for CIFAR-10 without a comparison",
        varied="stem",
        conditions=("ImageNet stem", "small-image stem"),
        quick=("ImageNet stem", "small-image stem"),
        measure=stems,
        share=1 / 4,  # the small-image stem costs twelve times as much
        contrasts=above("knn", "small-image stem", "ImageNet stem"),
    ),
    Finding(
        "sup_con",
        question="A tenth of the labels: are the representations better after SupCon or after cross-entropy?",
        choices=("SupCon", "no difference", "cross-entropy"),
        claim="SupCon is better than cross-entropy.",
        source="Khosla et al. 2020, table 2",
        published="95.0 and 96.0 % (CIFAR-10, ResNet-50, cross-entropy and SupCon)",
        varied="loss",
        conditions=("cross-entropy", "SupCon"),
        quick=("cross-entropy", "SupCon"),
        measure=supervised_losses,
        contrasts=above("probe", "SupCon", "cross-entropy"),
    ),
)
FINDINGS = {finding.name: finding for finding in ALL}
