"""Names of T5's weights, those of transformers, which all published files have."""

from registry.weights.names import Layout, NameTable

EMBEDDINGS = ("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
"""Names of the one embedding, of which files have some."""
UNTIED = Layout(
    parts=("decoder.", "lm_head."),
    ties=(EMBEDDINGS,),
    vocabulary=("shared.weight", "lm_head.weight"),
    names=NameTable(dropped=("decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight",)),  # never used
)
TIES = ((*EMBEDDINGS, "lm_head.weight"),)
"""The tie group of models that score tokens with the matrix that embeds them."""
