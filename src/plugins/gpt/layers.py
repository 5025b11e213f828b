"""The layers of GPT which others may build with, each made of a ``OpenAIGPTConfig``."""

from registry.records import LayerSpec


def _layer(name: str, cls: str, summary: str) -> LayerSpec:
    return LayerSpec(architecture="gpt", name=name, cls=f"{__package__}.modeling:{cls}", summary=summary)


LAYERS = (
    _layer(
        "attention", "OpenAIGPTAttention", "Every token attends to itself and to those before it, with several heads."
    ),
    _layer("feed-forward", "OpenAIGPTMLP", "A feed-forward net, wide inside, which works on each token alone."),
    _layer("block", "OpenAIGPTBlock", "Attention, then a feed-forward net, each added and normalised (post-norm)."),
)
