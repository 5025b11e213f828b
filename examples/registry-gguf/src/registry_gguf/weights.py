"""The tensors of a GGUF file, each read when it is asked for."""

from collections.abc import Mapping
from functools import partial

from torch import Tensor

from registry.errors import CorruptWeightsError
from registry.records import Paths
from registry.weights.headers import Header
from registry.weights.mapped import MappedFile
from registry.weights.shards import LazyTensors

from .blocks import BLOCKS, dequantized
from .reading import GGUF, TYPES, StoredTensor, read

ROTATED = {"attn_q": "attention.head_count", "attn_k": "attention.head_count_kv"}
"""Projections whose rows llama.cpp has in another order, and the key with the number of their heads."""


def load(paths: Paths) -> Mapping[str, Tensor]:
    """The tensors among ``paths``; those of F32, F16 and BF16 are mapped, others computed as float32.

    Errors are those of ``reading.read``.
    """
    found = read(paths)
    file = MappedFile(found.path)
    return LazyTensors({name: partial(_tensor, found, file, name, stored) for name, stored in found.tensors.items()})


def _tensor(found: GGUF, file: MappedFile, name: str, stored: StoredTensor) -> Tensor:
    header = stored.header
    if header.dtype in BLOCKS:
        size = next(size for kind, _, size in TYPES.values() if kind == header.dtype)
        blocks = file.tensor(stored.offset, Header((header.nbytes // size, size), "uint8", header.nbytes))
        tensor = dequantized(header.dtype, blocks).view(header.shape)
    else:
        tensor = file.tensor(stored.offset, header)
    key = ROTATED.get(name.split(".")[-2]) if found.architecture == "llama" and name.count(".") > 1 else None
    return tensor if key is None else _in_halves(tensor, found.get(key, found.get(ROTATED["attn_q"])), name)


def _in_halves(tensor: Tensor, heads: object, name: str) -> Tensor:
    """Rows of each head in the order of transformers.

    A position turns pairs of features.  A pair is two neighbors in llama.cpp, as it was in Meta's code, and in
    transformers a feature of the first half of a head, and one of the second.
    """
    rows = tensor.shape[0]
    if type(heads) is not int or heads <= 0 or rows % (2 * heads):
        raise CorruptWeightsError(f"{name} has {rows:,} rows, which are not pairs in {heads!r:.40} heads.")
    pairs = tensor.view(heads, rows // heads // 2, 2, -1)
    return pairs.transpose(1, 2).reshape(tensor.shape)
