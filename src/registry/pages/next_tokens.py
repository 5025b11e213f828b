"""A page of next-token probabilities: at each token of a text, what a causal model expected, and how sure it was."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from registry.errors import InputError
from registry.pages.rendering import single_page
from registry.pages.tokens import VISIBLE

if TYPE_CHECKING:
    from registry.loading.loaded import Pretrained
    from registry.tokenization.base import Tokenizer

MOST_TOKENS = 2_000
"""Tokens on a page."""


def next_tokens_page(
    loaded: "Pretrained", name: str, prompt: str, *, max_new_tokens: int = 20, top: int = 10, **options: Any
) -> str:
    """The HTML page of the probabilities with which a causal model continues a text, token by token.

    Args:
        loaded: A causal model and its tokenizer.
        name: The name of the model, for the title.
        prompt: The text.
        max_new_tokens: Tokens that the model adds; 0 shows the text alone.
        top: The most likely tokens that are shown at each place.
        options: Those of ``model.generate``, such as ``temperature``; the probabilities are always those at
            temperature 1.

    Raises:
        InputError: The model is not causal, the prompt has no token, or the text is too long for a page.
    """
    prompt_ids = loaded.tokenizer([prompt])["input_ids"][0]
    if not prompt_ids:
        raise InputError("The prompt has no tokens.")
    device = next(loaded.model.parameters()).device
    ids = torch.tensor([prompt_ids], device=device)
    if max_new_tokens:
        ids = loaded.model.generate(ids, max_new_tokens=max_new_tokens, tokenizer=loaded.tokenizer, **options)[:1]
    if ids.shape[1] > MOST_TOKENS:
        raise InputError(f"The text has {ids.shape[1]:,} tokens.", hint=f"A page holds {MOST_TOKENS:,}.")
    numbers = ids[0].tolist()
    labels = labels_of(loaded.tokenizer, numbers)
    log_probs = log_probabilities(loaded, ids)
    places = [None, *(_place(loaded.tokenizer, log_probs[i - 1], numbers[i], top) for i in range(1, len(numbers)))]
    bits = [place["bits"] for place in places if place is not None]
    data = {"tokens": labels, "prompt": len(prompt_ids), "places": places}
    values = {
        "name": name,
        "text": loaded.tokenizer.decode(numbers),
        "labels": labels,
        "prompt": len(prompt_ids),
        "perplexity": 2 ** (sum(bits) / len(bits)) if bits else None,
        "new": len(numbers) - len(prompt_ids),
        "sampled": bool(options.get("temperature")),
    }
    return single_page("next_tokens", f"Next tokens of {name}", data, values)


def log_probabilities(loaded: "Pretrained", ids: Tensor) -> Tensor:
    """The logarithms of the probabilities of the next token at each token, ``(tokens, vocabulary)``.

    Args:
        loaded: A causal model.
        ids: ``(1, tokens)``.

    Raises:
        InputError: The model returns no logits over its vocabulary.
    """
    with torch.inference_mode():
        logits = getattr(loaded.model(input_ids=ids), "logits", None)
    if logits is None or logits.dim() < 3:
        raise InputError(f"{type(loaded.model).__name__} has no next-token probabilities: it is not a causal model.")
    found: Tensor = logits[0].float().log_softmax(-1).cpu()
    return found


def labels_of(tokenizer: "Tokenizer", numbers: Sequence[int]) -> list[str]:
    """Each token as text; the subword where a token is a part of a character."""
    texts = [tokenizer.decode([number]) for number in numbers]
    pieces = tokenizer.convert_ids_to_tokens(list(numbers))
    return [
        piece if not text or "\N{REPLACEMENT CHARACTER}" in text else text.translate(VISIBLE)
        for text, piece in zip(texts, pieces, strict=True)
    ]


def _place(tokenizer: "Tokenizer", log_probs: Tensor, number: int, top: int) -> dict[str, Any]:
    """The most likely tokens before a token, and the token itself: its probability, its rank and its bits."""
    named = log_probs[: len(tokenizer)]  # a model may have more ids
    likeliest = named.topk(min(top, len(named)))
    probabilities = log_probs.exp()
    return {
        "likeliest": [
            [label, round(share, 5)]
            for label, share in zip(
                labels_of(tokenizer, likeliest.indices.tolist()), likeliest.values.exp().tolist(), strict=True
            )
        ],
        "share": round(float(probabilities[number]), 6),
        "rank": int((log_probs > log_probs[number]).sum()) + 1,
        "bits": -float(log_probs[number]) / math.log(2),
        "entropy": float(-(probabilities * log_probs.clamp(min=-1e4)).sum()) / math.log(2),
    }
