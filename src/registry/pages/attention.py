"""A page that visualizes attention: the weight of every token to every other, in every layer and head of a model.

The page is one self-contained file.  The weights are those that the model computed, with 16 bits each; of a long text,
the largest of them.
"""

from collections.abc import Mapping
from typing import Any

import torch
from attrs import frozen
from torch import Tensor

from registry.errors import InputError, warn
from registry.loading.loaded import Pretrained
from registry.pages.heads import PATTERNS, profiles, striking
from registry.pages.rendering import base64_of, single_page

MOST_DENSE = 400_000
"""Weights that a page has whole; of more, the largest are stored, each with its column."""
MOST_STORED = 800_000
"""The largest weights that are stored of a long text: 4.3 MB on the page."""
MOST_ROWS = 400_000
"""Rows of weights on a page: layers, heads and tokens; of more, too little of each row would be left."""
BLANKS = str.maketrans({" ": "␣", "\n": "↵", "\t": "⇥"})
"""Visible signs for tokens of blanks."""


@frozen(kw_only=True)
class Tokens:
    """The tokens of a text, or of two."""

    labels: list[str]
    """Each token as text."""
    parts: list[int | None]
    """The text that a token is of, 0 or 1; None for an added special token."""
    inputs: Mapping[str, Tensor]
    """What the model takes: rows of ids, and of types where there are two texts."""
    characters_cut: int
    """Characters of the texts beyond the model's longest input."""

    @property
    def added(self) -> list[bool]:
        """Whether each token is an added special token."""
        return [part is None for part in self.parts]


def attention_page(loaded: Pretrained, name: str, text: str, text_pair: str | None = None) -> str:
    """The HTML page of a model's attention between the tokens of a text, or of a pair of texts.

    Args:
        loaded: The model and its tokenizer.
        name: The name of the model, for the title.
        text: The text; it is truncated to the model's longest input, with a ``RegistryWarning``.
        text_pair: The second text of a pair.

    Returns:
        The page, at most some 5 MB.

    Raises:
        InputError: The model does not return attention weights, or the text is too long for a page.
    """
    texts = [text] if text_pair is None else [text, text_pair]
    tokens = tokens_of(loaded, texts)
    weights = attention_weights(loaded, tokens.inputs)
    layers, heads, count, _ = weights.shape
    if layers * heads * count > MOST_ROWS:
        raise InputError(
            f"{layers} layers of {heads} heads over {count:,} tokens are too much for a page.",
            hint=f"Use a text of at most {MOST_ROWS // (layers * heads):,} tokens.",
        )
    cut = None
    if tokens.characters_cut:
        cut = (
            f"The text is cut at {count:,} tokens, the model's longest input: its last "
            f"{tokens.characters_cut:,} characters are not on the page."
        )
        warn(cut)
    found = profiles(weights, tokens.parts)
    stored = _stored(weights)
    data = {
        "layers": layers,
        "heads": heads,
        "tokens": tokens.labels,
        "added": tokens.added,
        "parts": tokens.parts,
        "patterns": PATTERNS[: found.shape[-1]],
        "profile": found.mul(10_000).round().div(10_000).tolist(),
        "striking": striking(found) if count >= 4 else [],
        **stored,
    }
    kinds = list(dict.fromkeys(label for label, added in zip(tokens.labels, tokens.added, strict=True) if added))
    values = {"name": name, "texts": texts, "cut": cut, "added": kinds}
    return single_page("attention", f"Attention of {name}", data, values)


def attention_weights(loaded: Pretrained, inputs: Mapping[str, Tensor]) -> Tensor:
    """The attention weights of every layer and head.

    Args:
        loaded: The model.
        inputs: Keywords of ``forward``, each ``(1, tokens)``: ids, and types where there are two texts.

    Returns:
        Weights ``(layers, heads, tokens, tokens)``: row ``i`` is the attention of token ``i`` to each token.  Attention
        to the memory of a recurrent model is dropped.

    Raises:
        InputError: The model does not return attention weights.
    """
    with torch.inference_mode():
        read = getattr(loaded.model, "encode", loaded.model)  # of an encoder-decoder, the encoder reads texts
        attentions = getattr(read(**inputs, output_attentions=True), "attentions", None)
    if not attentions:
        raise InputError(f"{type(loaded.model).__name__} does not return attention weights.")
    count = inputs["input_ids"].shape[1]
    return torch.stack([layer[0, :, :, -count:].float().cpu() for layer in attentions])


def tokens_of(loaded: Pretrained, texts: list[str]) -> Tokens:
    """The tokens of one text or two, truncated to the model's longest input.

    Raises:
        InputError: There is no token.
    """
    tokenizer = loaded.tokenizer
    batch = tokenizer([texts[0]], *([text] for text in texts[1:]), truncation=True, return_offsets_mapping=True)
    (ids,), (offsets,), parts = batch["input_ids"], batch["offset_mapping"], batch.sequence_ids(0)
    if not ids:
        raise InputError("The text has no tokens.")
    labels = []
    for number, (start, end), part in zip(ids, offsets, parts, strict=True):
        token = tokenizer.ids_to_tokens[number] if part is None or start == end else texts[part][start:end]
        labels.append(token.strip() or token.translate(BLANKS))
    device = next(loaded.model.parameters()).device
    names = ("input_ids", "token_type_ids") if len(texts) > 1 else ("input_ids",)
    inputs = {key: torch.tensor(batch[key], device=device) for key in names if key in batch}
    return Tokens(labels=labels, parts=parts, inputs=inputs, characters_cut=_cut(texts, offsets, parts))


def _cut(texts: list[str], offsets: list[tuple[int, int]], parts: list[int | None]) -> int:
    """Characters after the last token of each text, blanks at its end aside."""
    ends = [
        max((end for (_, end), of in zip(offsets, parts, strict=True) if of == part), default=0)
        for part in range(len(texts))
    ]
    return sum(max(0, len(text.rstrip()) - end) for text, end in zip(texts, ends, strict=True))


def _stored(weights: Tensor) -> dict[str, Any]:
    """Weights as the page has them: all as 16-bit integers, or the largest by row, with their columns."""
    integers = (weights * 65535).round().clamp(0, 65535).to(torch.int32)
    if integers.numel() <= MOST_DENSE:
        return {"weights": base64_of(integers.to(torch.uint16)), "faint": None}
    at_least = torch.bincount(integers.flatten(), minlength=65536).flip(0).cumsum(0).flip(0)
    least = max(1, int((at_least <= MOST_STORED).nonzero()[0]))
    kept = integers >= least
    return {
        "counts": base64_of(kept.sum(-1).to(torch.uint16)),
        "columns": base64_of(kept.nonzero()[:, -1].to(torch.uint16)),
        "values": base64_of(integers[kept].to(torch.uint16)),
        "faint": least / 65535,
    }
