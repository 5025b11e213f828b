"""``embed``: texts become vectors."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from math import inf
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from registry.embedding.modules import Dense, SentenceModules
from registry.embedding.pooling import POOLINGS
from registry.errors import InputError, UnsupportedError, WeightsMismatchError

if TYPE_CHECKING:
    from registry.tokenization.base import Tokenizer

SORTED_AT_A_TIME = 512
"""Texts that are sorted by length together, so that few tokens of a batch are padding, and results come soon."""


class SentenceEncoder:
    """Computes the vectors of texts, as sentence-transformers does.

    Args:
        model: A model whose outputs have hidden states.
        tokenizer: Its tokenizer.
        modules: How hidden states become a vector; None for their mean.
        normalize: Whether vectors are scaled to length 1, also where the modules do not say so.
        prompt: What is put before each text: the name of one of the modules' prompts, or the prompt itself; None for
            the modules' default, if they have one.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: "Tokenizer",
        modules: SentenceModules | None = None,
        *,
        normalize: bool = False,
        prompt: str | None = None,
    ) -> None:
        modules = modules or SentenceModules()
        self._model, self.tokenizer, self._modules = model, tokenizer, modules
        self._normalizes = normalize or modules.normalizes
        like = next(model.parameters())
        self._layers = nn.Sequential(*map(_layer, modules.layers)).to(device=like.device, dtype=like.dtype)
        name = modules.default_prompt if prompt is None else prompt
        self._prompt = "" if name is None else modules.prompts.get(name, "" if prompt is None else name)
        self._prompt_tokens = 0 if modules.pools_prompt or not self._prompt else self._length_of_prompt()
        limits = (modules.max_tokens, longest_input(model, tokenizer))
        self.max_tokens = min((limit for limit in limits if limit is not None), default=None)
        """Tokens of the longest text; longer ones are truncated."""
        self._added = len(tokenizer.encode(""))
        self.truncated = 0
        """The number of texts that were truncated."""

    @cached_property
    def width(self) -> int:
        """Elements of a vector."""
        return int(self.vectors(["a"]).shape[1])

    def vectors(self, texts: Sequence[str], batch_size: int = 32, most_tokens: int | None = None) -> Tensor:
        """The vectors of texts, ``(texts, width)``; ``batches`` has the arguments.

        Raises:
            InputError: A text has no token.
        """
        found = list(self.batches(texts, batch_size, most_tokens))
        return torch.cat(found) if found else torch.empty(0, self.width)

    def batches(self, texts: Sequence[str], batch_size: int = 32, most_tokens: int | None = None) -> Iterator[Tensor]:
        """The vectors of texts in their order, some at a time, ``(some, width)``.

        Args:
            texts: The texts.
            batch_size: Texts that are computed together.
            most_tokens: Tokens that are computed together at most, padding included; a longer text is alone.
        """
        self._check_together(texts, batch_size, most_tokens)
        for start in range(0, len(texts), SORTED_AT_A_TIME):
            rows = self._tokenized(texts[start : start + SORTED_AT_A_TIME], start)
            lengths = [len(ids) for ids in rows["input_ids"]]
            order = sorted(range(len(lengths)), key=lengths.__getitem__)
            if "attention_mask" not in rows:  # the model takes no padding
                batch_size = 1
            sorted_vectors = torch.cat(
                [
                    self._compute({key: [of_key[row] for row in batch] for key, of_key in rows.items()})
                    for batch in batched_by_tokens(order, lengths, batch_size, most_tokens or inf)
                ]
            )
            vectors = torch.empty_like(sorted_vectors)
            vectors[torch.tensor(order)] = sorted_vectors
            yield vectors

    def _check_together(self, texts: Sequence[str], batch_size: int, most_tokens: int | None) -> None:
        """Raise ParallelError where processes share the model, and would not compute as many batches."""
        processes = getattr(self._model, "processes", None)
        if processes is not None:
            lengths = len(texts) if most_tokens is None else tuple(map(len, texts))
            processes.check_same(texts=lengths, batch_size=batch_size, most_tokens=most_tokens)

    def _tokenized(self, texts: Sequence[str], start: int) -> dict[str, list[list[int]]]:
        lower = str.lower if self._modules.lowercases else str
        prompted = [lower(self._prompt + text) for text in texts]
        rows = self.tokenizer(prompted, truncation=self.max_tokens is not None, max_length=self.max_tokens)
        for number, ids in enumerate(rows["input_ids"], start + 1):
            if not ids:
                raise InputError(f"text {number:,} is empty, and this model adds no special tokens.")
        for text, ids in zip(prompted, rows["input_ids"], strict=True):
            if len(ids) == self.max_tokens:
                self.truncated += len(self.tokenizer.tokenize(text)) + self._added > len(ids)
        return dict(rows)

    def _length_of_prompt(self) -> int:
        """Tokens of the prompt, special ones before it included, and those after it not."""
        ids = self.tokenizer.encode(self._prompt)
        return len(ids) - (ids[-1] in (self.tokenizer.sep_token_id, self.tokenizer.eos_token_id))

    @torch.inference_mode()
    def _compute(self, rows: dict[str, list[list[int]]]) -> Tensor:
        device = next(self._model.parameters()).device
        columns = {  # with the mask any id can pad: not every vocabulary has a token for it
            key: pad_sequence([torch.tensor(row) for row in of_key], batch_first=True).to(device)
            for key, of_key in rows.items()
        }
        hidden = _hidden_states(self._model, columns)
        mask = columns.get("attention_mask", torch.ones_like(columns["input_ids"])).bool()
        if self._prompt_tokens:
            mask[:, : self._prompt_tokens] = False
        pooled = torch.cat([POOLINGS[mode](hidden, mask) for mode in self._modules.pooling], dim=1)
        vectors = pooled
        for layer in cast("Sequence[nn.Sequential]", self._layers):
            if layer[0].in_features != vectors.shape[1]:
                raise WeightsMismatchError(
                    f"A dense layer of the model's modules takes vectors of {layer[0].in_features} elements, but "
                    f"receives {vectors.shape[1]}."
                )
            vectors = layer(vectors)
        vectors = nn.functional.normalize(vectors, dim=1) if self._normalizes else vectors
        return vectors.cpu()


