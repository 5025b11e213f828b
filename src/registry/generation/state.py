"""The state of decoding: the ids of all sequences, and how much of them the model has read."""

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from registry.errors import InputError
from registry.generation.prompts import Prompts, WhenFull, check_room, check_tensor

if TYPE_CHECKING:
    from registry.sharding.meshes import ProcessMesh


class DecodingCache(Protocol):
    """A model's cache of the tokens that it has read."""

    def reorder(self, rows: Tensor) -> None:
        """Make row ``i`` what row ``rows[i]`` was; there may be more rows than before."""
        ...

    def clear(self) -> None:
        """Drop all tokens."""
        ...


@runtime_checkable
class CausalModel(Protocol):
    """A model that can be decoded."""

    @property
    def context_size(self) -> int:
        """Tokens that the model can attend to."""
        ...

    def new_cache(self, batch: int, capacity: int) -> DecodingCache:
        """An empty cache for ``capacity`` tokens of each of ``batch`` sequences."""
        ...

    def score(
        self,
        input_ids: Tensor,
        cache: Any,
        *,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        top: int | None = None,
    ) -> Tensor:
        """Logits of the token after the last one.

        Args:
            input_ids: New tokens, ``(batch, new)``, which are appended to ``cache``.
            cache: What ``new_cache`` made.
            attention_mask: ``(batch, tokens so far)``, zero where a token is not attended to; None for nowhere.
            position_ids: The shape of the ids; None where they continue those of the cache.
            top: How many of the highest logits matter; None for all.  A model may ignore it.  One that does not may
                return lower ones elsewhere, as long as all probabilities keep their sum.

        Returns:
            ``(batch, vocabulary)``.
        """
        ...


@runtime_checkable
class Seq2SeqModel(Protocol):
    """A model that answers texts, and says how: an encoder reads a text, and a decoder generates another one."""

    def start(
        self, input_ids: Tensor, *, attention_mask: Tensor | None = None, decoder_input_ids: Tensor | None = None
    ) -> tuple[CausalModel, Tensor]:
        """What generation begins with.

        Args:
            input_ids: The texts, ``(batch, tokens)``, or what else the encoder reads.
            attention_mask: ``(batch, tokens)``, zero at padding.
            decoder_input_ids: What each answer begins with, ``(batch, tokens)``; None for the model's first token.

        Returns:
            A decoder that attends to these texts, which are encoded when its cache is made, and the first ids of the
            answers, ``(batch, tokens)``.  Rows of one text stay neighbors in the cache when it is reordered.
        """
        ...


def started(
    model: object, input_ids: Tensor, attention_mask: Tensor | None, decoder_input_ids: Tensor | None
) -> tuple[CausalModel, Tensor, Tensor | None]:
    """The model that generates, what it continues, and the mask of that.

    Raises:
        InputError: The model does not generate, or there is nothing for a decoder to continue.
    """
    if isinstance(model, Seq2SeqModel):
        check_tensor(input_ids)
        return *model.start(input_ids, attention_mask=attention_mask, decoder_input_ids=decoder_input_ids), None
    if not isinstance(model, CausalModel):
        raise InputError(f"{type(model).__name__} does not predict next tokens, and so cannot continue a text.")
    if decoder_input_ids is not None:
        raise InputError(f"decoder_input_ids has no effect: {type(model).__name__} continues input_ids themselves.")
    return model, input_ids, attention_mask


def starting(model: object) -> AbstractContextManager[None]:
    """A block that computes with a model; where processes share it, all raise the error of one until they begin."""
    processes: ProcessMesh | None = getattr(model, "processes", None)
    return nullcontext() if processes is None else processes.agreement.starting()


