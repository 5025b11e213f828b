"""The layers of Llama which others may build with, each made of a ``LlamaConfig``."""

from registry.records import LayerSpec

HERE = __name__.rpartition(".")[0]


def _layer(name: str, cls: str, summary: str) -> LayerSpec:
    return LayerSpec(architecture="llama", name=name, cls=f"{HERE}.modeling:{cls}", summary=summary)


LAYERS = (
    _layer("norm", "LlamaRMSNorm", "Features divided by their root mean square."),
    _layer("attention", "LlamaAttention", "Causal attention with rotary positions; heads share keys and values."),
    _layer("feed-forward", "LlamaMLP", "A feed-forward net of which one half gates the other (SwiGLU)."),
    _layer("block", "LlamaDecoderLayer", "Attention, then a feed-forward net, each normalised before (pre-norm)."),
)
