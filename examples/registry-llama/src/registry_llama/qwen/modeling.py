"""Qwen 2 and 3: Llama's blocks, with biases, or with queries and keys that are normalized."""

import torch
from torch import Tensor, nn

from registry.nn.norms import RMSNorm

from ..modeling import (
    LlamaAttention,
    LlamaDecoderLayer,
    LlamaForCausalLM,
    LlamaModel,
    LlamaPreTrainedModel,
)
from ..parallel import SHARDED
from .config import Qwen2Config, Qwen3Config

# --- Qwen 2 (Yang et al., 2024, section 2.2.1) ------------------------------------------------------------------------


class Qwen2Attention(LlamaAttention):
    """Attention whose queries, keys and values have a bias, and its output none."""

    def __init__(self, config: Qwen2Config) -> None:
        super().__init__(config)
        for projection in (self.q_proj, self.k_proj, self.v_proj):
            projection.bias = nn.Parameter(torch.empty(projection.out_features))


class Qwen2DecoderLayer(LlamaDecoderLayer):
    """A block with biases."""

    attention_class = Qwen2Attention


class Qwen2PreTrainedModel(LlamaPreTrainedModel):
    """Base class of all Qwen 2 models."""

    config_class = Qwen2Config
    block_classes = (Qwen2DecoderLayer,)


class Qwen2Model(Qwen2PreTrainedModel, LlamaModel):
    """Embeddings, the blocks, and a last normalization."""


class Qwen2ForCausalLM(Qwen2PreTrainedModel, LlamaForCausalLM):
    """Qwen 2 with a language model head."""

    model_class = Qwen2Model


# --- Qwen 3 (Yang et al., 2025, section 2) ----------------------------------------------------------------------------


class Qwen3Attention(LlamaAttention):
    """Attention whose queries and keys are normalized, each head by itself (Dehghani et al., 2023)."""

    def __init__(self, config: Qwen3Config) -> None:
        super().__init__(config)
        self.q_norm = RMSNorm(self.head_width, config.rms_norm_eps)
        self.k_norm = RMSNorm(self.head_width, config.rms_norm_eps)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of ``x``, each ``(B, T, H, D)``."""
        query, key, value = super().project(x)
        return self.q_norm(query), self.k_norm(key), value


class Qwen3DecoderLayer(LlamaDecoderLayer):
    """A block with normalized queries and keys."""

    attention_class = Qwen3Attention


class Qwen3PreTrainedModel(LlamaPreTrainedModel):
    """Base class of all Qwen 3 models."""

    config_class = Qwen3Config
    block_classes = (Qwen3DecoderLayer,)
    parallel_plan = SHARDED


class Qwen3Model(Qwen3PreTrainedModel, LlamaModel):
    """Embeddings, the blocks, and a last normalization."""


class Qwen3ForCausalLM(Qwen3PreTrainedModel, LlamaForCausalLM):
    """Qwen 3 with a language model head."""

    model_class = Qwen3Model
