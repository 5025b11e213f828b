"""Generation as one function: greedy decoding, sampling or beam search, as the arguments say."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from registry.errors import InputError
from registry.generation.beams import beam_search
from registry.generation.prompts import EndIds, WhenFull, check_unused
from registry.generation.sampling import OnToken, greedy, sample
from registry.generation.state import CausalModel


def generate(
    model: nn.Module,
    input_ids: Tensor,
    *,
    attention_mask: Tensor | None = None,
    max_new_tokens: int,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    repetition_penalty: float = 1.0,
    num_beams: int = 1,
    length_penalty: float = 1.0,
    eos_token_id: EndIds = None,
    num_return_sequences: int = 1,
    generator: torch.Generator | None = None,
    when_full: WhenFull = "error",
    on_token: OnToken | None = None,
) -> Tensor:
    """Continue prompts: by beam search with ``num_beams`` above 1, else by sampling with a ``temperature`` above 0.

    Otherwise decoding is greedy.  Dropout is off meanwhile, also during training.

    Args:
        model: A causal model.
        input_ids: The prompts, ``(batch, tokens)``.
        attention_mask: 0 at the padding of the prompts, ``(batch, tokens)``.
        max_new_tokens: The most tokens to generate.
        temperature: Divides the logits before sampling.
        top_k: Sample from the ``top_k`` likeliest tokens.
        top_p: Sample from the likeliest tokens that have this probability together.
        repetition_penalty: Above 1, makes tokens less likely that the sequence has already.
        num_beams: Sequences that beam search keeps for each prompt.
        length_penalty: The exponent of the length by which beam search divides a score.
        eos_token_id: The id, or the ids, that end a sequence; None for those of the configuration, if it has any.
        num_return_sequences: Sequences that are returned for each prompt.
        generator: Source of random numbers.
        when_full: What happens to a sequence that outgrows the context, ``"error"`` or ``"slide"``.
        on_token: Called with the ids of each step.

    Returns:
        The ids of prompts and continuations, ``(batch * num_return_sequences, tokens)``.

    Raises:
        InputError: An argument is impossible, alone or with the others, or the model does not predict next tokens.
    """
    if not isinstance(model, CausalModel):
        raise InputError(f"{type(model).__name__} does not predict next tokens, and so cannot continue a text.")
    ends = getattr(getattr(model, "config", None), "eos_token_id", None) if eos_token_id is None else eos_token_id
    shared: dict[str, Any] = {
        "attention_mask": attention_mask,
        "max_new_tokens": max_new_tokens,
        "repetition_penalty": repetition_penalty,
        "eos_token_id": ends,
        "when_full": when_full,
    }
    copies: dict[str, Any] = {"num_return_sequences": num_return_sequences}
    sampling: dict[str, Any] = {"top_k": top_k, "top_p": top_p, "generator": generator}
    with evaluating(model):
        if num_beams != 1:
            check_unused("in beam search", temperature=temperature or None, on_token=on_token, **sampling)
            return beam_search(model, input_ids, num_beams=num_beams, length_penalty=length_penalty, **copies, **shared)
        check_unused("without beams", length_penalty=None if length_penalty == 1.0 else length_penalty)
        if temperature != 0.0:
            return sample(model, input_ids, temperature=temperature, on_token=on_token, **sampling, **copies, **shared)
        several = None if num_return_sequences == 1 else num_return_sequences
        check_unused("at temperature 0", num_return_sequences=several, **sampling)
        return greedy(model, input_ids, on_token=on_token, **shared)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Have ``model`` in evaluation mode for a while; then each module is again in the mode in which it was."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
