"""The layers of BERT that others may build with, each made from a ``BertConfig``."""

from registry.records import LayerSpec


def _layer(name: str, cls: str, summary: str) -> LayerSpec:
    return LayerSpec(architecture="bert", name=name, cls=f"{__package__}.{cls}", summary=summary)


LAYERS = (
    _layer("embeddings", "encoder:BertEmbeddings", "Words, positions and segments embedded, summed and normalized."),
    _layer("self-attention", "encoder:BertSelfAttention", "Multi-head self-attention."),
    _layer("attention", "encoder:BertAttention", "Self-attention, with its residual connection and normalization."),
    _layer(
        "block", "encoder:BertLayer", "Attention, then a feed-forward network, each added and normalized (post-norm)."
    ),
    _layer("encoder", "encoder:BertEncoder", "All blocks, one after the other; padding is not computed."),
    _layer("pooler", "modeling:BertPooler", "Vector of a sequence, from its first token."),
    _layer(
        "masked-lm-head", "modeling:BertMaskedLMHead", "Masked language model head: logits of all words for each token."
    ),
)
