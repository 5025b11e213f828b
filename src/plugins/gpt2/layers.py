"""The layers of GPT-2 that others may build with, each made from a ``GPT2Config``."""

from registry.records import LayerSpec


def _layer(name: str, cls: str, summary: str) -> LayerSpec:
    return LayerSpec(architecture="gpt2", name=name, cls=f"{__package__}.modeling:{cls}", summary=summary)


LAYERS = (
    _layer("attention", "GPT2Attention", "Causal multi-head self-attention."),
    _layer("feed-forward", "GPT2MLP", "Feed-forward network, applied to each token."),
    _layer(
        "block", "GPT2Block", "Attention, then a feed-forward network, each normalized before and added (pre-norm)."
    ),
)
