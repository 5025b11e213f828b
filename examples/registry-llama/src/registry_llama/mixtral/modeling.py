"""Mixtral (Jiang et al., 2024, section 2.1): each token is computed by some of the experts of a block."""

from attrs import evolve

from registry.nn.activations import ACTIVATION_FUNCTIONS
from registry.nn.feed_forward import Experts, MixtureOfExperts
from registry.weights.names import NameTable, gathered, renamed

from ..modeling import LlamaDecoderLayer, LlamaForCausalLM, LlamaModel, LlamaPreTrainedModel
from ..parallel import SHARDED
from ..weights import UNTIED
from .config import MixtralConfig

EXPERT = "{p}.block_sparse_moe.experts.{i}"


class MixtralMoE(MixtureOfExperts):
    """A router, and its experts."""

    def __init__(self, config: MixtralConfig) -> None:
        sizes = config.num_local_experts, config.hidden_size, config.intermediate_size
        super().__init__(Experts(*sizes, ACTIVATION_FUNCTIONS[config.hidden_act]), config.num_experts_per_tok)


class MixtralDecoderLayer(LlamaDecoderLayer):
    """A block with experts."""

    mlp_class = MixtralMoE


class MixtralPreTrainedModel(LlamaPreTrainedModel):
    """Base class of all Mixtral models."""

    config_class = MixtralConfig
    block_classes = (MixtralDecoderLayer,)
    parallel_plan = SHARDED
    layout = evolve(
        UNTIED,
        names=NameTable(
            renamed("{p}.block_sparse_moe.gate.weight", "{p}.mlp.gate.weight"),
            gathered((f"{EXPERT}.w1.weight", f"{EXPERT}.w3.weight"), "{p}.mlp.experts.gate_up_proj"),
            gathered(f"{EXPERT}.w2.weight", "{p}.mlp.experts.down_proj"),
        ),
    )


class MixtralModel(MixtralPreTrainedModel, LlamaModel):
    """Embeddings, the blocks, and a last normalization."""


class MixtralForCausalLM(MixtralPreTrainedModel, LlamaForCausalLM):
    """Mixtral with a language model head."""

    model_class = MixtralModel
