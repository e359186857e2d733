"""A representation in the plane, by t-SNE or UMAP: to look at, not to measure. The widgets draw it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from helpers.evaluation import nearest_neighbours, vote
from helpers.features import check_features


def project(h: Tensor, method: str, seed: int = 0, start: Tensor | None = None) -> Tensor:
    """A map of the rows of h in the plane, by t-SNE or UMAP on cosine distances: to look at, not to measure.

    Both keep neighbours together; distances between groups, and the sizes of groups, mean little.

    Args:
        h: (M, D), M >= 16; a few thousand rows at most.
        method: "t-SNE" (van der Maaten & Hinton 2008) or "UMAP" (McInnes et al. 2018).
        seed: of the random start.
        start: (M, 2) another map of the same images to start from, so that the two can be compared by eye.

    Returns:
        (M, 2) float32, each column between 0 and 1.

    Raises:
        ValueError: another method; NaN or infinity; a start in which all points are one, or that is not (M, 2).
    """
    check_features("h", h)
    if start is not None:
        check_features("start", start)
        if tuple(start.shape) != (len(h), 2) or not start.std() > 0:
            raise ValueError(
                f"start has shape {tuple(start.shape)}; ({len(h)}, 2) is wanted, not all of them one point."
            )
    if method == "t-SNE":
        from sklearn.manifold import TSNE  # here: training does without its memory

        init = "random" if start is None else (1e-4 * (start - start.mean(dim=0)) / start.std()).numpy()
        mapper = TSNE(metric="cosine", perplexity=min(30, len(h) / 4), init=init, random_state=seed)
    elif method == "UMAP":
        from umap import UMAP  # here, for its import alone takes seconds

        init = "spectral" if start is None else (10 * start).numpy()
        mapper = UMAP(metric="cosine", random_state=seed, n_jobs=1, init=init)
    else:
        raise ValueError(f'There is no projection {method!r}; there are "t-SNE" and "UMAP".')
    points = torch.from_numpy(mapper.fit_transform(h.numpy())).float()  # (M, 2)
    low, high = points.min(dim=0).values, points.max(dim=0).values
    return (points - low) / (high - low)


@dataclass(frozen=True, eq=False)
class EmbeddingMap:
    """A representation of M images as an explorer shows it.

    points: (M, 2) float32 in [0, 1], to look at.
    neighbours: (M, k) int64, the nearest other images by cosine in the representation itself, the nearest first.
    knn: accuracy when each image asks the others for its class, as in knn_predict; None without labels.
    method: what the points were drawn with.
    """

    points: Tensor
    neighbours: Tensor
    knn: float | None
    method: str = "t-SNE"


def embedding_map(
    h: Tensor, labels: Tensor | None, method: str = "t-SNE", start: Tensor | None = None, k: int = 20
) -> EmbeddingMap:
    """Points, nearest neighbours and k-NN accuracy of the rows of h (M, D); the other arguments as in `project`."""
    cosine, index = nearest_neighbours(h, h, min(k, len(h) - 1) + 1)  # (M, k + 1) both, itself among them
    others = index != torch.arange(len(h))[:, None]
    others[others.all(dim=1), -1] = False  # more than k rows are equal to this one, and came before it
    cosine, index = cosine[others].view(len(h), -1), index[others].view(len(h), -1)  # (M, k) both
    knn = None
    if labels is not None:
        knn = (vote(cosine, labels[index]) == labels).double().mean().item()
    return EmbeddingMap(project(h, method, start=start), index, knn, method)
