"""Names of BERT's weights: those of the files of 2018, and the spellings of other files."""

from registry.weights.names import Layout, NameTable

LAYOUT = Layout(
    prefix="bert.",
    parts=("bert.pooler.", "cls.predictions.", "cls.seq_relationship.", "classifier.", "qa_outputs."),
    ties=(
        ("bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"),
        ("cls.predictions.bias", "cls.predictions.decoder.bias"),
    ),
    vocabulary=(
        "bert.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.weight",
        "cls.predictions.bias",
    ),
    names=NameTable(
        ("{p}.LayerNorm.gamma", "{p}.LayerNorm.weight"),  # TensorFlow's words, in Google's release and the first dumps
        ("{p}.LayerNorm.beta", "{p}.LayerNorm.bias"),
        dropped=("{p}.position_ids", "{p}.token_type_ids"),  # buffers of transformers; made in `forward` here
    ),
)
"""``decoder.bias`` is the second name of one bias which transformers gives to the word scores since 2020."""
