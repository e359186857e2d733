"""Answers to the exercises of notebook 06, right and wrong."""

import math
import warnings

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from torch.nn import functional as F

from helpers import evaluation
from tests.banks.exercise import Exercise

# extract_features


def features(
    encoder,
    images,
    batch_size=256,
    mode="eval",
    restore=True,
    grad=False,
    prepare=lambda x: x.float() / 255,
    after=lambda h: h,
    keep=lambda b: b,
):
    """One function with a switch for each mistake."""
    was = encoder.training
    if mode is not None:
        encoder.train(mode == "train")
    with torch.set_grad_enabled(grad):
        h = torch.cat([encoder(prepare(batch)) for batch in keep(list(images.split(batch_size)))])
    if restore == "train":
        encoder.train()
    elif restore:
        encoder.train(was)
    return after(h)


def features_by_index(net, x, n=256):
    was = net.training
    net.eval()
    out = None
    for start in range(0, len(x), n):
        with torch.inference_mode():
            h = net(x[start : start + n] / 255).numpy()
        out = h if out is None else np.concatenate([out, h])
    net.train(was)
    return torch.tensor(out)


def features_one_by_one(f, pictures, batch_size):
    training = f.training
    f.eval()
    rows = torch.stack([f(picture[None].to(torch.float32).div(255))[0].detach() for picture in pictures])
    f.train(training)
    return rows


def features_with_loader(encoder, images, batch_size):
    was, encoder_input = encoder.training, torch.utils.data.DataLoader(images, batch_size, shuffle=False)
    try:
        encoder.eval()
        with torch.no_grad():
            return torch.vstack([encoder(x.mul(1 / 255)) for x in encoder_input])
    finally:
        encoder.train(was)


def features_shuffled(encoder, images, batch_size):
    return features(encoder, images[torch.randperm(len(images))], batch_size)


def features_in_place(encoder, images, batch_size):
    h = features(encoder, images, batch_size)
    images.zero_()
    return h


def with_change(**change):
    return lambda encoder, images, batch_size=256: features(encoder, images, batch_size, **change)


RIGHT_FEATURES = {
    "slices, NumPy inside": features_by_index,
    "image by image": features_one_by_one,
    "a DataLoader": features_with_loader,
    "split and cat": with_change(),
}
WRONG_FEATURES = {
    "lazy: the first pixels": (lambda e, x, b=256: x.flatten(1)[:, :9].float() / 255, ""),
    "fitted to three batches": (
        lambda e, x, b=256: features(e, x, b, keep=lambda batches: batches[:3]),
        "is wanted",
    ),
    "calls the reference": (lambda e, x, b=256: evaluation.extract_features(e, x, b), "course's own answer"),
    "not written": (lambda *a: (_ for _ in ()).throw(NotImplementedError), "not written yet"),
    "nothing returned": (lambda encoder, images, batch_size: None, "returned nothing"),
    "list of batches": (lambda e, x, b: [features(e, part) for part in x.split(b)], "join them with torch.cat"),
    "numpy": (with_change(after=lambda h: h.numpy()), "a torch tensor is wanted"),
    "train mode": (with_change(mode="train"), "it ran in train mode"),
    "mode left as it is": (with_change(mode=None), "it ran in train mode"),
    "gradient kept": (with_change(grad=True), "torch.no_grad"),
    "frozen for good": (
        lambda e, x, b: (e.requires_grad_(False), features(e, x, b, grad=True))[1],
        "froze the encoder for good",
    ),
    "left in eval mode": (with_change(restore=False), "was in train mode before and is in eval mode after"),
    "always train afterwards": (with_change(restore="train"), "was in eval mode before and is in train mode after"),
    "not scaled": (with_change(prepare=lambda x: x.float()), "scale them to [0, 1]"),
    "scaled twice": (with_change(prepare=lambda x: x.float() / 255 / 255), "divided by 255 twice"),
    "divided by 256": (with_change(prepare=lambda x: x.float() / 256), "divided by 256"),
    "scaled to -1 .. 1": (with_change(prepare=lambda x: x.float() / 127.5 - 1), "between -1 and 1"),
    "rows normalised": (with_change(after=lambda h: F.normalize(h, dim=1)), "rows were normalised"),
    "gradients off from here on": (
        lambda e, x, b: (features(e, x, b), torch.set_grad_enabled(False))[0],
        "turned gradients off for everything",
    ),
    "shuffled": (features_shuffled, "in another order"),
    "reversed": (with_change(after=lambda h: h.flip(0)), "in another order"),
    "last batch dropped": (with_change(keep=lambda batches: batches[:-1]), "the last, smaller batch was dropped"),
    "first batch only": (with_change(keep=lambda batches: batches[:1]), "only one batch came back"),
    "last batch only": (with_change(keep=lambda batches: batches[-1:]), "only one batch came back"),
    "batch size ignored": (lambda e, x, b: features(e, x, len(x)), "batch_size was not used"),
    "float64": (with_change(after=lambda h: h.double()), "float32 is wanted"),
    "float16": (with_change(after=lambda h: h.half()), "float32 is wanted"),
    "transposed": (with_change(after=lambda h: h.T), "is wanted"),
    "mean over the images": (with_change(after=lambda h: h.mean(dim=0)), "is wanted"),
    "images changed": (features_in_place, "changed the images"),
    "pixels as bytes": (with_change(prepare=lambda x: x), "stopped with"),
}


