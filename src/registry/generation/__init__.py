"""Decoding: how a causal model continues texts, by one token after the other.

Three ways to choose: the likeliest next token (``greedy``), a random one (``sample``), or the tokens which together
make the likeliest text (``beam_search``).  They take any model that meets ``CausalModel``, and all three

``input_ids``, ``attention_mask``
    The prompts, ``(batch, tokens)``, and the mask that is 0 at their padding.  Padding may stand on either side and be
    of any id; each prompt is continued as it would be alone.
``max_new_tokens``
    How many tokens to write, unless all texts end before.
``repetition_penalty``
    Above 1, makes tokens less likely that stand in the text already, the prompt included (Keskar et al., 2019).
``eos_token_id``
    The id, or the ids, that end a text.  An ended text is filled up with the first of them.
``when_full``
    What happens to a text that outgrows the context of the model.  ``"error"`` refuses beforehand.  With ``"slide"``
    the model forgets the older half of what it sees, reads the younger half anew, and goes on.

They return ids, ``(batch, tokens)``: padding, prompt, and what was written.  Padding stands on the left, so that what
is new begins in the same column everywhere, ``input_ids.shape[1]``.

Whatever makes no sense raises InputError, before anything is computed as far as it can be known.  No gradients flow.
"""

from registry.generation.beams import beam_search
from registry.generation.sampling import greedy, sample
from registry.generation.state import CausalModel

__all__ = ["CausalModel", "beam_search", "greedy", "sample"]
