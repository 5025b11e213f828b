"""Layers of Llama that others may build with, each made from a ``LlamaConfig``."""

from registry.records import LayerSpec


def _layer(name: str, cls: str, summary: str) -> LayerSpec:
    return LayerSpec(architecture="llama", name=name, cls=f"{__package__}.modeling:{cls}", summary=summary)


LAYERS = (
    _layer("attention", "LlamaAttention", "Causal attention with rotary positions; heads share keys and values."),
    _layer("feed-forward", "LlamaMLP", "Gated feed-forward network (SwiGLU)."),
    _layer("block", "LlamaDecoderLayer", "Attention, then a feed-forward network, each normalized before (pre-norm)."),
)