# knn_accuracy


def knn(
    bank_h, bank_y, query_h, query_y, k=20, temperature=0.1,
    rows=lambda h: F.normalize(h, dim=1), near=lambda q, b: q @ b.T, size=lambda s, t: (s / t).exp(),
    skip=0, largest=True, classes=lambda bank_y, query_y: int(bank_y.max()) + 1,
):  # fmt: skip
    bank, query = rows(bank_h.double()), rows(query_h.double())
    score = near(query, bank)
    top, index = score.topk(k + skip, dim=1, largest=largest)
    votes = torch.zeros(len(query), classes(bank_y, query_y), dtype=torch.float64)
    votes.scatter_add_(1, bank_y[index[:, skip:]], size(top[:, skip:], temperature))
    return (votes.argmax(dim=1) == query_y).double().mean().item()


def knn_in_numpy(a, y, b, t, k=20, tau=0.1):
    a, b = (np.asarray(h, dtype=np.float32) for h in (a, b))
    a, b = (h / np.linalg.norm(h, axis=1, keepdims=True) for h in (a, b))
    hits = 0
    for row, truth in zip(b, t.tolist(), strict=True):
        cosine = a @ row
        nearest = np.argpartition(-cosine, k - 1)[:k]
        votes = np.bincount(y.numpy()[nearest], weights=np.exp(cosine[nearest] / tau))
        hits += int(votes.argmax() == truth)
    return np.float64(hits / len(b))


def knn_in_loops(bank, labels, queries, truth, neighbours=20, temperature=0.1):
    right = 0
    for q, y in zip(queries, truth, strict=True):
        cosines = [F.cosine_similarity(q, b, dim=0).item() for b in bank]
        near = sorted(zip(cosines, labels.tolist(), strict=True), reverse=True)
        votes = {}
        for cosine, c in near[:neighbours]:
            votes[c] = votes.get(c, 0) + math.exp((cosine - 1) / temperature)
        right += max(votes, key=votes.get) == int(y)
    return torch.tensor(right / len(queries))


def knn_by_scikit(bank_h, bank_y, query_h, query_y, k=20, temperature=0.1):
    weights = lambda distance: np.exp((1 - distance) / temperature)  # noqa: E731
    model = KNeighborsClassifier(k, metric="cosine", weights=weights, algorithm="brute").fit(bank_h, bank_y)
    return model.score(query_h, query_y)


