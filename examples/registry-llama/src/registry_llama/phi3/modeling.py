"""Phi 3 (Abdin et al., 2024, section 2): Llama's blocks, of which files keep several matrices in one."""

from attrs import evolve

from registry.weights.names import NameTable, parted

from ..modeling import LlamaForCausalLM, LlamaModel, LlamaPreTrainedModel
from ..weights import UNTIED
from .config import Phi3Config


def rows_of_heads(config: Phi3Config) -> tuple[int, int, int]:
    """Rows of the matrices of queries, keys and values."""
    shared = config.key_value_heads * config.head_width
    return config.num_attention_heads * config.head_width, shared, shared


class Phi3PreTrainedModel(LlamaPreTrainedModel):
    """Base class of all Phi 3 models."""

    config_class = Phi3Config
    layout = evolve(
        UNTIED,
        names=NameTable(
            parted("{p}.qkv_proj.weight", [f"{{p}}.{x}_proj.weight" for x in "qkv"], sizes=rows_of_heads),
            parted("{p}.gate_up_proj.weight", ("{p}.gate_proj.weight", "{p}.up_proj.weight")),
        ),
    )


class Phi3Model(Phi3PreTrainedModel, LlamaModel):
    """Embeddings, the blocks, and a last normalization."""


class Phi3ForCausalLM(Phi3PreTrainedModel, LlamaForCausalLM):
    """Phi 3 with a language model head."""

    model_class = Phi3Model
