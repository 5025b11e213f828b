"""The layers of Transformer-XL which others may build with, each made of a ``TransfoXLConfig``."""

from registry.records import LayerSpec

HERE = __name__.rpartition(".")[0]


def _layer(name: str, cls: str, summary: str, module: str = "modeling") -> LayerSpec:
    return LayerSpec(architecture="transfo_xl", name=name, cls=f"{HERE}.{module}:{cls}", summary=summary)


LAYERS = (
    _layer("adaptive-embedding", "AdaptiveEmbedding", "Embeds words, rarer ones with fewer features.", "adaptive"),
    _layer(
        "adaptive-softmax",
        "AdaptiveLogSoftmax",
        "Log-probabilities of words, in which those of rare clusters are computed only where they matter.",
        "adaptive",
    ),
    _layer(
        "attention",
        "TransfoXLAttention",
        "Every token attends by content and by distance to itself, to those before it, and to a memory.",
    ),
    _layer("feed-forward", "TransfoXLFeedForward", "A feed-forward net, wide inside, which works on each token alone."),
    _layer("block", "TransfoXLBlock", "Attention, then a feed-forward net, each added and then normalised."),
)
