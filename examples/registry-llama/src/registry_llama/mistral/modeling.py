"""Mistral (Jiang et al., 2023, section 2): Llama's blocks, in which tokens attend to a window."""

from ..modeling import LlamaForCausalLM, LlamaModel, LlamaPreTrainedModel
from .config import MistralConfig


class MistralPreTrainedModel(LlamaPreTrainedModel):
    """Base class of all Mistral models."""

    config_class = MistralConfig


class MistralModel(MistralPreTrainedModel, LlamaModel):
    """Embeddings, the blocks, and a last normalization."""


class MistralForCausalLM(MistralPreTrainedModel, LlamaForCausalLM):
    """Mistral with a language model head."""

    model_class = MistralModel
