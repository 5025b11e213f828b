"""How BERT's weights are named.

The names are those of the files which Hugging Face published in 2018 and 2019; `facts` about later spellings: the
release said ``gamma`` and ``beta``, and some libraries store buffers that we make when we need them.
"""

from registry.weights.names import Layout, NameTable

LAYOUT = Layout(
    prefix="bert.",
    parts=("bert.pooler.", "cls.predictions.", "cls.seq_relationship.", "classifier.", "qa_outputs."),
    ties=(
        ("bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"),
        ("cls.predictions.bias", "cls.predictions.decoder.bias"),
    ),
    names=NameTable(
        ("{p}.LayerNorm.gamma", "{p}.LayerNorm.weight"),
        ("{p}.LayerNorm.beta", "{p}.LayerNorm.bias"),
        dropped=("{p}.position_ids", "{p}.token_type_ids"),
    ),
)
