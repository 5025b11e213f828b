"""The names of GPT's weights in OpenAI's numpy shards; imported when they are read."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from registry.records import Paths
from registry.weights import numpy_shards
from registry.weights.headers import Header
from registry.weights.names import NameTable, squeezed

if TYPE_CHECKING:
    from torch import Tensor

EMBEDDINGS = ("model/we:0/positions", "model/we:0/tokens")
"""The first two arrays: OpenAI's program joins them to one variable, ``model/we:0``, the tokens first."""
IN_BLOCK = (
    *("attn/c_attn/w", "attn/c_attn/b", "attn/c_proj/w", "attn/c_proj/b", "ln_1/g", "ln_1/b"),
    *("mlp/c_fc/w", "mlp/c_fc/b", "mlp/c_proj/w", "mlp/c_proj/b", "ln_2/g", "ln_2/b"),
)
"""The order of the arrays of a block (openai/finetune-transformer-lm, train.py)."""
CLASSIFIER = "model/clf/"
"""Variables which ``parameters_names.json`` lists at its end, and for which the release has no arrays."""

BLOCK, OURS = "model/h{i}", "transformer.h.{i}"

NUMPY = NameTable(
    (EMBEDDINGS[0], "transformer.positions_embed.weight"),
    (EMBEDDINGS[1], "transformer.tokens_embed.weight"),
    (f"{BLOCK}/attn/c_attn/w:0", f"{OURS}.attn.c_attn.weight", squeezed),
    (f"{BLOCK}/attn/c_attn/b:0", f"{OURS}.attn.c_attn.bias"),
    (f"{BLOCK}/attn/c_proj/w:0", f"{OURS}.attn.c_proj.weight", squeezed),
    (f"{BLOCK}/attn/c_proj/b:0", f"{OURS}.attn.c_proj.bias"),
    (f"{BLOCK}/ln_1/g:0", f"{OURS}.ln_1.weight"),
    (f"{BLOCK}/ln_1/b:0", f"{OURS}.ln_1.bias"),
    (f"{BLOCK}/mlp/c_fc/w:0", f"{OURS}.mlp.c_fc.weight", squeezed),
    (f"{BLOCK}/mlp/c_fc/b:0", f"{OURS}.mlp.c_fc.bias"),
    (f"{BLOCK}/mlp/c_proj/w:0", f"{OURS}.mlp.c_proj.weight", squeezed),
    (f"{BLOCK}/mlp/c_proj/b:0", f"{OURS}.mlp.c_proj.bias"),
    (f"{BLOCK}/ln_2/g:0", f"{OURS}.ln_2.weight"),
    (f"{BLOCK}/ln_2/b:0", f"{OURS}.ln_2.bias"),
)
"""From the names of OpenAI's variables."""


def array_names(paths: Paths) -> list[str]:
    """A name for each array of the release: as ``parameters_names.json`` lists them, else in OpenAI's order."""
    told = numpy_shards.read_names(paths)
    if told is not None:
        return [*EMBEDDINGS, *(name for name in told[1:] if not name.startswith(CLASSIFIER))]
    blocks = (len(numpy_shards.read_shapes(paths)) - len(EMBEDDINGS)) // len(IN_BLOCK)
    return [*EMBEDDINGS, *(f"model/h{block}/{name}:0" for block in range(blocks) for name in IN_BLOCK)]


def load_arrays(paths: Paths) -> "Mapping[str, Tensor]":
    """The arrays of OpenAI's release by name; errors are those of ``numpy_shards.load``."""
    return numpy_shards.load(paths, array_names(paths))


def array_headers(paths: Paths) -> Mapping[str, Header]:
    """What they look like; needs no torch."""
    return numpy_shards.headers(paths, array_names(paths))
