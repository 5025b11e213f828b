"""A map of texts: their embeddings in two dimensions, and the nearest neighbors of each text.

Neighbors are those of the complete vectors, by their cosine.  The two dimensions are the principal components of the
vectors, which keep as much of their variance as two directions can; what is far apart on the map is far apart, and what
is close may be apart in other directions.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from registry.errors import InputError
from registry.pages.rendering import single_page

if TYPE_CHECKING:
    from registry.loading.loaded import Pretrained

MOST_TEXTS = 5_000
"""Texts on a map; more would be slow in a browser."""
NEIGHBORS = 8
"""Neighbors that are listed of each text."""
BLOCK = 1024
"""Texts whose cosines to all others are computed together."""


def neighbors_page(loaded: "Pretrained", name: str, texts: Sequence[str], *, batch_size: int = 32) -> str:
    """The HTML page of a map of texts.

    Args:
        loaded: A model with embeddings, and its tokenizer.
        name: The name of the model, for the title.
        texts: The texts; equal ones are shown once, and empty ones are not.
        batch_size: Texts that are embedded together.

    Raises:
        InputError: There are fewer than two different texts, or too many for a page.
    """
    texts = [text for text in dict.fromkeys(text.strip() for text in texts) if text]
    if len(texts) < 2:
        raise InputError("A map needs at least two different texts.")
    if len(texts) > MOST_TEXTS:
        raise InputError(f"{len(texts):,} texts are too many for a page: it holds {MOST_TEXTS:,}.")
    vectors = loaded.embed(texts, normalize=True, batch_size=batch_size).float()
    places, kept = principal_components(vectors)
    cosines, indices = nearest(vectors, min(NEIGHBORS, len(texts) - 1))
    data = {
        "texts": texts,
        "places": places.mul(10_000).round().div(10_000).tolist(),
        "neighbors": indices.tolist(),
        "cosines": cosines.mul(1000).round().div(1000).tolist(),
    }
    values = {"name": name, "count": len(texts), "width": vectors.shape[1], "kept": kept, "first": texts[:50]}
    return single_page("neighbors", f"Map of {len(texts):,} texts", data, values)


def principal_components(vectors: Tensor) -> tuple[Tensor, float]:
    """The first two principal components of vectors.

    Args:
        vectors: ``(texts, width)``.

    Returns:
        Places ``(texts, 2)``, the larger extent scaled to -1 to 1, and the share of the variance that they keep.
    """
    centered = vectors - vectors.mean(0)
    left, singular, _ = torch.linalg.svd(centered.double(), full_matrices=False)
    places = torch.zeros(len(vectors), 2, dtype=torch.double)
    found = min(2, len(singular))
    places[:, :found] = left[:, :found] * singular[:found]
    variance = singular.square()
    total = float(variance.sum())
    return (places / places.abs().max().clamp(min=1e-12)).float(), float(variance[:2].sum()) / total if total else 1.0


def nearest(vectors: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """The nearest other vectors of each.

    Args:
        vectors: Of length 1, ``(texts, width)``.
        number: Of each, how many.

    Returns:
        Cosines and indices, ``(texts, number)``, the nearest first.
    """
    found = []
    for start in range(0, len(vectors), BLOCK):
        cosines = vectors[start : start + BLOCK] @ vectors.T
        rows = torch.arange(len(cosines))
        cosines[rows, rows + start] = -2  # not its own neighbor
        found.append(cosines.topk(number, dim=1))
    return torch.cat([top.values for top in found]), torch.cat([top.indices for top in found])
