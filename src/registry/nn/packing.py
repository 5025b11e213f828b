"""Packing: padding is not computed, and attention is within each sequence of what is left.

A padded batch has a row of features for each token and for each position of padding.  All layers but attention treat
its rows one by one.  So an encoder packs the rows of tokens at its entrance, computes nothing else, and unpacks them at
its exit; attention alone depends on which rows form a sequence::

    rows = rows_of(mask, self.layers)
    x = rows.pack(x)
    for layer in self.layers:
        x = layer(x, rows.attend)
    x = rows.unpack(x)

Whichever kind of rows is chosen, the numbers at tokens are the same, and those at padding are zero.  A module inside
takes ``(rows, width)`` instead of ``(batch, tokens, width)``.  Code that looks at modules would see a shape that
depends on padding; so nothing is packed where a module has a hook, nor where ``pack_padding`` of the model is false.
"""

from abc import ABC, abstractmethod
from collections import Counter

import torch
from torch import Tensor, nn

from registry.errors import InputError
from registry.nn.attention import attention, eager_attention
from registry.nn.inputs import can_branch_on, is_observed


def rows_of(mask: Tensor | None, *modules: nn.Module) -> "Rows":
    """The rows to compute.

    Args:
        mask: ``(batch, tokens)``, zero at padding.
        modules: Those that take the rows, they or modules inside of them.

    Returns:
        The rows of tokens; all rows where there is no padding, where control flow may not depend on the mask, and where
        packing is switched off for one of the modules, or one is observed.
    """
    if mask is None:
        return AllRows()
    if not can_branch_on(mask):
        return AllRows(mask)
    if mask.all():
        return AllRows()
    can_pack = all(map(packing_of, modules)) and not is_observed(*modules)
    return TokenRows(mask) if can_pack else AllRows(mask)


# --- The switch -------------------------------------------------------------------------------------------------------

SWITCH = "pack_padding"
"""The attribute of a module that is false where its padding must be computed; packed unless it is there."""


def set_packing(model: nn.Module, wanted: bool) -> None:
    """Switch packing on or off in a model and all that it consists of."""
    for module in model.modules():
        vars(module)[SWITCH] = wanted


def packing_of(model: nn.Module) -> bool:
    """Whether packing is switched on, as it is in every new model."""
    return vars(model).get(SWITCH, True)


# --- Kinds of rows ----------------------------------------------------------------------------------------------------


