"""Texts that a model is writing: their ids, and how much of them it has read and remembers."""

from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from registry.generation.prompts import Prompts, WhenFull, check_room


class Cache(Protocol):
    """What a model remembers of the texts that it reads."""

    def reorder(self, rows: Tensor) -> None:
        """Let row ``i`` be what row ``rows[i]`` was; there may be more rows than before."""
        ...

    def clear(self) -> None:
        """Forget all tokens."""
        ...


@runtime_checkable
class CausalModel(Protocol):
    """What a model must offer to be decoded."""

    @property
    def context_size(self) -> int:
        """How many tokens the model sees at once."""
        ...

    def new_cache(self, batch: int, capacity: int) -> Cache:
        """An empty memory for ``capacity`` tokens of each of ``batch`` texts."""
        ...

    def score(
        self, input_ids: Tensor, cache: Any, *, attention_mask: Tensor | None = None, position_ids: Tensor | None = None
    ) -> Tensor:
        """Read ids, ``(batch, new)``, into the cache; score what may follow the last ones, ``(batch, vocabulary)``.

        ``attention_mask``, ``(batch, tokens so far)``, is zero at what is not to be seen; ``position_ids`` has the
        shape of the ids.  Without them, everything is seen, and positions count on.
        """
        ...


@runtime_checkable
class SparingModel(Protocol):
    """What a causal model offers besides, if it can spare scores that nobody will look at."""

    def score_best(
        self,
        input_ids: Tensor,
        cache: Any,
        *,
        best: int,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
    ) -> Tensor:
        """The same as ``score``, where of each row only the ``best`` highest scores must be right.

        Others may be any that are lower, as long as all probabilities keep their sum.
        """
        ...


class Texts:
    """Texts that grow in step, one in each row, all ending in the same column.

    Of a row, the model sees neither its padding nor what has slid out of its context.  Where it sees all rows from the
    same column on, it is given neither a mask nor positions.

    Where only the ``best`` highest scores will be looked at, a model that can spare the others may do so.

    Raises InputError where the context cannot hold the prompts or, unless it slides, what is to be written.
    """

    _first: Tensor
    """The first column of each row that the model sees, ``(texts,)``."""
    _start: int
    """The first column that it sees of any row."""
    _read: int
    """The first column that it has not read."""
    _mask: Tensor | None
    """Which columns it sees, ``(texts, columns)``; None where that is every one from ``_start`` on."""
    _positions: Tensor
    """How many columns it sees before each, ``(texts, columns)``."""

    def __init__(
        self,
        model: CausalModel,
        prompts: Prompts,
        max_new_tokens: int,
        when_full: WhenFull,
        best: int | None = None,
    ) -> None:
        check_room(prompts.longest, max_new_tokens, model.context_size, when_full)
        rows, width = prompts.ids.shape
        self._model = model
        self._score = model.score
        if best is not None and isinstance(model, SparingModel):
            self._score = partial(model.score_best, best=best)
        self._prompted = self._length = width
        self._ids = prompts.ids.new_empty(rows, width + max_new_tokens)
        self._columns = torch.arange(width + max_new_tokens, device=prompts.ids.device)
        # Padding becomes the last token of its prompt: an id that the model knows, and that is written there anyway.
        padded = self._columns[:width] < prompts.padding[:, None]
        self._ids[:, :width] = prompts.ids[:, -1:].where(padded, prompts.ids)
        self._cache = model.new_cache(rows, min(prompts.longest + max_new_tokens - 1, model.context_size))
        self._begin_at(prompts.padding)

    @property
    def ids(self) -> Tensor:
        """All ids so far, ``(texts, tokens)``; at padding, some that stand in the text as well."""
        return self._ids[:, : self._length]

    @property
    def new(self) -> Tensor:
        """Those that do not belong to the prompts."""
        return self._ids[:, self._prompted : self._length]

    @property
    def room(self) -> int:
        """How many tokens can still be written."""
        return self._ids.shape[1] - self._length

    def read(self) -> Tensor:
        """Let the model read what it has not; the scores of what may follow, ``(texts, vocabulary)``."""
        if self._length - self._start > self._model.context_size:
            self._slide()
        unread = slice(self._read, self._length)
        self._read = self._length
        if self._mask is None:
            return self._score(self._ids[:, unread], self._cache)
        return self._score(
            self._ids[:, unread],
            self._cache,
            attention_mask=self._mask[:, self._start : self._length],
            position_ids=self._positions[:, unread],
        )

    def write(self, tokens: Tensor) -> None:
        """Append ``tokens``, ``(texts,)``, one to each text."""
        self._ids[:, self._length] = tokens
        self._length += 1

    def take(self, rows: Tensor) -> None:
        """Let text ``i`` be what text ``rows[i]`` was; there may be more texts than before."""
        self._cache.reorder(rows)
        self._ids = self._ids[rows]
        self._see_from(self._first[rows])

    def _slide(self) -> None:
        """Take from texts that outgrow the context its older half, and have all texts read anew."""
        context = self._model.context_size
        grown = self._length - self._first > context
        self._cache.clear()
        self._begin_at(self._first.where(~grown, self._length - (context + 1) // 2))

    def _begin_at(self, first: Tensor) -> None:
        """Show row ``i`` from column ``first[i]`` on, to a model that has read nothing."""
        self._start = self._read = int(first.min())
        self._see_from(first)

    def _see_from(self, first: Tensor) -> None:
        """Show row ``i`` from column ``first[i]`` on."""
        self._first = first
        self._positions = (self._columns - first[:, None]).clamp(min=0)
        self._mask = self._columns >= first[:, None] if bool((first > self._start).any()) else None