def longest_input(model: nn.Module, tokenizer: "Tokenizer") -> int | None:
    """Tokens of the longest input: what the tokenizer says, and the model's positions; None without either."""
    positions = (getattr(model.config, name, None) for name in ("max_position_embeddings", "n_positions"))
    return min((limit for limit in (tokenizer.max_len, *positions) if limit), default=None)


def batched_by_tokens(
    order: Sequence[int], lengths: Sequence[int], most: int, most_tokens: float
) -> Iterator[list[int]]:
    """Runs of ``order``, which is by length, of so many texts and padded tokens at most."""
    batch: list[int] = []
    for row in order:
        if batch and (len(batch) == most or (len(batch) + 1) * lengths[row] > most_tokens):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _hidden_states(model: nn.Module, columns: dict[str, Tensor]) -> Tensor:
    """The last hidden states, ``(texts, tokens, width)``, also of a model with a head."""
    output: Any = getattr(model, "encode", model)(**columns)  # of an encoder-decoder, the encoder reads texts
    found: Tensor | None = getattr(output, "last_hidden_state", None)
    if found is None:
        states = getattr(model(**columns, output_hidden_states=True), "hidden_states", None)
        if states is None:
            raise UnsupportedError(f"{type(model).__name__} returns no hidden states, and so cannot embed texts.")
        return states[-1]  # type: ignore[no-any-return]
    return found


def _layer(dense: Dense) -> nn.Sequential:
    """The module of a dense layer."""
    weight, bias = dense.tensors["linear.weight"], dense.tensors.get("linear.bias")
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    linear.load_state_dict({"weight": weight, **({} if bias is None else {"bias": bias})}, assign=True)
    return nn.Sequential(linear, getattr(nn, dense.activation)())