class Rows(ABC):
    """The rows of a batch that are computed, and attention within the sequences that they form."""

    @abstractmethod
    def pack(self, x: Tensor, *, padding: int | None = None) -> Tensor:
        """The rows of ``x``, ``(batch, tokens, ...)``; ``padding`` replaces its values at padding."""

    @abstractmethod
    def unpack(self, x: Tensor, *, padding: float = 0.0) -> Tensor:
        """The batch ``(batch, tokens, ...)`` of these rows, with ``padding`` where there is no token."""

    def show(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The batch of these rows, and the rows to continue with, whose gradients flow through that batch."""
        batch = self.unpack(x)
        return batch, self.pack(batch)

    @abstractmethod
    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, *, dropout: float = 0.0, bias: Tensor | None = None
    ) -> Tensor:
        """Attention within each sequence: packed rows of shape ``(..., heads, width)`` in, the same shape out.

        ``bias``, ``(heads, tokens, tokens)``, is added to the scores; it must depend on the distance of two tokens
        alone (Raffel et al., 2020, section 2.1).
        """

    @property
    def attentions(self) -> tuple[Tensor, ...] | None:
        """Weights of every attention so far, each ``(batch, heads, tokens, tokens)``, where they are kept."""
        return None


class TokenRows(Rows):
    """Rows of tokens only, one after the other, those of shorter sequences first.

    Sequences of one length are neighbors, so that they attend as one small batch, without a mask.
    """

    def __init__(self, mask: Tensor) -> None:
        tokens = mask != 0
        lengths, order = tokens.sum(dim=1).sort(stable=True)
        numbers = torch.arange(mask.numel()).view_as(mask)
        self._shape = mask.shape
        self._numbers = numbers[order][tokens[order]]  # of packed rows, in the batch
        self._groups = [(sequences, length) for length, sequences in sorted(Counter(lengths.tolist()).items())]

    def pack(self, x: Tensor, *, padding: int | None = None) -> Tensor:  # noqa: ARG002  # there is none
        """The rows of tokens, ``(rows, ...)``.  Raises InputError where the mask is not of the same batch."""
        if x.shape[:2] != self._shape:
            raise InputError(f"The mask is of shape {tuple(self._shape)}, and does not fit {tuple(x.shape)}.")
        return x.flatten(0, 1).index_select(0, self._numbers)

    def unpack(self, x: Tensor, *, padding: float = 0.0) -> Tensor:
        """Each row at its position."""
        batch = x.new_full((self._shape.numel(), *x.shape[1:]), padding)
        return batch.index_copy(0, self._numbers, x).view(*self._shape, *x.shape[1:])

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, *, dropout: float = 0.0, bias: Tensor | None = None
    ) -> Tensor:
        """Attention among sequences of one length at a time."""
        sizes = [sequences * length for sequences, length in self._groups]
        masks = [None] * len(sizes) if bias is None else self._biases(bias, sizes)
        mixed = [
            attention(*(rows.view(*group, *rows.shape[1:]) for rows in part), mask=mask, dropout=dropout).flatten(0, 1)
            for group, mask, *part in zip(
                self._groups, masks, *(torch.split(x, sizes) for x in (query, key, value)), strict=True
            )
        ]
        return torch.cat(mixed)

    def _biases(self, bias: Tensor, sizes: list[int]) -> list[Tensor]:
        """The bias of each group: that of its first tokens, or of its columns where padding is inside of a sequence."""
        found = []
        for rows, group in zip(torch.split(self._numbers % self._shape[1], sizes), self._groups, strict=True):
            columns = rows.view(*group)
            if (columns.diff(dim=1) == 1).all():
                found.append(bias[:, : group[1], : group[1]])
            else:
                found.append(bias[:, columns[:, :, None], columns[:, None, :]].transpose(0, 1))
        return found


class AllRows(Rows):
    """Every row, in the shape of the batch; a mask keeps tokens from attending to padding."""

    def __init__(self, mask: Tensor | None = None) -> None:
        self._padding = None if mask is None else mask == 0
        self._biased: tuple[Tensor, Tensor] | None = None

    def pack(self, x: Tensor, *, padding: int | None = None) -> Tensor:
        """The batch, with its values at padding replaced where ``padding`` is given."""
        return x if self._padding is None or padding is None else x.masked_fill(self._padding_of(x), padding)

    def unpack(self, x: Tensor, *, padding: float = 0.0) -> Tensor:
        """The batch, with what was computed for padding replaced."""
        return x if self._padding is None else x.masked_fill(self._padding_of(x), padding)

    def show(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The batch, and the same with what was computed for padding."""
        batch = self.unpack(x)
        return batch, batch if self._padding is None else x.where(self._padding_of(x), batch)

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, *, dropout: float = 0.0, bias: Tensor | None = None
    ) -> Tensor:
        """Attention in the whole batch, under the mask."""
        return attention(query, key, value, mask=self._mask(bias), dropout=dropout)

    def _padding_of(self, x: Tensor) -> Tensor:
        """Where ``x`` is padding, with as many axes as ``x`` has."""
        assert self._padding is not None
        return self._padding.view(*self._padding.shape, *[1] * (x.dim() - self._padding.dim()))

    def _mask(self, bias: Tensor | None = None) -> Tensor | None:
        """Which tokens can be attended to, ``(batch, 1, 1, tokens)``; with a bias, what is added to the scores.

        In a sequence that is all padding, all of it: a softmax over nothing would give NaN.
        """
        if self._padding is None:
            return bias
        tokens = (~self._padding | self._padding.all(dim=1, keepdim=True))[:, None, None, :]
        if bias is None:
            return tokens
        if self._biased is None or self._biased[0] is not bias:  # layers share it
            self._biased = bias, bias.masked_fill(~tokens, float("-inf"))
        return self._biased[1]


class RowsWithWeights(AllRows):
    """Every row, with the weights of every attention kept."""

    def __init__(self, mask: Tensor | None = None) -> None:
        super().__init__(mask)
        self._weights: list[Tensor] = []

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, *, dropout: float = 0.0, bias: Tensor | None = None
    ) -> Tensor:
        """Attention in the whole batch, under the mask, by forming its weights."""
        mixed, weights = eager_attention(query, key, value, mask=self._mask(bias), dropout=dropout)
        self._weights.append(weights)
        return mixed

    @property
    def attentions(self) -> tuple[Tensor, ...]:
        """Weights of every attention so far, each ``(batch, heads, tokens, tokens)``."""
        return tuple(self._weights)
