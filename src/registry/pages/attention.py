"""A picture of attention: how much each token of a text looks at each other, in every layer and head of a model.

The page is one file that needs nothing else.  Attention is what the model computed, softmax after softmax; it holds
16 bits of each weight.
"""

import base64
import ctypes

import torch
from torch import Tensor

from registry._version import __version__
from registry.errors import InputError
from registry.loading.pretrained import Pretrained
from registry.pages.rendering import render

MOST_BYTES = 64_000_000
"""Weights on a page; more would take a browser too long."""
BLANKS = str.maketrans({" ": "␣", "\n": "↵", "\t": "⇥"})
"""Signs for tokens that would not be seen."""


def attention_page(loaded: Pretrained, name: str, text: str) -> str:
    """The page for a text and a model, which bears ``name`` on it.

    Raises InputError when the model does not give its attention, and for a text that is too long for a page.
    """
    labels, added, ids = _tokens(loaded, text)
    weights = attention_weights(loaded, ids)
    layers, heads, tokens, _ = weights.shape
    size = 2 * weights.numel()
    if size > MOST_BYTES:
        raise InputError(
            f"{layers} layers of {heads} heads over {tokens} tokens make a page of {size / 1e6:,.0f} MB.",
            hint=f"Give a shorter text: {MOST_BYTES / 1e6:,.0f} MB are the most.",
        )
    data = {
        "layers": layers,
        "heads": heads,
        "tokens": labels,
        "added": added,
        "weights": base64.b64encode(_packed(weights)).decode("ascii"),
    }
    kinds = list(dict.fromkeys(label for label, is_added in zip(labels, added, strict=True) if is_added))
    return render("attention.html", {"name": name, "text": text, "data": data, "added": kinds, "version": __version__})


def attention_weights(loaded: Pretrained, ids: Tensor) -> Tensor:
    """Weights of every layer and head for ids of shape ``(1, tokens)``: ``(layers, heads, tokens, tokens)``.

    Row ``i`` says how much token ``i`` looks at each token; what it looks at before the text, in the memory of a model
    that has one, is left out.
    """
    with torch.inference_mode():
        attentions = getattr(loaded.model(ids, output_attentions=True), "attentions", None)
    if not attentions:
        raise InputError(f"{type(loaded.model).__name__} does not give its attention.")
    return torch.stack([layer[0, :, :, -ids.shape[1] :].float().cpu() for layer in attentions])


def _tokens(loaded: Pretrained, text: str) -> tuple[list[str], list[bool], Tensor]:
    """What to call each token, whether the tokenizer added it, and the ids, ``(1, tokens)``."""
    tokenizer = loaded.tokenizer
    batch = tokenizer([text], truncation=True, return_offsets_mapping=True)
    (ids,), (offsets,) = batch["input_ids"], batch["offset_mapping"]
    if not ids:
        raise InputError("The text has no tokens, so there is nothing to look at.")
    labels = []
    for number, (start, end) in zip(ids, offsets, strict=True):
        piece = text[start:end] if end > start else tokenizer.ids_to_tokens[number]
        labels.append(piece.strip() or piece.translate(BLANKS))
    device = next(loaded.model.parameters()).device
    return labels, [start == end for start, end in offsets], torch.tensor([ids], device=device)


def _packed(weights: Tensor) -> bytes:
    """Weights from 0 to 1 as 16-bit whole numbers, little-endian as browsers read them."""
    whole = (weights * 65535).round().clamp(0, 65535).to(torch.uint16).contiguous()
    return ctypes.string_at(whole.data_ptr(), whole.nbytes)
