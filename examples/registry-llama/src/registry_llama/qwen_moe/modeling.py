"""Qwen 2 and 3 with experts: the blocks of each, with a router and experts in place of the feed-forward network."""

from typing import Any

from attrs import evolve

from registry.nn.activations import ACTIVATION_FUNCTIONS
from registry.nn.feed_forward import Experts, GatedFeedForward, MixtureOfExperts
from registry.weights.names import NameTable, gathered

from ..modeling import LlamaForCausalLM, LlamaModel, LlamaPreTrainedModel
from ..parallel import SHARDED
from ..qwen.modeling import Qwen2DecoderLayer, Qwen3DecoderLayer
from ..weights import UNTIED
from .config import Qwen2MoeConfig, Qwen3MoeConfig

EXPERT = "{p}.mlp.experts.{i}"

LAYOUT = evolve(
    UNTIED,
    names=NameTable(
        gathered((f"{EXPERT}.gate_proj.weight", f"{EXPERT}.up_proj.weight"), "{p}.mlp.experts.gate_up_proj"),
        gathered(f"{EXPERT}.down_proj.weight", "{p}.mlp.experts.down_proj"),
    ),
)


class Qwen3MoE(MixtureOfExperts):
    """A router, and its experts."""

    def __init__(self, config: Any, shared: GatedFeedForward | None = None) -> None:
        activation = ACTIVATION_FUNCTIONS[config.hidden_act]
        experts = Experts(config.num_experts, config.hidden_size, config.moe_intermediate_size, activation)
        super().__init__(experts, config.num_experts_per_tok, rescale=config.norm_topk_prob, shared=shared)


class Qwen2MoE(Qwen3MoE):
    """A router and its experts, with one that computes every token."""

    def __init__(self, config: Qwen2MoeConfig) -> None:
        activation = ACTIVATION_FUNCTIONS[config.hidden_act]
        shared = GatedFeedForward(config.hidden_size, config.shared_expert_intermediate_size, activation)
        super().__init__(config, shared)


class Qwen2MoeDecoderLayer(Qwen2DecoderLayer):
    """A block with experts, and one that is shared."""

    mlp_class = Qwen2MoE


class Qwen3MoeDecoderLayer(Qwen3DecoderLayer):
    """A block with experts."""

    mlp_class = Qwen3MoE


class Qwen2MoePreTrainedModel(LlamaPreTrainedModel):
    """Base class of all Qwen 2 models with experts."""

    config_class = Qwen2MoeConfig
    block_classes = (Qwen2MoeDecoderLayer,)
    parallel_plan = SHARDED
    layout = LAYOUT


class Qwen2MoeModel(Qwen2MoePreTrainedModel, LlamaModel):
    """Embeddings, the blocks, and a last normalization."""


class Qwen2MoeForCausalLM(Qwen2MoePreTrainedModel, LlamaForCausalLM):
    """Qwen 2 with experts and a language model head."""

    model_class = Qwen2MoeModel


class Qwen3MoePreTrainedModel(LlamaPreTrainedModel):
    """Base class of all Qwen 3 models with experts."""

    config_class = Qwen3MoeConfig
    block_classes = (Qwen3MoeDecoderLayer,)
    parallel_plan = SHARDED
    layout = LAYOUT


class Qwen3MoeModel(Qwen3MoePreTrainedModel, LlamaModel):
    """Embeddings, the blocks, and a last normalization."""


class Qwen3MoeForCausalLM(Qwen3MoePreTrainedModel, LlamaForCausalLM):
    """Qwen 3 with experts and a language model head."""

    model_class = Qwen3MoeModel
