"""The layers of Transformer-XL that others may build with; the argument of each is a ``TransfoXLConfig``."""

from registry.records import LayerSpec


def _layer(name: str, cls: str, summary: str, module: str) -> LayerSpec:
    return LayerSpec(architecture="transfo_xl", name=name, cls=f"{__package__}.{module}:{cls}", summary=summary)


LAYERS = (
    _layer("adaptive-embedding", "AdaptiveEmbedding", "Embedding with fewer features for rarer words.", "adaptive"),
    _layer(
        "adaptive-softmax",
        "AdaptiveLogSoftmax",
        "Log-probabilities of words; those of rare clusters are computed only where they matter.",
        "adaptive",
    ),
    _layer("attention", "TransfoXLAttention", "Causal attention by content and by distance, with a memory.", "block"),
    _layer("feed-forward", "TransfoXLFeedForward", "Feed-forward network, applied to each token.", "block"),
    _layer("block", "TransfoXLBlock", "Attention, then a feed-forward network, each added and normalized.", "block"),
)
