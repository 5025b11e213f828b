"""Names of Llama's weights: those of transformers, which all published files have."""

from registry.weights.names import Layout, NameTable

UNTIED = Layout(
    prefix="model.",
    parts=("lm_head.",),
    vocabulary=("model.embed_tokens.weight", "lm_head.weight"),
    names=NameTable(dropped=("model.layers.{i}.self_attn.rotary_emb.inv_freq",)),  # a computed buffer in files of 2023
)
TIES = (("model.embed_tokens.weight", "lm_head.weight"),)
"""The tie group of models that score tokens with the matrix that embeds them."""