def knn_with(**change):
    def answer(bank_h, bank_y, query_h, query_y, k=20, temperature=0.1):
        return knn(bank_h, bank_y, query_h, query_y, k, temperature, **change)

    return answer


def same(h):
    return h


RIGHT_KNN = {
    "NumPy": knn_in_numpy,
    "loops, other names": knn_in_loops,
    "scikit-learn": knn_by_scikit,
    "float64": knn,
}
WRONG_KNN = {
    "lazy: always right": (lambda *a: 1.0, ""),
    "fitted to the two values of the asserts": (lambda a, b, c, d, k=20, t=0.1: 1.0 if t == 0.1 else 0.0, ""),
    "calls the reference": (lambda *a: evaluation.knn_accuracy(*a), "course's own answer"),
    "calls the reference's inside": (
        lambda a, b, c, d, k=20, t=0.1: (evaluation.knn_predict(a, b, c, k, t) == d).float().mean(),
        "course's own answer",
    ),
    "nothing returned": (lambda *a: print(end=""), "returned nothing"),
    "percent": (lambda *a: 100 * knn(*a), "percentage"),
    "count": (lambda *a: knn(*a) * len(a[3]), "divide by the number of queries"),
    "share of wrong answers": (lambda *a: 1 - knn(*a), "fraction of wrong answers"),
    "one answer a query": (lambda *a: torch.ones(len(a[3])), "one number is wanted"),
    "text": (lambda *a: f"{knn(*a):.1%}", "one number is wanted"),
    "unweighted": (knn_with(size=lambda s, t: torch.ones_like(s)), "equal weight"),
    "weighs the cosine": (knn_with(size=lambda s, t: s), "weighs the cosine itself"),
    "temperature multiplied": (knn_with(size=lambda s, t: (s * t).exp()), "divide by it"),
    "temperature left out": (knn_with(size=lambda s, t: s.exp()), "temperature was ignored (1 fits"),
    "temperature hard-coded": (knn_with(size=lambda s, t: (s / 0.1).exp()), "temperature was ignored (0.1 fits"),
    "euclidean": (
        lambda *a: knn(*a, rows=same, near=lambda q, b: -torch.cdist(q, b), size=lambda s, t: torch.ones_like(s)),
        "Euclidean distance and vote with equal weight",
    ),
    "dot product": (knn_with(rows=same), "the rows are not normalised"),
    "columns normalised": (knn_with(rows=lambda h: F.normalize(h, dim=0)), "normalise along dim=1"),
    "farthest": (knn_with(largest=False), "farthest"),
    "k hard-coded": (lambda *a: knn(*a[:4], 20, *a[5:]), "k was ignored (20 fits"),
    "all vote": (lambda *a: knn(*a[:4], len(a[0]), *a[5:]), "every image of the bank voted"),
    "nearest only": (lambda *a: knn(*a[:4], 1, *a[5:]), "the nearest neighbour alone"),
    "k + 1": (lambda *a: knn(*a[:4], a[4] + 1, *a[5:]), "k + 1 neighbours"),
    "nearest skipped": (knn_with(skip=1), "a query is not in the bank"),
    "swapped": (lambda a, b, c, d, k=20, t=0.1: knn(c, d, a, b, k, t), "bank and query were swapped"),
    "no defaults": (lambda a, b, c, d, k, t: knn(a, b, c, d, k, t), "missing 2 required"),
    "other default": (lambda a, b, c, d, k=5, t=0.1: knn(a, b, c, d, k, t), "defaults are k=20"),
    "classes counted in the bank": (
        knn_with(classes=lambda bank_y, query_y: len(bank_y.unique())),
        "the last of 12 classes",
    ),
    "ten classes": (knn_with(classes=lambda bank_y, query_y: 10), "the last of 12 classes"),
    "classes of the queries": (
        knn_with(classes=lambda bank_y, query_y: int(query_y.max()) + 1),
        "the last of 12 classes",
    ),
    "classes counted in the queries": (
        knn_with(classes=lambda bank_y, query_y: len(query_y.unique())),
        "the last of 12 classes",
    ),
    "normalised in place": (
        lambda *a: (a[0].div_(a[0].norm(dim=1, keepdim=True)), knn(*a))[1],
        "changed the representations",
    ),
    "nan": (lambda *a: float("nan"), "an accuracy is a number"),
}


