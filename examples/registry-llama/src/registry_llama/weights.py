"""How Llama's weights are named: as transformers does, whose names all published files bear."""

from attrs import evolve

from registry.weights.names import Layout, NameTable

APART = Layout(
    prefix="model.",
    parts=("lm_head.",),
    names=NameTable(dropped=("model.layers.{i}.self_attn.rotary_emb.inv_freq",)),  # a computed buffer in files of 2023
)
TIED = evolve(APART, ties=(("model.embed_tokens.weight", "lm_head.weight"),))
"""The same for models that score tokens with the matrix that embeds them."""
