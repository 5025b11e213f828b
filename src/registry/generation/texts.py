"""Texts continue texts, or answer them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from registry.errors import InputError
from registry.generation.generate import generate
from registry.generation.prompts import configured_end
from registry.generation.state import Seq2SeqModel

if TYPE_CHECKING:
    from registry.tokenization.base import Tokenizer


def continue_texts(model: nn.Module, tokenizer: "Tokenizer", prompts: Sequence[str], **options: Any) -> list[str]:
    """Texts, each followed by what a model continues it with; of an encoder-decoder its answer alone.

    Args:
        model: A causal model, or an encoder-decoder.
        tokenizer: Its tokenizer.
        prompts: The texts.
        options: Those of ``generate``, but for ``attention_mask`` and ``return_dict``.  Without any other end token the
            tokenizer's ends a text.

    Returns:
        The texts or the answers, ``num_return_sequences`` for each prompt, without special tokens.

    Raises:
        InputError: A prompt has no token, or ``generate`` refuses an option.
    """
    for name in ("attention_mask", "return_dict"):
        if name in options:
            raise InputError(f"{name} has no effect for texts.", hint="Give ids to model.generate instead.")
    encoded = [torch.tensor(row, dtype=torch.long) for row in tokenizer(list(prompts))["input_ids"]]
    answers = isinstance(model, Seq2SeqModel)
    side = "right" if answers else "left"  # a model that continues a text reads its end last
    ids = nn.utils.rnn.pad_sequence(encoded, batch_first=True, padding_side=side)
    ones = [torch.ones(len(row), dtype=torch.long) for row in encoded]
    mask = nn.utils.rnn.pad_sequence(ones, batch_first=True, padding_side=side)
    where = next(model.parameters()).device
    known = (getattr(model, "generation_config", {}).get("eos_token_id"), configured_end(model))
    if all(end is None for end in (*known, options.get("eos_token_id"))):
        options["eos_token_id"] = tokenizer.eos_token_id
    found = generate(model, ids.to(where), attention_mask=mask.to(where), **{"tokenizer": tokenizer, **options})
    if answers:
        return [tokenizer.decode(row, skip_special_tokens=True) for row in found.tolist()]
    texts = []
    for row, new in enumerate(found[:, ids.shape[1] :].tolist()):
        number = row * len(prompts) // len(found)
        before = encoded[number].tolist()
        start = len(tokenizer.decode(before, skip_special_tokens=True))
        texts.append(prompts[number] + tokenizer.decode([*before, *new], skip_special_tokens=True)[start:])
    return texts
