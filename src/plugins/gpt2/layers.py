"""The layers of GPT-2 which others may build with, each made of a ``GPT2Config``."""

from registry.records import LayerSpec


def _layer(name: str, cls: str, summary: str) -> LayerSpec:
    return LayerSpec(architecture="gpt2", name=name, cls=f"{__package__}.modeling:{cls}", summary=summary)


LAYERS = (
    _layer("attention", "GPT2Attention", "Every token attends to itself and to those before it, with several heads."),
    _layer("feed-forward", "GPT2MLP", "A feed-forward net, wide inside, which works on each token alone."),
    _layer("block", "GPT2Block", "Attention, then a feed-forward net, each normalised before and added (pre-norm)."),
)
