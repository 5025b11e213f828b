"""A model whose scores are looked up in a table, so that all it was given can be seen and all it says be recomputed."""

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from registry.errors import InputError


class Call(NamedTuple):
    """What the model was given once."""

    ids: Tensor
    mask: Tensor | None
    positions: Tensor | None
    top: int | None


class ToyCache:
    """All ids so far, with their positions."""

    def __init__(self, batch: int, capacity: int) -> None:
        self.capacity = capacity
        self.ids = torch.empty(batch, 0, dtype=torch.long)
        self.positions = torch.empty(batch, 0, dtype=torch.long)

    def append(self, ids: Tensor, positions: Tensor) -> None:
        self.ids = torch.cat([self.ids, ids], dim=1)
        self.positions = torch.cat([self.positions, positions], dim=1)
        assert self.ids.shape[1] <= self.capacity

    def reorder(self, rows: Tensor) -> None:
        self.ids, self.positions = self.ids[rows], self.positions[rows]

    def clear(self) -> None:
        self.ids, self.positions = self.ids[:, :0], self.positions[:, :0]


class Toy:
    """Every token that it sees adds a number to the score of each token, depending on its position; so all count."""

    def __init__(self, vocabulary: int = 11, context_size: int = 16) -> None:
        draw = torch.Generator().manual_seed(vocabulary)
        self.table = torch.randn(vocabulary, context_size, vocabulary, generator=draw)
        self.context_size = context_size
        self.caches: list[ToyCache] = []
        self.calls: list[Call] = []

    def new_cache(self, batch: int, capacity: int) -> ToyCache:
        self.caches.append(ToyCache(batch, capacity))
        return self.caches[-1]

    def score(
        self,
        ids: Tensor,
        cache: ToyCache,
        *,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        top: int | None = None,
    ) -> Tensor:
        self.calls.append(Call(ids.clone(), attention_mask, position_ids, top))
        if ids.min() < 0 or ids.max() >= len(self.table):
            raise InputError("An id is unknown.")
        if position_ids is None:
            before = cache.ids.shape[1]
            position_ids = torch.arange(before, before + ids.shape[1]).expand_as(ids)
        cache.append(ids, position_ids)
        mask = torch.ones_like(cache.ids) if attention_mask is None else attention_mask
        assert mask.shape == cache.ids.shape
        return (self.table[cache.ids, cache.positions] * mask[..., None]).sum(dim=1)

    def next_scores(self, seen: list[int]) -> Tensor:
        """The scores of what may follow these ids, worked out without any of the above."""
        return torch.stack([self.table[token, place] for place, token in enumerate(seen)]).sum(dim=0)

    def likeliest(self, ids: list[int], new: int, slides: bool = False, penalty: float = 1.0) -> list[int]:
        """``ids`` continued by the likeliest tokens; when the context is full, its younger half is kept."""
        ids, seen = list(ids), list(ids)
        for _ in range(new):
            if len(seen) > self.context_size:
                assert slides
                seen = seen[-((self.context_size + 1) // 2) :]
            scores = self.next_scores(seen)
            for known in set(ids):
                scores[known] *= penalty if scores[known] < 0 else 1 / penalty
            token = int(scores.argmax())
            ids.append(token)
            seen.append(token)
        return ids


@pytest.fixture
def toy() -> Callable[..., Toy]:
    return Toy