# linear_probe


def probe(train_h, train_y, test_h, test_y, scale="train", fit="train", score="test"):
    sets = {"train": (train_h, train_y), "test": (test_h, test_y)}
    sets["both"] = (torch.cat([train_h, test_h]), torch.cat([train_y, test_y]))
    scalers = {name: StandardScaler().fit(h) for name, (h, _) in sets.items()}
    scaled = {name: (scalers[name if scale == "each" else scale].transform(h), y) for name, (h, y) in sets.items()}
    return LogisticRegression(max_iter=2000).fit(*scaled[fit]).score(*scaled[score])


def probe_pipeline(a, b, c, d):
    return (
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=500, C=10.0))
        .fit(a.numpy(), b.numpy())
        .score(c.numpy(), d.numpy())
    )


def probe_in_torch(train_h, train_y, test_h, test_y):
    mean, spread = train_h.mean(dim=0), train_h.std(dim=0)
    spread = torch.where(spread > 0, spread, 1)
    linear = torch.nn.Linear(train_h.shape[1], int(train_y.max()) + 1)
    optimizer = torch.optim.Adam(linear.parameters(), lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        F.cross_entropy(linear((train_h - mean) / spread), train_y).backward()
        optimizer.step()
    return (linear((test_h - mean) / spread).argmax(dim=1) == test_y).float().mean()


def probe_by_least_squares(train_h, train_y, test_h, test_y):
    mean, spread = train_h.double().mean(dim=0), train_h.double().std(dim=0).clamp_min(1e-9)
    a, b = (torch.cat([(h.double() - mean) / spread, torch.ones(len(h), 1)], dim=1) for h in (train_h, test_h))
    weight = torch.linalg.lstsq(a, F.one_hot(train_y).double(), driver="gelsd").solution
    return ((b @ weight).argmax(dim=1) == test_y).double().mean().item()


def probe_with_own_scaler(train_h, train_y, test_h, test_y):
    mean, spread = train_h.mean(dim=0), train_h.std(dim=0)
    classifier = LogisticRegression(max_iter=1000).fit((train_h - mean) / spread, train_y)
    return classifier.score((test_h - mean) / spread, test_y)


def probe_with(**change):
    return lambda a, b, c, d: probe(a, b, c, d, **change)


def probe_of(classifier):
    def answer(train_h, train_y, test_h, test_y):
        with warnings.catch_warnings(action="ignore"):  # of a classifier that is stopped early
            return make_pipeline(StandardScaler(), classifier).fit(train_h, train_y).score(test_h, test_y)

    return answer


RIGHT_PROBE = {
    "a pipeline": probe_pipeline,
    "trained with torch": probe_in_torch,
    "least squares, float64": probe_by_least_squares,
    "scaler and classifier": probe,
}
WRONG_PROBE = {
    "lazy: always right": (lambda a, b, c, d: 1.0, ""),
    "fitted to one column and two classes": (lambda a, b, c, d: ((c[:, 0] > 0.55) == d).float().mean(), "wanted"),
    "calls the reference": (lambda a, b, c, d: evaluation.linear_probe(a, b, c, d), "course's own answer"),
    "nothing returned": (lambda *a: None, "returned nothing"),
    "classifier returned": (lambda a, b, c, d: LogisticRegression().fit(a, b), "one number is wanted"),
    "percent": (lambda *a: 100 * probe(*a), "leave out the 100"),
    "accuracy on train": (probe_with(score="train"), "accuracy on train"),
    "fitted on test": (probe_with(fit="test"), "fitted on test, and so has seen the answers"),
    "train and test swapped": (probe_with(fit="test", score="train"), "swapped"),
    "share of wrong answers": (lambda *a: 1 - probe(*a), "fraction of wrong answers"),
    "fitted on both": (probe_with(fit="both"), "it on train"),
    "a scaler for each": (probe_with(scale="each"), "The scaler was fitted on test too"),
    "scaler fitted on test": (probe_with(scale="test"), "scaler"),
    "scaler fitted on both": (probe_with(scale="both"), "together with train"),
    "no scaler": (
        lambda a, b, c, d: LogisticRegression(max_iter=2000).fit(a, b).score(c, d),
        "Standardise every column",
    ),
    "test not scaled": (
        lambda a, b, c, d: LogisticRegression(max_iter=2000).fit(StandardScaler().fit_transform(a), b).score(c, d),
        "in test as in train",
    ),
    "constant column": (probe_with_own_scaler, "stopped with ValueError"),
    "neighbours instead": (probe_of(KNeighborsClassifier(5)), "Is the classifier linear"),
    "a curved border": (probe_of(SVC()), "Is the classifier linear"),
    "hardly trained": (probe_of(LogisticRegression(max_iter=1)), "Train the classifier to the end"),
    "held back by its penalty": (probe_of(LogisticRegression(C=1e-3)), "a small C: leave it at 1"),
    "untrained": (lambda a, b, c, d: (torch.zeros_like(d) == d).float().mean(), "trained to the end"),
}


# alignment and uniformity


def unit(z):
    return F.normalize(z, dim=1)


def alignment_in_numpy(a, b):
    a, b = (np.asarray(z, dtype=float) / np.linalg.norm(z, axis=1, keepdims=True) for z in (a, b))
    return ((a - b) ** 2).sum(axis=1).mean()


def alignment_in_loops(z_a, z_b):
    return sum(2 - 2 * F.cosine_similarity(a, b, dim=0).item() for a, b in zip(z_a, z_b, strict=True)) / len(z_a)


RIGHT_ALIGNMENT = {
    "einsum": lambda a, b: 2 - 2 * torch.einsum("nd,nd->n", unit(a), unit(b)).mean(),
    "NumPy": alignment_in_numpy,
    "loops": alignment_in_loops,
    "float64, shape (1,)": lambda a, b: (unit(a.double()) - unit(b.double())).norm(dim=1).pow(2).mean()[None],
}
WRONG_ALIGNMENT = {
    "lazy: zero": (lambda a, b: 0.0, ""),
    "fitted to two dimensions": (lambda a, b: (unit(a[:, :2]) - unit(b[:, :2])).square().sum(1).mean(), ""),
    "calls the reference": (lambda a, b: evaluation.alignment(a, b), "course's own answer"),
    "nothing returned": (lambda a, b: None, "returned nothing"),
    "not normalised": (lambda a, b: (a - b).square().sum(1).mean(), "rows are not normalised"),
    "no square": (lambda a, b: (unit(a) - unit(b)).norm(dim=1).mean(), "the square is missing"),
    "neither": (lambda a, b: (a - b).norm(dim=1).mean(), "not normalised, and the square is missing"),
    "mse": (lambda a, b: F.mse_loss(unit(a), unit(b)), "sum over them"),
    "mse of raw rows": (F.mse_loss, "rows are not normalised"),
    "sum": (lambda a, b: (unit(a) - unit(b)).square().sum(), "the mean is wanted"),
    "one number a pair": (lambda a, b: (unit(a) - unit(b)).square().sum(1), "Is a mean missing?"),
    "columns normalised": (
        lambda a, b: (F.normalize(a, dim=0) - F.normalize(b, dim=0)).square().sum(1).mean(),
        "along dim=1",
    ),
    "cosine": (lambda a, b: F.cosine_similarity(a, b).mean(), "mean cosine"),
    "1 - cosine": (lambda a, b: 1 - F.cosine_similarity(a, b).mean(), "half of it"),
    "sign": (lambda a, b: -(unit(a) - unit(b)).square().sum(1).mean(), "sign is turned"),
    "mean squared afterwards": (lambda a, b: (unit(a) - unit(b)).norm(dim=1).mean() ** 2, "square first"),
    "in place": (
        lambda a, b: (a.div_(a.norm(dim=1, keepdim=True)) - unit(b)).square().sum(1).mean(),
        "changed its input",
    ),
}


def kernel(z, t=2.0):
    return (-t * torch.pdist(unit(z)).square()).exp()


def uniformity_in_numpy(z):
    z = np.asarray(z, dtype=float) / np.linalg.norm(z, axis=1, keepdims=True)
    pairs = [np.exp(-2 * ((z[i] - z[j]) ** 2).sum()) for i in range(len(z)) for j in range(i)]
    return float(np.log(np.mean(pairs)))


def uniformity_by_matrix(z):
    u, different = unit(z), ~torch.eye(len(z), dtype=torch.bool)
    return (4 * (u @ u.T)[different] - 4).logsumexp(0) - math.log(len(z) * (len(z) - 1))


RIGHT_UNIFORMITY = {
    "logsumexp of the pairs": lambda z: (
        (4 * torch.pdist(unit(z)).square() * -0.5).logsumexp(0) - math.log(len(z) * (len(z) - 1) / 2)
    ),
    "NumPy, loops": uniformity_in_numpy,
    "a matrix product": uniformity_by_matrix,
    "float64": lambda z: kernel(z.double()).mean().log(),
}
WRONG_UNIFORMITY = {
    "lazy: zero": (lambda z: 0.0, ""),
    "fitted to two rows": (lambda z: -2 * (unit(z)[0] - unit(z)[1]).square().sum(), ""),
    "calls the reference": (lambda z: evaluation.uniformity(z), "course's own answer"),
    "nothing returned": (lambda z: None, "returned nothing"),
    "no log": (lambda z: kernel(z).mean(), "the log is missing"),
    "sign": (lambda z: -kernel(z).mean().log(), "the sign is turned"),
    "pairs with itself": (
        lambda z: (-2 * torch.cdist(unit(z), unit(z)).square()).exp().mean().log(),
        "paired with itself",
    ),
    "no t": (lambda z: kernel(z, 1).mean().log(), "t is missing"),
    "no square": (lambda z: (-2 * torch.pdist(unit(z))).exp().mean().log(), "the square is missing"),
    "not normalised": (lambda z: (-2 * torch.pdist(z).square()).exp().mean().log(), "rows are not normalised"),
    "no minus": (lambda z: kernel(z, -2).mean().log(), "minus in the exponent"),
    "mean of logs": (lambda z: kernel(z).log().mean(), "mean of the logs"),
    "sum": (lambda z: kernel(z).sum().log(), "sum over the pairs"),
    "t twice": (lambda z: kernel(z, 4).mean().log(), "t was applied twice"),
    "columns normalised": (
        lambda z: (-2 * torch.pdist(F.normalize(z, dim=0)).square()).exp().mean().log(),
        "along dim=1",
    ),
    "log10": (lambda z: kernel(z).mean().log10(), "base 10"),
    "one number a pair": (lambda z: kernel(z).log(), "Is a mean missing?"),
    "in place": (lambda z: kernel(z.div_(z.norm(dim=1, keepdim=True))).mean().log(), "changed its input"),
}

BANK = {
    "extract_features": Exercise(WRONG_FEATURES, RIGHT_FEATURES),
    "knn_accuracy": Exercise(WRONG_KNN, RIGHT_KNN),
    "linear_probe": Exercise(WRONG_PROBE, RIGHT_PROBE),
    "alignment": Exercise(WRONG_ALIGNMENT, RIGHT_ALIGNMENT),
    "uniformity": Exercise(WRONG_UNIFORMITY, RIGHT_UNIFORMITY),
}