class DecodingState:
    """Sequences that grow in step, one in each row, all ending in the same column.

    Of a row, the model sees neither its padding nor what has slid out of its context.  Where it sees all rows from the
    same column on, it is given neither a mask nor positions.

    Args:
        model: The model.
        prompts: What is continued.
        max_new_tokens: Tokens to make room for.
        when_full: What happens to a sequence that outgrows the context.
        top: How many of the highest logits of each step matter; None for all.

    Raises:
        InputError: The context cannot hold the prompts or, unless it slides, what is generated.
    """

    _first: Tensor
    """The first column of each row that the model sees, ``(rows,)``."""
    _start: int
    """The first column that it sees of any row."""
    _read: int
    """The first column that it has not read."""
    _mask: Tensor | None
    """Which columns it sees, ``(rows, columns)``; None where that is every one from ``_start`` on."""
    _positions: Tensor
    """How many columns it sees before each, ``(rows, columns)``."""

    def __init__(
        self,
        model: CausalModel,
        prompts: Prompts,
        max_new_tokens: int,
        when_full: WhenFull,
        top: int | None = None,
    ) -> None:
        check_room(prompts.longest, max_new_tokens, model.context_size, when_full)
        self._processes: ProcessMesh | None = getattr(model, "processes", None)
        if self._processes is not None:  # all of them compute as often
            self._processes.check_same(max_new_tokens=max_new_tokens)
        rows, width = prompts.ids.shape
        self._model = model
        self._top = top
        self._prompted = self._length = width
        self._ids = prompts.ids.new_empty(rows, width + max_new_tokens)
        self._columns = torch.arange(width + max_new_tokens, device=prompts.ids.device)
        # Padding becomes the last token of its prompt: a valid id, of which a repetition penalty changes nothing.
        padded = self._columns[:width] < prompts.padding[:, None]
        self._ids[:, :width] = prompts.ids[:, -1:].where(padded, prompts.ids)
        self._cache = model.new_cache(rows, min(prompts.longest + max_new_tokens - 1, model.context_size))
        self._restart_at(prompts.padding)

    @property
    def ids(self) -> Tensor:
        """All ids so far, ``(rows, tokens)``; at padding, an id of the same row."""
        return self._ids[:, : self._length]

    @property
    def new(self) -> Tensor:
        """Ids after the prompts, ``(rows, tokens)``."""
        return self._ids[:, self._prompted : self._length]

    @property
    def room(self) -> int:
        """How many tokens can still be appended."""
        return self._ids.shape[1] - self._length

    def read(self) -> Tensor:
        """Have the model read what it has not, and return the logits of the next tokens, ``(rows, vocabulary)``."""
        if self._length - self._start > self._model.context_size:
            self._slide()
        unread = slice(self._read, self._length)
        self._read = self._length
        if self._mask is None:
            return self._model.score(self._ids[:, unread], self._cache, top=self._top)
        return self._model.score(
            self._ids[:, unread],
            self._cache,
            attention_mask=self._mask[:, self._start : self._length],
            position_ids=self._positions[:, unread],
            top=self._top,
        )

    def append(self, tokens: Tensor) -> None:
        """Append ``tokens``, ``(rows,)``, one to each row."""
        self._ids[:, self._length] = tokens
        self._length += 1

    def same_step(self, tokens: Tensor, ended: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens that were selected, and what has ended, the same in all processes that share the model's layers."""
        return (tokens, ended) if self._processes is None else self._processes.same_step(tokens, ended)

    def is_finished(self, done: bool) -> bool:
        """Whether decoding ends: where processes share the model, once all are done."""
        return done if self._processes is None else self._processes.everywhere(done)

    def reorder(self, rows: Tensor) -> None:
        """Make row ``i`` what row ``rows[i]`` was; there may be more rows than before."""
        self._cache.reorder(rows)
        self._ids = self._ids[rows]
        self._set_window_start(self._first[rows])

    def _slide(self) -> None:
        """Take the older half of the context from rows that outgrow it, and have all rows read again."""
        context = self._model.context_size
        grown = self._length - self._first > context
        self._cache.clear()
        self._restart_at(self._first.where(~grown, self._length - (context + 1) // 2))

    def _restart_at(self, first: Tensor) -> None:
        """Show row ``i`` from column ``first[i]`` on, to a model with an empty cache."""
        self._start = self._read = int(first.min())
        self._set_window_start(first)

    def _set_window_start(self, first: Tensor) -> None:
        """Show row ``i`` from column ``first[i]`` on."""
        self._first = first
        self._positions = (self._columns - first[:, None]).clamp(min=0)
        self._mask = self._columns >= first[:, None] if bool((first > self._start).any()) else None
