"""The layers of GPT that others may build with, each made from a ``OpenAIGPTConfig``."""

from registry.records import LayerSpec


def _layer(name: str, cls: str, summary: str) -> LayerSpec:
    return LayerSpec(architecture="gpt", name=name, cls=f"{__package__}.modeling:{cls}", summary=summary)


LAYERS = (
    _layer("attention", "OpenAIGPTAttention", "Causal multi-head self-attention."),
    _layer("feed-forward", "OpenAIGPTMLP", "Feed-forward network, applied to each token."),
    _layer("block", "OpenAIGPTBlock", "Attention, then a feed-forward network, each added and normalized (post-norm)."),
)
