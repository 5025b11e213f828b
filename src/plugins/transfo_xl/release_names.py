"""The names of Transformer-XL's weights in its TensorFlow checkpoint; imported when one is read."""

from functools import partial
from itertools import count, takewhile
from typing import TYPE_CHECKING

from registry.records import Paths
from registry.weights.names import NameTable, transposed
from registry.weights.shards import LazyTensors
from registry.weights.tensorflow import bundle

from .weights import BIASES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from torch import Tensor

LAYER, OURS = "transformer/layer_{i}", "transformer.layers.{i}"
SOFTMAX, EMBED = "transformer/adaptive_softmax/cutoff_{i}", "transformer/adaptive_embed/cutoff_{i}"
ONE_BIAS = "transformer/adaptive_softmax/bias"

TENSORFLOW = NameTable(
    (f"{EMBED}/lookup_table", "transformer.word_emb.emb_layers.{i}.weight"),
    (f"{EMBED}/proj_W", "transformer.word_emb.emb_projs.{i}", transposed),
    ("transformer/adaptive_embed/lookup_table", "transformer.word_emb.emb_layers.0.weight"),  # with ``div_val`` 1
    ("transformer/adaptive_embed/proj_W", "transformer.word_emb.emb_projs.0", transposed),
    (ONE_BIAS, "crit.out_layers.0.bias"),  # without clusters
    ("transformer/adaptive_softmax/cutoff_0/cluster_W", "crit.cluster_weight"),
    ("transformer/adaptive_softmax/cutoff_0/cluster_b", "crit.cluster_bias"),
    (f"{SOFTMAX}/b", "crit.out_layers.{i}.bias"),
    (f"{SOFTMAX}/proj", "crit.out_projs.{i}", transposed),
    ("transformer/r_w_bias", "transformer.r_w_bias"),
    ("transformer/r_r_bias", "transformer.r_r_bias"),
    ("transformer/r_w_bias/{i}", f"{OURS}.dec_attn.r_w_bias"),  # the rows, as ``load_tensorflow`` names them
    ("transformer/r_r_bias/{i}", f"{OURS}.dec_attn.r_r_bias"),
    (f"{LAYER}/rel_attn/qkv/kernel", f"{OURS}.dec_attn.qkv_net.weight", transposed),
    (f"{LAYER}/rel_attn/r/kernel", f"{OURS}.dec_attn.r_net.weight", transposed),
    (f"{LAYER}/rel_attn/o/kernel", f"{OURS}.dec_attn.o_net.weight", transposed),
    (f"{LAYER}/rel_attn/LayerNorm/gamma", f"{OURS}.dec_attn.layer_norm.weight"),
    (f"{LAYER}/rel_attn/LayerNorm/beta", f"{OURS}.dec_attn.layer_norm.bias"),
    (f"{LAYER}/ff/layer_1/kernel", f"{OURS}.pos_ff.CoreNet.0.weight", transposed),
    (f"{LAYER}/ff/layer_1/bias", f"{OURS}.pos_ff.CoreNet.0.bias"),
    (f"{LAYER}/ff/layer_2/kernel", f"{OURS}.pos_ff.CoreNet.3.weight", transposed),
    (f"{LAYER}/ff/layer_2/bias", f"{OURS}.pos_ff.CoreNet.3.bias"),
    (f"{LAYER}/ff/LayerNorm/gamma", f"{OURS}.pos_ff.layer_norm.weight"),
    (f"{LAYER}/ff/LayerNorm/beta", f"{OURS}.pos_ff.layer_norm.bias"),
    # The state of TensorFlow's Adam.
    dropped=("{name}/Adam", "{name}/Adam_1", "beta1_power", "beta2_power", "global_step"),
)
"""From the names of the TensorFlow checkpoint (kimiyoung/transformer-xl, tf/model.py)."""


def load_tensorflow(paths: Paths) -> "Mapping[str, Tensor]":
    """The tensors of a TensorFlow checkpoint, split and joined as the model has them.

    The checkpoint has the biases ``r_w_bias`` and ``r_r_bias`` of all layers in one tensor each; and with one table of
    words for all clusters, the bias of the softmax in one tensor a cluster.  Errors are those of ``bundle.load``.
    """
    tensors, headers = bundle.load(paths), bundle.headers(paths)
    readers: dict[str, Callable[[], Tensor]] = {name: partial(tensors.__getitem__, name) for name in tensors}
    for name in [f"transformer/{bias}" for bias in BIASES]:
        shape = headers[name].shape if name in headers else ()
        if len(shape) == 3:  # (layers, heads, features); with ``untie_r`` false there is one for all layers
            read = readers.pop(name)
            readers |= {f"{name}/{number}": partial(_row, read, number) for number in range(shape[0])}
    if "transformer/adaptive_embed/lookup_table" in readers and ONE_BIAS not in readers:
        names = takewhile(readers.__contains__, (f"{SOFTMAX}/b".format(i=number) for number in count()))
        readers[ONE_BIAS] = partial(_joined, [readers.pop(name) for name in tuple(names)])
    return LazyTensors(readers)


def _row(read: "Callable[[], Tensor]", number: int) -> "Tensor":
    return read()[number]


def _joined(parts: "Iterable[Callable[[], Tensor]]") -> "Tensor":
    import torch

    return torch.cat([read() for read in parts])
