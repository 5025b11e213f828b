"""Decoding: a causal model continues texts, token by token.

Three ways to select tokens: the likeliest one (``greedy``), a random one (``sample``), or those which together make the
likeliest text (``beam_search``).  They take any ``CausalModel``.

They return ids, ``(batch, tokens)``: padding, prompt and new tokens.  Padding is on the left, so that new tokens begin
in the same column everywhere, ``input_ids.shape[1]``.

Whatever makes no sense raises InputError, before anything is computed where that is possible.  No gradients flow.
"""

from registry.generation.beams import beam_search
from registry.generation.sampling import greedy, sample
from registry.generation.state import CausalModel
from registry.generation.streaming import TextStreamer

__all__ = ["CausalModel", "TextStreamer", "beam_search", "greedy", "sample"]
