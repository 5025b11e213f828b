"""The layers of BERT which others may build with, each made of a ``BertConfig``."""

from registry.records import LayerSpec


def _layer(name: str, cls: str, summary: str) -> LayerSpec:
    return LayerSpec(architecture="bert", name=name, cls=f"{__package__}.{cls}", summary=summary)


LAYERS = (
    _layer("embeddings", "encoder:BertEmbeddings", "Words, positions and segments as vectors, summed and normalised."),
    _layer("self-attention", "encoder:BertSelfAttention", "Every token attends to every token, with several heads."),
    _layer("attention", "encoder:BertAttention", "Self-attention, added to its input and normalised."),
    _layer("block", "encoder:BertLayer", "Attention, then a feed-forward net, each added and normalised (post-norm)."),
    _layer("encoder", "encoder:BertEncoder", "All blocks, one after the other; padding is not computed."),
    _layer("pooler", "modeling:BertPooler", "One vector for a sequence, from its first token."),
    _layer("masked-lm-head", "modeling:BertMaskedLMHead", "Scores of all words of the vocabulary for each token."),
)
