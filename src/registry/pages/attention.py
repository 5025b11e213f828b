"""A page that visualizes attention: the weight of every token to every other, in every layer and head of a model.

The page is one self-contained file.  The weights are those that the model computed, stored with 16 bits each.
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
"""Bytes of weights on a page; more would be too slow in a browser."""
BLANKS = str.maketrans({" ": "␣", "\n": "↵", "\t": "⇥"})
"""Visible signs for tokens of blanks."""


def attention_page(loaded: Pretrained, name: str, text: str) -> str:
    """The HTML page of a model's attention between the tokens of a text.

    Args:
        loaded: The model and its tokenizer.
        name: The name of the model, for the title.
        text: The text; it is truncated to the model's longest input.

    Raises:
        InputError: The model does not return attention weights, or the text is too long for a page.
    """
    labels, added, ids = _tokens(loaded, text)
    weights = attention_weights(loaded, ids)
    layers, heads, tokens, _ = weights.shape
    size = 2 * weights.numel()
    if size > MOST_BYTES:
        raise InputError(
            f"{layers} layers of {heads} heads over {tokens} tokens make a page of {size / 1e6:,.0f} MB.",
            hint=f"Use a shorter text: the limit is {MOST_BYTES / 1e6:,.0f} MB.",
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
    """The attention weights of every layer and head.

    Args:
        loaded: The model.
        ids: Token ids, ``(1, tokens)``.

    Returns:
        Weights ``(layers, heads, tokens, tokens)``: row ``i`` is the attention of token ``i`` to each token.  Attention
        to the memory of a recurrent model is dropped.

    Raises:
        InputError: The model does not return attention weights.
    """
    with torch.inference_mode():
        attentions = getattr(loaded.model(ids, output_attentions=True), "attentions", None)
    if not attentions:
        raise InputError(f"{type(loaded.model).__name__} does not return attention weights.")
    return torch.stack([layer[0, :, :, -ids.shape[1] :].float().cpu() for layer in attentions])


def _tokens(loaded: Pretrained, text: str) -> tuple[list[str], list[bool], Tensor]:
    """The label of each token, whether it is an added special token, and the ids, ``(1, tokens)``."""
    tokenizer = loaded.tokenizer
    batch = tokenizer([text], truncation=True, return_offsets_mapping=True)
    (ids,), (offsets,) = batch["input_ids"], batch["offset_mapping"]
    if not ids:
        raise InputError("The text has no tokens.")
    labels = []
    for number, (start, end) in zip(ids, offsets, strict=True):
        token = text[start:end] if end > start else tokenizer.ids_to_tokens[number]
        labels.append(token.strip() or token.translate(BLANKS))
    device = next(loaded.model.parameters()).device
    return labels, [start == end for start, end in offsets], torch.tensor([ids], device=device)


def _packed(weights: Tensor) -> bytes:
    """Weights from 0 to 1 as 16-bit integers, little-endian as browsers read them."""
    integers = (weights * 65535).round().clamp(0, 65535).to(torch.uint16).contiguous()
    return ctypes.string_at(integers.data_ptr(), integers.nbytes)
