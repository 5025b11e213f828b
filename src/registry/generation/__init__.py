"""Decoding: a causal model continues texts, token by token.

Three ways to select tokens: the most likely one (``greedy``), a random one (``sample``), or those which together are
the most likely text (``beam_search``).  They take any ``CausalModel``; ``Model.generate`` takes any
``Seq2SeqModel`` as well, whose decoder is one.

They return ids, ``(batch, tokens)``: padding, prompt and new tokens.  Padding is on the left, so that new tokens begin
in the same column everywhere, ``input_ids.shape[1]``.

Invalid arguments raise InputError, before anything is computed where that is possible.  No gradients flow.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from registry.generation.beams import beam_search
    from registry.generation.sampling import greedy, sample
    from registry.generation.state import CausalModel, Seq2SeqModel
    from registry.generation.streaming import TextStreamer

_HOMES = {
    "CausalModel": "state",
    "Seq2SeqModel": "state",
    "TextStreamer": "streaming",
    "beam_search": "beams",
    "greedy": "sampling",
    "sample": "sampling",
}
"""The public names, by the module in which each is at home; imported when first used."""

__all__ = ["CausalModel", "Seq2SeqModel", "TextStreamer", "beam_search", "greedy", "sample"]

if not TYPE_CHECKING:  # a type checker reads the imports above instead, and so finds misspelled names

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        return value
